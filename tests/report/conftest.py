"""A realistic front without a search: a small MobileNetV2 on a board with 16 KB of RAM, made from a seed."""

import math
import random
from collections.abc import Callable
from typing import Any

import pytest

FrontMaker = Callable[..., dict[str, Any]]

CHOICES = [
    ("uniform-256-plain", "uniform", 256, "plain", 8.0),
    ("kmeans-32-huffman", "kmeans", 32, "huffman", 4.1),
    ("kmeans-16-huffman", "kmeans", 16, "huffman", 3.2),
    ("log2-16-huffman", "log2", 16, "huffman", 2.9),
    ("kmeans-8-huffman", "kmeans", 8, "huffman", 2.3),
    ("kmeans-4-plain", "kmeans", 4, "plain", 2.0),
]
CODE, STACK, STATIC = 9_412, 1_024, 412


def _block(index: int, inside: int, outside: int) -> list[dict[str, Any]]:
    wide = inside * 6
    rows = [
        ("expand", "CONV_2D", [wide, 1, 1, inside]),
        ("depthwise", "DEPTHWISE_CONV_2D", [1, 3, 3, wide]),
        ("project", "CONV_2D", [outside, 1, 1, wide]),
    ]
    return [_layer(f"block_{index}_{part}", operator, shape) for part, operator, shape in rows]


def _layer(name: str, operator: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "operator": operator, "shape": shape, "weights": math.prod(shape)}


def _network() -> list[dict[str, Any]]:
    widths = [8, 8, 8, 16, 16, 16, 24, 24, 24, 24, 32, 32, 32, 56, 56, 56]
    layers = [_layer("stem", "CONV_2D", [16, 3, 3, 1])]
    for index, (inside, outside) in enumerate(zip(widths, [*widths[1:], 112], strict=True), start=1):
        layers += _block(index, inside, outside)
    return [*layers, _layer("head", "CONV_2D", [320, 1, 1, 112]), _layer("dense", "FULLY_CONNECTED", [10, 320])]


def _choose(layers: list[dict[str, Any]], boldness: float, noise: random.Random) -> list[dict[str, Any]]:
    rows = []
    for layer in layers:
        wish = boldness * (len(CHOICES) - 1) * min(1.0, layer["weights"] / 4_000 + 0.45) + noise.uniform(-0.6, 0.6)
        name, scheme, levels, coding, bits = CHOICES[min(len(CHOICES) - 1, max(0, round(wish)))]
        count = math.ceil(layer["weights"] * bits / 8)
        rows.append(
            {"name": layer["name"], "choice": name, "scheme": scheme, "levels": levels, "coding": coding}
            | {"bytes": count, "weights": layer["weights"], "bits_per_weight": round(8 * count / layer["weights"], 3)}
            | {"entropy_bytes": round(0.9 * count, 1)}
        )
    return rows


def _figures(rows: list[dict[str, Any]], accuracy: float, ram_step: int, ram_limit: int) -> dict[str, Any]:
    weights = sum(row["bytes"] for row in rows)
    coded = sum(row["coding"] == "huffman" for row in rows)
    flash = {"weights": weights, "tables": 38 * coded, "biases": 9_216, "requantization": 6_144}
    flash |= {"records": 28 * len(rows), "code": CODE}
    ram = {"activations": 11_264 + ram_step, "decode_buffer": 672 if coded else 0, "stack": STACK, "static": STATIC}
    total = sum(ram.values())
    return {
        "accuracy_search": accuracy,
        "flash_bytes": sum(flash.values()),
        "ram_bytes": total,
        "latency_ms": round(412.0 + coded * 3.7, 2),
        "energy_mj": round(31.4 + coded * 0.21, 3),
        "weight_bytes": weights,
        "feasible": total <= ram_limit,
        "flash": flash,
        "ram": ram,
        "peak": "block_1_depthwise",
        "memory": _memory(ram["activations"] + ram["decode_buffer"], len(rows)),
        "layers": rows,
    }


