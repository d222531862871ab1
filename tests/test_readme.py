"""What the README says is there: its commands, its rooms, its figures' source."""

import re
import tomllib
from pathlib import Path

import pytest
import typer.main

from bqsearch.cli import app

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = sorted(set(re.findall(r"bqsearch (?:run|verify|ui|report|apply|list|train)\b[^`\n]*", README)))


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_and_option_in_the_readme_exists(line: str) -> None:
    group = typer.main.get_command(app)
    command = group.commands[line.split()[1]]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", line)) <= known


def test_the_title_command_is_what_make_runs() -> None:
    title = "bqsearch run --model mobilenet_v2 --target hifive1"
    assert title in README
    assert title in (ROOT / "Makefile").read_text("utf-8")


def test_the_map_of_rooms_is_the_one_that_import_linter_proves() -> None:
    rows = re.findall(r"^\| (`[a-z]+`(?:, `[a-z]+`)*) \|", README.split("## The map of rooms")[1], re.MULTILINE)
    shown = [sorted(re.findall(r"[a-z]+", row)) for row in rows]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    proved = [sorted(layer.split(" | ")) for layer in layers if layer != "__main__"]
    flat = [room for layer in proved for room in layer]
    assert sorted(room for row in shown for room in row) == sorted(flat)
    order = {room: index for index, layer in enumerate(proved) for room in layer}
    assert [min(order[room] for room in row) for row in shown] == sorted(
        min(order[room] for room in row) for row in shown
    )


def test_the_output_in_the_readme_is_a_run_of_the_title_command() -> None:
    block = README.split("written by `make readme` -->")[1].split("<!-- end of output -->")[0]
    assert "mobilenet_v2 on SiFive HiFive1" in block
    assert "★" in block
    assert (ROOT / "docs" / "pareto.png").is_file()
