/* bqsearch's runtime: one network, compiled in from model.c.
 *
 *     bq_init();
 *     memcpy(bq_input(), image, BQ_INPUT_BYTES);      sizes stand in model.h
 *     if (bq_invoke() == BQ_OK) use(bq_output());
 *
 * Input and output lie in the arena and share its bytes with all other tensors: write the whole input before each
 * bq_invoke, and read the output before the next. Nothing is allocated, and no other state is kept. */
#ifndef BQ_H
#define BQ_H

#include <stdint.h>

typedef enum {
    BQ_OK = 0,
    BQ_BAD_STREAM = 1 /* coded weights do not decode: the flash or the build is damaged */
} bq_status;

/* The first field of every operator's record. */
typedef bq_status (*bq_kernel)(const void *record, uint8_t *arena);

/* A network as model.c describes it; offsets and sizes are bytes of the arena. */
typedef struct {
    const void *const *records;
    uint32_t record_count;
    uint32_t arena_bytes;
    uint32_t input;
    uint32_t input_bytes;
    uint32_t output;
    uint32_t output_bytes;
    uint8_t *arena;
} bq_network;

extern const bq_network bq_model;

void bq_init(void);            /* clears the arena */
void *bq_input(void);          /* BQ_INPUT_BYTES codes */
bq_status bq_invoke(void);     /* one inference */
const void *bq_output(void);   /* BQ_OUTPUT_BYTES codes */

/* One inference in another arena of bq_model.arena_bytes, a multiple of 4 from which it begins. */
bq_status bq_invoke_in(uint8_t *arena);

/* `count` inferences in such an arena; inputs and outputs lie one behind the other. */
bq_status bq_invoke_batch(uint8_t *arena, const uint8_t *inputs, uint8_t *outputs, uint32_t count);

#endif
