/* filter/stream.c - see stream.h
 *
 *        text[0]                done        settled                 n
 *   ------|----- context --------|-- decided --|--- held, <= 256 ----|
 *
 * Every offset of the struct counts bytes of the view since the stream began; text[0] of the view is `base`. `in` is the byte of
 * the input that belongs to `done`.
 */
#include "filter/stream.h"

#include "filter/view.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLICE = 256,                         /* bytes of input for which the detectors are asked at once */
    SPANS = 768,                         /* told and not decided: what begins in the bytes held and in a slice */
    BARE = 40,                           /* a bare value of JSON up to this length is replaced whole */
};

static_assert(VS_DETECT_CONTEXT + 2 * VS_DETECT_HELD + 2 * BARE + 2 * SLICE < VS_VIEW_BYTES, "a round fits into the window");
static_assert((2 * VS_DETECT_HELD + BARE) * 6 + 2 * SLICE < VS_VIEW_BYTES, "what is held fits, every character of it an escape");

struct told {
    uint64_t start, end;
    const char *rule;
    uint16_t score;
    uint8_t kind, type, detector;
    bool open;
};

struct vs_stream {
    struct vs_stream_config config;
    struct vs_stream_sink sink;
    const struct vs_detector *detectors[VS_STREAM_DETECTORS];
    uint64_t base, done, settled, resumed;        /* resumed: the end of what was swallowed last */
    uint64_t in, given, out, received;   /* input: up to done, in pieces that were given; output; input that was pushed */
    uint64_t from[VS_STREAM_DETECTORS];  /* what each has decided */
    bool has_open[VS_STREAM_DETECTORS];  /* it told an open span, and is not asked until that has its end */
    struct told passing[VS_STREAM_DETECTORS];     /* that pass: open; or ended and not told; rule NULL: none */
    struct vs_finding passing_finding[VS_STREAM_DETECTORS];
    struct told open;                    /* what is swallowed now, while is_open */
    struct vs_finding open_finding;
    struct vs_redact redact;
    bool is_open, is_open_bare, is_blocked, is_ended;
    uint64_t hidden[VS_N_FOUND];         /* of each kind: the end of the last span that passed and was told */
    size_t held_max;
    unsigned asked;                      /* the detector that tells now */
    size_t n_told;
    struct told told[SPANS];
    struct vs_view view;
};

struct vs_stream *vs_stream_create(const struct vs_stream_config *config, const struct vs_stream_sink *sink)
{
    if (config->n_detectors > VS_STREAM_DETECTORS)
        return NULL;
    struct vs_stream *s = malloc(sizeof *s);
    if (!s)
        return NULL;
    memset(s, 0, offsetof(struct vs_stream, told));
    s->config = *config;
    s->sink = *sink;
    for (unsigned i = 0; i < config->n_detectors; i++)
        s->detectors[i] = config->detectors[i];
    vs_view_init(&s->view, config->json);
    return s;
}

void vs_stream_free(struct vs_stream *s)
{
    if (s) {
        explicit_bzero(s, offsetof(struct vs_stream, told));
        vs_view_wipe(&s->view);
    }
    free(s);
}

bool vs_stream_blocked(const struct vs_stream *s)
{
    return s->is_blocked;
}

size_t vs_stream_held_max(const struct vs_stream *s)
{
    return s->held_max;
}

/* ---- giving out ---- */

static size_t here(const struct vs_stream *s, uint64_t at)
{
    return (size_t)(at - s->base);
}

/* done goes on to `to`. */
static void advance(struct vs_stream *s, uint64_t to)
{
    s->in += vs_view_width(&s->view, here(s, s->done), here(s, to));
    s->done = to;
}

/* A piece: the input from what was given before up to in_end. */
static void give(struct vs_stream *s, uint64_t in_end, const char *bytes, size_t n, const struct vs_finding *finding)
{
    struct vs_piece piece = { s->given, in_end, s->out, s->out + n, bytes, finding };
    s->given = in_end;
    s->out += n;
    if (piece.in_start < piece.in_end || n)
        s->sink.piece(s->sink.arg, &piece);
}

/* The text up to `to` as it is. */
static void pass(struct vs_stream *s, uint64_t to)
{
    if (to <= s->done)
        return;
    const struct vs_view *v = &s->view;
    const char *bytes = v->json ? v->raw + (s->in - (s->received - v->n_raw)) : v->text + here(s, s->done);
    uint64_t start = s->in;
    advance(s, to);
    give(s, s->in, bytes, (size_t)(s->in - start), NULL);
}

