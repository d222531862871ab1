/* Canonical Huffman codes: what `huffman` and `sparse` share. */
#ifndef BQ_CODE_H
#define BQ_CODE_H

#include "bq_stream.h"

#define BQ_LOOKUP_BITS 7
#define BQ_LOOKUP_BYTES 256u

/* Read a table and fill its lookup (BQ_LOOKUP_BYTES). The codebooks begin behind the counts.
 * Returns the bytes up to the codebooks' end, 0 where the table is malformed. */
uint32_t bq_open_code(bq_code *code, const uint8_t *table, uint32_t table_count, uint32_t groups, uint8_t *lookup);

/* The place of a codeword of more than 7 bits at the window's top, and its length; negative where none begins. */
int32_t bq_long_codeword(const bq_code *code, uint32_t window, int32_t *length);

/* Whole bytes into the window, zeros behind the stream's end. */
static inline void bq_fill(bq_bits *bits)
{
    while (bits->count <= 24 && bits->at != bits->end) {
        bits->window |= (uint32_t)*bits->at++ << (24 - bits->count);
        bits->count += 8;
    }
}

/* The place of the next codeword in its codebook, negative where none begins; the caller checks that `count` has not
 * fallen below 0, which says that the stream has ended. */
static inline int32_t bq_next_place(bq_bits *bits, const bq_code *code)
{
    if (bits->count < 15) {
        bq_fill(bits);
    }
    uint32_t entry = code->lookup[bits->window >> (32 - BQ_LOOKUP_BITS)];
    int32_t length = (int32_t)(entry >> 8), place = (int32_t)(entry & 255u);
    if (length == 0) {
        place = bq_long_codeword(code, bits->window, &length);
    }
    bits->window <<= length;
    bits->count -= length;
    return place;
}

#endif
