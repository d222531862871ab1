"""Sweeps: what a file crosses, and what is no sweep."""

from pathlib import Path

import pytest

from bqsearch import session, sweep
from bqsearch.errors import BqsearchError, StudyError, UnknownNameError
from bqsearch.report.progress import View
from bqsearch.search.crew import Crew
from bqsearch.sweep import read_sweep

GOOD = """
models = ["mobilenet_v2", { model = "profiles_64_10", schemes = ["log2"] }]
targets = ["hifive1", "nrf52840"]
seeds = [0, 7]
trials = 30
max_drop = 2.0
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "boards.toml"
    path.write_text(text)
    return path


def test_a_sweep_is_all_combinations(tmp_path: Path) -> None:
    planned = read_sweep(written(tmp_path, GOOD))
    assert planned.name == "boards"
    assert [spec.name for spec in planned.studies] == [
        f"{model}-{target}-seed{seed}"
        for model in ("mobilenet_v2", "profiles_64_10")
        for target in ("hifive1", "nrf52840")
        for seed in (0, 7)
    ]
    assert {spec.trials for spec in planned.studies} == {30}
    assert {spec.max_drop for spec in planned.studies} == {2.0}
    assert [spec.schemes for spec in planned.studies[3:5]] == [("keep", "entropy", "kmeans"), ("log2",)]
    assert [spec.seed for spec in planned.studies[:4]] == [0, 7, 0, 7]


def test_without_seeds_there_is_one(tmp_path: Path) -> None:
    text = 'models = ["mobilenet_v2"]\ntargets = ["hifive1"]\n'
    assert [spec.seed for spec in read_sweep(written(tmp_path, text)).studies] == [0]
    assert [spec.seed for spec in read_sweep(written(tmp_path, text + "seed = 5\n")).studies] == [5]


def test_models_and_data_are_looked_for_where_the_variables_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.tflite").touch()
    (tmp_path / "set.npz").touch()
    monkeypatch.setenv("BQSEARCH_MODELS", str(tmp_path))
    monkeypatch.setenv("BQSEARCH_DATA", str(tmp_path))
    text = 'models = [{ model = "net.tflite", data = "set.npz" }]\ntargets = ["hifive1"]\n'
    (spec,) = read_sweep(written(tmp_path, text)).studies
    assert (spec.model, spec.data) == (str(tmp_path / "net.tflite"), str(tmp_path / "set.npz"))
    assert spec.name == "net-hifive1-seed0"


def test_a_study_that_has_no_use_for_workers_is_refused_before_any_is_run(tmp_path: Path) -> None:
    text = """
    models = ["mobilenet_v2", { model = "profiles_64_10", sampler = "binquant", schemes = ["keep", "binquant"] }]
    targets = ["hifive1"]
    """
    out, means = tmp_path / "out", session.Means(crew=Crew(workers=2))
    with pytest.raises(StudyError, match=r"'binquant' of profiles_64_10-hifive1-seed0 .* --workers asks for 2"):
        sweep.run(written(tmp_path, text), out, means, View(quiet=True))
    (_, strict) = read_sweep(tmp_path / "boards.toml").studies
    with pytest.raises(StudyError, match="take --workers 1, or another --sampler"):
        session.run(strict, out, means, View(quiet=True))
    assert not out.exists()


BAD = {
    "no TOML": ("models = [", StudyError, "cannot read the sweep"),
    "no models": ('targets = ["hifive1"]', StudyError, "has no models: name them in a list"),
    "no targets": ('models = ["mobilenet_v2"]', StudyError, "has no targets"),
    "no list": (GOOD.replace("[0, 7]", "7"), StudyError, "seeds is a list of one or more, not 7"),
    "an empty list": (GOOD.replace("[0, 7]", "[]"), StudyError, "seeds is a list of one or more"),
    "an unknown key": (GOOD.replace("trials", "trails"), StudyError, "Did you mean 'trials'"),
    "an unknown key of a model": (GOOD.replace("schemes", "scheme"), StudyError, "Did you mean 'schemes'"),
    "a model that is none": (GOOD.replace('"mobilenet_v2"', "3"), StudyError, "models has names, or tables"),
    "seed and seeds": (GOOD + "seed = 3\n", StudyError, "both seed and seeds"),
    "one study twice": (GOOD.replace("[0, 7]", "[0, 0]"), StudyError, "two studies would be named 'mobilenet_v2-hif"),
    "a seed that is none": (GOOD.replace("[0, 7]", "[-1]"), StudyError, "seed must be from 0"),
    "a scheme that is none": (GOOD.replace("log2", "lag2"), UnknownNameError, "unknown scheme 'lag2'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_sweep_is_refused(case: str, tmp_path: Path) -> None:
    text, kind, message = BAD[case]
    with pytest.raises(BqsearchError, match=message) as caught:
        read_sweep(written(tmp_path, text))
    assert isinstance(caught.value, kind)


def test_a_file_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="cannot read the sweep"):
        read_sweep(tmp_path / "none.toml")
