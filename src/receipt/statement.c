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
    const char *name;                    /* NULL: there is no more */
    const char *key;                     /* "NAME": */
    size_t key_bytes;
    enum kind kind;
    size_t at;
    int64_t least, most;
    const char *const *words;            /* the only ones that are known; NULL: any */
};

#define AT(field) offsetof(struct vs_statement, field)
enum { MOST_TOKENS = 1 << 24 };

static const char *const finishes[] = { "stop", "length", "tool_calls", "filtered", "cancelled", "refused", "failed", NULL };
static const char *const contracts[] = { "VNC-1", "VNC-1H", NULL };

#define TEXT(literal) literal, sizeof literal - 1
#define KEY(name) name, TEXT("\"" name "\":")
#define END { NULL, NULL, 0, WORD, 0, 0, 0, NULL }

static const struct member contract[] = { { KEY("id"), WORD, AT(contract.id), 0, 0, contracts }, END };
static const struct member engine[] = {
    { KEY("name"), WORD, AT(engine.name), 0, 0, NULL }, { KEY("version"), WORD, AT(engine.version), 0, 0, NULL }, END,
};
static const struct member model[] = {
    { KEY("sha256"), HASH, AT(model.sha256), 0, 0, NULL },
    { KEY("adapters"), ADAPTERS_OPTIONAL, AT(model.adapters), 0, 0, NULL }, END,
};
static const struct member numeric[] = {
    { KEY("kv_type"), WORD, AT(numeric.kv_type), 0, 0, NULL },
    { KEY("n_ctx"), INTEGER, AT(numeric.n_ctx), 1, MOST_TOKENS, NULL }, END,
};
static const struct member request[] = {
    { KEY("prompt"), HASH, AT(request.prompt), 0, 0, NULL },
    { KEY("n_prompt"), INTEGER, AT(request.n_prompt), 1, MOST_TOKENS, NULL },
    { KEY("seed"), SEED, AT(request.seed), 0, 0, NULL },
    { KEY("temperature"), FLOAT, AT(request.temperature), 0, 0, NULL },
    { KEY("top_k"), INTEGER, AT(request.top_k), 0, UINT32_MAX, NULL },
    { KEY("top_p"), FLOAT, AT(request.top_p), 0, 0, NULL },
    { KEY("min_p"), FLOAT, AT(request.min_p), 0, 0, NULL },
    { KEY("typical_p"), FLOAT, AT(request.typical_p), 0, 0, NULL },
    { KEY("repeat_penalty"), FLOAT, AT(request.repeat_penalty), 0, 0, NULL },
    { KEY("presence_penalty"), FLOAT, AT(request.presence_penalty), 0, 0, NULL },
    { KEY("frequency_penalty"), FLOAT, AT(request.frequency_penalty), 0, 0, NULL },
    { KEY("repeat_last_n"), INTEGER, AT(request.repeat_last_n), -1, INT32_MAX, NULL },
    { KEY("max_tokens"), INTEGER, AT(request.max_tokens), -1, INT64_MAX, NULL },
    { KEY("ignore_eos"), INTEGER, AT(request.ignore_eos), 0, 1, NULL },
    { KEY("special"), INTEGER, AT(request.special), 0, 1, NULL },
    { KEY("parts"), INTEGER, AT(request.parts), 0, 1, NULL },
    { KEY("bias"), HASH_OPTIONAL, AT(request.bias), 0, 0, NULL },
    { KEY("stop"), HASH_OPTIONAL, AT(request.stop), 0, 0, NULL },
    { KEY("stop_tokens"), HASH_OPTIONAL, AT(request.stop_tokens), 0, 0, NULL },
    { KEY("constraint"), HASH_OPTIONAL, AT(request.constraint), 0, 0, NULL },
    { KEY("asked"), HASH_OPTIONAL, AT(request.asked), 0, 0, NULL },
    { KEY("shaped"), INTEGER, AT(request.shaped), 0, 1, NULL },
    END,
};
static const struct member trace[] = {
    { KEY("level"), INTEGER, AT(trace.level), VS_TRACE_SOME, VS_TRACE_ALL, NULL },
    { KEY("n_out"), INTEGER, AT(trace.n_out), 0, MOST_TOKENS, NULL },
    { KEY("chain"), HASH, AT(trace.chain), 0, 0, NULL },
    END,
};
static const struct member observed[] = {
    { KEY("isa"), WORD, AT(observed.isa), 0, 0, NULL },
    { KEY("threads"), INTEGER, AT(observed.threads), 0, INT64_MAX, NULL },
    { KEY("parallel"), INTEGER, AT(observed.parallel), 0, INT64_MAX, NULL },
    { KEY("chunk"), INTEGER, AT(observed.chunk), 0, INT64_MAX, NULL },
    { KEY("cached"), INTEGER, AT(observed.cached), 0, INT64_MAX, NULL },
    { KEY("drafted"), INTEGER, AT(observed.drafted), 0, INT64_MAX, NULL },
    { KEY("recomputed"), INTEGER, AT(observed.recomputed), 0, INT64_MAX, NULL },
    { KEY("resumed"), INTEGER, AT(observed.resumed), 0, INT64_MAX, NULL },
    END,
};
static const struct member result[] = {
    { KEY("finish"), WORD, AT(result.finish), 0, 0, finishes }, { KEY("error"), WORD_OPTIONAL, AT(result.error), 0, 0, NULL }, END,
};
static const struct member guard[] = {
    { KEY("policy"), HASH, AT(guard.policy), 0, 0, NULL }, { KEY("action"), WORD, AT(guard.action), 0, 0, NULL }, END,
};
static const struct member when[] = {
    { KEY("start"), INTEGER, AT(time.start), 0, INT64_MAX, NULL },
    { KEY("end"), INTEGER, AT(time.end), 0, INT64_MAX, NULL },
    { KEY("source"), WORD, AT(time.source), 0, 0, NULL },
    END,
};
static const struct member actor[] = {
    { KEY("uid"), INTEGER, AT(actor.uid), -1, INT64_MAX, NULL },
    { KEY("request"), INTEGER, AT(actor.request), 0, INT64_MAX, NULL },
    { KEY("key"), WORD_OPTIONAL, AT(actor.key), 0, 0, NULL },
    { KEY("on_behalf_of"), HASH_OPTIONAL, AT(actor.on_behalf_of), 0, 0, NULL },
    END,
};
static const struct member where[] = {
    { KEY("source"), WORD, AT(log.source), 0, 0, NULL }, { KEY("record"), INTEGER, AT(log.record), 1, INT64_MAX, NULL }, END,
};

