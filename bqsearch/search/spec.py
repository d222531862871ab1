"""StudySpec: everything that defines a run, from a TOML file, from options, or from both."""

import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from bqsearch import registry
from bqsearch.datasets.features import FEATURES
from bqsearch.errors import StudyError, UnknownNameError
from bqsearch.plan import Method, Prune
from bqsearch.search.quality import ACCURACY, Quality, quality_of

OBJECTIVES, UNLABELED_OBJECTIVES = ("accuracy", "flash", "ram"), ("fidelity", "flash", "ram")
ALONE = frozenset({"accuracy", "fidelity"})  # objectives that may be the only one
SCHEMES = ("keep", "entropy", "kmeans")
AMOUNTS = {"std": range(25, 201, 25), "percentile": range(10, 100, 10), "saliency": range(10, 100, 10)}  # of pruning


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a plan's files depend on besides the plan.

    Attributes:
        model: Registry name, or path of a model file.
        data: Registry name or path; None for a built-in model's own set.
        features: What images are turned into, by name; None for nothing.
        normalize: Mean and standard deviation of pixels, or of features; None where the data or the model's type says
            it.
        classes: The data's classes in the order of the model's outputs; None for the data's own order.
        labels: Whether the data's labels are read, which decides how it is split.
        seed: Of splits and calibration.
        calibration: Inputs of the train split that are calibrated on.
        equalization: Whether a float network's layers are equalized before it is quantized to int8.
    """

    model: str
    data: str | None
    features: str | None
    normalize: tuple[float, float] | None
    classes: tuple[str, ...] | None
    labels: bool
    seed: int
    calibration: int
    equalization: bool


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """A run's definition.

    Attributes:
        name: Of the study and of its default output folder.
        model: Registry name, or path of a model file.
        target: Name of a board, or path of its TOML file.
        data: Registry name or path; None for a built-in model's own set.
        features: What images are turned into before the model sees them, by name; None for a built-in model's own, or
            for nothing.
        normalize: Mean and standard deviation of pixels, or of features; None where the data or the model's type says
            it.
        classes: The data's classes in the order of the model's outputs; None for the data's own order.
        objectives: Registry names, in the order in which the front is reported; None for `OBJECTIVES`, or for
            `UNLABELED_OBJECTIVES` where the data has no labels.
        schemes: Registry names of quantizers to choose from.
        prune: Rules by which weights may be pruned before they are quantized; see `bqsearch.plan.Prune`.
        max_drop: Percentage points of the quality (accuracy, or fidelity where that alone is an objective) below the
            int8 baseline that a candidate may lose on the search split.
        max_flash: Bytes; None for the board's.
        max_ram: Bytes; None for the board's.
        trials: Number of trials of the sampler, resumed ones included.
        polish: Number of trials after them, in which promising plans are compressed once more, layer after layer. As
            many come once more where a run is resumed with more `trials`, behind them; those of before are kept.
        timeout: Seconds after which no new trial begins; None for no limit.
        sampler: Registry name, of a sampler or of a strategy.
        max_bins: For the sampler `binquant`: bins up to which a layer is searched.
        seed: Of splits, calibration and search.
        calibration: Inputs of the train split that are calibrated on.
        bias_correction: Whether biases make up for the mean error of coarser weights.
        activation_weighting: Whether codebooks are fitted by what an error does to the layer's output.
        error_compensation: Whether the error of each weight is made up for by those assigned after it.
        equalization: Whether a float network's layers are equalized before it is quantized to int8.
    """

    name: str
    model: str
    target: str
    data: str | None = None
    features: str | None = None
    normalize: tuple[float, float] | None = None
    classes: tuple[str, ...] | None = None
    objectives: tuple[str, ...] | None = None
    schemes: tuple[str, ...] = SCHEMES
    prune: tuple[str, ...] = ()
    max_drop: float = 1.0
    max_flash: int | None = None
    max_ram: int | None = None
    trials: int = 200
    polish: int = 16
    timeout: float | None = None
    sampler: str = "rd"
    max_bins: int = 16
    seed: int = 0
    calibration: int = 256
    bias_correction: bool = True
    activation_weighting: bool = True
    error_compensation: bool = True
    equalization: bool = False

    def __post_init__(self) -> None:
        _check_objectives(self.objectives)
        _check_name("scheme", self.schemes)
        _check_rules(self.prune)
        if self.features is not None and self.features not in FEATURES:
            raise UnknownNameError("features", self.features, FEATURES)
        if self.sampler not in sampler_names():
            raise UnknownNameError("sampler", self.sampler, sampler_names())
        _check_number("max_bins", self.max_bins, 4, 128, "bins")
        _check_number("max_drop", self.max_drop, 0, 100, "percentage points")
        _check_number("max_flash", self.max_flash, 1, None, "bytes")
        _check_number("max_ram", self.max_ram, 1, None, "bytes")
        _check_number("trials", self.trials, 1, None, "trials")
        _check_number("polish", self.polish, 0, None, "trials")
        _check_number("timeout", self.timeout, 0, None, "seconds")
        _check_number("seed", self.seed, 0, 2**31 - 1, "")
        _check_number("calibration", self.calibration, 1, None, "inputs")
        if self.normalize is not None and not (all(map(math.isfinite, self.normalize)) and self.normalize[1] > 0):
            raise StudyError(f"normalize needs a finite mean and a standard deviation above 0, not {self.normalize}")
        if not is_name(self.name):
            raise StudyError(
                f"a study's name has letters, digits, '_', '-' and '.', and begins with one of the first: {self.name!r}"
            )

    @property
    def quality(self) -> Quality:
        """What is to be kept."""
        return quality_of(self.objectives or OBJECTIVES)

    @property
    def method(self) -> Method:
        """How coarser weights are made up for."""
        return Method(**{f.name: getattr(self, f.name) for f in fields(Method)})

    @property
    def prunes(self) -> tuple[Prune, ...]:
        """What may be pruned first, besides nothing."""
        return tuple(Prune(rule=rule, amount=amount) for rule in self.prune for amount in AMOUNTS[rule])

    @property
    def labels(self) -> bool:
        """Whether the data's labels are read: for accuracy alone."""
        return self.quality is ACCURACY

    @property
    def recipe(self) -> Recipe:
        """The part that a plan's files depend on."""
        return Recipe(**{f.name: getattr(self, f.name) for f in fields(Recipe)})


