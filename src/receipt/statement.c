/* receipt/statement.c - see statement.h. Two tables make writer and parser: groups, and their members in order. */
#include "receipt/statement.h"

#include "base/bytes.h"
#include "base/status.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define HEAD      "{\"_type\":\"https://in-toto.io/Statement/v1\",\"subject\":["
#define PREDICATE "],\"predicateType\":\"urn:veritas-sdr:receipt:1\",\"predicate\":{"
#define TAIL      "}}"

enum kind { WORD, WORD_OPTIONAL, HASH, HASH_OPTIONAL, INTEGER, FLOAT, SEED, ADAPTERS_OPTIONAL };

struct member {
    const char *key;
    enum kind kind;
    size_t at;
    int64_t least, most;
    const char *const *words;            /* the only ones that are known; NULL: any */
};

#define AT(field) offsetof(struct vs_statement, field)
enum { MOST_TOKENS = 1 << 24 };

static const char *const finishes[] = { "stop", "length", "tool_calls", "filtered", "cancelled", "refused", "failed", NULL };
static const char *const contracts[] = { "VNC-1", "VNC-1H", NULL };

#define END { NULL, WORD, 0, 0, 0, NULL }

static const struct member contract[] = { { "id", WORD, AT(contract.id), 0, 0, contracts }, END };
static const struct member engine[] = {
    { "name", WORD, AT(engine.name), 0, 0, NULL }, { "version", WORD, AT(engine.version), 0, 0, NULL }, END,
};
static const struct member model[] = {
    { "sha256", HASH, AT(model.sha256), 0, 0, NULL }, { "adapters", ADAPTERS_OPTIONAL, AT(model.adapters), 0, 0, NULL }, END,
};
static const struct member numeric[] = {
    { "kv_type", WORD, AT(numeric.kv_type), 0, 0, NULL }, { "n_ctx", INTEGER, AT(numeric.n_ctx), 1, MOST_TOKENS, NULL }, END,
};
static const struct member request[] = {
    { "prompt", HASH, AT(request.prompt), 0, 0, NULL },
    { "n_prompt", INTEGER, AT(request.n_prompt), 1, MOST_TOKENS, NULL },
    { "seed", SEED, AT(request.seed), 0, 0, NULL },
    { "temperature", FLOAT, AT(request.temperature), 0, 0, NULL },
    { "top_k", INTEGER, AT(request.top_k), 0, UINT32_MAX, NULL },
    { "top_p", FLOAT, AT(request.top_p), 0, 0, NULL },
    { "min_p", FLOAT, AT(request.min_p), 0, 0, NULL },
    { "typical_p", FLOAT, AT(request.typical_p), 0, 0, NULL },
    { "repeat_penalty", FLOAT, AT(request.repeat_penalty), 0, 0, NULL },
    { "presence_penalty", FLOAT, AT(request.presence_penalty), 0, 0, NULL },
    { "frequency_penalty", FLOAT, AT(request.frequency_penalty), 0, 0, NULL },
    { "repeat_last_n", INTEGER, AT(request.repeat_last_n), -1, INT32_MAX, NULL },
    { "max_tokens", INTEGER, AT(request.max_tokens), -1, INT64_MAX, NULL },
    { "ignore_eos", INTEGER, AT(request.ignore_eos), 0, 1, NULL },
    { "special", INTEGER, AT(request.special), 0, 1, NULL },
    { "parts", INTEGER, AT(request.parts), 0, 1, NULL },
    { "bias", HASH_OPTIONAL, AT(request.bias), 0, 0, NULL },
    { "stop", HASH_OPTIONAL, AT(request.stop), 0, 0, NULL },
    { "stop_tokens", HASH_OPTIONAL, AT(request.stop_tokens), 0, 0, NULL },
    { "constraint", HASH_OPTIONAL, AT(request.constraint), 0, 0, NULL },
    { "asked", HASH_OPTIONAL, AT(request.asked), 0, 0, NULL },
    { "shaped", INTEGER, AT(request.shaped), 0, 1, NULL },
    END,
};
static const struct member trace[] = {
    { "level", INTEGER, AT(trace.level), VS_TRACE_SOME, VS_TRACE_ALL, NULL },
    { "n_out", INTEGER, AT(trace.n_out), 0, MOST_TOKENS, NULL },
    { "chain", HASH, AT(trace.chain), 0, 0, NULL },
    END,
};
static const struct member observed[] = {
    { "isa", WORD, AT(observed.isa), 0, 0, NULL },
    { "threads", INTEGER, AT(observed.threads), 0, INT64_MAX, NULL },
    { "parallel", INTEGER, AT(observed.parallel), 0, INT64_MAX, NULL },
    { "chunk", INTEGER, AT(observed.chunk), 0, INT64_MAX, NULL },
    { "cached", INTEGER, AT(observed.cached), 0, INT64_MAX, NULL },
    { "drafted", INTEGER, AT(observed.drafted), 0, INT64_MAX, NULL },
    { "recomputed", INTEGER, AT(observed.recomputed), 0, INT64_MAX, NULL },
    { "resumed", INTEGER, AT(observed.resumed), 0, INT64_MAX, NULL },
    END,
};
static const struct member result[] = {
    { "finish", WORD, AT(result.finish), 0, 0, finishes }, { "error", WORD_OPTIONAL, AT(result.error), 0, 0, NULL }, END,
};
static const struct member guard[] = {
    { "policy", HASH, AT(guard.policy), 0, 0, NULL }, { "action", WORD, AT(guard.action), 0, 0, NULL }, END,
};
static const struct member when[] = {
    { "start", INTEGER, AT(time.start), 0, INT64_MAX, NULL },
    { "end", INTEGER, AT(time.end), 0, INT64_MAX, NULL },
    { "source", WORD, AT(time.source), 0, 0, NULL },
    END,
};
static const struct member actor[] = {
    { "uid", INTEGER, AT(actor.uid), -1, INT64_MAX, NULL },
    { "request", INTEGER, AT(actor.request), 0, INT64_MAX, NULL },
    { "key", WORD_OPTIONAL, AT(actor.key), 0, 0, NULL },
    { "on_behalf_of", HASH_OPTIONAL, AT(actor.on_behalf_of), 0, 0, NULL },
    END,
};
static const struct member where[] = {
    { "source", WORD, AT(log.source), 0, 0, NULL }, { "record", INTEGER, AT(log.record), 1, INT64_MAX, NULL }, END,
};

