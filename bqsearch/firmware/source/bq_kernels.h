/* Operators' records, as model.c holds them, and their kernels.
 *
 * Kernels come for int8 (`_s8`) and for uint8 with a zero point of the weights (`_u8`), bit for bit as TensorFlow Lite
 * Micro's, and as TensorFlow Lite's for uint8. `input`, `output` and the scratch buffers (see hardware/scratch.py) are
 * offsets into the arena. Tensors lie as height, width, channels. */
#ifndef BQ_KERNELS_H
#define BQ_KERNELS_H

#include "bq.h"
#include "bq_stream.h"

#define BQ_NONE UINT32_MAX /* the offset of a buffer that is not there */

/* Weights, and how accumulators become codes: per channel where `per_channel` is 1, else by the first of each. */
typedef struct {
    bq_stream weights;
    const int32_t *bias; /* less input_zero times the sum of the channel's weights */
    const int32_t *multiplier;
    const int8_t *shift; /* to the left */
    int16_t input_zero;
    int16_t weight_zero;
    int16_t output_zero;
    int16_t low;
    int16_t high;
    uint8_t per_channel;
} bq_layer;

/* A filter's ways over its input. */
typedef struct {
    uint16_t height;
    uint16_t width;
    uint16_t channels;
    uint16_t out_height;
    uint16_t out_width;
    uint16_t out_channels;
    uint8_t filter_height;
    uint8_t filter_width;
    uint8_t stride_height;
    uint8_t stride_width;
    uint8_t dilation_height;
    uint8_t dilation_width;
    uint16_t pad_top;
    uint16_t pad_left;
} bq_shape;

/* CONV_2D, `rows` output rows at a time; they go to `strip` first, unless that is BQ_NONE. */
typedef struct {
    bq_kernel run;
    uint32_t input;
    uint32_t output;
    uint32_t filter;
    uint32_t tables;
    uint32_t strip;
    uint16_t rows;
    bq_shape shape;
    bq_layer layer;
} bq_convolution;

bq_status bq_conv_s8(const void *record, uint8_t *arena);
bq_status bq_conv_u8(const void *record, uint8_t *arena);
bq_status bq_conv_shift_s8(const void *record, uint8_t *arena); /* weights 0, +-2^n or +-3 * 2^n */
bq_status bq_conv_shift_u8(const void *record, uint8_t *arena);
bq_status bq_conv_binary_s8(const void *record, uint8_t *arena); /* weights +-a, a for each channel */
bq_status bq_conv_binary_u8(const void *record, uint8_t *arena);

/* DEPTHWISE_CONV_2D; the output may lie where the input does, if no dimension is larger. */
typedef struct {
    bq_kernel run;
    uint32_t input;
    uint32_t output;
    uint32_t filter;
    uint32_t tables;
    uint32_t window;
    bq_shape shape;
    bq_layer layer;
} bq_depthwise;

bq_status bq_depthwise_s8(const void *record, uint8_t *arena);
bq_status bq_depthwise_u8(const void *record, uint8_t *arena);

/* CONV_2D 1x1 (expand), DEPTHWISE_CONV_2D, CONV_2D 1x1 (project), `rows` output rows at a time; `shape` is the depthwise
 * convolution's. Expand and project may be missing: their weights have no coding. Without project, rows go to `strip`
 * first, unless that is BQ_NONE. */
typedef struct {
    bq_kernel run;
    uint32_t input;
    uint32_t output;
    uint32_t filter;
    uint32_t depthwise_filter;
    uint32_t tables;
    uint32_t depthwise_tables;
    uint32_t window;
    uint32_t carry;
    uint32_t strip;
    uint16_t rows;
    uint16_t in_channels;  /* before expand */
    uint16_t out_channels; /* behind project */
    bq_shape shape;
    bq_layer expand;
    bq_layer depthwise;
    bq_layer project;
} bq_chain;

bq_status bq_chain_s8(const void *record, uint8_t *arena);
bq_status bq_chain_u8(const void *record, uint8_t *arena);

/* FULLY_CONNECTED of one row of features. */
typedef struct {
    bq_kernel run;
    uint32_t input;
    uint32_t output;
    uint32_t filter;
    uint32_t tables;
    uint32_t features;
    uint32_t units;
    uint32_t block; /* weights that are decoded at a time */
    bq_layer layer;
} bq_dense;

