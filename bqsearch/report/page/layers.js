const layerOrder = { column: null, down: false };

function showLayers(point) {
  const facts = new Map(front.layers.map((layer) => [layer.name, layer]));
  const rows = point.layers.map((layer, index) => ({ ...facts.get(layer.name), ...layer, index }));
  showBars(rows, point);
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
  { title: "% of int8", value: (row) => row.bytes / row.weights, cell: shareCell },
];

function shannonCell(row) {
  return withEnds(number(row.entropy_bytes), row.entropy_bytes > 0 && relative(row.bytes, row.entropy_bytes));
}

function layerName(row) {
  return h("span", { class: "layer-name", title: row.name }, row.name);
}

function shareCell(row) {
  const text = percent(row.weights ? row.bytes / row.weights : 0, 0);
  return row.bytes > row.weights ? h("span", { class: "over" }, text) : text;
}

const AREA_WORDS =
  "Above, each column is a layer, as wide as its bytes in 8 bits and as high as the bits that it still takes for a " +
  "weight: the blue area is the weights in flash. Below, all layers are equally wide.";

/** Every layer as two columns as high as its bits for a weight: one as wide as its int8 bytes, one as wide as any. */
function showBars(rows, point) {
  const start = new Map(baseline.layers.map((layer) => [layer.name, layer.bits_per_weight]));
  const most = Math.max(8, ...rows.map((row) => row.bits_per_weight));
  const bars = (title, widthOf) => {
    const box = h("div", { class: "plot bars" });
    byId("bars").append(box);
    layerBars(box, rows, { title: `${title}, point ${point.id}`, widthOf, most, start });
  };
  byId("bars").replaceChildren();
  bars("Bits per weight, width by bytes", (row) => row.weights);
  bars("Bits per weight of every layer", () => 1);
  byId("bars").append(h("p", { class: "fine" }, AREA_WORDS));
}

function layerBars(box, rows, { title, widthOf, most, start }) {
  const width = Math.max(260, box.clientWidth);
  const area = { left: 26, right: width - 1, top: 20, bottom: 112, width, height: 118 };
  const y = { ...linearScale(0, most, area.bottom, area.top, 4), ticks: [0, 2, 4, 6, 8] };
  const x = linearScale(0, rows.reduce((sum, row) => sum + widthOf(row), 0) || 1, area.left, area.right, 1);
  const view = { ...area, x: { ...x, ticks: [] }, y };
  let before = 0;
  const columns = rows.map((row) => ({ row, from: x.at(before), to: x.at((before += widthOf(row))) }));
  const mark = s("rect", { class: "column", y: area.top, height: area.bottom - area.top, width: 0 });
  const svg = s("svg", { role: "img", "aria-label": `${title}; the table below holds the same`, height: area.height,
    viewBox: `0 0 ${width} ${area.height}` },
    gridOf(view, String, String, "", title), columns.map((column) => layerBar(column, view, start)),
    across(view, 8, "reference"),
    s("text", { class: "halo", x: width - 1, y: 10, "text-anchor": "end", "aria-hidden": "true" }, "baseline: 8 bits"),
    mark);
  const tip = newTip();
  box.replaceChildren(svg, tip);
  onPointer(svg, tip, width, ([at, down]) => {
    const found = columns.find(({ from, to }) => at >= from && at < to);
    tip.hidden = !found;
    fill(mark, { x: found?.from ?? 0, width: found ? Math.max(1, found.to - found.from) : 0 }, []);
    if (found) showTip(tip, found.row.name, layerTip(found.row), [at, down], view);
  });
}

/** What the baseline takes, and in front of it what the point takes. */
function layerBar({ row, from, to }, { y }, start) {
  const gap = to - from > 3 ? 1 : 0;
  const bar = (kind, bits) =>
    s("rect", { class: kind, x: from, width: to - from - gap, y: y.at(bits), height: y.at(0) - y.at(bits) });
  const before = start.get(row.name) ?? 8;
  return [bar("before", before), bar(row.bits_per_weight > before ? "now more" : "now", row.bits_per_weight)];
}

function layerTip(row) {
  return [
    ["Choice", row.choice],
    ["Bits per weight", `${number(row.bits_per_weight, 2)} of 8`],
    ["Bytes", `${number(row.bytes)} of ${number(row.weights)}`],
    ["Shannon", size(row.entropy_bytes && Math.round(row.entropy_bytes))],
  ];
}
