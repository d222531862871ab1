#include <string.h>

#include "bq_kernels.h"

bq_status bq_pad(const void *record, uint8_t *arena)
{
    const bq_margins *op = record;
    const uint8_t *input = arena + op->input;
    uint8_t *output = arena + op->output;
    memset(output, op->code, op->out_size[0] * op->out_size[1] * op->out_size[2]);
    for (uint32_t y = 0; y < op->size[0]; ++y) {
        uint8_t *row = output + (y + op->before[0]) * op->out_size[1] * op->out_size[2];
        for (uint32_t x = 0; x < op->size[1]; ++x, input += op->size[2]) {
            memcpy(row + (x + op->before[1]) * op->out_size[2] + op->before[2], input, op->size[2]);
        }
    }
    return BQ_OK;
}
