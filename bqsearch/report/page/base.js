// Every string of the run reaches the page as text: through createTextNode or setAttribute, never as markup.
const front = unpacked(JSON.parse(document.getElementById("front").textContent));

/** The front with its tables, `{ keys, rows }`, as the lists of objects that they stand for. */
function unpacked(packed) {
  const list = ({ keys, rows }) => rows.map((row) => Object.fromEntries(keys.map((key, index) => [key, row[index]])));
  const whole = (point) => ({ ...point, layers: list(point.layers) });
  const { trials, points: every, baseline: start } = packed;
  return { ...packed, trials: list(trials), points: every.map(whole), baseline: whole(start) };
}

const { baseline, limits, settings, data } = front;
const points = [...front.points].sort((a, b) => a.flash_bytes - b.flash_bytes || a.id - b.id);
const chosen = points.find((point) => point.id === front.recommended) ?? null;
const SVG = "http://www.w3.org/2000/svg";
const NONE = "–";
const byId = (id) => document.getElementById(id);
const known = (value) => value !== null && value !== undefined;


const signed = (text) => text.replace("-", "\u2212");
const rounded = (value, digits) => Number(value.toFixed(digits)) + 0; // the sum turns -0 into 0
const grouped = (value, digits) =>
  value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const number = (value, digits = 0) => (known(value) ? signed(grouped(rounded(value, digits), digits)) : NONE);
const size = (value) => (known(value) ? `${number(value)}\u00a0B` : NONE);
const percent = (value, digits = 2) => (known(value) ? number(100 * value, digits) : NONE);
const ratio = (value) => (known(value) ? `${number(value, 1)}×` : NONE);
const ends = (pair, scale = 1) => (pair ? `${number(scale * pair[0], 1)} to ${number(scale * pair[1], 1)}` : "");
const plural = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;

function figure(value) {
  if (!known(value)) return NONE;
  const whole = Math.abs(value) >= 1 ? String(Math.trunc(Math.abs(value))).length : 0;
  return number(value, Math.max(0, 3 - whole));
}

function shortSize(value) {
  const trim = (scaled) => String(Number(scaled.toPrecision(3)));
  if (value >= 1e6) return `${trim(value / 1e6)} MB`;
  return value >= 1e3 ? `${trim(value / 1e3)} kB` : `${trim(value)} B`;
}

function breaks(point, name) {
  const pairs = {
    flash: [point.flash_bytes, limits.flash_bytes],
    ram: [point.ram_bytes, limits.ram_bytes],
    drop: [point.drop_holdout, limits.max_drop],
  };
  const [value, limit] = pairs[name] ?? [null, null];
  return known(value) && known(limit) && value > limit + 1e-9;
}


function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (known(value) && value !== false) node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => known(child) && child !== ""));
  return node;
}
const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const s = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

function styled(node, styles) {
  Object.assign(node.style, styles);
  return node;
}

/** A figure that is red and said to be over where it breaks its limit. */
function limited(point, name, text) {
  if (!breaks(point, name)) return text;
  return h("span", { class: "over" }, text, h("span", { class: "hidden" }, " (over the limit)"));
}

function withEnds(text, interval) {
  return interval ? [text, h("span", { class: "ends" }, ` (${interval})`)] : [text];
}


const quality = front.quality.name;
const Quality = quality[0].toUpperCase() + quality.slice(1);
const [SEARCH, HOLDOUT] = [`${quality}_search`, `${quality}_holdout`];
const held = points.length > 0 && points.every((point) => known(point[HOLDOUT]));
const state = {
  x: "flash_bytes",
  y: held ? HOLDOUT : SEARCH,
  whole: false,
  picked: chosen ?? points.at(-1) ?? null,
  start: false, // whether the memory plan shown is the baseline's
};

const COSTS = {
  flash_bytes: { name: "flash", title: "Flash", bytes: true },
  ram_bytes: { name: "ram", title: "RAM", bytes: true },
  latency_ms: { name: "latency", title: "Latency, ms", bytes: false },
  energy_mj: { name: "energy", title: "Energy, mJ", bytes: false },
  weight_bytes: { name: "weights", title: "Weight bytes", bytes: true },
};
const SPLITS = { [HOLDOUT]: "holdout split", [SEARCH]: "search split" };
