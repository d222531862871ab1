// Each drawn panel: the large one first, then a small one for each cost. All show the same points.
const views = [];
const SMALL = Object.keys(COSTS).slice(0, 4);
const hasCost = (key) => [baseline, ...points].some((row) => known(row[key]));

function drawPlots() {
  views.length = 0;
  drawPanel(byId("plot"), state.x, false);
  const boxes = SMALL.filter(hasCost).map((key) => [key, h("div", { class: "plot" })]);
  byId("plots").replaceChildren(...boxes.map(([key, box]) => h("div", { class: "mini" }, miniTitle(key), box)));
  for (const [key, box] of boxes) drawPanel(box, key, true);
  markPicked();
  plotNote();
}

function miniTitle(key) {
  const show = () => {
    state.x = key;
    byId("axis-x").value = key;
    drawAll();
  };
  const attributes = { type: "button", class: "pick-button", "aria-pressed": String(key === state.x), onclick: show };
  return h("h3", {}, h("button", attributes, COSTS[key].title));
}

function drawPanel(box, key, small) {
  const width = Math.max(small ? 130 : 280, box.clientWidth || (small ? 270 : 760));
  const height = small ? 168 : Math.round(Math.max(300, Math.min(470, width * 0.6)));
  const area = small
    ? { left: 32, right: width - 4, top: 6, bottom: height - 22 }
    : { left: 46, right: width - 6, top: 16, bottom: height - 46 };
  const x = costScale(key, area.left, area.right - 8, small ? (COSTS[key].bytes ? 46 : 28) : 95);
  const y = qualityScale(area.bottom, area.top + 10, small ? 4 : 6);
  const view = { ...area, width, height, x, y, key, small, marks: new Map(), clip: `clip-${views.length}` };
  view.seen = points.filter((point) => inView(point, view));
  view.ring = s("circle", { class: "ring", r: small ? 8 : 11 });
  const role = small ? { role: "img" } : { role: "radiogroup" };
  const frame = { viewBox: `0 0 ${width} ${height}`, height, class: points.length > 30 ? "crowded" : "" };
  const svg = s("svg", { ...role, "aria-label": plotLabel(view), ...frame },
    clipOf(view, view.clip), grid(view), limitMarks(view), trialDots(view), whiskers(view), stepLine(view),
    baselineMark(view), pointMarks(view), view.ring, starName(view));
  const tip = newTip();
  box.replaceChildren(svg, tip);
  views.push(view);
  listen(view, svg, tip);
}

function plotLabel({ key, small }) {
  const keys = small ? "" : "; arrow keys move between points";
  return `${Quality} on the ${SPLITS[state.y]} against ${COSTS[key].title}${keys}`;
}

function inView(row, { key, x, y }) {
  const [cost, height] = [row[key], row[state.y]];
  return known(cost) && known(height) && 100 * height >= y.low && cost >= x.low && cost <= x.high;
}

const spot = (view, row) => [view.x.at(row[view.key]), view.y.at(100 * row[state.y])];

function grid(view) {
  const percentTick = (tick) => String(Number(tick.toFixed(2)));
  const titles = view.small ? [] : [COSTS[view.key].title, `${Quality} on the ${SPLITS[state.y]}, %`];
  return gridOf(view, costTick(view.key), percentTick, ...titles);
}

function limitMarks(view) {
  const { y } = view;
  const group = s("g", { "aria-hidden": "true" });
  const limit = limits[view.key];
  if (known(limit)) group.append(...costLimit(view, limit));
  const start = baseline[state.y];
  const floor = known(start) && known(limits.max_drop) ? 100 * start - limits.max_drop : null;
  if (known(floor) && floor > y.low && floor < y.high) group.append(...floorMarks(view, floor));
  return group;
}

/** The board's limit as a line, or as a pointer to the side on which it lies beyond the axis. */
function costLimit(view, limit) {
  const { left, right, top, bottom, x, small } = view;
  const name = (at, anchor, text) =>
    s("text", { class: "limit-name halo", x: at, y: bottom - 8, "text-anchor": anchor }, small ? "" : text);
  const text = `limit ${size(limit)}`;
  if (limit >= x.high) return [name(right - 4, "end", `${text} →`)];
  if (limit <= x.low) return [name(left + 6, "start", `← ${text}`)];
  const at = x.at(limit);
  const line = s("line", { class: "limit", x1: at, x2: at, y1: top, y2: bottom });
  const before = at > 220;
  const beyond = areaOf({ ...view, left: at }, { class: "beyond" });
  return [beyond, line, name(before ? at - 6 : at + 6, before ? "end" : "start", text)];
}

