#define BQ_UNSIGNED 1
#define BQ_MODE 0
#include "bq_dot.h"
#include "bq_loops.inc"
