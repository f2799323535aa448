// The page: pictures come in, are sent, and their answers are shown, one in full or many in a table.

import { showAbout, showTitle } from "./about.js";
import { showAnswer } from "./answer.js";
import { prepareCamera } from "./camera.js";
import { csvOf, download } from "./csv.js";
import { byId } from "./elements.js";
import { dropped, forget, pasted, pictureOf } from "./pictures.js";
import { say, sayNowAndThen } from "./saying.js";
import { Sending } from "./sending.js";
import { hasToken, model as askForModel, useToken } from "./server.js";
import { clearRows, kindOfAnswer, openerOf, updateRow } from "./table.js";
import { counted, spoken } from "./words.js";

const NARROW = matchMedia("(max-width: 48rem)"); // where an answer is below the picture

let model = null;
let pictures = [];
let shown = null; // the picture that is shown in full
let drawing = false;
const sending = new Sending({ changed, told, delayed });

function give(added) {
  if (added.length === 0 || !model) return;
  problem(null);
  pictures.push(...added);
  byId("give").classList.add("compact");
  shown = added.length === 1 ? added[0] : null;
  byId("answer").hidden = true;
  if (pictures.length > 1) for (const picture of pictures) updateRow(picture, open);
  sending.send(added);
  if (!shown) return;
  draw();
  byId("answer").scrollIntoView({ block: NARROW.matches ? "start" : "nearest" });
}

function changed(picture) {
  if (picture && pictures.length > 1) updateRow(picture, open);
  if (picture && picture === shown) draw();
  if (picture && picture === shown && picture.state === "done") say(spoken(picture.answer));
  if (picture && picture === shown && picture.state === "failed") say(`No answer. ${picture.error}`);
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawMany();
  });
}

function draw() {
  if (!pictures.includes(shown)) return;
  const place = pictures.indexOf(shown);
  const step = (by) => pictures[place + by] && (() => open(pictures[place + by]));
  const buttons = shown.state === "stopped" ? [["Try again", () => sending.send([shown])]] : [];
  if (pictures.length > 1) buttons.push(["Previous", step(-1)], ["Next", step(1)], ["Close", close]);
  showAnswer(shown, { trust: model.trust, buttons });
}

function open(picture) {
  shown = picture;
  draw();
  byId("answer").scrollIntoView();
  byId("answer-title").focus({ preventScroll: true });
}

function close() {
  const opener = openerOf(shown);
  shown = null;
  byId("answer").hidden = true;
  opener?.focus();
}

function drawMany() {
  byId("many").hidden = pictures.length < 2;
  if (pictures.length < 2) return;
  const count = { sure: 0, unsure: 0, failed: 0, waiting: 0 };
  for (const picture of pictures) count[kindOfAnswer(picture)] += 1;
  const done = pictures.length - count.waiting;
  byId("many-title").textContent = counted(pictures.length, "picture");
  byId("progress").max = pictures.length;
  byId("progress").value = done;
  byId("progress").hidden = !sending.busy;
  byId("cancel").hidden = !sending.busy;
  byId("again").hidden = sending.busy || !pictures.some(({ state }) => state === "stopped");
  byId("download").disabled = sending.busy;
  const parts = [`${count.sure.toLocaleString("en")} ${model.trust ? "sure" : "answered"}`];
  if (model.trust) parts.push(`${count.unsure.toLocaleString("en")} unsure`);
  if (count.failed > 0) parts.push(`${count.failed.toLocaleString("en")} without an answer`);
  const words = sending.busy ? `${done.toLocaleString("en")} of ${counted(pictures.length, "picture")}` : parts.join(", ");
  const before = byId("counts").textContent;
  byId("counts").textContent = words;
  if (sending.busy) sayNowAndThen(words);
  else if (before !== words && !shown) say(`${counted(pictures.length, "picture")}: ${words}.`);
}

function told(refused) {
  if (refused.kind === "token") return lock("The server asks for the token again.");
  problem(refused.message);
}

function delayed(seconds) {
  problem(seconds ? `The server is busy. Trying again in ${counted(seconds, "second")} …` : null);
}

function problem(words) {
  byId("problem").textContent = words ?? "";
  byId("problem").hidden = !words;
}

function lock(words) {
  byId("locked").hidden = false;
  byId("open").hidden = true;
  byId("token-problem").textContent = words;
  byId("lead").textContent = "";
  byId("token").focus();
}

async function begin() {
  try {
    model = await askForModel();
  } catch (error) {
    if (error.kind === "token") return lock(byId("locked").hidden ? "" : error.message);
    byId("lead").textContent = "";
    return problem(error.message);
  }
  showTitle(model);
  showAbout(model);
  byId("filter-unsure").hidden = !model.trust;
  byId("locked").hidden = true;
  byId("open").hidden = false;
  byId("docs").hidden = hasToken(); // which a link cannot carry
  problem(null);
}

byId("token-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  useToken(byId("token").value.trim());
  byId("token").value = "";
  await begin();
  if (!byId("open").hidden) byId("choose").focus();
});

byId("choose").addEventListener("click", () => byId("files").click());
byId("files").addEventListener("change", ({ target }) => {
  give([...target.files].map((file) => pictureOf(file)));
  target.value = "";
});
document.addEventListener("paste", (event) => {
  const found = pasted(event.clipboardData);
  if (found.length > 0) event.preventDefault();
  give(found);
});
document.addEventListener("dragover", (event) => {
  if (![...event.dataTransfer.types].includes("Files")) return;
  event.preventDefault();
  document.body.classList.add("dragging");
});
for (const over of ["dragleave", "dragend"]) {
  document.addEventListener(over, (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
}
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  const found = await dropped(event.dataTransfer);
  give(found);
  if (found.length === 0) problem("Nothing that you dropped is a picture.");
});
prepareCamera(give);

byId("cancel").addEventListener("click", () => {
  sending.cancel();
  byId("many-title").focus();
});
byId("again").addEventListener("click", () => {
  sending.send(pictures.filter(({ state }) => state === "stopped"));
  byId("many-title").focus();
});
byId("download").addEventListener("click", () => download(csvOf(pictures), "predictions.csv"));
byId("clear").addEventListener("click", () => {
  sending.cancel();
  for (const picture of pictures) forget(picture);
  pictures = [];
  shown = null;
  clearRows();
  byId("answer").hidden = true;
  byId("give").classList.remove("compact");
  drawMany();
  say("All pictures were removed.");
  byId("choose").focus();
});
byId("filter").addEventListener("change", ({ target }) => {
  byId("rows").dataset.show = target.value;
});

begin();
