/* sched/rows.c - how many rows of each request are in the step. */
#include "sched/internal.h"

#include <math.h>

enum { DRAFT_ALONE = 4,                 /* times the time of a step without drafts */
       FEW_ROWS = 4,                    /* less of a prompt is not worth a step's while, unless it is all */
       FEW_ROWS_ALONE = 64,             /* where nothing decodes: then all the weights are read for them */
       FIRST_ROWS = 16 };               /* of prompts, before anything was measured */

static double attended(const struct vs_sched_request *r, double n_rows)
{
    return n_rows * r->position + n_rows * (n_rows + 1) / 2;
}

static uint32_t outs_of(const struct vs_sched_request *r, uint32_t n_rows)
{
    uint32_t unread = r->n_outs < r->n_rows ? r->n_rows - r->n_outs : 0;
    return n_rows > unread ? n_rows - unread : 0;
}

void vs_sched_add(struct vs_sched_work *work, const struct vs_sched_request *r, uint32_t n_rows)
{
    work->rows += n_rows;
    work->outs += outs_of(r, n_rows);
    *(r->decode ? &work->decode_attended : &work->prompt_attended) += attended(r, n_rows);
}

static void set_rows(struct vs_sched *s, struct vs_sched_request *r, uint32_t n_rows)
{
    r->rows = n_rows;
    vs_sched_add(&s->work, r, n_rows);
}

static double cost_with(const struct vs_sched *s, const struct vs_sched_request *r, uint32_t n_rows)
{
    struct vs_sched_work work = s->work;
    vs_sched_add(&work, r, n_rows);
    return vs_cost_of(&s->cost, &work);
}

