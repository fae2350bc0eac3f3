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
    struct vs_made made;                 /* its tokens; in the memory behind them, guesses */
    struct vs_sampling sampling;         /* seed + its index */
    struct vs_speculation *speculation;  /* NULL: nothing is guessed */
    struct vs_logprob *best;             /* [order.n_logprobs] */
    EVP_MD_CTX *hash;                    /* NULL: not asked for */
    size_t n_sent, n_more;               /* tokens that the client had; frames of the last of them, beside its first */
};

struct generation {
    struct vs_work work;
    struct vs_asked asked;
    json_t *prompt;                      /* its ids, for the result; NULL once it is there */
    uint64_t begun_ns, first_ns, ended_ns;       /* first logits; first token out; the end */
    uint32_t n;
    struct choice choice[VS_MAX_CHOICES];
};

/* ---- one token ---- */

static size_t n_of(const struct generation *g, const struct choice *c)
{
    return c->made.tokens.n - g->asked.n_prompt;
}

/* VS_E_NOMEM */
static int hash_token(const struct generation *g, struct choice *c, size_t position, const float *logits, uint32_t id)
{
    uint8_t word[4];
    struct vs_claim *claim = g->work.sink->claim;
    size_t n_vocab = vs_model_n_vocab(g->work.s->model);
    int r = claim ? vs_claim_token(claim, c->made.index, position, id, logits, n_vocab) : VS_OK;
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
    if (g->asked.order.n_logprobs < 0)
        return VS_OK;
    int r = vs_sampler_logprobs(sampler, logits, id, (size_t)g->asked.order.n_logprobs, &chosen, c->best);
    if (r != VS_OK)
        return vs_error_set(err, r, "%s", vs_status_text(r));
    json_t *top = json_array();
    for (int64_t i = 0; i < g->asked.order.n_logprobs; i++) {
        json_t *entry = json_pack("{s:I, s:f}", "id", (json_int_t)c->best[i].id, "logprob", (double)c->best[i].logprob);
        describe(g->work.s->tokenizer, c->best[i].id, entry);
        json_array_append_new(top, entry);
    }
    *ret = json_pack("{s:f}", "logprob", (double)chosen);
    describe(g->work.s->tokenizer, id, *ret);
    return json_object_set_new(*ret, "top", top) == 0 ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
}

/* The client has the first n frames. */
static void drop_told(const struct generation *g, struct choice *c, size_t n)
{
    struct vs_teller *t = &c->made.teller;
    for (size_t i = 0; g->work.sink->claim && i < n && i < t->n; i++)
        vs_claim_said(g->work.sink->claim, c->made.index, t->told[i].id);
    vs_teller_drop(t, n);
}

/* One that the client has already: all that was said of it, and of the last one as much as was sent. */
static int follow_sent(struct generation *g, struct choice *c, struct vs_error *err)
{
    size_t n = 0;
    uint32_t id = c->made.tokens.id[c->made.next];
    int r = vs_made_follow(&g->asked, &c->made, id, &n, err);
    if (r == VS_OK)
        r = vs_made_keep(&g->asked, &c->made, id, n, NULL, err);
    drop_told(g, c, c->made.next == g->asked.n_prompt + c->n_sent ? 1 + c->n_more : c->made.teller.n);
    return r;
}

/* The logits that decide token `next`: it is sampled, hashed and kept to be sent; or it is there already. */
static int decide(struct generation *g, struct choice *c, struct vs_sampler *sampler, const float *logits, struct vs_error *err)
{
    size_t position = c->made.next, n;
    uint32_t id;
    json_t *extra = NULL;
    if (position < c->made.tokens.n) {
        if (hash_token(g, c, position, logits, c->made.tokens.id[position]) != VS_OK)
            return vs_error_set(err, VS_E_NOMEM, "out of memory");
        return follow_sent(g, c, err);
    }
    int r = vs_made_draw(&g->asked, &c->made, c->sampling, sampler, logits, &id, err);
    if (r == VS_OK)
        r = vs_ids_add(&c->made.tokens, id) == VS_OK ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (r != VS_OK)
        return r;
    if (c->speculation)
        vs_speculation_took(c->speculation, id);
    if (hash_token(g, c, position, logits, id) != VS_OK)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    r = vs_made_follow(&g->asked, &c->made, id, &n, err);
    if (r == VS_OK)
        r = logprobs(g, c, sampler, logits, id, &extra, err);
    return r == VS_OK ? vs_made_keep(&g->asked, &c->made, id, n, extra, err) : r;
}

/* ---- what the batch asks ---- */

