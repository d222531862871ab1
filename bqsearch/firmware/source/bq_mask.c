#include "bq_index.h"

static bq_status open_mask(bq_reader *reader, uint8_t *tables)
{
    uint32_t bytes = reader->left / 8u + (reader->left % 8u != 0);
    if (bytes > reader->stream->byte_count) {
        return BQ_BAD_STREAM;
    }
    reader->flags = reader->bits.at;
    reader->bits.at += bytes;
    return bq_open_books(reader, tables, 255);
}

static bq_status read_mask(bq_reader *reader, uint8_t *out, uint32_t count)
{
    for (; count != 0; --count) {
        uint32_t set = (uint32_t)*reader->flags >> (7 - reader->flag) & 1u;
        reader->flag = (reader->flag + 1) & 7;
        reader->flags += reader->flag == 0;
        if (set == 0) {
            *out = reader->zero;
        } else if (bq_next_value(reader, out) != BQ_OK) {
            return BQ_BAD_STREAM;
        }
        ++out;
    }
    return BQ_OK;
}

const bq_coding bq_mask = {open_mask, read_mask};
