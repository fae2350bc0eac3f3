/* selftest/run.c - computes the answer of a subject in some way: on pages of src/kv, alone or with what happens to them there. */
#include "selftest/selftest.h"

#include "kv/kv.h"

#include <stdlib.h>
#include <string.h>

enum { AHEAD = 40,                       /* tokens of its own that another sequence has behind the split */
       STATES = 32 };                    /* slots: what two sequences that run and two that are kept can hold */

struct stage {
    const struct vs_way *way;
    const uint32_t *right;               /* tokens of an earlier answer, to guess from; NULL: nothing is guessed */
    struct vs_answer answer;
    struct vs_backend *backend;
    struct vs_kv *kv;
    struct vs_kv_sequence *target, *other;       /* other: goes on with other tokens in the same steps; may be NULL */
    uint32_t n_pages, chunk, n_source;   /* the source is in one step, of its own */
    struct vs_row *rows;                 /* [the larger of chunk and n_source, + 1 + drafts] */
    uint32_t *pages;                     /* [2 * n_pages] */
    struct vs_stretch stretches[2];
    uint32_t n_rows, n_tables, n_stretches;      /* of the step that is planned */
    uint32_t guesses[VS_MAX_DRAFTS];
    bool happened;                       /* what is to happen at the split */
    struct vs_error *err;
};

static void copy_page(void *context, uint32_t from, uint32_t to, uint32_t n_tokens)
{
    struct stage *s = context;
    s->backend->kind->copy_page(s->backend, from, to, n_tokens);
}

static void clear_pages(void *context, const uint32_t *pages, uint32_t n)
{
    struct stage *s = context;
    s->backend->kind->clear_pages(s->backend, pages, n);
}

/* ---- steps ---- */

/* Token i of the sequence beside the target: it leaves the target's text at the split. */
static uint32_t other_token(const struct stage *s, uint32_t i)
{
    const struct vs_answer *a = &s->answer;
    if (i < s->way->split)
        return a->tokens[i];
    uint32_t token = vs_subject_prompt(a->of, 5, i);
    return i == s->way->split && i < a->n && token == a->tokens[i] ? (token + 1) % a->of->graph.n_vocab : token;
}

static uint32_t target_token(const struct stage *s, uint32_t i)
{
    return i < s->answer.n ? s->answer.tokens[i] : s->guesses[i - s->answer.n];
}

/* n rows, and a mark behind the first n_mark of them, where a state can be had again. */
static int plan(struct stage *s, struct vs_kv_sequence *q, uint32_t n, uint32_t n_mark)
{
    struct vs_kv_plan states;
    uint32_t have = vs_kv_length(q), n_pages, table = s->n_tables;
    int r = vs_kv_reserve(q, have + n);
    if (r != VS_OK)
        return vs_error_set(s->err, r, "no page for token %u", have + n);
    r = vs_kv_plan(q, n, n_mark, true, &states);
    if (r != VS_OK)
        return vs_error_set(s->err, r, "no slot for the state behind token %u", have + n);
    s->stretches[s->n_stretches++] = (struct vs_stretch){ s->n_rows, n, states.from, states.end, states.n_mark, states.mark };
    const uint32_t *pages = vs_kv_pages(q, &n_pages);
    memcpy(s->pages + table, pages, n_pages * sizeof *pages);
    s->n_tables += n_pages;
    for (uint32_t i = have; i < have + n; i++)
        s->rows[s->n_rows++] = (struct vs_row){ q == s->target ? target_token(s, i) : other_token(s, i), i, table,
                                                NULL, i < s->n_source ? 0 : s->n_source };
    return VS_OK;
}

/* Computes what is planned; n_out rows from `first` on are read. */
static int compute(struct stage *s, uint32_t first, uint32_t n_out, const float **ret_logits)
{
    uint32_t out[1 + VS_MAX_DRAFTS];
    for (uint32_t i = 0; i < n_out; i++)
        out[i] = first + i;
    const struct vs_step step = { .rows = s->rows, .n_rows = s->n_rows, .pages = s->pages, .out = out, .n_out = n_out,
                                  .stretches = s->stretches, .n_stretches = s->n_stretches,
                                  .source = s->rows[0].position < s->n_source };
    s->n_rows = s->n_tables = s->n_stretches = 0;
    return vs_backend_step(s->backend, &step, ret_logits, s->err);
}

