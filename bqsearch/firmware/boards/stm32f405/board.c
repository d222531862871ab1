/* STMicroelectronics STM32F405: 16 MHz from the internal oscillator, USART1 on PA9 and PA10 at 115,200 baud.

   Timer 2 counts clock cycles, timer 5 every 65,536th. QEMU's run at 1 GHz, which is an instruction a tick under
   `-icount shift=0`. Registers: ST RM0090, sections 7 (RCC), 8 (GPIO), 18 (TIM2 and TIM5) and 30 (USART). */

#include "board.h"
#include "startup.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define RCC_AHB1ENR REGISTER(0x40023830)
#define RCC_APB1ENR REGISTER(0x40023840)
#define RCC_APB2ENR REGISTER(0x40023844)
#define RCC_GPIOA UINT32_C(1)
#define RCC_TIM2_TIM5 (UINT32_C(1) | UINT32_C(1) << 3)
#define RCC_USART1 (UINT32_C(1) << 4)

#define GPIOA_MODER REGISTER(0x40020000)
#define GPIOA_AFRH REGISTER(0x40020024)
#define PINS_9_AND_10_MODE (UINT32_C(0xf) << 18)
#define PINS_9_AND_10_ALTERNATE (UINT32_C(0xa) << 18)
#define PINS_9_AND_10_FUNCTION (UINT32_C(0xff) << 4)
#define PINS_9_AND_10_USART1 (UINT32_C(0x77) << 4)

#define USART1_SR REGISTER(0x40011000)
#define USART1_DR REGISTER(0x40011004)
#define USART1_BRR REGISTER(0x40011008)
#define USART1_CR1 REGISTER(0x4001100c)
#define USART_RECEIVED (UINT32_C(1) << 5)
#define USART_ROOM (UINT32_C(1) << 7)
#define USART_ENABLE ((UINT32_C(1) << 13) | (UINT32_C(1) << 3) | (UINT32_C(1) << 2))
#define CLOCK_HZ UINT32_C(16000000)
#define BAUD UINT32_C(115200)

#define TIM2_CR1 REGISTER(0x40000000)
#define TIM2_CNT REGISTER(0x40000024)
#define TIM5_CR1 REGISTER(0x40000c00)
#define TIM5_EGR REGISTER(0x40000c14)
#define TIM5_CNT REGISTER(0x40000c24)
#define TIM5_PSC REGISTER(0x40000c28)
#define TIM_ENABLE UINT32_C(1)
#define TIM_UPDATE UINT32_C(1)

#define SCB_CFSR REGISTER(0xe000ed28)

extern uint32_t stack_top[];
_Noreturn void reset(void);
_Noreturn void fault(void);
_Noreturn void fault_with_frame(const uint32_t *frame);

/* What the processor reads at address 0. Interrupts stay disabled, so only faults follow. */
static void (*const vectors[])(void) __attribute__((section(".start"), used)) = {
    (void (*)(void))(uintptr_t)stack_top, reset, fault, fault, fault, fault, fault,
};

void reset(void)
{
    startup();
}

/* Of the 8 words that the processor puts on the stack, word 6 is the address of the instruction. */
void fault_with_frame(const uint32_t *frame)
{
    firmware_fault(SCB_CFSR, frame[6]);
}

__attribute__((naked)) void fault(void)
{
    __asm__ volatile("mov r0, sp\n\tb fault_with_frame");
}

void board_start(void)
{
    RCC_AHB1ENR |= RCC_GPIOA;
    RCC_APB1ENR |= RCC_TIM2_TIM5;
    RCC_APB2ENR |= RCC_USART1;
    GPIOA_AFRH = (GPIOA_AFRH & ~PINS_9_AND_10_FUNCTION) | PINS_9_AND_10_USART1;
    GPIOA_MODER = (GPIOA_MODER & ~PINS_9_AND_10_MODE) | PINS_9_AND_10_ALTERNATE;
    USART1_BRR = (CLOCK_HZ + BAUD / 2) / BAUD;
    USART1_CR1 = USART_ENABLE;
    TIM5_PSC = 0xffff;
    TIM5_EGR = TIM_UPDATE; /* takes the prescaler over */
    TIM2_CR1 = TIM_ENABLE;
    TIM5_CR1 = TIM_ENABLE;
}

uint8_t board_read(void)
{
    while ((USART1_SR & USART_RECEIVED) == 0) {
    }
    return (uint8_t)USART1_DR;
}

void board_write(uint8_t byte)
{
    while ((USART1_SR & USART_ROOM) == 0) {
    }
    USART1_DR = byte;
}

/* Timer 5 is up to a tick ahead of timer 2 or behind it: rounding tells how often timer 2 has run over. */
uint64_t board_instructions(void)
{
    uint32_t fine = TIM2_CNT;
    uint32_t overflows = (TIM5_CNT - (fine >> 16) + 0x8000) >> 16;
    return (uint64_t)overflows << 32 | fine;
}

void board_stop(void)
{
    for (;;) {
        __asm__ volatile("wfi");
    }
}
