// Photograph with a camera of this device; where the page may not use it, the device's own camera app takes the photo.

import { byId } from "./elements.js";
import { pictureOf } from "./pictures.js";

const QUALITY = 0.95;
const WORDS = {
  NotAllowedError: "This page is not allowed to use the camera. Allow it in the browser's settings for this page, or choose a picture.",
  NotFoundError: "This device has no camera that the browser can use.",
  NotReadableError: "Another program is using the camera. Close it and try again.",
};
const UNSAFE =
  "Browsers let a page use the camera only over https or on the machine itself. The camera app of this device can take the photo.";

let stream = null;
let cameras = [];
let photos = 0;

export function prepareCamera(give) {
  const dialog = byId("camera");
  byId("capture").addEventListener("click", async () => {
    give([await photo(byId("viewfinder"))]);
    dialog.close();
  });
  byId("turn").addEventListener("click", () => {
    const now = stream?.getVideoTracks()[0]?.getSettings().deviceId;
    const place = cameras.findIndex((camera) => camera.deviceId === now);
    start({ deviceId: { exact: cameras[(place + 1) % cameras.length].deviceId } });
  });
  byId("shot").addEventListener("change", ({ target }) => {
    const files = [...target.files];
    target.value = "";
    dialog.close();
    give(files.map((file) => pictureOf(file)));
  });
  byId("close-camera").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", stop);
  byId("photograph").addEventListener("click", () => {
    dialog.showModal();
    start({ facingMode: "environment" });
  });
}

async function start(wish) {
  stop();
  byId("capture").disabled = true;
  let problem = null;
  if (navigator.mediaDevices?.getUserMedia) {
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { ...wish, width: { ideal: 1920 } } });
      cameras = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "videoinput");
    } catch (error) {
      problem = WORDS[error.name] ?? "The camera cannot be used.";
    }
  } else problem = UNSAFE;
  if (stream && !byId("camera").open) return stop(); // closed while the browser was asking
  const video = byId("viewfinder");
  video.srcObject = stream;
  byId("camera-problem").textContent = problem ?? "";
  byId("camera-problem").hidden = !problem;
  byId("fallback").hidden = !problem;
  for (const id of ["viewfinder", "capture"]) byId(id).hidden = Boolean(problem);
  byId("turn").hidden = Boolean(problem) || cameras.length < 2;
  if (problem) return;
  await video.play().catch(() => {});
  byId("capture").disabled = false;
  byId("capture").focus();
}

function stop() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  byId("viewfinder").srcObject = null;
}

async function photo(video) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
  photos += 1;
  return pictureOf(new File([blob], `photo-${photos}.jpg`, { type: "image/jpeg" }));
}
