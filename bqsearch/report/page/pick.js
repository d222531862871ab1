
function tile(name, value, unit, detail, meter, broken = false) {
  const shown = h("div", { class: broken ? "value over" : "value" }, value, unit && h("small", {}, unit));
  const title = h("div", { class: "name" }, name);
  return h("div", { class: "tile" }, title, shown, meter, h("div", { class: "detail" }, detail));
}

function meter(value, limit) {
  if (!known(limit)) return null;
  const bar = styled(h("i"), { width: `${Math.min(100, (100 * value) / limit)}%` });
  return h("div", { class: value > limit ? "meter broken" : "meter", "aria-hidden": "true" }, bar);
}

const share = (value, limit) =>
  known(limit) ? `${number((100 * value) / limit, 1)} % of ${size(limit)}` : "no limit set";

function tiles(point) {
  const drop = number(point.drop_holdout, 2);
  return [
    qualityTile(point),
    tile("Drop", drop, drop === NONE ? "" : "points", dropDetail(point), null, breaks(point, "drop")),
    sizeTile("Flash", point, "flash"),
    sizeTile("RAM", point, "ram"),
    tile("Weights", ratio(point.ratio), "smaller", `${size(baseline.weight_bytes)} → ${size(point.weight_bytes)}`),
    tile("Latency", figure(point.latency_ms), "ms", `${figure(point.energy_mj)} mJ for one inference`),
  ];
}

function qualityTile(point) {
  if (!known(point[HOLDOUT]))
    return tile(`${Quality}, search`, percent(point[SEARCH]), "%", "search split; holdout not read");
  const within = ends(point.interval_holdout, 100);
  return tile(`${Quality}, holdout`, percent(point[HOLDOUT]), "%", within && `95 %: ${within}`);
}

function sizeTile(title, point, name) {
  const [value, limit] = [point[`${name}_bytes`], limits[`${name}_bytes`]];
  return tile(title, number(value), "B", share(value, limit), meter(value, limit), breaks(point, name));
}

function dropDetail(point) {
  if (!known(point.drop_holdout)) return "holdout not read";
  return point.drop_interval ? `95 %: ${ends(point.drop_interval)}` : "below the baseline";
}

function showPick(point) {
  const title = byId("pick-title");
  title.replaceChildren(`Point ${point.id}`);
  if (point === chosen) title.append(h("span", { class: "badge" }, "★ recommended"));
  if (point.feasible === false) title.append(h("span", { class: "badge bad" }, "breaks a limit"));
  const corner = h("span", { class: "hidden" }, "Figure");
  const head = headRow(corner, "this", "baseline", "change");
  const body = h("tbody", {}, compareRows(point).map((row) => compareRow(...row)));
  const table = h("table", { class: "compare" }, head, body);
  byId("pick").replaceChildren(table, tally(point), fileLinks(point));
}

const headRow = (...cells) => h("thead", {}, h("tr", {}, cells.map((cell) => h("th", { scope: "col" }, cell))));

/** How many layers, and how many of their weights, each choice holds: the plan at a glance. */
function tally(point) {
  const counts = new Map();
  for (const layer of point.layers) {
    const [layers, weights] = counts.get(layer.choice) ?? [0, 0];
    counts.set(layer.choice, [layers + 1, weights + layer.weights]);
  }
  const all = point.layers.reduce((sum, layer) => sum + layer.weights, 0) || 1;
  const rows = [...counts].sort((a, b) => b[1][1] - a[1][1]);
  const row = ([choice, [layers, weights]]) => compareRow(choice, number(layers), `${percent(weights / all, 1)} %`);
  const rest = rows.length > 12 ? h("p", { class: "fine" }, `and ${plural(rows.length - 11, "rarer choice")}`) : null;
  const body = h("tbody", {}, rows.slice(0, rest ? 11 : 12).map(row));
  return h("div", {}, h("table", { class: "compare tally" }, headRow("Choice", "layers", "of weights"), body), rest);
}

