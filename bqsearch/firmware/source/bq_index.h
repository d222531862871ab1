/* Codebooks and packed indices, most significant bit first: what `packed` and `mask` share. */
#ifndef BQ_INDEX_H
#define BQ_INDEX_H

#include "bq_stream.h"

/* The codebooks are the whole table: equally long, `most` values at most. */
static inline bq_status bq_open_books(bq_reader *reader, uint8_t *tables, uint32_t most)
{
    const bq_stream *stream = reader->stream;
    reader->books = stream->table;
    reader->values = tables;
    reader->symbols = stream->table_count / stream->groups;
    if (reader->symbols * stream->groups != stream->table_count || reader->symbols > most) {
        return BQ_BAD_STREAM;
    }
    while (reader->symbols > (uint32_t)1 << reader->width) {
        ++reader->width;
    }
    return BQ_OK;
}

/* The value that the next index stands for, which must be there. */
static inline bq_status bq_next_value(bq_reader *reader, uint8_t *value)
{
    if (reader->bits.count < reader->width) {
        if (reader->bits.at == reader->bits.end) {
            return BQ_BAD_STREAM;
        }
        reader->bits.window = reader->bits.window << 8 | *reader->bits.at++;
        reader->bits.count += 8;
    }
    reader->bits.count -= reader->width;
    uint32_t index = reader->bits.window >> reader->bits.count & (((uint32_t)1 << reader->width) - 1u);
    if (index >= reader->symbols) {
        return BQ_BAD_STREAM;
    }
    *value = reader->values[index];
    return BQ_OK;
}

#endif
