#include "bq_index.h"

static bq_status open_packed(bq_reader *reader, uint8_t *tables)
{
    return bq_open_books(reader, tables, 128);
}

/* Pairs of 4-bit indices, from a byte's begin. */
static bq_status read_nibbles(bq_reader *reader, uint8_t *out, uint32_t pairs)
{
    const uint8_t *values = reader->values, *from = reader->bits.at;
    uint32_t symbols = reader->symbols;
    if (pairs > (uint32_t)(reader->bits.end - from)) {
        return BQ_BAD_STREAM;
    }
    reader->bits.at += pairs;
    for (; pairs != 0; --pairs, out += 2) {
        uint32_t both = *from++, high = both >> 4, low = both & 15u;
        if (high >= symbols || low >= symbols) {
            return BQ_BAD_STREAM;
        }
        out[0] = values[high];
        out[1] = values[low];
    }
    return BQ_OK;
}

static bq_status read_packed(bq_reader *reader, uint8_t *out, uint32_t count)
{
    while (count != 0) {
        if (reader->width == 4 && reader->bits.count == 0 && count > 1) {
            if (read_nibbles(reader, out, count / 2) != BQ_OK) {
                return BQ_BAD_STREAM;
            }
            out += count & ~(uint32_t)1;
            count &= 1u;
        } else {
            if (bq_next_value(reader, out) != BQ_OK) {
                return BQ_BAD_STREAM;
            }
            ++out;
            --count;
        }
    }
    return BQ_OK;
}

const bq_coding bq_packed = {open_packed, read_packed};
