#define BQ_UNSIGNED 0
#define BQ_MODE 2
#define BQ_RUN bq_dense_binary_s8
#include "bq_dense.inc"
