/* prog/guard/output.c - what the worker answers, through the policy.
 *
 *     TOKEN frames --text--> stream of a choice --pieces--> text that is decided --> frames, in their order
 *                  --id, JSON--> held until their text is decided, withheld when it was replaced
 *
 * An id leaves with its text or behind it, never before: one without text waits for the next that has some. Where something may be
 * replaced, ids at the end of an answer that no text follows are withheld, but for the last (the end of the answer).
 *
 * When the part of an answer changes (content, a call, ...) what is held of the part before goes first: each part is a text. A part
 * that goes on later begins with what came last of it (struct tail), so that nothing is missed because it was parted. */
#include "prog/guard/guard.h"

#include "base/bytes.h"
#include "filter/control.h"
#include "filter/strip.h"
#include "ipc/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct held {                           /* a frame whose text is not decided, or that waits behind one */
    uint64_t in_start, in_end;          /* its text, in the stream */
    uint64_t out_end;                   /* where its part of what came out ends */
    uint32_t id, extra_bytes;
    uint32_t bytes;                     /* of the worker's frame */
    bool is_decided, is_withheld;
};

enum {
    TAILS = 4,                          /* content, reasoning, the last two calls */
    TOKEN_HEAD = 16,                    /* bytes of a TOKEN frame before its text, at most */
};

struct tail {                           /* what came last of a part */
    uint32_t part;
    size_t n;
    char bytes[VS_DETECT_HELD];
};

struct output {                         /* of a choice */
    struct pass *pass;
    struct guard *guard;
    struct vs_strip *stream;            /* NULL: nothing came through it yet */
    struct vs_strip *watch;             /* the same text, of which is only told; NULL as above */
    uint32_t watched_part;
    uint32_t index, part;
    uint16_t flags;                     /* VS_FLAG_INDEX, VS_FLAG_PART */
    struct tail tail[TAILS];
    uint64_t known;                     /* bytes at the beginning of the stream that went out before */
    uint64_t in;                        /* bytes that went in */
    uint64_t out_sent;                  /* of what came out, sent */
    struct vs_buf frames;               /* struct held each, */
    struct vs_buf extras;               /* their JSON, */
    struct vs_buf text;                 /* and what came out and is not sent */
    char in_name[IN_BYTES];
};

static struct held *held_at(const struct output *o, size_t i)
{
    return (struct held *)(void *)(o->frames.data + i * sizeof(struct held));
}

static size_t n_held(const struct output *o)
{
    return o->frames.n / sizeof(struct held);
}

const struct looking *pass_looking(const struct pass *p, enum side side)
{
    return p->prompted ? &p->prompted->side[side] : &p->screen->side[side];
}

/* ---- pieces ---- */

static void on_piece(void *arg, const struct vs_piece *piece)
{
    struct output *o = arg;
    bool hides = piece->finding && piece->finding->kind != VS_FOUND_CONTROL;
    size_t n = (size_t)(piece->out_end - piece->out_start), out = 0;
    if ((piece->finding ? piece->finding->end : piece->in_end) <= o->known)
        out = n;
    else if (piece->in_start < o->known && !piece->finding)
        out = (size_t)(o->known - piece->in_start);
    o->out_sent += out;
    vs_buf_add(&o->text, piece->bytes + out, n - out);
    for (size_t i = 0; i < n_held(o); i++) {
        struct held *h = held_at(o, i);
        if (h->in_start >= piece->in_end && h->in_end > piece->in_end)
            break;
        bool touches = h->in_start < piece->in_end && h->in_end > piece->in_start;
        h->is_withheld |= hides && touches;
        if (h->is_decided || h->in_end > piece->in_end)
            continue;
        h->is_decided = true;
        if (piece->finding)             /* a mark belongs to the frame in which what it stands for ends */
            h->out_end = h->in_end == piece->in_end ? piece->out_end : piece->out_start;
        else
            h->out_end = piece->out_start + (h->in_end - piece->in_start);
    }
}

