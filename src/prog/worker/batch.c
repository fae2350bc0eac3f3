/* prog/worker/batch.c - the works of work.h, step by step. */
#include "prog/worker/work.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/sha256.h"
#include "base/word.h"
#include "draft/draft.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_SAMPLERS = 16, LEAST_COMMON = VS_PAGE_TOKENS, PREPARE_NS = 200000 };

struct vs_works {
    struct vs_model *model;
    struct vs_kv *kv;
    struct vs_sched *sched;
    struct vs_works_config config;
    uint32_t max_lanes, n_lanes;
    struct vs_sched_request **lanes;     /* [max_lanes] those of the admitted works */
    struct vs_lane **step, **reading;    /* [max_lanes] those that are in the step; of these, those that take logits */
    struct vs_work *admitted, *waiting;
    struct vs_sampler *samplers[MAX_SAMPLERS];
    uint32_t n_samplers;
    uint64_t preemptions, prompt_tokens;
    void (*attend)(void *context);
    void *context;
    uint32_t n_step, n_prepared;         /* of the step's lanes, so many of the first are prepared */
    struct vs_sched_work plain;          /* the last step, without its guesses */
    uint32_t position;                   /* of the rows that vs_works_step was asked for */
    uint64_t ended_ns;                   /* when the last step was delivered; 0: nothing ran since */
    uint64_t guess_ns;                   /* that guesses took since then: of the next step's time, and no row's cost */
};

/* ---- a work's memory ---- */

/* What the request says of the adapters, else as they were loaded. Only who has the same meets what others have computed. */
static int read_adapters(struct vs_work *w, const json_t *request, struct vs_error *err)
{
    unsigned n = w->s->model ? vs_model_n_adapters(w->s->model) : 0;
    const json_t *list = json_object_get(request, "lora");
    if (json_is_array(list) && json_array_size(list) != n)
        return vs_error_set(err, VS_E_INVALID, "lora: the model has %u adapter%s, this lists %zu", n, vs_plural(n),
                            json_array_size(list));
    for (unsigned i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        double scale = json_number_value(v);
        if (v && !(json_is_number(v) && scale >= -VS_MOST_SCALE && scale <= VS_MOST_SCALE))
            return vs_error_set(err, VS_E_INVALID, "lora: scale %u is no number from -%d to %d", i + 1, VS_MOST_SCALE,
                                VS_MOST_SCALE);
        w->adapters[i] = v ? (float)scale + 0.0f : vs_model_adapters(w->s->model)[i];    /* no -0 */
    }
    if (!n)
        return VS_OK;
    struct vs_sha256 sum;
    uint8_t hash[32];
    vs_sha256_init(&sum);
    vs_sha256_add(&sum, w->adapters, n * sizeof *w->adapters);
    if (w->cache_key && w->s->config.sharing != VS_KV_SHARE_ALL)
        vs_sha256_add(&sum, w->cache_key, strlen(w->cache_key));
    vs_sha256_end(&sum, hash);
    vs_hex(hash, sizeof hash, w->key);
    w->cache_key = w->key;
    return VS_OK;
}

int vs_work_init(struct vs_work *w, const struct vs_work_kind *kind, struct vs_service *s, struct vs_sink *sink, json_t *request,
                 uint32_t n_lanes, struct vs_error *err)
{
    const json_t *key = json_object_get(request, "cache_key");
    *w = (struct vs_work){ .kind = kind, .s = s, .sink = sink, .request = json_incref(request),
                           .cache_key = json_string_value(key) };
    size_t n = json_string_length(key);
    if (w->cache_key && (n < 1 || n > VS_KV_MAX_KEY || strlen(w->cache_key) != n))
        return vs_error_set(err, VS_E_INVALID, "cache_key: a string of 1 to %d bytes, none of them NUL, is needed; this has %zu",
                            VS_KV_MAX_KEY, n);
    int r = read_adapters(w, request, err);
    if (r != VS_OK)
        return r;
    w->lanes = calloc(n_lanes, sizeof *w->lanes);
    if (!w->lanes)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    w->n_lanes = n_lanes;
    for (uint32_t i = 0; i < n_lanes; i++) {
        w->lanes[i].work = w;
        w->lanes[i].index = i;
        w->lanes[i].sched.client = sink->client;
        w->lanes[i].sched.priority = sink->priority;
        w->lanes[i].sched.arrived_ns = sink->arrived_ns;
    }
    return VS_OK;
}

