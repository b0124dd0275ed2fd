/* The peer: skip-bigram counting, offset by offset, as one writes it in C. */
#include <stddef.h>
#include <stdint.h>

void count_pairs(const uint8_t *restrict data, size_t n, size_t distance,
                 uint32_t *restrict table)
{
    for (size_t i = 0; i + distance < n; i++)
        table[(size_t)data[i] * 256 + data[i + distance]]++;
}