static void on_found(void *arg, const struct vs_finding *finding, enum vs_stream_action action)
{
    struct output *o = arg;
    (void)action;
    if ((finding->kind == VS_FOUND_CONTROL && o->pass->is_formed) || finding->end <= o->known)
        return;
    verdict_note(&o->pass->verdict, pass_looking(o->pass, SIDE_STREAM)->mode[finding->kind], finding, o->in_name);
}

static void on_nothing(void *arg, const struct vs_piece *piece)
{
    (void)arg;
    (void)piece;                        /* it has gone out */
}

/* Is a part of the answer JSON, which has to stay so, and in which escapes are read? The arguments of a call are; their text begins
 * with a name. */
static bool is_json(const struct pass *p, uint32_t part)
{
    return part >= VS_PART_CALL || (part == VS_PART_CONTENT && p->is_json);
}

/* Control characters go before all else looks: what is taken out must not make what was looked for. */
static struct vs_strip *stream_of(struct output *o, enum side side, uint32_t part)
{
    const struct vs_stream_sink sink = { o, side == SIDE_STREAM ? on_piece : on_nothing, on_found };
    struct vs_stream_config config = looking_config(pass_looking(o->pass, side));
    const struct vs_detector *others[MAX_DETECTORS];
    bool strips = pass_looking(o->pass, SIDE_STREAM)->config.action[VS_FOUND_CONTROL] == VS_STREAM_REMOVE && !o->pass->is_formed;
    unsigned n = 0;
    config.json = is_json(o->pass, part);
    if (o->pass->is_formed)
        config.action[VS_FOUND_CONTROL] = VS_STREAM_PASS;
    for (unsigned i = 0; i < config.n_detectors; i++)
        if (!strips || config.detectors[i]->find != vs_control_detector.find)
            others[n++] = config.detectors[i];
    if (n) {                             /* else there is nothing that could be made */
        config.detectors = others;
        config.n_detectors = n;
    }
    struct vs_strip *stream = vs_strip_create(n && strips ? &vs_control_detector : NULL, side == SIDE_STREAM, &config, &sink);
    if (!stream)
        guard_leave("out of memory");
    return stream;
}

static struct tail *tail_of(struct output *o, uint32_t part)
{
    struct tail *t = &o->tail[part < VS_PART_CALL ? part : VS_PART_CALL + part % (TAILS - VS_PART_CALL)];
    if (t->part != part)
        *t = (struct tail){ .part = part };
    return t;
}

static void add_tail(struct tail *t, const char *text, size_t n)
{
    size_t most = sizeof t->bytes, stay;
    if (n > most) {
        text += n - most;
        n = most;
    }
    stay = t->n < most - n ? t->n : most - n;
    memmove(t->bytes, t->bytes + t->n - stay, stay);
    memcpy(t->bytes + stay, text, n);
    t->n = stay + n;
}

static void open_stream(struct output *o, uint32_t part)
{
    const struct tail *t = tail_of(o, part);
    o->stream = stream_of(o, SIDE_STREAM, part);
    o->out_sent = 0;
    o->in = o->known = t->n;
    vs_strip_push(o->stream, t->bytes, t->n, false);
}

static struct output *output_of(struct guard *g, struct pass *p, uint32_t index)
{
    struct output *o = p->output[index];
    if (o)
        return o;
    o = calloc(1, sizeof *o);
    if (!o)
        guard_leave("out of memory");
    o->pass = p;
    o->guard = g;
    o->index = index;
    p->output[index] = o;
    return o;
}

static void free_one(struct output *o)
{
    vs_strip_free(o->stream);
    vs_strip_free(o->watch);
    vs_buf_clear(&o->frames);
    vs_buf_clear(&o->extras);
    vs_buf_clear(&o->text);
    free(o);
}

void output_free(struct pass *p)
{
    for (int i = 0; i < MAX_CHOICES; i++)
        if (p->output[i]) {
            free_one(p->output[i]);
            p->output[i] = NULL;
        }
}

/* ---- frames ---- */

