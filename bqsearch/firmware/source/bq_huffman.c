#include "bq_code.h"

static bq_status open_huffman(bq_reader *reader, uint8_t *tables)
{
    const bq_stream *stream = reader->stream;
    uint32_t end = bq_open_code(&reader->code, stream->table, stream->table_count, stream->groups, tables);
    if (end == 0 || end != stream->table_count) {
        return BQ_BAD_STREAM;
    }
    reader->books = stream->table + 1 + reader->code.longest;
    reader->symbols = reader->code.symbols;
    reader->values = tables + BQ_LOOKUP_BYTES;
    return BQ_OK;
}

static bq_status read_huffman(bq_reader *reader, uint8_t *out, uint32_t count)
{
    const uint8_t *values = reader->values;
    bq_bits bits = reader->bits;
    for (; count != 0; --count) {
        int32_t place = bq_next_place(&bits, &reader->code);
        if (place < 0) {
            return BQ_BAD_STREAM;
        }
        *out++ = values[place];
    }
    reader->bits = bits;
    return bits.count < 0 ? BQ_BAD_STREAM : BQ_OK;
}

const bq_coding bq_huffman = {open_huffman, read_huffman};
