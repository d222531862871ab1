#define BQ_UNSIGNED 0
#define BQ_MODE 0
#include "bq_chain.inc"
