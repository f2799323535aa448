// What is known of the model: how good it is, what it cannot do, and its classes.

import { byId, make, named, printable } from "./elements.js";
import { counted, outOf } from "./words.js";

const FIRST = 6; // classes that the top of the page names
const LONGEST = 90; // characters of these
const FEW = 40; // classes that are listed without a box to search them in
const WORST = 5;
const RESIZED = {
  crop: "resized, and cropped to the middle",
  pad: "resized, with a gray border to fill the rest",
  squash: "stretched to that size",
};

export function showTitle({ name, classes, scores }) {
  document.title = `${printable(name)} – firstlight`;
  byId("title").replaceChildren(named(name));
  const shown = classes.slice(0, FIRST).filter((_, place, all) => place === 0 || all.slice(0, place + 1).join().length < LONGEST);
  const first = shown.flatMap((one, place) => [place > 0 ? ", " : "", named(one)]);
  const rest = classes.length - shown.length;
  const more = rest > 0 ? `, and ${rest.toLocaleString("en")} more` : "";
  const lead = [`Tells ${counted(classes.length, "class", "classes")} apart: `, ...first, `${more}.`];
  const test = scores?.test?.accuracy;
  if (test) lead.push(` Right for ${percent(test.value)} of ${counted(test.n, "test picture")}.`);
  byId("lead").replaceChildren(...lead);
}

export function showAbout(model) {
  const parts = [
    make("div", { className: "summary" }, score(model), limits(model)),
    ...classList(model.classes),
    ...weakest(model.worst_classes ?? []),
    ...facts(model),
  ];
  byId("card").replaceChildren(...parts);
}

function score({ scores, trust, test_evaluations: looks }) {
  const found = scores?.test?.accuracy;
  if (!found) {
    const valid = scores?.valid?.accuracy;
    const words = valid
      ? `On ${counted(valid.n, "picture")} that helped to choose the model, it was right for ${percent(valid.value)}. Expect less on new pictures.`
      : "Nobody has measured how good it is.";
    return make("div", {}, make("h3", {}, "No test score"), make("p", {}, words));
  }
  const times = looks === 1 ? " They have been scored once." : looks ? ` They have been scored ${looks.toLocaleString("en")} times.` : "";
  return make(
    "div",
    {},
    make("h3", {}, "How good it is"),
    make("p", { className: "score" }, make("strong", {}, percent(found.value)), make("span", {}, `of ${counted(found.n, "test picture")} right`)),
    ruler(found),
    make("p", {}, `For new pictures like these: ${between(found)} (95% interval).`),
    make("p", { className: "quiet" }, `The test pictures took no part in training.${times}`),
    ...doubts(trust?.test),
  );
}

function doubts(tested) {
  if (!tested?.single?.n) return [];
  const sure = `It was sure of ${percent(tested.single.value)} of them`;
  const right = tested.single_accuracy.n > 0 ? `, and right for ${percent(tested.single_accuracy.value)} of those (${between(tested.single_accuracy)}).` : ".";
  return [make("p", { className: "quiet" }, sure + right)];
}

// A measured share: 12 of 12 are 100.0%, where a probability would be "> 99.9%".
const percent = (share) => `${(100 * share).toFixed(1)}%`;

const between = ({ low, high }) => `${percent(low)} to ${percent(high)}`;

function ruler({ value, low, high }) {
  const range = make("span", { className: "range" });
  const point = make("span", { className: "point" });
  Object.assign(range.style, { insetInlineStart: `${100 * low}%`, width: `${100 * (high - low)}%` });
  point.style.insetInlineStart = `${100 * value}%`;
  return make("span", { className: "ruler", ariaHidden: "true" }, range, point);
}

function limits({ limits: cannot = [], findings = [] }) {
  const list = (words, title) => (words.length > 0 ? [make("h3", {}, title), make("ul", { className: "plain-list" }, words.map((one) => make("li", { dir: "auto" }, printable(one))))] : []);
  return make("div", {}, ...list(cannot, "What it cannot do"), ...list(findings, "What is known of its pictures"));
}

function classList(classes) {
  const chips = classes.map((name) => make("li", {}, named(name)));
  const title = make("h3", { id: "classes-title" }, counted(classes.length, "class", "classes"));
  if (classes.length <= FEW) return [title, make("ul", { className: "chips" }, chips)];
  const list = make("ul", { className: "chips boxed", tabIndex: 0, role: "list", ariaLabel: "Classes" }, chips);
  const search = make("input", { type: "search", placeholder: "Find a class", ariaLabel: "Find a class" });
  const found = make("p", { className: "quiet small", role: "status" });
  const texts = classes.map((name) => name.toLowerCase());
  search.addEventListener("input", () => {
    const words = search.value.trim().toLowerCase();
    chips.forEach((chip, place) => (chip.hidden = !texts[place].includes(words)));
    found.textContent = words ? `${chips.filter((chip) => !chip.hidden).length.toLocaleString("en")} found` : "";
  });
  return [title, make("div", { className: "finder" }, search, found), list];
}

function weakest(classes) {
  if (classes.length === 0) return [];
  const head = ["Class", "Test pictures", "Recognized", "Right when named"].map((words, place) => make("th", { scope: "col", className: place ? "number" : "" }, words));
  const rows = classes.slice(0, WORST).map(({ name, n, recall, precision }) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, named(name)),
      make("td", { className: "number" }, n.toLocaleString("en")),
      make("td", { className: "number" }, percent(recall.value), " ", make("small", { className: "quiet" }, `(${between(recall)})`)),
      make("td", { className: "number" }, percent(precision.value)),
    ),
  );
  const table = make("table", { className: "scores" }, make("thead", {}, make("tr", {}, head)), make("tbody", {}, rows));
  return [make("h3", {}, "Classes it confuses most"), table];
}

function facts(model) {
  const [channels, height, width] = model.input_size;
  const way = RESIZED[model.resize] ?? "resized, and cropped to the middle";
  const { images, source, weights, trust } = model;
  const rows = [
    ["What it sees", `${width} × ${height} pixels${channels === 1 ? ", in gray" : ""}; pictures are ${way}`],
    images && ["Trained on", `${counted(images.train, "picture")}${source ? ` of ${printable(source)}` : ""}, and ${images.valid.toLocaleString("en")} more to choose`],
    trust && ["Unsure if", `more than one class is needed to include the right one for ${outOf(trust.coverage)} pictures${trust.strangeness_threshold === null ? "" : ", or the picture is unlike anything in training"}`],
    ["Network", printable(model.architecture?.name ?? "unknown")],
    weights && ["Started from", `${printable(weights.source)}, license ${printable(weights.license)}`],
    model.sha256 && ["SHA-256", make("code", {}, model.sha256)],
  ];
  const list = rows.filter(Boolean).flatMap(([term, words]) => [make("div", {}, make("dt", {}, term), make("dd", {}, words))]);
  return [make("h3", {}, "How it was made"), make("dl", { className: "facts" }, list)];
}
