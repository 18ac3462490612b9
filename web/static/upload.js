// Files in groups, with progress. Without this script the form works as it is: one request.
// A connection that is lost, or a server that starts anew, is waited for: what the server has is
// not stored twice, and what it does not have is sent again.

const $ = (id) => document.getElementById(id);
const form = $("upload"), files = $("files"), folder = $("folder"), camera = $("camera"), drop = form.querySelector(".drop");
const GROUP = 50, GROUP_BYTES = 64 << 20, LONGEST_WAIT = 10000;
const HASHED_BYTES = 64 << 20; // larger files are known by name and size: a hash would take them into memory
let dropped = [], photos = [];

drop.querySelector(".folder").hidden = false;
drop.querySelector(".camera").hidden = false;
const chosen = () => [...files.files, ...folder.files, ...dropped, ...photos];
const nameOf = (file) => file.webkitRelativePath || file.name;
const count = (number) => `${number.toLocaleString("en")} ${number === 1 ? "file" : "files"}`;

function tell() {
  const all = chosen();
  const size = all.reduce((sum, file) => sum + file.size, 0) / 1e6;
  $("chosen").textContent = all.length ? `${count(all.length)}, ${size.toFixed(1)} MB` : "";
  files.required = all.length === 0;
}
files.addEventListener("change", tell);
folder.addEventListener("change", tell);
for (const one of document.querySelectorAll(".templates-of input")) {
  one.addEventListener("change", () => { form.querySelector("input[type=radio][name=template][value='']").checked = true; });
}

// --- dropped files ------------------------------------------------------------------------------

for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", async (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  for (const entry of entries) dropped.push(...await filesOf(entry));
  tell();
});

async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((done, failed) => entry.file(done, failed))];
  const reader = entry.createReader(), found = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return found;
    for (const one of some) found.push(...await filesOf(one));
  }
}

// --- photographs --------------------------------------------------------------------------------

let photo = null;

camera.addEventListener("change", async () => {
  const [taken] = camera.files;
  if (!taken) return;
  // Phones name every photograph alike.
  const ending = /\.[a-z0-9]+$/i.exec(taken.name)?.[0] ?? ".jpg";
  photo = new File([taken], `photo-${photos.length + 1}${ending}`, { type: taken.type });
  $("photo").hidden = false;
  $("photo-said").textContent = "Looking for the sheet …";
  const image = new Image();
  image.src = URL.createObjectURL(photo);
  await image.decode().catch(() => {});
  show(image, null);
  const data = new FormData();
  data.append("page", photo);
  try {
    const said = await (await fetch("/upload/outline", { method: "POST", headers: { Accept: "application/json" }, body: data })).json();
    if (said.detail) { $("photo-said").textContent = said.detail; return; }
    show(image, said.corners);
    $("photo-said").textContent = said.corners ? "This is the sheet that was found." : "No edge of a sheet was seen. If it is on a table of the same tone, lay it on something darker.";
  } catch {
    $("photo-said").textContent = "The server does not answer. The photograph can be used all the same.";
  }
});

function show(image, corners) {
  const wide = image.naturalWidth || 4, high = image.naturalHeight || 3, view = $("photo-view");
  const make = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  view.setAttribute("viewBox", `0 0 ${wide} ${high}`);
  view.replaceChildren(make("image", { href: image.src, width: wide, height: high }));
  if (corners) view.append(make("polygon", { points: corners.map(([x, y]) => `${x * wide},${y * high}`).join(" ") }));
}

function putAway(used) {
  if (used && photo) photos.push(photo);
  photo = null;
  camera.value = "";
  $("photo").hidden = true;
  tell();
}
$("photo-use").addEventListener("click", () => { putAway(true); camera.focus(); });
$("photo-again").addEventListener("click", () => { putAway(false); camera.click(); });

// --- sending ------------------------------------------------------------------------------------

function groups(all) {
  const found = [];
  let bytes = 0;
  for (const file of all) {
    const last = found.at(-1);
    if (!last || last.length === GROUP || bytes + file.size > GROUP_BYTES) { found.push([file]); bytes = file.size; }
    else { last.push(file); bytes += file.size; }
  }
  return found;
}

class Away extends Error {}

function post(path, data, headers, sent) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("Accept", "application/json");
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => sent(event.loaded));
    request.addEventListener("error", () => failed(new Away("The connection is lost.")));
    request.addEventListener("load", () => {
      let said = null;
      try { said = JSON.parse(request.responseText); } catch { /* a proxy's page */ }
      if (request.status >= 500) failed(new Away("The server does not answer."));
      else if (request.status === 429) failed(new Away("The server has many pages to read."));
      else if (request.status < 300 && said !== null) done(said);
      else failed(Object.assign(new Error([said?.detail || "The server refused the files.", ...(said?.rejected || []).map((one) => `${one.filename}: ${one.message}`)].join(" ")), { rejected: said?.rejected }));
    });
    request.send(data);
  });
}

