#include "bq.h"

#include <string.h>

void bq_init(void)
{
    memset(bq_model.arena, 0, bq_model.arena_bytes);
}

void *bq_input(void)
{
    return bq_model.arena + bq_model.input;
}

const void *bq_output(void)
{
    return bq_model.arena + bq_model.output;
}

bq_status bq_invoke(void)
{
    return bq_invoke_in(bq_model.arena);
}

bq_status bq_invoke_in(uint8_t *arena)
{
    for (uint32_t i = 0; i < bq_model.record_count; ++i) {
        const void *record = bq_model.records[i];
        bq_status status = (*(const bq_kernel *)record)(record, arena);
        if (status != BQ_OK) {
            return status;
        }
    }
    return BQ_OK;
}
