// The scan, larger and turned, and the digits of the field that is chosen. The keys act while the
// scan has the focus.

const svg = document.getElementById("scan");
const STEP = 1.4, CLOSE = 12; // a step of zooming; the most

let whole, view, turn = 0, loaded = false;

function size() {
  const [, , wide, high] = whole;
  return turn % 2 ? [high, wide] : [wide, high];
}

function show(x, y, wide, high) {
  const [mostWide, mostHigh] = size();
  wide = Math.min(Math.max(wide, mostWide / CLOSE), mostWide);
  high = Math.min(Math.max(high, mostHigh / CLOSE), mostHigh);
  view = [Math.min(Math.max(x, 0), mostWide - wide), Math.min(Math.max(y, 0), mostHigh - high), wide, high];
  svg.setAttribute("viewBox", view.join(" "));
  if (!loaded && wide < mostWide / 1.6) { // now its pixels count
    loaded = true;
    svg.querySelector("image").setAttribute("href", svg.dataset.full);
  }
}

function zoom(times) {
  const [x, y, wide, high] = view;
  show(x + (wide - wide / times) / 2, y + (high - high / times) / 2, wide / times, high / times);
}

function rotate() {
  turn = (turn + 1) % 4;
  const [, , wide, high] = whole;
  const moved = ["", `translate(${high} 0)`, `translate(${wide} ${high})`, `translate(0 ${wide})`][turn];
  svg.firstElementChild.setAttribute("transform", `${moved} rotate(${90 * turn})`);
  show(0, 0, ...size());
}

function chosen() {
  return decodeURIComponent(location.hash.slice(1));
}

function choose() {
  const name = chosen();
  for (const item of document.querySelectorAll(".fields > li")) item.classList.toggle("chosen", item.id === name);
  for (const group of svg.querySelectorAll(".characters")) group.classList.toggle("chosen", group.dataset.field === name);
}

function toField() {
  const link = [...svg.querySelectorAll("a")].find((one) => one.getAttribute("href") === `#${chosen()}`);
  if (!link) return;
  const box = link.querySelector("rect").getBoundingClientRect();
  const back = svg.getScreenCTM().inverse();
  const from = new DOMPoint(box.left, box.top).matrixTransform(back);
  const to = new DOMPoint(box.right, box.bottom).matrixTransform(back);
  const [mostWide, mostHigh] = size();
  const wide = Math.max((to.x - from.x) * 1.2, (to.y - from.y) * 1.2 * mostWide / mostHigh);
  const high = wide * mostHigh / mostWide;
  show((from.x + to.x - wide) / 2, (from.y + to.y - high) / 2, wide, high);
}

const actions = {
  "+": () => zoom(STEP), "=": () => zoom(STEP), "-": () => zoom(1 / STEP),
  "0": () => show(0, 0, ...size()), f: toField, r: rotate,
};

function pan(across, down) {
  const [x, y, wide, high] = view;
  show(x + across * wide, y + down * high, wide, high);
}

if (svg) {
  whole = svg.getAttribute("viewBox").split(" ").map(Number);
  view = whole;
  document.getElementById("tools").hidden = false;
  svg.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const way = { ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, -0.2], ArrowDown: [0, 0.2] }[event.key];
    const action = actions[event.key.toLowerCase()];
    if (way) pan(...way);
    else if (action) action();
    else return;
    event.preventDefault();
  });
  for (const button of document.querySelectorAll("#tools button")) {
    button.addEventListener("click", () => actions[button.dataset.do]());
  }
  let held = null;
  svg.addEventListener("pointerdown", (event) => { held = [event.clientX, event.clientY]; });
  addEventListener("pointerup", () => { held = null; });
  svg.addEventListener("pointermove", (event) => {
    if (!held || view[2] === size()[0]) return;
    const scale = svg.getScreenCTM().a;
    const [x, y, wide, high] = view;
    show(x - (event.clientX - held[0]) / scale, y - (event.clientY - held[1]) / scale, wide, high);
    held = [event.clientX, event.clientY];
  });
  addEventListener("hashchange", choose);
  choose();
}