void vs_work_free(struct vs_work *w)
{
    if (!w)
        return;
    free(w->lanes);
    json_decref(w->request);
    w->kind->free(w);
}

/* ---- lanes ---- */

static struct vs_lane *lane_of(const struct vs_works *b, uint32_t i)
{
    return (struct vs_lane *)(void *)b->lanes[i];
}

static uint32_t length(const struct vs_lane *l)
{
    return l->kv ? vs_kv_length(l->kv) : 0;
}

static bool is_ended(const struct vs_lane *l)
{
    return l->want.n == 0;
}

static void close_lane(struct vs_lane *l, bool keep)
{
    if (l->kv)
        vs_kv_close(l->kv, keep);
    l->kv = NULL;
}

/* It lost its place. What it computed is kept until others need the pages. */
static void park(struct vs_works *b, struct vs_lane *l)
{
    close_lane(l, true);
    b->preemptions++;
}

/* Lanes of w, and those that have ended, are no more; nobody waits for them. w NULL: the ended ones only. */
static void forget(struct vs_works *b, const struct vs_work *w)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < b->n_lanes; i++) {
        struct vs_lane *l = lane_of(b, i);
        if (l->leader && l->leader->work == w)
            l->leader = NULL;
        if (l->work != w && !is_ended(l))
            b->lanes[kept++] = b->lanes[i];
    }
    b->n_lanes = kept;
}

static void unlink_work(struct vs_work **list, const struct vs_work *w)
{
    while (*list && *list != w)
        list = &(*list)->next;
    if (*list)
        *list = w->next;
}

/* The work's end, wherever it is. result is taken over. */
static void end(struct vs_works *b, struct vs_work *w, int status, json_t *result, const struct vs_error *err)
{
    struct vs_sink *sink = w->sink;
    struct vs_error why = err ? *err : (struct vs_error){ 0 };
    forget(b, w);
    unlink_work(&b->admitted, w);
    unlink_work(&b->waiting, w);
    for (uint32_t i = 0; i < w->n_lanes; i++)
        close_lane(&w->lanes[i], w->kind->keep && status != VS_E_FAULT);
    vs_work_free(w);
    sink->ended(sink->context, status, result, &why);
}

static void fail(struct vs_works *b, struct vs_work *w, int status, const struct vs_error *err)
{
    struct vs_error why = { 0 };
    if (!err || err->code != status || !err->text[0])
        vs_error_set(&why, status, "%s", vs_status_text(status));
    end(b, w, status, NULL, why.code ? &why : err);
}

static void complete(struct vs_works *b, struct vs_work *w)
{
    for (uint32_t i = 0; i < w->n_lanes; i++)
        if (!is_ended(&w->lanes[i]))
            return;
    json_t *result = w->kind->result(w);
    if (result)
        end(b, w, VS_OK, result, NULL);
    else
        fail(b, w, VS_E_NOMEM, NULL);
}

static void leave_stopped(struct vs_works *b, struct vs_work *list)
{
    for (struct vs_work *w = list, *next; w; w = next) {
        next = w->next;
        int status = w->sink->stopped(w->sink->context);
        if (status != VS_OK)
            fail(b, w, status, NULL);
    }
}

/* ---- what each wants ---- */

static uint32_t common(const struct vs_want *a, const struct vs_want *b)
{
    uint32_t most = a->n_shared < b->n ? a->n_shared : b->n, n = 0;
    while (n < most && a->tokens[n] == b->tokens[n])
        n++;
    return n;
}

static bool may_share(const struct vs_works *b, const struct vs_work *a, const struct vs_work *c)
{
    bool same_key = strcmp(a->cache_key ? a->cache_key : "", c->cache_key ? c->cache_key : "") == 0;
    if (a == c || (b->config.sharing == VS_KV_SHARE_ALL && (same_key || !vs_model_n_adapters(b->model))))
        return true;
    return b->config.sharing == VS_KV_SHARE_OWNER && a->sink->owner == c->sink->owner && same_key;
}

/* The one of those before it that reads the most of what it has to read. A state can be had only where the leader is marked: where
 * the choices of a work part. */
