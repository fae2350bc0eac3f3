/* filter/strip.c - see strip.h. "Left" counts bytes of what stays. */
#include "filter/strip.h"

#include <stdlib.h>
#include <string.h>

/* Taken out before the byte of what is left that is number `at`. Undecided are at most some hundred bytes, and what is taken out at
 * one place is one entry. */
enum { MOST_GAPS = 1024 };

struct gap { uint64_t at, n, before; };  /* before: bytes that were taken out earlier */

struct vs_strip {
    struct vs_stream_sink sink;
    struct vs_stream *first, *rest;      /* first: NULL when nothing is taken out */
    bool is_told;
    struct vs_finding what;              /* what was taken out last */
    uint64_t left, taken;                /* bytes so far */
    uint64_t pushed, given, out;         /* given and out: of what was pushed and of what came out, in pieces */
    size_t held_max;
    size_t n_gaps, done;                 /* done: gaps that are in pieces already; they are kept for the offsets of findings */
    struct gap gap[MOST_GAPS];
};

/* ---- offsets ---- */

/* Bytes that were taken out before a place of what is left; at it, too, when `here`. */
static uint64_t taken_before(const struct vs_strip *s, uint64_t at, bool here)
{
    size_t low = 0, high = s->n_gaps;
    while (low < high) {                 /* the first gap that counts no more */
        size_t middle = low + (high - low) / 2;
        if (s->gap[middle].at < at || (here && s->gap[middle].at == at))
            low = middle + 1;
        else
            high = middle;
    }
    if (low)
        return s->gap[low - 1].before + s->gap[low - 1].n;
    return s->n_gaps ? s->gap[0].before : s->taken;
}

static void give(struct vs_strip *s, uint64_t in_end, const char *bytes, size_t n, const struct vs_finding *finding)
{
    struct vs_piece piece = { s->given, in_end, s->out, s->out + n, bytes, finding };
    s->given = in_end;
    s->out += n;
    if (piece.in_start < piece.in_end || n)
        s->sink.piece(s->sink.arg, &piece);
}

/* The gaps before `at`, and what passes between them; `bytes` begin where the piece does. */
static void give_passed(struct vs_strip *s, uint64_t start, uint64_t end, const char *bytes, bool last)
{
    uint64_t from = start;
    for (; s->done < s->n_gaps && (s->gap[s->done].at < end || (last && s->gap[s->done].at == end)); s->done++) {
        const struct gap *g = &s->gap[s->done];
        uint64_t at = g->at > from ? g->at : from;
        give(s, s->given + (at - from), bytes + (from - start), (size_t)(at - from), NULL);
        struct vs_finding finding = s->what;
        finding.start = (size_t)(at + g->before);
        finding.end = (size_t)(at + g->before + g->n);
        give(s, finding.end, "", 0, &finding);
        from = at;
    }
    give(s, s->given + (end - from), bytes + (from - start), (size_t)(end - from), NULL);
}

/* ---- what the second stream says ---- */

static void on_piece(void *arg, const struct vs_piece *p)
{
    struct vs_strip *s = arg;
    if (!p->finding) {
        give_passed(s, p->in_start, p->in_end, p->bytes, false);
        return;
    }
    give_passed(s, p->in_start, p->in_start, "", p->in_end > p->in_start);       /* what was taken out in front of it */
    while (s->done < s->n_gaps && s->gap[s->done].at < p->in_end)
        s->done++;
    struct vs_finding finding = *p->finding;
    finding.start += (size_t)taken_before(s, finding.start, true);
    finding.end += (size_t)taken_before(s, finding.end, false);
    give(s, p->in_end + taken_before(s, p->in_end, false), p->bytes, (size_t)(p->out_end - p->out_start), &finding);
}

static void on_found(void *arg, const struct vs_finding *f, enum vs_stream_action action)
{
    struct vs_strip *s = arg;
    struct vs_finding finding = *f;
    finding.start += (size_t)taken_before(s, finding.start, true);
    finding.end += (size_t)taken_before(s, finding.end, false);
    if (s->sink.found)
        s->sink.found(s->sink.arg, &finding, action);
}