// Until it is there: nobody has to watch, and nothing is stored twice.
async function persist(path, make, headers, sent = () => {}) {
  for (let wait = 1000; ; wait = Math.min(LONGEST_WAIT, 2 * wait)) {
    try {
      return await post(path, make(), headers, sent);
    } catch (error) {
      if (!(error instanceof Away)) throw error;
      $("said").textContent = `${error.message} It is tried again, and goes on where it was …`;
      await new Promise((done) => { setTimeout(done, wait); addEventListener("online", done, { once: true }); });
    }
  }
}

async function offer(file) {
  const told = { name: nameOf(file), size: file.size };
  if (globalThis.crypto?.subtle && file.size <= HASHED_BYTES) {
    const hash = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
    told.sha256 = Array.from(new Uint8Array(hash), (one) => one.toString(16).padStart(2, "0")).join("");
  }
  return told;
}

async function missing(batch, all) {
  $("said").textContent = "Looking at what is there already …";
  const offered = [];
  for (const file of all) offered.push(await offer(file));
  const there = await persist(`/batches/${batch}/have`, () => JSON.stringify(offered), { "Content-Type": "application/json" });
  return all.filter((_, index) => !there[index]);
}

function showEach(part, loaded) {
  let before = 0;
  const items = part.map((file) => {
    const share = Math.max(0, Math.min(1, (loaded - before) / (file.size || 1)));
    before += file.size;
    const item = document.createElement("li"), bar = document.createElement("progress");
    bar.max = 1;
    bar.value = share;
    bar.setAttribute("aria-label", `Sent of ${nameOf(file)}`);
    item.append(bar, ` ${nameOf(file)}`);
    return item;
  });
  $("each").replaceChildren(...items);
}

function options() {
  const data = new FormData();
  const taken = new Set(["files"]);
  for (const [name, value] of new FormData(form)) if (!taken.has(name) && !(value instanceof File) && value !== "") data.append(name, value);
  data.append("keep_open", "true");
  return data;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const all = chosen();
  if (!all.length) return;
  const button = form.querySelector("button:not([type])"), problem = $("problem");
  button.disabled = true;
  problem.hidden = true;
  $("sending").hidden = false;
  const rejected = [];
  let batch = form.dataset.batch;
  try {
    const left = batch ? await missing(batch, all) : all;
    const total = all.reduce((sum, file) => sum + file.size, 0) || 1;
    let done = total - left.reduce((sum, file) => sum + file.size, 0), number = all.length - left.length;
    const key = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
    for (const part of groups(left)) {
      const progress = (loaded) => {
        const share = Math.min(1, (done + loaded) / total);
        $("sent").value = share;
        $("said").textContent = `${Math.floor(100 * share)} %, ${number.toLocaleString("en")} of ${count(all.length)}`;
        showEach(part, loaded);
      };
      progress(0);
      const make = (data) => { for (const file of part) data.append("files", file, nameOf(file)); return data; };
      try {
        const said = batch
          ? await persist(`/batches/${batch}/upload`, () => make(new FormData()), {}, progress)
          : await persist(form.action, () => make(options()), { "Idempotency-Key": key }, progress);
        rejected.push(...said.rejected);
        if (!batch) {
          batch = form.dataset.batch = said.id;
          history.replaceState(null, "", `/upload?batch=${batch}`); // a reload goes on with this batch
        }
      } catch (error) {
        if (!error.rejected?.length || (!batch && part.length === all.length)) throw error;
        rejected.push(...error.rejected);
      }
      done += part.reduce((sum, file) => sum + file.size, 0);
      number += part.length;
    }
    if (!batch) throw new Error("None of the files can be taken.");
    await close(batch);
    if (!rejected.length) {
      location.assign(`/batches/${batch}`);
      return;
    }
    $("sending").hidden = true;
    problem.textContent = `Sent, but these were not taken: ${rejected.map((one) => `${one.filename} (${one.message})`).join(" ")} `;
    const link = document.createElement("a");
    link.href = `/batches/${batch}`;
    link.textContent = "To the batch";
    problem.append(link);
    problem.hidden = false;
  } catch (error) {
    $("sending").hidden = true;
    problem.textContent = error.message;
    problem.hidden = false;
    button.disabled = false;
  }
});

async function close(batch) {
  await persist(`/batches/${batch}/close`, () => new FormData(), {});
}
