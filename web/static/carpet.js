// All characters of one kind on one screen. A screen is confirmed only when each of its pictures was
// there and in view; what comes next is fetched while the person looks.

const $ = (id) => document.getElementById(id);
const desk = $("desk"), grid = $("cells");
const WIDE = 48, HIGH = 56; // pixels of a cell as shown

let cells = [];       // {field, version, place, shown, said, box, ready, seen}
let current = 0;
let busy = true;      // a request is under way that changes what is shown
const screens = [];   // ids, for taking back

async function send(path, body) {
  const headers = { Accept: "application/json", "Content-Type": "application/json" };
  const how = body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers };
  let answer;
  try {
    answer = await fetch(path, how);
  } catch {
    throw new Error("The server does not answer. Your marks are kept here; try again.");
  }
  if (answer.status === 401) throw new Error("You are not signed in any more. Sign in again in another tab.");
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.detail);
  return said;
}

const look = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) target.cell.inView = isIntersecting;
  noteSeen();
}, { threshold: 0.7 });

function noteSeen() {
  grid.ariaBusy = String(!cells.every((cell) => cell.ready));
  for (const cell of cells) if (cell.inView && cell.ready) cell.seen = true;
}

async function load() {
  busy = true;
  try {
    show(await send(desk.dataset.cells));
  } catch (error) {
    $("fault").textContent = error.message;
  }
  busy = false;
}

function show(said) {
  look.disconnect();
  cells = said.cells.map((cell) => ({ ...cell, said: cell.shown, ready: false, seen: false, inView: false }));
  grid.replaceChildren(...cells.map(draw));
  grid.ariaBusy = "true";
  let first = 0;
  for (const { path, count } of said.sprites) paint(path, cells.slice(first, first += count));
  for (const link of document.querySelectorAll(".digits a")) {
    link.querySelector("small").textContent = (said.left[link.dataset.text] ?? 0).toLocaleString("en");
  }
  if (said.audit) $("audit").textContent = said.audit;
  desk.hidden = cells.length === 0;
  $("done").hidden = cells.length > 0;
  $("fault").textContent = "";
  if (!cells.length) {
    const next = Object.keys(said.left)[0];
    $("done-text").textContent = next ? `No ${desk.dataset.text} is left. Choose another digit above.` : "All of these digits were looked at.";
    return;
  }
  move(0);
  grid.focus({ preventScroll: true });
  ahead();
}

function draw(cell, index) {
  const box = document.createElement("span");
  box.id = `cell-${index}`;
  box.className = "cell";
  box.role = "option";
  box.ariaSelected = "false";
  box.ariaLabel = `${cell.shown}, ${cell.name}, ${cell.sure} sure`;
  box.cell = cell;
  cell.box = box;
  look.observe(box);
  box.addEventListener("click", () => { move(index); mark(cell.said === cell.shown ? null : cell.shown); grid.focus({ preventScroll: true }); });
  return box;
}

function paint(path, own) {
  const image = new Image();
  image.addEventListener("load", () => own.forEach((cell, index) => {
    cell.box.style.backgroundImage = `url("${path}")`;
    cell.box.style.backgroundSize = `${WIDE * own.length}px ${HIGH}px`;
    cell.box.style.backgroundPosition = `-${WIDE * index}px 0`;
    cell.ready = true;
    noteSeen();
  }));
  image.addEventListener("error", () => {
    for (const cell of own) cell.box.remove();
    cells = cells.filter((cell) => !own.includes(cell));
    $("fault").textContent = "Some pictures did not come. Those digits are left out here and come again.";
    move(Math.min(current, cells.length - 1));
  });
  image.src = path;
}

async function ahead() {
  try {
    const next = await send(`${desk.dataset.cells}&skip=${cells.length}`);
    for (const { path } of next.sprites) new Image().src = path;
  } catch { /* it is only for speed */ }
}

function move(to) {
  cells[current]?.box.classList.remove("here");
  current = Math.max(0, Math.min(to, cells.length - 1));
  const cell = cells[current];
  if (!cell) return;
  cell.box.classList.add("here");
  grid.setAttribute("aria-activedescendant", cell.box.id);
  cell.box.scrollIntoView({ block: "nearest" });
  $("over").value = cell.said && cell.said !== cell.shown ? cell.said : "";
  if (!$("whole").hidden) context();
}

