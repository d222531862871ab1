"""Plan: what to do with each layer, as pure data with a JSON round trip and a stable hash."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

from bqsearch.errors import PlanError

CODINGS = ("raw", "packed", "huffman", "mask", "sparse")
RULES = {"std": 1000, "percentile": 99, "saliency": 99}  # of pruning, with the largest amount
PLACEMENTS = ("flash", "ram")
FORMAT = 3

_CHOICE = re.compile(
    r"(?P<scheme>[a-z][a-z0-9_]*)-(?P<levels>\d{1,3})-(?P<coding>[a-z]+)"
    r"(?:-(?P<rule>std|percentile|saliency)(?P<amount>\d{1,4}))?(?:-halves(?P<halves>\d{1,3}(?:\.\d{1,3})*))?"
    r"(?P<ram>-ram)?"
)


@dataclass(frozen=True, kw_only=True, order=True)
class Prune:
    """Which weights become 0 before the rest is quantized.

    Attributes:
        rule: `"std"` (those below so many hundredths of the weights' standard deviation), `"percentile"` (the smallest
            so many percent) or `"saliency"` (the so many percent whose loss costs the layer's output least).
        amount: Hundredths for `"std"`, else percent.
    """

    rule: str
    amount: int

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise PlanError(f"unknown rule of pruning {self.rule!r}; known: {', '.join(RULES)}")
        if not 1 <= self.amount <= RULES[self.rule]:
            unit = "hundredths of a standard deviation" if self.rule == "std" else "percent"
            raise PlanError(f"pruning by {self.rule} takes 1 to {RULES[self.rule]} {unit}, not {self.amount}")

    def __str__(self) -> str:
        return f"{self.rule}{self.amount}"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How one layer's weights are quantized and stored.

    Attributes:
        scheme: Name of a quantizer.
        levels: At most this many different codes, 2 to 256, not counting the zeros of pruning.
        coding: `"raw"` (a byte a weight), `"packed"` (n-bit indices and a codebook), `"huffman"`, `"mask"` (a bit a
            weight, and the weights that are not zero), or `"sparse"` (gaps between the weights that are not zero).
        prune: What is pruned first; None for nothing.
        halves: For `binquant`: the bins that were halved after the start, in order; empty for those that the scheme
            picks itself.
        placement: Where the stored weights lie while the network runs: `"flash"`, or `"ram"`, to which they are copied
            at the start.
    """

    scheme: str
    levels: int
    coding: str
    prune: Prune | None = None
    halves: tuple[int, ...] = ()
    placement: str = "flash"

    def __post_init__(self) -> None:
        if self.coding not in CODINGS:
            raise PlanError(f"unknown coding {self.coding!r}; known: {', '.join(CODINGS)}")
        if self.placement not in PLACEMENTS:
            raise PlanError(f"unknown placement {self.placement!r}; known: {', '.join(PLACEMENTS)}")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.scheme) or not 2 <= self.levels <= 256:
            raise PlanError(f"a choice needs a scheme's name and 2 to 256 levels, not {self.scheme!r}, {self.levels}")
        if self.scheme == "keep" and self.prune is not None:
            raise PlanError(f"keep leaves weights as they are: nothing is pruned before it; not {self}")
        if self.halves and (self.scheme != "binquant" or self.levels != 4 + len(self.halves)):
            raise PlanError(f"bins are halved from the 4 that binquant begins with; not {self}")

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        pruned = "" if self.prune is None else f"-{self.prune}"
        halved = "-halves" + ".".join(map(str, self.halves)) if self.halves else ""
        resident = "-ram" if self.placement == "ram" else ""
        return f"{self.scheme}-{self.levels}-{self.coding}{pruned}{halved}{resident}"

    @classmethod
    def parse(cls, text: str) -> "Choice":
        """The choice that prints as `text`, `"kmeans-16-huffman"` or `"kmeans-16-sparse-saliency50-ram"`."""
        match = _CHOICE.fullmatch(text)
        if match is None:
            raise PlanError(f"a choice reads SCHEME-LEVELS-CODING, as in 'kmeans-16-huffman', not {text!r}")
        return cls(
            scheme=match["scheme"],
            levels=int(match["levels"]),
            coding=match["coding"],
            prune=None if match["rule"] is None else Prune(rule=match["rule"], amount=int(match["amount"])),
            halves=() if match["halves"] is None else tuple(map(int, match["halves"].split("."))),
            placement="flash" if match["ram"] is None else "ram",
        )


@dataclass(frozen=True, kw_only=True)
class Method:
    """What makes up, without training, for coarser weights.

    Attributes:
        bias_correction: Biases take up the mean error of each output channel.
        activation_weighting: Codebooks are fitted by what an error does to the layer's output, not to its weights.
        error_compensation: The error of each weight is made up for by those that are assigned after it.
    """

    bias_correction: bool = True
    activation_weighting: bool = True
    error_compensation: bool = True


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A choice for each layer.

    Attributes:
        choices: By layer name, in execution order.
        method: Of all layers.
        successive: Whether layers are compressed one after the other, each for the inputs that the compressed layers
            before it give, and not all of them for the uncompressed network's.
    """

    choices: Mapping[str, Choice]
    method: Method = field(default_factory=Method)
    successive: bool = False

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the plan's canonical JSON: equal plans and only they share it."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """As plain values for `json.dump`."""
        named = dict(self._named)
        return {"format": FORMAT, "method": asdict(self.method), "successive": self.successive, "layers": named}

    @cached_property
    def _named(self) -> Mapping[str, str]:
        return {name: str(choice) for name, choice in self.choices.items()}

    @classmethod
    def from_json(cls, value: Any) -> "Plan":
        """The plan that `to_json` wrote.

        Raises:
            PlanError: The value has another form; the message names the part.
        """
        if not isinstance(value, dict) or repr(value.get("format")) != repr(FORMAT):
            found = value.get("format") if isinstance(value, dict) else type(value).__name__
            raise PlanError(f'a plan is a JSON object with "format": {FORMAT}; found {found!r}')
        layers, method = value.get("layers"), value.get("method")
        if not isinstance(layers, dict) or not all(isinstance(text, str) for text in layers.values()):
            raise PlanError(
                'a plan\'s "layers" is an object of layer names and choices, as in {"dense": "keep-256-raw"}'
            )
        names = [f.name for f in fields(Method)]
        if not isinstance(method, dict) or sorted(method) != sorted(names):
            raise PlanError(f'a plan\'s "method" has {", ".join(names)}; found {method!r}')
        if not all(isinstance(part, bool) for part in method.values()):
            raise PlanError(f'each part of a plan\'s "method" is true or false; found {method!r}')
        if not isinstance(value.get("successive"), bool):
            raise PlanError(f'a plan\'s "successive" is true or false, not {value.get("successive")!r}')
        return cls(
            choices={name: Choice.parse(text) for name, text in layers.items()},
            method=Method(**method),
            successive=value["successive"],
        )
