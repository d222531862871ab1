/* One source for int8 and uint8: a file defines BQ_UNSIGNED as 0 or 1, and then includes a kernel's source. */
#ifndef BQ_TYPE_H
#define BQ_TYPE_H

#include "bq_kernels.h"
#include "bq_math.h"

#if BQ_UNSIGNED
typedef uint8_t bq_type;
#define BQ_NAME(name) name##_u8
#define BQ_LOWEST 0
#else
typedef int8_t bq_type;
#define BQ_NAME(name) name##_s8
#define BQ_LOWEST (-128)
#endif

/* One channel's part of a layer. */
typedef struct {
    int32_t bias;
    int32_t multiplier;
    int32_t shift;
    int32_t zero;
    int32_t low;
    int32_t high;
} bq_channel;

static inline bq_channel bq_channel_of(const bq_layer *layer, int32_t channel)
{
    int32_t scale = layer->per_channel != 0 ? channel : 0;
    bq_channel made = {layer->bias[channel], layer->multiplier[scale], layer->shift[scale], layer->output_zero,
                       layer->low,           layer->high};
    return made;
}

static inline bq_type bq_limited(const bq_channel *channel, int32_t scaled)
{
    return (bq_type)bq_clamp(bq_sum(scaled, channel->zero), channel->low, channel->high);
}

/* The code of a depthwise convolution's accumulator. */
static inline bq_type bq_depthwise_code(const bq_channel *channel, int32_t sum)
{
    return bq_limited(channel, bq_scaled(bq_sum(channel->bias, sum), channel->multiplier, channel->shift));
}

/* The code of any other accumulator. TensorFlow Lite's matrix products of uint8, unlike the rest, round all halves up. */
static inline bq_type bq_code_of(const bq_channel *channel, int32_t sum)
{
#if BQ_UNSIGNED
    return bq_limited(channel, bq_scaled_up(bq_sum(channel->bias, sum), channel->multiplier, channel->shift));
#else
    return bq_depthwise_code(channel, sum);
#endif
}

/* One filter of a pointwise convolution over `count` pixels of `taps` inputs each; codes are written `step` apart. */
void BQ_NAME(bq_pointwise)(const bq_layer *layer, int32_t channel, const bq_type *filter, int32_t taps,
                           const bq_type *input, int32_t count, bq_type *output, int32_t step);

/* The rows of one channel that a depthwise convolution has at hand: row y of the padded channel lies in slot y modulo
 * the number of slots. */
typedef struct {
    bq_type *rows;
    int32_t slots;
    int32_t width;
    int32_t next; /* the first padded row that is not there yet */
} bq_window;

/* The shape of a depthwise convolution's window. */
static inline int32_t bq_window_slots(const bq_shape *shape)
{
    return (shape->filter_height - 1) * shape->dilation_height + 1;
}

static inline int32_t bq_window_width(const bq_shape *shape)
{
    return (shape->out_width - 1) * shape->stride_width + (shape->filter_width - 1) * shape->dilation_width + 1;
}

/* Columns of the input that a window holds, from `pad_left` on. */
static inline int32_t bq_window_columns(const bq_shape *shape)
{
    return bq_smaller(shape->width, bq_window_width(shape) - shape->pad_left);
}

/* One output row of one channel, from the padded row `first` on. */
void BQ_NAME(bq_window_row)(const bq_layer *layer, int32_t channel, const bq_shape *shape, const bq_type *filter,
                            const bq_window *window, int32_t first, bq_type *output, int32_t step);

#endif
