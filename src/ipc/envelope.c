/* ipc/envelope.c - see envelope.h */
#include "ipc/envelope.h"

#include "base/bytes.h"
#include "base/word.h"
#include "ipc/json.h"
#include "ipc/keys.h"
#include "ipc/long_text.h"
#include "ipc/message.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PREFIX = 4 };

int vs_payload_split(const void *data, size_t n, size_t max_envelope, struct vs_payload *ret, struct vs_error *err)
{
    if (n < PREFIX)
        return vs_error_set(err, VS_E_PROTOCOL, "a payload of %zu byte%s is too short for an envelope", n, vs_plural(n));
    size_t envelope = vs_load_u32le(data);
    if (envelope > max_envelope)
        return vs_error_set(err, VS_E_PROTOCOL, "an envelope of %zu bytes is too large; at most %zu", envelope, max_envelope);
    if (envelope > n - PREFIX)
        return vs_error_set(err, VS_E_PROTOCOL, "an envelope of %zu byte%s does not end within its frame", envelope,
                            vs_plural(envelope));
    const char *at = (const char *)data + PREFIX;
    *ret = (struct vs_payload){ at, at + envelope, envelope, n - PREFIX - envelope };
    return VS_OK;
}

size_t vs_payload_begin(struct vs_buf *out)
{
    size_t at = out->n;
    vs_buf_grow(out, PREFIX);
    return at;
}

void vs_payload_end(struct vs_buf *out, size_t begin)
{
    if (out->status == VS_OK)
        vs_store_u32le(out->data + begin, (uint32_t)(out->n - begin - PREFIX));
}

/* ---- in our own spelling ----
 *
 * Envelopes go from process to process, written by _dump here. What is spelt so is read by this; all else by the way of all JSON,
 * which says what is wrong with it. */

struct plain { const char *at, *end; };

/* The text, if it comes next. */
static bool has(struct plain *p, const char *text, size_t n)
{
    if ((size_t)(p->end - p->at) < n || memcmp(p->at, text, n) != 0)
        return false;
    p->at += n;
    return true;
}

static bool has_char(struct plain *p, char c)
{
    return p->at < p->end && *p->at == c ? p->at++, true : false;
}

/* The member of that name, if it comes next; p is behind its colon then. */
static bool has_member(struct plain *p, const char *key)
{
    struct plain before = *p;
    if ((p->at[-1] == '{' || has_char(p, ',')) && has_char(p, '"') && has(p, key, strlen(key)) && has(p, "\":", 2))
        return true;
    *p = before;
    return false;
}

enum {
    PLAIN_DIGITS = 19,                  /* of a number: so many are less than 2^64 */
    PLAIN_BYTES = 512,                  /* of an envelope, mostly */
};

static bool has_number(struct plain *p, int64_t *ret)
{
    const char *begin = p->at;
    uint64_t value = 0;
    for (; p->at < p->end && *p->at >= '0' && *p->at <= '9' && p->at - begin < PLAIN_DIGITS; p->at++)
        value = 10 * value + (uint64_t)(*p->at - '0');
    *ret = (int64_t)value;
    return p->at > begin && (*begin != '0' || p->at == begin + 1) && value <= INT64_MAX;
}

/* A string of at most `most` characters that need no escape; p is behind its end. NULL: it is none. */
static const char *has_string(struct plain *p, size_t most, size_t *ret_n)
{
    const char *begin = p->at + 1;
    if (!has_char(p, '"'))
        return NULL;
    while (p->at < p->end && *p->at > 0x20 && *p->at < 0x7f && *p->at != '"' && *p->at != '\\' && (size_t)(p->at - begin) < most)
        p->at++;
    *ret_n = (size_t)(p->at - begin);
    return has_char(p, '"') ? begin : NULL;
}

