#include "bq_stream.h"

static bq_status open_raw(bq_reader *reader, uint8_t *tables)
{
    (void)tables;
    return reader->stream->table_count == 0 ? BQ_OK : BQ_BAD_STREAM;
}

static bq_status read_raw(bq_reader *reader, uint8_t *out, uint32_t count)
{
    if (count > (uint32_t)(reader->bits.end - reader->bits.at)) {
        return BQ_BAD_STREAM;
    }
    const uint8_t *from = reader->bits.at;
    uint8_t flip = reader->stream->flip;
    reader->bits.at += count;
    for (; count >= 4; count -= 4, from += 4, out += 4) {
        uint8_t a = from[0], b = from[1], c = from[2], d = from[3];
        out[0] = a ^ flip;
        out[1] = b ^ flip;
        out[2] = c ^ flip;
        out[3] = d ^ flip;
    }
    for (; count != 0; --count) {
        *out++ = *from++ ^ flip;
    }
    return BQ_OK;
}

const bq_coding bq_raw = {open_raw, read_raw};
