// What the page says about answers, in plain words.

import { either, make, named } from "./elements.js";

const STRANGER = "unlike anything in training"; // as the server says it

export const counted = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

export function percent(fraction) {
  if (fraction < 0.001) return "< 0.1%";
  if (fraction >= 0.9995) return "> 99.9%";
  return `${(100 * fraction).toFixed(1)}%`;
}

// 0.9 is "9 of 10", 0.95 is "95 of 100".
export function outOf(fraction) {
  const tenths = Math.round(10 * fraction);
  return Math.abs(10 * fraction - tenths) < 1e-9 ? `${tenths} of 10` : `${Math.round(100 * fraction)} of 100`;
}

export const isStranger = (answer) => answer.reason === STRANGER;

// Why an answer is unsure, as the children of a paragraph.
export function whyUnsure(answer) {
  if (isStranger(answer)) {
    return ["The picture is unlike anything that the model was trained on. Do not rely on this answer."];
  }
  const possible = answer.set ?? [];
  if (possible.length === 2) return ["The model cannot decide between ", named(possible[0]), " and ", named(possible[1]), "."];
  if (possible.length === 3) return ["It could be ", ...either(possible), "."];
  if (possible.length > 3) return [`It could be any of ${counted(possible.length, "class", "classes")}.`];
  return [answer.reason ? asSentence(answer.reason) : "The model is not sure of this answer."];
}

// The same in a few words, for a row of a table.
export function whyInShort(answer) {
  if (isStranger(answer)) return ["unlike anything in training"];
  const possible = answer.set ?? [];
  if (possible.length === 2) return ["between ", named(possible[0]), " and ", named(possible[1])];
  return possible.length === 3 ? ["could be ", ...either(possible)] : [answer.reason ?? ""];
}

// What a screen reader says about one answer.
export function spoken(answer) {
  const best = `${answer.label}, ${percent(answer.probability)}`;
  if (answer.unsure) return `Unsure. ${textOf(whyUnsure(answer))} Most likely ${best}.`;
  return answer.unsure === false ? `${best}. The model is sure.` : `${best}.`;
}

// Why a picture has no answer: the server says "holds text", and the page whole sentences.
export const whyNot = (error) => (/^\p{Ll}/u.test(error) ? `It cannot be used: ${error}.` : error);

const asSentence = (text) => {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
};

const textOf = (children) => make("p", {}, ...children).textContent;
