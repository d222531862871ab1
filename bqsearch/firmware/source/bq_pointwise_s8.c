#define BQ_UNSIGNED 0
#define BQ_MODE 0
#include "bq_pointwise.inc"

void BQ_NAME(bq_pointwise)(const bq_layer *layer, int32_t channel, const bq_type *filter, int32_t taps,
                           const bq_type *input, int32_t count, bq_type *output, int32_t step)
{
    const bq_filter prepared = {filter, layer->weight_zero, 0, 1};
    const bq_channel scaling = bq_channel_of(layer, channel);
    pixels(&prepared, &scaling, taps, input, count, output, step);
}
