"""Studies: names, types, sizes and ranges are checked, and the message names what is near."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bqsearch import registry
from bqsearch.errors import StudyError, UnknownNameError
from bqsearch.hardware import target
from bqsearch.importers import files
from bqsearch.plan import Method, Prune
from bqsearch.search import spec
from bqsearch.search.spec import StudySpec, make_recipe, make_spec, parse_bytes

LEAST = {"model": "mobilenet_v2", "target": "hifive1"}


@pytest.mark.parametrize("name", spec.study_names())
def test_every_shipped_study_parses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("BQSEARCH_MODELS", "BQSEARCH_DATA"):
        monkeypatch.delenv(variable, raising=False)
    made = make_spec(spec.read_study(name))
    assert made.name == name
    assert made.model in registry.names("model") or files.kind(Path(made.model)) is not None
    assert made.data is not None or made.model in registry.names("model")
    assert made.target in target.names()
    assert set(made.objectives or ()) <= set(registry.names("objective"))
    assert name.startswith(spec.default_name(made.model, made.target))


@pytest.mark.parametrize("name", spec.study_names())
def test_the_shared_models_are_those_of_the_studies(
    name: str, shared_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BQSEARCH_MODELS", str(shared_models))
    model = make_spec(spec.read_study(name)).model
    assert model in registry.names("model") or Path(model).parent == shared_models


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study that names a file of each kind; models lie in `models`, data in `data`, and we are in `here`."""
    for folder in ("models", "data/sets", "here"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setenv("BQSEARCH_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("BQSEARCH_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path / "here")
    path = tmp_path / "mine.toml"
    path.write_text('model = "net.tflite"\ndata = "sets/mine.npz"\ntarget = "nrf52840"\n')
    return path


def looked_up(study: Path) -> tuple[str, str | None]:
    made = make_spec(spec.read_study(str(study)))
    return made.model, made.data


def test_a_studys_files_are_found_in_the_folders_that_are_named(study: Path) -> None:
    model, data = study.parent / "models" / "net.tflite", study.parent / "data" / "sets" / "mine.npz"
    assert looked_up(study) == ("net.tflite", "sets/mine.npz")  # nowhere: the message will name what the study says
    model.touch()
    assert looked_up(study) == (str(model), "sets/mine.npz")
    data.touch()
    assert looked_up(study) == (str(model), str(data))
    assert make_spec(spec.read_study(str(study))).name == "mine"


def test_a_folder_is_data_too(study: Path) -> None:
    study.write_text(study.read_text().replace("sets/mine.npz", "sets"))
    assert looked_up(study) == ("net.tflite", str(study.parent / "data" / "sets"))


def test_a_path_that_exists_comes_before_the_folders(study: Path) -> None:
    (study.parent / "models" / "net.tflite").touch()
    Path("net.tflite").touch()
    (study.parent / "data" / "sets" / "mine.npz").touch()
    Path("sets").mkdir()
    Path("sets/mine.npz").touch()
    assert looked_up(study) == ("net.tflite", "sets/mine.npz")
    absolute = study.parent / "net.tflite"
    absolute.touch()
    study.write_text(study.read_text().replace("net.tflite", str(absolute)))
    assert looked_up(study) == (str(absolute), "sets/mine.npz")


def test_without_the_variables_names_stay(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (study.parent / "models" / "net.tflite").touch()
    monkeypatch.delenv("BQSEARCH_MODELS")
    monkeypatch.setenv("BQSEARCH_DATA", str(study.parent / "none"))
    assert looked_up(study) == ("net.tflite", "sets/mine.npz")


def test_built_in_members_come_before_the_folders(study: Path) -> None:
    """As they come before the files here."""
    (study.parent / "models" / "mobilenet_v2").mkdir()
    (study.parent / "data" / "digits").mkdir()
    study.write_text('model = "mobilenet_v2"\ndata = "digits"\ntarget = "hifive1"\n')
    assert looked_up(study) == ("mobilenet_v2", "digits")


def test_what_is_no_text_is_named_as_ever(study: Path) -> None:
    study.write_text('model = 3\ntarget = "hifive1"\n')
    with pytest.raises(StudyError, match=r"model cannot be 3 \(int\)"):
        make_spec(spec.read_study(str(study)))


def test_defaults() -> None:
    made = make_spec(LEAST)
    assert made == StudySpec(name="mobilenet_v2-hifive1", **LEAST)
    assert (made.sampler, made.trials, made.max_drop, made.seed) == ("rd", 200, 1.0, 0)
    assert made.polish == 16
    assert (made.objectives, made.classes) == (None, None)
    assert made.schemes == spec.SCHEMES == ("keep", "entropy", "kmeans")
    assert set(spec.SCHEMES) < set(registry.names("scheme"))
    assert (made.prune, made.prunes) == ((), ())
    assert made.method == Method(bias_correction=True, activation_weighting=True, error_compensation=True)
    assert made.equalization is False


def test_none_leaves_a_default() -> None:
    assert make_spec({**LEAST, "trials": None, "max_flash": None, "data": None}) == make_spec(LEAST)


def test_a_file_gives_its_stem_as_the_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('model = "mobilenet_v2"\ntarget = "hifive1"\nmax_flash = "64K"\nobjectives = ["accuracy", "ram"]\n')
    made = make_spec(spec.read_study(str(path)))
    assert (made.name, made.max_flash, made.objectives) == ("mine", 65536, ("accuracy", "ram"))


def test_a_name_in_the_file_counts(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "other"\nmodel = "mobilenet_v2"\ntarget = "hifive1"\n')
    assert make_spec(spec.read_study(str(path))).name == "other"


@pytest.mark.parametrize(
    ("key", "near"), [("trails", "trials"), ("max_flsh", "max_flash"), ("objective", "objectives")]
)
def test_an_unknown_key_gets_the_nearest(tmp_path: Path, key: str, near: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"{key} = 3\n")
    with pytest.raises(StudyError, match=rf"unknown key '{key}'; known: .*Did you mean '{near}'\?"):
        spec.read_study(str(path))


def test_unknown_studies_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown study 'mobilenet'.*mobilenet_v2-hifive1"):
        spec.read_study("mobilenet")
    with pytest.raises(StudyError, match="cannot read the study"):
        spec.read_study(str(tmp_path / "none.toml"))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(StudyError, match="cannot read the study"):
        spec.read_study(str(tmp_path / "folder.toml"))
    (tmp_path / "odd.toml").write_text("model = \n")
    with pytest.raises(StudyError, match="is not valid TOML"):
        spec.read_study(str(tmp_path / "odd.toml"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(StudyError, match="cannot read the study"):
        spec.read_study(str(tmp_path / "bytes.toml"))


SIZES = {"64K": 65536, "1M": 1 << 20, "65536": 65536, " 16 KiB ": 16384, "2kb": 2048, "1 m": 1 << 20, "12B": 12, 7: 7}


@pytest.mark.parametrize("text", SIZES)
def test_sizes(text: str | int) -> None:
    assert parse_bytes(text) == SIZES[text]
    assert make_spec({**LEAST, "max_ram": text}).max_ram == SIZES[text]


@pytest.mark.parametrize("text", ["", "K", "1.5K", "-1", "64G", "64 K K", "1e3", True, 1.5])
def test_odd_sizes(text: Any) -> None:
    with pytest.raises(StudyError, match="a size is a number of bytes, or with K or M behind it"):
        parse_bytes(text)


def test_lists_and_pairs_as_text_or_as_lists() -> None:
    text = make_spec({**LEAST, "objectives": "accuracy, latency", "schemes": "kmeans", "normalize": "127.5,127.5"})
    listed = make_spec(
        {**LEAST, "objectives": ["accuracy", "latency"], "schemes": ["kmeans"], "normalize": [127.5, 127.5]}
    )
    assert text == listed
    assert text.normalize == (127.5, 127.5)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no model": ({"model": None}, "no model given"),
    "no target": ({"target": None}, "no target given"),
    "text for a count": ({"trials": "200"}, r"trials cannot be '200' \(str\)"),
    "fraction for a count": ({"trials": 2.5}, r"trials cannot be 2.5 \(float\)"),
    "truth for a count": ({"seed": True}, r"seed cannot be True \(bool\)"),
    "text for a number": ({"max_drop": "1"}, r"max_drop cannot be '1'"),
    "number for a text": ({"sampler": 3}, r"sampler cannot be 3 \(int\)"),
    "number for a truth": ({"bias_correction": 1}, r"bias_correction cannot be 1 \(int\)"),
    "text for a truth": ({"activation_weighting": "yes"}, r"activation_weighting cannot be 'yes' \(str\)"),
    "another number for a truth": ({"error_compensation": 0}, r"error_compensation cannot be 0 \(int\)"),
    "a fraction for a truth": ({"equalization": 0.0}, r"equalization cannot be 0.0 \(float\)"),
    "truth for a list": ({"prune": True}, r"prune cannot be True \(bool\)"),
    "an amount for a rule": ({"prune": ["std", 50]}, r"prune cannot be \['std', 50\]"),
    "list of numbers": ({"objectives": [1, 2]}, r"objectives cannot be \[1, 2\]"),
    "no trials": ({"trials": 0}, "trials must be at least 1 trials, not 0"),
    "negative polishing": ({"polish": -1}, "polish must be at least 0 trials, not -1"),
    "truth for polishing": ({"polish": True}, r"polish cannot be True \(bool\)"),
    "negative drop": ({"max_drop": -0.1}, "max_drop must be from 0 to 100 percentage points, not -0.1"),
    "drop of more than all": ({"max_drop": 101}, "max_drop must be from 0 to 100"),
    "drop that is none": ({"max_drop": float("nan")}, "max_drop must be from 0 to 100 percentage points, not nan"),
    "endless": ({"timeout": float("inf")}, "timeout must be at least 0 seconds, not inf"),
    "negative timeout": ({"timeout": -1}, "timeout must be at least 0"),
    "no flash": ({"max_flash": 0}, "max_flash must be at least 1 bytes, not 0"),
    "no RAM": ({"max_ram": "0K"}, "max_ram must be at least 1 bytes, not 0"),
    "negative seed": ({"seed": -1}, "seed must be from 0 to 2147483647, not -1"),
    "large seed": ({"seed": 2**31}, "seed must be from 0"),
    "no calibration": ({"calibration": 0}, "calibration must be at least 1 inputs"),
    "one objective": ({"objectives": ["flash"]}, "two or more different objectives, not 'flash'"),
    "the same twice": ({"objectives": ["flash", "flash"]}, "two or more different objectives, not 'flash, flash'"),
    "no deviation": ({"normalize": [0, 0]}, "a standard deviation above 0"),
    "a mean that is none": ({"normalize": "nan,1"}, "normalize needs a .*mean"),
    "an infinite deviation": ({"normalize": "0,inf"}, "normalize needs a .*mean"),
    "three for two": ({"normalize": "1,2,3"}, "normalize reads MEAN,STD"),
    "words for numbers": ({"normalize": ["a", 1]}, "normalize cannot be"),
    "features by number": ({"features": 64}, "features cannot be 64"),
    "a path as the name": ({"name": "../up"}, "a study's name has letters"),
    "an empty name": ({"name": ""}, "a study's name has letters"),
    "a hidden name": ({"name": ".hidden"}, "a study's name has letters"),
    "a line behind the name": ({"name": "a\n"}, "a study's name has letters"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_values_are_named(case: str) -> None:
    settings, message = WRONG[case]
    with pytest.raises(StudyError, match=message):
        make_spec({**LEAST, **settings})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("objectives", ["accuracy", "flsh"], "unknown objective 'flsh'.*Did you mean 'flash'"),
        ("schemes", ["kmean"], "unknown scheme 'kmean'.*Did you mean 'kmeans'"),
        ("sampler", "nsga", "unknown sampler 'nsga'.*Did you mean 'nsga2'"),
        (
            "prune",
            "std,percent",
            "unknown rule of pruning 'percent'; known: percentile, saliency, std.*Did you mean 'percentile'",
        ),
        ("prune", ["magnitude"], "unknown rule of pruning 'magnitude'; known: percentile, saliency, std"),
    ],
)
def test_unknown_names_get_the_nearest(key: str, value: Any, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        make_spec({**LEAST, key: value})


@pytest.mark.parametrize(
    ("model", "board", "name"),
    [
        ("mobilenet_v2", "hifive1", "mobilenet_v2-hifive1"),
        ("some/where/my net.tflite", "/boards/own.toml", "my_net-own"),
        ("../.tflite", "x", "tflite-x"),
        ("...", "...", "study"),
    ],
)
def test_default_names_are_good_ones(model: str, board: str, name: str) -> None:
    assert spec.default_name(model, board) == name
    assert make_spec({"model": model, "target": board}).name == name


def test_unknown_features_are_named_with_the_nearest_good_ones() -> None:
    with pytest.raises(UnknownNameError, match="unknown features 'profile'; known: profiles"):
        make_spec({**LEAST, "features": "profile"})


def test_recipe_round_trip() -> None:
    made = make_spec({**LEAST, "normalize": "1,2", "seed": 5, "classes": "b,a"}).recipe
    plain = {"model": "mobilenet_v2", "data": None, "normalize": [1.0, 2.0], "seed": 5, "calibration": 256}
    plain |= {"classes": ["b", "a"], "labels": True, "features": None}
    assert make_recipe({**plain, "equalization": False}) == made
    assert make_recipe({**plain, "equalization": True}) == replace(made, equalization=True)
    assert make_recipe({**plain, "equalization": False, "features": "profiles"}) == replace(made, features="profiles")
    with pytest.raises(StudyError, match="the recipe has no 'equalization'"):
        make_recipe(plain)
    with pytest.raises(StudyError, match="equalization cannot be 1"):
        make_recipe({**plain, "equalization": 1})
    with pytest.raises(StudyError, match="seed cannot be"):
        make_recipe({**plain, "equalization": False, "seed": "5"})
    with pytest.raises(StudyError, match="labels cannot be 1"):
        make_recipe({**plain, "equalization": False, "labels": 1})
    unlabeled = make_recipe({**plain, "equalization": False, "labels": False, "classes": None})
    assert unlabeled == make_spec({**LEAST, "normalize": "1,2", "seed": 5, "objectives": "fidelity,flash"}).recipe


SWITCHES = ["bias_correction", "activation_weighting", "error_compensation"]


@pytest.mark.parametrize("switch", SWITCHES)
def test_the_method_is_made_of_its_switches(switch: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'model = "mobilenet_v2"\ntarget = "hifive1"\n{switch} = false\nequalization = true\n')
    made = make_spec(spec.read_study(str(path)))
    assert made.method == replace(Method(), **{switch: False})
    assert made.recipe.equalization is True
    assert make_spec(LEAST).recipe.equalization is False


@pytest.mark.parametrize(
    ("rules", "amounts"),
    [
        ("std", [("std", a) for a in (25, 50, 75, 100, 125, 150, 175, 200)]),
        (["saliency"], [("saliency", a) for a in range(10, 100, 10)]),
        ("percentile,saliency", [(rule, a) for rule in ("percentile", "saliency") for a in range(10, 100, 10)]),
    ],
)
def test_a_rule_of_pruning_stands_for_its_amounts(rules: str | list[str], amounts: list[tuple[str, int]]) -> None:
    made = make_spec({**LEAST, "prune": rules})
    assert made.prunes == tuple(Prune(rule=rule, amount=amount) for rule, amount in amounts)


@pytest.mark.parametrize(
    ("objectives", "quality", "labels"),
    [
        (None, "accuracy", True),
        ("accuracy,flash", "accuracy", True),
        ("flash,ram", "accuracy", True),
        ("fidelity,accuracy", "accuracy", True),
        ("flash,fidelity", "fidelity", False),
    ],
)
def test_labels_are_read_for_accuracy(objectives: str | None, quality: str, labels: bool) -> None:
    made = make_spec({**LEAST, "objectives": objectives})
    assert (made.quality.name, made.labels, made.recipe.labels) == (quality, labels, labels)


@pytest.mark.parametrize("name", ["accuracy", "fidelity"])
def test_quality_may_be_the_only_objective(name: str) -> None:
    assert make_spec({"model": "mobilenet_v2", "target": "hifive1", "objectives": [name]}).objectives == (name,)
