#define BQ_UNSIGNED 1
#define BQ_MODE 1
#define BQ_RUN bq_dense_shift_u8
#include "bq_dense.inc"
