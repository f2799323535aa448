// Send pictures in small batches, two at a time, so that hundreds work and the answers appear as they come.

import { isAlive, predict, Refused } from "./server.js";

const PICTURES = 8; // in a batch, at most
const BYTES = 8 * 2 ** 20; // in a batch of several pictures, at most
const LANES = 2; // batches under way: one is being decoded while the other is being classified
const TRIES = 30; // for one batch, of a server that is busy
const LOST = "The server ended the connection. The picture may be too large for it.";

export class Sending {
  // changed(picture) is called whenever a picture has a new state; told(refused), when all had to stop; delayed(seconds), when the server asks to wait, or with 0 when it goes on.
  constructor({ changed, told, delayed }) {
    Object.assign(this, { changed, told, delayed, queue: [], lanes: 0, stop: new AbortController() });
  }

  get busy() {
    return this.lanes > 0;
  }

  send(pictures) {
    this.markAll(pictures, "waiting");
    this.queue.push(...pictures);
    if (this.stop.signal.aborted) this.stop = new AbortController();
    while (this.lanes < LANES && this.queue.length > this.lanes * PICTURES) this.lane(this.stop.signal);
  }

  // What has no answer yet is left for another try.
  cancel(reason = "canceled") {
    this.stop.abort(reason);
    for (const picture of this.queue.splice(0)) this.mark(picture, "stopped", reason);
  }

  async lane(signal) {
    this.lanes += 1;
    try {
      while (this.queue.length > 0 && !signal.aborted) await this.batch(this.next(), signal);
    } finally {
      this.lanes -= 1;
      this.changed(null);
    }
  }

  next() {
    let bytes = 0;
    let count = 0;
    while (count < Math.min(PICTURES, this.queue.length)) {
      bytes += this.queue[count].file.size;
      if (count > 0 && bytes > BYTES) break;
      count += 1;
    }
    return this.queue.splice(0, count);
  }

  async batch(pictures, signal) {
    this.markAll(pictures, "sending");
    try {
      const answers = await this.patiently(pictures, signal);
      pictures.forEach((picture, place) => this.answered(picture, answers[place]));
    } catch (error) {
      if (signal.aborted) return this.markAll(pictures, "stopped", signal.reason);
      if (!(error instanceof Refused)) throw error;
      const lost = error.kind === "gone" && (await isAlive());
      if (["token", "busy"].includes(error.kind) || (error.kind === "gone" && !lost)) {
        this.cancel("not sent");
        this.markAll(pictures, "stopped", "not sent");
        return this.told(error);
      }
      if (pictures.length === 1) return this.mark(pictures[0], "failed", lost ? LOST : error.message);
      for (const picture of pictures) await this.batch([picture], signal); // so that only one of them fails
    }
  }

  async patiently(pictures, signal) {
    for (let tries = 1; ; tries++) {
      try {
        signal.throwIfAborted();
        const answers = await predict(pictures, signal);
        this.delayed(0);
        if (!Array.isArray(answers) || answers.length !== pictures.length) {
          throw new Refused("other", "The server's answer does not belong to these pictures.");
        }
        return answers;
      } catch (error) {
        if (error.kind !== "busy" || tries === TRIES) throw error;
        this.delayed(error.seconds);
        await pause(error.seconds, signal);
      }
    }
  }

  answered(picture, answer) {
    if (answer.error) return this.mark(picture, "failed", answer.error);
    picture.answer = answer;
    this.mark(picture, "done");
  }

  markAll(pictures, state, error = null) {
    for (const picture of pictures) this.mark(picture, state, error);
  }

  mark(picture, state, error = null) {
    Object.assign(picture, { state, error });
    this.changed(picture);
  }
}

const pause = (seconds, signal) =>
  new Promise((done) => {
    const timer = setTimeout(done, 1000 * seconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), done()), { once: true });
  });
