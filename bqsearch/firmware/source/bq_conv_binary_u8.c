#define BQ_UNSIGNED 1
#define BQ_MODE 2
#define BQ_RUN bq_conv_binary_u8
#include "bq_conv.inc"