/* Writes the mark of what was added to s->redact. Its last piece takes the input up to done, the others take none. */
static void write(struct vs_stream *s, bool is_quoted, const struct vs_finding *finding)
{
    char mark[VS_REDACT_BOUND];
    if (is_quoted)
        give(s, s->given, "\"", 1, finding);
    for (size_t n; (n = vs_redact_next(&s->redact, mark));)
        give(s, s->given, mark, n, finding);
    give(s, s->in, "\"", is_quoted ? 1 : 0, finding);
}

/* Replaces the text up to `to`, which lies in one value. */
static void replace(struct vs_stream *s, uint64_t to, bool is_quoted, const struct vs_finding *finding)
{
    vs_redact_begin(&s->redact, s->config.style, s->config.key, finding->type);
    vs_redact_add(&s->redact, s->view.text + here(s, s->done), (size_t)(to - s->done));
    advance(s, to);
    write(s, is_quoted, finding);
}

static void take_out(struct vs_stream *s, uint64_t to, const struct vs_finding *finding)
{
    if (to <= s->done)
        return;
    advance(s, to);
    give(s, s->in, "", 0, finding);
}

/* ---- JSON: values ---- */

static uint8_t kind_at(const struct vs_stream *s, uint64_t at)
{
    return s->view.kind[here(s, at)];
}

static bool is_bare(const struct vs_stream *s, uint64_t at)
{
    return at >= s->base && at < s->base + s->view.n && kind_at(s, at) >= VS_VIEW_BARE;
}

/* Where what is of one kind with `at` ends: a bare value, a part of a string, what is between values. */
static uint64_t run_end(const struct vs_stream *s, uint64_t at, uint64_t limit)
{
    uint8_t kind = kind_at(s, at) < VS_VIEW_BARE ? kind_at(s, at) : VS_VIEW_BARE;
    while (at < limit && (kind == VS_VIEW_BARE ? kind_at(s, at) >= kind : kind_at(s, at) == kind))
        at++;
    return at;
}

/* Whether the bare value around `end` may still go on, and is short enough to be waited for. */
static bool is_unfinished(const struct vs_stream *s, uint64_t end, bool last)
{
    uint64_t n = s->base + s->view.n;
    if (!s->config.json || last || !is_bare(s, end - 1))
        return false;
    uint64_t to = run_end(s, end - 1, n);
    return to == n && to - end < BARE;
}

/* As much of the text up to `limit` as may go: a bare value goes when every span that would take it whole is known. */
static uint64_t passable(const struct vs_stream *s, uint64_t limit, bool last)
{
    bool in_value = limit < s->base + s->view.n ? is_bare(s, limit) : !last;
    if (!s->config.json || limit == s->base || !in_value || !is_bare(s, limit - 1))
        return limit;
    unsigned before = kind_at(s, limit - 1) - VS_VIEW_BARE;
    return before >= BARE ? limit : limit - before - 1;
}

/* A digit of a bare value too long to be replaced whole becomes 1, what no number has goes: the value stays one. */
static void blunt(struct vs_stream *s, uint64_t to, const struct vs_finding *finding)
{
    while (s->done < to) {
        char c = s->view.text[here(s, s->done)];
        bool stays = (c >= '+' && c <= '9') || (c | 32) == 'e';
        advance(s, s->done + 1);
        give(s, s->in, c >= '0' && c <= '9' ? "1" : &c, stays, finding);
    }
}

/* [start, end) lies in one bare value. */
static void replace_bare(struct vs_stream *s, uint64_t start, uint64_t end, const struct vs_finding *finding)
{
    uint64_t n = s->base + s->view.n, limit = end + BARE < n ? end + BARE : n;
    unsigned before = kind_at(s, start) - VS_VIEW_BARE;
    uint64_t to = run_end(s, start, limit);
    bool is_whole = before <= BARE && start - before >= s->done && to < end + BARE;
    pass(s, is_whole ? start - before : start);
    if (is_whole)
        replace(s, to, true, finding);
    else
        blunt(s, end, finding);
}

static void replace_values(struct vs_stream *s, uint64_t start, uint64_t end, const struct vs_finding *finding)
{
    for (uint64_t at = start, to; at < end; at = to) {
        at = at > s->done ? at : s->done;
        if (at >= end)
            break;
        to = run_end(s, at, end);
        if (is_bare(s, at))
            replace_bare(s, at, to, finding);
        else {
            pass(s, at);
            if (kind_at(s, at) == VS_VIEW_STRING)
                replace(s, to, false, finding);
            else
                pass(s, to);
        }
    }
}

