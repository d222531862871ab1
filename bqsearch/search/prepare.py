"""StudySpec -> Problem: model, data, board and bank, loaded, checked against each other and ready to be searched."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bqsearch import registry
from bqsearch.bank.build import OptionBank, build
from bqsearch.compress import CompressedModel, compress
from bqsearch.datasets import feed, source
from bqsearch.datasets.base import Dataset, Normalize, Split
from bqsearch.datasets.features import FEATURES
from bqsearch.errors import DatasetError, ModelError, UnknownNameError, UnsupportedError
from bqsearch.firmware import host
from bqsearch.firmware.emit import check_kernels
from bqsearch.graph import passes
from bqsearch.graph.equalize import equalize
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.graph.signed import is_unsigned, to_signed
from bqsearch.hardware import target as targets
from bqsearch.hardware.cost import CostModel
from bqsearch.hardware.micro import MicroFootprint, raw_file
from bqsearch.hardware.streamed import StreamedFootprint
from bqsearch.hardware.target import ROW_STATIONARY, Target
from bqsearch.importers import files
from bqsearch.measure import Engine, LiteRt, Measurements, Micro, Objective, Scorer, Streamed, real_values
from bqsearch.packing.containers import CONTAINERS
from bqsearch.plan import Plan
from bqsearch.runtime import calibrate, int8, tflm
from bqsearch.runtime.litert import Runner, fitting_batch, fitting_threads
from bqsearch.runtime.moments import moments
from bqsearch.runtime.successive import MOST_INPUTS, Successive
from bqsearch.runtime.tflm import OnDone
from bqsearch.search.quality import FIDELITY, Quality
from bqsearch.search.spec import OBJECTIVES, UNLABELED_OBJECTIVES, Recipe, StudySpec
from bqsearch.types import Array, Floats, Shape
from bqsearch.zoo.base import ZooModel

MICRO = "tflm"  # the runtime that has signed kernels only
RUNTIME_NAMES = {MICRO: Micro.name, "bqsearch": Streamed.name, ROW_STATIONARY: LiteRt.name}
THRIFT = 0.25  # of the weights may be decoded again for less RAM, where that is an objective
BATCHES = 8  # of a split at least, so that a candidate may be given up before it is seen whole
SENSITIVITY_INPUTS = 64  # enough to rank layers, few enough to run every layer's probe

OnStage = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """What is searched.

    Attributes:
        spec: The run's definition.
        graph: The 8-bit network.
        data: Its data.
        normalize: How the data's pixels become the network's real inputs; None where codes go in as they are.
        bank: Every option of every layer.
        cost: The board's cost model.
        scorer: Runs candidates on the search split.
        objectives: In the spec's order.
        given: The float or uint8 network that the graph was made from; None where the model came as it is searched.
        source: SHA-256 of the model as it was given, before any conversion.
    """

    spec: StudySpec
    graph: Graph
    data: Dataset
    normalize: Normalize | None
    bank: OptionBank
    cost: CostModel
    scorer: Scorer
    objectives: tuple[Objective, ...]
    given: Graph | None
    source: str

    @property
    def quality(self) -> Quality:
        """What is to be kept."""
        return self.spec.quality

    @property
    def max_flash(self) -> int:
        """Bytes: the board's flash, or less if the spec says so."""
        return min(self.spec.max_flash or self.cost.target.flash, self.cost.target.flash)

    @property
    def max_ram(self) -> int:
        """Bytes: the board's RAM, or less if the spec says so."""
        return min(self.spec.max_ram or self.cost.target.ram, self.cost.target.ram)

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What a resumed run or a plan must agree on, by name."""
        spec = self.spec
        return {
            "model": self.source,
            "graph": self.graph.fingerprint,
            "data": self.data.fingerprint,
            "target": self.cost.target.name,
            "objectives": [objective.name for objective in self.objectives],
            "schemes": list(spec.schemes),
            "features": spec.features,
            "normalize": None if spec.normalize is None else list(spec.normalize),
            "classes": None if spec.classes is None else list(spec.classes),
            "max_drop": spec.max_drop,
            "max_flash": self.max_flash,
            "max_ram": self.max_ram,
            "sampler": spec.sampler,
            "max_bins": spec.max_bins,
            "seed": spec.seed,
            "calibration": spec.calibration,
            "polish": spec.polish,
            "prune": list(spec.prune),
            **asdict(spec.method),
            "equalization": spec.equalization,
        }

    def compress(self, plan: Plan) -> CompressedModel:
        """The network under a plan; successive plans take long, and are kept."""
        if not plan.successive:
            return compress(self.graph, self.bank, plan)
        if plan.hash not in self._polished:
            self._polished[plan.hash] = self._successive.compress(plan)
        return self._polished[plan.hash]

    @cached_property
    def _polished(self) -> dict[str, CompressedModel]:
        return {}

    @cached_property
    def _successive(self) -> Successive:
        inputs = calibration_codes(self.spec.recipe, self.graph, self.data, self.normalize)
        return Successive(graph=self.graph, bank=self.bank, inputs=inputs[:MOST_INPUTS])

    def measure(self, plan: Plan) -> Measurements:
        """Readings of the network under a plan, scored on the search split."""
        return Measurements(model=self.compress(plan), cost=self.cost, scorer=self.scorer)

    @cached_property
    def baseline(self) -> Measurements:
        """Readings of the uncompressed 8-bit network."""
        return self.measure(self.bank.baseline)

    def holdout_scorer(self, on_done: OnDone | None = None) -> Scorer:
        """Runs models on the holdout split as the board's runtime computes, when the search is over.

        Args:
            on_done: Told how many more inputs have been run, where that takes long.
        """
        footprint = self.cost.footprint
        if isinstance(footprint, MicroFootprint):
            return self._holdout_scorer(Micro(on_done))
        if isinstance(footprint, StreamedFootprint) and self.obstacle is None:
            return self._holdout_scorer(Streamed(footprint, on_done))
        return self.litert_holdout_scorer()

    def litert_holdout_scorer(self) -> Scorer:
        """Runs models on the holdout split in LiteRT."""
        return self._holdout_scorer(None)

    def _holdout_scorer(self, engine: Engine | None) -> Scorer:
        return make_scorer(self.graph, self.bank, self.data, self.data.holdout, self.normalize, engine)

    @cached_property
    def obstacle(self) -> str | None:
        """Why the holdout cannot be read as the board computes, so that LiteRT reads it; None if it can."""
        return host.obstacle() if isinstance(self.cost.footprint, StreamedFootprint) else None

    def given_scores(self, split: Split, scorer: Scorer) -> Floats:
        """The given network's scores in LiteRT by the run's quality, on a split and its scorer, `(n,)`."""
        assert self.given is not None, "the model came as it is searched"
        count = len(split)
        runner = Runner(self.given, (), fitting_batch(self.given, count), fitting_threads(self.given, count))
        outputs = runner.run(feed.encode(split.x, self.given.input, self.normalize))[0].reshape(count, -1)
        return self.quality.scores(scorer, real_values(outputs, self.given.output))


def prepare(spec: StudySpec, on_stage: OnStage) -> Problem:
    """Load and check everything, then build the bank; `on_stage` is told in words what is being done.

    Raises:
        BqsearchError: Any of the parts cannot be used; see the family's members.
    """
    target = targets.load(spec.target)
    if target.runtime == MICRO:
        tflm.require()
    on_stage("reading the model")
    given, zoo = load_model(spec.model)
    spec = with_defaults(spec, zoo)
    on_stage("reading the data")
    spec, data = settle(spec, load_data(spec.recipe, given, zoo))
    if spec.sampler in registry.names("strategy"):
        registry.load("strategy", spec.sampler).check(spec)
    graph, normalize = to_int8(spec.recipe, target.runtime, given, data, on_stage)
    if target.runtime == MICRO:
        on_stage("trying the network in TensorFlow Lite Micro")
        _try_micro(graph, feed.encode(data.search.x[:1], graph.input, normalize))
    cost = cost_model(graph, target, spec.objectives or (), spec.max_ram)
    if cost.accelerator is not None:
        on_stage("mapping the layers onto the accelerator")
        cost.accelerator.check()
    if isinstance(cost.footprint, StreamedFootprint):
        _try_kernels(graph)
    bank = make_bank(spec, target.runtime, graph, data, normalize, on_stage)
    return Problem(
        spec=spec,
        graph=graph,
        data=data,
        normalize=normalize,
        bank=bank,
        cost=cost,
        scorer=make_scorer(graph, bank, data, data.search, normalize),
        objectives=tuple(registry.load("objective", name) for name in spec.objectives or ()),
        given=given if int8.is_float(given) or is_unsigned(given) != is_unsigned(graph) else None,
        source=given.fingerprint,
    )


def cost_model(graph: Graph, target: Target, objectives: Iterable[str], max_ram: int | None) -> CostModel:
    """The cost model of a run: less RAM than the limit is worth some time where RAM is an objective."""
    thrift = THRIFT if "ram" in objectives else 0.0
    return CostModel(graph=graph, target=target, room=min(max_ram or target.ram, target.ram), thrift=thrift)


def with_defaults(spec: StudySpec, zoo: ZooModel | None) -> StudySpec:
    """The spec with a built-in model's features and normalization, where it says none itself."""
    if zoo is None:
        return spec
    normalize = zoo.normalize if spec.normalize is None else spec.normalize
    return replace(spec, features=spec.features or zoo.features, normalize=normalize)


