/* Convolutions and dense layers as nested loops, the way in which TensorFlow Lite Micro's reference kernels for int8 are
 * written: one accumulator, every tap's place tested, the input's offset added to every tap. They take the records of
 * bq_kernels.h and link in place of the runtime's kernels; weights are decoded once, before anything is counted. */
#include <stdlib.h>

#include "bq_kernels.h"
#include "bq_math.h"
#include "model.h"

typedef struct {
    const bq_layer *layer;
    const int8_t *weights;
    const int32_t *bias; /* of the layer, without the input's zero point in it */
} plain_layer;

static plain_layer layers[128];
static int32_t layer_count;

void prepare(void);

static int8_t *decoded(const bq_layer *layer)
{
    int8_t *weights = malloc(layer->weights.count);
    bq_reader reader;
    uint32_t tables[256];
    if (weights == NULL || bq_open(&reader, &layer->weights, (uint8_t *)tables) != BQ_OK ||
        bq_next(&reader, weights, layer->weights.count) != BQ_OK) {
        abort();
    }
    return weights;
}

static void add(const bq_layer *layer, int32_t channels)
{
    int8_t *weights = decoded(layer);
    int32_t *bias = malloc((size_t)channels * sizeof *bias), taps = (int32_t)layer->weights.count / channels;
    if (bias == NULL) {
        abort();
    }
    for (int32_t i = 0; i < channels; ++i) {
        bias[i] = layer->bias[i];
        for (int32_t j = 0; j < taps; ++j) {
            bias[i] += weights[i * taps + j] * layer->input_zero;
        }
    }
    layers[layer_count++] = (plain_layer){layer, weights, bias};
}

static plain_layer plain(const bq_layer *layer)
{
    int32_t i = 0;
    while (layers[i].layer != layer) {
        ++i;
    }
    return layers[i];
}

void prepare(void)
{
    for (uint32_t i = 0; i < bq_model.record_count; ++i) {
        const void *record = bq_model.records[i];
        bq_kernel run = *(const bq_kernel *)record;
        if (run == bq_conv_s8) {
            const bq_convolution *op = record;
            add(&op->layer, op->shape.out_channels);
        } else if (run == bq_depthwise_s8) {
            const bq_depthwise *op = record;
            add(&op->layer, op->shape.out_channels);
        } else if (run == bq_dense_s8) {
            const bq_dense *op = record;
            add(&op->layer, (int32_t)op->units);
        }
    }
}

static int8_t code_of(const bq_layer *layer, int32_t channel, int32_t sum)
{
    int32_t scale = layer->per_channel != 0 ? channel : 0;
    int32_t left = bq_larger(layer->shift[scale], 0);
    int32_t product = bq_high_product(bq_shifted(sum, left), layer->multiplier[scale]);
    int32_t code = bq_divided(product, left - layer->shift[scale]) + layer->output_zero;
    return (int8_t)bq_clamp(code, layer->low, layer->high);
}

static inline int32_t place(int32_t width, int32_t channels, int32_t y, int32_t x, int32_t channel)
{
    return (y * width + x) * channels + channel;
}

bq_status bq_conv_s8(const void *record, uint8_t *arena)
{
    const bq_convolution *op = record;
    const bq_shape shape = op->shape;
    const plain_layer layer = plain(&op->layer);
    const int8_t *input = (const int8_t *)(arena + op->input);
    int8_t *output = (int8_t *)(arena + op->output);
    const int32_t offset = -op->layer.input_zero;
    for (int32_t out_y = 0; out_y < shape.out_height; ++out_y) {
        const int32_t top = out_y * shape.stride_height - shape.pad_top;
        for (int32_t out_x = 0; out_x < shape.out_width; ++out_x) {
            const int32_t left = out_x * shape.stride_width - shape.pad_left;
            for (int32_t channel = 0; channel < shape.out_channels; ++channel) {
                int32_t sum = 0;
                for (int32_t y = 0; y < shape.filter_height; ++y) {
                    const int32_t in_y = top + shape.dilation_height * y;
                    for (int32_t x = 0; x < shape.filter_width; ++x) {
                        const int32_t in_x = left + shape.dilation_width * x;
                        if (in_x < 0 || in_x >= shape.width || in_y < 0 || in_y >= shape.height) {
                            continue;
                        }
                        for (int32_t depth = 0; depth < shape.channels; ++depth) {
                            int32_t value = input[place(shape.width, shape.channels, in_y, in_x, depth)];
                            int32_t row = channel * shape.filter_height + y;
                            int32_t weight = layer.weights[place(shape.filter_width, shape.channels, row, x, depth)];
                            sum += weight * (value + offset);
                        }
                    }
                }
                output[place(shape.out_width, shape.out_channels, out_y, out_x, channel)] =
                    code_of(&op->layer, channel, sum + layer.bias[channel]);
            }
        }
    }
    return BQ_OK;
}

bq_status bq_depthwise_s8(const void *record, uint8_t *arena)
{
    const bq_depthwise *op = record;
    const bq_shape shape = op->shape;
    const plain_layer layer = plain(&op->layer);
    const int8_t *input = (const int8_t *)(arena + op->input);
    int8_t *output = (int8_t *)(arena + op->output);
    const int32_t offset = -op->layer.input_zero, multiplier = shape.out_channels / shape.channels;
    const int32_t taps = shape.filter_height * shape.filter_width;
    for (int32_t out_y = 0; out_y < shape.out_height; ++out_y) {
        const int32_t top = out_y * shape.stride_height - shape.pad_top;
        for (int32_t out_x = 0; out_x < shape.out_width; ++out_x) {
            const int32_t left = out_x * shape.stride_width - shape.pad_left;
            for (int32_t channel = 0; channel < shape.out_channels; ++channel) {
                int32_t sum = 0;
                for (int32_t y = 0; y < shape.filter_height; ++y) {
                    const int32_t in_y = top + shape.dilation_height * y;
                    for (int32_t x = 0; x < shape.filter_width; ++x) {
                        const int32_t in_x = left + shape.dilation_width * x;
                        if (in_x < 0 || in_x >= shape.width || in_y < 0 || in_y >= shape.height) {
                            continue;
                        }
                        int32_t value = input[place(shape.width, shape.channels, in_y, in_x, channel / multiplier)];
                        sum += layer.weights[channel * taps + y * shape.filter_width + x] * (value + offset);
                    }
                }
                output[place(shape.out_width, shape.out_channels, out_y, out_x, channel)] =
                    code_of(&op->layer, channel, sum + layer.bias[channel]);
            }
        }
    }
    return BQ_OK;
}

bq_status bq_dense_s8(const void *record, uint8_t *arena)
{
    const bq_dense *op = record;
    const plain_layer layer = plain(&op->layer);
    const int8_t *input = (const int8_t *)(arena + op->input);
    int8_t *output = (int8_t *)(arena + op->output);
    const int32_t offset = -op->layer.input_zero;
    for (uint32_t unit = 0; unit < op->units; ++unit) {
        int32_t sum = 0;
        for (uint32_t i = 0; i < op->features; ++i) {
            sum += layer.weights[unit * op->features + i] * (input[i] + offset);
        }
        output[unit] = code_of(&op->layer, (int32_t)unit, sum + layer.bias[unit]);
    }
    return BQ_OK;
}
