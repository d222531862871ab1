
function options(select, entries, current, change) {
  const option = ([value, text]) => h("option", { value, selected: value === current }, text);
  select.replaceChildren(...entries.map(option));
  select.addEventListener("change", () => { change(select.value); drawAll(); });
}

function controls() {
  const splits = Object.entries(SPLITS).filter(([key]) => key !== HOLDOUT || held);
  const shown = Object.entries(COSTS).filter(([key]) => hasCost(key));
  const costs = shown.map(([key, cost]) => [key, cost.title.split(",")[0]]);
  options(byId("axis-y"), splits, state.y, (value) => { state.y = value; });
  options(byId("axis-x"), costs, state.x, (value) => { state.x = value; });
  const figures = points.map((point) => 100 * point[state.y]);
  byId("memory-of").addEventListener("change", (event) => {
    state.start = event.target.value === "start";
    showMemory();
  });
  byId("whole-box").hidden = !figures.some((value) => value < qualityFloor());
  byId("whole").addEventListener("change", (event) => { state.whole = event.target.checked; drawAll(); });
}

function legend() {
  const frame = { width: 18, height: 14, viewBox: "0 0 18 14", "aria-hidden": "true" };
  const icon = (...shapes) => s("svg", frame, shapes);
  const dot = (kind, r) => s("circle", { class: kind, cx: 9, cy: 7, r });
  const unfit = baseline.feasible === false;
  const diamond = s("path", { class: unfit ? "base unfit" : "base", d: "M9 1.5l5.5 5.5l-5.5 5.5l-5.5 -5.5z" });
  const items = [
    points.length && [icon(s("path", { class: "step", d: "M0 7H18" }), dot("point", 4.5)), "front"],
    chosen && [icon(dot("point star", 5.5)), "recommended"],
    [icon(diamond), unfit ? "baseline, does not fit" : "baseline"],
    ...[...ENDS].reverse().filter(({ has }) => front.trials.some(has))
      .map(({ kind, name, path }) => [icon(path([[9, 7]], 3, kind)), name]),
    [icon(s("path", { class: "limit", d: "M0 7H18" })), "limit"],
  ];
  byId("legend").replaceChildren(...items.filter(Boolean).map(([shape, text]) => h("li", {}, shape, text)));
}

function pick(point) {
  state.picked = point;
  state.start = false;
  showPicked();
  markPicked();
  drawCourse();
}

function showPicked() {
  const point = state.picked;
  if (!point) return;
  showPick(point);
  const coded = point.flash?.tables ? "Weights are stored coded; tables hold their codebooks." : "";
  breakdown(byId("flash"), point, "flash", coded);
  breakdown(byId("ram"), point, "ram", point.peak ? `${point.peak} sets the peak.` : "");
  showLayers(point);
  showMemory();
}

/** All pictures whose size is the page's. */
function drawAll() {
  drawPlots();
  drawCourse();
  if (state.picked) showLayers(state.picked);
  showMemory();
}

function start() {
  byId("main").hidden = false;
  if (chosen) byId("tiles").append(...tiles(chosen));
  const needy = state.picked ? [] : ["pick-title", "flash-title", "ram-title", "layers-title"];
  for (const id of needy) byId(id).closest(".card").hidden = true;
  byId("course-title").closest(".card").hidden = !front.trials.length;
  controls();
  legend();
  showPoints();
  showFacts();
  drawAll();
  showPicked();
  let width = byId("plot").clientWidth;
  new ResizeObserver(() => {
    if (byId("plot").clientWidth === width) return;
    width = byId("plot").clientWidth;
    drawAll();
  }).observe(byId("plot"));
}

start();