static void find_leader(struct vs_works *b, struct vs_lane *l)
{
    l->n_common = LEAST_COMMON - 1;
    if (l->index && !l->work->kind->apart) {     /* of several choices the first reads the prompt for all */
        l->leader = &l->work->lanes[0];
        l->n_common = common(&l->want, &l->leader->want);        /* beyond the prompt only what both have said already */
        return;
    }
    if (vs_model_config(b->model)->n_states)
        return;
    for (uint32_t i = 0; i < b->n_lanes; i++) {
        struct vs_lane *other = lane_of(b, i);
        if (other == l || other->want.decode || is_ended(other) || !may_share(b, l->work, other->work))
            continue;
        uint32_t n = common(&l->want, &other->want);
        if (n > l->n_common) {
            l->n_common = n;
            l->leader = other;
        }
    }
}

/* Is what it needs being computed by its leader, so that it waits? As long as neither has a place both may get one. */
static bool follows(struct vs_lane *l)
{
    struct vs_lane *leader = l->leader;
    bool useful = leader && !is_ended(leader) && length(leader) < l->n_common && length(l) < l->n_common;
    if (useful && !leader->sched.place && !l->sched.place)
        return false;
    if (!useful || !leader->sched.place || !(leader->leader || leader->sched.runnable))
        l->leader = NULL;
    return l->leader != NULL;
}

static void look(struct vs_lane *l)
{
    struct vs_work *w = l->work;
    w->kind->want(w, l->index, &l->want);
    l->want.n_source = l->want.n ? vs_model_source(w->s->model, l->want.tokens, l->want.n) : 0;
    if (l->text != l->want.text) {
        if (l->kv)
            vs_kv_truncate(l->kv, 0);
        l->n_reached = 0;
        l->text = l->want.text;
    }
}

/* What others of its kind have computed meanwhile, it need not. */
static uint32_t adopt(struct vs_lane *l)
{
    uint32_t had = length(l);
    return had < l->want.n_shared ? vs_kv_adopt(l->kv, l->want.tokens, l->want.n_shared) - had : 0;
}

static void tell_sched(struct vs_lane *l)
{
    struct vs_sink *sink = l->work->sink;
    uint32_t n_pages = 0;
    if (l->kv)
        vs_kv_pages(l->kv, &n_pages);
    bool held_up = follows(l);
    l->sched.runnable = !held_up && !sink->is_full(sink->context);
    l->sched.decode = l->want.decode && length(l) + 1 >= l->want.n_known;
    bool in_source = length(l) < l->want.n_source;
    l->sched.whole = l->want.whole || in_source;
    l->sched.position = length(l);
    l->sched.n_rows = (in_source ? l->want.n_source : l->want.n) - length(l);
    l->sched.n_outs = in_source ? 0 : l->want.n_out < l->sched.n_rows ? l->want.n_out : l->sched.n_rows;
    l->sched.need_pages = l->kv ? 0 : vs_pages_for(l->want.n);
    l->sched.held_pages = n_pages;
}

/* ---- who comes in ---- */

static int check_size(const struct vs_works *b, const struct vs_work *w, struct vs_error *err)
{
    uint32_t room = vs_model_config(b->model)->n_pages * VS_PAGE_TOKENS, n = w->lanes[0].want.n;
    return n <= room ? VS_OK : vs_error_set(err, VS_E_CONTEXT, "%u tokens do not fit into the KV cache of %u", n, room);
}

static void run_alone(struct vs_works *b, struct vs_work *w)
{
    json_t *result = NULL;
    struct vs_error err = { 0 };
    vs_kv_forget(b->kv);
    int status = w->kind->alone(w, &result, &err);
    if (status == VS_OK)
        end(b, w, VS_OK, result, NULL);
    else
        fail(b, w, status, &err);
}

/* In the order of their coming. One that wants the model to itself waits until it is empty, and lets none in before it. */
static void admit(struct vs_works *b)
{
    for (struct vs_work *w; (w = b->waiting);) {
        if (w->kind->alone ? b->n_lanes > 0 : b->max_lanes - b->n_lanes < w->n_lanes)
            return;
        if (w->kind->alone) {
            run_alone(b, w);
            continue;
        }
        struct vs_error err = { 0 };
        for (uint32_t i = 0; i < w->n_lanes; i++)
            look(&w->lanes[i]);
        int status = check_size(b, w, &err);
        if (status != VS_OK) {
            fail(b, w, status, &err);
            continue;
        }
        b->waiting = w->next;
        w->next = b->admitted;
        b->admitted = w;
        for (uint32_t i = 0; i < w->n_lanes; i++) {
            find_leader(b, &w->lanes[i]);
            if (!is_ended(&w->lanes[i]))
                b->lanes[b->n_lanes++] = &w->lanes[i].sched;
        }
        complete(b, w);                  /* nothing is left to be made */
    }
}

