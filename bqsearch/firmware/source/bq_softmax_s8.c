#include "bq_kernels.h"
#include "bq_math.h"

/* Fixed-point numbers: Qn has n bits before the point, a sign, and the rest behind it. */
#define BQ_DIFFERENCE_BITS 5
#define BQ_SUM_BITS 12
#define BQ_ONE INT32_MAX /* of Q0 */

/* value * 2^left, saturated. */
static int32_t saturated(int32_t value, int32_t left)
{
    int32_t limit = (int32_t)(((uint32_t)1 << (31 - left)) - 1u);
    return value > limit ? INT32_MAX : value < -limit ? INT32_MIN : bq_shifted(value, left);
}

/* exp(x) for x of Q0 from -1/4 up to 0: a Taylor polynomial about -1/8. */
static int32_t exp_of_quarter(int32_t x)
{
    int32_t from = x + ((int32_t)1 << 28), square = bq_high_product(from, from);
    int32_t cube = bq_high_product(square, from), fourth = bq_divided(bq_high_product(square, square), 2);
    int32_t rest = bq_divided(bq_high_product(fourth + cube, 715827883) + square, 1); /* 1/3 */
    return 1895147668 + bq_high_product(1895147668, from + rest);                     /* exp(-1/8) */
}

/* exp(x) for x of Q5 up to 0, as Q0. */
static int32_t exp_of(int32_t x)
{
    static const int32_t powers[] = {/* exp(-2^i) for i from -2 on */
                                     1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    int32_t quarter = (int32_t)1 << 24, part = (x & (quarter - 1)) - quarter, rest = part - x;
    int32_t power = exp_of_quarter(saturated(part, BQ_DIFFERENCE_BITS));
    for (int32_t i = 0; i < 7; ++i) {
        if ((rest >> (24 + i) & 1) != 0) {
            power = bq_high_product(power, powers[i]);
        }
    }
    return x == 0 ? BQ_ONE : power;
}

/* 1 / (1 + x) for x of Q0 from 0 to 1, as Q0: three steps of Newton and Raphson on Q2. */
static int32_t reciprocal(int32_t x)
{
    int32_t half = (int32_t)(((int64_t)x + BQ_ONE + 1) / 2);
    int32_t y = 1515870810 + bq_high_product(half, -1010580540); /* 48/17 - 32/17 * half */
    for (int32_t i = 0; i < 3; ++i) {
        y += saturated(bq_high_product(y, ((int32_t)1 << 29) - bq_high_product(half, y)), 2);
    }
    return saturated(y, 1);
}

static int32_t difference(const bq_softmax *op, int32_t below)
{
    return bq_high_product(bq_shifted(below, op->shift), op->multiplier);
}

static void row_of(const bq_softmax *op, const int8_t *input, int8_t *output)
{
    int32_t most = INT8_MIN, sum = 0, zeros = 0;
    for (uint32_t i = 0; i < op->depth; ++i) {
        most = bq_larger(most, input[i]);
    }
    for (uint32_t i = 0; i < op->depth; ++i) {
        if (input[i] - most >= op->least) {
            sum = bq_sum(sum, bq_divided(exp_of(difference(op, input[i] - most)), BQ_SUM_BITS));
        }
    }
    while (zeros < 31 && ((uint32_t)sum << zeros & (uint32_t)1 << 31) == 0) {
        ++zeros;
    }
    int32_t scale = reciprocal((int32_t)(((uint32_t)sum << zeros) - ((uint32_t)1 << 31)));
    int32_t right = BQ_SUM_BITS - zeros + 31 - 8;
    for (uint32_t i = 0; i < op->depth; ++i) {
        int32_t below = input[i] - most, code = INT8_MIN;
        if (below >= op->least && right <= 31) { /* beyond 31 bits, all results are 0 */
            code += bq_divided(bq_high_product(scale, exp_of(difference(op, below))), right);
        }
        output[i] = (int8_t)bq_smaller(code, INT8_MAX);
    }
}

bq_status bq_softmax_s8(const void *record, uint8_t *arena)
{
    const bq_softmax *op = record;
    for (uint32_t i = 0; i < op->rows; ++i) {
        row_of(op, (const int8_t *)(arena + op->input + i * op->depth), (int8_t *)(arena + op->output + i * op->depth));
    }
    return BQ_OK;
}