static void commit(struct stage *s, struct vs_kv_sequence *q, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t have = vs_kv_length(q), token = q == s->target ? s->answer.tokens[have] : other_token(s, have);
        vs_kv_commit(q, &token, 1);
    }
}

/* Rows of the next step of a sequence that has `have` tokens and is to have `want`. */
static uint32_t n_together(const struct stage *s, uint32_t have, uint32_t want)
{
    uint32_t n = want - have;
    return have < s->n_source ? s->n_source - have : n < s->chunk ? n : s->chunk;
}

/* The other sequence alone, until it has n tokens. */
static int run_other(struct stage *s, uint32_t n)
{
    int r = VS_OK;
    const float *logits;
    while (r == VS_OK && vs_kv_length(s->other) < n) {
        uint32_t have = vs_kv_length(s->other), split = s->way->split, some = n_together(s, have, n);
        r = plan(s, s->other, some, split > have && split <= have + some ? split - have : 0);
        if (r == VS_OK)
            r = compute(s, 0, 0, &logits);
        if (r == VS_OK)
            commit(s, s->other, some);
    }
    return r;
}

/* ---- what happens ---- */

/* The target begins anew, and finds so many of its tokens; a state that has gone with its pages cannot be found. */
static int find(struct stage *s, uint32_t want)
{
    int r = vs_kv_open(s->kv, 0, NULL, &s->target);
    if (r != VS_OK)
        return vs_error_set(s->err, r, "no place for a sequence");
    uint32_t found = vs_kv_adopt(s->target, s->answer.tokens, s->answer.n - 1);
    bool good = found == want || (found < want && s->way->past >= VS_EVICTED && s->answer.of->graph.n_state);
    return good ? VS_OK : vs_error_set(s->err, VS_E_FAULT, "%u tokens were found again, not %u", found, want);
}

/* Another one has read the same beginning. */
static int meet_other(struct stage *s)
{
    vs_kv_close(s->target, false);
    s->target = NULL;
    int r = vs_kv_open(s->kv, 0, NULL, &s->other);
    if (r == VS_OK)
        r = run_other(s, s->way->split + AHEAD);
    if (r == VS_OK && s->way->past == VS_FOUND_KEPT) {
        vs_kv_close(s->other, true);
        s->other = NULL;
    }
    return r == VS_OK ? find(s, s->way->split) : r;
}

/* The target's pages are needed for something else, all but the first n. */
static int take_pages(struct stage *s, uint32_t n)
{
    struct vs_kv_sequence *hog;
    int r = vs_kv_open(s->kv, 0, "another", &hog);
    if (r == VS_OK)
        r = vs_kv_reserve(hog, (s->n_pages - n) * VS_PAGE_TOKENS);
    if (r == VS_OK)
        vs_kv_close(hog, false);
    return r == VS_OK ? VS_OK : vs_error_set(s->err, r, "no place for what needs the pages");
}

static int end_and_find(struct stage *s)
{
    uint32_t left = s->way->split, whole = (left - 1) / VS_PAGE_TOKENS;
    vs_kv_close(s->target, true);
    s->target = NULL;
    int r = VS_OK;
    if (s->way->past != VS_PARKED) {
        whole = s->way->past == VS_EVICTED ? 0 : whole;
        left = whole * VS_PAGE_TOKENS;
        r = take_pages(s, whole);
    }
    return r == VS_OK ? find(s, left) : r;
}

static int happen(struct stage *s)
{
    s->happened = true;
    if (s->way->past == VS_FORKED)
        return vs_kv_fork(s->target, &s->other);
    return s->way->past <= VS_FOUND_KEPT ? meet_other(s) : end_and_find(s);
}

static bool is_due(const struct stage *s)
{
    bool first = s->way->past == VS_FOUND_RUNNING || s->way->past == VS_FOUND_KEPT;
    return s->way->past != VS_ALONE && !s->happened && (first || vs_kv_length(s->target) == s->way->split);
}

/* ---- the answer ---- */

/* Rows of the target in the next step: none beyond the split before it has happened. */
static uint32_t n_next(const struct stage *s)
{
    uint32_t have = vs_kv_length(s->target), n = n_together(s, have, s->answer.n);
    return s->way->past != VS_ALONE && !s->happened && n > s->way->split - have ? s->way->split - have : n;
}

