// One stream a browser: the first page that is open listens, and tells the others. Where there is no
// stream (too many people, a proxy, an old browser) a small question is asked every few seconds.

const POLL = 10000, LEAST = 3000; // milliseconds: fifty open pages must not keep the server busy
const channel = "BroadcastChannel" in window ? new BroadcastChannel("counterfoil") : null;
let last = null, drawn = Date.now(), waiting = null, polling = null;

function changed(mark, own) {
  if (own) channel?.postMessage(mark);
  if (mark === last) return;
  last = mark;
  if (waiting) return;
  waiting = setTimeout(() => {
    waiting = null;
    drawn = Date.now();
    for (const one of document.querySelectorAll("[data-live]")) htmx.trigger(one, "live");
  }, Math.max(0, LEAST - (Date.now() - drawn)));
}
if (channel) channel.onmessage = (event) => changed(event.data, false);

async function poll() {
  if (document.visibilityState === "hidden") return;
  try {
    const answer = await fetch("/live/mark", { headers: { Accept: "application/json" } });
    if (answer.ok) changed((await answer.json()).mark, true);
  } catch { /* the server is away; it is asked again */ }
}

function listen() {
  if (!("EventSource" in window)) { polling ??= setInterval(poll, POLL); poll(); return null; }
  const stream = new EventSource("/live");
  stream.onmessage = (event) => { clearInterval(polling); polling = null; changed(JSON.parse(event.data), true); };
  stream.onerror = () => {
    // Closed for good where the answer was no stream; else it connects again by itself.
    if (stream.readyState === EventSource.CLOSED) { polling ??= setInterval(poll, POLL); poll(); }
  };
  return stream;
}

if (navigator.locks && channel) {
  // Only one page of the browser holds the lock; when it is closed, the next one gets it.
  navigator.locks.request("counterfoil-live", () => { listen(); return new Promise(() => {}); });
  setTimeout(() => { if (last === null) poll(); }, 500);
} else {
  // Without HTTPS there are no locks: each page listens while it is seen.
  let stream = null;
  const look = () => {
    if (document.visibilityState === "hidden") { stream?.close(); stream = null; } else stream ??= listen();
  };
  document.addEventListener("visibilitychange", look);
  look();
}
