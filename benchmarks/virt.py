"""A bare rv32imac machine with memory for any network, QEMU's `virt`, and the instructions of each step on it.

Compiled as firmware for the HiFive1 is, but with weights and arena wherever they fit. Needs the Debian packages that
`make debian` installs.
"""

import hashlib
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bqsearch.exporters import firmware
from bqsearch.firmware import toolchain
from bqsearch.firmware.board import HIFIVE1
from bqsearch.firmware.emit import ModelSource

MEMORY = {"flash": 0x80000000, "flash_size": 0x2000000, "ram": 0x82000000, "ram_size": 0x2000000}
MAIN = r"""
#include <stdio.h>
#include "bq_kernels.h"
#include "model.h"

void prepare(void);

static inline uint32_t executed(void)
{
    uint32_t count;
    __asm__ volatile(".option push\n.option arch, +zicsr\ncsrr %0, minstret\n.option pop" : "=r"(count));
    return count;
}

int main(void)
{
    prepare();
    bq_init();
    uint8_t *input = bq_input();
    for (uint32_t i = 0; i < BQ_INPUT_BYTES; ++i) {
        input[i] = (uint8_t)((i * UINT32_C(2654435761)) >> 24);
    }
    for (uint32_t i = 0; i < bq_model.record_count; ++i) {
        const void *record = bq_model.records[i];
        uint32_t before = executed();
        int status = (*(const bq_kernel *)record)(record, bq_model.arena);
        printf("%lu %d\n", (unsigned long)(executed() - before), status);
    }
    uint32_t sum = 0;
    const uint8_t *output = bq_output();
    for (uint32_t i = 0; i < BQ_OUTPUT_BYTES; ++i) {
        sum = sum * 31 + output[i];
    }
    printf("sum %lu\n", (unsigned long)sum);
    return 0;
}
"""
NOTHING = "void prepare(void);\nvoid prepare(void)\n{\n}\n"


def steps(model: ModelSource, cache: Path, kernels: str = NOTHING) -> tuple[list[int], int]:
    """Run a network once, on made-up inputs.

    Args:
        model: Its C source.
        cache: Folder for object files.
        kernels: C text that is linked before the runtime, whose kernels of the same names it replaces; its `prepare` is
            called first.

    Returns:
        Instructions of each step, and a sum over the outputs.
    """
    compiler = toolchain.find_compiler(HIFIVE1.compiler, "counting instructions")
    flags = [compiler, *toolchain.COMPILING, toolchain.OPTIMIZING, *toolchain.flags_of(HIFIVE1), f"-I{cache}"]
    library = _library(flags, cache, model)
    texts = {"main.c": MAIN, "model.c": model.source, "kernels.c": kernels}
    (cache / "model.h").write_text(model.header)
    objects = []
    for name, text in texts.items():
        (cache / name).write_text(text)
        objects.append(str(cache / name) + ".o")
        toolchain.run([*flags, "-c", str(cache / name), "-o", objects[-1]], cache)
    places = [f"-Wl,--defsym=__{name}={value:#x}" for name, value in MEMORY.items()]
    program = str(cache / "virt.elf")
    link = ["--crt0=semihost", "--oslib=semihost", "-Wl,--gc-sections", *HIFIVE1.compiler.linking, *places]
    toolchain.run([*flags, *link, *objects, str(library), "-o", program], cache)
    return _run(program)


def _library(flags: Sequence[str], cache: Path, model: ModelSource) -> Path:
    """The runtime as an archive, made once."""
    texts = firmware.texts(model, HIFIVE1).items()
    sources = {Path(name).name: text for name, text in texts if name.startswith("runtime/")}
    digest = hashlib.sha256(repr((flags, sorted(sources.items()))).encode()).hexdigest()[:16]
    library = cache / f"runtime-{digest}.a"
    if library.exists():
        return library
    for name, text in sources.items():
        (cache / name).write_text(text)
    names = sorted(name for name in sources if name.endswith(".c"))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda n: toolchain.run([*flags, "-c", n, "-o", f"{n}.o"], cache), names))
    toolchain.run([f"{HIFIVE1.compiler.prefix}ar", "rcs", str(library), *(f"{n}.o" for n in names)], cache)
    return library


def _run(program: str) -> tuple[list[int], int]:
    machine = ["qemu-system-riscv32", "-M", "virt", "-bios", "none", "-nographic", "-icount", "shift=0"]
    command = [*machine, "-semihosting-config", "enable=on", "-kernel", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, stdin=subprocess.DEVNULL)
    said = done.stdout + done.stderr  # where the semihosting console is depends on the version
    lines = [line.split() for line in said.splitlines() if line.strip()]
    if not lines or lines[-1][0] != "sum" or any(status != "0" for _, status in lines[:-1]):
        raise RuntimeError(f"the network failed on the emulated machine: {said}")
    return [int(count) for count, _ in lines[:-1]], int(lines[-1][1])