/* One TOKEN frame: index and part where there are some, id, text, and `extra` bytes of JSON where they fit. */
static void send_token(struct output *o, uint32_t id, const char *text, size_t n, const char *extra, size_t extra_bytes)
{
    static char frame[VS_MAX_CHUNK];
    uint16_t flags = o->flags;
    size_t at = 0;
    if (flags & VS_FLAG_INDEX)
        vs_store_u32le(frame, o->index), at += 4;
    if (flags & VS_FLAG_PART)
        vs_store_u32le(frame + at, o->part), at += 4;
    vs_store_u32le(frame + at, id);
    vs_store_u32le(frame + at + 4, (uint32_t)n);
    at += 8;
    memcpy(frame + at, text, n);
    at += n;
    if (extra_bytes && at + extra_bytes <= sizeof frame) {
        memcpy(frame + at, extra, extra_bytes);
        at += extra_bytes;
        flags |= VS_FLAG_EXTRA;
    }
    pass_emit(o->guard, o->pass, VS_MSG_TOKEN, flags, frame, at);
}

/* As much of the text as a frame takes, in whole characters. */
static size_t fitting(const char *text, size_t n)
{
    size_t most = VS_MAX_CHUNK - TOKEN_HEAD;
    if (n <= most)
        return n;
    while (most && ((unsigned char)text[most] & 0xc0) == 0x80)
        most--;
    return most;
}

/* A frame that waited. Marks are longer than what they stand for, so its text may take more than one: as text of the same token. */
static void send_held(struct output *o, const struct held *h, const char *text, size_t n, const char *extra)
{
    size_t first = fitting(text, n);
    send_token(o, h->is_withheld ? VS_NO_TOKEN : h->id, text, first, extra, h->is_withheld ? 0 : h->extra_bytes);
    for (size_t at = first, piece; at < n; at += piece) {
        piece = fitting(text + at, n - at);
        send_token(o, VS_NO_TOKEN, text + at, piece, "", 0);
    }
}

/* How many frames may go: to the last whose text is decided; at the end all. */
static size_t n_ready(const struct output *o, bool all)
{
    size_t n = 0;
    for (size_t i = 0; i < n_held(o) && (all || held_at(o, i)->is_decided); i++)
        if (all || held_at(o, i)->in_end > held_at(o, i)->in_start)
            n = i + 1;
    return n;
}

/* What has no text shares the fate of the text behind it. is_last: nothing comes behind the n frames. */
static void withhold_before(const struct output *o, size_t n, bool is_last)
{
    bool strict = pass_looking(o->pass, SIDE_STREAM)->hides, withheld = false, follows = false;
    for (size_t i = n; i-- > 0;) {
        struct held *h = held_at(o, i);
        if (h->in_end > h->in_start) {
            withheld = h->is_withheld;
            follows = true;
        } else {
            h->is_withheld |= follows ? withheld : strict && !(is_last && i + 1 == n);
        }
    }
}

static void release(struct output *o, bool all, bool is_last)
{
    size_t n = n_ready(o, all), text_at = 0, extra_at = 0;
    withhold_before(o, n, is_last);
    for (size_t i = 0; i < n; i++) {
        struct held h = *held_at(o, i);
        uint64_t end = h.is_decided ? h.out_end : o->out_sent;
        size_t bytes = end > o->out_sent ? (size_t)(end - o->out_sent) : 0;
        if (all && i + 1 == n)          /* nothing is left behind */
            bytes = o->text.n - text_at;
        if (!h.is_withheld || bytes)
            send_held(o, &h, o->text.data ? o->text.data + text_at : "", bytes, o->extras.data ? o->extras.data + extra_at : "");
        o->out_sent += bytes;
        text_at += bytes;
        extra_at += h.extra_bytes;
        o->pass->n_held -= h.bytes;
    }
    vs_buf_drop(&o->frames, n * sizeof(struct held));
    vs_buf_drop(&o->text, text_at);
    vs_buf_drop(&o->extras, extra_at);
}

