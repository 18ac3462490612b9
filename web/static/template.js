// The boxes of a template on its page: drawn, moved and named here. The text of the template stays
// with the server's rules: what was drawn is sent beside it, and worked into it there.

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const WIDE = 1000; // units of the drawing; a step of a key is one
const SMALLEST = 4;
const editor = $("editor"), svg = $("page"), text = $("text");

let parts = JSON.parse($("parts").textContent);
let part = 0;              // which template of the text is drawn
let fields = [];           // of that template, as they are now
let chosen = -1;
let high = WIDE;
let picture = editor.dataset.picture;
let zoom = 1;
let changed = false;       // since the last save
let inText = false;        // the text was opened: it counts, not the drawing
const before = [];         // for undoing

// --- what is shown ------------------------------------------------------------------------------

function load(found, keep) {
  parts = found;
  part = Math.min(part, parts.length - 1);
  fields = parts[part].fields.map((field) => ({ ...field, box: [...field.box] }));
  high = WIDE * parts[part].page[1] / parts[part].page[0];
  chosen = keep === undefined ? (fields.length ? 0 : -1) : Math.min(keep, fields.length - 1);
  before.length = 0;
  $("undo").disabled = true;
  $("title").value = parts[part].title;
  $("part-choice").hidden = parts.length < 2;
  $("part").replaceChildren(...parts.map((one, index) => new Option(one.name, index, false, index === part)));
  $("unchecked").hidden = parts[part].checked || parts[part].ignored;
  draw();
}

function make(name, attributes, ...inside) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...inside);
  return made;
}

const place = ([x, y, w, h]) => ({ x: x * WIDE, y: y * high, width: w * WIDE, height: h * high });
const label = (field) => field.name.replace(/[-_]/g, " ");

function draw() {
  const focused = document.activeElement?.closest?.("#page .field")?.dataset.index;
  svg.setAttribute("viewBox", `0 0 ${WIDE} ${high}`);
  svg.style.width = `${100 * zoom}%`;
  const shown = [make("rect", { class: "sheet", width: WIDE, height: high })];
  if (picture) shown.push(make("image", { href: picture, width: WIDE, height: high, preserveAspectRatio: "none" }));
  for (const frame of parts[part].frames) shown.push(make("rect", { class: "frame", ...place(frame) }));
  fields.forEach((field, index) => shown.push(drawField(field, index)));
  if (chosen >= 0 && !fields[chosen].fixed) shown.push(...handles(fields[chosen]));
  svg.replaceChildren(...shown);
  $("no-picture").hidden = Boolean(picture);
  if (focused !== undefined) svg.querySelector(`.field[data-index="${focused}"]`)?.focus();
  showPanel();
  showList();
}

function drawField(field, index) {
  const at = place(field.box);
  const group = make("g", {
    class: index === chosen ? "field chosen" : "field", tabindex: 0, role: "button", "data-index": index,
    "aria-pressed": index === chosen, "aria-label": `${label(field)}, box ${index + 1} of ${fields.length}`,
  });
  const name = make("text", { x: at.x + 3, y: Math.max(12, at.y - 3) });
  name.textContent = field.name;
  group.append(make("rect", at), name);
  return group;
}

function handles(field) {
  const { x, y, width, height } = place(field.box);
  const size = 12 * WIDE / Math.max(200, svg.clientWidth);
  return [[0, 0, "nw"], [1, 0, "ne"], [0, 1, "sw"], [1, 1, "se"]].map(([right, low, corner]) => make("rect", {
    class: `handle ${corner}`, "data-right": right, "data-low": low,
    x: x + right * width - size / 2, y: y + low * height - size / 2, width: size, height: size,
  }));
}

function showPanel() {
  const field = fields[chosen];
  $("field").disabled = !field;
  if (!field) return;
  const set = (id, value) => { if ($(id) !== document.activeElement) $(id).value = value; };
  set("f-name", field.name);
  set("f-grammar", field.grammar);
  const kinds = [...$("f-kind").options].map((one) => one.value);
  set("f-kind", kinds.includes(field.grammar) ? field.grammar : "");
  $("f-required").checked = field.required;
  $("f-takes").textContent = field.wrong ?? (field.takes ? `It may hold ${field.takes}.` : "");
  $("f-takes").classList.toggle("error", Boolean(field.wrong));
  ["x", "y", "w", "h"].forEach((side, index) => {
    set(`f-${side}`, (100 * field.box[index]).toFixed(1));
    $(`f-${side}`).disabled = field.fixed;
  });
}

function showList() {
  $("list").replaceChildren(...fields.map((field, index) => {
    const item = document.createElement("li"), jump = document.createElement("button");
    jump.type = "button";
    jump.className = "quiet";
    jump.textContent = field.name;
    if (index === chosen) jump.setAttribute("aria-current", "true");
    jump.addEventListener("click", () => { choose(index); focusBox(index); });
    const holds = document.createElement("small");
    holds.textContent = `${field.grammar}${field.required ? "" : ", may be empty"}`;
    item.append(jump, " ", holds);
    return item;
  }));
}