function floorMarks(view, floor) {
  const { right, y, small } = view;
  const text = `baseline − ${limits.max_drop} ${limits.max_drop === 1 ? "point" : "points"}`;
  const name = s("text", { class: "limit-name halo", x: right - 4, y: y.at(floor) + 14, "text-anchor": "end" }, text);
  return small ? [across(view, floor, "limit")] : [across(view, floor, "limit"), name];
}

function trialsIn({ key, x, y }) {
  return front.trials.filter((trial) => {
    const [cost, height] = [trial[key], trial[SEARCH]];
    const within = cost >= x.low && cost <= x.high && 100 * height >= y.low && 100 * height <= y.high;
    return known(cost) && known(height) && within;
  });
}

const trialSpot = (view, trial) => [view.x.at(trial[view.key]), view.y.at(100 * trial[SEARCH])];
const trialDots = (view) => trialMarks(trialsIn(view), (trial) => trialSpot(view, trial), view.small ? 1.6 : 2.4);

function whiskers(view) {
  if (state.y !== HOLDOUT) return s("g");
  const cap = view.small ? 2 : 4;
  const bar = (point) => {
    const [low, high] = point.interval_holdout.map((end) => view.y.at(100 * end));
    const at = view.x.at(point[view.key]);
    const d = `M${at} ${low}V${high}M${at - cap} ${low}h${2 * cap}M${at - cap} ${high}h${2 * cap}`;
    return s("path", { class: point === baseline ? "whisker of-base" : "whisker", "data-point": point.id, d });
  };
  const start = inView(baseline, view) ? [baseline] : [];
  const known95 = [...view.seen, ...start].filter((point) => point.interval_holdout);
  return s("g", { "aria-hidden": "true", "clip-path": `url(#${view.clip})` }, known95.map(bar));
}

/** The best figure at each cost, among all points of the front. */
function stepLine(view) {
  const rows = points.filter((point) => known(point[view.key]) && known(point[state.y]));
  rows.sort((a, b) => a[view.key] - b[view.key] || b[state.y] - a[state.y]);
  let best = -1;
  let path = "";
  for (const row of rows) {
    if (row[state.y] <= best) continue;
    const [x, y] = spot(view, row);
    path += best < 0 ? `M${x} ${y}` : `H${x}V${y}`;
    best = row[state.y];
  }
  if (!path) return null;
  const d = `${path}H${view.right}`;
  return s("path", { class: "step", d, "clip-path": `url(#${view.clip})`, "aria-hidden": "true" });
}

function baselineMark(view) {
  if (!inView(baseline, view)) return null;
  const [x, y] = spot(view, baseline);
  const kind = baseline.feasible === false ? "base unfit" : "base";
  if (view.small) return s("path", { class: kind, "aria-hidden": "true", d: `M${x} ${y - 5}l5 5l-5 5l-5 -5z` });
  const edge = x > view.width - 80;
  const place = { x: edge ? x + 8 : x, y: y - 13, "text-anchor": edge ? "end" : "middle" };
  return s("g", { "aria-hidden": "true" },
    s("path", { class: kind, d: `M${x} ${y - 7}l7 7l-7 7l-7 -7z` }), s("text", { class: "halo", ...place }, "baseline"));
}

function pointMarks(view) {
  const order = [...view.seen].sort((a, b) => Number(a === chosen) - Number(b === chosen));
  const [usual, star] = view.small ? [3.6, 5] : [5.5, 7.5];
  return s("g", {}, order.map((point) => {
    const [cx, cy] = spot(view, point);
    const kind = `point${point === chosen ? " star" : ""}${point.feasible === false ? " unfit" : ""}`;
    const said = view.small ? {} : { role: "radio", "aria-label": spoken(point) };
    const place = { class: kind, cx, cy, r: point === chosen ? star : usual };
    const mark = s("circle", { ...place, ...said, "data-point": point.id });
    view.marks.set(point, mark);
    return mark;
  }));
}

function spoken(point) {
  const star = point === chosen ? ", recommended" : "";
  return `Point ${point.id}${star}: ${tipRows(point).map(([name, value]) => `${name} ${value}`).join(", ")}`;
}

function starName(view) {
  if (view.small || !chosen || !view.marks.has(chosen)) return null;
  const [x, y] = spot(view, chosen);
  const place = x > 132
    ? { x: x - 13, y: y - 13, "text-anchor": "end" }
    : { x: x + 12, y: y + 26, "text-anchor": "start" };
  return s("text", { class: "star-name halo", "aria-hidden": "true", ...place }, `★ point ${chosen.id}`);
}

function markPicked() {
  const id = String(state.picked?.id);
  for (const node of document.querySelectorAll("tr.row, .whisker"))
    node.classList.toggle("picked", node.dataset.point === id);
  for (const view of views) {
    const mark = view.marks.get(state.picked);
    view.ring.style.display = mark ? "" : "none";
    if (mark) for (const name of ["cx", "cy"]) view.ring.setAttribute(name, mark.getAttribute(name));
  }
  const { marks, seen } = views[0];
  const first = marks.has(state.picked) ? state.picked : seen[0];
  for (const [point, mark] of marks) {
    mark.setAttribute("aria-checked", String(point === state.picked));
    mark.setAttribute("tabindex", point === first ? "0" : "-1");
  }
}