/* Guesses are put behind the tokens: how many. Not more than may still come, the last of which needs no row. */
static uint32_t guess(struct generation *g, struct choice *c)
{
    struct vs_draft_step step;
    if (!c->speculation || c->made.next != c->made.tokens.n || vs_ids_reserve(&c->made.tokens, VS_DRAFT_MOST) != VS_OK)
        return 0;
    vs_works_step(g->work.s->works, (uint32_t)c->made.tokens.n, &step);
    size_t room = vs_model_context(g->work.s->model) - c->made.tokens.n;
    if (g->asked.order.max_tokens >= 0 && room > (size_t)g->asked.order.max_tokens - n_of(g, c) - 1)
        room = (size_t)g->asked.order.max_tokens - n_of(g, c) - 1;
    step.n_most = step.n_most < room ? step.n_most : (uint32_t)room;
    uint64_t start = vs_clock_ns();
    uint32_t n = vs_speculation_guess(c->speculation, &step, c->made.tokens.id, (uint32_t)c->made.tokens.n);
    vs_works_guessed(g->work.s->works, vs_clock_ns() - start);
    return n;
}

static void want(struct vs_work *w, uint32_t lane, struct vs_want *ret)
{
    struct generation *g = (struct generation *)w;
    struct choice *c = &g->choice[lane];
    *ret = (struct vs_want){ .decode = c->made.next > g->asked.n_prompt };
    if (c->made.finish)
        return;
    ret->n_known = (uint32_t)c->made.tokens.n;
    ret->n = ret->n_known + (ret->decode ? guess(g, c) : 0);
    ret->tokens = c->made.tokens.id;
    ret->n_shared = (uint32_t)c->made.next - 1;
    ret->n_out = ret->n - ret->n_shared;
}

/* The next token's mask depends on the tokens before it alone; what the matcher found it keeps. */
static void prepare(struct vs_work *w, uint32_t lane)
{
    struct generation *g = (struct generation *)w;
    struct choice *c = &g->choice[lane];
    if (c->made.matcher && c->made.next == c->made.tokens.n && !c->made.finish)
        vs_made_mask(&g->asked, &c->made);
}