function choose(index) {
  if (chosen === index) return;
  chosen = index;
  draw();
}

function focusBox(index) {
  svg.querySelector(`.field[data-index="${index}"]`)?.focus();
}

function tell(said) { $("told").textContent = said; }

function tellPlace(field) {
  const [x, y, w, h] = field.box.map((side) => (100 * side).toFixed(1));
  tell(`${label(field)}: ${x} % from the left, ${y} % from the top, ${w} % wide, ${h} % high`);
}

function problem(said) {
  $("problem").textContent = said;
  const line = /^Line (\d+): /.exec(said)?.[1];
  if (line && inText) showLine(Number(line));
}

function showLine(number) {
  const lines = text.value.split("\n");
  const start = lines.slice(0, number - 1).join("\n").length + (number > 1 ? 1 : 0);
  text.focus();
  text.setSelectionRange(start, start + (lines[number - 1] ?? "").length);
}

// --- what is changed ----------------------------------------------------------------------------

function remember() {
  before.push(JSON.stringify({ fields, chosen, title: $("title").value }));
  if (before.length > 200) before.shift();
  $("undo").disabled = false;
  changed = true;
}

function undo() {
  const last = before.pop();
  if (!last) return;
  const kept = JSON.parse(last);
  fields = kept.fields;
  chosen = kept.chosen;
  $("title").value = kept.title;
  $("undo").disabled = before.length === 0;
  draw();
  tell("Undone.");
}

// The frame that a field is measured in bounds it, else the page.
function set(field, x, y, w, h) {
  const wide = Math.max(SMALLEST, Math.min(w, WIDE)), tall = Math.max(SMALLEST, Math.min(h, high));
  const left = Math.max(0, Math.min(x, WIDE - wide)), top = Math.max(0, Math.min(y, high - tall));
  field.box = [left / WIDE, top / high, wide / WIDE, tall / high];
}

function addField(box) {
  remember();
  let number = fields.length + 1;
  while (fields.some((field) => field.name === `field-${number}`)) number += 1;
  const field = { was: null, name: `field-${number}`, box: [0, 0, 0, 0], grammar: "digits", takes: "", required: true, within: null, fixed: false };
  set(field, ...box);
  fields.push(field);
  chosen = fields.length - 1;
  draw();
  focusBox(chosen);
  ask(field);
  tellPlace(field);
}

function deleteField() {
  if (chosen < 0) return;
  remember();
  const [gone] = fields.splice(chosen, 1);
  chosen = Math.min(chosen, fields.length - 1);
  draw();
  if (chosen >= 0) focusBox(chosen); else $("new-box").focus();
  tell(`${label(gone)} is deleted.`);
}

$("new-box").addEventListener("click", () => {
  const last = fields[chosen]?.box ?? [0.4, 0.4, 0.25, 0.04];
  const { x, y, width, height } = place(last);
  addField([x, Math.min(y + 1.4 * height, high - height), width, height]);
});
$("delete").addEventListener("click", deleteField);
$("undo").addEventListener("click", undo);

svg.addEventListener("focusin", (event) => {
  const group = event.target.closest(".field");
  if (group) choose(Number(group.dataset.index));
});

svg.addEventListener("keydown", (event) => {
  const field = fields[chosen];
  if (!field || !event.target.closest(".field")) return;
  const step = event.shiftKey ? 10 : 1;
  const [right, down] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key] ?? [0, 0];
  if (right || down) {
    event.preventDefault();
    if (field.fixed) { tell("This field is read from the line of the bank's print: it has no box of its own."); return; }
    remember();
    const { x, y, width, height } = place(field.box);
    if (event.altKey) set(field, x, y, width + right, height + down);
    else set(field, x + right, y + down, width, height);
    draw();
    tellPlace(field);
  } else if (event.key === "Delete" || event.key === "Backspace") {
    event.preventDefault();
    deleteField();
  } else if (event.key === "Enter" || event.key === "F2") {
    event.preventDefault();
    $("f-name").focus();
    $("f-name").select();
  } else if (event.key === "z" && event.ctrlKey) {
    event.preventDefault();
    undo();
  }
});

// --- mouse and finger ---------------------------------------------------------------------------

let drag = null;
const point = (event) => {
  const box = svg.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * WIDE, (event.clientY - box.top) / box.height * high];
};