function plotNote() {
  const below = points.filter((point) => known(point[state.y]) && 100 * point[state.y] < views[0].y.low).length;
  const unread = front.trials.filter((trial) => !known(trial[SEARCH])).length;
  const early = front.trials.filter((trial) => trial.given_up).length;
  const costless = !front.trials.some((trial) => known(trial[state.x]));
  const notes = [
    state.y === HOLDOUT && "Trials were read on the search split only.",
    costless && "Trials do not record this cost.",
    unread > 0 && `${plural(unread, "trial")} not run.`,
    early > 0 && `${plural(early, "trial")} given up before the whole split was seen: crosses are estimates.`,
  ];
  const shown = front.trials.length ? notes : [];
  if (below) shown.push(`${plural(below, "point")} below this window.`);
  byId("plot-note").textContent = shown.filter(Boolean).join(" ");
}

function tipRows(point) {
  const held95 = ["95 % interval", ends(point.interval_holdout, 100)];
  const rows = known(point[HOLDOUT]) ? [["Holdout", `${percent(point[HOLDOUT])} %`], held95] : [];
  rows.push(["Search", `${percent(point[SEARCH])} %`]);
  if (known(point.drop_holdout))
    rows.push(["Drop", `${number(point.drop_holdout, 2)} points`], ["95 % interval", ends(point.drop_interval)]);
  rows.push(["Flash", size(point.flash_bytes)], ["RAM", size(point.ram_bytes)]);
  rows.push(["Latency", `${figure(point.latency_ms)} ms`], ["Energy", `${figure(point.energy_mj)} mJ`]);
  rows.push(["Weights", size(point.weight_bytes)], ["Ratio", known(point.ratio) ? ratio(point.ratio) : ""]);
  return rows.filter(([, value]) => value !== "");
}

function showPoint(view, tip, row) {
  const name = row === baseline ? "Baseline" : `Point ${row.id}${row === chosen ? " ★ recommended" : ""}`;
  const rows = view.small ? tipRows(row).filter(([term]) => !["Weights", "Ratio", "Search"].includes(term)) : tipRows(row);
  showTip(tip, name, rows, spot(view, row), view);
}

function showTrial(view, tip, trial) {
  const costs = SMALL.filter((key) => known(trial[key])).map((key) => [COSTS[key].title.split(",")[0], costWord(key, trial[key])]);
  showTip(tip, `Trial ${trial.number}`, [...trialRows(trial), ...costs], trialSpot(view, trial), view);
}

/** The row that lies nearest to a place, at most so many pixels away. */
function nearest(view, [x, y], rows, place = spot, most = 36) {
  const far = (row) => Math.hypot(place(view, row)[0] - x, place(view, row)[1] - y);
  const best = rows.reduce((near, row) => (near && far(near) <= far(row) ? near : row), null);
  return best && far(best) < most ? best : null;
}

function listen(view, svg, tip) {
  const rows = inView(baseline, view) ? [...view.seen, baseline] : view.seen;
  svg.addEventListener("click", (event) => {
    const point = nearest(view, placeIn(event, svg, view.width), view.seen);
    if (point) pick(point);
  });
  const trials = view.small ? [] : trialsIn(view);
  onPointer(svg, tip, view.width, (place) => {
    const [close, trial] = [nearest(view, place, rows, spot, 10), nearest(view, place, trials, trialSpot, 8)];
    const row = close ?? (trial ? null : nearest(view, place, rows));
    if (row) showPoint(view, tip, row);
    else if (trial) showTrial(view, tip, trial);
    else tip.hidden = true;
  });
  if (view.small) return;
  for (const [point, mark] of view.marks) {
    mark.addEventListener("focus", () => showPoint(view, tip, point));
    mark.addEventListener("blur", () => { tip.hidden = true; });
    mark.addEventListener("keydown", (event) => onKey(event, point, view, tip));
  }
}

function onKey(event, point, view, tip) {
  if (event.key === "Escape") tip.hidden = true;
  const order = [...view.seen].sort((a, b) => a[state.x] - b[state.x]);
  const at = order.indexOf(point);
  const moves = { ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at - 1, ArrowDown: at - 1 };
  const goals = { ...moves, Home: 0, End: order.length - 1, Enter: at, " ": at };
  if (!(event.key in goals)) return;
  event.preventDefault();
  const next = order[Math.max(0, Math.min(order.length - 1, goals[event.key]))];
  pick(next);
  view.marks.get(next).focus();
}
