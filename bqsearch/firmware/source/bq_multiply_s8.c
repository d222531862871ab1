#define BQ_UNSIGNED 0
#include "bq_multiply.inc"
