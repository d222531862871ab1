#include "bq_code.h"

#include <string.h>

#define BQ_MAX_LENGTH 15
#define BQ_MAX_SYMBOLS 255u /* that a lookup's entry can name */

uint32_t bq_open_code(bq_code *code, const uint8_t *table, uint32_t table_count, uint32_t groups, uint8_t *lookup)
{
    uint16_t *entries = (uint16_t *)(void *)lookup;
    uint32_t filled = 0, spans = 0;
    if (table_count == 0 || table[0] > BQ_MAX_LENGTH || table[0] + 1u > table_count) {
        return 0;
    }
    code->longest = table[0];
    code->counts = table + 1;
    code->lookup = entries;
    memset(lookup, 0, BQ_LOOKUP_BYTES);
    for (int32_t length = 1; length <= code->longest; ++length) {
        uint32_t count = table[length];
        spans += count << (BQ_MAX_LENGTH - length);
        if (spans > (uint32_t)1 << BQ_MAX_LENGTH || code->symbols + count > BQ_MAX_SYMBOLS) {
            return 0; /* more codewords than there is room for */
        }
        if (length <= BQ_LOOKUP_BITS) {
            for (uint32_t i = 0; i < count; ++i, ++code->symbols) {
                for (uint32_t span = (uint32_t)1 << (BQ_LOOKUP_BITS - length); span != 0; --span) {
                    entries[filled++] = (uint16_t)((uint32_t)length << 8 | code->symbols);
                }
            }
            code->place = (int32_t)code->symbols;
        } else {
            code->symbols += count;
        }
    }
    code->first = (int32_t)filled << 1;
    uint32_t whole = code->symbols == 0 ? 0 : (uint32_t)1 << (BQ_MAX_LENGTH - (code->symbols == 1));
    uint64_t end = 1u + (uint64_t)code->longest + (uint64_t)groups * code->symbols;
    return spans != whole || end > table_count ? 0 : (uint32_t)end;
}

int32_t bq_long_codeword(const bq_code *code, uint32_t window, int32_t *length)
{
    int32_t first = code->first, place = code->place;
    for (int32_t bits = BQ_LOOKUP_BITS + 1; bits <= code->longest; ++bits) {
        int32_t count = code->counts[bits - 1], past = (int32_t)(window >> (32 - bits)) - first;
        if (past < count) {
            *length = bits;
            return place + past;
        }
        place += count;
        first = (first + count) << 1;
    }
    return -1;
}
