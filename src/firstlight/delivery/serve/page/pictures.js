// Pictures that a person gives: from the file chooser, dropped with or without folders, pasted, or photographed.

const KNOWN = /\.(avif|bmp|gif|heic|heif|jfif|jpe?g|png|tiff?|webp|pgm|ppm|pbm|pnm|jp2)$/i;
const isHidden = (path) => path.split("/").some((part) => part.startsWith(".") || part === "__MACOSX");
let count = 0;

// A picture is waiting, sending, done, failed (it has no answer, and an error), or stopped (it can be sent again).
export const pictureOf = (file, name = file.name) => ({
  id: ++count,
  file,
  name: name || `picture ${count}`,
  url: URL.createObjectURL(file),
  state: "waiting",
  answer: null,
  error: null,
});

export const forget = (picture) => URL.revokeObjectURL(picture.url);

export const kindOf = (picture) => {
  const ending = /\.([a-z0-9]{1,5})$/i.exec(picture.name);
  return ending ? ending[1].toUpperCase() : "file";
};

// All files that were dropped; of folders only the pictures in them, named by their paths.
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files].map((file) => pictureOf(file));
  const found = [];
  for (const entry of entries) await gather(entry, "", found);
  return found;
}

async function gather(entry, folder, found) {
  const path = folder + entry.name;
  if (entry.isDirectory) {
    for (const one of await childrenOf(entry)) await gather(one, `${path}/`, found);
  } else if (folder === "" || (KNOWN.test(path) && !isHidden(path))) {
    const file = await new Promise((done) => entry.file(done, () => done(null)));
    if (file) found.push(pictureOf(file, path));
  }
}

async function childrenOf(folder) {
  const reader = folder.createReader();
  const all = [];
  for (;;) {
    const some = await new Promise((done) => reader.readEntries(done, () => done([]))); // at most 100 at a time
    if (some.length === 0) return all.sort((a, b) => (a.name < b.name ? -1 : 1));
    all.push(...some);
  }
}

// A screenshot has no name of its own.
export const pasted = (transfer) =>
  [...(transfer?.files ?? [])].map((file) => pictureOf(file, file.name === "image.png" ? `pasted-${count + 1}.png` : file.name));
