"""OptionBank: the options of all layers of a network.

`sensitivity` makes layers comparable: what a unit of a layer's distortion adds to the squared error of the network's
output.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from bqsearch import registry
from bqsearch.bank.layer import KEEP, LayerBank
from bqsearch.bank.weights import LayerWeights, Moments
from bqsearch.errors import ModelError
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.packing.container import Container
from bqsearch.plan import Choice, Method, Plan, Prune
from bqsearch.quantizers.base import Quantizer


@dataclass(frozen=True, kw_only=True, eq=False)
class OptionBank:
    """The options of all layers of a graph.

    Attributes:
        layers: In execution order.
        method: What the distortions assume, and what plans made from this bank do.
    """

    layers: tuple[LayerBank, ...]
    method: Method = field(default_factory=Method)

    @cached_property
    def by_name(self) -> Mapping[str, LayerBank]:
        """Layers by name."""
        return {entry.layer.name: entry for entry in self.layers}

    @property
    def baseline(self) -> Plan:
        """Every layer as it is."""
        return self.plan({})

    def plan(self, choices: Mapping[str, Choice]) -> Plan:
        """These choices, and `keep-256-raw` for every other layer."""
        full = {name: choices.get(name, KEEP) for name in self.by_name}
        return Plan(choices=full, method=self.method)

    def with_sensitivity(self, sensitivity: Mapping[str, float]) -> "OptionBank":
        """The same options, weighed against each other by layer."""
        weighed = tuple(replace(e, sensitivity=sensitivity.get(e.layer.name, 1.0)) for e in self.layers)
        return replace(self, layers=weighed)

    def distortion(self, plan: Plan) -> float:
        """Predicted squared error of the network's output: the sum over layers."""
        return sum(self.by_name[name].option(choice).distortion for name, choice in plan.choices.items())


def build(
    graph: Graph,
    moments: Mapping[str, Moments],
    schemes: Iterable[str],
    container: Container,
    method: Method,
    prunes: Iterable[Prune] = (),
) -> OptionBank:
    """The options of every layer; each is worked out when it is asked for.

    Args:
        graph: 8-bit weights.
        moments: By layer name.
        schemes: Registry names; `keep` is always there.
        container: How the board's runtime wants weights stored.
        method: How coarser weights are made up for.
        prunes: What may be pruned before the rest is quantized, besides nothing.

    Raises:
        ModelError: The graph has no layer with constant 8-bit weights, or a moment is infinite or not a number.
        UnknownNameError: No scheme has that name.
    """
    names = list(dict.fromkeys(["keep", *schemes]))
    quantizers: dict[str, Quantizer] = {name: registry.load("scheme", name) for name in names}
    found = [layer for layer in layers(graph) if graph.tensors[layer.weights].dtype in ("int8", "uint8")]
    if not found:
        raise ModelError("the model has no layer with constant 8-bit weights: there is nothing to compress")
    entries = tuple(
        LayerBank(
            weights=LayerWeights.of(graph, layer, moments[layer.name], centered=method.bias_correction),
            container=container,
            method=method,
            quantizers={"keep": quantizers["keep"]} if layer.shared else quantizers,
            prunes=(None, *prunes),
        )
        for layer in found
    )
    return OptionBank(layers=entries, method=method)