function columns() {
  const top = cells[0]?.box.offsetTop;
  const next = cells.findIndex((cell) => cell.box.offsetTop !== top);
  return next < 0 ? cells.length : next;
}

function mark(said) {
  const cell = cells[current];
  if (!cell) return;
  cell.said = said;
  const odd = said !== cell.shown;
  cell.box.ariaSelected = String(odd);
  cell.box.dataset.said = odd ? said ?? "?" : "";
  $("over").value = odd && said ? said : "";
}

function context() {
  const cell = cells[current], image = $("whole").querySelector("img");
  if (!cell) return;
  image.src = desk.dataset.field.replace("0".repeat(32), cell.field);
  $("whole").querySelector("span").textContent = cell.name;
}

function toggle() {
  $("whole").hidden = !$("whole").hidden;
  $("show").setAttribute("aria-pressed", String(!$("whole").hidden));
  if (!$("whole").hidden) context();
}

async function confirm() {
  if (busy || !cells.length) return;
  if (cells.some((cell) => !cell.ready)) {
    $("said").textContent = "The pictures are still coming.";
    return;
  }
  const unseen = cells.findIndex((cell) => !cell.seen);
  if (unseen >= 0) {
    cells[unseen].box.scrollIntoView({ block: "start" });
    move(unseen);
    $("said").textContent = "There are more below. Look at them, then press Enter again.";
    return;
  }
  busy = true;
  const said = cells.map(({ field, version, place, shown, said: what }) => ({ field, version, place, shown, said: what }));
  try {
    const answer = await send(desk.dataset.confirm, { audit: desk.dataset.audit === "yes", cells: said });
    screens.push(answer.screen);
    $("undo").disabled = false;
    $("said").textContent = answer.said;
    list(answer.refused);
    await load();
  } catch (error) {
    $("fault").textContent = error.message;
    busy = false;
  }
}

async function undo() {
  if (busy || !screens.length) return;
  busy = true;
  try {
    const answer = await send(desk.dataset.undo, { screen: screens.at(-1) });
    screens.pop();
    $("undo").disabled = screens.length === 0;
    $("said").textContent = "The last screen is taken back.";
    list(answer.refused);
    await load();
  } catch (error) {
    $("fault").textContent = error.message;
    busy = false;
  }
}

function list(refused) {
  $("refused").hidden = refused.length === 0;
  $("refused").querySelector("ul").replaceChildren(...refused.map((one) => {
    const item = document.createElement("li");
    item.textContent = `${one.name} ${one.value ?? ""}: ${one.why}`;
    return item;
  }));
}

grid.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns() }[event.key];
  if (step !== undefined) { if (cells[current + step]) move(current + step); }
  else if (event.key === "Home") move(0);
  else if (event.key === "End") move(cells.length - 1);
  else if (event.key === "Enter") { if (!event.repeat) confirm(); }
  else if (event.key === " ") mark(cells[current]?.said === cells[current]?.shown ? null : cells[current].shown);
  else if (event.key === "+") toggle();
  else if (event.key === "Backspace" || event.key === "Delete") mark(cells[current]?.shown);
  else if ([...event.key].length === 1) mark(event.key);
  else return;
  event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  if (event.altKey && event.key.toLowerCase() === "z") { event.preventDefault(); undo(); }
});
$("over").addEventListener("input", () => { mark($("over").value.trim() || cells[current]?.shown); grid.focus({ preventScroll: true }); });
$("confirm").addEventListener("click", confirm);
$("odd").addEventListener("click", () => { mark(cells[current]?.said === cells[current]?.shown ? null : cells[current]?.shown); grid.focus({ preventScroll: true }); });
$("show").addEventListener("click", () => { toggle(); grid.focus({ preventScroll: true }); });
$("undo").addEventListener("click", undo);
addEventListener("beforeunload", (event) => { if (cells.some((cell) => cell.said !== cell.shown)) event.preventDefault(); });

if (desk) load();
