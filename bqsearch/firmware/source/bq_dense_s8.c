#define BQ_UNSIGNED 0
#define BQ_MODE 0
#define BQ_RUN bq_dense_s8
#include "bq_dense.inc"
