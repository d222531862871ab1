#define BQ_UNSIGNED 1
#include "bq_multiply.inc"
