/* Runs the network for a host at the other end of the UART.

   Everything is little-endian. A frame is

       magic 0xb5 | command 1 B | length of the payload 4 B | payload | CRC-32 of all but the magic 4 B

   and the board answers each request with one frame, whose command is the request's + 0x80. When it is ready for the first
   request it says so by an answer to `info` that nobody asked for:

       0x01 info    request: nothing. Answer: arena, input, output and stack, 4 B each; the model's hash, 8 B.
       0x02 infer   request: the input. Answer: status, 4 B; instructions, 8 B; peak of the stack so far, 4 B;
                    the output, if the status is 0.
       0x03 bye     request: nothing. Answer: nothing; the program ends.

   A request that makes no sense is answered by 0xfe with a reason of 4 B; a fault of the processor sends 0xff with its
   cause and address, 4 B each, and ends the program. */

#include "board.h"
#include "bq.h"
#include "model_hash.h"

enum { MAGIC = 0xb5, ANSWER = 0x80, REFUSED = 0xfe, FAULT = 0xff };
enum { INFO = 1, INFER = 2, BYE = 3 };
enum { UNKNOWN_COMMAND = 1, WRONG_LENGTH = 2, WRONG_CRC = 3 };

#define CRC_START UINT32_C(0xffffffff)
#define CRC_POLYNOMIAL UINT32_C(0xedb88320)

/* Bit by bit: a table would be read from flash, which takes longer on some boards. */
static uint32_t crc_add(uint32_t crc, uint8_t byte)
{
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) {
        crc = crc >> 1 ^ (CRC_POLYNOMIAL & (UINT32_C(0) - (crc & 1)));
    }
    return crc;
}

static uint8_t get(uint32_t *crc)
{
    uint8_t byte = board_read();
    *crc = crc_add(*crc, byte);
    return byte;
}

static uint32_t get_word(uint32_t *crc)
{
    uint32_t word = 0;
    for (int shift = 0; shift < 32; shift += 8) {
        word |= (uint32_t)get(crc) << shift;
    }
    return word;
}

static void put(uint32_t *crc, uint8_t byte)
{
    board_write(byte);
    *crc = crc_add(*crc, byte);
}

static void put_word(uint32_t *crc, uint32_t word)
{
    for (int shift = 0; shift < 32; shift += 8) {
        put(crc, (uint8_t)(word >> shift));
    }
}

/* Sends a frame of some words and then some bytes. */
static void answer(uint8_t command, const uint32_t *words, uint32_t count, const uint8_t *bytes, uint32_t length)
{
    uint32_t crc = CRC_START;
    board_write(MAGIC);
    put(&crc, command);
    put_word(&crc, 4 * count + length);
    for (uint32_t i = 0; i < count; ++i) {
        put_word(&crc, words[i]);
    }
    for (uint32_t i = 0; i < length; ++i) {
        put(&crc, bytes[i]);
    }
    put_word(&crc, ~crc);
}

static void refuse(uint32_t reason)
{
    answer(REFUSED, &reason, 1, 0, 0);
}

/* Weak, so that the compiler reads it from memory and the code is as long for every network. */
extern const uint32_t model_hash[2];
__attribute__((weak)) const uint32_t model_hash[2] = {(uint32_t)MODEL_HASH, (uint32_t)(MODEL_HASH >> 32)};

static void info(void)
{
    const uint32_t words[] = {
        bq_model.arena_bytes,
        bq_model.input_bytes,
        bq_model.output_bytes,
        board_stack_bytes(),
        model_hash[0],
        model_hash[1],
    };
    answer(INFO + ANSWER, words, sizeof words / sizeof *words, 0, 0);
}

static void infer(void)
{
    uint64_t begin = board_instructions();
    bq_status status = bq_invoke();
    uint64_t spent = board_instructions() - begin;
    const uint32_t words[] = {(uint32_t)status, (uint32_t)spent, (uint32_t)(spent >> 32), board_stack_peak()};
    answer(INFER + ANSWER, words, sizeof words / sizeof *words, bq_output(), status == BQ_OK ? bq_model.output_bytes : 0);
}

/* Reads a request; an input goes straight to where the network wants it. Gives the command, 0 if it was refused. */
static uint8_t request(void)
{
    while (board_read() != MAGIC) {
    }
    uint32_t crc = CRC_START;
    uint8_t command = get(&crc);
    uint32_t length = get_word(&crc);
    if (command < INFO || command > BYE) {
        refuse(UNKNOWN_COMMAND);
        return 0;
    }
    if (length != (command == INFER ? bq_model.input_bytes : 0)) {
        refuse(WRONG_LENGTH);
        return 0;
    }
    uint8_t *input = bq_input();
    for (uint32_t i = 0; i < length; ++i) {
        input[i] = get(&crc);
    }
    uint32_t computed = ~crc;
    if (get_word(&crc) != computed) {
        refuse(WRONG_CRC);
        return 0;
    }
    return command;
}

void firmware_fault(uint32_t cause, uint32_t address)
{
    const uint32_t words[] = {cause, address};
    answer(FAULT, words, sizeof words / sizeof *words, 0, 0);
    board_stop();
}

int main(void)
{
    board_start();
    bq_init();
    info();
    for (;;) {
        switch (request()) {
        case INFO:
            info();
            break;
        case INFER:
            infer();
            break;
        case BYE:
            answer(BYE + ANSWER, 0, 0, 0, 0);
            return 0;
        default:
            break;
        }
    }
}