def _try_micro(graph: Graph, inputs: Array) -> None:
    """Raise what the interpreter has against the network before anything is searched."""
    try:
        tflm.run(raw_file(graph), inputs)
    except ModelError as error:
        raise ModelError(f"{error}. A board with bqsearch's own runtime, as hifive1, does not need it") from error


def _try_kernels(graph: Graph) -> None:
    """Raise what bqsearch's runtime lacks for the network before anything is searched."""
    try:
        check_kernels(graph)
    except UnsupportedError as error:
        raise UnsupportedError(
            f"{error}. Choose a board with TensorFlow Lite Micro, as nrf52840, or build the network without it"
        ) from error


def settle(spec: StudySpec, data: Dataset) -> tuple[StudySpec, Dataset]:
    """The spec with its objectives named, as the data allow; and the data, whose note says so where they decide.

    Raises:
        DatasetError: Accuracy is asked for and there are no labels, or there are too few inputs for an interval.
    """
    if data.classes or not spec.labels:
        spec = replace(spec, objectives=spec.objectives or OBJECTIVES)
    elif spec.objectives is None:
        spec = replace(spec, objectives=UNLABELED_OBJECTIVES)
        told = "No labels: the search is for fidelity to the uncompressed 8-bit network, in place of accuracy."
        data = replace(data, note=f"{data.note} {told}".strip())
    else:
        raise DatasetError(
            f"a search for {', '.join(spec.objectives)} limits the drop in accuracy and needs labels, but {data.name} "
            f"has none: add them, or search for what needs none with --objectives fidelity,flash,ram"
        )
    fewest = min(len(data.search), len(data.holdout)) // data.windows
    if spec.quality is FIDELITY and fewest < 2:
        raise DatasetError(f"an interval of fidelity needs two inputs in each split, but {data.name} has {fewest}")
    return spec, data


