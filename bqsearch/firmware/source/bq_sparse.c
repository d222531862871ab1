#include <string.h>

#include "bq_code.h"

#define BQ_MAX_GAP 63u

static bq_status open_sparse(bq_reader *reader, uint8_t *tables)
{
    const bq_stream *stream = reader->stream;
    uint32_t end = bq_open_code(&reader->gap_code, stream->table, stream->table_count, 1, tables);
    if (end == 0) {
        return BQ_BAD_STREAM;
    }
    const uint8_t *values = stream->table + end;
    uint32_t rest = stream->table_count - end;
    end = bq_open_code(&reader->code, values, rest, stream->groups, tables + BQ_LOOKUP_BYTES);
    if (end == 0 || end != rest) {
        return BQ_BAD_STREAM;
    }
    reader->books = values + 1 + reader->code.longest;
    reader->symbols = reader->code.symbols;
    reader->values = tables + 2u * BQ_LOOKUP_BYTES;
    return BQ_OK;
}

/* The next gap: `left` weights are to come. */
static bq_status next_gap(bq_reader *reader, uint32_t left)
{
    int32_t place = bq_next_place(&reader->bits, &reader->gap_code);
    if (place < 0 || reader->bits.count < 0) {
        return BQ_BAD_STREAM;
    }
    reader->gap = reader->gap_code.counts[reader->gap_code.longest + place];
    reader->flag = reader->gap < BQ_MAX_GAP && reader->gap < left;
    return reader->gap > left || reader->gap > BQ_MAX_GAP ? BQ_BAD_STREAM : BQ_OK;
}

static bq_status read_sparse(bq_reader *reader, uint8_t *out, uint32_t count)
{
    uint32_t left = reader->left;
    while (count != 0) {
        if (reader->gap != 0) {
            uint32_t zeros = reader->gap < count ? reader->gap : count;
            memset(out, reader->zero, zeros);
            out += zeros;
            count -= zeros;
            left -= zeros;
            reader->gap -= zeros;
        } else if (reader->flag != 0) {
            int32_t place = bq_next_place(&reader->bits, &reader->code);
            if (place < 0 || reader->bits.count < 0) {
                return BQ_BAD_STREAM;
            }
            *out++ = reader->values[place];
            --count;
            --left;
            reader->flag = 0;
        } else if (next_gap(reader, left) != BQ_OK) {
            return BQ_BAD_STREAM;
        }
    }
    return BQ_OK;
}

const bq_coding bq_sparse = {open_sparse, read_sparse};
