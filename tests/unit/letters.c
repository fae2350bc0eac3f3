/* rooms: filter */
/* Runs of letters: sixteen bytes at a time says the same as byte by byte, whatever the bytes, and reads nothing behind the text. */
#include "filter/letters.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t state = 20261130;

static unsigned chance(unsigned n)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (unsigned)(state >> 33) % n;
}

static bool is_one(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void every_byte_is_told(void **unused)
{
    (void)unused;
    char text[40];
    for (unsigned c = 0; c < 256; c++)
        for (size_t at = 0; at < sizeof text; at++) {
            memset(text, 'q', sizeof text);
            text[at] = (char)c;
            assert_int_equal(vs_letters_end(text, sizeof text, 0), is_one((uint8_t)c) ? sizeof text : at);
        }
}

/* Texts in memory of their own, so that a sanitizer sees what is read too much. */
static void runs_and_keys_are_the_same(void **unused)
{
    (void)unused;
    static const char some[] = "abcXYZ019 @[`{\x80\xe1\xff_-";
    for (unsigned round = 0; round < 20000; round++) {
        size_t n = chance(50), i = n ? chance((unsigned)n) : 0, end = i;
        char *text = malloc(n + !n);
        assert_non_null(text);
        for (size_t k = 0; k < n; k++)
            text[k] = chance(9) ? (char)('a' + (int)chance(26) - 32 * (int)chance(2)) : some[chance(sizeof some - 1)];
        while (end < n && is_one((uint8_t)text[end]))
            end++;
        assert_int_equal(vs_letters_end(text, n, i), end);
        uint64_t key = 0;
        for (size_t k = i; k < end && k < i + 8; k++)
            key |= (uint64_t)((uint8_t)text[k] | 0x20) << 8 * (k - i);
        assert_true(vs_letters_key(text + i, end - i, n - i) == key);
        assert_true(vs_letters_key(text + i, end - i, end - i) == key);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_is_told),
        cmocka_unit_test(runs_and_keys_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