/* It ends with the value in which it begins: what is between values stays, and so does the next one. */
static void take_out_of_value(struct vs_stream *s, uint64_t start, uint64_t end, const struct vs_finding *finding)
{
    if (start >= end)
        return;
    pass(s, start);
    if (kind_at(s, start) != VS_VIEW_BETWEEN)
        take_out(s, run_end(s, start, end), finding);
    pass(s, end);
}

/* ---- spans ---- */

static void tell(void *arg, const struct vs_span *span)
{
    struct vs_stream *s = arg;
    if (span->start >= span->end || span->end > s->view.n || s->has_open[s->asked])
        return;
    struct told t = { s->base + vs_view_floor(&s->view, span->start), s->base + vs_view_ceiling(&s->view, span->end), span->rule,
                      (uint16_t)span->score, (uint8_t)span->kind, (uint8_t)span->type, (uint8_t)s->asked, span->open };
    struct told *before = s->n_told ? &s->told[s->n_told - 1] : NULL;
    bool is_like = before && before->detector == t.detector && before->kind == t.kind && !before->open && !t.open;
    if (is_like && t.start >= before->start && t.end <= before->end)
        return;                          /* would not be told either */
    s->has_open[s->asked] = t.open;
    if (s->n_told < SPANS)
        s->told[s->n_told++] = t;
    else if (t.end > before->end)        /* never more than one at a place, so this is a detector's fault: rather too much goes */
        before->end = t.end;
}

static bool is_before(const struct told *a, const struct told *b, const enum vs_stream_action *action)
{
    bool blocks = action[a->kind] == VS_STREAM_BLOCK;
    if (a->start != b->start)
        return a->start < b->start;
    if (blocks != (action[b->kind] == VS_STREAM_BLOCK))
        return blocks;
    if (a->open != b->open)
        return a->open;
    if (a->end != b->end)
        return a->end > b->end;
    return a->detector < b->detector;
}

static void sort(struct vs_stream *s)
{
    for (size_t i = 1; i < s->n_told; i++) {
        struct told t = s->told[i];
        size_t k = i;
        for (; k > 0 && is_before(&t, &s->told[k - 1], s->config.action); k--)
            s->told[k] = s->told[k - 1];
        s->told[k] = t;
    }
}

/* Behind what was swallowed every detector looks anew: what it told before may hang on what began in there. What passes goes on. */
static void look_anew(struct vs_stream *s, uint64_t from)
{
    bool passes[VS_STREAM_DETECTORS];
    size_t n = 0;
    for (unsigned i = 0; i < s->config.n_detectors; i++) {
        passes[i] = s->passing[i].rule && (s->passing[i].open || s->passing[i].end > from);
        if (!passes[i] || s->from[i] < from)
            s->from[i] = from;
    }
    for (size_t i = 0; i < s->n_told; i++) {
        const struct told *t = &s->told[i];
        if (passes[t->detector] && t->start >= from)
            s->told[n++] = *t;
        else if (t->open)
            s->has_open[t->detector] = false;
    }
    s->n_told = n;
}

/* The input's offset of a place in the view that is still here. */
static uint64_t in_of(const struct vs_stream *s, uint64_t at)
{
    return at < s->done ? s->in - vs_view_width(&s->view, here(s, at), here(s, s->done))
                        : s->in + vs_view_width(&s->view, here(s, s->done), here(s, at));
}

static struct vs_finding finding_of(const struct vs_stream *s, const struct told *t)
{
    enum vs_finding_kind kind = (enum vs_finding_kind)t->kind;
    return (struct vs_finding){ kind, vs_finding_type(kind, (enum vs_pii)t->type), t->rule, "plain",
                                (size_t)in_of(s, t->start), (size_t)in_of(s, t->end), t->score };
}

static void report(struct vs_stream *s, const struct vs_finding *finding, enum vs_stream_action action)
{
    if (s->sink.found)
        s->sink.found(s->sink.arg, finding, action);
}

/* Begins to swallow. */
static void open_span(struct vs_stream *s, const struct told *t, const struct vs_finding *finding)
{
    uint64_t start = t->start > s->done ? t->start : s->done;
    s->is_open_bare = s->config.json && start < t->end && is_bare(s, start);
    if (s->is_open_bare) {
        uint64_t before = kind_at(s, start) - VS_VIEW_BARE;
        start = before <= BARE && start - before >= s->done ? start - before : start;
    }
    pass(s, start);
    s->is_open = true;
    s->open = *t;
    s->open_finding = *finding;
    vs_redact_begin(&s->redact, s->config.style, s->config.key, finding->type);
}

