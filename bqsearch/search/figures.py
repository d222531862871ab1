"""The figures of one measured network as plain values: costs by part, layers, and its memory over time."""

from dataclasses import asdict
from typing import Any

import numpy as np

from bqsearch.compress import CompressedLayer
from bqsearch.hardware.timeline import Timeline
from bqsearch.measure import Measurements
from bqsearch.packing.entropy import shannon_bytes
from bqsearch.search.evaluate import static_metrics


def figures(measured: Measurements) -> dict[str, Any]:
    """What a network takes on the board, without what was read on data."""
    ram = asdict(measured.ram)
    return {
        **static_metrics(measured),
        "flash": asdict(measured.flash),
        "peak": ram.pop("peak"),
        "ram": ram,
        "memory": _memory(measured.cost.footprint.timeline(measured.model)),
        "layers": [_layer(entry) for entry in measured.model.layers],
    }


def _layer(entry: CompressedLayer) -> dict[str, Any]:
    choice = entry.option.choice
    return {
        "name": entry.layer.name,
        "choice": str(choice),
        "scheme": choice.scheme,
        "levels": choice.levels,
        "coding": choice.coding,
        "placement": choice.placement,
        "bytes": entry.option.nbytes,
        "weights": entry.layer.size,
        "bits_per_weight": round(8 * entry.option.nbytes / entry.layer.size, 4),
        "entropy_bytes": _entropy_bytes(entry),
    }


def _entropy_bytes(entry: CompressedLayer) -> float:
    """What no code of the layer's symbols one by one can be shorter than, whatever its tables take besides."""
    counts = np.bincount(entry.entry.symbols_of(entry.option).indices)[None]
    return round(float(shannon_bytes(counts)[0]), 1)


def _memory(timeline: Timeline) -> dict[str, Any]:
    """Operators by index. A step is [kind, strips, operators], a piece [role, operator, offset, bytes, first, last]."""
    return {
        "bytes": timeline.nbytes,
        "peak": timeline.peak,
        "steps": [[stage.kind, stage.strips, list(stage.ops)] for stage in timeline.stages],
        "pieces": [
            [piece.role, piece.op, b.offset, b.nbytes, b.first, b.last]
            for piece, b in ((piece, piece.buffer) for piece in timeline.pieces)
        ],
    }


def is_memory(value: Any, operators: int) -> bool:
    """Whether a plain value has the form of a network's memory over time, of so many operators."""
    try:
        steps, pieces, peak, _ = (value[key] for key in ("steps", "pieces", "peak", "bytes"))
        named = [op for _, _, ops in steps for op in ops] + [piece[1] for piece in pieces if piece[1] is not None]
        within = all(0 <= first <= last < len(steps) and nbytes >= 0 for _, _, _, nbytes, first, last in pieces)
        return within and 0 <= peak < len(steps) and all(0 <= op < operators for op in named)
    except (KeyError, TypeError, ValueError, IndexError):
        return False
