// Many pictures: one row for each, in the order in which they were given.

import { bar, byId, make, named, printable } from "./elements.js";
import { kindOf } from "./pictures.js";
import { percent, whyInShort, whyNot } from "./words.js";

const rows = new Map();

export function updateRow(picture, open) {
  let row = rows.get(picture.id);
  if (!row) {
    row = rowOf(picture, open);
    rows.set(picture.id, row);
    byId("rows").append(row);
  }
  row.cells[1].replaceChildren(...answerCell(picture));
  row.dataset.kind = kindOfAnswer(picture);
}

export const openerOf = (picture) => rows.get(picture.id)?.querySelector("button");

export function clearRows() {
  rows.clear();
  byId("rows").replaceChildren();
}

export const kindOfAnswer = ({ state, answer }) => {
  if (state === "failed" || state === "stopped") return "failed";
  return state !== "done" ? "waiting" : answer.unsure ? "unsure" : "sure";
};

function rowOf(picture, open) {
  const image = make("img", { src: picture.url, alt: "", loading: "lazy", decoding: "async", width: 56, height: 56 });
  image.addEventListener("error", () => image.replaceWith(make("span", { className: "absent" }, kindOf(picture))));
  const button = make("button", { type: "button", className: "name" }, named(picture.name));
  button.addEventListener("click", () => open(picture));
  const head = make("th", { scope: "row" }, make("div", { className: "given" }, image, button));
  return make("tr", {}, head, make("td"));
}

function answerCell({ state, answer, error }) {
  if (state === "failed") return [make("p", { className: "wrong" }, printable(whyNot(error)))];
  if (state !== "done") {
    const words = { waiting: "waiting", sending: "looking …", stopped: error }[state];
    return [make("p", { className: "quiet" }, words)];
  }
  const best = [make("span", { className: "label" }, named(answer.label)), make("span", { className: "number" }, percent(answer.probability))];
  const why = answer.unsure ? make("p", { className: "why" }, make("span", { className: "badge" }, "unsure"), " ", ...whyInShort(answer)) : null;
  return [make("div", { className: "best" }, ...best, bar(answer.probability)), why].filter(Boolean);
}