/* What was decided of a frame that is not: text without its id. */
static void release_rest(struct output *o)
{
    const struct held rest = { .is_withheld = true };
    release(o, false, false);
    if (o->text.n)
        send_held(o, &rest, o->text.data, o->text.n, "");
    vs_buf_reset(&o->text);
}

void output_cut(struct guard *g, struct pass *p)
{
    if (p->is_cut)
        return;
    p->is_cut = true;
    for (int i = 0; i < MAX_CHOICES; i++)
        if (p->output[i])
            release_rest(p->output[i]);
    if (p->far && p->stop == VS_OK)
        back_send_u32(g, VS_MSG_CANCEL, p->far, (uint32_t)-VS_E_CANCELLED);
}

/* The text ends here: what is held is decided. */
static void finish_stream(struct output *o, bool is_last)
{
    if (!o->stream)
        return;
    vs_strip_push(o->stream, "", 0, true);
    if (vs_strip_blocked(o->stream)) {
        output_cut(o->guard, o->pass);
        return;
    }
    release(o, true, is_last);
}

/* May its ids go? That they mean what their text says only the worker knows. */
static bool withholds_ids(const struct pass *p)
{
    return pass_looking(p, SIDE_STREAM)->hides && p->screen->policy.output.raw_tokens == VS_POLICY_IDS_WITHHOLD;
}

/* JSON beside a token, in our own words: to be sent with it. It is dropped when it is none, or when what is found in it would be
 * replaced. */
static void add_extra(struct output *o, const char *extra, size_t n)
{
    struct pass *p = o->pass;
    struct verdict none = { 0 };
    bool changed = false;
    json_t *json = extra && !withholds_ids(p) && o->extras.n < MAX_EXTRAS ? vs_json_parse(extra, n, NULL) : NULL;
    if (json && pass_looking(p, SIDE_STREAM)->hides)
        changed |= !screen_json(p->screen, SIDE_RESULT, json, "", &none, &changed);
    if (json && !changed)
        vs_json_dump(json, &o->extras);
    json_decref(json);
}

/* The frames without a text that wait for the next: too many are not waited with. */
static void bound_silence(struct output *o)
{
    if (n_held(o) < MAX_SILENT || o->in > held_at(o, 0)->in_start)
        return;
    release(o, true, false);
}

void output_token(struct guard *g, struct pass *p, const struct vs_token_view *t, const struct vs_frame *f)
{
    uint16_t flags = f->flags;
    if (p->is_cut)
        return;
    p->n_tokens += t->id != VS_NO_TOKEN;
    struct output *o = output_of(g, p, t->index);
    if (o->stream && o->part != t->part) {
        finish_stream(o, false);
        if (p->is_cut)
            return;
        vs_strip_free(o->stream);
        o->stream = NULL;
    }
    if (!o->stream)
        open_stream(o, t->part);
    o->part = t->part;
    o->flags = flags & (VS_FLAG_INDEX | VS_FLAG_PART);
    if (!o->in_name[0])
        snprintf(o->in_name, sizeof o->in_name, flags & VS_FLAG_INDEX ? "output[%u]" : "output", t->index);
    struct held h = { .in_start = o->in, .in_end = o->in + t->text_bytes, .id = t->id, .is_withheld = withholds_ids(p),
                      .bytes = f->n };
    if (h.is_withheld && !t->text_bytes)
        return;
    size_t extras = o->extras.n;
    add_extra(o, t->extra, t->extra_bytes);
    h.extra_bytes = (uint32_t)(o->extras.n - extras);
    vs_buf_add(&o->frames, &h, sizeof h);
    if (o->frames.status != VS_OK || o->extras.status != VS_OK)
        guard_leave("out of memory");
    o->in = h.in_end;
    p->n_held += h.bytes;
    add_tail(tail_of(o, t->part), t->text, t->text_bytes);
    vs_strip_push(o->stream, t->text, t->text_bytes, false);
    if (o->text.status != VS_OK)
        guard_leave("out of memory");
    if (vs_strip_blocked(o->stream))
        output_cut(g, p);
    else
        release(o, false, false);
    bound_silence(o);
}

