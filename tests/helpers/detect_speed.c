/* How long detectors take for a text: whole by 2 KiB, and streamed by 4 bytes. rooms: filter
 *
 *     detect_speed FILE      nanoseconds for 2 KiB and for a piece of 4 bytes, each detector and all; the least of 5 rounds
 */
#include "filter/control.h"
#include "filter/prompt.h"
#include "filter/protect.h"
#include "filter/secrets.h"
#include "filter/urls.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 2048, PIECE = 4, ROUNDS = 5 };

static size_t n_told;

static void count(void *arg, const struct vs_span *span)
{
    bool *is_open = arg;
    n_told++;
    *is_open |= span->open;
}

static uint64_t whole(const struct vs_detector *d, const char *text, size_t n)
{
    bool is_open = false;
    uint64_t start = vs_clock_ns();
    for (size_t at = 0; at + BLOCK <= n; at += BLOCK)
        d->find(d, text + at, BLOCK, 0, true, count, &is_open);
    return (vs_clock_ns() - start) / (n / BLOCK);
}

static uint64_t streamed(const struct vs_detector *d, const char *text, size_t n)
{
    size_t from = 0, calls = 0;
    uint64_t start = vs_clock_ns();
    for (size_t have = PIECE; have <= n; have += PIECE, calls++) {
        bool is_open = false;
        size_t base = from > VS_DETECT_CONTEXT ? from - VS_DETECT_CONTEXT : 0;
        from = base + d->find(d, text + base, have - base, from - base, false, count, &is_open);
        if (is_open)
            from = have;
    }
    return (vs_clock_ns() - start) / calls;
}

int main(int argc, char **argv)
{
    static const char message[] = "You are a careful assistant. Answer in the language of the question, in whole sentences; say "
                                  "so when you do not know. Never give medical advice; name the sources that you used.";
    static const struct vs_protected values[] = { { "Blue-Heron-4471-Falcon", 22 }, { "tr0ub4dor&3-horse", 17 } };
    static const char *const allow[] = { "good.example", "*.sub.example" };
    static const struct vs_urls urls = { VS_URLS_LIST, allow, 2 };
    static struct vs_secrets secrets;
    static char text[1 << 20];
    FILE *f = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (!f) {
        fprintf(stderr, "usage: detect_speed FILE\n");
        return 2;
    }
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    if (n < BLOCK)
        return 1;
    vs_secrets_init(&secrets);
    struct vs_detector all[] = { vs_secrets_detector(&secrets), vs_control_detector, vs_urls_detector(&urls),
                                 vs_protect_detector(vs_protect_create(values, 2)),
                                 vs_prompt_detector(vs_prompt_create(message, sizeof message - 1, NULL)) };
    uint64_t sum[2] = { 0 };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        uint64_t best[2] = { UINT64_MAX, UINT64_MAX };
        for (unsigned round = 0; round < ROUNDS; round++) {
            uint64_t a = whole(&all[i], text, n), b = streamed(&all[i], text, n);
            best[0] = a < best[0] ? a : best[0];
            best[1] = b < best[1] ? b : best[1];
        }
        printf("%-14s %6" PRIu64 " ns for 2 KiB  %5" PRIu64 " ns for 4 bytes\n", all[i].name, best[0], best[1]);
        sum[0] += best[0], sum[1] += best[1];
    }
    printf("%-14s %6" PRIu64 " ns for 2 KiB  %5" PRIu64 " ns for 4 bytes, %zu spans\n", "all", sum[0], sum[1], n_told);
    return 0;
}
