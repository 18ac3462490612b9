// Files in groups, with progress. Without this script the form works as it is: one request.

const $ = (id) => document.getElementById(id);
const form = $("upload"), files = $("files"), folder = $("folder"), drop = form.querySelector(".drop");
const GROUP = 50, GROUP_BYTES = 64 << 20, TRIES = 5;
let dropped = [];

drop.querySelector(".folder").hidden = false;
const chosen = () => [...files.files, ...folder.files, ...dropped];

function tell() {
  const all = chosen();
  const size = all.reduce((sum, file) => sum + file.size, 0) / 1e6;
  $("chosen").textContent = all.length ? `${all.length} ${all.length === 1 ? "file" : "files"}, ${size.toFixed(1)} MB` : "";
  files.required = all.length === 0;
}
files.addEventListener("change", tell);
folder.addEventListener("change", tell);

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

function groups(all) {
  const found = [[]];
  let bytes = 0;
  for (const file of all) {
    const last = found.at(-1);
    if (last.length && (last.length === GROUP || bytes + file.size > GROUP_BYTES)) { found.push([file]); bytes = file.size; }
    else { last.push(file); bytes += file.size; }
  }
  return found;
}

function post(path, data, key, sent) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("Accept", "application/json");
    if (key) request.setRequestHeader("Idempotency-Key", key);
    request.upload.addEventListener("progress", (event) => sent(event.loaded));
    request.addEventListener("error", () => failed(new TypeError("The connection was lost.")));
    request.addEventListener("load", () => {
      let said = {};
      try { said = JSON.parse(request.responseText); } catch { /* a proxy's page */ }
      if (request.status < 300) done(said);
      else if (request.status >= 502) failed(new TypeError("The server does not answer."));
      else failed(new Error([said.detail || "The server refused the files.", ...(said.rejected || []).map((one) => `${one.filename}: ${one.message}`)].join(" ")));
    });
    request.send(data);
  });
}

// A lost connection is tried again: what is there already is not stored twice.
async function persist(path, make, key, sent) {
  for (let go = 1; ; go += 1) {
    try {
      return await post(path, make(), key, sent);
    } catch (error) {
      if (!(error instanceof TypeError) || go === TRIES) throw error;
      $("said").textContent = `${error.message} Trying again …`;
      await new Promise((done) => setTimeout(done, 1000 * go));
    }
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const all = chosen(), total = all.reduce((sum, file) => sum + file.size, 0) || 1;
  if (!all.length) return;
  const button = form.querySelector("button:not(.quiet)"), problem = $("problem");
  button.disabled = true;
  problem.hidden = true;
  $("sending").hidden = false;
  let before = 0;
  const progress = (loaded) => {
    $("sent").value = Math.min(1, (before + loaded) / total);
    $("said").textContent = `${Math.min(100, Math.floor(100 * (before + loaded) / total))} %`;
  };
  const rejected = [];
  try {
    const parts = groups(all);
    const fields = () => {
      const data = new FormData();
      data.append("name", form.elements.name.value);
      for (const one of form.querySelectorAll("input[name=template]:checked")) data.append("template", one.value);
      const threshold = form.elements.release_threshold.value;
      if (threshold) data.append("release_threshold", threshold);
      return data;
    };
    const add = (data, part) => { for (const file of part) data.append("files", file, file.webkitRelativePath || file.name); return data; };
    const first = () => { const data = fields(); if (parts.length > 1) data.append("keep_open", "true"); return add(data, parts[0]); };
    const batch = await persist(form.action, first, crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`, progress);
    rejected.push(...batch.rejected);
    before = parts[0].reduce((sum, file) => sum + file.size, 0);
    for (const part of parts.slice(1)) {
      const more = await persist(`/batches/${batch.id}/upload`, () => add(new FormData(), part), null, progress);
      rejected.push(...more.rejected);
      before += part.reduce((sum, file) => sum + file.size, 0);
    }
    if (parts.length > 1) await post(`/batches/${batch.id}/close`, new FormData(), null, () => {});
    if (!rejected.length) { location.assign(`/batches/${batch.id}`); return; }
    $("sending").hidden = true;
    problem.textContent = `Sent, but these were not taken: ${rejected.map((one) => `${one.filename} (${one.message})`).join(" ")} `;
    const link = document.createElement("a");
    link.href = `/batches/${batch.id}`;
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
