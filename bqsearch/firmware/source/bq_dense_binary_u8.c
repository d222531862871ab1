#define BQ_UNSIGNED 1
#define BQ_MODE 2
#define BQ_RUN bq_dense_binary_u8
#include "bq_dense.inc"