void vs_works_join(struct vs_works *b, struct vs_work *w)
{
    struct vs_work **at = &b->waiting;
    while (*at)
        at = &(*at)->next;
    w->next = NULL;
    *at = w;
}

/* ---- pages ---- */

/* A choice that has not begun; the prompt is one for all. */
static bool may_fork(const struct vs_lane *l)
{
    return l->index && !l->work->kind->apart && !l->kv && !l->n_reached && l->n_common;
}

/* Has it computed all that for_whom, which may fork, has in common with the first choice? */
static bool holds(const struct vs_lane *l, const struct vs_lane *for_whom)
{
    return l != for_whom && l->kv && length(l) >= for_whom->n_common && (!l->index || l->n_common >= for_whom->n_common);
}

/* Another than `but` that does; NULL: none. */
static const struct vs_lane *holder_for(const struct vs_lane *for_whom, const struct vs_lane *but)
{
    const struct vs_work *w = for_whom->work;
    for (uint32_t i = 0; i < w->n_lanes; i++)
        if (&w->lanes[i] != but && holds(&w->lanes[i], for_whom))
            return &w->lanes[i];
    return NULL;
}

/* How many tokens of one that has ended choices need that come later, and nobody else has; 0: none. Where sequences are kept they
 * find them so. Of states there must be enough for that: two for each place, one for each request, of which there are twice as
 * many. */
static uint32_t awaited(const struct vs_works *b, const struct vs_lane *l)
{
    uint32_t most = 0, n_states = vs_model_config(b->model)->n_states;
    if (b->config.sharing != VS_KV_SHARE_NONE || (n_states && n_states < 4 * b->config.places))
        return 0;
    for (uint32_t i = 0; i < l->work->n_lanes; i++) {
        const struct vs_lane *other = &l->work->lanes[i];
        if (other->n_common > most && may_fork(other) && !is_ended(other) && holds(l, other) && !holder_for(other, l))
            most = other->n_common;
    }
    return most;
}

/* It has ended: what it holds goes, but for what is awaited. */
static void leave(const struct vs_works *b, struct vs_lane *l)
{
    uint32_t n = awaited(b, l);
    if (n)
        vs_kv_truncate(l->kv, n);
    if (!n || length(l) < n)             /* a state is not to be had everywhere */
        close_lane(l, l->work->kind->keep);
}

/* Pages of those that have ended and are awaited; let_go: no more. */
static uint32_t count_awaited(struct vs_works *b, bool let_go)
{
    uint32_t all = 0, n;
    for (struct vs_work *w = b->admitted; w; w = w->next)
        for (uint32_t i = 0; i < w->n_lanes; i++) {
            struct vs_lane *l = &w->lanes[i];
            if (!l->kv || !is_ended(l))
                continue;
            vs_kv_pages(l->kv, &n);
            all += n;
            if (let_go)
                close_lane(l, false);
        }
    return all;
}

static int open_sequence(struct vs_works *b, struct vs_lane *l)
{
    const struct vs_lane *from = may_fork(l) ? holder_for(l, NULL) : NULL;
    int status;
    if (from && vs_kv_fork(from->kv, &l->kv) == VS_OK) {
        vs_kv_truncate(l->kv, l->n_common);
        return VS_OK;
    }
    do
        status = vs_kv_open(b->kv, l->work->sink->owner, l->work->cache_key, &l->kv);
    while (status == VS_E_BUSY && count_awaited(b, true));
    return status;
}

/* It has a place, and no pages yet. */
static int open_lane(struct vs_works *b, struct vs_lane *l)
{
    struct vs_work *w = l->work;
    struct vs_lane *first = &w->lanes[0];
    int status = open_sequence(b, l);
    if (status != VS_OK)
        return vs_error_set(&l->err, status, "no sequence is free");
    uint32_t found = length(l) + adopt(l);
    if (l->placed_ns)
        w->n_recomputed += l->n_reached > found ? l->n_reached - found : 0;
    else
        l->placed_ns = vs_clock_ns();
    if ((l == first || w->kind->apart) && !l->n_reached)
        w->n_cached += found;
    l->n_reached = found > l->n_reached ? found : l->n_reached;
    return VS_OK;
}