bq_status bq_dense_s8(const void *record, uint8_t *arena);
bq_status bq_dense_u8(const void *record, uint8_t *arena);
bq_status bq_dense_shift_s8(const void *record, uint8_t *arena);
bq_status bq_dense_shift_u8(const void *record, uint8_t *arena);
bq_status bq_dense_binary_s8(const void *record, uint8_t *arena);
bq_status bq_dense_binary_u8(const void *record, uint8_t *arena);

/* ADD; the output may lie where either input does. */
typedef struct {
    bq_kernel run;
    uint32_t input[2];
    uint32_t output;
    uint32_t count;
    int32_t multiplier[2];
    int32_t out_multiplier;
    int8_t shift[2];
    int8_t out_shift;
    int16_t zero[2];
    int16_t out_zero;
    int16_t low;
    int16_t high;
} bq_addition;

bq_status bq_add_s8(const void *record, uint8_t *arena);
bq_status bq_add_u8(const void *record, uint8_t *arena);

/* MUL; the output may lie where either input does. */
typedef struct {
    bq_kernel run;
    uint32_t input[2];
    uint32_t output;
    uint32_t count;
    int32_t multiplier;
    int8_t shift;
    int16_t zero[2];
    int16_t out_zero;
    int16_t low;
    int16_t high;
} bq_product;

bq_status bq_multiply_s8(const void *record, uint8_t *arena);
bq_status bq_multiply_u8(const void *record, uint8_t *arena);

/* AVERAGE_POOL_2D and MAX_POOL_2D, `rows` output rows at a time, by way of `strip` as a convolution. */
typedef struct {
    bq_kernel run;
    uint32_t input;
    uint32_t output;
    uint32_t strip;
    uint16_t rows;
    bq_shape shape;
    int16_t low;
    int16_t high;
} bq_pool;

bq_status bq_average_s8(const void *record, uint8_t *arena);
bq_status bq_average_u8(const void *record, uint8_t *arena);
bq_status bq_max_s8(const void *record, uint8_t *arena);
bq_status bq_max_u8(const void *record, uint8_t *arena);

/* MEAN over the middle dimension of `outer` x `count` x `inner`. */
typedef struct {
    bq_kernel run;
    uint32_t input;
    uint32_t output;
    uint32_t outer;
    uint32_t count;
    uint32_t inner;
    int32_t multiplier;
    int8_t shift;
    int16_t input_zero;
    int16_t output_zero;
} bq_average_over;

bq_status bq_mean_s8(const void *record, uint8_t *arena);
bq_status bq_mean_u8(const void *record, uint8_t *arena);

/* SOFTMAX of int8 over the last dimension. */
typedef struct {
    bq_kernel run;
    uint32_t input;
    uint32_t output;
    uint32_t rows;
    uint32_t depth;
    int32_t multiplier;
    int8_t shift;
    int16_t least; /* differences from the largest code below this one count as nothing */
} bq_softmax;

bq_status bq_softmax_s8(const void *record, uint8_t *arena);

/* SOFTMAX of uint8 over the last dimension, in the float arithmetic of TensorFlow Lite's kernel. */
typedef struct {
    bq_kernel run;
    uint32_t input;
    uint32_t output;
    uint32_t rows;
    uint32_t depth;
    const float *powers; /* of the exponential, by 255 less the difference from the largest code */
    float scale;         /* of the output */
    int16_t zero;
} bq_softmax_table;

bq_status bq_softmax_u8(const void *record, uint8_t *arena);

/* An operator that maps each code by itself (RELU, RELU6, LOGISTIC, QUANTIZE): codes as bytes look up their results. */
typedef struct {
    bq_kernel run;
    uint32_t input;
    uint32_t output;
    uint32_t count;
    const uint8_t *table;
} bq_map;

bq_status bq_lookup(const void *record, uint8_t *arena);

/* CONCATENATION: `outer` times `bytes` of every input, one behind the other. */
typedef struct {
    uint32_t offset;
    uint32_t bytes;
    const uint8_t *table; /* NULL where codes stay as they are */
} bq_part;

typedef struct {
    bq_kernel run;
    uint32_t output;
    uint32_t outer;
    const bq_part *parts;
    uint32_t part_count;
} bq_join;

bq_status bq_concatenation(const void *record, uint8_t *arena);

/* PAD of height, width and channels with a code. */
typedef struct {
    bq_kernel run;
    uint32_t input;
    uint32_t output;
    uint32_t size[3];
    uint32_t before[3];
    uint32_t out_size[3];
    uint8_t code;
} bq_margins;

bq_status bq_pad(const void *record, uint8_t *arena);

#endif