void output_watch(struct guard *g, struct pass *p, const struct vs_token_view *t, uint16_t flags)
{
    struct output *o = output_of(g, p, t->index);
    if (p->is_cut)
        return;
    if (o->watch && o->watched_part != t->part) {        /* each part is a text */
        vs_strip_push(o->watch, "", 0, true);
        vs_strip_free(o->watch);
        o->watch = NULL;
    }
    if (!o->watch)
        o->watch = stream_of(o, SIDE_WATCH, t->part);
    o->watched_part = t->part;
    if (!o->in_name[0])
        snprintf(o->in_name, sizeof o->in_name, flags & VS_FLAG_INDEX ? "output[%u]" : "output", t->index);
    vs_strip_push(o->watch, t->text, t->text_bytes, false);
}

void output_end(struct guard *g, struct pass *p)
{
    data_end(g, p);
    for (int i = 0; i < MAX_CHOICES && !p->is_cut; i++) {
        struct output *o = p->output[i];
        if (o && o->watch)
            vs_strip_push(o->watch, "", 0, true);
        if (o)
            finish_stream(o, true);
    }
}

/* ---- the frame that ends it ---- */

/* The body of an answer that was cut: the worker's, if there is one, else what we know. */
static void add_cut_body(const struct pass *p, struct vs_buf *out)
{
    json_t *choices = json_array();
    for (int i = 0; i < MAX_CHOICES; i++)
        if (p->output[i] && p->output[i]->flags & VS_FLAG_INDEX)
            json_array_append_new(choices, json_pack("{s:i, s:s}", "index", i, "finish_reason", "filtered"));
    json_t *body = json_object();
    if (json_array_size(choices))
        json_object_set(body, "choices", choices);
    vs_json_dump(body, out);
    json_decref(choices);
    json_decref(body);
}

/* The ids of a result, where they are withheld: as many, and none of them. */
static void hide_ids(const struct pass *p, json_t *body)
{
    json_t *ids = json_object_get(body, "prompt_tokens");
    for (size_t i = 0; withholds_ids(p) && i < json_array_size(ids); i++)
        json_array_set_new(ids, i, json_integer(VS_NO_TOKEN));
}

/* What a receipt's opening says of the request is as it was, or it is not there: what would be changed leaves it. */
static void screen_opening(const struct pass *p, json_t *opening)
{
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(opening, next, key, value) {
        struct verdict none = { 0 };
        json_t *alone = json_pack("[O]", value);
        bool changed = false, passed = screen_json(p->screen, SIDE_RESULT, alone, "opening", &none, &changed);
        json_decref(alone);
        if (changed || !passed)
            json_object_del(opening, key);
    }
}

/* The result, through the policy and in our own words, so that nothing is in it that a reader of JSON does not see. False: a
 * finding refuses it. */
static bool screen_body(struct pass *p, json_t *body, struct vs_buf *out)
{
    screen_opening(p, json_object_get(body, "opening"));
    bool changed, passed = screen_json(p->screen, SIDE_RESULT, body, "result", &p->verdict, &changed);
    hide_ids(p, body);
    if (passed)
        vs_json_write(body, out, p->screen->rest);
    return passed;
}

static void end_with(struct guard *g, struct pass *p, uint16_t type, const struct vs_outcome *o, const struct vs_buf *body)
{
    struct vs_buf out = { 0 };
    size_t begin = vs_payload_begin(&out);
    vs_outcome_dump(o, &out);
    vs_payload_end(&out, begin);
    vs_buf_add(&out, body->data, body->n);
    if (out.status != VS_OK || body->status != VS_OK)
        guard_leave("out of memory");
    pass_end(g, p, type, out.data, out.n);
    vs_buf_clear(&out);
}

