#define BQ_UNSIGNED 0
#define BQ_MODE 2
#define BQ_RUN bq_conv_binary_s8
#include "bq_conv.inc"
