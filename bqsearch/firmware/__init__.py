"""Networks as C programs: the runtime, boards, compilers, linker maps, emulators."""