enum { ALWAYS = -1 };
static const struct group {
    const char *key;
    const struct member *members;
    bool is_worker;                      /* the worker's part */
    long has;                            /* where it says whether the group is there */
} groups[] = {
    { "contract", contract, true,  AT(has_worker) },
    { "engine",   engine,   false, ALWAYS },
    { "model",    model,    true,  AT(has_worker) },
    { "numeric",  numeric,  true,  AT(has_worker) },
    { "request",  request,  true,  AT(has_worker) },
    { "trace",    trace,    true,  AT(has_worker) },
    { "observed", observed, true,  AT(has_worker) },
    { "result",   result,   false, ALWAYS },
    { "guard",    guard,    false, AT(has_guard) },
    { "time",     when,     false, ALWAYS },
    { "actor",    actor,    false, ALWAYS },
    { "log",      where,    false, AT(has_log) },
};
enum { N_GROUPS = sizeof groups / sizeof *groups };

static const struct { const char *name; size_t at; } subjects[] = {
    { VS_COMMIT_TOKENS, AT(tokens) }, { VS_COMMIT_TEXT, AT(text) }, { VS_COMMIT_DELIVERED, AT(delivered) },
    { VS_COMMIT_BODY, AT(body) },
};
enum { N_SUBJECTS = sizeof subjects / sizeof *subjects };

static const void *get(const struct vs_statement *s, size_t at)
{
    return (const char *)s + at;
}