/* Guesses at the tokens that follow, known to be right; every third position gets a wrong one. Returns how many. */
static uint32_t guess(struct stage *s)
{
    const struct vs_case *of = s->answer.of->of;
    uint32_t n_all = of->n_prompt + of->n_generate, n = 0;
    if (!s->right || (s->way->past != VS_ALONE && !s->happened))
        return 0;
    for (uint32_t at = s->answer.n; n < s->way->n_drafts && at + 1 < n_all; at++)
        s->guesses[n++] = at % 3 == 0 ? (s->right[at] + 1) % s->answer.of->graph.n_vocab : s->right[at];
    return n;
}

/* Tokens from the logits of one row after the other, as long as they are what was guessed: those are computed already. */
static int take(struct stage *s, uint32_t n_guesses, const float *logits)
{
    for (uint32_t i = 0;; i++, logits += s->answer.of->graph.n_vocab) {
        uint32_t guessed = i < n_guesses ? s->guesses[i] : 0;
        int r = vs_answer_add(&s->answer, logits, s->err);
        if (r != VS_OK || i == n_guesses || s->answer.tokens[s->answer.n - 1] != guessed)
            return r;
        commit(s, s->target, 1);
    }
}

/* One step: the next rows of the target, the last ones of what is known with guesses behind them; before them one row of the
 * other. */
static int advance(struct stage *s)
{
    uint32_t n = n_next(s), others = s->other != NULL;
    bool reads = vs_kv_length(s->target) + n == s->answer.n;
    uint32_t n_guesses = reads ? guess(s) : 0;
    int r = others ? plan(s, s->other, 1, 0) : VS_OK;
    if (r == VS_OK)
        r = plan(s, s->target, n + n_guesses, n);
    const float *logits;
    if (r == VS_OK)
        r = compute(s, others + n - 1, reads ? 1 + n_guesses : 0, &logits);
    if (r != VS_OK)
        return r;
    if (others)
        commit(s, s->other, 1);
    commit(s, s->target, n);
    r = reads ? take(s, n_guesses, logits) : VS_OK;
    vs_kv_truncate(s->target, vs_kv_length(s->target));          /* wrong guesses, and those behind which there is no state */
    return r;
}

static int make(struct stage *s, const struct vs_subject *of, uint32_t n_all)
{
    uint32_t longest = n_all + s->way->split + AHEAD, most = s->chunk > s->n_source ? s->chunk : s->n_source;
    s->n_pages = 2 * vs_pages_for(longest);
    s->pages = malloc(2 * s->n_pages * sizeof *s->pages);
    s->rows = malloc((most + 1 + s->way->n_drafts) * sizeof *s->rows);
    const struct vs_kv_config kv = { .n_pages = s->n_pages, .page_tokens = VS_PAGE_TOKENS,
                                     .max_tokens = s->n_pages * VS_PAGE_TOKENS, .max_sequences = 2, .max_kept = 2,
                                     .n_states = of->graph.n_state ? STATES : 0,
                                     .memory = { copy_page, clear_pages, s } };
    const struct vs_backend_config config = {
        .level = (int)s->way->isa, .n_threads = s->way->n_threads, .max_rows = most + 1 + s->way->n_drafts,
        .max_out = 1 + s->way->n_drafts,
        .max_positions = longest, .n_pages = s->n_pages, .n_states = kv.n_states, .kv_type = of->of->kv, .high = of->of->high,
    };
    const struct vs_source file = vs_source_memory(of->file.data, of->file.n);
    if (!s->pages || !s->rows || vs_kv_create(&kv, &s->kv) != VS_OK || vs_kv_open(s->kv, 0, NULL, &s->target) != VS_OK)
        return vs_error_set(s->err, VS_E_NOMEM, "out of memory");
    int r = vs_answer_init(&s->answer, of, s->err);
    return r == VS_OK ? vs_backend_cpu.create(&of->graph, &config, &file, NULL, NULL, &s->backend, s->err) : r;
}

