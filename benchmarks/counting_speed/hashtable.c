/* Counts every string of 1 to order + 1 bytes in hash tables: the plain loop.
 *
 * One open-addressing table with linear probing for each length. The hash of the last k + 1
 * bytes is made from that of the last k with one addition and one multiplication, and its 64
 * bits stand for the string (which is all that a plain loop checks; the strings themselves are
 * not compared). Tables are given their final size, a power of two of which at most two thirds
 * is used, by the caller, who has looked at the answer: they never grow.
 */
#include <stdint.h>
#include <stdlib.h>

typedef struct {
    uint64_t key;
    uint64_t count;
} slot;

/* Returns the distinct strings of all lengths, or -1 without memory. sums[k] receives the sum
 * of squared counts of strings of k + 1 bytes, by which results are compared. */
int64_t count_strings(const uint8_t *text, int64_t n, int order, const int *log2_slots,
                      int64_t *distinct, uint64_t *sums)
{
    slot *tables[256];
    int64_t total = 0;
    for (int k = 0; k <= order; k++) {
        tables[k] = calloc((size_t)1 << log2_slots[k], sizeof(slot));
        if (!tables[k])
            return -1;
        distinct[k] = 0;
        sums[k] = 0;
    }
    for (int64_t t = 0; t < n; t++) {
        uint64_t key = 0;
        int64_t deepest = t < order ? t : order;
        for (int k = 0; k <= deepest; k++) {
            key = (key + text[t - k] + 1) * 0x9E3779B97F4A7C15ull;
            key ^= key >> 29;
            uint64_t mask = ((uint64_t)1 << log2_slots[k]) - 1;
            uint64_t at = (key * 0xD6E8FEB86659FD93ull) >> (64 - log2_slots[k]);
            slot *table = tables[k];
            while (table[at].count && table[at].key != key)
                at = (at + 1) & mask;
            table[at].key = key;
            table[at].count++;
        }
    }
    for (int k = 0; k <= order; k++) {
        for (int64_t at = 0; at < (int64_t)1 << log2_slots[k]; at++) {
            distinct[k] += tables[k][at].count != 0;
            sums[k] += tables[k][at].count * tables[k][at].count;
        }
        total += distinct[k];
        free(tables[k]);
    }
    return total;
}
