"use strict";
document.documentElement.classList.add("js");
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// A path is copied by a click, or by Enter when it has the focus.
for (const path of all("code.path")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "path";
  button.textContent = path.textContent;
  button.title = "Copy this path";
  path.replaceWith(button);
}
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.path");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.textContent);
  } catch {
    getSelection().selectAllChildren(button);
    document.execCommand("copy");
  }
  button.classList.add("copied");
  setTimeout(() => button.classList.remove("copied"), 1200);
});

// The squares of the matrix are one stop of the Tab key; the arrow keys move between them.
const squares = all("#matrix tbody tr").map((row) => all("td", row));
const links = all("#matrix td a");
links.forEach((link, place) => (link.tabIndex = place ? -1 : 0));
const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
document.getElementById("matrix")?.addEventListener("keydown", (event) => {
  const step = steps[event.key];
  const cell = event.target.closest("td");
  if (!step || !cell) return;
  event.preventDefault();
  let row = squares.findIndex((cells) => cells.includes(cell));
  let column = squares[row].indexOf(cell);
  for (;;) {
    row += step[0];
    column += step[1];
    const next = squares[row]?.[column];
    if (!next) return;
    const link = next.querySelector("a");
    if (!link) continue;
    links.forEach((other) => (other.tabIndex = other === link ? 0 : -1));
    link.focus();
    return;
  }
});
let opener = null;
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#pair-']");
  if (link) opener = link;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !location.hash.startsWith("#pair-")) return;
  location.hash = "#matrix";
  opener?.focus();
});
addEventListener("hashchange", () => {
  const gallery = location.hash.startsWith("#pair-") && document.getElementById(location.hash.slice(1));
  if (gallery) gallery.focus({ preventScroll: true });
});

// Filters hide what does not contain their words.
for (const input of all("input[data-filter]")) {
  const items = [...document.getElementById(input.dataset.filter).children];
  const texts = items.map((item) => item.textContent.toLowerCase());
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase();
    items.forEach((item, place) => (item.hidden = !texts[place].includes(words)));
  });
}

// Decisions about labels, kept in this browser until they are downloaded.
const suspects = all(".suspect[data-exact]").map((item) => ({ item, ...JSON.parse(item.dataset.exact) }));
const key = `firstlight corrections ${document.body.dataset.run}`;
const decisions = new Map();
const STEERS = /^\$'|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/;
const coded = (text) =>
  `$'${text.replace(/[\\\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g, (one) =>
    one === "\\" ? "\\\\" : `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`)}'`;
const cell = (text) => {
  const safe = STEERS.test(text) ? coded(text) : /^'*[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};
const remember = () => {
  try {
    localStorage.setItem(key, JSON.stringify([...decisions]));
  } catch {} // some browsers keep nothing for pages from disk
};
const show = () => {
  for (const { item, image } of suspects) {
    const decided = decisions.get(image);
    item.classList.toggle("decided", Boolean(decided));
    for (const radio of all("input[type=radio]", item)) radio.checked = decided?.action === radio.value;
  }
  const images = new Set(suspects.map((suspect) => suspect.image));
  const count = document.getElementById("decided");
  if (count) count.textContent = decisions.size ? `${decisions.size} of ${images.size} decided` : "nothing decided yet";
};
for (const { item, image, label, suggested } of suspects) {
  item.addEventListener("change", (event) => {
    const action = event.target.type === "radio" ? event.target.value : "relabel";
    const input = item.querySelector(".new-label");
    const typed = input.value === input.defaultValue ? suggested : input.value.trim();
    if (action === "relabel" && !typed) decisions.delete(image);
    else decisions.set(image, { action, label: action === "relabel" ? typed : label });
    remember();
    show();
  });
}
document.getElementById("download")?.addEventListener("click", () => {
  const rows = [...decisions].map(([image, { action, label }]) => [image, label, action].map(cell).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([["image,label,action", ...rows, ""].join("\n")], { type: "text/csv" }));
  link.download = "corrections.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});
document.getElementById("undecide")?.addEventListener("click", () => {
  decisions.clear();
  remember();
  show();
});
try {
  for (const [image, decided] of JSON.parse(localStorage.getItem(key) ?? "[]")) decisions.set(image, decided);
} catch {}
show();