/* ---- what the first one says ---- */

/* Room for another: the gaps that are in pieces go, the older half first. */
static void forget_gaps(struct vs_strip *s)
{
    size_t n = s->done > MOST_GAPS / 2 ? s->done - MOST_GAPS / 4 : s->done;
    memmove(s->gap, s->gap + n, (s->n_gaps - n) * sizeof *s->gap);
    s->n_gaps -= n;
    s->done -= n;
}

static void add_gap(struct vs_strip *s, uint64_t n)
{
    bool waits = s->done < s->n_gaps, is_full = s->n_gaps == MOST_GAPS;
    if (waits && (s->gap[s->n_gaps - 1].at == s->left || (is_full && !s->done))) {
        s->gap[s->n_gaps - 1].n += n;    /* full: only a swallowed text is so long, of which nothing passes */
    } else {
        if (is_full)
            forget_gaps(s);
        s->gap[s->n_gaps++] = (struct gap){ s->left, n, s->taken };
    }
    s->taken += n;
}

static void on_first_piece(void *arg, const struct vs_piece *p)
{
    struct vs_strip *s = arg;
    if (p->finding) {
        s->what = *p->finding;
        if (p->in_end > p->in_start)
            add_gap(s, p->in_end - p->in_start);
        return;
    }
    s->left += p->in_end - p->in_start;
    vs_stream_push(s->rest, p->bytes, (size_t)(p->in_end - p->in_start), false);
}

static void on_first_found(void *arg, const struct vs_finding *finding, enum vs_stream_action action)
{
    struct vs_strip *s = arg;
    if (s->is_told && s->sink.found)
        s->sink.found(s->sink.arg, finding, action);
}

/* ---- both ---- */

struct vs_strip *vs_strip_create(const struct vs_detector *first, bool is_told, const struct vs_stream_config *config,
                                 const struct vs_stream_sink *sink)
{
    struct vs_strip *s = malloc(sizeof *s);
    if (!s)
        return NULL;
    memset(s, 0, offsetof(struct vs_strip, gap));
    s->sink = *sink;
    s->is_told = is_told;
    const struct vs_stream_sink first_sink = { s, on_first_piece, on_first_found }, rest_sink = { s, on_piece, on_found };
    struct vs_stream_config first_config = { .detectors = &first, .n_detectors = 1, .json = config->json };
    for (unsigned i = 0; i < VS_N_FOUND; i++)
        first_config.action[i] = VS_STREAM_REMOVE;
    s->first = first ? vs_stream_create(&first_config, &first_sink) : NULL;
    s->rest = vs_stream_create(config, &rest_sink);
    if (s->rest && (s->first || !first))
        return s;
    vs_strip_free(s);
    return NULL;
}

void vs_strip_free(struct vs_strip *s)
{
    if (!s)
        return;
    vs_stream_free(s->first);
    vs_stream_free(s->rest);
    free(s);
}

bool vs_strip_blocked(const struct vs_strip *s)
{
    return vs_stream_blocked(s->rest);
}

size_t vs_strip_held_max(const struct vs_strip *s)
{
    return s->held_max;
}

bool vs_strip_push(struct vs_strip *s, const char *bytes, size_t n, bool end)
{
    if (vs_strip_blocked(s))
        return false;
    s->pushed += n;
    bool goes_on = vs_stream_push(s->first ? s->first : s->rest, bytes, n, end);
    if (end && s->first) {
        vs_stream_push(s->rest, "", 0, true);
        if (!vs_strip_blocked(s))
            give_passed(s, s->left, s->left, "", true);          /* what was taken out behind all */
    }
    if (s->pushed - s->given > s->held_max && !end)
        s->held_max = (size_t)(s->pushed - s->given);
    return goes_on && !vs_strip_blocked(s);
}
