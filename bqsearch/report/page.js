"use strict";
(() => {
  // Every string of the run reaches the page as text: through createTextNode or setAttribute, never as markup.
  const front = JSON.parse(document.getElementById("front").textContent);
  const { baseline, limits, settings, data } = front;
  const points = [...front.points].sort((a, b) => a.flash_bytes - b.flash_bytes || a.id - b.id);
  const chosen = points.find((point) => point.id === front.recommended) ?? null;
  const SVG = "http://www.w3.org/2000/svg";
  const NONE = "–";
  const byId = (id) => document.getElementById(id);
  const known = (value) => value !== null && value !== undefined;

  // ---- words -------------------------------------------------------------------------------------------------------

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

  // ---- building ----------------------------------------------------------------------------------------------------

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (known(value) && value !== false) node.setAttribute(name, value === true ? "" : String(value));
    }
    node.append(...children.flat().filter((child) => known(child) && child !== ""));
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

  // ---- state -------------------------------------------------------------------------------------------------------

  const quality = front.quality.name;
  const Quality = quality[0].toUpperCase() + quality.slice(1);
  const [SEARCH, HOLDOUT] = [`${quality}_search`, `${quality}_holdout`];
  const held = points.length > 0 && points.every((point) => known(point[HOLDOUT]));
  const state = {
    x: "flash_bytes",
    y: held ? HOLDOUT : SEARCH,
    whole: false,
    picked: chosen ?? points.at(-1) ?? null,
  };

  const COSTS = {
    flash_bytes: { name: "flash", title: "Flash", bytes: true },
    ram_bytes: { name: "ram", title: "RAM", bytes: true },
    latency_ms: { name: "latency", title: "Latency, ms", bytes: false },
    energy_mj: { name: "energy", title: "Energy, mJ", bytes: false },
    weight_bytes: { name: "weights", title: "Weight bytes", bytes: true },
  };
  const SPLITS = { [HOLDOUT]: "holdout split", [SEARCH]: "search split" };

  function pick(point) {
    state.picked = point;
    showPicked();
    markPicked();
  }

  // ---- tiles and the picked point ----------------------------------------------------------------------------------

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
    const rest = rows.length > 6 ? h("p", { class: "fine" }, `and ${plural(rows.length - 5, "rarer choice")}`) : null;
    const body = h("tbody", {}, rows.slice(0, rest ? 5 : 6).map(row));
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

  // ---- stacked bars ------------------------------------------------------------------------------------------------

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

  // ---- tables ------------------------------------------------------------------------------------------------------

  /** A table whose headings sort it. A column: title, hint, value(row) to sort by, cell(row) to show, words for left. */
  function sortable(box, columns, rows, decorate, order) {
    const sort = order ?? { column: null, down: false };
    const body = h("tbody");
    const heads = columns.map((column, index) => sortHead(column, () => turn(index)));
    const fillBody = () => {
      const sorted = sort.column === null ? rows : sortedRows(rows, columns[sort.column].value, sort.down);
      body.replaceChildren(...sorted.map((row) => decorate(tableRow(columns, row), row)));
      heads.forEach((head, index) => setSort(head, index === sort.column ? sort.down : null));
    };
    const turn = (index) => {
      sort.down = sort.column === index ? !sort.down : Boolean(columns[index].down);
      sort.column = index;
      fillBody();
    };
    fillBody();
    box.replaceChildren(h("table", {}, h("thead", {}, h("tr", {}, heads)), body));
  }

  function sortHead(column, turn) {
    const button = h("button", { type: "button", title: column.hint, onclick: turn }, column.title);
    return h("th", { scope: "col", class: column.words && "words" }, button);
  }

  function setSort(head, down) {
    if (down === null) head.removeAttribute("aria-sort");
    else head.setAttribute("aria-sort", down ? "descending" : "ascending");
  }

  function tableRow(columns, row) {
    const [first, ...rest] = columns;
    const kind = (column) => column.words && "words";
    const head = h("th", { scope: "row", class: kind(first) }, first.cell(row));
    return h("tr", {}, head, rest.map((column) => h("td", { class: kind(column) }, column.cell(row))));
  }

  /** Rows by value; a missing value comes last either way. */
  function sortedRows(rows, value, down) {
    const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
    return [...rows].sort((left, right) => {
      const [a, b] = [value(left), value(right)];
      if (!known(a) || !known(b)) return Number(!known(a)) - Number(!known(b));
      return down ? compare(b, a) : compare(a, b);
    });
  }

  const POINT_COLUMNS = [
    { title: "Point", words: true, value: (p) => p.id, cell: pointName },
    { title: "Search %", down: true, value: (p) => p[SEARCH], cell: (p) => percent(p[SEARCH]) },
    { title: "Holdout % (95 %)", down: true, value: (p) => p[HOLDOUT], cell: holdoutCell },
    { title: "Drop, points (95 %)", value: (p) => p.drop_holdout, cell: dropCell },
    { title: "Flash", value: (p) => p.flash_bytes, cell: (p) => limited(p, "flash", size(p.flash_bytes)) },
    { title: "RAM", value: (p) => p.ram_bytes, cell: (p) => limited(p, "ram", size(p.ram_bytes)) },
    { title: "ms", value: (p) => p.latency_ms, cell: (p) => figure(p.latency_ms) },
    { title: "mJ", value: (p) => p.energy_mj, cell: (p) => figure(p.energy_mj) },
    { title: "Weights", value: (p) => p.weight_bytes, cell: (p) => size(p.weight_bytes) },
    { title: "Ratio", down: true, value: (p) => p.ratio, cell: (p) => ratio(p.ratio) },
  ];

  function pointName(point) {
    if (point === baseline) return "baseline";
    if (point === front.given) return front.given.kind;
    const attributes = { type: "button", class: "pick-button", "aria-label": `Pick point ${point.id}` };
    const button = h("button", { ...attributes, onclick: () => pick(point) }, String(point.id));
    if (point !== chosen) return button;
    const star = h("span", { class: "mark", "aria-hidden": "true" }, " ★");
    return [button, star, h("span", { class: "hidden" }, " recommended")];
  }

  function holdoutCell(point) {
    return withEnds(percent(point[HOLDOUT]), ends(point.interval_holdout, 100));
  }

  function dropCell(point) {
    return withEnds(limited(point, "drop", number(point.drop_holdout, 2)), ends(point.drop_interval));
  }

  function showPoints() {
    const box = byId("points-table");
    sortable(box, POINT_COLUMNS, points, pointRow, { column: 4, down: false });
    const start = [front.given, baseline].filter(known).map((row) => tableRow(POINT_COLUMNS, row));
    box.querySelector("thead").after(h("tbody", {}, start));
    const sum = `${plural(points.length, "point")} from ${plural(front.trials.length, "trial")}`;
    byId("points-note").textContent = `${sum}. Red: over its limit. A heading sorts, a row picks.`;
  }

  function pointRow(row, point) {
    row.className = `row${point === chosen ? " star" : ""}${point === state.picked ? " picked" : ""}`;
    row.dataset.point = point.id;
    row.addEventListener("click", () => pick(point));
    return row;
  }

  const layerOrder = { column: null, down: false };

  function showLayers(point) {
    const facts = new Map(front.layers.map((layer) => [layer.name, layer]));
    const rows = point.layers.map((layer, index) => ({ ...facts.get(layer.name), ...layer, index }));
    byId("mosaic").replaceChildren(...mosaic(rows, point));
    sortable(byId("layers"), LAYER_COLUMNS, rows, (row) => row, layerOrder);
    const weights = rows.reduce((sum, row) => sum + row.weights, 0);
    const bytes = rows.reduce((sum, row) => sum + row.bytes, 0);
    const mean = weights ? number((8 * bytes) / weights, 2) : NONE;
    const sum = `${plural(rows.length, "layer")}, ${size(bytes)} for ${number(weights)} weights`;
    byId("layers-note").textContent = `Point ${point.id}: ${sum}, ${mean} bits each.`;
  }

  const SHANNON =
    "Shannon: bytes that no code of a layer's symbols one by one can go below (entropy of order 0), tables not " +
    "counted; and how much more the layer takes, tables included.";

  const LAYER_COLUMNS = [
    { title: "Layer", words: true, value: (row) => row.index, cell: layerName },
    { title: "Operator", words: true, value: (row) => row.operator ?? "", cell: (row) => row.operator ?? NONE },
    { title: "Shape", words: true, value: (row) => row.weights, cell: (row) => row.shape?.join(" × ") ?? NONE },
    { title: "Choice", words: true, value: (row) => row.choice, cell: (row) => row.choice },
    { title: "Bits/weight", value: (row) => row.bits_per_weight, cell: (row) => number(row.bits_per_weight, 2) },
    { title: "int8 bytes", down: true, value: (row) => row.weights, cell: (row) => number(row.weights) },
    { title: "Bytes", down: true, value: (row) => row.bytes, cell: (row) => number(row.bytes) },
    { title: "Shannon", hint: SHANNON, down: true, value: (row) => row.entropy_bytes, cell: shannonCell },
    { title: "Against int8", words: true, value: (row) => row.bytes / row.weights, cell: weightBar },
  ];

  function shannonCell(row) {
    return withEnds(number(row.entropy_bytes), row.entropy_bytes > 0 && relative(row.bytes, row.entropy_bytes));
  }

  function layerName(row) {
    return h("span", { class: "layer-name", title: row.name }, row.name);
  }

  function weightBar(row) {
    const part = row.weights ? row.bytes / row.weights : 0;
    const now = styled(h("span", { class: part > 1 ? "now more" : "now" }), { width: `${Math.min(100, 100 * part)}%` });
    const bar = h("span", { class: "before", "aria-hidden": "true" }, now);
    return h("div", { class: "weight" }, bar, h("span", { class: "share" }, `${number(100 * part)} %`));
  }

  const MOSAIC_WORDS =
    "Each column is a layer, as wide as its int8 bytes and filled as far as they are still stored: " +
    "the blue area is the weights in flash.";

  /** Every layer as a column: its width is its int8 bytes, its fill what the point stores, so area is bytes. */
  function mosaic(rows, point) {
    const total = rows.reduce((sum, row) => sum + row.weights, 0) || 1;
    let left = 0;
    const column = (row) => {
      const [x, width] = [left, (1000 * row.weights) / total];
      const height = Math.min(100, row.weights ? (100 * row.bytes) / row.weights : 0);
      left += width;
      const title = s("title", {}, `${row.name}: ${number(row.bytes)} B of ${number(row.weights)} B, ${row.choice}`);
      return [s("rect", { class: row.bytes > row.weights ? "more" : "", x, width, y: 100 - height, height }),
        s("rect", { class: "column", x, width, y: 0, height: 100 }, title)];
    };
    const label = `Bytes of each layer of point ${point.id} against int8; the table below holds the same figures`;
    const shape = { viewBox: "0 0 1000 100", preserveAspectRatio: "none" };
    const picture = s("svg", { class: "mosaic", role: "img", "aria-label": label, ...shape }, rows.map(column).flat());
    return [picture, h("p", { class: "fine" }, MOSAIC_WORDS)];
  }

  function showPicked() {
    const point = state.picked;
    if (!point) return;
    showPick(point);
    const coded = point.flash?.tables ? "Weights are stored coded; tables hold their codebooks." : "";
    breakdown(byId("flash"), point, "flash", coded);
    breakdown(byId("ram"), point, "ram", point.peak ? `${point.peak} sets the peak.` : "");
    showLayers(point);
  }

  // ---- the plot: scales --------------------------------------------------------------------------------------------

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

  /** The rows that set the scales: trials only where there is no point to look at. */
  const scaleRows = () => [baseline, ...(points.length ? points : front.trials)];

  /** Where costs lie: linear, or logarithmic where they differ by more than a factor of six. */
  function costScale(key, from, to) {
    const values = scaleRows().map((row) => row[key]).filter(known);
    let [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
    const limit = limits[key];
    if (known(limit) && low < limit && limit < 1.5 * high) high = Math.max(high, limit);
    const log = low > 0 && high / low > 6;
    const room = log ? 0 : 0.05 * (high - low) || 0.05 * high || 1;
    [low, high] = log ? [low / 1.12, high * 1.12] : [low - room, high + room];
    const bend = log ? Math.log : (value) => value;
    const at = (value) => from + ((bend(value) - bend(low)) / (bend(high) - bend(low))) * (to - from);
    const ticks = log ? logTicks(low, high) : linearTicks(low, high, Math.max(3, Math.min(8, (to - from) / 95)));
    return { low, high, at, ticks };
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

  function qualityScale(from, to) {
    const all = scaleRows().flatMap(qualityEnds);
    let [low, high] = all.length ? [Math.max(qualityFloor(), Math.min(...all)), Math.max(...all)] : [0, 100];
    const room = Math.max(0.05 * (high - low), 0.3);
    [low, high] = [Math.max(0, low - room), Math.min(100 + room, high + room)];
    const at = (value) => from + ((value - low) / (high - low)) * (to - from);
    return { low, high, at, ticks: linearTicks(low, high, 6).filter((tick) => tick <= 100.001) };
  }

  // ---- the plot: drawing -------------------------------------------------------------------------------------------

  let drawn = null;

  function drawPlot() {
    const box = byId("plot");
    const width = Math.max(280, box.clientWidth || 760);
    const height = Math.round(Math.max(300, Math.min(470, width * 0.6)));
    const x = costScale(state.x, 46, width - 14);
    const y = qualityScale(height - 46, 26);
    drawn = { width, height, x, y, marks: new Map(), seen: points.filter((point) => inView(point, x, y)) };
    const frame = { viewBox: `0 0 ${width} ${height}`, height, class: points.length > 30 ? "crowded" : "" };
    const svg = s("svg", { role: "radiogroup", "aria-label": plotLabel(), ...frame },
      s("defs", {}, s("clipPath", { id: "inside" }, inside())),
      grid(), limitMarks(), trialDots(), whiskers(), stepLine(), baselineMark(), pointMarks(),
      s("circle", { class: "ring", r: 11, id: "ring" }), starName());
    const tip = h("div", { class: "tip", hidden: true, "aria-hidden": "true" });
    box.replaceChildren(svg, tip);
    listen(svg, tip);
    markPicked();
    plotNote();
  }

  const plotLabel = () =>
    `${Quality} on the ${SPLITS[state.y]} against ${COSTS[state.x].title}; arrow keys move between points`;

  const inside = (from = 46, attributes = {}) =>
    s("rect", { x: from, y: 16, width: drawn.width - 6 - from, height: drawn.height - 62, ...attributes });

  function inView(row, x, y) {
    const [cost, height] = [row[state.x], row[state.y]];
    return known(cost) && known(height) && 100 * height >= y.low && cost >= x.low && cost <= x.high;
  }

  const spot = (row) => [drawn.x.at(row[state.x]), drawn.y.at(100 * row[state.y])];

  function grid() {
    const { width, height, x, y } = drawn;
    const text = COSTS[state.x].bytes ? shortSize : figureTick;
    const across = y.ticks.map((tick) => [
      s("line", { x1: 46, x2: width - 6, y1: y.at(tick), y2: y.at(tick) }),
      s("text", { x: 40, y: y.at(tick) + 4, "text-anchor": "end" }, String(Number(tick.toFixed(2))))]);
    const down = x.ticks.map((tick) => [
      s("line", { x1: x.at(tick), x2: x.at(tick), y1: 16, y2: height - 46 }),
      s("text", { x: x.at(tick), y: height - 29, "text-anchor": "middle" }, text(tick))]);
    return s("g", { class: "grid", "aria-hidden": "true" }, across.flat(), down.flat(),
      s("text", { x: 0, y: 10 }, `${Quality} on the ${SPLITS[state.y]}, %`),
      s("text", { x: width - 6, y: height - 8, "text-anchor": "end" }, COSTS[state.x].title));
  }

  const figureTick = (value) => String(Number(value.toPrecision(3)));

  function limitMarks() {
    const { y } = drawn;
    const group = s("g", { "aria-hidden": "true" });
    const limit = limits[state.x];
    if (known(limit)) group.append(...costLimit(limit));
    const start = baseline[state.y];
    const floor = known(start) && known(limits.max_drop) ? 100 * start - limits.max_drop : null;
    if (known(floor) && floor > y.low && floor < y.high) group.append(...floorMarks(floor));
    return group;
  }

  /** The board's limit as a line, or as a pointer to the side on which it lies beyond the axis. */
  function costLimit(limit) {
    const { width, height, x } = drawn;
    const name = (at, anchor, text) =>
      s("text", { class: "limit-name halo", x: at, y: height - 54, "text-anchor": anchor }, text);
    const text = `limit ${size(limit)}`;
    if (limit >= x.high) return [name(width - 10, "end", `${text} →`)];
    if (limit <= x.low) return [name(52, "start", `← ${text}`)];
    const at = x.at(limit);
    const line = s("line", { class: "limit", x1: at, x2: at, y1: 16, y2: height - 46 });
    const left = at > 220;
    return [inside(at, { class: "beyond" }), line, name(left ? at - 6 : at + 6, left ? "end" : "start", text)];
  }

  function floorMarks(floor) {
    const { width, y } = drawn;
    const text = `baseline − ${limits.max_drop} ${limits.max_drop === 1 ? "point" : "points"}`;
    return [s("line", { class: "limit", x1: 46, x2: width - 6, y1: y.at(floor), y2: y.at(floor) }),
      s("text", { class: "limit-name halo", x: width - 10, y: y.at(floor) + 14, "text-anchor": "end" }, text)];
  }

  function trialDots() {
    const { x, y } = drawn;
    const seen = front.trials.filter((trial) => {
      const [cost, height] = [trial[state.x], trial[SEARCH]];
      const within = cost >= x.low && cost <= x.high && 100 * height >= y.low && 100 * height <= y.high;
      return known(cost) && known(height) && within;
    });
    const dot = (trial) => {
      const [cx, cy] = [x.at(trial[state.x]).toFixed(1), y.at(100 * trial[SEARCH]).toFixed(1)];
      return s("circle", { class: trial.feasible ? "trial" : "trial unfit", r: 2.4, cx, cy });
    };
    return s("g", { "aria-hidden": "true" }, seen.map(dot));
  }

  function whiskers() {
    if (state.y !== HOLDOUT) return s("g");
    const bar = (point) => {
      const [low, high] = point.interval_holdout.map((end) => drawn.y.at(100 * end));
      const at = drawn.x.at(point[state.x]);
      const d = `M${at} ${low}V${high}M${at - 4} ${low}h8M${at - 4} ${high}h8`;
      return s("path", { class: "whisker", "data-point": point.id, d });
    };
    const known95 = drawn.seen.filter((point) => point.interval_holdout);
    return s("g", { "aria-hidden": "true", "clip-path": "url(#inside)" }, known95.map(bar));
  }

  /** The best figure at each cost, among all points of the front. */
  function stepLine() {
    const rows = points.filter((point) => known(point[state.x]) && known(point[state.y]));
    rows.sort((a, b) => a[state.x] - b[state.x] || b[state.y] - a[state.y]);
    let best = -1;
    let path = "";
    for (const row of rows) {
      if (row[state.y] <= best) continue;
      const [x, y] = spot(row);
      path += best < 0 ? `M${x} ${y}` : `H${x}V${y}`;
      best = row[state.y];
    }
    if (!path) return null;
    const d = `${path}H${drawn.width - 6}`;
    return s("path", { class: "step", d, "clip-path": "url(#inside)", "aria-hidden": "true" });
  }

  function baselineMark() {
    if (!inView(baseline, drawn.x, drawn.y)) return null;
    const [x, y] = spot(baseline);
    const edge = x > drawn.width - 80;
    const place = { x: edge ? x + 8 : x, y: y - 13, "text-anchor": edge ? "end" : "middle" };
    return s("g", { "aria-hidden": "true" },
      s("path", { class: baseline.feasible === false ? "base unfit" : "base", d: `M${x} ${y - 7}l7 7l-7 7l-7 -7z` }),
      s("text", { class: "halo", ...place }, "baseline"));
  }

  function pointMarks() {
    const order = [...drawn.seen].sort((a, b) => Number(a === chosen) - Number(b === chosen));
    return s("g", {}, order.map((point) => {
      const [cx, cy] = spot(point);
      const kind = `point${point === chosen ? " star" : ""}${point.feasible === false ? " unfit" : ""}`;
      const place = { class: kind, cx, cy, r: point === chosen ? 7.5 : 5.5 };
      const mark = s("circle", { ...place, role: "radio", "data-point": point.id, "aria-label": spoken(point) });
      drawn.marks.set(point, mark);
      return mark;
    }));
  }

  function spoken(point) {
    const star = point === chosen ? ", recommended" : "";
    return `Point ${point.id}${star}: ${tipRows(point).map(([name, value]) => `${name} ${value}`).join(", ")}`;
  }

  function starName() {
    if (!chosen || !drawn.marks.has(chosen)) return null;
    const [x, y] = spot(chosen);
    const place = x > 132
      ? { x: x - 13, y: y - 13, "text-anchor": "end" }
      : { x: x + 12, y: y + 26, "text-anchor": "start" };
    return s("text", { class: "star-name halo", "aria-hidden": "true", ...place }, `★ point ${chosen.id}`);
  }

  function markPicked() {
    const id = String(state.picked?.id);
    for (const node of document.querySelectorAll("tr.row, .whisker"))
      node.classList.toggle("picked", node.dataset.point === id);
    const first = drawn.marks.has(state.picked) ? state.picked : drawn.seen[0];
    for (const [point, mark] of drawn.marks) {
      mark.setAttribute("aria-checked", String(point === state.picked));
      mark.setAttribute("tabindex", point === first ? "0" : "-1");
    }
    const ring = byId("ring");
    const mark = drawn.marks.get(state.picked);
    ring.style.display = mark ? "" : "none";
    if (mark) for (const name of ["cx", "cy"]) ring.setAttribute(name, mark.getAttribute(name));
  }

  function plotNote() {
    const below = points.filter((point) => known(point[state.y]) && 100 * point[state.y] < drawn.y.low).length;
    const unread = front.trials.filter((trial) => !known(trial[SEARCH])).length;
    const costless = !front.trials.some((trial) => known(trial[state.x]));
    const notes = [
      state.y === HOLDOUT && "Trials were read on the search split only.",
      costless && "Trials do not record this cost.",
      unread > 0 && `${plural(unread, "trial")} were not run.`,
    ];
    const shown = front.trials.length ? notes : [];
    if (below) shown.push(`${plural(below, "point")} below this window.`);
    byId("plot-note").textContent = shown.filter(Boolean).join(" ");
  }

  // ---- the plot: hover, tap and keyboard ---------------------------------------------------------------------------

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

  function showTip(tip, row) {
    const name = row === baseline ? "Baseline" : `Point ${row.id}${row === chosen ? " ★ recommended" : ""}`;
    const rows = tipRows(row).flatMap(([term, value]) => [h("dt", {}, term), h("dd", {}, value)]);
    tip.replaceChildren(h("b", {}, name), h("dl", {}, rows));
    tip.hidden = false;
    const [x, y] = spot(row);
    const left = x > drawn.width / 2 ? x - 18 - tip.offsetWidth : x + 18;
    const top = Math.min(Math.max(4, y - tip.offsetHeight / 2), drawn.height - tip.offsetHeight);
    const most = drawn.width - tip.offsetWidth;
    styled(tip, { left: `${Math.max(0, Math.min(left, most))}px`, top: `${Math.max(0, top)}px` });
  }

  function nearest(event, svg, rows) {
    const frame = svg.getBoundingClientRect();
    const scale = drawn.width / frame.width;
    const [x, y] = [(event.clientX - frame.left) * scale, (event.clientY - frame.top) * scale];
    const far = (row) => Math.hypot(spot(row)[0] - x, spot(row)[1] - y);
    const best = rows.reduce((near, row) => (near && far(near) <= far(row) ? near : row), null);
    return best && far(best) < 36 ? best : null;
  }

  function listen(svg, tip) {
    const rows = inView(baseline, drawn.x, drawn.y) ? [...drawn.seen, baseline] : drawn.seen;
    const hover = (event) => {
      const row = nearest(event, svg, rows);
      if (row) showTip(tip, row);
      else tip.hidden = true;
    };
    svg.addEventListener("pointermove", hover);
    svg.addEventListener("pointerleave", () => { tip.hidden = true; });
    svg.addEventListener("click", (event) => {
      const point = nearest(event, svg, drawn.seen);
      if (point) pick(point);
      hover(event);
    });
    for (const [point, mark] of drawn.marks) {
      mark.addEventListener("focus", () => showTip(tip, point));
      mark.addEventListener("blur", () => { tip.hidden = true; });
      mark.addEventListener("keydown", (event) => onKey(event, point, tip));
    }
  }

  function onKey(event, point, tip) {
    if (event.key === "Escape") tip.hidden = true;
    const order = [...drawn.seen].sort((a, b) => a[state.x] - b[state.x]);
    const at = order.indexOf(point);
    const moves = { ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at - 1, ArrowDown: at - 1 };
    const goals = { ...moves, Home: 0, End: order.length - 1, Enter: at, " ": at };
    if (!(event.key in goals)) return;
    event.preventDefault();
    const next = order[Math.max(0, Math.min(order.length - 1, goals[event.key]))];
    pick(next);
    drawn.marks.get(next).focus();
  }

  // ---- controls, legend and facts ----------------------------------------------------------------------------------

  function options(select, entries, current, change) {
    const option = ([value, text]) => h("option", { value, selected: value === current }, text);
    select.replaceChildren(...entries.map(option));
    select.addEventListener("change", () => { change(select.value); drawPlot(); });
  }

  function controls() {
    const has = (key) => [baseline, ...points].some((row) => known(row[key]));
    const splits = Object.entries(SPLITS).filter(([key]) => key !== HOLDOUT || held);
    const shown = Object.entries(COSTS).filter(([key]) => has(key));
    const costs = shown.map(([key, cost]) => [key, cost.title.split(",")[0]]);
    options(byId("axis-y"), splits, state.y, (value) => { state.y = value; });
    options(byId("axis-x"), costs, state.x, (value) => { state.x = value; });
    const figures = points.map((point) => 100 * point[state.y]);
    byId("whole-box").hidden = !figures.some((value) => value < qualityFloor());
    byId("whole").addEventListener("change", (event) => { state.whole = event.target.checked; drawPlot(); });
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
      front.trials.some((trial) => trial.feasible) && [icon(dot("trial", 3)), "trial"],
      front.trials.some((trial) => !trial.feasible) && [icon(dot("trial unfit", 3)), "trial that breaks a limit"],
    ];
    byId("legend").replaceChildren(...items.filter(Boolean).map(([shape, text]) => h("li", {}, shape, text)));
  }

  function factList(title, rows) {
    const shown = rows.filter(([, value]) => known(value) && value !== "");
    const pairs = shown.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]);
    return h("div", {}, h("h3", {}, title), h("dl", {}, pairs));
  }

  function showFacts() {
    byId("facts").replaceChildren(
      factList("Search", searchFacts()),
      factList("Data", dataFacts()),
      factList("Board and limits", boardFacts()),
      provenance(),
    );
  }

  function searchFacts() {
    const stops = {
      trials: "all trials done",
      complete: "nothing left to try",
      timeout: "time ran out",
      interrupted: "interrupted",
    };
    return [
      ["Study", front.study],
      ["Sampler", settings.sampler],
      ["Seed", settings.seed],
      ["Trials", `${number(settings.trials_done)} of ${number(settings.trials)}`],
      ["Time", known(settings.seconds) ? `${number(settings.seconds, 1)} s` : null],
      ["Ended", stops[settings.stopped] ?? settings.stopped],
      ["Objectives", front.objectives.map((goal) => `${goal.direction} ${goal.name}`).join(", ")],
    ];
  }

  function dataFacts() {
    return [
      ["Set", data.name],
      ["Classes", data.classes || "not read"],
      ["Train", plural(data.train, "sample")],
      ["Search", plural(data.search, "sample")],
      ["Holdout", plural(data.holdout, "sample")],
      ["Fingerprint", data.fingerprint],
      ["Note", data.note],
    ];
  }

  function boardFacts() {
    const unit = limits.max_drop === 1 ? "point" : "points";
    return [
      ["Board", front.target_title],
      ["Flash", size(limits.flash_bytes)],
      ["RAM", size(limits.ram_bytes)],
      ["Drop", known(limits.max_drop) ? `at most ${limits.max_drop} ${unit}` : null],
      ["Model", front.model],
      ["bqsearch", front.version],
      ["Created", front.created],
    ];
  }

  function provenance() {
    const reading = held ? "was read once, for the points of the front" : "was not read for every point";
    const lines = [
      `${front.quality.summary} Trials were scored on the search split only, by ${front.engines.search}; the holdout ` +
        `split ${reading}, by ${front.engines.holdout}.`,
      `${front.quality.intervals} A drop is in percentage points.`,
      `${front.footprint} Latency and energy: the cost model's predictions from the board's constants, not a meter's.`,
      "Ratio: the baseline's weight bytes divided by the point's. kB is 1,000 bytes.",
      SHANNON,
    ];
    return h("div", { class: "long" }, h("h3", {}, "How each number was made"), lines.map((line) => h("p", {}, line)));
  }

  // ---- start -------------------------------------------------------------------------------------------------------

  function start() {
    byId("main").hidden = false;
    if (chosen) byId("tiles").append(...tiles(chosen));
    const needy = state.picked ? [] : ["pick-title", "flash-title", "ram-title", "layers-title"];
    for (const id of needy) byId(id).closest(".card").hidden = true;
    controls();
    legend();
    showPoints();
    showFacts();
    drawPlot();
    showPicked();
    let width = byId("plot").clientWidth;
    new ResizeObserver(() => {
      if (byId("plot").clientWidth === width) return;
      width = byId("plot").clientWidth;
      drawPlot();
    }).observe(byId("plot"));
  }

  start();
})();
