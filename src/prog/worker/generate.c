/* prog/worker/generate.c - the methods generate and chat: a request as a state machine.
 *
 * A choice wants the rows of its tokens computed and takes the logits of the last of them: it samples one token, sends its text and
 * then wants that token's row, or has finished. Behind it may stand rows of tokens that are only guessed (speculate.h): their
 * logits are taken as long as what was sampled is what was guessed. It computes nothing itself: batch.c computes its rows beside
 * those of others. A request that another worker had begun brings the tokens that its client already has; they are followed,
 * neither sampled nor sent.
 *
 * The result's logits_hash is the contract's H: SHA-256 over, for each generated token, u32le position, the raw f32le
 * logits, u32le token id.
 */
#include "prog/worker/claim.h"
#include "prog/worker/generate.h"
#include "prog/worker/speculate.h"
#include "prog/worker/work.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/utf8.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { SOME_TOKENS = 1024 };             /* room for so many of an answer whose length is not limited */

struct choice {
    struct vs_sampling sampling;         /* seed + its index */
    struct vs_stopper stopper;
    struct vs_ids tokens;                /* the prompt, then what was made; in the memory behind them, guesses */
    size_t next;                         /* the token that the next logits decide */
    struct vs_matcher *matcher;          /* where the answer is in its constraint; NULL: it has none */
    struct vs_reasoning reasoning;       /* in front of that */
    bool holds_call;                     /* the constraint is that of a call which the model has begun by itself */
    bool skips_call;                     /* the call that is under way can't be held any more */
    struct vs_speculation *speculation;  /* NULL: nothing is guessed */
    struct vs_logprob *best;             /* [order.n_logprobs] */
    EVP_MD_CTX *hash;                    /* NULL: not asked for */
    const char *finish;                  /* NULL while it goes on */
    struct vs_teller teller;             /* what is not sent yet */
    size_t n_sent, n_more;               /* tokens that the client had; frames of the last of them, beside its first */
};

struct generation {
    struct vs_work work;
    struct vs_order order;
    json_t *prompt;                      /* its ids, for the result; NULL once it is there */
    size_t n_prompt;
    const char *notice;
    json_t *tools;                       /* a reference; NULL: none may be called */
    struct vs_reason_marks marks;
    bool is_open, may_reason;            /* the prompt has begun reasoning; and that goes on before the answer keeps its form */
    uint64_t begun_ns, first_ns, ended_ns;       /* first logits; first token out; the end */
    uint32_t n;
    struct choice choice[VS_MAX_CHOICES];
};

/* ---- one token ---- */

static size_t n_of(const struct generation *g, const struct choice *c)
{
    return c->tokens.n - g->n_prompt;
}

/* No token may follow: as many as were asked for, or there is no room to read the last one. */
static bool is_full(const struct generation *g, const struct choice *c)
{
    return (g->order.max_tokens >= 0 && (int64_t)n_of(g, c) >= g->order.max_tokens)
           || c->tokens.n > vs_model_context(g->work.s->model);
}

/* So many tokens may follow the one at `position`. */
static uint32_t n_behind(const struct generation *g, size_t position)
{
    size_t left = vs_model_context(g->work.s->model) - position, n = position - g->n_prompt;
    if (g->order.max_tokens >= 0 && left > (size_t)g->order.max_tokens - n - 1)
        left = (size_t)g->order.max_tokens - n - 1;
    return (uint32_t)left;
}

/* So many tokens may follow the next one. */
static uint32_t n_left(const struct generation *g, const struct choice *c)
{
    return n_behind(g, c->tokens.n);
}

static uint32_t index_of(const struct generation *g, const struct choice *c)
{
    return (uint32_t)(c - g->choice);
}

