/* This computer: standard input and output in place of the UART; nothing is counted. */

#include "board.h"

#include <stdio.h>
#include <stdlib.h>

void board_start(void)
{
}

uint8_t board_read(void)
{
    int byte = getchar();
    if (byte == EOF) {
        exit(EXIT_SUCCESS); /* nobody is left to ask */
    }
    return (uint8_t)byte;
}

void board_write(uint8_t byte)
{
    (void)putchar(byte);
    (void)fflush(stdout);
}

uint64_t board_instructions(void)
{
    return 0;
}

uint32_t board_stack_bytes(void)
{
    return 0;
}

uint32_t board_stack_peak(void)
{
    return 0;
}

void board_stop(void)
{
    exit(EXIT_SUCCESS);
}