def load_model(name: str) -> tuple[Graph, ZooModel | None]:
    """A model by registry name, or by the path of a file.

    Raises:
        UnknownNameError: Neither, or a file of an unknown kind.
        ModelError: The file cannot be used.
    """
    if name in registry.names("model"):
        zoo: ZooModel = registry.load("model", name)
        return registry.load("importer", "tflite")(zoo.checkpoint), zoo
    path = Path(name)
    if not path.exists():
        if files.kind(path) is None:
            raise UnknownNameError("model", name, registry.names("model"))
        raise ModelError(f"there is no model {name}, here or (for a study) in the folder that BQSEARCH_MODELS names")
    return files.load(path), None


def load_data(recipe: Recipe, graph: Graph, zoo: ZooModel | None) -> Dataset:
    """The data that the recipe names, checked against the network's input and, if it is labeled, output.

    Without labels, rows of features that are longer than the network's input are cut into windows; the splits are made
    before that, so that no row is in two of them.

    Raises:
        DatasetError: None is named, or shape or classes do not match.
    """
    name = recipe.data or (zoo.dataset if zoo else None)
    if name is None:
        known = ", ".join(registry.names("dataset"))
        what = f"the model {zoo.name}" if zoo else "a model file"
        raise DatasetError(f"{what} needs data to be scored on: --data NAME|PATH (an .npz, an image folder, {known})")
    if len(graph.inputs) != 1:
        raise ModelError(f"bqsearch supports models with one input; this one has {len(graph.inputs)}")
    shape = graph.input.shape[1:]
    if Path(name).suffix and not Path(name).exists():
        raise DatasetError(f"there is no data {name}, here or (for a study) in the folder that BQSEARCH_DATA names")
    features = None if recipe.features is None else FEATURES[recipe.features]
    read = shape if features is None else features.image
    data = source.load(name, recipe.seed, normalization(recipe), read, recipe.labels)
    if features is not None:
        data = features.of(data)
    data = _ordered(data, recipe.classes) if data.classes else _windowed(data, recipe.classes, shape)
    for split in data.splits:
        feed.fit_shape(split.x[:1], shape)
    if data.classes:
        label_offset(graph, data)
    return data


