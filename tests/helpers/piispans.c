/* rooms: filter unicode base */
/* Reads JSON lines with `text`, writes for each a line {"spans": [{"type","start","end","rule","score"}]}, offsets in bytes: what
 * the detector of personal data finds. With an argument "all" also the optional types; with "time" only the microseconds that 2 KiB
 * of the texts take, and a token of four bytes. For bench/guard/pii.py. */
#include "filter/pii.h"
#include "filter/stream.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct vs_pii_state state;

static void keep(void *arg, const struct vs_finding *f, enum vs_stream_action action)
{
    (void)action;
    json_array_append_new(arg, json_pack("{s:s, s:I, s:I, s:s, s:i}", "type", f->type, "start", (json_int_t)f->start, "end",
                                         (json_int_t)f->end, "rule", f->rule, "score", (int)f->score));
}

static void no_piece(void *arg, const struct vs_piece *piece)
{
    (void)arg, (void)piece;
}

static void feed(const char *text, size_t n, size_t step, const struct vs_stream_sink *sink, const struct vs_stream_config *config)
{
    struct vs_stream *s = vs_stream_create(config, sink);
    if (!s)
        exit(1);
    for (size_t at = 0; at < n; at += step)
        vs_stream_push(s, text + at, step < n - at ? step : n - at, false);
    vs_stream_push(s, "", 0, true);
    vs_stream_free(s);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

int main(int argc, char **argv)
{
    bool is_timed = argc > 1 && strcmp(argv[1], "time") == 0;
    vs_pii_init(&state, argc > 1 && strcmp(argv[argc - 1], "all") == 0 ? VS_PII_BIT(VS_N_PII) - 1 : VS_PII_PRESET);
    struct vs_detector detector = vs_pii_detector(&state);
    const struct vs_detector *const list[] = { &detector };
    struct vs_stream_config config = { .detectors = list, .n_detectors = 1, .action = { [VS_FOUND_PII] = VS_STREAM_REPLACE } };
    char *line = NULL;
    size_t size = 0, n_all = 0;
    char *all = NULL;
    for (ssize_t n; (n = getline(&line, &size, stdin)) > 0;) {
        json_t *row = json_loadb(line, (size_t)n, 0, NULL), *spans = json_array(), *value = json_object_get(row, "text");
        const char *text = json_string_value(value) ? json_string_value(value) : "";
        size_t n_text = json_string_length(value);
        if (is_timed) {
            all = realloc(all, n_all + n_text + 2);
            if (!all)
                exit(1);
            memcpy(all + n_all, text, n_text);
            n_all += n_text;
            all[n_all++] = '\n';
        } else {
            struct vs_stream_sink sink = { spans, no_piece, keep };
            feed(text, n_text, n_text + 1, &sink, &config);
            json_t *out = json_pack("{s:O}", "spans", spans);
            char *shown = json_dumps(out, JSON_COMPACT);
            puts(shown);
            free(shown);
            json_decref(out);
        }
        json_decref(spans);
        json_decref(row);
    }
    if (is_timed) {
        struct vs_stream_sink sink = { NULL, no_piece, NULL };
        double best[2] = { 1e18, 1e18 };
        for (int i = 0; i < 15; i++)
            for (int k = 0; k < 2; k++) {
                double start = now();
                feed(all, n_all, k ? 4 : n_all, &sink, &config);
                double took = now() - start;
                best[k] = took < best[k] ? took : best[k];
            }
        printf("%.1f us for 2 KiB at once, %.3f us a token of 4 bytes (%zu bytes of text)\n", best[0] * 2048 / (double)n_all,
               best[1] * 4 / (double)n_all, n_all);
    }
    free(all);
    free(line);
    return 0;
}
