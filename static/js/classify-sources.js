// Where pictures come from: what was chosen, dropped or pasted, folders and all.

const PICTURE_NAME = /\.(jpe?g|jfif|png|webp|gif|bmp|dib|tiff?|avif|heic|heif|hif)$/i;
// Where in a dropped folder a file was: the file itself does not tell.
const places = new WeakMap();
const ADDRESS = /^https?:\/\/\S+$/i;

export function looksLikePicture(file) {
  return file.type.startsWith("image/") || PICTURE_NAME.test(file.name);
}

export function hasFiles(transfer) {
  return transfer.types.includes("Files");
}

// The files of a drop, those in folders too: { files, fromFolder }. What the browser hands over is gone
// once the event is, so the entries are asked for at once.
export async function filesOfDrop(transfer) {
  const loose = [...transfer.files];
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return { files: loose, fromFolder: false };
  const files = [];
  for (const entry of entries) await collect(entry, files);
  return { files, fromFolder: true };
}

// Files of a folder in the order that a person would count them.
export function inOrder(files) {
  const order = new Intl.Collator(undefined, { numeric: true });
  const path = (file) => file.webkitRelativePath || places.get(file) || file.name;
  return [...files].sort((one, other) => order.compare(path(one), path(other)));
}

export function addressesIn(text) {
  return text.split(/\s+/).filter((word) => ADDRESS.test(word));
}

export function nameOfAddress(address) {
  try {
    const { hostname, pathname } = new URL(address);
    return decodeURIComponent(pathname.split("/").pop()) || hostname;
  } catch {
    return address;
  }
}

async function collect(entry, files) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    places.set(file, entry.fullPath);
    files.push(file);
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // A reader gives a hundred at a time, and none when it is through.
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const inner of some) await collect(inner, files);
  }
}
