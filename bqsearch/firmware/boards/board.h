/* What main.c asks of a board. */

#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

/* Starts the clocks, the UART and the counter. */
void board_start(void);

/* Waits for a byte from the UART. */
uint8_t board_read(void);

/* Sends a byte through the UART, once there is room. */
void board_write(uint8_t byte);

/* Instructions executed so far; clock cycles on a chip that counts only those; 0 where nothing counts. */
uint64_t board_instructions(void);

/* Bytes between the end of .bss and the top of RAM; 0 where the stack is not ours. */
uint32_t board_stack_bytes(void);

/* Most bytes of stack used since the start; 0 where the stack is not ours. */
uint32_t board_stack_peak(void);

/* Ends the program. */
_Noreturn void board_stop(void);

/* In main.c: tells the host that the processor met a fault, and stops.
   cause and address are the processor's own words for it. */
_Noreturn void firmware_fault(uint32_t cause, uint32_t address);

#endif
