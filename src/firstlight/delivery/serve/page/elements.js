// Elements of the page. Text that comes from a model, a file or the server gets in as text only, never as HTML.

export const byId = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

// Characters that cannot be seen, or that turn the direction of what follows, are shown as their codes. The joiners of
// Persian words and of emoji stay.
const UNSEEN = /[\p{Cc}\p{Zl}\p{Zp}\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]/gu;
const code = (char) => `\\u${char.codePointAt(0).toString(16).padStart(4, "0")}`;
export const printable = (text) => String(text).replace(UNSEEN, code);

// A name of a class or a file, which may be in a script that runs from right to left.
export const named = (text) => make("bdi", { dir: "auto" }, printable(text));

const listed = new Intl.ListFormat("en", { type: "disjunction" });
export const either = (names) =>
  listed.formatToParts(names).map(({ type, value }) => (type === "element" ? named(value) : value));

export function bar(fraction) {
  const fill = make("span", { className: "fill" });
  fill.style.width = `${100 * fraction}%`;
  return make("span", { className: "bar", ariaHidden: "true" }, fill);
}
