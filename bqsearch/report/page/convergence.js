// The course of the cost that the front is drawn against; see `report/convergence.py`.
function drawCourse() {
  const course = front.convergence[state.x];
  const cost = COSTS[state.x];
  const last = course?.best.at(-1);
  byId("course-note").textContent = last
    ? `Lowest ${cost.name}: ${costWord(state.x, last[1])}, from trial ${last[0]} on.`
    : "No trial keeps all limits.";
  if (course) drawBest(byId("course-best"), course.best, state.x);
  if (course) drawVolume(byId("course-volume"), course.volume, cost.name);
}

function courseArea(box) {
  const width = Math.max(260, box.clientWidth || 500);
  const area = { left: 58, right: width - 8, top: 22, bottom: 216, width, height: 260 };
  return { ...area, x: trialScale(area) };
}

function trialScale({ left, right }) {
  const count = Math.max(1, front.trials.length - 1);
  const scale = linearScale(0, count, left, right, Math.max(3, Math.min(8, (right - left) / 70)));
  return { ...scale, ticks: scale.ticks.filter(Number.isInteger) };
}

/** A line that holds each figure until the next one. */
function coursePath(pairs, { x, y, right }) {
  const steps = pairs.map(([trial, value], index) => {
    const [across, down] = [x.at(trial), y.at(value)];
    return index ? `H${across}V${down}` : `M${across} ${down}`;
  });
  return pairs.length ? s("path", { class: "step", d: `${steps.join("")}H${right}` }) : null;
}

const soFar = (pairs, trial) => pairs.filter(([number]) => number <= trial).at(-1)?.[1];

function drawBest(box, best, key) {
  const area = courseArea(box);
  const kept = front.trials.filter((trial) => trial.feasible && known(trial[key])).map((trial) => trial[key]);
  const all = [...kept, baseline[key], ...points.map((point) => point[key])].filter(known);
  let [low, high] = [Math.min(...all), Math.max(...all)];
  const limit = limits[key];
  if (known(limit) && limit > low && limit < 1.5 * high) high = Math.max(high, limit);
  const room = 0.06 * (high - low) || 0.05 * high || 1;
  const y = linearScale(Math.max(0, low - room), high + room, area.bottom, area.top, 5);
  const view = { ...area, y };
  const title = `Lowest ${COSTS[key].name} so far${COSTS[key].bytes ? "" : `, ${COSTS[key].title.split(", ")[1]}`}`;
  courseSvg(box, view, [gridOf(view, String, costTick(key), "Trial", title),
    known(limit) && limit < y.high && across(view, limit, "limit"), courseDots(view, key),
    across(view, baseline[key], "reference"), coursePath(best, view), frontDots(view, key),
    s("text", { class: "halo", x: view.right, y: y.at(baseline[key]) - 5, "text-anchor": "end" }, "baseline")],
  (trial) => [[COSTS[key].title.split(",")[0], costWord(key, trial[key])], ["Lowest so far", costOr(best, trial, key)]]);
}

function costOr(best, trial, key) {
  const value = soFar(best, trial.number);
  return known(value) ? costWord(key, value) : NONE;
}

function courseDots(view, key) {
  const seen = front.trials.filter((trial) => trial[key] >= view.y.low && trial[key] <= view.y.high);
  return trialMarks(seen, (trial) => [view.x.at(trial.number), view.y.at(trial[key])], 2);
}

/** The points of the front at the trials that found them; the picked one has a ring. */
function frontDots({ x, y }, key) {
  const shown = points.filter((point) => known(point.trial) && known(point[key]));
  return shown.map((point) => {
    const place = { cx: x.at(point.trial), cy: y.at(point[key]) };
    const kind = point === chosen ? "point star" : "point";
    const ring = point === state.picked ? s("circle", { class: "ring", r: 7.5, ...place }) : null;
    return [s("circle", { class: kind, r: 3.6, "data-trial": point.trial, ...place }), ring];
  }).flat().filter(Boolean);
}

function drawVolume(box, volume, cost) {
  if (!volume.length) {
    box.replaceChildren(h("p", { class: "fine" }, `All trials that keep the limits have one ${cost}: no area to compare.`));
    return;
  }
  const area = courseArea(box);
  const view = { ...area, y: linearScale(0, 104, area.bottom, area.top, 5) };
  const shares = volume.map(([trial, share]) => [trial, 100 * share]);
  courseSvg(box, view, [
    gridOf(view, String, String, "Trial", `Hypervolume of ${quality} and ${cost}, % of its final value`), coursePath(shares, view)],
  (trial) => [["Hypervolume", `${number(soFar(shares, trial.number) ?? 0, 1)} %`]]);
}

function courseSvg(box, view, children, rowsOf) {
  const frame = { viewBox: `0 0 ${view.width} ${view.height}`, height: view.height };
  const label = `${box.dataset.label} over ${plural(front.trials.length, "trial")}`;
  const svg = s("svg", { role: "img", "aria-label": label, ...frame }, children);
  const tip = newTip();
  box.replaceChildren(svg, tip);
  const trialAt = (left) => {
    const share = (left - view.left) / (view.right - view.left);
    return front.trials[Math.max(0, Math.min(front.trials.length - 1, Math.round(share * (front.trials.length - 1))))];
  };
  onPointer(svg, tip, view.width, ([left, top]) => {
    const trial = trialAt(left);
    if (!trial) return;
    showTip(tip, `Trial ${trial.number}`, [...rowsOf(trial), ...trialRows(trial)], [left, top], view);
  });
  svg.addEventListener("click", (event) => {
    const mark = event.target.closest("[data-trial]");
    const point = mark && points.find((found) => String(found.trial) === mark.dataset.trial);
    if (point) pick(point);
  });
}