/* The most rows, up to `most`, with which the step stays within limit_ns. */
static uint32_t fitting(const struct vs_sched *s, const struct vs_sched_request *r, uint32_t most, double limit_ns)
{
    if (cost_with(s, r, most) <= limit_ns)
        return most;
    uint32_t low = 0, high = most;      /* low fits, high does not */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (cost_with(s, r, middle) <= limit_ns)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static bool in_step(const struct vs_sched_request *r, bool decode)
{
    return r->place && r->runnable && r->decode == decode;
}

static void set_decoding(struct vs_sched *s, struct vs_sched_request *const *request, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (in_step(request[i], true)) {
            set_rows(s, request[i], 1);
            s->n_decoding++;
        } else if (in_step(request[i], false)) {
            s->prompt[s->n_prompts++] = request[i];
        }
    s->decode_ns = vs_cost_of(&s->cost, &s->work);
}

/* How long the step may take with drafts in it, guesses included. Who is alone waits longer for more tokens at once, whatever the
 * target. */
static double draft_limit_of(const struct vs_sched *s)
{
    double target = s->config.target_ns / s->margin;
    if (s->n_prompts)
        return 0.9 * target;
    return s->n_decoding == 1 ? fmax(target, DRAFT_ALONE * s->decode_ns) : target;
}

/* Drafts take what decoding and the tenth of the prompts leave of the target; each prompt can still end. */
static void set_drafts(struct vs_sched *s, struct vs_sched_request *const *request, size_t n)
{
    s->draft_limit = draft_limit_of(s);
    double limit = s->draft_limit - s->guess_ns;
    uint32_t n_left = 0;
    for (size_t i = 0; i < n; i++)
        n_left += in_step(request[i], true) && request[i]->n_rows > 1;
    for (size_t i = 0; i < n; i++) {
        struct vs_sched_request *r = request[i];
        if (!in_step(r, true) || r->n_rows == 1)
            continue;
        uint32_t spare = least(s->config.outs - s->work.outs, s->config.chunk - s->work.rows);
        spare = spare > s->n_prompts ? spare - s->n_prompts : 0;
        const uint32_t wanted = r->n_rows - 1;
        struct vs_sched_request drafts = { .decode = true, .n_rows = wanted, .n_outs = wanted, .position = r->position + 1 };
        uint32_t n_drafts = fitting(s, &drafts, least(wanted, spare / n_left), limit);
        vs_sched_add(&s->work, &drafts, n_drafts);
        r->rows += n_drafts;
        n_left--;
    }
}

static void sort_prompts(struct vs_sched *s)
{
    for (uint32_t i = 1; i < s->n_prompts; i++) {
        struct vs_sched_request *r = s->prompt[i];
        uint32_t j = i;
        for (; j && vs_sched_before(s, r, s->prompt[j - 1]); j--)
            s->prompt[j] = s->prompt[j - 1];
        s->prompt[j] = r;
    }
}

/* How long rows may take with prompts among them. */
static double limit_of(const struct vs_sched *s)
{
    double target = s->config.target_ns / s->margin - s->guess_ns;
    if (!s->n_decoding)
        return s->n_clients == 1 ? INFINITY : target;
    return fmax(target, s->decode_ns + s->decode_ns / 9 + s->owed);
}

/* Rows of the i-th prompt that the step has room for, whatever they cost. */
static uint32_t room_for(const struct vs_sched *s, uint32_t i, uint32_t most_rows)
{
    const struct vs_sched_request *r = s->prompt[i];
    uint32_t outs = s->config.outs - s->work.outs - (s->n_prompts - 1 - i);    /* each that follows can still end */
    uint32_t unread = r->n_outs < r->n_rows ? r->n_rows - r->n_outs : 0;
    uint32_t room = r->n_rows - unread <= outs ? r->n_rows : unread + outs;
    return least(room, most_rows - s->work.rows);
}

/* Rows that a prompt gets even if they don't fit; given: those of prompts before it. */
static uint32_t needed_rows(const struct vs_sched *s, uint32_t given, uint32_t room)
{
    if (!s->n_decoding)
        return given < FEW_ROWS_ALONE ? least(FEW_ROWS_ALONE - given, room) : 0;
    return !given && s->owed >= (double)s->config.target_ns ? least(FEW_ROWS, room) : 0;
}

/* All or nothing; the first of a step whatever it costs. */
static void set_whole(struct vs_sched *s, uint32_t i, bool first, double limit)
{
    struct vs_sched_request *r = s->prompt[i];
    bool has_room = room_for(s, i, s->config.chunk) == r->n_rows;
    if (has_room && (first || cost_with(s, r, r->n_rows) <= limit))
        set_rows(s, r, r->n_rows);
    else
        s->tight |= has_room;
}

static void set_prompts(struct vs_sched *s)
{
    double limit = limit_of(s);
    uint32_t before = s->work.rows, most_rows = before + FIRST_ROWS;
    if (most_rows < 2 * (uint64_t)s->cost.largest)
        most_rows = s->cost.largest > s->config.chunk / 2 ? s->config.chunk : 2 * s->cost.largest;
    most_rows = least(most_rows, s->config.chunk);
    for (uint32_t i = 0; i < s->n_prompts && (s->work.rows < most_rows || s->prompt[i]->whole); i++) {
        if (s->prompt[i]->whole) {
            set_whole(s, i, s->work.rows == before, limit);
            continue;
        }
        uint32_t room = room_for(s, i, most_rows), n_rows = fitting(s, s->prompt[i], room, limit);
        uint32_t needed = needed_rows(s, s->work.rows - before, room);
        n_rows = n_rows < needed ? needed : n_rows < least(FEW_ROWS, room) ? 0 : n_rows;
        s->tight |= n_rows < room;
        set_rows(s, s->prompt[i], n_rows);
    }
}

void vs_sched_rows(struct vs_sched *s, struct vs_sched_request *const *request, size_t n)
{
    s->work = (struct vs_sched_work){ 0 };
    s->n_decoding = s->n_prompts = 0;
    s->tight = false;
    set_decoding(s, request, n);
    set_drafts(s, request, n);
    sort_prompts(s);
    set_prompts(s);
}
