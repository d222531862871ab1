
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