/* VS_E_NOMEM */
static int hash_token(const struct generation *g, struct choice *c, size_t position, const float *logits, uint32_t id)
{
    uint8_t word[4];
    struct vs_claim *claim = g->work.sink->claim;
    size_t n_vocab = vs_model_n_vocab(g->work.s->model);
    int r = claim ? vs_claim_token(claim, index_of(g, c), position, id, logits, n_vocab) : VS_OK;
    if (!c->hash)
        return r;
    vs_store_u32le(word, (uint32_t)position);
    EVP_DigestUpdate(c->hash, word, 4);
    EVP_DigestUpdate(c->hash, logits, n_vocab * 4);
    vs_store_u32le(word, id);
    EVP_DigestUpdate(c->hash, word, 4);
    return r;
}

/* What a token is: its text as it would stand in the answer (a space in front is kept), and its bytes where they are no text. */
static void describe(const struct vs_tokenizer *t, uint32_t id, json_t *to)
{
    size_t n = 0;
    const char *s = !t ? "" : vs_tokenizer_is_control(t, id) ? vs_tokenizer_piece(t, id, &n) : vs_tokenizer_text(t, id, &n);
    json_object_set_new(to, "text", vs_json_text(s, n));
    if (vs_utf8_valid(s, n) == n)
        return;
    json_t *bytes = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(bytes, json_integer((uint8_t)s[i]));
    json_object_set_new(to, "bytes", bytes);
}

static int logprobs(const struct generation *g, struct choice *c, struct vs_sampler *sampler, const float *logits, uint32_t id,
                    json_t **ret, struct vs_error *err)
{
    float chosen;
    if (g->order.n_logprobs < 0)
        return VS_OK;
    int r = vs_sampler_logprobs(sampler, logits, id, (size_t)g->order.n_logprobs, &chosen, c->best);
    if (r != VS_OK)
        return vs_error_set(err, r, "%s", vs_status_text(r));
    json_t *top = json_array();
    for (int64_t i = 0; i < g->order.n_logprobs; i++) {
        json_t *entry = json_pack("{s:I, s:f}", "id", (json_int_t)c->best[i].id, "logprob", (double)c->best[i].logprob);
        describe(g->work.s->tokenizer, c->best[i].id, entry);
        json_array_append_new(top, entry);
    }
    *ret = json_pack("{s:f}", "logprob", (double)chosen);
    describe(g->work.s->tokenizer, id, *ret);
    return json_object_set_new(*ret, "top", top) == 0 ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
}

static void let_go(struct choice *c)
{
    vs_matcher_free(c->matcher);
    c->matcher = NULL;
    c->holds_call = c->stopper.is_paused = false;
}

static bool read_all(struct vs_matcher *m, const char *text, size_t n)
{
    return vs_matcher_read(m, text, n) == n;
}

/* A call that has begun is held to its form from here on, as long as that can still be reached. */
static int hold_call(const struct generation *g, struct choice *c, struct vs_error *err)
{
    size_t n = 0;
    const char *call = vs_parts_call(c->teller.parts, &n), *name = vs_parts_call_name(c->teller.parts);
    if (call && g->order.forces)
        vs_parts_trust(c->teller.parts);
    if (!call) {
        c->skips_call = false;
        if (c->holds_call)
            let_go(c);
        return VS_OK;
    }
    if (!g->order.calls || c->matcher || c->skips_call || c->finish || c->stopper.held.n || c->stopper.detok.n_held)
        return VS_OK;                    /* text that is held back: it is tried again when that is out */
    if (vs_matcher_create(g->order.calls, &c->matcher) != VS_OK)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    c->holds_call = c->stopper.is_paused = true;
    c->skips_call = is_full(g, c) || !read_all(c->matcher, name, name ? strlen(name) : 0)
                    || !read_all(c->matcher, VS_CALLS_NAME_END, name ? strlen(VS_CALLS_NAME_END) : 0)
                    || !read_all(c->matcher, call, n) || vs_matcher_must_end(c->matcher)
                    || vs_matcher_shortest(c->matcher) > n_left(g, c);
    if (c->skips_call)
        let_go(c);
    else
        vs_parts_trust(c->teller.parts);
    if (!c->skips_call && g->work.sink->claim)
        vs_claim_shaped(g->work.sink->claim, index_of(g, c));
    return VS_OK;
}

