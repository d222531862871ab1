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

/* One channel's part of a layer, ready for its accumulators. Kernels keep it as a variable of their own: a store of an
 * 8-bit code could change anything that lies elsewhere. */
typedef struct {
    int32_t bias;
    int32_t multiplier;
    int32_t left;
    int32_t right;
    int32_t half; /* 2^right / 2, */
    int32_t down; /* and -1 where there is such a half, which negative numbers round the other way */
    int32_t zero;
    int32_t low;
    int32_t high;
} bq_channel;

static inline bq_channel bq_channel_of(const bq_layer *layer, int32_t channel)
{
    int32_t scale = layer->per_channel != 0 ? channel : 0, shift = layer->shift[scale];
    int32_t left = bq_larger(shift, 0), right = left - shift;
    bq_channel made = {
        .bias = layer->bias[channel],
        .multiplier = layer->multiplier[scale],
        .left = left,
        .right = right,
        .half = (int32_t)((uint32_t)1 << right >> 1),
        .down = right > 0 ? -1 : 0,
        .zero = layer->output_zero,
        .low = layer->low,
        .high = layer->high,
    };
    return made;
}

/* The code of an accumulator: of a depthwise convolution, or of any other layer. TensorFlow Lite's matrix products of
 * uint8, unlike the rest, round all halves up. */
static inline bq_type bq_code_of(const bq_channel *channel, int32_t sum, int depthwise)
{
    int32_t whole = bq_shifted(bq_sum(channel->bias, sum), channel->left);
    int32_t product = bq_high_product(whole, channel->multiplier);
    int32_t nudge = BQ_UNSIGNED && !depthwise ? channel->half : channel->half + ((product >> 31) & channel->down);
    int32_t scaled = bq_sum(product, nudge) >> channel->right;
    return (bq_type)bq_clamp(bq_sum(scaled, channel->zero), channel->low, channel->high);
}

/* The rows of one channel that a depthwise convolution has at hand, the padding included: a ring of slots. */
typedef struct {
    bq_type *rows;
    int32_t slots;
    int32_t width;
    int32_t next; /* the next row to come in, counted from the top of the padding, */
    int32_t slot; /* and its slot; once all slots are full, that of the oldest row */
} bq_window;

/* Some slots behind another, where a ring has so many. */
static inline int32_t bq_slot_behind(const bq_window *window, int32_t slot, int32_t steps)
{
    slot += steps;
    return slot < window->slots ? slot : slot - window->slots;
}

/* The place for the next row. */
static inline bq_type *bq_new_row(bq_window *window)
{
    bq_type *row = window->rows + window->slot * window->width;
    window->slot = bq_slot_behind(window, window->slot, 1);
    ++window->next;
    return row;
}

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

/* One output row of one channel, from a full window. */
void BQ_NAME(bq_window_row)(const bq_channel *channel, const bq_shape *shape, const bq_type *filter, int32_t zero,
                            const bq_window *window, bq_type *output, int32_t step);

#endif
