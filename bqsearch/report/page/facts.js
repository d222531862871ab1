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

// Each figure: what it is from, and the checks of `bqsearch verify` that hold it against the real thing.
function sources() {
  const early = front.trials.some((trial) => trial.given_up) ? "; on fewer for those given up early" : "";
  const reading = held ? "read once, for the points of the front" : "not read for every point";
  return [
    [`${Quality}, search`, `By ${front.engines.search}, ${plural(data.search, "input")}, for each trial that fits${early}.`, []],
    [`${Quality}, holdout`, `By ${front.engines.holdout}, ${plural(data.holdout, "input")}, ${reading}.`, ["outputs"]],
    ["Drop, intervals", `${front.quality.intervals} A drop is in percentage points.`, null],
    ["Flash, RAM", front.footprint, ["linker", "size", "flash", "static", "stack", "arena", "ram"]],
    ["Memory plan", "The plan that the RAM figure is made from; its highest byte is what RAM counts for activations and decoding.", ["static", "arena"]],
    ["Latency, energy", "The cost model's predictions from the board's constants, not a meter's.", ["instructions"]],
    ["Weights, bits", "Coded weights and their tables, to the byte. Ratio: the baseline's divided by the point's.",
      ["streams", "model.tflite", "outputs"]],
    ["Shannon", SHANNON, null],
    ["Convergence", `Of trials that keep all limits. Hypervolume: the area of ${quality} and cost that they dominate, up ` +
      "to the lowest and the highest among them.", null],
  ];
}

function provenance() {
  const coded = (text) => text.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));
  const row = ([name, how, checks]) => h("tr", {}, h("th", { scope: "row", class: "words" }, name),
    h("td", { class: "words" }, coded(how)), h("td", { class: "words" }, checkWords(checks)));
  const head = ["Figure", "How it was made", "Check"].map((text) => h("th", { scope: "col", class: "words" }, text));
  const table = h("table", { class: "sources" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, sources().map(row)));
  return h("div", { class: "long" }, h("h3", {}, "How each number was made"),
    h("p", {}, `${front.quality.summary} kB is 1,000 bytes. Checks are those of bqsearch verify, by point.`), table);
}

function checkWords(names) {
  if (!names) return NONE;
  if (!Object.keys(front.checks).length) return names.length ? "not yet verified" : NONE;
  const found = names.filter((name) => name in front.checks).map((name) => {
    const [passed, failed] = front.checks[name];
    if (!passed && !failed) return `${name}: skipped`;
    const sum = `${name}: ${passed} of ${plural(passed + failed, "point")}`;
    return failed ? h("span", { class: "over" }, sum) : h("span", {}, sum);
  });
  return found.length ? found.flatMap((word, index) => (index ? [", ", word] : [word])) : NONE;
}
