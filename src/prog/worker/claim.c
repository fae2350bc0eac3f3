/* prog/worker/claim.c - see claim.h. */
#include "prog/worker/claim.h"

#include "base/bytes.h"
#include "ipc/json.h"
#include "ipc/message.h"
#include "prog/worker/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct drawn {                           /* a token */
    uint32_t position, id;
    uint8_t digest[VS_DIGEST_BYTES];     /* of the logits */
    size_t text_bytes;                   /* of the answer, with what came of it */
};

struct choice {
    struct drawn *token;                 /* [n] */
    size_t n, cap;
    size_t n_said;                       /* of them, that the client has */
    struct vs_buf text;
    const char *finish;                  /* NULL: it was stopped */
    bool is_shaped;                      /* a call was held to its form */
};

struct vs_claim {
    unsigned level;
    uint8_t salt[VS_SALT_BYTES];
    struct vs_statement asked;
    json_t *opening;
    bool keeps;
    struct vs_buf prompt;                /* u32le each */
    struct choice *choice;               /* [n] */
    uint32_t n;
};

struct vs_claim *vs_claim_create(unsigned level, const char *salt, bool keeps)
{
    struct vs_claim *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->level = level;
    c->keeps = keeps;
    vs_hex_bytes(salt, sizeof c->salt, c->salt);
    return c;
}

void vs_claim_free(struct vs_claim *c)
{
    for (uint32_t i = 0; c && i < c->n; i++) {
        free(c->choice[i].token);
        vs_buf_clear(&c->choice[i].text);
    }
    if (c) {
        vs_buf_clear(&c->prompt);
        json_decref(c->opening);
        free(c->choice);
    }
    free(c);
}

int vs_claim_begin(struct vs_claim *c, const struct vs_statement *asked, json_t *opening, uint32_t n_choices)
{
    c->opening = opening;
    if (!opening)
        return VS_E_NOMEM;
    c->choice = calloc(n_choices, sizeof *c->choice);
    if (!c->choice)
        return VS_E_NOMEM;
    c->n = n_choices;
    c->asked = *asked;
    c->asked.has_worker = true;
    c->asked.trace.level = c->level;
    return VS_OK;
}

json_t *vs_claim_opening(const struct vs_claim *c)
{
    return c->opening;
}

static void add_u32(struct vs_buf *out, uint32_t word)
{
    uint8_t bytes[4];
    vs_store_u32le(bytes, word);
    vs_buf_add(out, bytes, sizeof bytes);
}

int vs_claim_prompt(struct vs_claim *c, const uint32_t *id, size_t n)
{
    for (size_t i = 0; i < n; i++)
        add_u32(&c->prompt, id[i]);
    return c->prompt.status;
}

const uint8_t *vs_claim_salt(const struct vs_claim *c)
{
    return c->salt;
}

int vs_claim_token(struct vs_claim *c, uint32_t choice, size_t position, uint32_t id, const float *logits, size_t n)
{
    struct choice *o = &c->choice[choice];
    if (o->n == o->cap) {
        size_t cap = o->cap ? 2 * o->cap : 64;
        struct drawn *more = realloc(o->token, cap * sizeof *more);
        if (!more)
            return VS_E_NOMEM;
        o->token = more;
        o->cap = cap;
    }
    struct drawn *t = &o->token[o->n++];
    t->position = (uint32_t)position;
    t->id = id;
    t->text_bytes = o->text.n;
    vs_trace_digest(c->level, logits, n, t->digest);
    return VS_OK;
}

int vs_claim_text(struct vs_claim *c, uint32_t choice, const char *text, size_t n)
{
    struct choice *o = &c->choice[choice];
    vs_buf_add(&o->text, text, n);
    if (o->n)
        o->token[o->n - 1].text_bytes = o->text.n;
    return o->text.status;
}

void vs_claim_said(struct vs_claim *c, uint32_t choice, uint32_t id)
{
    if (choice < c->n)
        c->choice[choice].n_said += id != VS_NO_TOKEN;
}

