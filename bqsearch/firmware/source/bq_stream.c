#include "bq_stream.h"

#include <string.h>

bq_status bq_open(bq_reader *reader, const bq_stream *stream, uint8_t *tables)
{
    memset(reader, 0, sizeof *reader);
    if (stream->groups == 0 || stream->inner == 0) {
        return BQ_BAD_STREAM;
    }
    reader->stream = stream;
    reader->bits.at = stream->bytes;
    reader->bits.end = stream->bytes + stream->byte_count;
    reader->left = stream->count;
    reader->zero = stream->zero_byte ^ stream->flip;
    reader->group = (uint32_t)stream->groups - 1u; /* before group 0 */
    return stream->coding->open(reader, tables);
}

/* Go on to the next group, whose codebook is copied to RAM. */
static void next_group(bq_reader *reader)
{
    const bq_stream *stream = reader->stream;
    reader->group = reader->group + 1u == stream->groups ? 0u : reader->group + 1u;
    reader->run = stream->groups == 1u ? reader->left : stream->inner;
    for (uint32_t i = 0; i < reader->symbols; ++i) {
        reader->values[i] = reader->books[reader->group * reader->symbols + i] ^ stream->flip;
    }
}

bq_status bq_next(bq_reader *reader, void *out, uint32_t count)
{
    uint8_t *to = out;
    if (count > reader->left) {
        return BQ_BAD_STREAM;
    }
    while (count != 0) {
        if (reader->run == 0) {
            next_group(reader);
        }
        uint32_t some = count < reader->run ? count : reader->run;
        bq_status status = reader->stream->coding->read(reader, to, some);
        if (status != BQ_OK) {
            return status;
        }
        to += some;
        count -= some;
        reader->run -= some;
        reader->left -= some;
    }
    if (reader->left == 0 && (reader->bits.end != reader->bits.at || reader->bits.count < 0 || reader->bits.count > 7)) {
        return BQ_BAD_STREAM; /* it should end here, but for the bits that fill its last byte */
    }
    return BQ_OK;
}