static bool is_optional(enum kind k)
{
    return k == WORD_OPTIONAL || k == HASH_OPTIONAL || k == ADAPTERS_OPTIONAL;
}

/* ---- writing ---- */

/* Some sixty values of each answer: no format strings. */
static void put_quoted(const char *text, size_t n, struct vs_buf *out)
{
    vs_buf_char(out, '"');
    vs_buf_add(out, text, n);
    vs_buf_char(out, '"');
}

static void put_hash(const uint8_t hash[VS_DIGEST_BYTES], struct vs_buf *out)
{
    char hex[2 * VS_DIGEST_BYTES + 1];
    vs_hex(hash, VS_DIGEST_BYTES, hex);
    put_quoted(hex, 2 * VS_DIGEST_BYTES, out);
}

/* The last `digits` digits of hex. */
static void put_word(uint64_t v, size_t digits, struct vs_buf *out)
{
    char hex[16];
    for (size_t i = digits; i > 0; i--, v >>= 4)
        hex[i - 1] = "0123456789abcdef"[v & 15];
    put_quoted(hex, digits, out);
}

static void put_bits(float v, struct vs_buf *out)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_word(bits, 8, out);
}

static void put_integer(int64_t v, struct vs_buf *out)
{
    char text[24];
    size_t at = sizeof text;
    uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do
        text[--at] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (v < 0)
        text[--at] = '-';
    vs_buf_add(out, text + at, sizeof text - at);
}

/* ,"KEY": */
static void put_key(const char *comma, const char *key, struct vs_buf *out)
{
    vs_buf_str(out, comma);
    put_quoted(key, strlen(key), out);
    vs_buf_char(out, ':');
}

static void put_adapters(const struct vs_adapted *a, struct vs_buf *out)
{
    for (uint32_t i = 0; i < a->n; i++) {
        vs_buf_str(out, i ? ",{\"sha256\":" : "[{\"sha256\":");
        put_hash(a->one[i].sha256, out);
        vs_buf_str(out, ",\"scale\":");
        put_bits(a->one[i].scale, out);
        vs_buf_char(out, '}');
    }
    vs_buf_char(out, ']');
}

static void put_value(const struct vs_statement *s, const struct member *m, struct vs_buf *out)
{
    const void *v = get(s, m->at);
    switch (m->kind) {
    case WORD: case WORD_OPTIONAL:
        put_quoted(v, strlen(v), out);
        break;
    case HASH: case HASH_OPTIONAL:
        put_hash(((const struct vs_hashed *)v)->hash, out);
        break;
    case ADAPTERS_OPTIONAL:
        put_adapters(v, out);
        break;
    case INTEGER:
        put_integer(*(const int64_t *)v, out);
        break;
    case FLOAT:
        put_bits(*(const float *)v, out);
        break;
    case SEED:
        put_word(*(const uint64_t *)v, 16, out);
        break;
    }
}

static bool is_absent(const struct vs_statement *s, const struct member *m)
{
    const void *v = get(s, m->at);
    return m->kind == WORD_OPTIONAL       ? !*(const char *)v
        : m->kind == HASH_OPTIONAL        ? !((const struct vs_hashed *)v)->is_there
        : m->kind == ADAPTERS_OPTIONAL    ? !((const struct vs_adapted *)v)->n
                                          : false;
}

static void put_group(const struct vs_statement *s, const struct member *members, struct vs_buf *out)
{
    const char *comma = "{";
    for (const struct member *m = members; m->key; m++) {
        if (is_absent(s, m))
            continue;
        put_key(comma, m->key, out);
        put_value(s, m, out);
        comma = ",";
    }
    vs_buf_char(out, '}');
}

static bool is_part(const struct group *g, enum vs_statement_part part)
{
    return part == VS_STATEMENT_WHOLE || g->is_worker || (part == VS_STATEMENT_CHOICE && g->members == result);
}