void output_end_cut(struct guard *g, struct pass *p, struct vs_outcome *o)
{
    struct vs_buf body = { 0 };
    pass_log(g, p);
    if (p->stop != VS_OK || (p->type != VS_MSG_GENERATE && p->type != VS_MSG_CHAT)) {
        *o = (struct vs_outcome){ 0 };
        vs_error_set(&o->error, p->stop != VS_OK ? p->stop : VS_E_FILTERED, "%s",
                     vs_status_text(p->stop != VS_OK ? p->stop : VS_E_FILTERED));
        verdict_format(&p->verdict, p->screen, o->guard, sizeof o->guard);
        end_with(g, p, VS_MSG_ERROR, o, &body);
        return;
    }
    o->error = (struct vs_error){ 0 };
    snprintf(o->finish_reason, sizeof o->finish_reason, "filtered");
    if (!o->has_usage)
        o->usage = (struct vs_usage){ .completion_tokens = p->n_tokens };
    o->has_usage = true;
    if (!o->model_digest[0])
        memcpy(o->model_digest, g->digest, sizeof o->model_digest);
    verdict_format(&p->verdict, p->screen, o->guard, sizeof o->guard);
    add_cut_body(p, &body);
    end_with(g, p, VS_MSG_COMPLETE, o, &body);
    vs_buf_clear(&body);
}

/* There is a result, and it can't be said: it alone ends, with `text` where that is about a limit. */
static void end_unsaid(struct guard *g, struct pass *p, int code, const char *text)
{
    pass_log(g, p);
    pass_fail(g, p, VS_MSG_ERROR, code, code == VS_E_LIMIT ? text : vs_status_text(code));
}

void output_terminal(struct guard *g, struct pass *p, const struct vs_frame *f)
{
    struct vs_payload payload;
    struct vs_outcome o;
    struct vs_error why;
    struct vs_buf body = { .limit = VS_MAX_RESULT };
    if (vs_payload_split(f->data, f->n, VS_MAX_ENVELOPE, &payload, &why) != VS_OK
        || vs_outcome_parse(payload.envelope, payload.envelope_bytes, &o, &why) != VS_OK
        || (f->type == VS_MSG_COMPLETE) != (o.error.code == VS_OK) || (f->type == VS_MSG_REJECTED && payload.body_bytes)
        || !checked_outcome(&o)) {
        back_break(g, "an envelope that does not fit its frame");
        return;
    }
    json_t *json = NULL;
    bool is_error = f->type == VS_MSG_ERROR;     /* whose body is for a receipt: it may go without */
    if (p->screen->side[SIDE_RESULT].n && payload.body_bytes
        && !(json = vs_json_read(payload.body, payload.body_bytes, p->screen->rest, &why))) {
        if (why.code == VS_E_MALFORMED) {
            back_break(g, "a result that is no JSON");
            return;
        }
        if (!is_error) {
            end_unsaid(g, p, why.code, "the result takes more memory than there is to look at it; ask for less at once");
            return;
        }
        payload.body_bytes = 0;
    }
    o.guard[0] = o.salt[0] = 0;         /* ours to say, and the broker's */
    o.is_altered = o.is_withheld = false;
    output_end(g, p);
    bool passed = !p->is_cut && (!json || screen_body(p, json, &body));
    if (is_error && !p->is_cut && (!passed || body.status != VS_OK)) {
        vs_buf_clear(&body);
        passed = true;
    }
    if (!json)
        vs_buf_add(&body, payload.body, payload.body_bytes);
    json_decref(json);
    if (!passed) {
        vs_buf_clear(&body);
        output_end_cut(g, p, &o);
        return;
    }
    if (body.status != VS_OK) {
        end_unsaid(g, p, body.status, "with what the policy replaces in it the result is longer than a result may be; "
                   "ask for less at once");
        vs_buf_clear(&body);
        return;
    }
    if (o.error.code != VS_OK && p->screen->side[SIDE_RESULT].n)
        checked_message(p->screen, &p->verdict, &o.error);
    if (!p->is_wanted_back || o.error.code != VS_E_BUSY)        /* else it is found again when it comes again */
        pass_log(g, p);
    verdict_format(&p->verdict, p->screen, o.guard, sizeof o.guard);
    end_with(g, p, f->type, &o, &body);
    vs_buf_clear(&body);
}