/* The token stands in its place: its text comes, and perhaps the end. *ret_n: bytes of text that may go out. */
static int follow(struct generation *g, struct choice *c, uint32_t id, size_t *ret_n, struct vs_error *err)
{
    bool ends;
    int r = vs_stopper_push(&c->stopper, id, &ends, ret_n, err);
    if (r == VS_OK)
        r = vs_teller_token(&c->teller, id, c->stopper.held.n, err);
    if (r != VS_OK)
        return r;
    bool reasons = c->matcher && vs_reasoning_takes(&c->reasoning, id, n_behind(g, c->next));
    c->next++;
    if (c->matcher && !reasons && !ends && !vs_matcher_take(c->matcher, id))
        return vs_error_set(err, VS_E_INVALID, "token %u is not what the constraint allows", id);
    if (c->holds_call && vs_matcher_must_end(c->matcher))
        let_go(c);                       /* the call is whole, and the answer goes on */
    bool full = is_full(g, c) && c->next == c->tokens.n;
    bool in_form = c->matcher && !c->holds_call && !reasons;
    if (ends || (in_form && (vs_matcher_must_end(c->matcher) || (full && vs_matcher_may_end(c->matcher)))))
        c->finish = "stop";
    else if (full)
        c->finish = "length";
    if (c->finish)
        *ret_n = vs_stopper_finish(&c->stopper);
    return VS_OK;
}

/* What was said is kept to be sent. An answer that calls a tool ends for that. */
static int keep(const struct generation *g, struct choice *c, uint32_t id, size_t n_text, json_t *extra, struct vs_error *err)
{
    struct vs_claim *claim = g->work.sink->claim;
    if (claim && n_text && vs_claim_text(claim, index_of(g, c), c->stopper.held.data, n_text) != VS_OK) {
        json_decref(extra);
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    }
    int r = vs_teller_add(&c->teller, id, c->stopper.held.data, n_text, extra, c->finish != NULL, err);
    if (n_text)
        vs_buf_drop(&c->stopper.held, n_text);
    if (!c->teller.parts)
        return r;
    if (!vs_parts_is_reasoning(c->teller.parts))
        vs_reasoning_ended(&c->reasoning);
    if (vs_parts_is_over(c->teller.parts) || (c->finish && strcmp(c->finish, "stop") == 0 && vs_parts_n_calls(c->teller.parts)))
        c->finish = "tool_calls";
    return r == VS_OK ? hold_call(g, c, err) : r;
}

/* The client has the first n frames. */
static void drop_told(const struct generation *g, struct choice *c, size_t n)
{
    struct vs_teller *t = &c->teller;
    for (size_t i = 0; g->work.sink->claim && i < n && i < t->n; i++)
        vs_claim_said(g->work.sink->claim, index_of(g, c), t->told[i].id);
    vs_teller_drop(t, n);
}

/* One that the client has already: all that was said of it, and of the last one as much as was sent. */
static int follow_sent(struct generation *g, struct choice *c, struct vs_error *err)
{
    size_t n = 0;
    uint32_t id = c->tokens.id[c->next];
    int r = follow(g, c, id, &n, err);
    if (r == VS_OK)
        r = keep(g, c, id, n, NULL, err);
    drop_told(g, c, c->next == g->n_prompt + c->n_sent ? 1 + c->n_more : c->teller.n);
    return r;
}

/* The logits that decide token `next`: it is sampled, hashed and kept to be sent; or it is there already. */
static int decide(struct generation *g, struct choice *c, struct vs_sampler *sampler, const float *logits, struct vs_error *err)
{
    size_t position = c->next, n;
    uint32_t id;
    json_t *extra = NULL;
    if (position < c->tokens.n) {
        if (hash_token(g, c, position, logits, c->tokens.id[position]) != VS_OK)
            return vs_error_set(err, VS_E_NOMEM, "out of memory");
        return follow_sent(g, c, err);
    }
    struct vs_sampling sampling = c->sampling;
    if (c->matcher && !(sampling.allowed = vs_reasoning_mask(&c->reasoning, c->matcher, n_left(g, c))))
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    int r;
    do
        r = vs_sampler_sample(sampler, &sampling, logits, c->tokens.id, position, position, &id, err);
    while (r == VS_OK && vs_reasoning_refuses(&c->reasoning, id));
    if (r == VS_OK)
        r = vs_ids_add(&c->tokens, id) == VS_OK ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (r != VS_OK)
        return r;
    if (c->speculation)
        vs_speculation_took(c->speculation, id);
    if (hash_token(g, c, position, logits, id) != VS_OK)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    r = follow(g, c, id, &n, err);
    if (r == VS_OK)
        r = logprobs(g, c, sampler, logits, id, &extra, err);
    return r == VS_OK ? keep(g, c, id, n, extra, err) : r;
}

