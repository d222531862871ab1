# Reset and traps of the SiFive FE310, and what reads its control registers: libraries exist for plain rv32imac only, so
# the extension Zicsr, of which every RISC-V processor has the instructions, is switched on for this file alone.

    .option arch, +zicsr

    .section .start, "ax", @progbits
    .globl reset
    .type reset, @function
reset:
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la sp, stack_top
    la t0, trap
    csrw mtvec, t0
    j startup
    .size reset, . - reset

# Nothing returns from a trap, so the stack begins anew: its end may have been what went wrong.
    .balign 4
    .type trap, @function
trap:
    la sp, stack_top
    csrr a0, mcause
    csrr a1, mepc
    j firmware_fault
    .size trap, . - trap

    .section .text.fe310_cycles, "ax", @progbits
    .globl fe310_cycles
    .type fe310_cycles, @function
fe310_cycles:
    csrr a0, mcycle
    ret
    .size fe310_cycles, . - fe310_cycles

# Reads the high word twice: the low one may have run over in between.
    .section .text.board_instructions, "ax", @progbits
    .globl board_instructions
    .type board_instructions, @function
board_instructions:
    csrr a1, minstreth
    csrr a0, minstret
    csrr a2, minstreth
    bne a1, a2, board_instructions
    ret
    .size board_instructions, . - board_instructions