static void put_number(struct vs_buf *out, int64_t value)
{
    if (value < 0)
        vs_buf_char(out, '-');
    vs_buf_decimal(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

/* With room for most of what there can be. False: there is no memory. */
static bool begin_object(struct vs_buf *out)
{
    if (!out->limit && vs_buf_grow(out, PLAIN_BYTES))
        out->n -= PLAIN_BYTES;
    vs_buf_char(out, '{');
    return out->status == VS_OK;
}

static void put_member(struct vs_buf *out, const char *key)
{
    vs_buf_str(out, out->data[out->n - 1] == '{' ? "\"" : ",\"");
    vs_buf_str(out, key);
    vs_buf_add(out, "\":", 2);
}

static void put_string(struct vs_buf *out, const char *key, const char *text)
{
    put_member(out, key);
    vs_long_write(text, strlen(text), out);
}

static void put_true(struct vs_buf *out, const char *key)
{
    put_member(out, key);
    vs_buf_add(out, "true", 4);
}

/* ---- of a request ---- */

/* A string without NUL: what we compare and print is what was said. */
static const char *plain_string(const json_t *v)
{
    const char *s = json_string_value(v);
    return s && strlen(s) == json_string_length(v) ? s : NULL;
}

bool vs_is_traceparent(const char *s)
{
    static const char shape[VS_TRACE_BYTES] = "hh-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";
    if (!s || strlen(s) != sizeof shape - 1)
        return false;
    for (size_t i = 0; s[i]; i++)
        if (shape[i] == '-' ? s[i] != '-' : !((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
            return false;
    return true;
}

static bool take_model(struct vs_head *h, json_t *v)
{
    h->model = plain_string(v);
    return h->model && *h->model;
}

static bool take_deadline(struct vs_head *h, json_t *v)
{
    h->deadline_ms = json_integer_value(v);
    return true;
}

static bool take_trace(struct vs_head *h, json_t *v)
{
    h->trace = plain_string(v);
    return vs_is_traceparent(h->trace);
}

static bool take_on_behalf_of(struct vs_head *h, json_t *v)
{
    h->on_behalf_of = plain_string(v);
    return h->on_behalf_of && *h->on_behalf_of && strlen(h->on_behalf_of) < VS_PERSON_BYTES;
}

static bool take_key(struct vs_head *h, json_t *v)
{
    h->key = plain_string(v);
    return h->key && *h->key;
}

static bool take_remote(struct vs_head *h, json_t *v)
{
    h->remote = plain_string(v);
    return h->remote && *h->remote && strlen(h->remote) < VS_PERSON_BYTES;
}

static bool take_refused(struct vs_head *h, json_t *v)
{
    h->refused = json_string_value(v);  /* one of the names in keys.c */
    return true;
}

static bool take_settings(struct vs_head *h, json_t *v)
{
    h->settings = v;
    return true;
}

static bool take_force(struct vs_head *h, json_t *v)
{
    h->force = json_is_true(v);
    return true;
}

static bool take_receipt(struct vs_head *h, json_t *v)
{
    json_int_t level = json_is_true(v) ? VS_RECEIPT_BEST : json_integer_value(v);
    h->receipt = (unsigned)level;
    return level >= 0 && level < VS_N_RECEIPTS;
}

static bool take_salt(struct vs_head *h, json_t *v)
{
    h->salt = plain_string(v);
    return h->salt && vs_hex_is_sha256(h->salt);        /* as many bytes */
}

static bool take_keep(struct vs_head *h, json_t *v)
{
    h->keep = json_is_true(v);
    return true;
}

static const char *const priority_names[VS_N_PRIORITIES] = { "high", "normal", "low" };

static bool take_priority(struct vs_head *h, json_t *v)
{
    for (h->priority = 0; h->priority < VS_N_PRIORITIES; h->priority++)
        if (strcmp(priority_names[h->priority], json_string_value(v)) == 0)
            return true;
    return false;
}

#define TAKE_NUMBER(name) \
    static bool take_##name(struct vs_head *h, json_t *v) { h->name = json_integer_value(v); return true; }
TAKE_NUMBER(owner)
TAKE_NUMBER(client)
TAKE_NUMBER(deadline_at)
TAKE_NUMBER(arrived_at)
TAKE_NUMBER(sent)
TAKE_NUMBER(credit)
TAKE_NUMBER(resumes)

/* Types and ranges are in keys.c; what else a value must be is said here. */
static const struct {
    const char *key;
    unsigned bit;
    bool (*take)(struct vs_head *h, json_t *v);
    const char *what;
} head_keys[] = {
    { "model", VS_KEY_MODEL, take_model, "a name or a path" },
    { "deadline_ms", VS_KEY_DEADLINE, take_deadline, NULL },
    { "trace", VS_KEY_TRACE, take_trace, "a W3C traceparent string" },
    { "on_behalf_of", VS_KEY_BEHALF, take_on_behalf_of, "a text of 1 to 64 bytes" },
    { "key", VS_KEY_WHO, take_key, "a text" },
    { "remote", VS_KEY_WHO, take_remote, "a text of 1 to 64 bytes" },
    { "refused", VS_KEY_REFUSED, take_refused, NULL },
    { "settings", VS_KEY_SETTINGS, take_settings, NULL },
    { "force", VS_KEY_FORCE, take_force, NULL },
    { "priority", VS_KEY_PRIORITY, take_priority, NULL },
    { "owner", VS_KEY_OF_BROKER, take_owner, NULL },
    { "client", VS_KEY_OF_BROKER, take_client, NULL },
    { "deadline_at", VS_KEY_OF_BROKER, take_deadline_at, NULL },
    { "arrived_at", VS_KEY_OF_BROKER, take_arrived_at, NULL },
    { "sent", VS_KEY_OF_BROKER, take_sent, NULL },
    { "credit", VS_KEY_OF_BROKER, take_credit, NULL },
    { "resumes", VS_KEY_OF_BROKER, take_resumes, NULL },
    { "receipt", VS_KEY_RECEIPT, take_receipt, NULL },
    { "salt", VS_KEY_OF_BROKER, take_salt, "32 bytes in hex" },
    { "keep", VS_KEY_OF_BROKER, take_keep, NULL },
};
enum { N_HEAD_KEYS = sizeof head_keys / sizeof *head_keys };

bool vs_head_is_key(const char *key, unsigned keys)
{
    for (size_t i = 0; i < N_HEAD_KEYS; i++)
        if (head_keys[i].bit & keys && strcmp(head_keys[i].key, key) == 0)
            return true;
    return false;
}

static int unknown_key(const char *key, unsigned keys, struct vs_error *err)
{
    const char *near = NULL;
    unsigned best = 3;
    for (size_t i = 0; i < N_HEAD_KEYS; i++) {
        unsigned far = head_keys[i].bit & keys ? vs_word_distance(key, head_keys[i].key) : best;
        if (far < best) {
            best = far;
            near = head_keys[i].key;
        }
    }
    return vs_key_unknown(key, "this request's envelope", near, err);
}

static int head_take(struct vs_head *h, unsigned keys, struct vs_error *err)
{
    const char *key;
    json_t *v;
    json_object_foreach(h->json, key, v) {
        size_t i = 0;
        while (i < N_HEAD_KEYS && !(head_keys[i].bit & keys && strcmp(head_keys[i].key, key) == 0))
            i++;
        if (i == N_HEAD_KEYS)
            return unknown_key(key, keys, err);
        if (json_is_null(v))
            continue;                                   /* counts as absent, as in a body */
        int status = vs_key_judge(vs_key_find(key), v, err);
        if (status != VS_OK)
            return status;
        if (!head_keys[i].take(h, v))
            return vs_error_set(err, VS_E_INVALID, "%s must be %s", key, head_keys[i].what);
    }
    if (keys & VS_KEY_MODEL && !h->model)
        return vs_error_set(err, VS_E_INVALID, "the request names no model");
    return VS_OK;
}

/* Numbers of a worker's envelope, in the order in which they are written. */
static const struct {
    const char *key;
    size_t offset;
    int64_t most, absent;               /* as in keys.c, or less */
} head_numbers[] = {
    { "owner", offsetof(struct vs_head, owner), INT64_MAX, -1 },
    { "client", offsetof(struct vs_head, client), INT64_MAX, 0 },
    { "arrived_at", offsetof(struct vs_head, arrived_at), INT64_MAX, 0 },
    { "deadline_at", offsetof(struct vs_head, deadline_at), INT64_MAX, 0 },
    { "sent", offsetof(struct vs_head, sent), UINT32_MAX, 0 },
    { "credit", offsetof(struct vs_head, credit), VS_CREDIT_MAX, VS_CREDIT_START },
    { "resumes", offsetof(struct vs_head, resumes), INT64_MAX, 0 },
};
enum { N_HEAD_NUMBERS = sizeof head_numbers / sizeof *head_numbers };

static int64_t *number_at(const struct vs_head *h, size_t i)
{
    return (int64_t *)(uintptr_t)((const char *)h + head_numbers[i].offset);
}

/* A text of that name, if it comes next; *ret ends with a NUL, in p's bytes, which are ours. False: it is not spelt so. */
static bool head_text(struct plain *p, const char *key, const char **ret)
{
    size_t n;
    if (!has_member(p, key))
        return true;
    const char *text = has_string(p, VS_SALT_HEX, &n);
    if (text) {
        *ret = text;
        ((char *)(uintptr_t)text)[n] = 0;
    }
    return text;
}

/* False: it is not spelt as vs_head_dump does, or can't be so. */
static bool head_read(struct vs_head *h, const char *data, size_t n)
{
    int64_t receipt = VS_RECEIPT_NONE;
    size_t length;
    if (n > VS_MAX_ENVELOPE || !(h->text = malloc(n + 1)))
        return false;
    memcpy(h->text, data, n);
    struct plain p = { h->text, h->text + n };
    const char *priority = has_char(&p, '{') && has_member(&p, "priority") ? has_string(&p, 8, &length) : NULL;
    for (h->priority = 0; priority && h->priority < VS_N_PRIORITIES; h->priority++)
        if (strlen(priority_names[h->priority]) == length && memcmp(priority_names[h->priority], priority, length) == 0)
            break;
    if (!priority || h->priority == VS_N_PRIORITIES)
        return false;
    for (size_t i = 0; i < N_HEAD_NUMBERS; i++)
        if (has_member(&p, head_numbers[i].key) && (!has_number(&p, number_at(h, i)) || *number_at(h, i) > head_numbers[i].most))
            return false;
    if (has_member(&p, "receipt") && (!has_number(&p, &receipt) || receipt >= VS_N_RECEIPTS))
        return false;
    h->receipt = (unsigned)receipt;
    if (!head_text(&p, "salt", &h->salt) || (h->salt && !vs_hex_is_sha256(h->salt)))
        return false;
    h->keep = has_member(&p, "keep");
    return (!h->keep || has(&p, "true", 4)) && head_text(&p, "trace", &h->trace) && (!h->trace || vs_is_traceparent(h->trace))
        && has_char(&p, '}') && p.at == p.end;
}

int vs_head_parse(const char *data, size_t n, unsigned keys, struct vs_head *ret, struct vs_error *err)
{
    const struct vs_head none = { .owner = -1, .priority = VS_PRIORITY_NORMAL, .credit = VS_CREDIT_START };
    struct vs_head h = none;
    struct vs_error why;
    if (keys == VS_KEYS_WORKER && head_read(&h, data, n)) {
        *ret = h;
        return VS_OK;
    }
    free(h.text);
    h = none;
    h.json = vs_json_parse(data, n, &why);
    if (!h.json)
        return vs_error_set(err, why.code, "envelope: %s", why.text);
    int status = head_take(&h, keys, err);
    if (status != VS_OK)
        vs_head_clear(&h);
    else
        *ret = h;
    return status;
}

static void dump_number(struct vs_buf *out, const char *key, int64_t value, int64_t absent)
{
    if (value == absent)
        return;
    put_member(out, key);
    put_number(out, value);
}

void vs_head_dump(const struct vs_head *h, struct vs_buf *out)
{
    if (!begin_object(out))
        return;
    put_string(out, "priority", priority_names[h->priority]);
    for (size_t i = 0; i < N_HEAD_NUMBERS; i++)
        dump_number(out, head_numbers[i].key, *number_at(h, i), head_numbers[i].absent);
    dump_number(out, "receipt", h->receipt, VS_RECEIPT_NONE);
    if (h->salt)
        put_string(out, "salt", h->salt);
    if (h->keep)
        put_true(out, "keep");
    if (h->trace)
        put_string(out, "trace", h->trace);
    vs_buf_char(out, '}');
}

void vs_head_clear(struct vs_head *h)
{
    if (!h)
        return;
    json_decref(h->json);
    free(h->text);
    *h = (struct vs_head){ .owner = -1 };
}

/* ---- of COMPLETE, REJECTED and ERROR ---- */

static const struct {
    const char *key;
    size_t offset;
} usage_keys[] = {
    { "prompt_tokens", offsetof(struct vs_usage, prompt_tokens) },
    { "completion_tokens", offsetof(struct vs_usage, completion_tokens) },
    { "cached_tokens", offsetof(struct vs_usage, cached_tokens) },
    { "drafted_tokens", offsetof(struct vs_usage, drafted_tokens) },
    { "accepted_tokens", offsetof(struct vs_usage, accepted_tokens) },
    { "recomputed_tokens", offsetof(struct vs_usage, recomputed_tokens) },
    { "resumed", offsetof(struct vs_usage, resumed) },
};
enum { N_USAGE_KEYS = sizeof usage_keys / sizeof *usage_keys };

static int64_t *usage_at(const struct vs_usage *u, size_t i)
{
    return (int64_t *)(uintptr_t)((const char *)u + usage_keys[i].offset);
}

static const struct {
    const char *key;
    size_t offset;
} hint_keys[] = {
    { "retry_after_ms", offsetof(struct vs_outcome_hints, retry_after_ms) },
    { "needed", offsetof(struct vs_outcome_hints, needed) },
    { "free", offsetof(struct vs_outcome_hints, free) },
    { "held", offsetof(struct vs_outcome_hints, held) },
};
enum { N_HINT_KEYS = sizeof hint_keys / sizeof *hint_keys };

static int64_t *hint_at(const struct vs_outcome_hints *h, size_t i)
{
    return (int64_t *)(uintptr_t)((const char *)h + hint_keys[i].offset);
}

static bool take_error(struct vs_outcome *o, const json_t *v)
{
    const char *name = json_string_value(json_object_get(v, "name"));
    const char *message = json_string_value(json_object_get(v, "message"));
    int code = name ? vs_status_parse(name) : VS_OK;
    size_t known = 3;
    for (size_t i = 0; i < N_HINT_KEYS; i++) {
        const json_t *hint = json_object_get(v, hint_keys[i].key);
        if (hint && (!json_is_integer(hint) || json_integer_value(hint) < 0))
            return false;
        *hint_at(&o->hints, i) = json_integer_value(hint);
        known += hint != NULL;
    }
    if (code == VS_OK || !message || json_integer_value(json_object_get(v, "code")) != code || json_object_size(v) != known)
        return false;
    vs_error_set(&o->error, code, "%s", message);
    return true;
}

static bool take_finish(struct vs_outcome *o, const json_t *v)
{
    const char *s = plain_string(v);
    if (!s || !*s || strlen(s) >= sizeof o->finish_reason || s[strspn(s, "abcdefghijklmnopqrstuvwxyz_")])
        return false;
    memcpy(o->finish_reason, s, strlen(s) + 1);
    return true;
}

static bool take_usage(struct vs_outcome *o, const json_t *v)
{
    size_t known = 0;                    /* the first three are always there */
    for (size_t i = 0; i < N_USAGE_KEYS; i++) {
        const json_t *count = json_object_get(v, usage_keys[i].key);
        if (count || i < 3 ? !json_is_integer(count) || json_integer_value(count) < 0 : false)
            return false;
        *usage_at(&o->usage, i) = json_integer_value(count);
        known += count != NULL;
    }
    o->has_usage = true;
    return json_object_size(v) == known;
}

static bool take_digest(struct vs_outcome *o, const json_t *v)
{
    const char *s = plain_string(v);
    if (!s || !vs_hex_is_sha256(s))
        return json_is_null(v);
    memcpy(o->model_digest, s, sizeof o->model_digest);
    return true;
}

static bool take_outcome_salt(struct vs_outcome *o, const json_t *v)
{
    const char *s = plain_string(v);
    if (!s || !vs_hex_is_sha256(s))
        return false;
    memcpy(o->salt, s, sizeof o->salt);
    return true;
}

static bool take_altered(struct vs_outcome *o, const json_t *v)
{
    o->is_altered = json_is_true(v);
    return json_is_boolean(v);
}

static bool take_withheld(struct vs_outcome *o, const json_t *v)
{
    o->is_withheld = json_is_true(v);
    return json_is_boolean(v);
}

/* {"action", "findings", "policy"}, and "more": what they say is for who asked. */
static bool take_guard(struct vs_outcome *o, const json_t *v)
{
    const json_t *more = json_object_get(v, "more");
    if (!json_is_string(json_object_get(v, "action")) || !json_is_array(json_object_get(v, "findings"))
        || !json_is_string(json_object_get(v, "policy")) || (more && !json_is_integer(more))
        || json_object_size(v) != (more ? 4 : 3))
        return false;
    struct vs_buf out = { .limit = sizeof o->guard - 1 };
    vs_json_dump(v, &out);
    bool fits = out.status == VS_OK;
    if (fits)
        memcpy(o->guard, out.data, out.n + 1);
    vs_buf_clear(&out);
    return fits;
}

static const struct {
    const char *key;
    bool (*take)(struct vs_outcome *o, const json_t *v);
} outcome_keys[] = {
    { "error", take_error }, { "finish_reason", take_finish }, { "usage", take_usage }, { "model_digest", take_digest },
    { "guard", take_guard }, { "salt", take_outcome_salt }, { "altered", take_altered },
    { "withheld", take_withheld },
};
enum { N_OUTCOME_KEYS = sizeof outcome_keys / sizeof *outcome_keys };

static bool usage_read(struct vs_outcome *o, struct plain *p)
{
    if (!has_char(p, '{'))
        return false;
    for (size_t i = 0; i < N_USAGE_KEYS; i++)
        if (!has_member(p, usage_keys[i].key) || !has_number(p, usage_at(&o->usage, i)))
            return false;
    o->has_usage = true;
    return has_char(p, '}');
}

/* 64 digits of a digest, of that name, if it comes next. False: it is not spelt so. */
static bool digits_read(struct plain *p, const char *key, char ret[65])
{
    size_t n;
    const char *text = has_member(p, key) ? has_string(p, 64, &n) : "";
    if (!text || !*text)
        return text;
    memcpy(ret, text, n == 64 ? n : 0);
    return n == 64 && vs_hex_is_sha256(ret);
}

/* False: it is not spelt as vs_outcome_dump does, or says of an error or a finding. */
static bool outcome_read(const char *data, size_t n, struct vs_outcome *ret)
{
    struct plain p = { data, data + n };
    size_t length = 0;
    *ret = (struct vs_outcome){ 0 };
    if (!has_char(&p, '{'))
        return false;
    if (has_member(&p, "finish_reason")) {
        const char *text = has_string(&p, sizeof ret->finish_reason - 1, &length);
        if (!text || !length)
            return false;
        memcpy(ret->finish_reason, text, length);
        if (strspn(ret->finish_reason, "abcdefghijklmnopqrstuvwxyz_") != length)
            return false;
    }
    return (!has_member(&p, "usage") || usage_read(ret, &p)) && digits_read(&p, "model_digest", ret->model_digest)
        && digits_read(&p, "salt", ret->salt) && has_char(&p, '}') && p.at == p.end;
}

int vs_outcome_parse(const char *data, size_t n, struct vs_outcome *ret, struct vs_error *err)
{
    struct vs_outcome o;
    if (outcome_read(data, n, &o)) {
        *ret = o;
        return VS_OK;
    }
    o = (struct vs_outcome){ 0 };
    struct vs_error why;
    json_t *json = vs_json_parse(data, n, &why), *v;
    if (!json)
        return vs_error_set(err, why.code, "envelope: %s", why.text);
    int status = VS_OK;
    const char *key;
    json_object_foreach(json, key, v) {
        size_t i = 0;
        while (i < N_OUTCOME_KEYS && strcmp(outcome_keys[i].key, key) != 0)
            i++;
        if (i == N_OUTCOME_KEYS || !outcome_keys[i].take(&o, v))
            status = vs_error_set(err, VS_E_INVALID, "%.60s in the envelope of a result is not what it may be", key);
    }
    json_decref(json);
    if (status == VS_OK)
        *ret = o;
    return status;
}

int vs_outcome_error(const char *data, size_t n, struct vs_error *ret, struct vs_outcome_hints *ret_hints, struct vs_error *err)
{
    struct vs_error why;
    json_t *json = vs_json_parse(data, n, &why), *v = json_object_get(json, "error");
    if (!json)
        return vs_error_set(err, why.code, "envelope: %s", why.text);
    const char *name = json_string_value(json_object_get(v, "name")), *message = json_string_value(json_object_get(v, "message"));
    json_int_t code = name ? vs_status_parse(name) : VS_OK, said = json_integer_value(json_object_get(v, "code"));
    code = code != VS_OK ? code : said < 0 && said >= INT_MIN ? said : VS_OK;
    int status = v && (code == VS_OK || !message) ? vs_error_set(err, VS_E_MALFORMED, "an error has no code or no message") : VS_OK;
    *ret = (struct vs_error){ 0 };
    *ret_hints = (struct vs_outcome_hints){ 0 };
    if (v && status == VS_OK)
        vs_error_set(ret, (int)code, "%s", message);
    for (size_t i = 0; i < N_HINT_KEYS; i++) {
        json_int_t hint = json_integer_value(json_object_get(v, hint_keys[i].key));
        *hint_at(ret_hints, i) = hint > 0 ? hint : 0;
    }
    json_decref(json);
    return status;
}

static void dump_error(const struct vs_outcome *o, struct vs_buf *out)
{
    put_member(out, "error");
    vs_buf_char(out, '{');
    put_member(out, "code");
    put_number(out, o->error.code);
    put_string(out, "name", vs_status_name(o->error.code));
    put_string(out, "message", vs_json_is_text(o->error.text) ? o->error.text : vs_status_text(o->error.code));
    for (size_t i = 0; i < N_HINT_KEYS; i++)
        dump_number(out, hint_keys[i].key, *hint_at(&o->hints, i), 0);
    vs_buf_char(out, '}');
}

static void dump_usage(const struct vs_outcome *o, struct vs_buf *out)
{
    put_member(out, "usage");
    vs_buf_char(out, '{');
    for (size_t i = 0; i < N_USAGE_KEYS; i++) {
        put_member(out, usage_keys[i].key);
        put_number(out, *usage_at(&o->usage, i));
    }
    vs_buf_char(out, '}');
}

/* Another's text: said again, if it is what it should be. */
static void dump_guard(const struct vs_outcome *o, struct vs_buf *out)
{
    json_t *guard = vs_json_parse(o->guard, strlen(o->guard), NULL);
    if (guard) {
        put_member(out, "guard");
        vs_json_dump(guard, out);
    }
    json_decref(guard);
}

void vs_outcome_dump(const struct vs_outcome *o, struct vs_buf *out)
{
    if (!begin_object(out))
        return;
    if (o->error.code != VS_OK)
        dump_error(o, out);
    if (o->finish_reason[0])
        put_string(out, "finish_reason", o->finish_reason);
    if (o->has_usage)
        dump_usage(o, out);
    if (o->model_digest[0])
        put_string(out, "model_digest", o->model_digest);
    if (o->salt[0])
        put_string(out, "salt", o->salt);
    if (o->is_altered)
        put_true(out, "altered");
    if (o->is_withheld)
        put_true(out, "withheld");
    if (o->guard[0])
        dump_guard(o, out);
    vs_buf_char(out, '}');
}
