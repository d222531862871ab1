/* From reset to main, on boards without an operating system. */

#ifndef STARTUP_H
#define STARTUP_H

/* Paints the stack, fills .data and clears .bss, then calls main. */
_Noreturn void startup(void);

#endif