def is_name(text: str) -> bool:
    """Whether a study may be named so."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", text) is not None


def sampler_names() -> list[str]:
    """Who may propose, sorted: Optuna's samplers over the space, and strategies that go their own way."""
    return sorted([*registry.names("sampler"), *registry.names("strategy")])


def study_names() -> list[str]:
    """The studies that come with bqsearch, sorted."""
    return sorted(f.name.removesuffix(".toml") for f in files("studies").iterdir() if f.name.endswith(".toml"))


def read_study(name: str) -> dict[str, Any]:
    """A study's settings, by name or by the path of a TOML file, checked for unknown keys.

    Raises:
        UnknownNameError: Neither a study of that name nor a TOML file.
        StudyError: The file is malformed or has an unknown key; the message names the nearest good one.
    """
    if name in study_names():
        text, stem = (files("studies") / f"{name}.toml").read_text("utf-8"), name
    elif name.endswith(".toml"):
        try:
            text, stem = Path(name).read_text("utf-8"), Path(name).stem
        except (OSError, UnicodeDecodeError) as error:
            raise StudyError(f"cannot read the study {name}: {error}") from error
    else:
        raise UnknownNameError("study", name, study_names())
    try:
        settings = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"the study {name} is not valid TOML: {error}") from error
    known = {f.name for f in fields(StudySpec)}
    for key in settings:
        if key not in known:
            raise StudyError(f"the study {name}: {UnknownNameError('key', key, known)}")
    return {"name": stem, **located(settings)}