svg.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || parts[part].ignored) return;
  const handle = event.target.closest(".handle"), group = event.target.closest(".field");
  const [x, y] = point(event);
  if (handle) {
    drag = { kind: "size", right: handle.dataset.right === "1", low: handle.dataset.low === "1", box: place(fields[chosen].box), x, y };
  } else if (group) {
    choose(Number(group.dataset.index));
    focusBox(chosen);
    if (fields[chosen].fixed) return;
    drag = { kind: "move", box: place(fields[chosen].box), x, y };
  } else if (event.pointerType === "mouse" || $("draw").getAttribute("aria-pressed") === "true") {
    const ghost = make("rect", { class: "ghost" });
    svg.append(ghost);
    drag = { kind: "draw", x, y, ghost };
  } else return;
  event.preventDefault();
  svg.setPointerCapture(event.pointerId);
});

svg.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const [x, y] = point(event), right = x - drag.x, down = y - drag.y;
  if (drag.kind === "draw") {
    for (const [key, value] of Object.entries({ x: Math.min(x, drag.x), y: Math.min(y, drag.y), width: Math.abs(right), height: Math.abs(down) })) drag.ghost.setAttribute(key, value);
    return;
  }
  if (!drag.moved) {
    if (Math.hypot(right, down) < 3) return;
    remember();
    drag.moved = true;
  }
  const field = fields[chosen], { x: left, y: top, width, height } = drag.box;
  if (drag.kind === "move") set(field, left + right, top + down, width, height);
  else {
    const x0 = drag.right ? left : Math.min(left + right, left + width - SMALLEST);
    const y0 = drag.low ? top : Math.min(top + down, top + height - SMALLEST);
    set(field, x0, y0, drag.right ? width + right : left + width - x0, drag.low ? height + down : top + height - y0);
  }
  draw();
});

function endDrag(event) {
  if (!drag) return;
  const ended = drag;
  drag = null;
  if (ended.kind === "draw") {
    ended.ghost.remove();
    const [x, y] = point(event), width = Math.abs(x - ended.x), height = Math.abs(y - ended.y);
    if (event.type === "pointerup" && width >= 8 && height >= 8) {
      addField([Math.min(x, ended.x), Math.min(y, ended.y), width, height]);
      $("draw").setAttribute("aria-pressed", "false");
      svg.classList.remove("drawing-now");
    }
  } else if (ended.moved) tellPlace(fields[chosen]);
}
svg.addEventListener("pointerup", endDrag);
svg.addEventListener("pointercancel", endDrag);

$("draw").addEventListener("click", (event) => {
  const on = event.target.getAttribute("aria-pressed") !== "true";
  event.target.setAttribute("aria-pressed", on);
  svg.classList.toggle("drawing-now", on);
});
$("larger").addEventListener("click", () => { zoom = Math.min(4, zoom * 1.3); draw(); });
$("smaller").addEventListener("click", () => { zoom = Math.max(1, zoom / 1.3); draw(); });

// --- the panel ----------------------------------------------------------------------------------

$("f-name").addEventListener("change", () => { remember(); fields[chosen].name = $("f-name").value.trim(); draw(); });
$("f-required").addEventListener("change", () => { remember(); fields[chosen].required = $("f-required").checked; draw(); });
$("f-kind").addEventListener("change", () => {
  if (!$("f-kind").value) return;
  remember();
  fields[chosen].grammar = $("f-kind").value;
  draw();
  ask(fields[chosen]);
});
$("f-grammar").addEventListener("change", () => { remember(); fields[chosen].grammar = $("f-grammar").value.trim(); draw(); });
let asked;
$("f-grammar").addEventListener("input", () => {
  clearTimeout(asked);
  const field = fields[chosen];
  asked = setTimeout(() => ask(field, $("f-grammar").value.trim()), 250);
});
["x", "y", "w", "h"].forEach((side) => $(`f-${side}`).addEventListener("change", () => {
  remember();
  const [x, y, w, h] = ["x", "y", "w", "h"].map((one) => Number($(`f-${one}`).value) / 100);
  set(fields[chosen], x * WIDE, y * high, w * WIDE, h * high);
  draw();
}));
$("title").addEventListener("change", remember);
$("part").addEventListener("change", async () => {
  const wanted = Number($("part").value);
  if (await work()) { part = wanted; load(parts); }
});

async function ask(field, grammar = field.grammar) {
  const said = await (await fetch(`${editor.dataset.grammar}?text=${encodeURIComponent(grammar)}`)).json();
  field.takes = said.takes ?? "";
  field.wrong = said.error;
  showPanel();
}

// --- to and from the server ---------------------------------------------------------------------

function edits() {
  const plain = fields.map(({ was, name, box, grammar, required }) => ({ was, name, box, grammar, required }));
  return JSON.stringify({ part, title: $("title").value || null, fields: plain });
}

function form() {
  const data = new FormData(editor);
  if (!inText) data.set("edits", edits());
  return data;
}