static void act(struct vs_stream *s, const struct told *t, enum vs_stream_action action)
{
    struct vs_finding finding = finding_of(s, t);
    uint64_t start = t->start > s->done ? t->start : s->done;
    bool is_open = t->open && action != VS_STREAM_BLOCK;
    if (is_open && s->config.json && run_end(s, t->start, t->end) < t->end) {
        is_open = false;                 /* its marker lies in several values */
        s->has_open[t->detector] = false;
    }
    if (action != VS_STREAM_BLOCK && t->end <= s->done && !is_open)
        return;                          /* inside what was replaced */
    if (is_open) {
        open_span(s, t, &finding);
        return;
    }
    report(s, &finding, action);
    if (action == VS_STREAM_BLOCK) {
        pass(s, t->start);
        s->is_blocked = true;
    } else if (action == VS_STREAM_REMOVE && s->config.json) {
        take_out_of_value(s, start, t->end, &finding);
    } else if (action == VS_STREAM_REMOVE) {
        pass(s, start);
        take_out(s, t->end, &finding);
    } else if (s->config.json)
        replace_values(s, start, t->end, &finding);
    else {
        pass(s, start);
        replace(s, t->end, false, &finding);
    }
}

/* Tells the open spans that pass and ended at `to` or before. */
static void tell_passed(struct vs_stream *s, uint64_t to)
{
    for (unsigned i = 0; i < s->config.n_detectors; i++)
        if (s->passing[i].rule && !s->passing[i].open && s->passing[i].end <= to) {
            report(s, &s->passing_finding[i], VS_STREAM_PASS);
            s->passing[i].rule = NULL;
        }
}

/* The stream ends at `to`, and so do they. */
static void cut_passing(struct vs_stream *s, uint64_t to)
{
    for (unsigned i = 0; i < s->config.n_detectors; i++)
        if (s->passing[i].rule) {
            s->passing_finding[i].end = (size_t)in_of(s, to);
            report(s, &s->passing_finding[i], VS_STREAM_PASS);
        }
}

/* A span that passes. */
static void only_tell(struct vs_stream *s, const struct told *t)
{
    struct vs_finding finding = finding_of(s, t);
    if (t->open) {
        s->passing[t->detector] = *t;
        s->passing_finding[t->detector] = finding;
    } else if (t->end > s->hidden[t->kind]) {
        s->hidden[t->kind] = t->end;
        report(s, &finding, VS_STREAM_PASS);
    }
}

/* Does what the spans that are decided ask for, in order, until one opens or blocks or has to wait. */
static void settle(struct vs_stream *s, bool last)
{
    size_t i = 0;
    uint64_t limit = s->settled;
    for (; i < s->n_told && s->told[i].start < s->settled && !s->is_open && !s->is_blocked; i++) {
        struct told t = s->told[i];
        enum vs_stream_action action = s->config.action[t.kind];
        if (action == VS_STREAM_REPLACE && is_unfinished(s, t.end, last)) {
            limit = t.start;
            break;
        }
        tell_passed(s, t.start);
        if (action == VS_STREAM_PASS)
            only_tell(s, &t);
        else
            act(s, &t, action);
        if (s->is_blocked)
            cut_passing(s, t.start);
    }
    memmove(s->told, s->told + i, (s->n_told - i) * sizeof *s->told);
    s->n_told -= i;
    if (s->is_open || s->is_blocked)
        return;
    tell_passed(s, limit);
    pass(s, passable(s, limit, last));
}

/* ---- open spans ---- */

/* Where the open span ends, or UINT64_MAX; t->end is how far was looked. In JSON it ends with its value, a bare value never before.
 * */
static uint64_t end_of(struct vs_stream *s, struct told *t, bool last)
{
    const struct vs_detector *d = s->detectors[t->detector];
    uint64_t n = s->base + s->view.n, end = UINT64_MAX;
    size_t at = here(s, t->end), found = d->closed ? d->closed(d, t->rule, s->view.text, s->view.n, at) : at;
    bool is_value = s->config.json && t->end > s->base;
    if (found != SIZE_MAX && !(is_value && is_bare(s, t->end - 1)))
        end = s->base + vs_view_ceiling(&s->view, found < at ? at : found < s->view.n ? found : s->view.n);
    uint64_t looked = is_value ? run_end(s, t->end - 1, n) : n;
    if ((looked < n || last) && looked < end)
        end = looked;
    t->end = n;
    return end;
}

