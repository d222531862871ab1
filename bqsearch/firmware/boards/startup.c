/* From reset to main. The stack is painted first, so that its peak can be read off later. */

#include "startup.h"

#include <stdint.h>

#include "board.h"

#define PAINT UINT32_C(0xb5c3a5d2)

/* From sections.ld: addresses, not variables. All are multiples of 4. */
extern const uint32_t data_source[];
extern uint32_t data_start[], data_end[], bss_start[], bss_end[], stack_bottom[], stack_top[];

int main(void);

static inline uintptr_t stack_pointer(void)
{
    uintptr_t address;
#if defined(__riscv)
    __asm__ volatile("mv %0, sp" : "=r"(address));
#else
    __asm__ volatile("mov %0, sp" : "=r"(address));
#endif
    return address;
}

/* volatile keeps the compiler from calling memset and memcpy: a frame of theirs would lie in what is painted, and they are
   longer than all of this. */
static void paint_stack(void)
{
    uintptr_t end = stack_pointer();
    for (volatile uint32_t *word = stack_bottom; (uintptr_t)word < end; ++word) {
        *word = PAINT;
    }
}

void startup(void)
{
    paint_stack();
    const uint32_t *source = data_source;
    for (volatile uint32_t *word = data_start; word < data_end; ++word) {
        *word = *source++;
    }
    for (volatile uint32_t *word = bss_start; word < bss_end; ++word) {
        *word = 0;
    }
    (void)main();
    board_stop();
}

uint32_t board_stack_bytes(void)
{
    return (uint32_t)((uintptr_t)stack_top - (uintptr_t)stack_bottom);
}

uint32_t board_stack_peak(void)
{
    const volatile uint32_t *word = stack_bottom;
    while (word < stack_top && *word == PAINT) {
        word++;
    }
    return (uint32_t)((uintptr_t)stack_top - (uintptr_t)word);
}