/* right: see struct stage. */
static int answer(const struct vs_subject *of, const struct vs_way *way, const uint32_t *right, struct vs_answer *ret,
                  struct vs_error *err)
{
    uint32_t n_prompt = of->of->n_prompt, n_all = n_prompt + of->of->n_generate;
    struct stage s = { .way = way, .right = right, .err = err, .n_source = vs_case_source(of->of),
                       .chunk = way->chunk && way->chunk < n_prompt ? way->chunk : n_prompt };
    int r = make(&s, of, n_all);
    while (r == VS_OK && s.answer.n < n_all) {
        if (is_due(&s))
            r = happen(&s);
        if (r == VS_OK)
            r = advance(&s);
    }
    *ret = s.answer;
    vs_backend_free(s.backend);
    vs_kv_free(s.kv);
    free(s.pages);
    free(s.rows);
    return r;
}

int vs_subject_run(const struct vs_subject *of, const struct vs_way *way, char ret_hash[65], struct vs_error *err)
{
    struct vs_answer plain = { 0 }, drafted = { 0 };
    const struct vs_way alone = { .isa = way->isa, .n_threads = way->n_threads, .chunk = way->chunk };
    int r = answer(of, way->n_drafts ? &alone : way, NULL, &plain, err);
    if (r == VS_OK && way->n_drafts)
        r = answer(of, way, plain.tokens, &drafted, err);
    if (r == VS_OK)
        vs_answer_hash(way->n_drafts ? &drafted : &plain, ret_hash);
    vs_answer_clear(&plain);
    vs_answer_clear(&drafted);
    return r;
}

/* ---- the ways ---- */

const char *vs_past_name(enum vs_past past)
{
    static const char *const names[VS_N_PASTS] = { "alone", "found in a running sequence", "found in a kept sequence", "forked",
                                                   "parked and found again", "evicted", "shortened" };
    return names[past];
}

/* Around the end of a page, the ends of the prompt, and among what is generated, where it can be: not within a source. */
static size_t splits_of(const struct vs_case *of, enum vs_past past, uint32_t ret[6])
{
    const uint32_t page = VS_PAGE_TOKENS, candidates[6] = { 1, page - 1, page, page + 1, of->n_prompt - 1, of->n_prompt + 2 };
    uint32_t end = past == VS_FOUND_RUNNING || past == VS_FOUND_KEPT ? of->n_prompt : of->n_prompt + of->n_generate - 1;
    size_t n = 0;
    for (size_t i = 0; i < 6; i++)
        if (candidates[i] > vs_case_source(of) && candidates[i] < end)
            ret[n++] = candidates[i];
    return n;
}

size_t vs_selftest_ways(const struct vs_case *of, enum vs_isa isa, bool brief, struct vs_way ret[VS_MAX_WAYS])
{
    static const struct vs_way shapes[] = { { .n_threads = 1, .chunk = 0 }, { .n_threads = 3, .chunk = 7 },
                                            { .n_threads = 2, .chunk = 7, .n_drafts = 3 },
                                            { .n_threads = 2, .chunk = 33 }, { .n_threads = 2, .chunk = 15 } };
    size_t n = 0;
    for (int i = 0; i <= (int)isa; i++)
        for (size_t k = 0; k < (i && !brief ? 5 : 3); k++) {
            if (brief && k && (!shapes[k].n_drafts || (of->tiny.seed + (uint32_t)i) % 3))       /* a third of them with guesses */
                continue;
            ret[n] = shapes[k];
            ret[n++].isa = (enum vs_isa)i;
        }
    for (int i = 0; i <= (int)isa; i++)
        for (int past = VS_ALONE + 1; past < VS_N_PASTS; past++) {
            uint32_t splits[6], turn = of->tiny.seed + (uint32_t)i + (uint32_t)past;
            size_t n_splits = splits_of(of, (enum vs_past)past, splits);
            if ((brief || i < (int)isa) && turn % (VS_N_PASTS - 1))      /* each model and instruction set meets another one */
                continue;
            for (size_t k = 0; k < n_splits; k++) {
                if ((brief || i < (int)isa || of->n_prompt < VS_PAGE_TOKENS) && k != turn / 2 % n_splits)
                    continue;
                ret[n] = shapes[(turn + k) % 5];
                ret[n].chunk = of->n_prompt > 100 && ret[n].chunk ? 33 : ret[n].chunk;       /* long ones not in small pieces */
                ret[n].isa = (enum vs_isa)i;
                ret[n].past = (enum vs_past)past;
                ret[n++].split = splits[k];
            }
        }
    return n;
}