/* Pages for the rows that the plan gives it; others may have to go for that, or it goes itself. */
static int reserve(struct vs_works *b, struct vs_lane *l)
{
    int status;
    while (l->sched.rows && (status = vs_kv_reserve(l->kv, length(l) + l->sched.rows)) != VS_OK) {
        if (l->sched.decode && l->sched.rows > 1) {      /* nobody goes for guesses */
            l->sched.rows = 1;
            continue;
        }
        if (status == VS_E_BUSY && count_awaited(b, true))
            continue;
        size_t victim = status == VS_E_BUSY ? vs_sched_victim(b->lanes, b->n_lanes) : b->n_lanes;
        if (victim == b->n_lanes)
            return vs_error_set(&l->err, VS_E_CONTEXT, "%u tokens do not fit into the KV cache of %u", length(l) + l->sched.rows,
                                vs_model_config(b->model)->n_pages * VS_PAGE_TOKENS);
        park(b, lane_of(b, (uint32_t)victim));
    }
    return VS_OK;
}

/* How many of the lane's rows in the step are read. */
static uint32_t outs_of(const struct vs_lane *l)
{
    uint32_t have = length(l), end = have + l->sched.rows, first = l->want.n - l->want.n_out;
    return end <= first ? 0 : have >= first ? l->sched.rows : end - first;
}

/* The plan knew nothing of what a lane would find when it opens: it may be nearer to its end, and read more rows than were planned.
 * outs: so many rows may be read. */
static void fit(struct vs_lane *l, uint32_t outs)
{
    uint32_t left = l->want.n - length(l);
    l->sched.rows = follows(l) ? 0 : l->sched.rows < left ? l->sched.rows : left;
    uint32_t n = outs_of(l), over = n > outs ? n - outs : 0;
    l->sched.rows -= over;
}

/* Whoever got a place is opened, and finds what is computed of it already. */
static int open_placed(struct vs_works *b, struct vs_lane **ret_bad)
{
    uint32_t outs = vs_model_config(b->model)->max_out;
    for (uint32_t i = 0; i < b->n_lanes; i++)
        outs -= lane_of(b, i)->kv ? outs_of(lane_of(b, i)) : 0;
    for (uint32_t i = 0; i < b->n_lanes; i++) {
        struct vs_lane *l = *ret_bad = lane_of(b, i);
        if (!l->sched.place || l->kv)
            continue;
        if (may_fork(l) && follows(l)) {         /* it begins where the first one has read the prompt */
            l->sched.rows = 0;
            continue;
        }
        int status = open_lane(b, l);
        if (status != VS_OK)
            return status;
        fit(l, outs);
        outs -= outs_of(l);
    }
    return VS_OK;
}

/* A work that fails here ends; then the plan does not stand. */
static bool prepare(struct vs_works *b)
{
    struct vs_lane *l = NULL;
    for (uint32_t i = 0; i < b->n_lanes; i++)
        if (lane_of(b, i)->sched.left)
            park(b, lane_of(b, i));
    int status = open_placed(b, &l);
    for (uint32_t i = 0; i < b->n_lanes && status == VS_OK; i++)
        status = reserve(b, l = lane_of(b, i));
    if (status != VS_OK)
        fail(b, l->work, status, &l->err);
    return status == VS_OK;
}

/* ---- a step ---- */

/* The other threads compute meanwhile. What a lane needs beside logits is made while there is time: the step may be near its end,
 * and whatever is not made now is made when it is asked for. */
static void prepare_lanes(struct vs_works *b)
{
    uint64_t until = vs_clock_ns() + PREPARE_NS;
    while (b->n_prepared < b->n_step && vs_clock_ns() < until) {
        struct vs_lane *l = b->step[b->n_prepared++];
        if (l->work->kind->prepare && l->n_out)
            l->work->kind->prepare(l->work, l->index);
    }
}

static int ask(void *context)
{
    struct vs_works *b = context;
    b->attend(b->context);
    prepare_lanes(b);
    for (uint32_t i = 0; i < b->n_step; i++)
        if (b->step[i]->work->sink->stopped(b->step[i]->work->sink->context) == VS_OK)
            return VS_OK;
    return VS_E_CANCELLED;               /* nobody wants it any more */
}

