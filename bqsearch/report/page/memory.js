// Pieces of the arena by what they are for; scratch buffers of all kinds look alike.
const ROLES = {
  input: { look: 1, words: () => "the network's input" },
  output: { look: 0, words: (name) => `output of ${name}` },
  weights: { look: 2, words: (name) => `decoded weights of ${name}` },
  filter: { look: 3, words: (name) => `decoded filter, ${name}` },
  tables: { look: 3, words: (name) => `decoder's tables, ${name}` },
  window: { look: 3, words: (name) => `window of input rows, ${name}` },
  carry: { look: 3, words: (name) => `rows kept for the next strip, ${name}` },
  strip: { look: 3, words: (name) => `strip of rows, ${name}` },
  scratch: { look: 3, words: (name) => `scratch of ${name}` },
};
const LOOKS = ["output of an operator", "network's input", "decoded weights", "scratch of a step"];

const operatorName = (index) => front.operators[index] ?? NONE;

/** The pieces and steps of a network's memory plan with names in place of positions. */
function planOf({ memory }) {
  const pieces = memory.pieces.map(([role, op, offset, bytes, first, last]) => {
    const { look, words } = ROLES[role] ?? ROLES.scratch;
    return { look, name: words(operatorName(op)), offset, bytes, first, last };
  });
  return { ...memory, pieces, steps: memory.steps.map(stepName) };
}

function stepName([kind, strips, ops]) {
  if (kind === "input") return "the input arrives";
  const names = ops.length > 1 ? `${operatorName(ops[0])} to ${operatorName(ops.at(-1))}` : operatorName(ops[0]);
  const how = { strips: ` in ${plural(strips, "strip")}`, in_place: " in place", decode: ", weights decoded" };
  return names + (how[kind] ?? "");
}

const stands = (piece, step) => piece.first <= step && step <= piece.last;

function showMemory() {
  const row = state.start || !state.picked ? baseline : state.picked;
  const plan = planOf(row);
  const select = byId("memory-of");
  const entries = [state.picked && ["pick", `point ${state.picked.id}`], ["start", "baseline"]].filter(Boolean);
  select.replaceChildren(...entries.map(([value, text]) => h("option", { value }, text)));
  select.value = row === baseline ? "start" : "pick";
  drawMemory(byId("memory"), plan, row);
  byId("memory-legend").replaceChildren(...LOOKS.map(memoryKey).filter((_, look) => plan.pieces.some((p) => p.look === look)));
  byId("memory-peak").replaceChildren(...peakTable(plan, row));
}

const memoryKey = (text, look) =>
  h("li", {}, h("span", { class: `swatch c${look}`, "aria-hidden": "true" }), text);