def _memory(arena: int, count: int) -> dict[str, Any]:
    """Each operator writes over what the one before it read; the third one's scratch reaches to the arena's end."""
    sizes = [max(64, 4_096 - 80 * index) for index in range(count)]
    outputs = [["output", op, 4_096 * (op % 2), size, op, min(op + 1, count - 1)] for op, size in enumerate(sizes)]
    scratch = [["filter", op, 8_192, 200 + op, op, op] for op in range(count) if op != 2]
    return {
        "bytes": arena,
        "peak": 2,
        "steps": [["strips" if op == 2 else "whole", 4 if op == 2 else 1, [op]] for op in range(count)],
        "pieces": [["input", None, 4_096, 1_024, 0, 0], *outputs, *scratch, ["strip", 2, 8_192, arena - 8_192, 2, 2]],
    }


def _wilson(share: float, count: int) -> list[float]:
    z = 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return [round(middle - half, 4), round(middle + half, 4)]


def _holdout(point: dict[str, Any], accuracy: float, start: float | None) -> dict[str, Any]:
    read = {"accuracy_holdout": accuracy, "interval_holdout": _wilson(accuracy, 350)}
    if start is None:
        return point | read
    drop = round(100 * (start - accuracy), 2)
    return point | read | {"drop_holdout": drop, "drop_interval": [round(drop - 0.8, 2), round(drop + 0.9, 2)]}


def _point(number: int, front: dict[str, Any], boldness: float, noise: random.Random, ram: bool) -> dict[str, Any]:
    rows = _choose(front["layers"], boldness, noise)
    searched = round((346 - round(60 * max(0.0, boldness - 0.35) ** 2 + noise.uniform(0, 1.4))) / 350, 4)
    figures = _figures(rows, searched, round(1_400 * boldness) if ram else 0, front["limits"]["ram_bytes"])
    held = round((345 - round(62 * max(0.0, boldness - 0.35) ** 2 + noise.uniform(0, 2.2))) / 350, 4)
    point = {"id": number, "trial": 11 * number + 5} | _holdout(figures, held, front["baseline"]["accuracy_holdout"])
    folder = f"points/{number}"
    return point | {
        "ratio": round(front["baseline"]["weight_bytes"] / figures["weight_bytes"], 2),
        "plan": {"opaque": [number]},
        "files": {"plan": f"{folder}/plan.json", "model": f"{folder}/model.tflite"},
    }


def _trial(number: int, front: dict[str, Any], noise: random.Random) -> dict[str, Any]:
    boldness = noise.uniform(0.05, 1.0)
    flash = round(front["baseline"]["flash_bytes"] * (0.75 - 0.44 * boldness**0.8) * noise.uniform(1.04, 1.4))
    lost = 0.17 * max(0.0, boldness - 0.35) ** 2 + abs(noise.gauss(0, 0.012)) + 0.6 * (number % 17 == 3)
    accuracy = max(0.1, 0.986 - lost)
    ram = 13_372 + round(1_400 * boldness) + (4_096 if number % 6 == 0 else 0)
    given_up = number % 19 == 4 and number % 23 != 7
    fits = ram <= front["limits"]["ram_bytes"] and not given_up
    inputs = 0 if number % 23 == 7 else 44 if given_up else 350
    return {
        "number": number,
        "accuracy_search": None if number % 23 == 7 else round(accuracy, 4),
        "flash_bytes": flash,
        "ram_bytes": ram,
        "latency_ms": round(412 + 170 * boldness, 2),
        "energy_mj": round(31.4 + 9 * boldness, 3),
        "inputs_search": inputs,
        "given_up": given_up,
        "feasible": fits,
        "pareto": False,
    }


