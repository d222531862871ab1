/* Coded weights, and readers that decode them a few at a time.
 *
 * The formats are those of bqsearch/packing/streams.py. A stream's weights are raw bytes, counted from the lowest code;
 * `flip` turns them into codes of the network's type. Whatever the bytes are, a reader reads none outside of stream and
 * table, and writes none beyond the weights that it was asked for. */
#ifndef BQ_STREAM_H
#define BQ_STREAM_H

#include <stddef.h>

#include "bq.h"

typedef struct bq_reader bq_reader;

/* A decoder. Both functions may trust what bq_open and bq_next have checked. */
typedef struct {
    bq_status (*open)(bq_reader *reader, uint8_t *tables);
    bq_status (*read)(bq_reader *reader, uint8_t *out, uint32_t count); /* weights of one group, at least one */
} bq_coding;

extern const bq_coding bq_raw, bq_packed, bq_huffman, bq_mask, bq_sparse;

typedef struct {
    const bq_coding *coding;
    const uint8_t *bytes;
    const uint8_t *table;
    uint32_t byte_count;
    uint32_t table_count;
    uint32_t count;  /* weights */
    uint32_t inner;  /* weights in a row that share a codebook: weight i has that of group (i / inner) % groups */
    uint16_t groups;
    uint8_t zero_byte;
    uint8_t flip;
} bq_stream;

/* A canonical Huffman code: a lookup by the next 7 bits (length in the upper byte, place in the codebook in the lower;
 * 0 where the codeword is longer, or none begins so), and what the search among longer codewords begins with. */
typedef struct {
    const uint8_t *counts; /* counts[length - 1] codewords of a length */
    const uint16_t *lookup;
    uint32_t symbols;
    int32_t longest;
    int32_t first; /* the first codeword of 8 bits */
    int32_t place; /* and its place */
} bq_code;

/* What is left of a stream's bits. */
typedef struct {
    const uint8_t *at; /* the next byte */
    const uint8_t *end;
    uint32_t window; /* bits that were fetched and not used */
    int32_t count;   /* how many */
} bq_bits;

struct bq_reader {
    const bq_stream *stream;
    bq_bits bits;
    uint32_t left;   /* weights to come, */
    uint32_t run;    /* of those in the current group, */
    uint32_t group;
    const uint8_t *books; /* and the codebooks of all groups: `symbols` values each */
    uint32_t symbols;
    uint8_t *values; /* the current group's, in RAM */
    uint8_t zero;    /* code of a weight of 0 */
    uint8_t width;   /* bits of an index */
    uint8_t flag;    /* mask: which bit of the byte at `flags`; sparse: a weight follows the gap */
    const uint8_t *flags;
    uint32_t gap; /* sparse: zeros to come before anything else */
    bq_code code;
    bq_code gap_code;
};

/* Begin at the first weight. `tables` has room as hardware/scratch.py says and begins at a multiple of 4. */
bq_status bq_open(bq_reader *reader, const bq_stream *stream, uint8_t *tables);

/* The next weights, as codes; the stream's end is checked with the last of them. */
bq_status bq_next(bq_reader *reader, void *out, uint32_t count);

#endif
