function niceStep(span, count) {
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  return power * ([1, 2, 2.5, 5].find((factor) => factor * power >= raw) ?? 10);
}

function linearTicks(low, high, count) {
  const step = niceStep(high - low, count);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, index) => (first + index) * step);
}

function logTicks(low, high) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1)
    for (const factor of [1, 2, 5]) ticks.push(factor * 10 ** power);
  return ticks.filter((tick) => tick >= low && tick <= high);
}

function linearScale(low, high, from, to, count) {
  const at = (value) => from + ((value - low) / (high - low)) * (to - from);
  return { low, high, at, ticks: linearTicks(low, high, count) };
}

/** The rows that set the scales: trials only where there is no point to look at. */
const scaleRows = () => [baseline, ...(points.length ? points : front.trials)];

/** Where costs lie: linear, or logarithmic where they differ by more than a factor of six. */
function costScale(key, from, to, spacing) {
  const values = scaleRows().map((row) => row[key]).filter(known);
  let [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
  const limit = limits[key];
  if (known(limit) && low < limit && limit < 1.5 * high) high = Math.max(high, limit);
  const log = low > 0 && high / low > 6;
  const room = log ? 0 : 0.05 * (high - low) || 0.05 * high || 1;
  [low, high] = log ? [low / 1.12, high * 1.12] : [low - room, high + room];
  const bend = log ? Math.log : (value) => value;
  const at = (value) => from + ((bend(value) - bend(low)) / (bend(high) - bend(low))) * (to - from);
  const count = Math.max(3, Math.min(8, (to - from) / spacing));
  return { low, high, at, ticks: log ? logTicks(low, high) : linearTicks(low, high, count) };
}

function qualityEnds(row) {
  const interval = state.y === HOLDOUT ? row.interval_holdout ?? [] : [];
  return [row[state.y], ...interval].filter(known).map((value) => 100 * value);
}

/** The lowest figure drawn: a point far below the baseline must not flatten all the others. */
function qualityFloor() {
  const start = baseline[state.y];
  if (state.whole || !known(start)) return 0;
  const floor = 100 * start - Math.max(10, 4 * (limits.max_drop ?? 0));
  return Math.min(floor, ...(chosen ? qualityEnds(chosen) : []));
}

function qualityScale(from, to, count) {
  const all = scaleRows().flatMap(qualityEnds);
  let [low, high] = all.length ? [Math.max(qualityFloor(), Math.min(...all)), Math.max(...all)] : [0, 100];
  const room = Math.max(0.05 * (high - low), 0.3);
  [low, high] = [Math.max(0, low - room), Math.min(100 + room, high + room)];
  const scale = linearScale(low, high, from, to, count);
  return { ...scale, ticks: scale.ticks.filter((tick) => tick <= 100.001) };
}

const figureTick = (value) => String(Number(value.toPrecision(3)));
const costWord = (key, value) => (COSTS[key].bytes ? size(value) : `${figure(value)} ${key.split("_").at(-1).replace("mj", "mJ")}`);
const costTick = (key) => (COSTS[key].bytes ? shortSize : figureTick);

/** Lines and labels of both axes of a view: its pixels `left, right, top, bottom`, and its scales `x` and `y`. */
function gridOf(view, wordX, wordY, titleX, titleY) {
  const { left, right, top, bottom, x, y } = view;
  const across = y.ticks.map((tick) => [
    s("line", { x1: left, x2: right, y1: y.at(tick), y2: y.at(tick) }),
    s("text", { x: left - 6, y: y.at(tick) + 4, "text-anchor": "end" }, wordY(tick))]);
  const down = x.ticks.map((tick) => [
    s("line", { x1: x.at(tick), x2: x.at(tick), y1: top, y2: bottom }),
    s("text", { x: x.at(tick), y: bottom + 17, "text-anchor": "middle" }, wordX(tick))]);
  return s("g", { class: "grid", "aria-hidden": "true" }, across.flat(), down.flat(),
    titleY && s("text", { x: 0, y: 10 }, titleY),
    titleX && s("text", { x: right, y: bottom + 37, "text-anchor": "end" }, titleX));
}

const areaOf = ({ left, right, top, bottom }, attributes = {}) =>
  s("rect", { x: left, y: top, width: right - left, height: bottom - top, ...attributes });

const clipOf = (view, id) => s("defs", {}, s("clipPath", { id }, areaOf(view)));

const across = (view, value, kind) =>
  s("line", { class: kind, x1: view.left, x2: view.right, y1: view.y.at(value), y2: view.y.at(value) });

/** All dots as one path: thousands of them stay fast. */
function dotsPath(spots, r, kind) {
  const dot = ([x, y]) => `M${(x - r).toFixed(1)} ${y.toFixed(1)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
  return spots.length ? s("path", { class: kind, d: spots.map(dot).join("") }) : null;
}

function crossesPath(spots, r, kind) {
  const cross = ([x, y]) => `M${(x - r).toFixed(1)} ${(y - r).toFixed(1)}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}`;
  return spots.length ? s("path", { class: kind, d: spots.map(cross).join("") }) : null;
}

// How trials ended. The quality of one that was given up early is an estimate, and so it has a mark of its own.
const ENDS = [
  { kind: "trial early", name: "trial given up early (estimate)", path: crossesPath, has: (trial) => trial.given_up },
  { kind: "trial unfit", name: "trial that breaks a limit", path: dotsPath,
    has: (trial) => !trial.feasible && !trial.given_up },
  { kind: "trial", name: "trial", path: dotsPath, has: (trial) => trial.feasible },
];

const trialMarks = (trials, place, r) => s("g", { "aria-hidden": "true" },
  ENDS.map(({ kind, path, has }) => path(trials.filter(has).map(place), r, kind)));

function trialRows(trial) {
  if (!known(trial[SEARCH])) return [[`${Quality}, search`, "not run"], ["All limits", "not kept"]];
  const read = `${percent(trial[SEARCH])} %`;
  if (!trial.given_up) return [[`${Quality}, search`, read], ["All limits", trial.feasible ? "kept" : "not kept"]];
  const after = `after ${number(trial.inputs_search)} of ${plural(data.search, "input")}`;
  return [[`${Quality}, estimate`, `about ${read}`], ["Given up", after]];
}

const newTip = () => h("div", { class: "tip", hidden: true, "aria-hidden": "true" });

/** Shows a name and rows of figures beside a place of a picture of some width and height. */
function showTip(tip, name, rows, [x, y], { width, height }) {
  const pairs = rows.flatMap(([term, value]) => [h("dt", {}, term), h("dd", {}, value)]);
  tip.replaceChildren(h("b", {}, name), h("dl", {}, pairs));
  tip.hidden = false;
  const before = tip.parentElement.getBoundingClientRect().left;
  const most = document.documentElement.clientWidth - before - tip.offsetWidth - 8; // inside the page at any width
  const left = x > width / 2 ? x - 18 - tip.offsetWidth : x + 18;
  const top = Math.min(Math.max(4, y - tip.offsetHeight / 2), height - tip.offsetHeight);
  styled(tip, { left: `${Math.max(8 - before, Math.min(left, most))}px`, top: `${Math.max(0, top)}px` });
}

/** Where in a picture the pointer is. */
function placeIn(event, svg, width) {
  const frame = svg.getBoundingClientRect();
  const scale = width / frame.width;
  return [(event.clientX - frame.left) * scale, (event.clientY - frame.top) * scale];
}

/** Calls `show` with the place of a pointer that moves or taps, and hides the tip when it leaves. */
function onPointer(svg, tip, width, show) {
  const moved = (event) => show(placeIn(event, svg, width));
  svg.addEventListener("pointermove", moved);
  svg.addEventListener("click", moved);
  svg.addEventListener("pointerleave", () => { tip.hidden = true; });
}