/* Where in its next rows a sequence with a state is marked, to go back to or to be shared: before guesses, or at the end of a
 * prompt. 0: nowhere. */
static uint32_t mark_of(const struct vs_lane *l, bool *ret_keep)
{
    uint32_t have = length(l), at = l->want.decode ? l->want.n_known : l->want.n_shared;
    *ret_keep = !l->want.decode;
    return at > have && at <= have + l->sched.rows ? at - have : 0;
}

/* The step's rows from `at` on, of one of its outputs. */
static const float *rows_of(const struct vs_works *b, enum vs_output output, const float *logits, uint32_t at)
{
    const float *rows = output == VS_OUTPUT_LOGITS ? logits : vs_batch_output(b->model, (int)output);
    return rows + at * (size_t)vs_graph_width(vs_model_graph(b->model), output);
}

/* Rows of lanes[n] computed and committed; or nothing has changed. */
static int compute(struct vs_works *b, struct vs_lane *const *lanes, uint32_t n, struct vs_error *err)
{
    const float *logits = NULL;
    unsigned outputs = 0;
    uint32_t at = 0;
    int status = VS_OK;
    vs_batch_begin(b->model);
    for (uint32_t i = 0; i < n && status == VS_OK; i++) {
        struct vs_lane *l = lanes[i];
        bool keep;
        uint32_t mark = mark_of(l, &keep);
        l->n_out = outs_of(l);
        outputs |= l->n_out ? 1u << l->work->kind->output : 0;
        vs_batch_adapt(b->model, l->work->adapters);
        status = vs_batch_add_marked(b->model, l->kv, l->want.tokens + length(l), l->sched.rows, l->n_out, mark, keep, err);
    }
    if (status == VS_OK)
        status = vs_batch_compute(b->model, outputs, ask, b, &logits, err);
    for (uint32_t i = 0; i < n; i++) {
        struct vs_lane *l = lanes[i];
        uint32_t have = length(l);
        if (status != VS_OK) {
            vs_kv_truncate(l->kv, have);
            continue;
        }
        vs_kv_commit(l->kv, l->want.tokens + have, l->sched.rows);
        b->prompt_tokens += l->want.decode ? 0 : l->sched.rows;
        l->n_reached = length(l) > l->n_reached ? length(l) : l->n_reached;
        l->rows = l->n_out ? rows_of(b, l->work->kind->output, logits, at) : NULL;
        at += l->n_out;
    }
    return status;
}

static void take(void *context, uint32_t i, unsigned thread)
{
    struct vs_works *b = context;
    struct vs_lane *l = b->reading[i];
    l->status = l->work->kind->take(l->work, l->index, b->samplers[thread], l->rows, l->n_out, &l->err);
}

/* A thread has a sampler of its own; where there are more threads, the rest have none and this does without them. */
static void take_all(struct vs_works *b, uint32_t n)
{
    struct vs_backend *backend = vs_model_backend(b->model);
    if (b->n_samplers == vs_model_config(b->model)->n_threads)
        backend->kind->each(backend, n, take, b);
    else
        for (uint32_t i = 0; i < n; i++)
            take(b, i, 0);
}

static void tell_progress(struct vs_lane *l)
{
    struct vs_work *w = l->work;
    if (l->index == 0 && w->kind->what && !l->want.decode)
        w->sink->progress(w->sink->context, w->kind->what, length(l), l->want.n);
}

/* What was computed goes to those who wanted it. */
static void deliver(struct vs_works *b, struct vs_lane *const *lanes, uint32_t n)
{
    uint32_t n_reading = 0;
    for (uint32_t i = 0; i < n; i++) {
        lanes[i]->status = VS_OK;
        if (lanes[i]->n_out)
            b->reading[n_reading++] = lanes[i];
    }
    take_all(b, n_reading);
    for (uint32_t i = 0; i < n; i++) {
        struct vs_lane *l = lanes[i];
        struct vs_work *w = l->work;
        tell_progress(l);
        if (l->status == VS_OK && l->n_out)
            l->status = w->kind->send(w, l->index, &l->err);
    }
}

