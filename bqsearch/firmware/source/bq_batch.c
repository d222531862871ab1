#include <string.h>

#include "bq.h"

bq_status bq_invoke_batch(uint8_t *arena, const uint8_t *inputs, uint8_t *outputs, uint32_t count)
{
    for (; count != 0; --count) {
        memcpy(arena + bq_model.input, inputs, bq_model.input_bytes);
        bq_status status = bq_invoke_in(arena);
        if (status != BQ_OK) {
            return status;
        }
        memcpy(outputs, arena + bq_model.output, bq_model.output_bytes);
        inputs += bq_model.input_bytes;
        outputs += bq_model.output_bytes;
    }
    return BQ_OK;
}
