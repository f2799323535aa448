// One picture and all that the model says about it.

import { bar, byId, make, named, printable } from "./elements.js";
import { heatmapFor } from "./heatmap.js";
import { kindOf } from "./pictures.js";
import { counted, isStranger, outOf, percent, whyNot, whyUnsure } from "./words.js";

const COVERAGE = 0.9; // of sets, as firstlight always makes them

// Buttons are [words, action] each; an action of null has nothing to do now.
export function showAnswer(picture, { trust, buttons }) {
  const section = byId("answer");
  const { figure, frame } = framed(picture);
  const said = make("div", { className: "said" }, make("p", { className: "eyebrow" }, named(picture.name)));
  if (picture.answer) {
    said.append(...answered(picture.answer, trust));
    figure.append(...heatmapFor(picture, frame));
  } else said.append(...unanswered(picture));
  if (buttons.length > 0) said.append(make("div", { className: "buttons steps" }, buttons.map(stepButton)));
  section.replaceChildren(figure, said);
  section.hidden = false;
  section.classList.toggle("pending", ["waiting", "sending"].includes(picture.state));
}

function stepButton([words, action]) {
  const button = make("button", { type: "button", className: "second", disabled: !action }, words);
  if (action) button.addEventListener("click", action);
  return button;
}

function framed(picture) {
  const image = make("img", { src: picture.url, alt: `The picture ${picture.name}` });
  const frame = make("div", { className: "frame" }, image);
  image.addEventListener("load", () => image.classList.toggle("sharp", image.naturalWidth < 96));
  image.addEventListener("error", () =>
    image.replaceWith(make("p", { className: "absent" }, `No preview: the browser cannot show this ${kindOf(picture)} file.`)),
  );
  return { frame, figure: make("figure", {}, frame) };
}

function unanswered({ state, error }) {
  const title = (words) => make("h2", { id: "answer-title", tabIndex: -1 }, words);
  if (state === "failed") return [title("No answer"), make("p", { className: "notice" }, printable(whyNot(error)))];
  if (state === "stopped") return [title("Not sent"), make("p", { className: "quiet" }, "This picture has not been classified.")];
  return [title("Waiting for the answer …"), make("p", { className: "quiet" }, "The picture is being sent and classified.")];
}

function answered(answer, trust) {
  const { label, probability, unsure, top } = answer;
  const title = make(
    "h2",
    { id: "answer-title", tabIndex: -1, className: unsure ? "doubtful" : "" },
    named(label),
    " ",
    make("span", { className: "share" }, percent(probability)),
  );
  const badge = { true: ["badge", "Unsure"], false: ["badge calm", "Sure"] }[unsure];
  const verdict = badge && make("p", { className: "verdict" }, make("span", { className: badge[0] }, badge[1]));
  return [
    verdict ?? null,
    title,
    make("p", { className: "why" }, ...whyOf(answer)),
    make("h3", {}, top.length > 1 ? "Most probable classes" : "Most probable class"),
    make("ol", { className: "bars" }, top.map(guessRow)),
    ...possible(answer, trust),
  ].filter(Boolean);
}

function whyOf(answer) {
  if (answer.unsure) return whyUnsure(answer);
  if (answer.unsure === false) return ["Only one class remains possible."];
  return ["This model cannot tell when it is unsure."];
}

const guessRow = ({ label, probability }) =>
  make("li", {}, make("span", { className: "label" }, named(label)), " ", make("span", { className: "number" }, percent(probability)), bar(probability));

const MOST = 12; // classes of a set that are shown before the rest

function possible(answer, trust) {
  const { set } = answer;
  if (!set || set.length === 0) return [];
  const chips = set.slice(0, MOST).map((name) => make("li", {}, named(name)));
  const rest = set.length - chips.length;
  if (rest > 0) chips.push(make("li", { className: "rest" }, `and ${rest.toLocaleString("en")} more`));
  const title = set.length > 1 ? "Classes that remain possible" : "The class that remains possible";
  return [
    make("h3", {}, title),
    make("ul", { className: "chips" }, chips),
    make("p", { className: "quiet small" }, promise(answer, trust)),
  ];
}

function promise(answer, trust) {
  if (isStranger(answer)) return "These usually include the right class, but only for pictures like those in training.";
  const tested = trust?.test?.single_accuracy;
  if (answer.set.length === 1 && tested?.n > 0) {
    return `When only one class remained possible, it was the right one for ${percent(tested.value)} of ${counted(tested.n, "test picture")}.`;
  }
  return `For pictures like those in training, the right class is among those that remain in ${outOf(trust?.coverage ?? COVERAGE)} cases.`;
}