/* The last token that is known has just come; what was computed in its place and behind it was guessed. */
static void drop_guesses(struct vs_lane *l)
{
    vs_kv_truncate(l->kv, l->want.n_known - 1);
    l->n_reached = length(l);
}

/* The lanes of the step that failed, and those that have ended. */
static void settle(struct vs_works *b)
{
    for (struct vs_work *w = b->admitted, *next; w; w = next) {
        next = w->next;
        struct vs_lane *bad = NULL;
        for (uint32_t i = 0; i < w->n_lanes; i++) {
            struct vs_lane *l = &w->lanes[i];
            if (l->status != VS_OK && !bad)
                bad = l;
            if (l->status != VS_OK)
                continue;
            if (!is_ended(l))
                look(l);
            if (is_ended(l))
                leave(b, l);
            else if (l->want.decode && length(l) >= l->want.n_known)
                drop_guesses(l);
        }
        if (bad)
            fail(b, w, bad->status, &bad->err);
        else
            complete(b, w);
    }
    forget(b, NULL);
}

/* A NaN is the affair of one sequence: each alone, to see of which. */
static void one_by_one(struct vs_works *b)
{
    for (uint32_t i = 0; i < b->n_step; i++) {
        struct vs_lane *l = b->step[i];
        int status = compute(b, &l, 1, &l->err);
        if (status == VS_OK)
            deliver(b, &l, 1);
        else
            l->status = status;
    }
}

static void fail_step(struct vs_works *b, int status, const struct vs_error *err)
{
    for (uint32_t i = 0; i < b->n_step; i++) {
        b->step[i]->status = status;
        b->step[i]->err = *err;
    }
}

/* ---- what guesses are told ---- */

/* Who read the last of a prompt goes on with a row at a time. */
static void note_step(struct vs_works *b)
{
    b->plain = (struct vs_sched_work){ 0 };
    for (uint32_t i = 0; i < b->n_step; i++) {
        const struct vs_sched_request *r = &b->step[i]->sched;
        uint32_t plain = r->decode || length(b->step[i]) >= b->step[i]->want.n ? 1 : r->rows;
        b->plain.rows += plain;
        b->plain.outs += b->step[i]->n_out < plain ? b->step[i]->n_out : plain;
        *(r->decode ? &b->plain.decode_attended : &b->plain.prompt_attended) += plain * (double)r->position;
    }
}

static struct vs_sched_work with_rows(const struct vs_works *b, uint32_t n_rows)
{
    struct vs_sched_work work = b->plain;
    uint32_t more = n_rows > work.rows ? n_rows - work.rows : 0;
    work.rows += more;
    work.outs += more;
    work.decode_attended += more * (double)b->position;
    return work;
}

static double cost_of(void *context, uint32_t n_rows)
{
    const struct vs_works *b = context;
    struct vs_sched_work work = with_rows(b, n_rows);
    double ns = vs_sched_draft_cost(b->sched, &work);
    return ns > 1 ? ns : 1;
}

/* Would the plan give rows to so many guesses? */
static bool has_room(const struct vs_works *b, uint32_t n, double limit)
{
    struct vs_sched_work work = with_rows(b, b->plain.rows + n);
    return vs_sched_cost(b->sched, &work) <= limit;
}

void vs_works_step(struct vs_works *b, uint32_t position, struct vs_draft_step *ret)
{
    const struct vs_model_config *c = vs_model_config(b->model);
    uint32_t outs = c->max_out - b->plain.outs, rows = c->chunk - b->plain.rows, room = outs < rows ? outs : rows;
    uint32_t next = vs_sched_draft_rows(b->sched, b->plain.rows) - b->plain.rows;
    double limit = vs_sched_draft_limit(b->sched) - (double)b->guess_ns;
    b->position = position;
    room = room < next ? room : next;
    room = room < VS_DRAFT_MOST ? room : VS_DRAFT_MOST;
    while (room && !has_room(b, room, limit))
        room--;
    *ret = (struct vs_draft_step){ .n_rows = b->plain.rows ? b->plain.rows : 1, .n_most = room, .cost = cost_of, .context = b,
                                   .limit = limit };
}

void vs_works_guessed(struct vs_works *b, uint64_t ns)
{
    b->guess_ns += ns;
}