function drawMemory(box, plan, row) {
  const width = Math.max(280, box.clientWidth || 760);
  const height = Math.round(Math.max(260, Math.min(400, width * 0.34)));
  const area = { left: 58, right: width - 6, top: 22, bottom: height - 44, width, height };
  const most = plan.bytes || 1;
  const y = linearScale(0, 1.06 * most, area.bottom, area.top, 5);
  const x = linearScale(0, Math.max(1, plan.steps.length), area.left, area.right, Math.max(3, Math.min(14, width / 80)));
  const whole = { ...x, ticks: x.ticks.filter((tick) => Number.isInteger(tick) && tick < plan.steps.length).map((tick) => tick + 0.5) };
  const view = { ...area, x: whole, y };
  const peak = { x: x.at(plan.peak), width: x.at(1) - x.at(0), y: area.top, height: area.bottom - area.top };
  const label = `Memory plan of ${nameOf(row)}: ${plan.steps.length} steps, at most ${size(most)}; the table holds the peak`;
  const svg = s("svg", { role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}`, height, class: "memory" },
    gridOf(view, (tick) => String(tick - 0.5), shortSize, "Step", "Arena, bytes from its start"),
    s("rect", { class: "peak-step", ...peak }),
    plan.pieces.map((piece) => pieceMark(piece, view, stands(piece, plan.peak))),
    across(view, plan.bytes, "reference"), peakName(plan, view));
  const tip = newTip();
  box.replaceChildren(svg, tip);
  onPointer(svg, tip, width, (place) => showPiece(plan, view, tip, place));
}

const nameOf = (row) => (row === baseline ? "the baseline" : `point ${row.id}`);

function pieceMark(piece, { x, y }, peaked) {
  const [left, right] = [x.at(piece.first), x.at(piece.last + 1)];
  const top = y.at(piece.offset + piece.bytes);
  const box = { x: left, width: right - left, y: top, height: Math.max(0.5, y.at(piece.offset) - top) };
  return s("rect", { class: `piece c${piece.look}${peaked ? " peaked" : ""}`, ...box });
}

function peakName(plan, { x, y, width }) {
  const at = x.at(plan.peak + 0.5);
  const place = at < width / 2 ? { x: at, "text-anchor": "start" } : { x: at, "text-anchor": "end" };
  return s("text", { class: "peak-name halo", y: y.at(plan.bytes) - 6, "aria-hidden": "true", ...place },
    `peak: ${size(plan.bytes)}, step ${plan.peak}`);
}

function showPiece(plan, view, tip, [left, top]) {
  const step = Math.floor(((left - view.left) / (view.right - view.left)) * plan.steps.length);
  const at = ((view.bottom - top) / (view.bottom - view.top)) * view.y.high;
  const here = plan.pieces.filter((piece) => stands(piece, step));
  const hit = here.filter((piece) => piece.offset <= at && at < piece.offset + piece.bytes).at(-1);
  tip.hidden = !(step in plan.steps);
  if (tip.hidden) return;
  const rows = hit ? [["Bytes", number(hit.bytes)], ["Place", placeOf(hit)], ["Steps", `${hit.first} to ${hit.last}`]] : [];
  const end = Math.max(0, ...here.map((piece) => piece.offset + piece.bytes));
  rows.push(["Step", `${step}`], ["Arena then", size(end)]);
  showTip(tip, hit ? hit.name : plan.steps[step], rows, [left, top], view);
}

const placeOf = (piece) => `${number(piece.offset)} to ${number(piece.offset + piece.bytes)}`;

/** What stands at the peak, the highest first, and how the plan becomes the RAM figure. */
function peakTable(plan, row) {
  const here = plan.pieces.filter((piece) => stands(piece, plan.peak));
  here.sort((a, b) => b.offset + b.bytes - a.offset - a.bytes || b.bytes - a.bytes);
  const cell = (piece) => compareRow([h("span", { class: `swatch c${piece.look}`, "aria-hidden": "true" }), piece.name],
    number(piece.bytes), placeOf(piece), piece.first === piece.last ? piece.first : `${piece.first} to ${piece.last}`);
  const head = headRow("Stands at the peak", "bytes", "place", "steps");
  const table = h("table", { class: "parts" }, head, h("tbody", {}, here.map(cell)));
  const twice = here.reduce((sum, piece) => sum + piece.bytes, 0) > plan.bytes;
  const lead = `Step ${plan.peak} sets the plan's size, ${size(plan.bytes)}: ${plan.steps[plan.peak] ?? NONE}.`;
  const over = twice ? " Pieces overlap where an output is written over input that is no longer needed." : "";
  const scroll = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "What stands at the peak" }, table);
  return [h("p", { class: "peak" }, lead, over), scroll, h("p", { class: "fine peak" }, ramSum(row))];
}

function ramSum({ ram, memory, ram_bytes: total }) {
  const rest = Object.entries(ram).filter(([key, value]) => value && key !== "activations" && key !== "decode_buffer");
  const parts = rest.map(([key, value]) => ` + ${partName(key)} ${size(value)}`).join("");
  return `RAM ${size(total)} = this plan ${size(memory.bytes)}${parts}.`;
}