enum { ALWAYS = -1 };
static const struct group {
    const char *name, *key;              /* "NAME": */
    size_t key_bytes;
    const struct member *members;
    bool is_worker;                      /* the worker's part */
    long has;                            /* where it says whether the group is there */
} groups[] = {
    { KEY("contract"), contract, true,  AT(has_worker) },
    { KEY("engine"),   engine,   false, ALWAYS },
    { KEY("model"),    model,    true,  AT(has_worker) },
    { KEY("numeric"),  numeric,  true,  AT(has_worker) },
    { KEY("request"),  request,  true,  AT(has_worker) },
    { KEY("trace"),    trace,    true,  AT(has_worker) },
    { KEY("observed"), observed, true,  AT(has_worker) },
    { KEY("result"),   result,   false, ALWAYS },
    { KEY("guard"),    guard,    false, AT(has_guard) },
    { KEY("time"),     when,     false, ALWAYS },
    { KEY("actor"),    actor,    false, ALWAYS },
    { KEY("log"),      where,    false, AT(has_log) },
};
enum { N_GROUPS = sizeof groups / sizeof *groups };

#define SUBJECT(name) name, TEXT("{\"name\":\"" name "\",\"digest\":{\"sha256\":")
static const struct { const char *name, *text; size_t text_bytes, at; } subjects[] = {
    { SUBJECT(VS_COMMIT_TOKENS), AT(tokens) }, { SUBJECT(VS_COMMIT_TEXT), AT(text) },
    { SUBJECT(VS_COMMIT_DELIVERED), AT(delivered) }, { SUBJECT(VS_COMMIT_BODY), AT(body) },
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

/* Some sixty values of each answer: no format strings, and one look at the buffer, at the end. */
struct writer { char *at, *end; bool is_full; };

static inline void put(struct writer *w, const char *text, size_t n)
{
    if ((size_t)(w->end - w->at) < n) {
        w->is_full = true;
        return;
    }
    memcpy(w->at, text, n);
    w->at += n;
}

#define PUT(w, literal) put(w, TEXT(literal))

static void put_quoted(struct writer *w, const char *text, size_t n)
{
    PUT(w, "\"");
    put(w, text, n);
    PUT(w, "\"");
}

static void put_hash(struct writer *w, const uint8_t hash[VS_DIGEST_BYTES])
{
    char hex[2 * VS_DIGEST_BYTES + 1];
    vs_hex(hash, VS_DIGEST_BYTES, hex);
    put_quoted(w, hex, 2 * VS_DIGEST_BYTES);
}

/* The last `digits` digits of hex. */
static void put_word(struct writer *w, uint64_t v, size_t digits)
{
    char hex[16];
    for (size_t i = digits; i > 0; i--, v >>= 4)
        hex[i - 1] = "0123456789abcdef"[v & 15];
    put_quoted(w, hex, digits);
}

static void put_bits(struct writer *w, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_word(w, bits, 8);
}

static void put_integer(struct writer *w, int64_t v)
{
    char text[24];
    size_t at = sizeof text;
    uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do
        text[--at] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (v < 0)
        text[--at] = '-';
    put(w, text + at, sizeof text - at);
}

static void put_adapters(struct writer *w, const struct vs_adapted *a)
{
    for (uint32_t i = 0; i < a->n; i++) {
        put(w, i ? ",{\"sha256\":" : "[{\"sha256\":", sizeof "[{\"sha256\":" - 1);
        put_hash(w, a->one[i].sha256);
        PUT(w, ",\"scale\":");
        put_bits(w, a->one[i].scale);
        PUT(w, "}");
    }
    PUT(w, "]");
}

static void put_value(struct writer *w, const struct vs_statement *s, const struct member *m)
{
    const void *v = get(s, m->at);
    switch (m->kind) {
    case WORD: case WORD_OPTIONAL:
        put_quoted(w, v, strlen(v));
        break;
    case HASH: case HASH_OPTIONAL:
        put_hash(w, ((const struct vs_hashed *)v)->hash);
        break;
    case ADAPTERS_OPTIONAL:
        put_adapters(w, v);
        break;
    case INTEGER:
        put_integer(w, *(const int64_t *)v);
        break;
    case FLOAT:
        put_bits(w, *(const float *)v);
        break;
    case SEED:
        put_word(w, *(const uint64_t *)v, 16);
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

static void put_group(struct writer *w, const struct vs_statement *s, const struct member *members)
{
    char before = '{';
    for (const struct member *m = members; m->name; m++) {
        if (is_absent(s, m))
            continue;
        put(w, &before, 1);
        put(w, m->key, m->key_bytes);
        put_value(w, s, m);
        before = ',';
    }
    PUT(w, "}");
}

static bool is_part(const struct group *g, enum vs_statement_part part)
{
    return part == VS_STATEMENT_WHOLE || g->is_worker || (part == VS_STATEMENT_CHOICE && g->members == result);
}

static void put_subjects(struct writer *w, const struct vs_statement *s)
{
    bool is_first = true;
    for (size_t i = 0; i < N_SUBJECTS; i++) {
        const struct vs_hashed *h = get(s, subjects[i].at);
        if (!h->is_there)
            continue;
        put(w, ",", !is_first);
        put(w, subjects[i].text, subjects[i].text_bytes);
        put_hash(w, h->hash);
        PUT(w, "}}");
        is_first = false;
    }
}

void vs_statement_format(const struct vs_statement *s, enum vs_statement_part part, struct vs_buf *out)
{
    char text[VS_STATEMENT_MOST];
    struct writer w = { text, text + sizeof text, false };
    bool is_first = true;
    PUT(&w, HEAD);
    put_subjects(&w, s);
    PUT(&w, PREDICATE);
    for (const struct group *g = groups; g < groups + N_GROUPS; g++) {
        if (!is_part(g, part) || (g->has != ALWAYS && !*(const bool *)get(s, (size_t)g->has)))
            continue;
        put(&w, ",", !is_first);
        put(&w, g->key, g->key_bytes);
        put_group(&w, s, g->members);
        is_first = false;
    }
    PUT(&w, TAIL);
    if (w.is_full && out->status == VS_OK)
        out->status = VS_E_LIMIT;
    vs_buf_add(out, text, (size_t)(w.at - text));
}

int vs_statement_chain(const struct vs_statement *s, const uint8_t salt[VS_SALT_BYTES], uint8_t ret[VS_DIGEST_BYTES])
{
    static const struct member *const bound[] = { contract, model, numeric, request };
    const uint32_t level = (uint32_t)s->trace.level;
    struct vs_sha256 h;
    char text[VS_STATEMENT_MOST];
    bool is_full = false;
    vs_commit_begin(&h, "chain", salt);
    vs_commit_add_ids(&h, &level, 1);
    for (size_t i = 0; i < sizeof bound / sizeof *bound; i++) {
        uint8_t digest[VS_DIGEST_BYTES];
        struct writer w = { text, text + sizeof text, false };
        put_group(&w, s, bound[i]);
        vs_sha256_of(text, (size_t)(w.at - text), digest);
        vs_sha256_add(&h, digest, sizeof digest);
        is_full |= w.is_full;
    }
    vs_sha256_end(&h, ret);
    return is_full ? VS_E_LIMIT : VS_OK;
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
static inline bool next_is_text(struct reader *r, const char *text, size_t n)
{
    if (r->wrong || (size_t)(r->end - r->at) < n || memcmp(r->at, text, n) != 0)
        return false;
    r->at += n;
    return true;
}

#define next_is(r, literal) next_is_text(r, TEXT(literal))
#define need(r, literal, wrong) (next_is(r, literal) || fail(r, wrong))

/* A text of the tables comes next, behind a comma if it is not the first. */
static bool next_follows(struct reader *r, bool is_first, const char *text, size_t n)
{
    const char *from = r->at;
    if ((is_first || next_is(r, ",")) && next_is_text(r, text, n))
        return true;
    r->at = from;
    return false;
}

/* + - . / 0 to 9 : @ A to Z _ a to z */
static bool is_word_byte(char c)
{
    static const uint64_t set[4] = {
        UINT64_C(1) << '+' | UINT64_C(0x3fff) << '-',
        UINT64_C(0x7ffffff) | UINT64_C(1) << ('_' - 64) | UINT64_C(0x3ffffff) << ('a' - 64),
    };
    return set[(uint8_t)c / 64] >> (uint8_t)c % 64 & 1;
}

/* A digit of hex in lower case: its value, and IS_HEX. */
enum { IS_HEX = 0x10, VALUE = 0x0f };
static const uint8_t hex_of[256] = {
    ['0'] = 0x10, ['1'] = 0x11, ['2'] = 0x12, ['3'] = 0x13, ['4'] = 0x14, ['5'] = 0x15, ['6'] = 0x16, ['7'] = 0x17,
    ['8'] = 0x18, ['9'] = 0x19, ['a'] = 0x1a, ['b'] = 0x1b, ['c'] = 0x1c, ['d'] = 0x1d, ['e'] = 0x1e, ['f'] = 0x1f,
};

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

/* Twice n digits of hex, lower case, in quotes. */
static bool take_hex(struct reader *r, size_t n, uint8_t *ret)
{
    uint8_t all = IS_HEX;
    if (!next_is(r, "\"") || (size_t)(r->end - r->at) < 2 * n)
        return fail(r, "hex digits in quotes are needed");
    for (size_t i = 0; i < n; i++, r->at += 2) {
        uint8_t high = hex_of[(uint8_t)r->at[0]], low = hex_of[(uint8_t)r->at[1]];
        all &= high & low;
        ret[i] = (uint8_t)(high << 4 | (low & VALUE));
    }
    if (!all)
        return fail(r, "hex digits in lower case are needed, of the right number");
    return need(r, "\"", "hex digits in lower case are needed, of the right number");
}

static bool take_hash(struct reader *r, struct vs_hashed *ret)
{
    return ret->is_there = take_hex(r, VS_DIGEST_BYTES, ret->hash);
}

static bool take_seed(struct reader *r, uint64_t *ret)
{
    uint8_t bytes[8];
    if (!take_hex(r, sizeof bytes, bytes))
        return false;
    *ret = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        *ret = *ret << 8 | bytes[i];
    return true;
}

static bool take_float(struct reader *r, float *ret)
{
    uint8_t bytes[4];
    if (!take_hex(r, sizeof bytes, bytes))
        return false;
    const uint32_t word = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    memcpy(ret, &word, sizeof *ret);
    return isfinite(*ret) || fail(r, "these are the bits of no number: NaN or infinity");
}

/* One at least, and no more than there may be. */
static bool take_adapters(struct reader *r, struct vs_adapted *ret)
{
    while (ret->n ? next_is(r, ",") : next_is(r, "[")) {
        if (ret->n == VS_STATEMENT_ADAPTERS)
            return fail(r, "a model has at most 7 adapters");
        if (!need(r, "{\"sha256\":", "the sha256 of an adapter is needed") || !take_hex(r, VS_DIGEST_BYTES, ret->one[ret->n].sha256)
            || !need(r, ",\"scale\":", "its scale is needed") || !take_float(r, &ret->one[ret->n].scale)
            || !need(r, "}", "an end is needed"))
            return false;
        ret->n++;
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
    case SEED: return take_seed(r, v);
    }
    return false;
}

static bool take_group(struct reader *r, const struct group *g, struct vs_statement *ret)
{
    bool is_first = true;
    r->group = g->name;
    if (!need(r, "{", "an object is needed"))
        return false;
    for (const struct member *m = g->members; m->name; m++) {
        r->key = m->name;
        if (next_follows(r, is_first, m->key, m->key_bytes)) {
            if (!take_value(r, m, ret))
                return false;
            is_first = false;
        } else if (!is_optional(m->kind)) {
            return fail(r, "this member is missing, or not in its place");
        }
    }
    r->key = NULL;
    return need(r, "}", "a member that is not known, stands twice or is not in its place");
}

static bool take_subjects(struct reader *r, struct vs_statement *ret)
{
    bool is_first = true;
    r->group = "subject";
    for (size_t i = 0; i < N_SUBJECTS; i++) {
        if (!next_follows(r, is_first, subjects[i].text, subjects[i].text_bytes))
            continue;
        r->key = subjects[i].name;
        if (!take_hash(r, (struct vs_hashed *)(void *)((char *)ret + subjects[i].at)) || !need(r, "}}", "an end is needed"))
            return false;
        is_first = false;
    }
    r->key = NULL;
    return !is_first || fail(r, "none is there that is known");
}

static bool take_predicate(struct reader *r, enum vs_statement_part part, struct vs_statement *ret)
{
    bool is_first = true;
    for (const struct group *g = groups; g < groups + N_GROUPS; g++) {
        if (!is_part(g, part))
            continue;
        r->group = g->name;
        bool there = next_follows(r, is_first, g->key, g->key_bytes);
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
        is_first = false;
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