static void swallow(struct vs_stream *s, uint64_t to)
{
    if (to <= s->done)
        return;
    if (s->config.action[s->open.kind] == VS_STREAM_REPLACE)
        vs_redact_add(&s->redact, s->view.text + here(s, s->done), (size_t)(to - s->done));
    advance(s, to);
}

/* false: it is still open. */
static bool close_open(struct vs_stream *s, bool last)
{
    enum vs_stream_action action = s->config.action[s->open.kind];
    uint64_t end = end_of(s, &s->open, last);
    swallow(s, end == UINT64_MAX ? s->base + s->view.n : end);
    if (end == UINT64_MAX)
        return false;
    s->open_finding.end = (size_t)in_of(s, end);
    report(s, &s->open_finding, action);
    if (s->given == s->in)
        ;                                /* all of it lies in what was replaced before */
    else if (action == VS_STREAM_REPLACE)
        write(s, s->is_open_bare, &s->open_finding);
    else
        give(s, s->in, "", 0, &s->open_finding);
    s->is_open = s->has_open[s->open.detector] = false;
    s->from[s->open.detector] = s->resumed = end;
    look_anew(s, end);
    return true;
}

/* Looks for the ends of the open spans that pass; whether more is decided now. */
static bool close_passing(struct vs_stream *s, bool last)
{
    bool is_more = false;
    for (unsigned i = 0; i < s->config.n_detectors; i++) {
        struct told *t = &s->passing[i];
        if (!t->open)
            continue;
        uint64_t end = end_of(s, t, last), from = end < t->end ? end : t->end;
        is_more |= end != UINT64_MAX || from > s->from[i];
        s->from[i] = from > s->resumed ? from : s->resumed;
        if (end == UINT64_MAX)
            continue;
        t->open = s->has_open[i] = false;
        t->end = end;
        s->passing_finding[i].end = (size_t)in_of(s, end);
    }
    return is_more;
}

/* ---- rounds ---- */

/* Asks every detector what is new, and learns up to where all have decided. */
static void ask(struct vs_stream *s, bool last)
{
    size_t n = s->view.n, least = n > VS_DETECT_HELD ? n - VS_DETECT_HELD : 0;
    s->settled = s->base + n;
    for (unsigned i = 0; i < s->config.n_detectors; i++) {
        size_t from = here(s, s->from[i]);
        if (!s->has_open[i] && from < n) {
            s->asked = i;
            size_t held = s->detectors[i]->find(s->detectors[i], s->view.text, n, from, last, tell, s);
            held = last || held > n ? n : held < least ? least : held;
            s->from[i] = s->has_open[i] ? s->told[s->n_told - 1].end : s->base + (held < from ? from : held);
        }
        if (s->from[i] < s->settled)
            s->settled = s->from[i];
    }
    s->settled = s->base + vs_view_floor(&s->view, here(s, s->settled));
    sort(s);
}

static void digest(struct vs_stream *s, bool last)
{
    do {
        if (s->is_open && !close_open(s, last)) {
            close_passing(s, last);
            return;
        }
        ask(s, last);
        settle(s, last);
    } while ((close_passing(s, last) || s->is_open) && !s->is_blocked);
}

/* Forgets what neither detectors nor pieces need, when there is no room for another slice. */
static void slide(struct vs_stream *s)
{
    struct vs_view *v = &s->view;
    if (v->n + 2 * SLICE <= VS_VIEW_BYTES && v->n_raw + 2 * SLICE <= VS_VIEW_BYTES)
        return;
    uint64_t keep = s->done;
    for (unsigned i = 0; i < s->config.n_detectors && !s->is_open; i++)
        keep = s->from[i] < keep ? s->from[i] : keep;
    size_t n = here(s, keep);
    n = n > VS_DETECT_CONTEXT + VS_DETECT_HELD ? n - VS_DETECT_CONTEXT - VS_DETECT_HELD : 0;
    vs_view_drop(v, n, (size_t)(s->in - (s->received - v->n_raw)));
    s->base += n;
}

bool vs_stream_push(struct vs_stream *s, const char *bytes, size_t n, bool end)
{
    if (s->is_ended)
        return false;
    do {
        size_t slice = n < SLICE ? n : SLICE;
        bool last = end && slice == n;
        slide(s);
        vs_view_add(&s->view, bytes, slice, last);
        s->received += slice;
        digest(s, last);
        bytes += slice, n -= slice;
    } while (n && !s->is_blocked);
    uint64_t held = s->is_blocked || s->is_open ? 0 : s->received - s->in;
    s->held_max = held > s->held_max ? (size_t)held : s->held_max;
    s->is_ended = end || s->is_blocked;
    return !s->is_ended;
}