/* ---- what the batch asks ---- */

/* Guesses are put behind the tokens: how many. Not more than may still come, the last of which needs no row. */
static uint32_t guess(struct generation *g, struct choice *c)
{
    struct vs_draft_step step;
    if (!c->speculation || c->next != c->tokens.n || vs_ids_reserve(&c->tokens, VS_DRAFT_MOST) != VS_OK)
        return 0;
    vs_works_step(g->work.s->works, (uint32_t)c->tokens.n, &step);
    size_t room = vs_model_context(g->work.s->model) - c->tokens.n;
    if (g->order.max_tokens >= 0 && room > (size_t)g->order.max_tokens - n_of(g, c) - 1)
        room = (size_t)g->order.max_tokens - n_of(g, c) - 1;
    step.n_most = step.n_most < room ? step.n_most : (uint32_t)room;
    uint64_t start = vs_clock_ns();
    uint32_t n = vs_speculation_guess(c->speculation, &step, c->tokens.id, (uint32_t)c->tokens.n);
    vs_works_guessed(g->work.s->works, vs_clock_ns() - start);
    return n;
}

static void want(struct vs_work *w, uint32_t lane, struct vs_want *ret)
{
    struct generation *g = (struct generation *)w;
    struct choice *c = &g->choice[lane];
    *ret = (struct vs_want){ .decode = c->next > g->n_prompt };
    if (c->finish)
        return;
    ret->n_known = (uint32_t)c->tokens.n;
    ret->n = ret->n_known + (ret->decode ? guess(g, c) : 0);
    ret->tokens = c->tokens.id;
    ret->n_shared = (uint32_t)c->next - 1;
    ret->n_out = ret->n - ret->n_shared;
}

/* The next token's mask depends on the tokens before it alone; what the matcher found it keeps. */
static void prepare(struct vs_work *w, uint32_t lane)
{
    struct generation *g = (struct generation *)w;
    struct choice *c = &g->choice[lane];
    if (c->matcher && c->next == c->tokens.n && !c->finish)
        vs_reasoning_mask(&c->reasoning, c->matcher, n_left(g, c));
}

static int take(struct vs_work *w, uint32_t lane, struct vs_sampler *sampler, const float *logits, uint32_t n, struct vs_error *err)
{
    struct generation *g = (struct generation *)w;
    struct choice *c = &g->choice[lane];
    int r = VS_OK;
    if (is_full(g, c) && c->next == c->tokens.n)
        c->finish = "length";            /* max_tokens 0: the prompt is read, and that is all */
    bool guessed = false, came = true;
    if (c->speculation && c->next == c->tokens.n)
        vs_speculation_computed(c->speculation, n - 1);
    for (uint32_t i = 0; i < n && r == VS_OK && came && !c->finish; i++) {
        guessed = c->next == c->tokens.n && i + 1 < n;   /* the row behind this one is of a guess */
        uint32_t expected = guessed ? c->tokens.id[c->next] : 0;
        r = decide(g, c, sampler, logits + i * (size_t)vs_model_n_vocab(w->s->model), err);
        came = !guessed || c->tokens.id[c->next - 1] == expected;
    }
    return r;
}

