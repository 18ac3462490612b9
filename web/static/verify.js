// One field at a time. The next fields and their crops are here before they are needed, and a
// decision is sent while the next field is shown already. What the server refuses comes back in a
// list below, to be looked at again.

const $ = (id) => document.getElementById(id);
const desk = $("desk"), input = $("value"), form = $("key"), fault = $("fault"), note = $("note");
const AHEAD = 3; // ask for more when fewer are in hand
const OVER = ["field-changed", "question-over"]; // somebody else was quicker: nothing is left to do

let now = null;            // the field that is shown
let queue = [];            // those that come next
let sending = 0;           // decisions that have no answer yet
let asking = false;
let over = false;          // the server has no more
let emptied = false;       // Enter was pressed once on an empty value
let choice = 0;            // which of the readings is in the input
let since = 0, strokes = 0; // when the field was shown, and the keys pressed since
const decided = [];        // for taking back: {card, version}
const faults = new Map();  // id of a field: {card, said, over}
const sent = new Map();    // id of a field: its version when it was decided or postponed here

async function send(path, body) {
  const isForm = body instanceof URLSearchParams;
  const headers = { Accept: "application/json" };
  if (!isForm) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method: "POST", headers, body: isForm ? body : JSON.stringify(body) });
  } catch {
    throw new Error("The server does not answer.");
  }
  if (answer.status === 401) throw new Error("Sign in again, in another tab.");
  const said = answer.status === 204 ? {} : await answer.json();
  if (!answer.ok) throw Object.assign(new Error(said.short ?? said.detail), { code: said.code });
  return said;
}

async function ask() {
  if (asking || over) return;
  asking = true;
  const under = new Set(sent.keys()); // their decisions may reach the server after this question
  const have = new URLSearchParams();
  for (const card of [now, ...queue, ...[...faults.values()].map((one) => one.card)]) if (card) have.append("have", card.id);
  try {
    const said = await send(desk.dataset.next, have);
    const known = new Set([now, ...queue].filter(Boolean).map((card) => card.id));
    const isOld = (card) => under.has(card.id) && !(card.version > sent.get(card.id));
    const news = said.fields.filter((card) => !known.has(card.id) && !(sent.get(card.id) >= card.version) && !isOld(card));
    queue.push(...news);
    for (const card of news) fetchAhead(card);
    $("left").textContent = said.waiting === 1 ? "1 field waits" : `${said.waiting.toLocaleString("en")} fields wait`;
    $("others").textContent = said.others;
    over = said.fields.length === 0 && queue.length === 0 && !sending;
  } catch (error) {
    $("left").textContent = error.message;
    await new Promise((done) => setTimeout(done, 2000));
  }
  asking = false;
  if (!now) show(queue.shift());
}

function fetchAhead(card) {
  if (!card.crop) return;
  card.image = new Image();
  card.image.src = card.crop;
}

function show(card) {
  now = card ?? null;
  emptied = false;
  choice = 0;
  since = performance.now();
  strokes = 0;
  form.classList.remove("empty");
  fault.textContent = "";
  $("force").hidden = $("reasons").hidden = true;
  if (!now) {
    desk.hidden = true;
    if (over) finish();
    else ask();
    return;
  }
  desk.hidden = false;
  $("done").hidden = true;
  desk.classList.toggle("blind", now.blind);
  $("name").textContent = now.name + (now.postponed ? " (left for later)" : "");
  $("crop").classList.toggle("none", !now.crop);
  if (now.crop) $("crop").src = now.crop;
  $("expects").textContent = now.expects ? `It may hold ${now.expects}.` : "";
  $("why").textContent = now.sure ? `${now.reason} It is ${now.sure} sure of this value.` : now.reason;
  $("also").textContent = now.value && now.alternatives.length ? `Also possible: ${now.alternatives.map((one) => one || "empty").join(", ")}` : "";
  $("page").href = now.page;
  input.value = now.typed ?? now.value ?? "";
  if (now.said) {
    fault.textContent = now.said;
    note.value = "";
    $("force").hidden = !now.refused;
  }
  input.focus();
  input.select();
  if (queue.length < AHEAD) ask();
}

function decide(value, more = {}) {
  const card = now, cost = { took_ms: Math.round(performance.now() - since), keystrokes: strokes };
  card.typed = value ?? "";
  faults.delete(card.id);
  listFaults();
  sent.set(card.id, card.version);
  sending += 1; // before the next is shown: it is not done until this has an answer
  show(queue.shift());
  send(`/fields/${card.id}/decide`, { version: card.version, value, ...more, ...cost })
    .then((said) => { decided.push({ card, version: said.version }); $("undo").disabled = false; })
    .catch((error) => { blame(card, error); })
    .finally(() => { sending -= 1; if (!now) show(queue.shift()); });
}

function blame(card, error) {
  faults.set(card.id, { card, said: error.message, over: OVER.includes(error.code), refused: error.code !== undefined });
  listFaults();
}