def located(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A file's settings with model and data where they are: where they say, or in the folders for studies."""
    named = {key: where for key, where in _FOLDERS.items() if isinstance(settings.get(key), str)}
    return {**settings, **{key: _found(settings[key], *where) for key, where in named.items()}}


_FOLDERS = {"model": ("model", "BQSEARCH_MODELS"), "data": ("dataset", "BQSEARCH_DATA")}


def _found(name: str, kind: str, variable: str) -> str:
    """A study's model or data, if it is not built in: where it says, or in the folder that the variable names."""
    folder = os.environ.get(variable)
    if folder is None or name in registry.names(kind) or Path(name).exists() or not (Path(folder) / name).exists():
        return name
    return str(Path(folder) / name)


def make_spec(settings: Mapping[str, Any]) -> StudySpec:
    """A spec from plain values, as TOML or options give them; None leaves a default.

    Raises:
        StudyError: A value has the wrong type or is out of range, or model or target is missing.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    for key, cure in (("model", "--model NAME|FILE"), ("target", "--target NAME|FILE")):
        if key not in given:
            raise StudyError(f"no {key} given: name one with {cure}, or in the study file")
    given.setdefault("name", default_name(str(given["model"]), str(given["target"])))
    return StudySpec(**{key: _convert(key, value) for key, value in given.items()})


def make_recipe(settings: Mapping[str, Any]) -> Recipe:
    """A recipe from plain values, as JSON gives them.

    Raises:
        StudyError: A field is missing or has the wrong type.
    """
    missing = [f.name for f in fields(Recipe) if f.name not in settings]
    if missing:
        raise StudyError(f"the recipe has no {missing[0]!r}")
    if not isinstance(settings["labels"], bool):
        raise StudyError(f"labels cannot be {settings['labels']!r}")
    given: dict[str, Any] = {"name": "recipe", "target": "none"}
    for name in (f.name for f in fields(Recipe) if f.name != "labels"):
        given[name] = None if settings[name] is None else _convert(name, settings[name])
    checked = StudySpec(**given).recipe  # which checks every value
    return replace(checked, labels=settings["labels"])


def default_name(model: str, target: str) -> str:
    """`MODEL-TARGET`, from names or file stems."""
    files = {f".{kind}" for kind in (*registry.names("importer"), "toml")}
    stems = [Path(value).stem if Path(value).suffix.lower() in files else Path(value).name for value in (model, target)]
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", "-".join(stems)).lstrip("_.-") or "study"


def parse_bytes(value: str | int) -> int:
    """A number of bytes: `65536`, `"64K"` or `"1M"`, with K = 1,024.

    Raises:
        StudyError: Anything else.
    """
    match = re.fullmatch(r"(\d+)\s*([KM]?)(?:i?B)?", str(value).strip(), re.IGNORECASE)
    if match is None or isinstance(value, bool):
        raise StudyError(f"a size is a number of bytes, or with K or M behind it, as in 64K; not {value!r}")
    return int(match[1]) * {"": 1, "K": 1 << 10, "M": 1 << 20}[match[2].upper()]


_TEXTS, _LISTS, _SIZES = (
    {"name", "model", "target", "data", "features", "sampler"},
    {"objectives", "schemes", "prune", "classes"},
    {"max_flash", "max_ram"},
)
_COUNTS, _NUMBERS = {"trials", "polish", "max_bins", "seed", "calibration"}, {"max_drop", "timeout"}
_SWITCHES = {"equalization", *(f.name for f in fields(Method))}


def _convert(key: str, value: Any) -> Any:
    number = _is_number(value)
    whole = number and isinstance(value, int)
    if key in _SIZES:
        return parse_bytes(value)
    if key in _LISTS and isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    if key == "normalize" and isinstance(value, str):
        return _pair(value)
    if key in _LISTS and isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return tuple(value)
    if key == "normalize" and isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value)):
        return tuple(value)
    good = (key in _TEXTS and isinstance(value, str)) or (key in _COUNTS and whole) or (key in _NUMBERS and number)
    if not good and not (key in _SWITCHES and isinstance(value, bool)):
        raise StudyError(f"{key} cannot be {value!r} ({type(value).__name__})")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _pair(text: str) -> tuple[float, float]:
    try:
        mean, std = (float(part) for part in text.split(","))
    except ValueError as error:
        raise StudyError(f"normalize reads MEAN,STD, as in 127.5,127.5; not {text!r}") from error
    return mean, std


def _check_name(kind: str, names: tuple[str, ...]) -> None:
    for name in names:
        if name not in registry.names(kind):
            raise UnknownNameError(kind, name, registry.names(kind))


def _check_rules(rules: tuple[str, ...]) -> None:
    for rule in rules:
        if rule not in AMOUNTS:
            raise UnknownNameError("rule of pruning", rule, list(AMOUNTS))


def _check_objectives(names: tuple[str, ...] | None) -> None:
    if names is None:
        return
    _check_name("objective", names)
    alone = len(names) == 1 and names[0] in ALONE
    if not alone and (len(names) < 2 or len(set(names)) < len(names)):
        raise StudyError(
            f"a front needs two or more different objectives, not {', '.join(names)!r}; alone there may be "
            f"{' or '.join(sorted(ALONE))}, which gives one point"
        )


def _check_number(name: str, value: float | None, low: float, high: float | None, unit: str) -> None:
    if value is None:
        return
    if not math.isfinite(value) or value < low or (high is not None and value > high):
        reach = f"at least {low}" if high is None else f"from {low} to {high}"
        raise StudyError(f"{name} must be {reach}{' ' + unit if unit else ''}, not {value}")
