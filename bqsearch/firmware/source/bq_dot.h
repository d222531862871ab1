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

/* Inner loops are functions of their own: within others, compilers run out of registers. */
#define BQ_APART __attribute__((noinline))

static BQ_APART int32_t bq_dot(const bq_weight *w, const bq_type *x, int32_t count, int32_t zero)
{
    int32_t sum = 0;
    (void)zero;
    for (; count >= 8; count -= 8, w += 8, x += 8) {
        sum += BQ_TERM(BQ_WEIGHT(w[0]), x[0]);
        sum += BQ_TERM(BQ_WEIGHT(w[1]), x[1]);
        sum += BQ_TERM(BQ_WEIGHT(w[2]), x[2]);
        sum += BQ_TERM(BQ_WEIGHT(w[3]), x[3]);
        sum += BQ_TERM(BQ_WEIGHT(w[4]), x[4]);
        sum += BQ_TERM(BQ_WEIGHT(w[5]), x[5]);
        sum += BQ_TERM(BQ_WEIGHT(w[6]), x[6]);
        sum += BQ_TERM(BQ_WEIGHT(w[7]), x[7]);
    }
    for (; count > 0; --count) {
        sum += BQ_TERM(BQ_WEIGHT(*w), *x);
        ++w;
        ++x;
    }
    return sum;
}

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
