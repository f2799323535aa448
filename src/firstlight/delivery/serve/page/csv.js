// Answers as a CSV file with the columns of `firstlight predict --csv`.

const FIRST = ["image", "label", "probability", "error", "unsure", "reason", "set", "strangeness"];

// Text that would steer a terminal is written with codes, as in every CSV file of firstlight.
const STEERS = /^\$'|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/;
const coded = (text) =>
  `$'${text.replace(/[\\\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g, (one) =>
    one === "\\" ? "\\\\" : `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`)}'`;

// Text that a spreadsheet would run as a formula gets an apostrophe in front.
const cell = (value) => {
  if (value === null || value === undefined) return "";
  const text = String(value);
  const isFormula = typeof value === "string" && /^'*[=+\-@\t\r]/.test(text);
  const safe = STEERS.test(text) ? coded(text) : isFormula ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

export function csvOf(pictures) {
  const top = Math.max(1, ...pictures.map(({ answer }) => answer?.top.length ?? 0));
  const others = Array.from({ length: top - 1 }, (_, place) => [`label_${place + 2}`, `probability_${place + 2}`]);
  const rows = pictures.map((picture) => cellsOf(picture, top));
  return [[...FIRST, ...others.flat()], ...rows].map((row) => `${row.map(cell).join(",")}\n`).join("");
}

function cellsOf({ name, answer, error }, top) {
  const { label, probability, unsure, reason, set, strangeness, top: guesses = [] } = answer ?? {};
  const rest = Array.from({ length: top - 1 }, (_, place) => guesses[place + 1]);
  const possible = set ? set.join("; ") : null;
  const first = [name, label, probability, answer ? null : error, unsure, reason, possible, strangeness];
  return [...first, ...rest.flatMap((guess) => [guess?.label, guess?.probability])];
}

export function download(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
