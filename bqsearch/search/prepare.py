"""StudySpec -> Problem: model, data, board and bank, loaded, checked against each other and ready to be searched."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bqsearch import bank as banks
from bqsearch import registry
from bqsearch.bank import OptionBank
from bqsearch.compress import CompressedModel, compress
from bqsearch.datasets import feed, source
from bqsearch.datasets.base import Dataset, Normalize, Split
from bqsearch.errors import DatasetError, ModelError, UnknownNameError
from bqsearch.graph import passes
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.hardware import target as targets
from bqsearch.hardware.cost import CostModel
from bqsearch.measure import Measurements, Objective, Scorer
from bqsearch.plan import Plan
from bqsearch.runtime import calibrate, int8
from bqsearch.runtime.litert import Runner, fitting_batch, fitting_threads
from bqsearch.search.spec import Recipe, StudySpec
from bqsearch.types import Array
from bqsearch.zoo.base import ZooModel

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
    source: str

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
            "objectives": list(spec.objectives),
            "schemes": list(spec.schemes),
            "normalize": None if spec.normalize is None else list(spec.normalize),
            "max_drop": spec.max_drop,
            "max_flash": self.max_flash,
            "max_ram": self.max_ram,
            "sampler": spec.sampler,
            "seed": spec.seed,
            "calibration": spec.calibration,
            "bias_correction": spec.bias_correction,
        }

    def compress(self, plan: Plan) -> CompressedModel:
        """The network under a plan."""
        return compress(self.graph, self.bank, plan)

    def measure(self, plan: Plan) -> Measurements:
        """Readings of the network under a plan, scored on the search split."""
        return Measurements(model=self.compress(plan), cost=self.cost, scorer=self.scorer)

    @cached_property
    def holdout_scorer(self) -> Scorer:
        """Runs models on the holdout split; made only when the search is over."""
        return make_scorer(self.graph, self.bank, self.data, self.data.holdout, self.normalize)


def prepare(spec: StudySpec, on_stage: OnStage) -> Problem:
    """Load and check everything, then build the bank; `on_stage` is told in words what is being done.

    Raises:
        BqsearchError: Any of the parts cannot be used; see the family's members.
    """
    objectives = tuple(registry.load("objective", name) for name in spec.objectives)
    target = targets.load(spec.target)
    on_stage("reading the model")
    given, zoo = load_model(spec.model)
    on_stage("reading the data")
    data = load_data(spec.recipe, given, zoo)
    graph, normalize = to_int8(spec.recipe, given, data, on_stage)
    bank = make_bank(spec, graph, data, normalize, on_stage)
    return Problem(
        spec=spec,
        graph=graph,
        data=data,
        normalize=normalize,
        bank=bank,
        cost=CostModel(graph=graph, target=target),
        scorer=make_scorer(graph, bank, data, data.search, normalize),
        objectives=objectives,
        source=given.fingerprint,
    )


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
    kind = path.suffix.removeprefix(".").lower()
    if kind in registry.names("importer"):
        graph: Graph = registry.load("importer", kind)(path)
        return graph, None
    if path.exists():
        known = ", ".join(f".{k}" for k in registry.names("importer"))
        raise ModelError(f"{name} is not a model file that bqsearch reads; known kinds: {known}")
    raise UnknownNameError("model", name, registry.names("model"))


def load_data(recipe: Recipe, graph: Graph, zoo: ZooModel | None) -> Dataset:
    """The data that the recipe names, checked against the network's input and output.

    Raises:
        DatasetError: None is named, or shape or classes do not match.
    """
    name = recipe.data or (zoo.dataset if zoo else None)
    if name is None:
        known = ", ".join(registry.names("dataset"))
        raise DatasetError(
            f"a model file needs data to be scored on: --data NAME|PATH (an .npz, an image folder, {known})"
        )
    if len(graph.inputs) != 1:
        raise ModelError(f"bqsearch supports models with one input; this one has {len(graph.inputs)}")
    data = source.load(name, recipe.seed, normalization(recipe), graph.input.shape[1:])
    for split in (data.train, data.search, data.holdout):
        feed.fit_shape(split.x[:1], graph.input.shape[1:])
    label_offset(graph, data)
    return data


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
            f"a model needs one output for each class, or one more for a background class at 0"
        )
    return outputs - classes


def to_int8(recipe: Recipe, given: Graph, data: Dataset, on_stage: OnStage) -> tuple[Graph, Normalize | None]:
    """The network in 8 bits, and the normalization that its data needs."""
    normalize = normalization(recipe) or data.normalize
    if not int8.is_float(given):
        integer = passes.fuse_padding(passes.integer_io(given))
        int8.check_integer(integer)
        return integer, normalize
    on_stage("quantizing to int8")
    normalize = normalize or Normalize(mean=0.0, std=1.0)
    samples = feed.encode(calibration_split(recipe, data).x, given.input, normalize)
    quantized = passes.fuse_padding(int8.quantize(given, samples))
    int8.check_integer(quantized)
    return quantized, normalize


def calibration_split(recipe: Recipe, data: Dataset) -> Split:
    """The recipe's number of training inputs, drawn by its seed."""
    count = min(recipe.calibration, len(data.train))
    chosen = np.sort(np.random.default_rng(recipe.seed).permutation(len(data.train))[:count])
    return data.train.take(chosen)


def calibration_codes(recipe: Recipe, graph: Graph, data: Dataset, normalize: Normalize | None) -> Array:
    """The same inputs as codes of the 8-bit network."""
    return feed.encode(calibration_split(recipe, data).x, graph.input, normalize)


def make_bank(
    spec: StudySpec, graph: Graph, data: Dataset, normalize: Normalize | None, on_stage: OnStage
) -> OptionBank:
    """Every option of every layer, weighed by what calibration shows."""
    inputs = calibration_codes(spec.recipe, graph, data, normalize)
    on_stage("calibrating")
    moments = calibrate.moments(graph, inputs)
    on_stage(f"building the option bank of {len(layers(graph))} layers")
    bank = banks.build(graph, moments, spec.schemes, spec.bias_correction)
    on_stage("weighing layers against each other")
    return bank.with_sensitivity(calibrate.sensitivity(graph, bank, inputs[:SENSITIVITY_INPUTS]))


def make_scorer(graph: Graph, bank: OptionBank, data: Dataset, split: Split, normalize: Normalize | None) -> Scorer:
    """A scorer of one split."""
    variable = [t for e in bank.layers for t in (e.layer.weights, e.layer.bias) if t is not None]
    return Scorer(
        runner=Runner(graph, tuple(variable), fitting_batch(graph, len(split)), fitting_threads(graph, len(split))),
        inputs=feed.encode(split.x, graph.input, normalize),
        labels=split.y + label_offset(graph, data),
    )


def float_score(path: Path, zoo: ZooModel) -> tuple[int, int]:
    """How many inputs of the search split a trained float network gets right, and of how many."""
    graph: Graph = registry.load("importer", "tflite")(path)
    data: Dataset = registry.load("dataset", zoo.dataset)(0)
    runner = Runner(graph, batch=fitting_batch(graph, len(data.search)))
    scores = runner.run(feed.encode(data.search.x, graph.input, data.normalize))[0]
    return int((scores.argmax(axis=1) == data.search.y).sum()), len(data.search)
