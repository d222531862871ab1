/* SiFive FE310-G000 and -G002 (HiFive1, HiFive1 Rev B): 320 MHz from the 16 MHz crystal, UART0 at 115,200 baud.

   Registers: SiFive FE310-G000 manual, chapters 7 (PRCI), 17 (GPIO) and 18 (UART). */

#include "board.h"

/* In start.S: the low word of the count of cycles. */
uint32_t fe310_cycles(void);

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define PRCI_HFXOSCCFG REGISTER(0x10008004)
#define PRCI_PLLCFG REGISTER(0x10008008)
#define PRCI_PLLOUTDIV REGISTER(0x1000800c)
#define OSCILLATOR_ENABLE (UINT32_C(1) << 30)
#define OSCILLATOR_READY (UINT32_C(1) << 31)
#define PLL_SELECT (UINT32_C(1) << 16)
#define PLL_LOCK (UINT32_C(1) << 31)
#define PLL_DIVIDE_BY_1 (UINT32_C(1) << 8)
/* 16 MHz / 2 = 8 MHz; times 80 = 640 MHz; / 2 = 320 MHz. The reference is the crystal. */
#define PLL_320_MHZ ((UINT32_C(1) << 17) | (UINT32_C(1) << 10) | (UINT32_C(39) << 4) | UINT32_C(1))
#define PLL_SETTLING_CYCLES 10000 /* 100 us or more at the reset clock, which is below 100 MHz */

#define GPIO_IOF_EN REGISTER(0x10012038)
#define GPIO_IOF_SEL REGISTER(0x1001203c)
#define UART0_PINS (UINT32_C(3) << 16)

#define UART0_TXDATA REGISTER(0x10013000)
#define UART0_RXDATA REGISTER(0x10013004)
#define UART0_TXCTRL REGISTER(0x10013008)
#define UART0_RXCTRL REGISTER(0x1001300c)
#define UART0_DIV REGISTER(0x10013018)
#define UART_FULL_OR_EMPTY (UINT32_C(1) << 31)
#define UART_ENABLE UINT32_C(1)
#define CLOCK_HZ UINT32_C(320000000)
#define BAUD UINT32_C(115200)

static void start_clock(void)
{
    PRCI_HFXOSCCFG = OSCILLATOR_ENABLE;
    while ((PRCI_HFXOSCCFG & OSCILLATOR_READY) == 0) {
    }
    PRCI_PLLCFG &= ~PLL_SELECT; /* a bootloader may have left it running */
    PRCI_PLLOUTDIV = PLL_DIVIDE_BY_1;
    PRCI_PLLCFG = PLL_320_MHZ;
    uint32_t begin = fe310_cycles();
    while (fe310_cycles() - begin < PLL_SETTLING_CYCLES) { /* the lock bit means nothing before */
    }
    while ((PRCI_PLLCFG & PLL_LOCK) == 0) {
    }
    PRCI_PLLCFG = PLL_320_MHZ | PLL_SELECT;
}

static void start_uart(void)
{
    GPIO_IOF_SEL &= ~UART0_PINS;
    GPIO_IOF_EN |= UART0_PINS;
    UART0_DIV = CLOCK_HZ / BAUD - 1;
    UART0_TXCTRL = UART_ENABLE;
    UART0_RXCTRL = UART_ENABLE;
}

void board_start(void)
{
    start_clock();
    start_uart();
}

uint8_t board_read(void)
{
    uint32_t received;
    do {
        received = UART0_RXDATA;
    } while ((received & UART_FULL_OR_EMPTY) != 0);
    return (uint8_t)received;
}

void board_write(uint8_t byte)
{
    while ((UART0_TXDATA & UART_FULL_OR_EMPTY) != 0) {
    }
    UART0_TXDATA = byte;
}

void board_stop(void)
{
    for (;;) {
        __asm__ volatile("wfi");
    }
}
