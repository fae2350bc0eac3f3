/* support/stream.h - runs a text through a stream in pieces and keeps what came out; small detectors with one shape each, that
 * try everything that a stream has to decide; and the check that no cut makes a difference. Used by unit/filter_*.c and
 * fuzz/stream.c. */
#ifndef TEST_STREAM_H
#define TEST_STREAM_H
#include "base/buf.h"
#include "filter/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- small detectors: what begins at p is a function of the bytes around p ---- */

typedef size_t toy_fn(const char *text, size_t n, size_t p, bool whole, struct vs_span *span);       /* SIZE_MAX: undecided */

static size_t toy_find(const struct vs_detector *d, const char *text, size_t n, size_t from, bool whole, vs_span_fn *told,
                       void *arg)
{
    toy_fn *const *at = d->state;
    for (size_t p = from; p < n; p++) {
        struct vs_span span = { .rule = d->name, .start = p, .score = 900 };
        size_t end = (*at)(text, n, p, whole, &span);
        if (end == SIZE_MAX)
            return p;
        span.end = end;
        if (end > p)
            told(arg, &span);
        if (span.open)
            return p;
    }
    return n;
}

static bool toy_digit(char c) { return c >= '0' && c <= '9'; }

/* Three digits or more; a run that is longer than what may be held is none. */
static size_t toy_digits(const char *text, size_t n, size_t p, bool whole, struct vs_span *span)
{
    size_t end = p, limit = p + VS_DETECT_HELD;
    if (!toy_digit(text[p]) || (p > 0 && toy_digit(text[p - 1])))
        return p;
    while (end < n && end < limit && toy_digit(text[end]))
        end++;
    if (end == limit)
        return p;
    if (end == n && !whole)
        return SIZE_MAX;
    span->kind = VS_FOUND_PII, span->type = VS_PII_PHONE;
    return end - p >= 3 ? end : p;
}

/* <...> of at most 100 bytes */
static size_t toy_angles(const char *text, size_t n, size_t p, bool whole, struct vs_span *span)
{
    if (text[p] != '<')
        return p;
    for (size_t i = p + 1; i < p + 100; i++) {
        if (i >= n)
            return whole ? p : SIZE_MAX;
        if (text[i] == '>') {
            span->kind = VS_FOUND_URL;
            return i + 1;
        }
    }
    return p;
}

/* A control character. */
static size_t toy_control(const char *text, size_t n, size_t p, bool whole, struct vs_span *span)
{
    (void)n, (void)whole;
    span->kind = VS_FOUND_CONTROL;
    return (uint8_t)text[p] < 9 || text[p] == 27 ? p + 1 : p;
}

/* "stop!" */
static size_t toy_stop(const char *text, size_t n, size_t p, bool whole, struct vs_span *span)
{
    size_t k = 0;
    while (k < 5 && p + k < n && text[p + k] == "stop!"[k])
        k++;
    span->kind = VS_FOUND_PROTECTED;
    return k == 5 ? p + 5 : p + k == n && !whole ? SIZE_MAX : p;
}

/* "key-" opens; what closes it is a byte that is no small letter. */
static size_t toy_key(const char *text, size_t n, size_t p, bool whole, struct vs_span *span)
{
    size_t k = 0;
    while (k < 4 && p + k < n && text[p + k] == "key-"[k])
        k++;
    span->kind = VS_FOUND_SECRET, span->type = VS_PII_API_KEY, span->open = k == 4;
    return k == 4 ? p + 4 : p + k == n && !whole ? SIZE_MAX : p;
}

static size_t toy_closed(const struct vs_detector *d, const char *rule, const char *text, size_t n, size_t at)
{
    if (rule != d->name)
        abort();
    while (at < n && text[at] >= 'a' && text[at] <= 'z')
        at++;
    return at < n ? at : SIZE_MAX;
}

/* "{{" opens, "}}" closes */
static size_t toy_braces(const char *text, size_t n, size_t p, bool whole, struct vs_span *span)
{
    if (text[p] != '{' || (p > 0 && text[p - 1] == '{'))
        return p;
    if (p + 1 >= n)
        return whole ? p : SIZE_MAX;
    span->kind = VS_FOUND_SYSTEM_PROMPT, span->open = text[p + 1] == '{';
    return span->open ? p + 2 : p;
}

static size_t toy_braces_closed(const struct vs_detector *d, const char *rule, const char *text, size_t n, size_t at)
{
    (void)d, (void)rule;
    for (size_t i = at; i < n; i++)
        if (text[i] == '}' && i > at - 1 && i > 0 && text[i - 1] == '}' && i >= at)
            return i + 1;
    return SIZE_MAX;
}

static toy_fn *const toy_fns[] = { toy_digits, toy_angles, toy_control, toy_stop, toy_key, toy_braces };
static const struct vs_detector toys[] = {
    { "digits", &toy_fns[0], toy_find, NULL },
    { "angles", &toy_fns[1], toy_find, NULL },
    { "control", &toy_fns[2], toy_find, NULL },
    { "stop", &toy_fns[3], toy_find, NULL },
    { "key", &toy_fns[4], toy_find, toy_closed },
    { "braces", &toy_fns[5], toy_find, toy_braces_closed },
};
static const struct vs_detector *const toy_list[] = { &toys[0], &toys[1], &toys[2], &toys[3], &toys[4], &toys[5] };
enum { N_TOYS = sizeof toy_list / sizeof *toy_list };

static const enum vs_stream_action toy_action[VS_N_FOUND] = {
    [VS_FOUND_PII] = VS_STREAM_REPLACE, [VS_FOUND_SECRET] = VS_STREAM_REPLACE, [VS_FOUND_PROTECTED] = VS_STREAM_BLOCK,
    [VS_FOUND_CONTROL] = VS_STREAM_REMOVE, [VS_FOUND_URL] = VS_STREAM_PASS, [VS_FOUND_SYSTEM_PROMPT] = VS_STREAM_PASS,
};