static bool step(struct vs_works *b, uint64_t start)
{
    struct vs_error err = { 0 };
    b->n_step = b->n_prepared = 0;
    for (uint32_t i = 0; i < b->n_lanes; i++) {
        lane_of(b, i)->status = VS_OK;
        if (b->lanes[i]->rows)
            b->step[b->n_step++] = lane_of(b, i);
    }
    if (!b->n_step) {
        b->ended_ns = b->guess_ns = 0;
        return false;
    }
    vs_sched_begin(b->sched, b->lanes, b->n_lanes);
    int status = compute(b, b->step, b->n_step, &err);
    if (status == VS_OK)
        deliver(b, b->step, b->n_step);
    else if (status == VS_E_FAULT && b->n_step > 1)
        one_by_one(b);
    else if (status != VS_E_CANCELLED)
        fail_step(b, status, &err);
    b->attend(b->context);               /* what is said goes on its way before guesses are made */
    uint64_t now = vs_clock_ns(), ns = now - (b->ended_ns ? b->ended_ns : start);
    vs_sched_end(b->sched, ns);
    b->ended_ns = now;
    b->guess_ns = 0;
    note_step(b);
    settle(b);
    return true;
}

bool vs_works_turn(struct vs_works *b, void (*attend)(void *context), void *context)
{
    uint64_t start = vs_clock_ns();
    struct vs_kv_counts pages;
    b->attend = attend;
    b->context = context;
    leave_stopped(b, b->admitted);
    leave_stopped(b, b->waiting);
    admit(b);
    if (!b->n_lanes) {
        b->ended_ns = b->guess_ns = 0;
        return false;
    }
    for (uint32_t i = 0; i < b->n_lanes; i++) {
        struct vs_lane *l = lane_of(b, i);
        uint32_t found = l->kv && !l->want.decode ? adopt(l) : 0;
        l->work->n_cached += l->index == 0 || l->work->kind->apart ? found : 0;
        tell_sched(l);
    }
    vs_kv_count(b->kv, &pages);
    vs_sched_plan(b->sched, b->lanes, b->n_lanes, pages.free + pages.cached + count_awaited(b, false), start, b->guess_ns);
    return !prepare(b) || step(b, start);
}

void vs_works_count(const struct vs_works *b, struct vs_works_counts *ret)
{
    *ret = (struct vs_works_counts){ .preemptions = b->preemptions, .prompt_tokens = b->prompt_tokens };
    for (uint32_t i = 0; i < b->n_lanes; i++)
        ret->parked += lane_of(b, i)->placed_ns && !b->lanes[i]->place;
}

/* ---- begin, end ---- */

uint32_t vs_works_max_lanes(uint32_t places)
{
    return VS_LANES_PER_PLACE * places + VS_MAX_CHOICES;
}

int vs_works_create(struct vs_model *m, const struct vs_works_config *config, struct vs_works **ret)
{
    const struct vs_model_config *c = vs_model_config(m);
    struct vs_works *b = calloc(1, sizeof *b);
    if (!b)
        return VS_E_NOMEM;
    b->model = m;
    b->kv = vs_model_kv(m);
    b->config = *config;
    b->max_lanes = vs_works_max_lanes(config->places);
    b->lanes = calloc(b->max_lanes, sizeof(struct vs_sched_request *));
    b->step = calloc(b->max_lanes, sizeof(struct vs_lane *));
    b->reading = calloc(b->max_lanes, sizeof(struct vs_lane *));
    const struct vs_sched_config sched = { .chunk = c->chunk, .outs = c->max_out, .places = config->places,
                                           .max_requests = b->max_lanes, .target_ns = config->target_ns };
    int status = b->lanes && b->step && b->reading ? vs_sched_create(&sched, &b->sched) : VS_E_NOMEM;
    uint32_t n = c->n_threads <= MAX_SAMPLERS ? c->n_threads : 1;
    for (; b->n_samplers < n && status == VS_OK; b->n_samplers++)
        status = vs_sampler_create(vs_model_n_vocab(m), &b->samplers[b->n_samplers]);
    if (status == VS_OK)
        *ret = b;
    else
        vs_works_free(b);
    return status;
}

void vs_works_free(struct vs_works *b)
{
    if (!b)
        return;
    for (uint32_t i = 0; i < b->n_samplers; i++)
        vs_sampler_free(b->samplers[i]);
    vs_sched_free(b->sched);
    free(b->lanes);
    free(b->step);
    free(b->reading);
    free(b);
}