void vs_claim_finish(struct vs_claim *c, uint32_t choice, const char *finish)
{
    if (choice < c->n)
        c->choice[choice].finish = finish;
}

void vs_claim_shaped(struct vs_claim *c, uint32_t choice)
{
    if (choice < c->n)
        c->choice[choice].is_shaped = true;
}

uint32_t vs_claim_n(const struct vs_claim *c)
{
    return c->n;
}

static void observe(struct vs_statement *s, const struct vs_usage *u)
{
    s->observed.cached = (uint64_t)u->cached_tokens;
    s->observed.drafted = (uint64_t)u->drafted_tokens;
    s->observed.recomputed = (uint64_t)u->recomputed_tokens;
}

/* Tokens that the client has. */
static size_t n_said(const struct choice *o)
{
    return o->n_said < o->n ? o->n_said : o->n;
}

static void name_adapters(struct vs_statement *st, const struct vs_service *s)
{
    for (uint32_t i = 0; i < st->model.adapters.n; i++)
        vs_hex_bytes(vs_service_adapter_digest(s, i), VS_DIGEST_BYTES, st->model.adapters.one[i].sha256);
}

void vs_claim_format(const struct vs_claim *c, uint32_t choice, const char *digest, const struct vs_service *service,
                     const struct vs_usage *usage, struct vs_buf *out)
{
    const struct choice *o = &c->choice[choice];
    struct vs_statement s = c->asked;
    struct vs_sha256 tokens;
    size_t n = n_said(o), text_bytes = n ? o->token[n - 1].text_bytes : 0;
    s.request.seed += choice;
    s.request.shaped |= o->is_shaped;
    vs_hex_bytes(digest, sizeof s.model.sha256.hash, s.model.sha256.hash);
    s.model.sha256.is_there = true;
    name_adapters(&s, service);
    snprintf(s.result.finish, sizeof s.result.finish, "%s", o->finish ? o->finish : "cancelled");
    if (usage)
        observe(&s, usage);
    vs_commit_begin(&tokens, VS_COMMIT_TOKENS, c->salt);
    s.trace.n_out = n;
    vs_statement_chain(&s, c->salt, s.trace.chain.hash);
    for (size_t i = 0; i < n; i++) {
        vs_commit_add_ids(&tokens, &o->token[i].id, 1);
        vs_trace_step(s.trace.chain.hash, o->token[i].position, o->token[i].id, o->token[i].digest);
    }
    vs_sha256_end(&tokens, s.tokens.hash);
    vs_commit(VS_COMMIT_TEXT, c->salt, o->text.data, text_bytes, s.text.hash);
    s.tokens.is_there = s.text.is_there = s.trace.chain.is_there = true;
    vs_statement_format(&s, c->n > 1 ? VS_STATEMENT_CHOICE : VS_STATEMENT_WORKER, out);
}

bool vs_claim_kept(const struct vs_claim *c, uint32_t choice, struct vs_buf *out)
{
    const struct choice *o = &c->choice[choice];
    size_t n = n_said(o);
    if (!c->keeps)
        return false;
    add_u32(out, (uint32_t)(c->prompt.n / 4));
    add_u32(out, (uint32_t)n);
    vs_buf_add(out, c->prompt.data, c->prompt.n);
    for (size_t i = 0; i < n; i++)
        add_u32(out, o->token[i].id);
    vs_json_dump(c->opening, out);
    return out->status == VS_OK;
}

void vs_claim_dump(const struct vs_claim *c, struct vs_buf *out)
{
    vs_buf_str(out, "{\"prompt_tokens\":[");
    for (size_t at = 0; at < c->prompt.n; at += 4)
        vs_buf_printf(out, at ? ",%u" : "%u", (unsigned)vs_load_u32le(c->prompt.data + at));
    vs_buf_str(out, "],\"opening\":");
    vs_json_dump(c->opening, out);
    vs_buf_char(out, '}');
}
