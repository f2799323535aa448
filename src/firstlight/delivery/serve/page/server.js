// What the page asks the server, and why the server may refuse, in plain words.

let token = null; // kept nowhere else, so that it is gone with the page

export const useToken = (text) => {
  token = text;
};

export const hasToken = () => token !== null;

export class Refused extends Error {
  constructor(kind, message, seconds = 0) {
    super(message);
    this.kind = kind; // token, busy, gone, large, or other
    this.seconds = seconds; // to wait, if it is busy
  }
}

const LONGEST_WAIT = 30; // seconds
const WORDS = {
  400: "The server could not read what the page sent.",
  403: "The server does not take requests from this address. Open the page by the address that the server printed.",
  404: "This server cannot do that.",
  408: "The picture took too long to arrive. Try again, or send a smaller one.",
  413: "The picture is too large for this server.",
  415: "The server does not take files of this kind.",
  500: "Something went wrong in the server. Its terminal shows more.",
  504: "The server took too long over this picture.",
};

// `answers` are the other statuses, besides those of success, that come with an answer.
async function ask(path, options = {}, answers = []) {
  const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Refused("gone", "The server does not answer. Is it still running?");
  }
  if (response.ok || answers.includes(response.status)) return response;
  if (response.status === 401) throw new Refused("token", "The server does not accept this token.");
  if (response.status === 503 || response.status === 429) {
    const asked = Number(response.headers.get("Retry-After"));
    throw new Refused("busy", "The server is busy.", Math.min(LONGEST_WAIT, asked > 0 ? asked : 1));
  }
  const kind = response.status === 413 ? "large" : "other";
  throw new Refused(kind, WORDS[response.status] ?? (await reasonIn(response)));
}

async function reasonIn(response) {
  const general = `The server answered with status ${response.status}.`;
  try {
    const { error, detail } = await response.json();
    const reason = error ?? detail;
    return typeof reason === "string" ? reason : general;
  } catch {
    return general;
  }
}

export const model = async () => (await ask("model")).json();

export async function predict(pictures, signal) {
  const body = new FormData();
  for (const { file, name } of pictures) body.append("files", file, name);
  return (await ask("predict", { method: "POST", body, signal }, [422])).json(); // 422: none of them can be used
}

// The picture in gray with its heatmap for a class, as an image file.
export async function explain(picture, label, signal) {
  const body = new FormData();
  body.append("files", picture.file, picture.name);
  const path = `explain?${new URLSearchParams({ label })}`;
  return (await ask(path, { method: "POST", body, signal })).blob();
}

export async function isAlive() {
  try {
    return (await fetch("health/live", { cache: "no-store" })).ok;
  } catch {
    return false;
  }
}
