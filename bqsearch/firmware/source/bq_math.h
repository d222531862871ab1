/* The integer arithmetic of TensorFlow Lite's quantized kernels. Right shifts of negative numbers copy the sign, as in
 * every compiler that the runtime is built with. */
#ifndef BQ_MATH_H
#define BQ_MATH_H

#include <stdint.h>

static inline int32_t bq_smaller(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static inline int32_t bq_larger(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

static inline int32_t bq_clamp(int32_t value, int32_t low, int32_t high)
{
    return bq_smaller(bq_larger(value, low), high);
}

/* Sum and shift that wrap around instead of being undefined: an accumulator is only as sound as the model. */
static inline int32_t bq_sum(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

static inline int32_t bq_shifted(int32_t value, int32_t left)
{
    return (int32_t)((uint32_t)value << left);
}

/* 2 * a * b / 2^32, halves rounded up; not for a = b = -2^31, and no multiplier is negative. */
static inline int32_t bq_high_product(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}

/* value / 2^right, halves rounded away from zero. */
static inline int32_t bq_divided(int32_t value, int32_t right)
{
    int32_t mask = (int32_t)(((uint32_t)1 << right) - 1u);
    return (value >> right) + ((value & mask) > (mask >> 1) + (value < 0));
}

/* value * multiplier * 2^(shift - 31), rounded twice; the product is below 2^30, so that half of 2^right can be added. */
static inline int32_t bq_scaled(int32_t value, int32_t multiplier, int32_t shift)
{
    int32_t left = bq_larger(shift, 0), right = left - shift;
    int32_t product = bq_high_product(bq_shifted(value, left), multiplier);
    int32_t half = (int32_t)((uint32_t)1 << right >> 1), down = right > 0 ? product >> 31 : 0;
    return bq_sum(product, half + down) >> right;
}

#endif