static int send_made(struct vs_work *w, uint32_t lane, struct vs_error *err)
{
    struct generation *g = (struct generation *)w;
    struct vs_teller *t = &g->choice[lane].teller;
    size_t at = 0;
    int r = VS_OK;
    g->begun_ns = g->begun_ns ? g->begun_ns : vs_clock_ns();
    for (size_t i = 0; i < t->n && r == VS_OK; at += t->told[i++].n) {
        const struct vs_telling *told = &t->told[i];
        const struct vs_said said = { .index = g->n > 1 ? (int)lane : -1, .part = g->order.parts ? (int)told->part : -1,
                                      .id = told->id, .text = told->n ? t->text.data + at : "", .n = told->n,
                                      .extra = told->extra };
        r = w->sink->token(w->sink->context, &said);
    }
    vs_teller_drop(t, t->n);
    g->ended_ns = vs_clock_ns();
    g->first_ns = g->first_ns ? g->first_ns : g->ended_ns;
    if (r == VS_E_LIMIT)
        return vs_error_set(err, r, "a token's text and its logprobs are larger than a frame may be");
    return r == VS_OK ? r : vs_error_set(err, r, "%s", vs_status_text(r));
}

static bool add_hash(json_t *o, struct choice *c)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (!c->hash || !EVP_DigestFinal_ex(c->hash, digest, &n))
        return !c->hash;
    char hex[2 * EVP_MAX_MD_SIZE + 1];
    vs_hex(digest, n, hex);
    return json_object_set_new(o, "logits_hash", json_string(hex)) == 0;
}

/* Which stop string ended it; nothing where none did. */
static bool add_sequence(json_t *o, const struct choice *c)
{
    const struct vs_stop_string *by = c->stopper.by;
    return !by || json_object_set_new(o, "stop_sequence", json_stringn(by->text, by->n)) == 0;
}

/* Of several choices each has an entry; the envelope then tells what all have together. */
static bool add_choices(struct generation *g, json_t *o)
{
    json_t *list = json_array();
    json_object_set_new(o, "choices", list);
    for (uint32_t i = 0; i < g->n; i++) {
        struct choice *c = &g->choice[i];
        json_t *one = json_pack("{s:i, s:s, s:I}", "index", (int)i, "finish_reason", c->finish, "completion_tokens",
                                (json_int_t)n_of(g, c));
        if (!one || !add_hash(one, c) || !add_sequence(one, c) || json_array_append_new(list, one) != 0)
            return false;
    }
    return true;
}

static double ms(uint64_t from, uint64_t to)
{
    return from && to > from ? (double)(to - from) / 1e6 : 0.0;
}

static double per_second(size_t n, double in_ms)
{
    return in_ms > 0 ? (double)n * 1e3 / in_ms : 0.0;
}

static json_t *timings(const struct generation *g, size_t n_made)
{
    const struct vs_work *w = &g->work;
    uint64_t arrived = w->sink->arrived_ns, placed = w->lanes[0].placed_ns;
    uint64_t begun = g->begun_ns ? g->begun_ns : placed;
    double prompt_ms = ms(placed, begun), decode_ms = ms(begun, g->ended_ns);
    size_t n_read = g->n_prompt > w->n_cached ? g->n_prompt - (size_t)w->n_cached : 0, n_steps = n_made > g->n ? n_made - g->n : 0;
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I}", "load_ms", w->s->load_ms, "queue_ms", ms(arrived, placed),
                     "prompt_ms", prompt_ms, "prompt_per_second", per_second(n_read, prompt_ms),
                     "first_token_ms", ms(arrived, g->first_ns), "decode_ms", decode_ms,
                     "decode_per_second", per_second(n_steps, decode_ms), "cached_tokens", (json_int_t)w->n_cached);
}

static void count_guesses(const struct generation *g, struct vs_usage *usage)
{
    for (uint32_t i = 0; i < g->n; i++) {
        uint64_t drafted = 0, accepted = 0;
        if (g->choice[i].speculation)
            vs_speculation_count(g->choice[i].speculation, &drafted, &accepted);
        usage->drafted_tokens += (int64_t)drafted;
        usage->accepted_tokens += (int64_t)accepted;
    }
}

