"""Puts what a benchmark prints between two marks of README.md."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def paste(name: str, command: str, text: str) -> None:
    """Replace what stands between `<!-- NAME: written by `COMMAND` -->` and `<!-- end of NAME -->`."""
    begin, end = f"<!-- {name}: written by `{command}` -->", f"<!-- end of {name} -->"
    readme = ROOT / "README.md"
    head, rest = readme.read_text("utf-8").split(begin)
    readme.write_text(f"{head}{begin}\n{text}\n{end}{rest.split(end)[1]}", "utf-8")


def markdown(headings: list[str], rows: list[list[str]]) -> str:
    """A table, its first column to the left and all others to the right."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
