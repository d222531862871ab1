/* Decodes cases from standard input, each in memory of exactly its size, so that a sanitizer sees every stray access.
 *
 * A case: coding, groups, inner, count, zero byte, flip, bytes of RAM, weights at a time, bytes of table and of stream
 * (u32 each), then the table and the stream. The answer: a status byte, and `count` codes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bq_stream.h"

static const bq_coding *const CODINGS[] = {&bq_raw, &bq_packed, &bq_huffman, &bq_mask, &bq_sparse};

static uint8_t *take(uint32_t bytes)
{
    uint8_t *made = malloc(bytes != 0 ? bytes : 1);
    if (made == NULL || fread(made, 1, bytes, stdin) != bytes) {
        exit(2);
    }
    return made;
}

static bq_status decode(const bq_stream *stream, uint8_t *tables, uint8_t *out, uint32_t some)
{
    bq_reader reader;
    bq_status status = bq_open(&reader, stream, tables);
    for (uint32_t left = stream->count; status == BQ_OK && left != 0;) {
        uint32_t now = left < some ? left : some;
        status = bq_next(&reader, out, now);
        out += now;
        left -= now;
    }
    return status;
}

int main(void)
{
    uint32_t head[10];
    while (fread(head, sizeof head, 1, stdin) == 1) {
        uint8_t *table = take(head[8]), *bytes = take(head[9]);
        uint8_t *tables = malloc(head[6] != 0 ? head[6] : 1), *out = calloc(head[3] != 0 ? head[3] : 1, 1);
        bq_stream stream = {CODINGS[head[0]], bytes, table, head[9], head[8], head[3], head[2], (uint16_t)head[1],
                            (uint8_t)head[4], (uint8_t)head[5]};
        if (tables == NULL || out == NULL) {
            return 2;
        }
        putchar((int)decode(&stream, tables, out, head[7]));
        fwrite(out, 1, head[3], stdout);
        free(table);
        free(bytes);
        free(tables);
        free(out);
    }
    return 0;
}
