"""Plan: what to do with each layer, as pure data with a JSON round trip and a stable hash."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bqsearch.errors import PlanError

CODINGS = ("raw", "packed", "huffman", "mask")
FORMAT = 1


@dataclass(frozen=True, kw_only=True, order=True)
class Choice:
    """How one layer's weights are quantized and stored.

    Attributes:
        scheme: Name of a quantizer.
        levels: At most this many different codes, 2 to 256.
        coding: `"raw"` (a byte a weight), `"packed"` (n-bit indices and a codebook), `"huffman"`, or `"mask"` (a bit a
            weight, and a byte for each that is not zero).
    """

    scheme: str
    levels: int
    coding: str

    def __post_init__(self) -> None:
        if self.coding not in CODINGS:
            raise PlanError(f"unknown coding {self.coding!r}; known: {', '.join(CODINGS)}")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.scheme) or not 2 <= self.levels <= 256:
            raise PlanError(f"a choice needs a scheme's name and 2 to 256 levels, not {self.scheme!r}, {self.levels}")

    def __str__(self) -> str:
        return f"{self.scheme}-{self.levels}-{self.coding}"

    @classmethod
    def parse(cls, text: str) -> "Choice":
        """The choice that prints as `text`, `"kmeans-16-huffman"`."""
        match = re.fullmatch(r"([a-z][a-z0-9_]*)-(\d{1,3})-([a-z]+)", text)
        if match is None:
            raise PlanError(f"a choice reads SCHEME-LEVELS-CODING, as in 'kmeans-16-huffman', not {text!r}")
        return cls(scheme=match[1], levels=int(match[2]), coding=match[3])


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A choice for each layer.

    Attributes:
        choices: By layer name, in execution order.
        bias_correction: Whether biases make up for the mean error that coarser weights bring.
    """

    choices: Mapping[str, Choice]
    bias_correction: bool = True

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the plan's canonical JSON: equal plans and only they share it."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """As plain values for `json.dump`."""
        choices = {name: str(choice) for name, choice in self.choices.items()}
        return {"format": FORMAT, "bias_correction": self.bias_correction, "layers": choices}

    @classmethod
    def from_json(cls, value: Any) -> "Plan":
        """The plan that `to_json` wrote.

        Raises:
            PlanError: The value has another form; the message names the part.
        """
        if not isinstance(value, dict) or repr(value.get("format")) != repr(FORMAT):
            found = value.get("format") if isinstance(value, dict) else type(value).__name__
            raise PlanError(f'a plan is a JSON object with "format": {FORMAT}; found {found!r}')
        layers, correction = value.get("layers"), value.get("bias_correction")
        if not isinstance(layers, dict) or not all(isinstance(text, str) for text in layers.values()):
            raise PlanError(
                'a plan\'s "layers" is an object of layer names and choices, as in {"dense": "keep-256-raw"}'
            )
        if not isinstance(correction, bool):
            raise PlanError(f'a plan\'s "bias_correction" is true or false, not {correction!r}')
        return cls(choices={name: Choice.parse(text) for name, text in layers.items()}, bias_correction=correction)