static int take(struct vs_work *w, uint32_t lane, struct vs_sampler *sampler, const float *logits, uint32_t n, struct vs_error *err)
{
    struct generation *g = (struct generation *)w;
    struct choice *c = &g->choice[lane];
    int r = VS_OK;
    if (vs_made_is_full(&g->asked, &c->made) && c->made.next == c->made.tokens.n)
        c->made.finish = "length";            /* max_tokens 0: the prompt is read, and that is all */
    bool guessed = false, came = true;
    if (c->speculation && c->made.next == c->made.tokens.n)
        vs_speculation_computed(c->speculation, n - 1);
    for (uint32_t i = 0; i < n && r == VS_OK && came && !c->made.finish; i++) {
        guessed = c->made.next == c->made.tokens.n && i + 1 < n;   /* the row behind this one is of a guess */
        uint32_t expected = guessed ? c->made.tokens.id[c->made.next] : 0;
        r = decide(g, c, sampler, logits + i * (size_t)vs_model_n_vocab(w->s->model), err);
        came = !guessed || c->made.tokens.id[c->made.next - 1] == expected;
    }
    return r;
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

/* What it took so far: also of a request that ends here, because somebody cancels it or cuts its answer off. */
static size_t tell_usage(const struct generation *g)
{
    struct vs_outcome *outcome = g->work.sink->outcome;
    size_t n_made = 0;
    for (uint32_t i = 0; i < g->n; i++)
        n_made += n_of(g, &g->choice[i]);
    outcome->has_usage = true;
    outcome->usage = (struct vs_usage){ .prompt_tokens = (int64_t)g->asked.n_prompt, .completion_tokens = (int64_t)n_made,
                                        .cached_tokens = (int64_t)g->work.n_cached,
                                        .recomputed_tokens = (int64_t)g->work.n_recomputed };
    count_guesses(g, &outcome->usage);
    return n_made;
}

static int send_made(struct vs_work *w, uint32_t lane, struct vs_error *err)
{
    struct generation *g = (struct generation *)w;
    struct vs_teller *t = &g->choice[lane].made.teller;
    size_t at = 0;
    int r = VS_OK;
    g->begun_ns = g->begun_ns ? g->begun_ns : vs_clock_ns();
    tell_usage(g);
    for (size_t i = 0; i < t->n && r == VS_OK; at += t->told[i++].n) {
        const struct vs_telling *told = &t->told[i];
        const struct vs_said said = { .index = g->n > 1 ? (int)lane : -1, .part = g->asked.order.parts ? (int)told->part : -1,
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
    const struct vs_stop_string *by = c->made.stopper.by;
    return !by || json_object_set_new(o, "stop_sequence", json_stringn(by->text, by->n)) == 0;
}

/* Of several choices each has an entry; the envelope then tells what all have together. */
static bool add_choices(struct generation *g, json_t *o)
{
    json_t *list = json_array();
    json_object_set_new(o, "choices", list);
    for (uint32_t i = 0; i < g->n; i++) {
        struct choice *c = &g->choice[i];
        json_t *one = json_pack("{s:i, s:s, s:I}", "index", (int)i, "finish_reason", c->made.finish, "completion_tokens",
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
    size_t n_read = g->asked.n_prompt > w->n_cached ? g->asked.n_prompt - (size_t)w->n_cached : 0;
    size_t n_steps = n_made > g->n ? n_made - g->n : 0;
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I}", "load_ms", w->s->load_ms, "queue_ms", ms(arrived, placed),
                     "prompt_ms", prompt_ms, "prompt_per_second", per_second(n_read, prompt_ms),
                     "first_token_ms", ms(arrived, g->first_ns), "decode_ms", decode_ms,
                     "decode_per_second", per_second(n_steps, decode_ms), "cached_tokens", (json_int_t)w->n_cached);
}

static json_t *result(struct vs_work *w)
{
    struct generation *g = (struct generation *)w;
    struct vs_outcome *outcome = w->sink->outcome;
    for (uint32_t i = 0; i < g->n; i++) {
        if (w->sink->claim)
            vs_claim_finish(w->sink->claim, i, g->choice[i].made.finish);
        if (g->choice[i].made.teller.n)       /* of a token that an earlier worker had not told to its end */
            send_made(w, i, &(struct vs_error){ 0 });
    }
    if (g->n == 1)
        snprintf(outcome->finish_reason, sizeof outcome->finish_reason, "%s", g->choice[0].made.finish);
    size_t n_made = tell_usage(g);
    json_t *o = json_pack("{s:o, s:o}", "prompt_tokens", g->prompt, "timings", timings(g, n_made));
    g->prompt = NULL;
    if (o && w->sink->claim)
        json_object_set(o, "opening", vs_claim_opening(w->sink->claim));
    if (o && g->asked.notice)
        json_object_set_new(o, "notice", json_string(g->asked.notice));
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
    free(c->best);
    vs_made_clear(&c->made);
}

static void free_generation(struct vs_work *w)
{
    struct generation *g = (struct generation *)w;
    for (uint32_t i = 0; i < g->n; i++)
        clear_choice(&g->choice[i]);
    vs_asked_clear(&g->asked);
    json_decref(g->prompt);
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
    size_t room = vs_model_context(g->work.s->model) - g->asked.n_prompt, n_more = SOME_TOKENS;
    if (g->asked.order.max_tokens >= 0)
        n_more = (size_t)g->asked.order.max_tokens;
    const struct vs_speculation_config config = {
        .n_more = n_more < room ? n_more : room, .drafter = g->work.s->drafter, .sampling = &c->sampling,
        .cache_key = g->work.cache_key, .owner = g->work.sink->owner,
    };
    if (g->asked.order.speculates && n_more > 1)
        c->speculation = vs_speculation_create(&config, c->made.tokens.id, c->made.tokens.n);
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
        if (vs_ids_add(&c->made.tokens, sent->id[k]) != VS_OK)
            return vs_error_set(err, VS_E_NOMEM, "out of memory");
        c->n_sent++;
        c->n_more = 0;
    }
    return VS_OK;
}

static int begin_choice(struct generation *g, uint32_t i, const struct vs_ids *prompt, struct vs_error *err)
{
    struct choice *c = &g->choice[i];
    const struct vs_sent *sent = g->work.sink->sent ? &g->work.sink->sent[i] : &(struct vs_sent){ 0 };
    const struct vs_order *order = &g->asked.order;
    c->made.index = i;
    c->sampling = order->sampling;
    c->sampling.seed += i;
    int r = vs_made_begin(&g->asked, &c->made, prompt, err);
    if (r == VS_OK)
        r = take_sent(g, c, sent, err);
    if (r != VS_OK)
        return r;
    if (order->n_logprobs > 0 && !(c->best = calloc((size_t)order->n_logprobs, sizeof *c->best)))
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (order->logits_hash && (!(c->hash = EVP_MD_CTX_new()) || !EVP_DigestInit_ex(c->hash, EVP_sha256(), NULL)))
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    start_guessing(g, c);
    /* What the client has needs no logits again, unless they are hashed. */
    while (r == VS_OK && !c->hash && !g->work.sink->claim && c->made.next < c->made.tokens.n && !c->made.finish)
        r = follow_sent(g, c, err);
    return r;
}

static int begin(struct generation *g, const json_t *request, struct vs_error *err)
{
    struct vs_service *s = g->work.s;
    struct vs_check *check = &g->work.sink->check;
    struct vs_asked *a = &g->asked;
    struct vs_ids prompt = { 0 };
    a->s = s;
    a->check = check;
    a->claim = g->work.sink->claim;
    int r = vs_asked_read(a, request, &prompt, err);
    if (r == VS_OK && !a->notice)
        a->notice = vs_service_guess(s);
    if (!a->notice && a->order.notice[0])
        a->notice = a->order.notice;
    if (a->order.n_logprobs > (int64_t)vs_model_n_vocab(s->model))
        a->order.n_logprobs = vs_model_n_vocab(s->model);
    if (r == VS_OK && !(g->prompt = vs_ids_json(prompt.id, prompt.n, check)))
        r = check->status != VS_OK ? check->status : vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (r == VS_OK && a->claim)
        r = vs_claim_request(a->claim, &g->work, a, &prompt, err);
    for (uint32_t i = 0; i < g->n && r == VS_OK; i++)
        r = begin_choice(g, i, &prompt, err);
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
