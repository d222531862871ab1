/* Runs a network for each input from standard input, in an arena of exactly its size: a status byte, and the output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bq.h"

int main(void)
{
    uint8_t *arena = malloc(bq_model.arena_bytes), *input = malloc(bq_model.input_bytes);
    if (arena == NULL || input == NULL) {
        return 2;
    }
    bq_init();
    while (fread(input, bq_model.input_bytes, 1, stdin) == 1) {
        memset(arena, 0xA5, bq_model.arena_bytes);
        memcpy(arena + bq_model.input, input, bq_model.input_bytes);
        putchar((int)bq_invoke_in(arena));
        fwrite(arena + bq_model.output, bq_model.output_bytes, 1, stdout);
        memcpy(bq_input(), input, bq_model.input_bytes); /* the arena that is built in gives the same */
        bq_status status = bq_invoke();
        if (status == BQ_OK && memcmp(bq_output(), arena + bq_model.output, bq_model.output_bytes) != 0) {
            return 3;
        }
    }
    free(arena);
    free(input);
    return 0;
}
