#define BQ_UNSIGNED 0
#define BQ_MODE 1
#define BQ_RUN bq_dense_shift_s8
#include "bq_dense.inc"
