// What a screen reader says aloud, in the page's one live region.

import { byId } from "./elements.js";

const PAUSE = 8000; // milliseconds between words about progress
let last = 0;

export function say(words) {
  byId("said").textContent = words;
}

export function sayNowAndThen(words) {
  if (Date.now() - last < PAUSE) return;
  last = Date.now();
  say(words);
}