/* ---- what came out ---- */

struct stream_run {
    const char *text;                    /* the input */
    size_t n;
    struct vs_buf out;
    struct vs_buf map;                   /* for each byte of the input that came out: '.' passed, '#' replaced */
    struct vs_buf found;                 /* the findings, a line each, sorted by place */
    uint64_t in_end;
    bool is_right;
};

static void stream_piece(void *arg, const struct vs_piece *piece)
{
    struct stream_run *run = arg;
    size_t n = (size_t)(piece->out_end - piece->out_start), width = (size_t)(piece->in_end - piece->in_start);
    if (piece->in_start != run->in_end || piece->out_start != run->out.n || piece->in_end > run->n)
        run->is_right = false;
    if (run->is_right && !piece->finding && (n != width || memcmp(piece->bytes, run->text + piece->in_start, n) != 0))
        run->is_right = false;
    run->in_end = piece->in_end;
    vs_buf_add(&run->out, piece->bytes, n);
    for (size_t i = 0; i < width; i++)
        vs_buf_char(&run->map, piece->finding ? '#' : '.');
}

static void stream_found(void *arg, const struct vs_finding *f, enum vs_stream_action action)
{
    struct stream_run *run = arg;
    vs_buf_printf(&run->found, "%010zu %010zu %s %s %s %d\n", f->start, f->end, vs_finding_kind_name(f->kind), f->type, f->rule,
                  (int)action);
}

static int stream_line_order(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static void stream_sort(struct vs_buf *lines)
{
    size_t n = 0, k = 0;
    for (size_t i = 0; i < lines->n; i++)
        n += lines->data[i] == '\n';
    char **line = calloc(n + 1, sizeof *line);
    struct vs_buf sorted = { 0 };
    for (char *at = lines->data; line && k < n; k++) {
        line[k] = at;
        at = strchr(at, '\n');
        *at++ = 0;
    }
    qsort(line, k, sizeof *line, stream_line_order);
    for (size_t i = 0; i < k; i++)
        vs_buf_printf(&sorted, "%s\n", line[i]);
    free(line);
    vs_buf_clear(lines);
    *lines = sorted;
}

static void stream_clear(struct stream_run *run)
{
    vs_buf_clear(&run->out);
    vs_buf_clear(&run->map);
    vs_buf_clear(&run->found);
}

/* seed 0: all at once; 1: byte by byte; otherwise pieces of random lengths up to 1 << (seed % 10). *ret_held may be NULL. */
static void stream_run(const struct vs_stream_config *config, const char *text, size_t n, uint64_t seed, struct stream_run *run,
                       size_t *ret_held)
{
    *run = (struct stream_run){ .text = text, .n = n, .is_right = true };
    struct vs_stream_sink sink = { run, stream_piece, stream_found };
    struct vs_stream *s = vs_stream_create(config, &sink);
    if (!s)
        abort();
    uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
    size_t at = 0;
    bool goes_on = true;
    do {
        x = x * 6364136223846793005u + 1442695040888963407u;
        size_t step = seed == 0 ? n : seed == 1 ? 1 : 1 + (size_t)(x >> 40) % ((size_t)1 << (seed % 10));
        step = step < n - at ? step : n - at;
        char *exact = malloc(step ? step : 1);      /* so that a sanitizer sees what is read beyond it */
        if (!exact)
            abort();
        memcpy(exact, text + at, step);
        at += step;
        goes_on = vs_stream_push(s, exact, step, at == n && seed % 3 != 2);
        free(exact);
    } while (goes_on && at < n);
    if (goes_on)
        goes_on = vs_stream_push(s, "", 0, true);
    if (goes_on || (!vs_stream_blocked(s) && run->in_end != n))
        run->is_right = false;
    if (ret_held)
        *ret_held = vs_stream_held_max(s);
    vs_stream_free(s);
    if (run->found.n)
        stream_sort(&run->found);
}

static bool stream_is_same(const struct vs_buf *a, const struct vs_buf *b)
{
    return a->n == b->n && (!a->n || memcmp(a->data, b->data, a->n) == 0);
}

static void stream_differ(const char *what, const struct vs_buf *whole, const struct vs_buf *cut)
{
    size_t i = 0;
    while (i < whole->n && i < cut->n && whole->data[i] == cut->data[i])
        i++;
    size_t from = i > 60 ? i - 60 : 0;
    if (i < whole->n || i < cut->n)
        fprintf(stderr, "%s differs at %zu:\n  whole: %.120s\n  cut:   %.120s\n", what, i,
                whole->n > from ? whole->data + from : "", cut->n > from ? cut->data + from : "");
}

/* What the cuts of `seed` give is what the whole gives. */
static bool stream_cut_is_whole(const struct vs_stream_config *config, const char *text, size_t n, uint64_t seed)
{
    struct stream_run whole, cut;
    stream_run(config, text, n, 0, &whole, NULL);
    stream_run(config, text, n, seed, &cut, NULL);
    bool is_same = whole.is_right && cut.is_right && stream_is_same(&whole.out, &cut.out) && stream_is_same(&whole.map, &cut.map)
                   && stream_is_same(&whole.found, &cut.found);
    if (!is_same) {
        fprintf(stderr, "seed %llu, right %d %d\n", (unsigned long long)seed, whole.is_right, cut.is_right);
        stream_differ("out", &whole.out, &cut.out);
        stream_differ("map", &whole.map, &cut.map);
        stream_differ("found", &whole.found, &cut.found);
    }
    stream_clear(&whole);
    stream_clear(&cut);
    return is_same;
}
#endif