void vs_statement_format(const struct vs_statement *s, enum vs_statement_part part, struct vs_buf *out)
{
    const char *comma = "";
    vs_buf_str(out, HEAD);
    for (size_t i = 0; i < N_SUBJECTS; i++) {
        const struct vs_hashed *h = get(s, subjects[i].at);
        if (!h->is_there)
            continue;
        vs_buf_str(out, comma);
        put_key("{", "name", out);
        put_quoted(subjects[i].name, strlen(subjects[i].name), out);
        vs_buf_str(out, ",\"digest\":{\"sha256\":");
        put_hash(h->hash, out);
        vs_buf_str(out, "}}");
        comma = ",";
    }
    vs_buf_str(out, PREDICATE);
    comma = "";
    for (const struct group *g = groups; g < groups + N_GROUPS; g++) {
        if (!is_part(g, part) || (g->has != ALWAYS && !*(const bool *)get(s, (size_t)g->has)))
            continue;
        put_key(comma, g->key, out);
        put_group(s, g->members, out);
        comma = ",";
    }
    vs_buf_str(out, TAIL);
}

int vs_statement_chain(const struct vs_statement *s, const uint8_t salt[VS_SALT_BYTES], uint8_t ret[VS_DIGEST_BYTES])
{
    static const struct member *const bound[] = { contract, model, numeric, request };
    const uint32_t level = (uint32_t)s->trace.level;
    struct vs_sha256 h;
    struct vs_buf text = { 0 };
    int rc = VS_OK;
    vs_commit_begin(&h, "chain", salt);
    vs_commit_add_ids(&h, &level, 1);
    for (size_t i = 0; i < sizeof bound / sizeof *bound && rc == VS_OK; i++) {
        uint8_t digest[VS_DIGEST_BYTES];
        vs_buf_reset(&text);
        put_group(s, bound[i], &text);
        vs_sha256_of(text.data, text.n, digest);
        vs_sha256_add(&h, digest, sizeof digest);
        rc = text.status;
    }
    vs_sha256_end(&h, ret);
    vs_buf_clear(&text);
    return rc;
}

/* ---- reading ---- */

struct reader {
    const char *start, *at, *end;
    const char *group, *key;             /* where it is; NULL */
    const char *wrong;                   /* the first thing; NULL */
};

static bool fail(struct reader *r, const char *wrong)
{
    if (!r->wrong)
        r->wrong = wrong;
    return false;
}

/* The text comes next: it is taken. */
static bool next_is(struct reader *r, const char *text)
{
    size_t n = strlen(text);
    if (r->wrong || (size_t)(r->end - r->at) < n || memcmp(r->at, text, n) != 0)
        return false;
    r->at += n;
    return true;
}

static bool need(struct reader *r, const char *text, const char *wrong)
{
    return next_is(r, text) || fail(r, wrong);
}

/* "KEY": comes next. */
static bool next_key(struct reader *r, const char *comma, const char *key)
{
    const char *from = r->at;
    if (next_is(r, comma) && next_is(r, "\"") && next_is(r, key) && next_is(r, "\":"))
        return true;
    r->at = from;
    return false;
}

static bool is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("._-/:+@", c));
}

bool vs_statement_is_word(const char *s)
{
    size_t n = 0;
    while (n < VS_STATEMENT_WORD && is_word_byte(s[n]))
        n++;
    return n > 0 && n < VS_STATEMENT_WORD && s[n] == 0;
}

static bool take_word(struct reader *r, const struct member *m, char ret[VS_STATEMENT_WORD])
{
    size_t n = 0;
    bool known = !m->words;
    if (!need(r, "\"", "a word is needed"))
        return false;
    while (r->at < r->end && n + 1 < VS_STATEMENT_WORD && is_word_byte(*r->at))
        ret[n++] = *r->at++;
    ret[n] = 0;
    for (size_t i = 0; m->words && m->words[i]; i++)
        known |= strcmp(m->words[i], ret) == 0;
    if (n == 0 || !next_is(r, "\""))
        return fail(r, "a word of 1 to 64 letters, digits and . _ - / : + @ is needed");
    return known || fail(r, "this word is not known");
}