function listFaults() {
  const list = $("faults").querySelector("ul");
  list.replaceChildren(...[...faults.values()].map(({ card, said, over: isOver, refused }) => {
    const item = document.createElement("li"), jump = document.createElement("button");
    jump.className = "quiet";
    jump.type = "button";
    jump.textContent = isOver ? "Well" : `${card.name}: ${card.typed || "empty"}`;
    jump.addEventListener("click", () => {
      faults.delete(card.id);
      listFaults();
      if (isOver) {
        if (!now) finish();
        return;
      }
      if (now) queue.unshift(now);
      show({ ...card, said, refused });
    });
    item.append(jump, isOver ? `${card.name}: ${said}` : said);
    return item;
  }));
  $("faults").hidden = faults.size === 0;
}

function postpone() {
  const card = now;
  sent.set(card.id, card.version);
  sending += 1; // before the next is shown: it is not done until this has an answer
  show(queue.shift());
  send(`/fields/${card.id}/postpone`, {})
    .then(() => { sent.delete(card.id); over = false; })  // it comes again, last
    .catch((error) => { blame(card, error); })
    .finally(() => { sending -= 1; if (!now) show(queue.shift()); });
}

async function undo() {
  const last = decided.pop();
  $("undo").disabled = decided.length === 0;
  if (!last) return;
  try {
    const card = await send(`/fields/${last.card.id}/reopen`, { version: last.version });
    fetchAhead(card);
    if (now) queue.unshift(now);
    show({ ...card, typed: last.card.typed });
  } catch (error) {
    fault.textContent = error.message;
  }
}

function finish() {
  if (sending) return;
  $("done").hidden = false;
  $("left").textContent = "";
  $("done-text").textContent = faults.size
    ? "No other field waits. Look again at those below."
    : decided.length ? `Done. You decided ${decided.length === 1 ? "1 field" : `${decided.length} fields`}.` : "No field waits for you.";
}

// The readings end at both ends: whoever holds the key down does not come round to the first.
function choose(step) {
  const readings = now.value ? [now.value, ...now.alternatives] : ["", ...now.alternatives];
  choice = Math.min(Math.max(choice + step, 0), readings.length - 1);
  input.value = readings[choice] ?? "";
  input.select();
}

function askWhy() {
  $("reasons").hidden = false;
  $("reasons").querySelector("button").focus();
}

// A key as the settings call it: the letter or digit that is printed on it, whatever Alt makes of it.
function named(event) {
  const plain = /^(Key|Digit|Numpad)([A-Z0-9])$/.exec(event.code);
  if (event.altKey) return plain ? `Alt+${plain[2]}` : "";
  return event.key === " " ? "Space" : event.key;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!now) return;
  const value = input.value.trim();
  if (value === "" && !emptied) {
    emptied = true;
    form.classList.add("empty");
    fault.textContent = "Empty? Press Enter again.";
    return;
  }
  decide(value);
});
$("force").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!now) return;
  if (note.value.trim()) decide(input.value.trim(), { force: true, note: note.value.trim() });
  else fault.textContent = "Say why in a note.";
});
input.addEventListener("input", () => { emptied = false; form.classList.remove("empty"); });
// Before all others, because Enter and others show the next field.
desk.addEventListener("keydown", (event) => {
  if (!event.repeat && !["Shift", "Control", "Alt", "Meta"].includes(event.key)) strokes += 1;
}, { capture: true });

const keys = new Map(Object.entries(JSON.parse(desk.dataset.keys)).map(([action, key]) => [key, action]));
desk.addEventListener("keydown", (event) => {
  const action = keys.get(named(event));
  const types = event.target === note || (event.target !== input && event.key === " "); // Space presses a button
  if (action && now && !event.ctrlKey && !event.metaKey && !types) {
    event.preventDefault();
    if (!event.repeat) $(action).click();
  }
});
input.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && now) { event.preventDefault(); choose(step); }
});
$("reasons").addEventListener("keydown", (event) => {
  const buttons = [...$("reasons").querySelectorAll("button")];
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (event.key === "Escape") { $("reasons").hidden = true; input.focus(); }
  else if (step) buttons[buttons.indexOf(document.activeElement) + step]?.focus();
  else if (!event.altKey && buttons[event.key - 1]) buttons[event.key - 1].click();
  else return;
  event.preventDefault();
});
for (const button of $("reasons").querySelectorAll("button")) {
  button.addEventListener("click", () => { if (now) decide(null, { note: button.lastElementChild.textContent }); });
}
$("later").addEventListener("click", () => { if (now) postpone(); });
$("unreadable").addEventListener("click", () => { if (now) askWhy(); });
$("undo").addEventListener("click", undo);
$("own-keys").addEventListener("keydown", (event) => {
  if (event.target.size && !["Tab", "Enter", "Escape", "Alt", "Shift"].includes(event.key)) {
    event.preventDefault();
    event.target.value = named(event);
  }
});
addEventListener("beforeunload", (event) => {
  if (sending || [...faults.values()].some((one) => !one.over)) event.preventDefault();
});

ask();
