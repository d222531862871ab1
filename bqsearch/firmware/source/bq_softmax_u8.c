#include "bq_kernels.h"
#include "bq_math.h"

static void row_of(const bq_softmax_table *op, const uint8_t *input, uint8_t *output)
{
    int32_t most = 0;
    float sum = 0.0f;
    for (uint32_t i = 0; i < op->depth; ++i) {
        most = bq_larger(most, input[i]);
    }
    const float *powers = op->powers + (255 - most);
    for (uint32_t i = 0; i < op->depth; ++i) {
        sum += powers[input[i]];
    }
    float scale = 1.0f / (sum * op->scale);
    for (uint32_t i = 0; i < op->depth; ++i) {
        int32_t code = (int32_t)(powers[input[i]] * scale + 0.5f) + op->zero;
        output[i] = (uint8_t)bq_clamp(code, 0, 255);
    }
}

bq_status bq_softmax_u8(const void *record, uint8_t *arena)
{
    const bq_softmax_table *op = record;
    for (uint32_t i = 0; i < op->rows; ++i) {
        row_of(op, arena + op->input + i * op->depth, arena + op->output + i * op->depth);
    }
    return BQ_OK;
}
