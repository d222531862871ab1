"""Plan + bank + graph -> CompressedModel: the one pipeline that search, files and checks all go through."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from bqsearch.bank.build import OptionBank
from bqsearch.bank.layer import LayerBank, Option
from bqsearch.errors import PlanError
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import Layer
from bqsearch.packing.container import Coded, Container
from bqsearch.plan import Plan
from bqsearch.quantizers.base import restore_codes
from bqsearch.types import Array, Codes, Ints

_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True, kw_only=True, eq=False)
class CompressedLayer:
    """One layer under its choice.

    Attributes:
        entry: The layer's options.
        option: The one chosen.
        bias: `(channels,)` int32, corrected; None if the layer has none.
    """

    entry: LayerBank
    option: Option
    bias: Ints | None

    @property
    def layer(self) -> Layer:
        """Which one."""
        return self.entry.layer

    @property
    def container(self) -> Container:
        """How its weights are stored."""
        return self.entry.container

    @property
    def resident(self) -> bool:
        """Whether its stored weights lie in RAM while the network runs."""
        return self.option.choice.placement == "ram"

    @property
    def weights(self) -> Codes:
        """The weights that the runtime computes with, in the original's shape and dtype."""
        weights = self.entry.weights
        return restore_codes(weights.restore(self.option.codes), weights.dtype)

    @cached_property
    def coded(self) -> Coded:
        """The weights as they lie in flash: exactly the bank's bytes."""
        return self.container.encode(self.entry.symbols_of(self.option), self.option.choice.coding)


@dataclass(frozen=True, kw_only=True, eq=False)
class CompressedModel:
    """A network under a plan.

    Attributes:
        graph: The uncompressed 8-bit network.
        plan: What was chosen.
        layers: In execution order.
    """

    graph: Graph
    plan: Plan
    layers: tuple[CompressedLayer, ...] = field(repr=False)

    @cached_property
    def by_op(self) -> Mapping[int, CompressedLayer]:
        """Layers by the index of their operator."""
        return {entry.layer.op: entry for entry in self.layers}

    @property
    def resident(self) -> frozenset[int]:
        """The operators whose weights lie in RAM."""
        return frozenset(entry.layer.op for entry in self.layers if entry.resident)

    @cached_property
    def constants(self) -> Mapping[int, Array]:
        """The tensors whose values differ from the graph's: weights and corrected biases."""
        changed: dict[int, Array] = {}
        for entry in self.layers:
            if entry.option.choice.scheme != "keep" or self.plan.successive:
                changed[entry.layer.weights] = entry.weights
                if entry.layer.bias is not None and entry.bias is not None:
                    changed[entry.layer.bias] = entry.bias
        return changed

    def decoded(self) -> Graph:
        """The network with the weights that its streams decode to."""
        return self.graph.with_data(self.constants)


def compress(graph: Graph, bank: OptionBank, plan: Plan) -> CompressedModel:
    """Apply a plan.

    Args:
        graph: The network that the bank was built from.
        bank: Its options.
        plan: A choice for each layer of the bank.

    Raises:
        PlanError: The plan's layers are not the bank's, or a choice is not in the bank.
    """
    check(bank, plan)
    return CompressedModel(
        graph=graph,
        plan=plan,
        layers=tuple(_layer(graph, entry, plan) for entry in bank.layers),
    )


def check(bank: OptionBank, plan: Plan) -> None:
    """Refuse a plan for other layers than the bank's."""
    if list(plan.choices) != list(bank.by_name):
        odd = sorted(set(plan.choices) ^ set(bank.by_name)) or ["(the order)"]
        raise PlanError(f"the plan is for another model: its layers differ in {', '.join(odd[:5])}")


def _layer(graph: Graph, entry: LayerBank, plan: Plan) -> CompressedLayer:
    option = entry.option(plan.choices[entry.layer.name])
    corrected = plan.method.bias_correction and option.choice.scheme != "keep"
    return made_layer(graph, entry, option, option.bias_shift if corrected else None)


def made_layer(graph: Graph, entry: LayerBank, option: Option, shift: Ints | None) -> CompressedLayer:
    """A layer under an option, with `(channels,)` of its accumulators' shifts taken off the bias."""
    bias = None if entry.layer.bias is None else graph.tensors[entry.layer.bias].data
    if bias is not None and shift is not None:
        bias = np.clip(bias - shift, _INT32.min, _INT32.max).astype(np.int32)
    return CompressedLayer(entry=entry, option=option, bias=bias)