static json_t *result(struct vs_work *w)
{
    struct generation *g = (struct generation *)w;
    struct vs_outcome *outcome = w->sink->outcome;
    size_t n_made = 0;
    for (uint32_t i = 0; i < g->n; i++) {
        n_made += n_of(g, &g->choice[i]);
        if (w->sink->claim)
            vs_claim_finish(w->sink->claim, i, g->choice[i].finish);
        if (g->choice[i].teller.n)       /* of a token that an earlier worker had not told to its end */
            send_made(w, i, &(struct vs_error){ 0 });
    }
    if (g->n == 1)
        snprintf(outcome->finish_reason, sizeof outcome->finish_reason, "%s", g->choice[0].finish);
    outcome->has_usage = true;
    outcome->usage = (struct vs_usage){ .prompt_tokens = (int64_t)g->n_prompt, .completion_tokens = (int64_t)n_made,
                                        .cached_tokens = (int64_t)w->n_cached, .recomputed_tokens = (int64_t)w->n_recomputed };
    count_guesses(g, &outcome->usage);
    json_t *o = json_pack("{s:o, s:o}", "prompt_tokens", g->prompt, "timings", timings(g, n_made));
    g->prompt = NULL;
    if (o && w->sink->claim)
        json_object_set(o, "opening", vs_claim_opening(w->sink->claim));
    if (o && g->notice)
        json_object_set_new(o, "notice", json_string(g->notice));
    if (o && !(g->n == 1 ? add_hash(o, &g->choice[0]) && add_sequence(o, &g->choice[0]) : add_choices(g, o))) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static void clear_choice(struct choice *c)
{
    EVP_MD_CTX_free(c->hash);
    vs_speculation_free(c->speculation);
    vs_matcher_free(c->matcher);
    vs_reasoning_clear(&c->reasoning);
    free(c->best);
    vs_teller_clear(&c->teller);
    vs_ids_clear(&c->tokens);
    vs_stopper_clear(&c->stopper);
}

static void free_generation(struct vs_work *w)
{
    struct generation *g = (struct generation *)w;
    for (uint32_t i = 0; i < g->n; i++)
        clear_choice(&g->choice[i]);
    vs_order_clear(&g->order);
    vs_reason_marks_clear(&g->marks);
    json_decref(g->prompt);
    vs_json_free(g->tools, NULL);
    free(g);
}

static const struct vs_work_kind kind = {
    .what = "prompt", .keep = true, .want = want, .prepare = prepare, .take = take, .send = send_made, .result = result,
    .free = free_generation,
};

/* ---- begin ---- */

/* Without memory for it the answer comes all the same. */
static void start_guessing(const struct generation *g, struct choice *c)
{
    size_t room = vs_model_context(g->work.s->model) - g->n_prompt, n_more = SOME_TOKENS;
    if (g->order.max_tokens >= 0)
        n_more = (size_t)g->order.max_tokens;
    const struct vs_speculation_config config = {
        .n_more = n_more < room ? n_more : room, .drafter = g->work.s->drafter, .sampling = &c->sampling,
        .cache_key = g->work.cache_key, .owner = g->work.sink->owner,
    };
    if (g->order.speculates && n_more > 1)
        c->speculation = vs_speculation_create(&config, c->tokens.id, c->tokens.n);
}

/* Tokens that the client has from another worker, whose words they are. */
static int take_sent(const struct generation *g, struct choice *c, const struct vs_sent *sent, struct vs_error *err)
{
    for (size_t k = 0; k < sent->n; k++) {
        if (sent->id[k] == VS_NO_TOKEN) {
            c->n_more++;
            continue;
        }
        if (sent->id[k] >= vs_model_n_vocab(g->work.s->model))
            return vs_error_set(err, VS_E_INVALID, "token %u, which was sent, is beyond the vocabulary", sent->id[k]);
        if (vs_ids_add(&c->tokens, sent->id[k]) != VS_OK)
            return vs_error_set(err, VS_E_NOMEM, "out of memory");
        c->n_sent++;
        c->n_more = 0;
    }
    return VS_OK;
}

/* An answer that keeps its constraint must fit. */
static int start_matching(const struct generation *g, struct choice *c, struct vs_error *err)
{
    if (!g->order.grammar)
        return VS_OK;
    if (vs_matcher_create(g->order.grammar, &c->matcher) != VS_OK)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    uint32_t shortest = vs_matcher_shortest(c->matcher);
    size_t room = vs_model_context(g->work.s->model) + 1 - g->n_prompt;
    if (shortest == UINT32_MAX)
        return vs_error_set(err, VS_E_UNSUPPORTED, "constraint: this model's vocabulary can't spell any answer");
    uint64_t least = (uint64_t)shortest + (g->may_reason && g->is_open ? g->marks.close.n : 0);
    if (g->order.max_tokens >= 0 && (uint64_t)g->order.max_tokens < least)
        return vs_error_set(err, VS_E_INVALID, "max_tokens: the shortest answer that the constraint allows takes %llu tokens, "
                            "this is %lld", (unsigned long long)least, (long long)g->order.max_tokens);
    if (room < least)
        return vs_error_set(err, VS_E_CONTEXT, "the shortest answer that the constraint allows takes %llu tokens; the prompt of "
                            "%zu leaves room for %zu", (unsigned long long)least, g->n_prompt, room);
    if (shortest == 0 && vs_matcher_must_end(c->matcher))
        return vs_error_set(err, VS_E_INVALID, "constraint: it allows nothing but an empty answer");
    if (g->may_reason && vs_reasoning_init(&c->reasoning, &g->marks, g->work.s, shortest, g->is_open) != VS_OK)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    return VS_OK;
}

static int begin_choice(struct generation *g, uint32_t i, const struct vs_ids *prompt, const struct vs_teller_config *teller,
                        struct vs_error *err)
{
    struct choice *c = &g->choice[i];
    const struct vs_sent *sent = g->work.sink->sent ? &g->work.sink->sent[i] : &(struct vs_sent){ 0 };
    c->sampling = g->order.sampling;
    c->sampling.seed += i;
    int r = vs_stopper_init(&c->stopper, &g->order, g->work.s, err);
    if (r == VS_OK)
        r = vs_teller_init(&c->teller, teller, err);
    if (r != VS_OK)
        return r;
    r = vs_ids_append(&c->tokens, prompt->id, prompt->n) == VS_OK ? take_sent(g, c, sent, err)
                                                                   : vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (r != VS_OK)
        return r;
    c->next = g->n_prompt;
    if (g->order.n_logprobs > 0 && !(c->best = calloc((size_t)g->order.n_logprobs, sizeof *c->best)))
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (g->order.logits_hash && (!(c->hash = EVP_MD_CTX_new()) || !EVP_DigestInit_ex(c->hash, EVP_sha256(), NULL)))
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    r = start_matching(g, c, err);
    start_guessing(g, c);
    /* What the client has needs no logits again, unless they are hashed. */
    while (r == VS_OK && !c->hash && !g->work.sink->claim && c->next < c->tokens.n && !c->finish)
        r = follow_sent(g, c, err);
    return r;
}

/* What the prompt goes on with, so that nothing but a call can follow, or an answer in its form. */
static int begin_answer(struct generation *g, const json_t *request, struct vs_teller_config *teller, const struct vs_ids *prompt,
                        struct vs_buf *begun, struct vs_error *err)
{
    struct vs_service *s = g->work.s;
    /* A template has made the prompt. */
    bool is_ours = !teller->in_content && !vs_request_flag(request, "raw") && !json_is_array(json_object_get(request, "tokens"));
    if (g->order.forces)
        vs_style_begin_call(&teller->style, teller->is_open, begun);
    if (g->order.forces || !g->order.grammar || !is_ours)
        return VS_OK;
    g->is_open = vs_prompt_is_open(s, prompt, &teller->style);
    g->may_reason = teller->is_in_parts && vs_style_thinks(&teller->style, &(enum vs_mark){ 0 }, &(enum vs_mark){ 0 })
                    && !vs_prompt_is_closed(s, prompt, &teller->style);
    if (g->may_reason)
        return vs_reason_marks_read(s, &teller->style, &g->work.sink->check, &g->marks, err);
    vs_style_begin_content(&teller->style, g->is_open, begun);
    return VS_OK;
}

static int extend_prompt(struct generation *g, struct vs_buf *begun, struct vs_ids *prompt, struct vs_error *err)
{
    struct vs_service *s = g->work.s;
    if (!begun->n)
        return begun->status == VS_OK ? VS_OK : vs_error_set(err, begun->status, "out of memory");
    vs_buf_char(begun, '\0');
    if (begun->status != VS_OK)
        return vs_error_set(err, begun->status, "out of memory");
    int r = vs_service_encode(s, begun->data, begun->n - 1, true, 0, &g->work.sink->check, prompt, err);
    g->n_prompt = prompt->n;
    if (r == VS_OK && prompt->n >= vs_model_context(s->model))
        r = vs_error_set(err, VS_E_CONTEXT, "the prompt has %zu tokens and the context holds %u, one of them for the answer",
                         prompt->n, vs_model_context(s->model));
    return r;
}

static int begin(struct generation *g, const json_t *request, struct vs_error *err)
{
    struct vs_service *s = g->work.s;
    struct vs_check *check = &g->work.sink->check;
    struct vs_ids prompt = { 0 };
    int r = vs_order_read(s, request, check, &g->order, err);
    struct vs_teller_config teller = { .is_in_parts = g->order.parts && s->tokenizer, .mark_id = s->mark_id,
                                       .special = g->order.special };
    if (r == VS_OK)
        r = vs_prompt_read(s, request, check, &prompt, &teller.style, &g->notice, err);
    if (r == VS_OK)
        r = vs_order_calls(s, request, &teller.style, check, &g->order, err);
    teller.is_single = g->order.one_call;
    if (r == VS_OK && !g->notice)
        g->notice = vs_service_guess(s);
    g->n_prompt = prompt.n;
    if (!g->notice && g->order.notice[0])
        g->notice = g->order.notice;
    if (r == VS_OK && teller.is_in_parts) {
        teller.tools = g->tools = json_incref(vs_chat_tools(request));
        teller.in_content = json_string_length(json_object_get(request, "begun")) > 0;
        teller.is_open = !teller.in_content && vs_prompt_is_open(s, &prompt, &teller.style);
        if (!teller.in_content && vs_prompt_leads(s, &prompt, &teller.style))
            teller.lead = vs_style_lead(&teller.style);
    }
    struct vs_buf begun = { 0 };
    if (r == VS_OK)
        r = begin_answer(g, request, &teller, &prompt, &begun, err);
    if (r == VS_OK)
        r = extend_prompt(g, &begun, &prompt, err);
    teller.begun = begun.n ? begun.data : NULL;
    if (g->order.n_logprobs > (int64_t)vs_model_n_vocab(s->model))
        g->order.n_logprobs = vs_model_n_vocab(s->model);
    if (r == VS_OK && !(g->prompt = vs_ids_json(prompt.id, prompt.n, check)))
        r = check->status != VS_OK ? check->status : vs_error_set(err, VS_E_NOMEM, "out of memory");
    bool is_shaped = g->order.forces || g->order.or_calls || g->may_reason;     /* tools alone bend nothing until one is called */
    if (r == VS_OK && g->work.sink->claim)
        r = vs_claim_request(g->work.sink->claim, &g->work, &g->order, &prompt, teller.is_in_parts, is_shaped, err);
    for (uint32_t i = 0; i < g->n && r == VS_OK; i++)
        r = begin_choice(g, i, &prompt, &teller, err);
    vs_buf_clear(&begun);
    vs_ids_clear(&prompt);
    return r;
}

int vs_service_generate(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err)
{
    struct generation *g = calloc(1, sizeof *g);
    if (!g)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    g->n = (uint32_t)vs_request_int(request, "n", 1);
    int r = vs_work_init(&g->work, &kind, s, sink, request, g->n, err);
    if (r == VS_OK)
        r = begin(g, request, err);
    if (r == VS_OK)
        ret->work = &g->work;
    else
        vs_work_free(&g->work);
    return r;
}
