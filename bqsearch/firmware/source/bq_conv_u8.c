#define BQ_UNSIGNED 1
#define BQ_MODE 0
#define BQ_RUN bq_conv_u8
#include "bq_conv.inc"
