"""Damaged files, by Hypothesis and by coverage, under limits of time and memory; and that the limits bite."""

from pathlib import Path

import pytest
from importers import fuzz

from bqsearch.errors import ModelError
from bqsearch.graph.flatbuffer import serialize
from bqsearch.importers.tflite import parse


def test_the_seeds_are_good() -> None:
    assert all(fuzz.examine(content) for content in fuzz.seeds())


def test_faults_change_files_and_some_stay_good() -> None:
    content = fuzz.seeds()[0]
    for kind in range(len(fuzz._FAULTS)):
        changed = [fuzz.damaged(content, [(kind, place, number)]) for place in (9, 700, 4001) for number in (8, 77)]
        assert any(c != content for c in changed), kind
    assert fuzz.damaged(content, []) == content


def test_damaged_files_are_refused_or_can_be_worked_with() -> None:
    files, good = counts(fuzz.run(2500))
    assert files >= 2500
    assert 100 < good < files * 2 / 3


def counts(report: str) -> list[int]:
    """Files that were tried, and those that were good."""
    return [int(word) for word in report.split() if word.isdigit()]


@pytest.mark.slow
def test_twenty_thousand_damaged_files() -> None:
    files, good = counts(fuzz.run(20_000, seed=1))
    assert files >= 20_000
    assert 800 < good < files * 2 / 3


@pytest.mark.slow
def test_files_that_coverage_leads_to() -> None:
    pytest.importorskip("atheris", reason="atheris, which coverage-guided fuzzing needs, is not installed")
    assert "Done 20000 runs" in fuzz.run(20_000, coverage=True)


BROKEN = {
    "a hang": "while True: pass",
    "a burst": "bytes(2 << 30)",
    "a foreign error": "raise IndexError",
    "a crash": "import ctypes; ctypes.string_at(0)",
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_importer_is_caught_and_its_input_kept(
    fault: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "fuzz.py"
    source = Path(fuzz.__file__).read_text()
    broken = source.replace(
        "        graph = parse(content)\n", f"        {BROKEN[fault]}\n        graph = parse(content)\n"
    )
    assert broken != source
    program.write_text(
        broken.replace("Path(__file__).resolve().parent.parent", f"Path({str(Path(fuzz.__file__))!r}).parent.parent")
    )
    monkeypatch.setattr(fuzz, "__file__", str(program))
    monkeypatch.setattr(fuzz.tempfile, "tempdir", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"status -?\d+, the input is in") as caught:
        fuzz.run(3)
    kept = Path(str(caught.value).split(" is in ")[1].split(":\n")[0]) / "input.tflite"
    assert kept.stat().st_size > 0


def test_parse_is_what_is_examined() -> None:
    with pytest.raises(ModelError):
        parse(serialize(fuzz.small_int8_network())[:300])
    assert not fuzz.examine(serialize(fuzz.small_int8_network())[:300])