/* n digits of hex, lower case, in quotes. */
static bool take_hex(struct reader *r, size_t n, char *ret)
{
    if (!next_is(r, "\"") || (size_t)(r->end - r->at) < n)
        return fail(r, "hex digits in quotes are needed");
    for (size_t i = 0; i < n; i++)
        if (!((r->at[i] >= '0' && r->at[i] <= '9') || (r->at[i] >= 'a' && r->at[i] <= 'f')))
            return fail(r, "hex digits in lower case are needed, of the right number");
    memcpy(ret, r->at, n);
    ret[n] = 0;
    r->at += n;
    return need(r, "\"", "hex digits in lower case are needed, of the right number");
}

static bool take_digest(struct reader *r, uint8_t ret[VS_DIGEST_BYTES])
{
    char hex[2 * VS_DIGEST_BYTES + 1];
    if (!take_hex(r, 2 * VS_DIGEST_BYTES, hex))
        return false;
    vs_hex_bytes(hex, VS_DIGEST_BYTES, ret);
    return true;
}

static bool take_hash(struct reader *r, struct vs_hashed *ret)
{
    return ret->is_there = take_digest(r, ret->hash);
}

static bool take_bits(struct reader *r, size_t digits, uint64_t *ret)
{
    char hex[17];
    if (!take_hex(r, digits, hex))
        return false;
    *ret = 0;
    for (size_t i = 0; i < digits; i++)
        *ret = *ret << 4 | (uint64_t)vs_hex_digit(hex[i]);
    return true;
}

static bool take_float(struct reader *r, float *ret)
{
    uint64_t bits;
    if (!take_bits(r, 8, &bits))
        return false;
    const uint32_t word = (uint32_t)bits;
    memcpy(ret, &word, sizeof *ret);
    return isfinite(*ret) || fail(r, "these are the bits of no number: NaN or infinity");
}

/* One at least, and no more than there may be. */
static bool take_adapters(struct reader *r, struct vs_adapted *ret)
{
    const char *comma = "[";
    while (next_is(r, comma)) {
        if (ret->n == VS_STATEMENT_ADAPTERS)
            return fail(r, "a model has at most 7 adapters");
        if (!need(r, "{\"sha256\":", "the sha256 of an adapter is needed") || !take_digest(r, ret->one[ret->n].sha256)
            || !need(r, ",\"scale\":", "its scale is needed") || !take_float(r, &ret->one[ret->n].scale)
            || !need(r, "}", "an end is needed"))
            return false;
        ret->n++;
        comma = ",";
    }
    return (ret->n || fail(r, "a list of adapters is needed")) && need(r, "]", "the end of the list is needed");
}

static bool take_integer(struct reader *r, const struct member *m, int64_t *ret)
{
    bool minus = next_is(r, "-");
    uint64_t v = 0;
    size_t n = 0;
    for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++, n++) {
        if (n > 0 && v == 0)
            return fail(r, "an integer without leading zeros is needed");
        if (v > (uint64_t)INT64_MAX / 10 || v * 10 > (uint64_t)INT64_MAX - (uint64_t)(*r->at - '0'))
            return fail(r, "this integer is out of range");
        v = v * 10 + (uint64_t)(*r->at - '0');
    }
    if (n == 0 || (minus && v == 0))
        return fail(r, "an integer is needed");
    *ret = minus ? -(int64_t)v : (int64_t)v;
    return (*ret >= m->least && *ret <= m->most) || fail(r, "this integer is out of range");
}

static bool take_value(struct reader *r, const struct member *m, struct vs_statement *ret)
{
    void *v = (char *)ret + m->at;
    switch (m->kind) {
    case WORD: case WORD_OPTIONAL: return take_word(r, m, v);
    case HASH: case HASH_OPTIONAL: return take_hash(r, v);
    case ADAPTERS_OPTIONAL: return take_adapters(r, v);
    case INTEGER: return take_integer(r, m, v);
    case FLOAT: return take_float(r, v);
    case SEED: return take_bits(r, 16, v);
    }
    return false;
}

