// One field at a time. The next fields and their crops are here before they are needed, and a
// decision is sent while the next field is shown already. What the server refuses comes back in a
// list below, to be looked at again.

const $ = (id) => document.getElementById(id);
const desk = $("desk"), input = $("value"), form = $("key"), fault = $("fault");
const AHEAD = 3; // ask for more when fewer are in hand

let now = null;            // the field that is shown
let queue = [];            // those that come next
let sending = 0;           // decisions that have no answer yet
let asking = false;
let over = false;          // the server has no more
let emptied = false;       // Enter was pressed once on an empty value
let since = 0, strokes = 0; // when the field was shown, and the keys pressed since
const decided = [];        // for taking back: {card, version}
const faults = new Map();  // id of a field: {card, said}
const sent = new Map();    // id of a field: its version when it was decided or postponed here

async function send(path, body) {
  const isForm = body instanceof URLSearchParams;
  const headers = { Accept: "application/json" };
  if (!isForm) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method: "POST", headers, body: isForm ? body : JSON.stringify(body) });
  } catch {
    throw new Error("The server does not answer. What you typed is kept here; try again.");
  }
  if (answer.status === 401) throw new Error("You are not signed in any more. Sign in again in another tab.");
  const said = answer.status === 204 ? {} : await answer.json();
  if (!answer.ok) throw new Error(said.detail);
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
  since = performance.now();
  strokes = 0;
  form.classList.remove("empty");
  fault.textContent = "";
  if (!now) {
    desk.hidden = true;
    if (over) finish();
    else ask();
    return;
  }
  desk.hidden = false;
  $("done").hidden = true;
  $("name").textContent = now.name + (now.postponed ? " (left for later)" : "");
  $("crop").classList.toggle("none", !now.crop);
  if (now.crop) $("crop").src = now.crop;
  $("expects").textContent = now.expects ? `It may hold ${now.expects}.` : "";
  $("why").textContent = now.confidence ? `${now.reason} It is ${now.confidence} sure of this value.` : now.reason;
  $("also").textContent = now.alternatives.length ? `Also possible: ${now.alternatives.map((one) => one || "empty").join(", ")}` : "";
  $("page").href = now.page;
  input.value = now.typed ?? now.value ?? "";
  if (now.said) fault.textContent = now.said;
  input.focus();
  input.select();
  if (queue.length < AHEAD) ask();
}

function decide(value) {
  const card = now, cost = { took_ms: Math.round(performance.now() - since), keystrokes: strokes };
  card.typed = value ?? "";
  faults.delete(card.id);
  listFaults();
  sent.set(card.id, card.version);
  show(queue.shift());
  sending += 1;
  send(`/fields/${card.id}/decide`, { version: card.version, value, ...cost })
    .then((said) => { decided.push({ card, version: said.version }); $("undo").disabled = false; })
    .catch((error) => { faults.set(card.id, { card, said: error.message }); listFaults(); })
    .finally(() => { sending -= 1; if (!now) show(queue.shift()); });
}

function listFaults() {
  const list = $("faults").querySelector("ul");
  list.replaceChildren(...[...faults.values()].map(({ card, said }) => {
    const item = document.createElement("li"), jump = document.createElement("button");
    jump.className = "quiet";
    jump.type = "button";
    jump.textContent = `${card.name}: ${card.typed || "empty"}`;
    jump.addEventListener("click", () => {
      if (now) queue.unshift(now);
      faults.delete(card.id);
      listFaults();
      show({ ...card, said });
    });
    item.append(jump, said);
    return item;
  }));
  $("faults").hidden = faults.size === 0;
}

function postpone() {
  const card = now;
  sent.set(card.id, card.version);
  show(queue.shift());
  sending += 1;
  send(`/fields/${card.id}/postpone`, {})
    .then(() => { sent.delete(card.id); over = false; })  // it comes again, last
    .catch((error) => { faults.set(card.id, { card, said: error.message }); listFaults(); })
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
input.addEventListener("input", () => { emptied = false; form.classList.remove("empty"); });
// Before all others, because Enter and others show the next field.
desk.addEventListener("keydown", (event) => {
  if (!event.repeat && !["Shift", "Control", "Alt", "Meta"].includes(event.key)) strokes += 1;
}, { capture: true });
input.addEventListener("keydown", (event) => {
  if (event.key === " ") { event.preventDefault(); postpone(); }
});
desk.addEventListener("keydown", (event) => {
  if (!event.altKey) return;
  const action = { u: "unreadable", z: "undo", p: "page" }[event.key.toLowerCase()];
  if (action) { event.preventDefault(); $(action).click(); }
});
$("postpone").addEventListener("click", () => { if (now) postpone(); });
$("unreadable").addEventListener("click", () => { if (now) decide(null); });
$("undo").addEventListener("click", undo);
addEventListener("beforeunload", (event) => { if (sending || faults.size) event.preventDefault(); });

ask();