function compareRows(point) {
  const under = (text) => (text ? h("span", { class: "ends" }, text) : null);
  const held95 = (row) => [percent(row[HOLDOUT]), under(ends(row.interval_holdout, 100))];
  const drop = known(point.drop_holdout) ? number(-point.drop_holdout, 2) : NONE;
  const drop95 = point.drop_interval && [-point.drop_interval[1], -point.drop_interval[0]];
  const search = number(100 * (point[SEARCH] - baseline[SEARCH]), 2);
  return [
    ["Holdout, %", held95(point), held95(baseline), [limited(point, "drop", drop), under(ends(drop95))]],
    ["Search, %", percent(point[SEARCH]), percent(baseline[SEARCH]), search],
    costRow("Flash, B", "flash_bytes", number, point, "flash"),
    costRow("RAM, B", "ram_bytes", number, point, "ram"),
    costRow("Weights, B", "weight_bytes", number, point),
    costRow("Latency, ms", "latency_ms", figure, point),
    costRow("Energy, mJ", "energy_mj", figure, point),
  ];
}

function costRow(title, key, word, point, limit) {
  const cell = (row) => limited(row, limit, word(row[key]));
  return [title, cell(point), cell(baseline), relative(point[key], baseline[key])];
}

function compareRow(name, ...cells) {
  return h("tr", {}, h("th", { scope: "row" }, name), ...cells.map((cell) => h("td", {}, cell)));
}

function relative(value, start) {
  if (!known(value) || !known(start) || start === 0) return NONE;
  const change = 100 * (value / start - 1);
  return `${change > 0.05 ? "+" : ""}${number(change, 1)} %`;
}

/** Links to the point's files; anything but a plain path below the run folder stays text. */
function fileLinks(point) {
  const safe = (path) => /^[\w-][\w.-]*(\/[\w-][\w.-]*)*$/.test(path);
  const link = ([name, path]) =>
    safe(String(path)) ? h("a", { href: `./${path}` }, `${name}: ${path}`) : h("span", {}, `${name}: ${path}`);
  return h("div", { class: "files" }, Object.entries(point.files ?? {}).map(link));
}


const LABELS = { decode_buffer: "decode buffer", activations: "activations", code: "code (runtime)" };
const partName = (key) => LABELS[key] ?? key.replaceAll("_", " ");

function stack(title, parts, total, scale, limit) {
  const segments = Object.values(parts).map((value, index) =>
    styled(h("i", { class: `c${index % 7}` }), { width: `${(100 * value) / scale}%` }));
  const shown = known(limit) && limit <= scale;
  const edge = shown ? styled(h("span", { class: "edge" }), { left: `${(100 * limit) / scale}%` }) : null;
  const name = h("div", { class: "stack-name" }, h("span", {}, title), h("b", {}, size(total)));
  return [name, h("div", { class: "stack", "aria-hidden": "true" }, h("div", { class: "fill" }, segments), edge)];
}

function partsTable(mine, theirs, totals) {
  const keys = Object.keys(mine);
  const row = (key, index) => h("tr", {},
    h("th", { scope: "row" }, h("span", { class: `swatch c${index % 7}`, "aria-hidden": "true" }), partName(key)),
    h("td", {}, number(mine[key])), h("td", {}, percent(mine[key] / totals[0], 1)), h("td", {}, number(theirs[key])));
  const sum = compareRow("sum", number(totals[0]), "100.0", number(totals[1]));
  sum.className = "sum";
  const head = headRow("Part", "bytes", "%", "baseline");
  return h("table", { class: "parts" }, head, h("tbody", {}, keys.map(row), sum));
}

function breakdown(box, point, name, footer) {
  const key = `${name}_bytes`;
  const limit = limits[key];
  const largest = Math.max(point[key], baseline[key], 1);
  const scale = known(limit) && limit < 3 * largest ? Math.max(largest, limit) : largest;
  const mine = point[name] ?? {};
  const theirs = baseline[name] ?? {};
  box.replaceChildren(
    ...stack(`Point ${point.id}`, mine, point[key], scale, limit),
    ...stack("Baseline", theirs, baseline[key], scale, limit),
    partsTable(mine, theirs, [point[key], baseline[key]]),
    h("p", { class: "fine peak" }, limitWords(point, name, limit), footer ? ` ${footer}` : ""),
  );
}

function limitWords(point, name, limit) {
  const label = name === "ram" ? "RAM" : name;
  if (!known(limit)) return `No limit is set for ${label}.`;
  const used = point[`${name}_bytes`] / limit;
  const left = used <= 1 ? `${size(limit - point[`${name}_bytes`])} stay free` : "it does not fit";
  return `${percent(used, 1)} % of the limit of ${size(limit)}; ${left}.`;
}