static bool take_group(struct reader *r, const struct group *g, struct vs_statement *ret)
{
    const char *comma = "";
    r->group = g->key;
    if (!need(r, "{", "an object is needed"))
        return false;
    for (const struct member *m = g->members; m->key; m++) {
        r->key = m->key;
        if (next_key(r, comma, m->key)) {
            if (!take_value(r, m, ret))
                return false;
            comma = ",";
        } else if (!is_optional(m->kind)) {
            return fail(r, "this member is missing, or not in its place");
        }
    }
    r->key = NULL;
    return need(r, "}", "a member that is not known, stands twice or is not in its place");
}

static bool take_subjects(struct reader *r, struct vs_statement *ret)
{
    const char *comma = "";
    r->group = "subject";
    for (size_t i = 0; i < N_SUBJECTS; i++) {
        const char *from = r->at;
        if (!next_is(r, comma) || !next_is(r, "{\"name\":\"") || !next_is(r, subjects[i].name) || !next_is(r, "\",")) {
            r->at = from;
            continue;
        }
        r->key = subjects[i].name;
        if (!need(r, "\"digest\":{\"sha256\":", "its sha256 is needed")
            || !take_hash(r, (struct vs_hashed *)(void *)((char *)ret + subjects[i].at)) || !need(r, "}}", "an end is needed"))
            return false;
        comma = ",";
    }
    r->key = NULL;
    return *comma || fail(r, "none is there that is known");
}

static bool take_predicate(struct reader *r, enum vs_statement_part part, struct vs_statement *ret)
{
    const char *comma = "";
    for (const struct group *g = groups; g < groups + N_GROUPS; g++) {
        if (!is_part(g, part))
            continue;
        r->group = g->key;
        bool there = next_key(r, comma, g->key);
        bool *has = g->has == ALWAYS ? NULL : (bool *)(void *)((char *)ret + g->has);
        /* The worker's groups are all there, or none. */
        if (!there && (!has || (g->is_worker && (*has || part != VS_STATEMENT_WHOLE))))
            return fail(r, "this object is missing, or not in its place");
        if (there && g->is_worker && g != groups && !*has)
            return fail(r, "this object can't stand without those in front of it");
        if (!there)
            continue;
        if (has)
            *has = true;
        if (!take_group(r, g, ret))
            return false;
        comma = ",";
    }
    r->group = NULL;
    return true;
}

int vs_statement_parse(const char *text, size_t n, enum vs_statement_part part, struct vs_statement *ret, struct vs_error *err)
{
    struct reader r = { text, text, text + n, NULL, NULL, NULL };
    memset(ret, 0, sizeof *ret);
    if (n > VS_STATEMENT_MOST)
        return vs_error_set(err, VS_E_MALFORMED, "the statement has %zu bytes; at most %d", n, VS_STATEMENT_MOST);
    bool good = need(&r, HEAD, "this is no in-toto Statement, version 1, in its one spelling") && take_subjects(&r, ret);
    if (good) {
        r.group = NULL;
        good = need(&r, PREDICATE, "no predicate of the type urn:veritas-sdr:receipt:1 follows the subjects")
            && take_predicate(&r, part, ret) && need(&r, TAIL, "an object that is not known, stands twice or is not in its place")
            && (r.at == r.end || fail(&r, "something follows its end"));
    }
    if (good)
        return VS_OK;
    return vs_error_set(err, VS_E_MALFORMED, "statement%s%s%s%s, byte %zu: %s", r.group ? ", " : "", r.group ? r.group : "",
                        r.key ? "." : "", r.key ? r.key : "", (size_t)(r.at - text), r.wrong ? r.wrong : "malformed");
}
