#include <string.h>

#include "bq_kernels.h"

bq_status bq_concatenation(const void *record, uint8_t *arena)
{
    const bq_join *op = record;
    uint8_t *output = arena + op->output;
    for (uint32_t i = 0; i < op->outer; ++i) {
        for (const bq_part *part = op->parts; part != op->parts + op->part_count; ++part) {
            const uint8_t *input = arena + part->offset + i * part->bytes;
            if (part->table == NULL) {
                memmove(output, input, part->bytes);
            } else {
                for (uint32_t j = 0; j < part->bytes; ++j) {
                    output[j] = part->table[input[j]];
                }
            }
            output += part->bytes;
        }
    }
    return BQ_OK;
}