def _ordered(data: Dataset, classes: tuple[str, ...] | None) -> Dataset:
    return data if classes is None else data.in_order(classes)


def _windowed(data: Dataset, classes: tuple[str, ...] | None, shape: Shape) -> Dataset:
    if classes is not None:
        raise DatasetError(f"--classes orders labels, but no labels of {data.name} are read: leave --classes out")
    row, size = int(np.prod(data.shape)), int(np.prod(shape))
    cut = data.each(lambda split: Split(x=feed.windows(split.x, shape)))
    if cut.shape == data.shape:
        return data
    told = f"Each input of {row:,} values is cut into {row // size:,} of the model's {size:,}"
    rest = f"; the {row % size:,} behind them are left out" if row % size else ""
    return replace(cut, windows=row // size, note=f"{data.note} {told}{rest}.".strip())


def normalization(recipe: Recipe) -> Normalize | None:
    """The recipe's, as a value."""
    return None if recipe.normalize is None else Normalize(mean=recipe.normalize[0], std=recipe.normalize[1])


def label_offset(graph: Graph, data: Dataset) -> int:
    """0, or 1 where the network has a background class at 0.

    Raises:
        DatasetError: The network has neither as many outputs as there are classes, nor one more.
    """
    outputs = int(np.prod(graph.output.shape[1:]))
    classes = len(data.classes)
    if outputs not in (classes, classes + 1):
        raise DatasetError(
            f"the model has {outputs} outputs, but {data.name} has {classes} classes; "
            f"a model needs one output for each class, or one more for a background class at 0; "
            f"one that does not classify is searched with --objectives fidelity,flash,ram"
        )
    return outputs - classes


def to_int8(
    recipe: Recipe, runtime: str, given: Graph, data: Dataset, on_stage: OnStage
) -> tuple[Graph, Normalize | None]:
    """The network in 8 bits, signed ones where the runtime has no others, and the normalization that its data needs."""
    normalize = normalization(recipe) or data.normalize
    if recipe.equalization:
        given = _equalized(given)
    if int8.is_float(given):
        on_stage("quantizing to int8")
        samples = feed.encode(calibration_split(recipe, data).x, given.input, normalize or Normalize(mean=0.0, std=1.0))
        integer = passes.fuse_padding(int8.quantize(given, samples))
    else:
        integer = passes.fuse_padding(passes.integer_io(given))
    int8.check_integer(integer)
    if given.input.dtype == "float32":
        normalize = normalize or Normalize(mean=0.0, std=1.0)
    if runtime == MICRO and is_unsigned(integer):
        integer = to_signed(integer)
    return passes.prune(integer), normalize


def _equalized(given: Graph) -> Graph:
    if not int8.is_float(given):
        raise ModelError(
            "equalization scales the layers of a float model against each other, and this one has 8-bit weights: "
            "give its float file, or leave equalization out"
        )
    equal, pairs = equalize(given)
    if not pairs:
        raise ModelError("no two layers of this model can be equalized: leave equalization out")
    return equal


def calibration_split(recipe: Recipe, data: Dataset) -> Split:
    """The recipe's number of training inputs, drawn by its seed."""
    count = min(recipe.calibration, len(data.train))
    chosen = np.sort(np.random.default_rng(recipe.seed).permutation(len(data.train))[:count])
    return data.train.take(chosen)


def calibration_codes(recipe: Recipe, graph: Graph, data: Dataset, normalize: Normalize | None) -> Array:
    """The same inputs as codes of the 8-bit network."""
    return feed.encode(calibration_split(recipe, data).x, graph.input, normalize)


def make_bank(
    spec: StudySpec, runtime: str, graph: Graph, data: Dataset, normalize: Normalize | None, on_stage: OnStage
) -> OptionBank:
    """Every option of every layer, weighed by what calibration shows."""
    inputs = calibration_codes(spec.recipe, graph, data, normalize)
    on_stage("calibrating")
    found = moments(graph, inputs, covariances=spec.error_compensation)
    on_stage(f"building the option bank of {len(layers(graph))} layers")
    bank = build(graph, found, spec.schemes, CONTAINERS[runtime], spec.method, spec.prunes)
    for number, entry in enumerate(bank.layers, start=1):
        on_stage(f"building the option bank: layer {number} of {len(bank.layers)}")
        entry.choices()
    on_stage("weighing layers against each other")
    return bank.with_sensitivity(calibrate.sensitivity(graph, bank, inputs[:SENSITIVITY_INPUTS]))


def make_scorer(
    graph: Graph,
    bank: OptionBank,
    data: Dataset,
    split: Split,
    normalize: Normalize | None,
    engine: Engine | None = None,
) -> Scorer:
    """A scorer of one split, by LiteRT unless there is another engine."""
    return Scorer(
        engine=engine or LiteRt(_runner(graph, bank, len(split))),
        output=graph.output,
        baseline=compress(graph, bank, bank.baseline),
        inputs=feed.encode(split.x, graph.input, normalize),
        labels=None if split.y is None else split.y + label_offset(graph, data),
        windows=data.windows,
    )


def _runner(graph: Graph, bank: OptionBank, count: int) -> Runner:
    variable = [t for e in bank.layers for t in (e.layer.weights, e.layer.bias) if t is not None]
    batch = fitting_batch(graph, -(-count // BATCHES))
    return Runner(graph, tuple(variable), batch, fitting_threads(graph, count))


def training_data(zoo: ZooModel, data: str | None) -> Dataset:
    """What a built-in model is trained and scored on: inputs in its form.

    Args:
        zoo: The model.
        data: Name or path; None for the model's own set.

    Raises:
        DatasetError: The model has no set of its own and none is named, or it cannot be used, or has no labels.
    """
    spec = with_defaults(StudySpec(name=zoo.name, model=zoo.name, target="none", data=data), zoo)
    given, _ = load_model(zoo.name)
    loaded = load_data(spec.recipe, given, zoo)
    if not loaded.classes:
        raise DatasetError(f"training needs labels, but {loaded.name} has none")
    normalize = normalization(spec.recipe) or loaded.normalize
    return loaded.each(lambda split: Split(x=feed.encode(split.x, given.input, normalize), y=split.y))


def float_score(path: Path, data: Dataset) -> tuple[int, int]:
    """How many inputs of the search split a trained float network gets right, and of how many."""
    graph: Graph = registry.load("importer", "tflite")(path)
    runner = Runner(graph, batch=fitting_batch(graph, len(data.search)))
    scores = runner.run(data.search.x)[0]
    return int((scores.argmax(axis=1) == data.search.y).sum()), len(data.search)
