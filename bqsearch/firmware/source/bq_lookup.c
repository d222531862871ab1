#include "bq_kernels.h"

bq_status bq_lookup(const void *record, uint8_t *arena)
{
    const bq_map *op = record;
    const uint8_t *input = arena + op->input;
    uint8_t *output = arena + op->output;
    for (uint32_t i = 0; i < op->count; ++i) {
        output[i] = op->table[input[i]];
    }
    return BQ_OK;
}