def _skeleton() -> dict[str, Any]:
    objectives = [("accuracy", "maximize", "%"), ("flash", "minimize", "B"), ("ram", "minimize", "B")]
    return {
        "format": 1,
        "study": "mobilenet_v2-hifive1",
        "model": "mobilenet_v2",
        "target": "hifive1",
        "target_title": "SiFive HiFive1 (FE310-G000)",
        "created": "2026-01-15T09:30:00Z",
        "version": "0.1.0",
        "data": {"name": "digits", "classes": 10, "train": 1097, "search": 350, "holdout": 350}
        | {"fingerprint": "sha256:5d41402abc4b2a76", "note": "Bundled with scikit-learn; 8 x 8 pixels, enlarged."},
        "quality": {
            "name": "accuracy",
            "summary": "Accuracy: the share of inputs classified right.",
            "intervals": "Intervals: 95 %; Wilson's for an accuracy.",
        },
        "engines": {"search": "LiteRT", "holdout": "LiteRT"},
        "footprint": "Flash and RAM: to the byte, as planned.",
        "arena": {"bytes": 11_264, "lower_bound": 9_216},
        "given": None,
        "notes": ["the int8 baseline does not fit: ram is 1,116 B above the limit of 16,384 B (the board's)"],
        "objectives": [dict(zip(("name", "direction", "unit"), row, strict=True)) for row in objectives],
        "limits": {"flash_bytes": 12_582_912, "ram_bytes": 16_384, "max_drop": 1.0},
        "settings": {"seed": 0, "sampler": "nsga2", "seconds": 12.3, "stopped": "trials"}
        | {"inputs_run": 40_250, "inputs_spared": 29_750, "inputs_known": 10_500},
        "layers": _network(),
        "operators": [layer["name"] for layer in _network()],
        "recommended": None,
        "reason": "No point keeps every limit.",
    }


def build_front(
    points: int = 12,
    trials: int = 200,
    *,
    seed: int = 0,
    ram_varies: bool = True,
    holdout: bool = True,
    quality: str = "accuracy",
) -> dict[str, Any]:
    """A front whose sums hold and whose figures look like a real run's."""
    noise = random.Random(seed)
    front = _skeleton()
    start = [
        {"choice": "int8", "scheme": "none", "levels": 256, "coding": "plain", "bits_per_weight": 8.0}
        | {"name": layer["name"], "bytes": layer["weights"], "weights": layer["weights"]}
        | {"entropy_bytes": round(0.8 * layer["weights"], 1)}
        for layer in front["layers"]
    ]
    front["baseline"] = _holdout(_figures(start, 0.9886, 4_800, front["limits"]["ram_bytes"]), 0.9886, None)
    front["points"] = [
        _point(number, front, 1 - number / max(1, points - 1) * 0.9, noise, ram_varies) for number in range(points)
    ]
    if points:
        good = [point for point in front["points"] if point["drop_holdout"] <= 1.0] or front["points"]
        front["recommended"] = min(good, key=lambda point: int(point["flash_bytes"]))["id"]
        front["reason"] = "The smallest flash whose drop stays within 1.0 points on the holdout split."
    front["trials"] = [_trial(number, front, noise) for number in range(trials)]
    front["settings"] |= {"trials": trials, "trials_done": trials}
    if not holdout:
        front = _without_holdout(front)
    return front if quality == "accuracy" else _renamed(front, quality)


def _renamed(value: Any, quality: str) -> Any:
    """The same with another quality wherever accuracy stands, in keys and words."""
    if isinstance(value, dict):
        return {key.replace("accuracy", quality): _renamed(item, quality) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, quality) for item in value]
    if not isinstance(value, str):
        return value
    return value.replace("accuracy", quality).replace("Accuracy", quality.capitalize())


def _without_holdout(front: dict[str, Any]) -> dict[str, Any]:
    for point in [front["baseline"], *front["points"]]:
        point |= {"accuracy_holdout": None, "interval_holdout": None}
    for point in front["points"]:
        point |= {"drop_holdout": None, "drop_interval": None}
    front["settings"] |= {"stopped": "interrupted", "trials": 400}
    return front


@pytest.fixture
def make_front() -> FrontMaker:
    """The builder, for tests that need a front of their own kind."""
    return build_front


@pytest.fixture
def front() -> dict[str, Any]:
    """Twelve points, the eighth recommended, and a baseline whose RAM does not fit."""
    return build_front()


@pytest.fixture
def given() -> dict[str, Any]:
    """What a front says of a float network that was given."""
    return {
        "kind": "float",
        "accuracy_search": 0.9914,
        "accuracy_holdout": 0.9943,
        "interval_holdout": [0.979, 0.998],
    }
