/* Inner products, in three ways: BQ_MODE says how a weight's byte in scratch meets an input. Each sum is of TERM(w, x).
 *
 *     BQ_MULTIPLY  the weight itself, TERM = (w - weight zero) * x
 *     BQ_SHIFT     sign, a mark for 3 * 2^n, a mark for 0, and n; TERM = +-x << n, less 1 where the sign is minus
 *     BQ_BINARY    0 or -1 for plus or minus; TERM = +-x, less 1 where the sign is minus
 *
 * Of the last two, `ones` counts what is missing: the minus signs among the taps. */
#ifndef BQ_DOT_H
#define BQ_DOT_H

#include "bq_type.h"

#define BQ_MULTIPLY 0
#define BQ_SHIFT 1
#define BQ_BINARY 2

#if BQ_MODE == BQ_MULTIPLY
typedef bq_type bq_weight;
#if BQ_UNSIGNED
#define BQ_WEIGHT(w) ((int32_t)(w)-zero)
#else
#define BQ_WEIGHT(w) ((int32_t)(w))
#endif
#define BQ_TERM(w, x) ((w) * (x))
#else
typedef int8_t bq_weight;
#define BQ_WEIGHT(w) ((int32_t)(w))
#if BQ_MODE == BQ_BINARY
#define BQ_TERM(w, x) ((w) ^ (x))
#else
#define BQ_TERM(w, x) bq_shift_term(w, x)
#define BQ_TRIPLE 0x10
#define BQ_ZERO 0x20

static inline int32_t bq_shift_term(int32_t weight, int32_t input)
{
    if ((weight & (BQ_TRIPLE | BQ_ZERO)) != 0) {
        input = (weight & BQ_ZERO) != 0 ? 0 : 3 * input;
    }
    return bq_shifted(input, weight & 15) ^ (weight >> 31);
}
#endif
#endif

/* A filter as the kernel has it. */
typedef struct {
    const bq_weight *taps;
    int32_t zero;  /* of uint8 weights that are multiplied */
    int32_t ones;  /* see above, of all taps */
    int32_t scale; /* binary: what the sum is to be multiplied by */
} bq_filter;

static inline int32_t bq_total(const bq_filter *filter, int32_t sum)
{
#if BQ_MODE == BQ_MULTIPLY
    (void)filter;
    return sum;
#else
    return (sum + filter->ones) * filter->scale;
#endif
}

/* Two inner products. */
typedef struct {
    int32_t first;
    int32_t second;
} bq_pair;

/* How two inner products go over their inputs: `lines` times `count` weights, the inputs `down` further each time. */
typedef struct {
    int32_t count;
    int32_t lines;
    int32_t down;
    int32_t zero;
} bq_path;

/* Inner loops are functions of their own, for within others compilers run out of registers. Those that multiply are
 * shared by all kernels. */
#if BQ_MODE == BQ_MULTIPLY
#define bq_dot BQ_NAME(bq_dot)
#define bq_dot_pair BQ_NAME(bq_dot_pair)
#define bq_pixels BQ_NAME(bq_pixels)
#define BQ_LOOP
#else
#define BQ_LOOP static __attribute__((noinline, unused))
#endif

BQ_LOOP int32_t bq_dot(const bq_weight *w, const bq_type *x, int32_t count, int32_t zero);

/* Two inner products with the same weights. */
BQ_LOOP bq_pair bq_dot_pair(const bq_path *path, const bq_weight *w, const bq_type *x, const bq_type *y);

/* One filter of a pointwise convolution over `count` pixels of `taps` inputs each; codes are written `step` apart. */
BQ_LOOP void bq_pixels(const bq_filter *filter, const bq_channel *channel, int32_t taps, const bq_type *input,
                       int32_t count, bq_type *output, int32_t step);

#if BQ_MODE != BQ_MULTIPLY
#include "bq_loops.inc"
#endif

/* An inner product with one and the same input: that of the padding. */
static inline int32_t bq_dot_constant(const bq_weight *w, int32_t x, int32_t count, int32_t zero)
{
    int32_t sum = 0;
    (void)zero;
    for (; count > 0; --count) {
        sum += BQ_TERM(BQ_WEIGHT(*w), x);
        ++w;
    }
    return sum;
}

/* The decoded filter of a channel, made fit for BQ_TERM where it lies. */
static inline bq_filter bq_prepared(void *decoded, int32_t count, const bq_layer *layer)
{
    bq_filter made = {decoded, layer->weight_zero, 0, 1};
#if BQ_MODE != BQ_MULTIPLY
    const bq_type *codes = decoded;
    bq_weight *taps = decoded;
    for (int32_t i = 0; i < count; ++i) {
        int32_t weight = codes[i] - layer->weight_zero, size = weight < 0 ? -weight : weight;
        made.ones += weight < 0;
#if BQ_MODE == BQ_BINARY
        made.scale = size;
        taps[i] = weight < 0 ? -1 : 0;
#else
        int32_t tap = size == 0 ? BQ_ZERO : 0;
        for (; size > 3 || size == 2; size >>= 1) {
            ++tap;
        }
        tap |= size == 3 ? BQ_TRIPLE : 0;
        taps[i] = (int8_t)(weight < 0 ? tap - 128 : tap);
#endif
    }
#else
    (void)count;
#endif
    return made;
}

#endif
