"""Table of what each kernel of the C runtime links on a board, for bqsearch/hardware/code/: run `make code-tables`.

Links the board's firmware once for each kernel and each decoder, and reads off the linker's map what it pulls in.
"""

import argparse
import json
import re
import subprocess
import tempfile
from pathlib import Path

from bqsearch.exporters.firmware import export
from bqsearch.firmware import board as boards
from bqsearch.firmware import map as linker
from bqsearch.firmware import toolchain
from bqsearch.firmware.board import Board
from bqsearch.firmware.emit import ModelSource

CODINGS = ("raw", "packed", "huffman", "mask", "sparse")
STRUCTS = (
    *("bq_network", "bq_convolution", "bq_depthwise", "bq_chain", "bq_dense", "bq_addition", "bq_pool"),
    *("bq_average_over", "bq_softmax", "bq_softmax_table", "bq_map", "bq_join", "bq_margins", "bq_product"),
)
TABLES = {"fe310": boards.HIFIVE1, "stm32f405": boards.STM32F405}
FOLDER = Path(__file__).resolve().parents[1] / "bqsearch" / "hardware" / "code"
HEADER = "#define BQ_ARENA_BYTES 4\n#define BQ_INPUT_BYTES 4\n#define BQ_OUTPUT_BYTES 4\n"
MODEL = """
#include "bq_kernels.h"
#include "model.h"
%s
static _Alignas(4) uint8_t arena[BQ_ARENA_BYTES];
static const void *const records[1] = {%s};
const bq_network bq_model = {records, 1, BQ_ARENA_BYTES, 0, 4, 0, 4, arena};
"""


def kernels(folder: Path) -> list[str]:
    """Names of all kernels, from their header."""
    text = (folder / "runtime" / "bq_kernels.h").read_text("utf-8")
    return re.findall(r"^bq_status (\w+)\(const void \*record", text, re.M)


def linked(board: Board, folder: Path, definition: str, cache: Path) -> toolchain.Program:
    """A program with one record, of what is defined."""
    export(folder, ModelSource(header=HEADER, source=MODEL % (definition, "&probe" if definition else "0")), board)
    return toolchain.build(board, folder, folder / "build", cache=cache)


def alignments(board: Board, text: str) -> dict[tuple[str, ...], int]:
    """Of every section of every object file that a map names, by file and section."""
    found: dict[tuple[str, ...], int] = {}
    for path in sorted(set(re.findall(r"(/\S+?\.(?:o|a))(?:\(|\s)", text))):
        listing = subprocess.run(
            [f"{board.compiler.prefix}objdump", "-h", path], capture_output=True, text=True, check=True
        ).stdout
        owner = ""
        for line in listing.splitlines():
            if head := re.match(r"^(\S+):\s+file format", line):
                member = Path(head[1]).name
                owner = f"{Path(path).name}({member})" if path.endswith(".a") else member
            elif row := re.match(r"^\s*\d+ (\S+)\s+[0-9a-f]{8} .*2\*\*(\d+)$", line):
                key = owner, row[1]
                found[key] = max(found.get(key, 1), 1 << int(row[2]))
    return found


def table(board: Board) -> dict[str, object]:
    """All of a table, as plain values."""
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name) / "probe", Path(name) / "cache"
        sizes = "\n".join(
            f"extern const char size_{s}[sizeof({s})]; const char size_{s}[sizeof({s})] = {{0}};" for s in STRUCTS
        )
        points = ", ".join(f"size_{s}" for s in STRUCTS)
        probe = linked(board, folder, f"{sizes}\nstatic const void *const probe[] = {{{points}}};", cache)
        symbols = {s.name: s.size for s in linker.read(probe.path.read_bytes()).symbols}
        names = kernels(folder)
        fields = f"bq_kernel run[{len(names)}]; const bq_coding *codings[{len(CODINGS)}];"
        values = f"{{{', '.join(names)}}}, {{{', '.join(f'&bq_{c}' for c in CODINGS)}}}"
        everything = f"static const struct {{ {fields} }} probe = {{{values}}};"
        whole = linked(board, folder, everything, cache).map.read_text("utf-8")
        aligned, pieces = alignments(board, whole), brought(whole)
        index = {key: number for number, key in enumerate(pieces)}
        roots = {"": ""}
        roots |= {k: f"static const struct {{ bq_kernel run; }} probe = {{{k}}};" for k in names}
        roots |= {f"bq_{c}": f"static const bq_coding *const probe = &bq_{c};" for c in CODINGS}
        needs = {
            root: sorted(index[key] for key in brought(linked(board, folder, text, cache).map.read_text("utf-8")))
            for root, text in roots.items()
        }
        return {
            "compiler": toolchain.version(board.compiler),
            "flags": [toolchain.OPTIMIZING, *toolchain.flags_of(board)],
            "records": {s: symbols[f"size_{s}"] for s in STRUCTS},
            "pieces": [[*key, aligned[key[1:]], size] for key, size in pieces.items()],
            "needs": needs,
        }


def brought(text: str) -> dict[tuple[str, str, str], int]:
    """Bytes of all code in a map and of the constants that come with it, by section, object file and its section."""
    return {
        (part.section, part.object, part.source): part.size
        for part in linker.parts(text)
        if part.section != ".bss" and part.source != "*fill*" and part.object != "model.o"
    }


def main() -> None:
    """Make all tables again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", choices=sorted(TABLES), help="only this one")
    chosen = parser.parse_args().table
    for name in [chosen] if chosen else sorted(TABLES):
        value = table(TABLES[name])
        lines = [f' "{key}": {json.dumps(part)}' for key, part in value.items() if key not in ("pieces", "needs")]
        rows = ",\n".join(f"  {json.dumps(row)}" for row in value["pieces"])  # type: ignore[attr-defined]
        needs = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in value["needs"].items())  # type: ignore[attr-defined]
        lines += [f' "pieces": [\n{rows}\n ]', f' "needs": {{\n{needs}\n }}']
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main()