async function post(path, data) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", headers: { Accept: "application/json" }, body: data });
  } catch {
    throw new Error("The server does not answer. What you drew is kept here; try again.");
  }
  const said = await answer.json();
  if (!answer.ok) throw new Error(inText ? said.detail : said.detail.replace(/^Line \d+: /, "").replace(/^./, (first) => first.toUpperCase()));
  return said;
}

// Work what was drawn into the text, or what was written into the drawing.
async function work() {
  problem("");
  try {
    const said = await post(editor.dataset.check, form());
    text.value = said.text;
    load(said.parts, inText ? undefined : chosen);
    return true;
  } catch (error) {
    problem(error.message);
    return false;
  }
}

$("view").addEventListener("click", async () => {
  if (!await work()) return;
  inText = !inText;
  showView();
});

function showView() {
  $("view").textContent = inText ? "As a drawing" : "As text";
  $("view").setAttribute("aria-pressed", inText);
  $("drawing").hidden = inText;
  $("as-text").hidden = !inText;
  if (inText) text.focus(); else draw();
}
text.addEventListener("input", () => { changed = true; });

editor.addEventListener("submit", async (event) => {
  event.preventDefault();
  document.activeElement?.blur?.();
  problem("");
  try {
    const said = await post(editor.action, form());
    changed = false;
    if (new URL(said.address, location.href).pathname !== location.pathname) { location.assign(said.address); return; }
    text.value = said.text;
    editor.elements.seen.value = said.number;
    load(said.parts, chosen);
    tell(`Saved as version ${said.number}.`);
    $("state").textContent = `version ${said.number}, saved now`;
  } catch (error) {
    problem(error.message);
  }
});
editor.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches(".panel input")) event.preventDefault();
});

// --- trying -------------------------------------------------------------------------------------

const trying = $("try");

function chosenPages() {
  const data = form();
  for (const file of trying.elements.page.files) data.append("page", file);
  if (trying.elements.batch?.value && !trying.elements.page.files.length) data.set("batch", trying.elements.batch.value);
  data.set("part", part);
  return data;
}

async function tryOn(path, done) {
  $("trying-problem").textContent = "";
  $("trying-told").textContent = "Reading …";
  try {
    done(await post(path, chosenPages()));
    $("trying-told").textContent = "Done.";
  } catch (error) {
    $("trying-told").textContent = "";
    $("trying-problem").textContent = error.message;
  }
}

trying.addEventListener("submit", (event) => {
  event.preventDefault();
  tryOn(editor.dataset.try, (said) => $("tried").replaceChildren(...said.pages.map(triedPage)));
});
$("draw-on").addEventListener("click", () => tryOn(editor.dataset.page, (said) => {
  editor.elements.picture.value = said.picture;
  picture = said.address;
  changed = true;
  draw();
}));

function blobOf(jpeg) {
  const bytes = Uint8Array.from(atob(jpeg), (one) => one.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
}

function element(name, said, className) {
  const made = document.createElement(name);
  if (said !== undefined) made.textContent = said;
  if (className) made.className = className;
  return made;
}

function triedPage(page) {
  const shown = element("article", undefined, "tried");
  shown.append(element("h3", page.file));
  if (page.said) shown.append(element("p", page.said, "error"));
  else if (page.score !== "–") shown.append(element("p", `The template fits this page by ${page.score}.`, "hint"));
  const side = element("div", undefined, "scan-and-fields"), list = element("ul", undefined, "plain");
  if (page.picture) {
    const { width, height } = page.picture;
    const drawing = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${page.file} with what was read` },
      make("image", { href: blobOf(page.picture.jpeg), width, height }));
    for (const field of page.fields) {
      const [x, y, w, h] = field.box;
      const value = make("text", { x: x * width, y: Math.max(24, y * height - 5), "font-size": width / 55 });
      value.textContent = field.value === null ? "?" : field.value || "empty";
      drawing.append(make("rect", { class: field.doubt ? "review" : "accepted", x: x * width, y: y * height, width: w * width, height: h * height }), value);
    }
    const figure = element("figure", undefined, "scan");
    figure.append(drawing);
    side.append(figure);
  }
  for (const field of page.fields) {
    const item = element("li");
    item.append(element("strong", field.name), ` ${field.value === null ? "no value" : field.value || "empty"} `, element("small", field.sure && `${field.sure} sure`));
    if (field.doubt) item.append(element("small", ` ${field.doubt}`, "doubt"));
    list.append(item);
  }
  side.append(list);
  shown.append(side);
  return shown;
}

addEventListener("beforeunload", (event) => { if (changed) event.preventDefault(); });
addEventListener("resize", () => { if (!inText) draw(); });

if (parts.length) {
  $("undo-and-views").hidden = false;
  $("trying").hidden = false;
  inText = Boolean($("problem").textContent);
  load(parts);
  showView();
}
