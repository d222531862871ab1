"""Options of `run`: each reaches what it is said to set, none is lost on the way."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from bqsearch import session
from bqsearch.cli import BESIDES, app
from bqsearch.report.progress import View
from bqsearch.search.crew import Crew
from bqsearch.search.spec import StudySpec
from bqsearch.session import Outcome

GIVEN = {
    "model": ("net.tflite", "net.tflite"),
    "data": ("digits", "digits"),
    "features": ("profiles", "profiles"),
    "normalize": ("1.5,2", (1.5, 2.0)),
    "classes": ("a,b", ("a", "b")),
    "target": ("rp2040", "rp2040"),
    "objectives": ("accuracy,flash", ("accuracy", "flash")),
    "max_drop": ("2.5", 2.5),
    "max_flash": ("64K", 65536),
    "max_ram": ("12K", 12288),
    "trials": ("33", 33),
    "polish": ("7", 7),
    "schemes": ("keep,log2", ("keep", "log2")),
    "prune": ("std", ("std",)),
    "calibration": ("99", 99),
    "bias_correction": (None, False),
    "activation_weighting": (None, False),
    "error_compensation": (None, False),
    "equalization": (None, True),
    "timeout": ("60", 60.0),
    "sampler": ("tpe", "tpe"),
    "seed": ("5", 5),
}


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command hands on; nothing is searched."""
    told: dict[str, Any] = {}

    def run(spec: StudySpec, out: Path | None, means: session.Means, view: View) -> Outcome:
        told.update(spec=spec, out=out, view=view, **vars(means))
        return Outcome(found=True, interrupted=False)

    monkeypatch.setattr(session, "run", run)
    return told


def test_every_option_reaches_the_spec(heard: dict[str, Any]) -> None:
    names = {parameter.name for parameter in get_command(app).commands["run"].params}
    assert names - BESIDES == set(GIVEN)
    arguments = []
    for name, (text, value) in GIVEN.items():
        flag = f"--{'no-' if value is False else ''}{name.replace('_', '-')}"
        arguments += [flag] if text is None else [flag, text]
    done = CliRunner().invoke(app, ["run", *arguments])
    assert done.exit_code == 0, done.output
    assert {name: getattr(heard["spec"], name) for name in GIVEN} == {name: value for name, (_, value) in GIVEN.items()}


def test_what_is_not_given_stays_as_the_spec_has_it(heard: dict[str, Any]) -> None:
    done = CliRunner().invoke(app, ["run", "--model", "net.tflite", "--target", "rp2040"])
    assert done.exit_code == 0, done.output
    plain = StudySpec(name=heard["spec"].name, model="net.tflite", target="rp2040")
    assert {f.name: getattr(heard["spec"], f.name) for f in fields(StudySpec)} == vars(plain)
    assert heard["out"] is heard["tracking_uri"] is heard["storage"] is None
    assert not heard["resume"]
    assert heard["crew"] == Crew()


def test_options_of_no_study_reach_the_session(heard: dict[str, Any]) -> None:
    given = {"--out": "here", "--tracking-uri": "none", "--storage": "sqlite:///a.db"}
    pairs = [part for pair in given.items() for part in pair]
    done = CliRunner().invoke(app, ["run", "--model", "net.tflite", "--target", "rp2040", *pairs, "--resume", "--json"])
    assert done.exit_code == 0, done.output
    assert (heard["out"], heard["resume"]) == (Path("here"), True)
    assert (heard["tracking_uri"], heard["storage"]) == ("none", "sqlite:///a.db")
