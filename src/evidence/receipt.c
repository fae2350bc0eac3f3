/* evidence/receipt.c - see receipt.h. */
#include "evidence/receipt.h"

#include "base/bytes.h"
#include "ipc/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *vs_verdict_name(enum vs_verdict v)
{
    static const char *const names[] = { "WELL_FORMED", "MATCH", "MISMATCH", "UNVERIFIABLE", "INVALID" };
    return names[v];
}

/* ---- signing ---- */

void vs_receipt_pae(const char *payload, size_t n, struct vs_buf *out)
{
    vs_buf_printf(out, "DSSEv1 %zu %s %zu ", sizeof VS_RECEIPT_TYPE - 1, VS_RECEIPT_TYPE, n);
    vs_buf_add(out, payload, n);
}

static void key_name(const struct vs_public *key, char ret[VS_HASH_HEX])
{
    uint8_t hash[VS_HASH_BYTES];
    vs_hash(key->bytes, key->n, hash);
    vs_hex(hash, sizeof hash, ret);
}

/* A kill may have left others between the lines. */
void vs_receipt_keys(const char *keys, size_t n, struct vs_buf *out)
{
    size_t begin = out->n, epoch = 0;
    struct vs_public key[2];             /* the one before is the other of both */
    struct vs_past past;
    struct vs_signature signature;
    const char *end;
    vs_buf_str(out, ",\"keys\":\"");
    for (; n && (end = memchr(keys, '\n', n)); n -= (size_t)(end - keys) + 1, keys = end + 1)
        if (vs_keys_line_parse(keys, (size_t)(end - keys), epoch + 1, epoch ? &key[epoch % 2] : NULL, &key[(epoch + 1) % 2],
                               &past, &signature) && ++epoch <= VS_RECEIPT_EPOCHS) {
            vs_buf_add(out, keys, (size_t)(end - keys));
            vs_buf_str(out, "\\n");
        }
    vs_buf_char(out, '"');
    if (out->status == VS_OK && (epoch == 0 || epoch > VS_RECEIPT_EPOCHS))
        out->n = begin;
}

int vs_receipt_sign(const char *payload, size_t n, struct vs_key *key, const struct vs_buf *keys, struct vs_buf *out)
{
    struct vs_buf pae = { 0 };
    struct vs_signature signature;
    char name[VS_HASH_HEX];
    vs_receipt_pae(payload, n, &pae);
    int rc = pae.status != VS_OK ? pae.status : vs_key_sign(key, pae.data, pae.n, &signature);
    vs_buf_clear(&pae);
    if (rc != VS_OK)
        return rc;
    key_name(vs_key_own(key), name);
    vs_buf_str(out, "{\"envelope\":{\"payload\":\"");
    vs_base64(payload, n, out);
    vs_buf_printf(out, "\",\"payloadType\":\"%s\",\"signatures\":[{\"keyid\":\"%s\",\"sig\":\"", VS_RECEIPT_TYPE, name);
    vs_base64(signature.bytes, signature.n, out);
    vs_buf_str(out, "\"}]}");
    vs_buf_add(out, keys->data, keys->n);
    vs_buf_char(out, '}');
    return out->status;
}

/* ---- reading ---- */

struct check {
    struct vs_receipt *r;
    enum vs_verdict verdict;
    char *reason;
    size_t size;
};

__attribute__((format(printf, 3, 4)))
static bool fail(struct check *c, enum vs_verdict verdict, const char *format, ...)
{
    va_list list;
    if (c->verdict != VS_WELL_FORMED)
        return false;
    c->verdict = verdict;
    va_start(list, format);
    vsnprintf(c->reason, c->size, format, list);
    va_end(list);
    return false;
}

/* An object with these keys, each at most; what is not known would be read by somebody else as something. */
static bool is_object(struct check *c, const json_t *o, const char *what, const char *const *known)
{
    if (!json_is_object(o))
        return fail(c, VS_INVALID, "%s: an object is needed", what);
    return !vs_json_other_key(o, known) || fail(c, VS_INVALID, "%s: a member that is not known", what);
}

static bool is_string(struct check *c, const json_t *o, const char *key, const json_t **ret)
{
    const json_t *v = json_object_get(o, key);
    *ret = json_is_string(v) ? v : NULL;
    return *ret || fail(c, VS_INVALID, "%s: a string is needed", key);
}

static bool is_text_of(const json_t *v, const char *text)
{
    return json_string_length(v) == strlen(text) && memcmp(json_string_value(v), text, strlen(text)) == 0;
}

/* ---- the signature ---- */

static size_t n_lines(const char *text, size_t n)
{
    size_t lines = 0;
    for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    return lines;
}

/* What can't be checked here may be good. */
static bool fail_keys(struct check *c, const char *where, const struct vs_error *err)
{
    return fail(c, err->code == VS_E_MALFORMED ? VS_INVALID : VS_UNVERIFIABLE, "%s: %s", where, err->text);
}

/* The receipt's own: all of its lines are keys, each signed by the one before. */
static bool read_own(struct check *c, const json_t *text, struct vs_keys *ret)
{
    struct vs_error err = { 0 };
    const char *lines = json_string_value(text);
    size_t n = json_string_length(text);
    if (vs_keys_parse(lines, n, ret, &err) != VS_OK)
        return fail_keys(c, "keys", &err);
    return (ret->n > 0 && ret->n == n_lines(lines, n) && lines[n - 1] == '\n')
        || fail(c, VS_INVALID, "keys: a line that is none of a log's file of keys");
}

/* What was given: the first key, or all of a log, or both: that key's line, and those of a log that is then its own. */
static bool read_given(struct check *c, const char *text, size_t n, struct vs_keys *ret)
{
    struct vs_public key;
    struct vs_error err = { 0 };
    const char *end = memchr(text, '\n', n);
    size_t first = end ? (size_t)(end - text) + 1 : n;
    bool has_first = vs_vkey_parse(text, first, &key);
    *ret = (struct vs_keys){ 0 };
    if (!has_first)
        first = 0;
    if (vs_keys_parse(text + first, n - first, ret, &err) != VS_OK)
        return fail_keys(c, "--pubkey", &err);
    if (ret->n)
        return !has_first || vs_public_equal(&key, &ret->key[0])
            || fail(c, VS_INVALID, "--pubkey: its keys are those of a log with another first key");
    if (!has_first)
        return fail(c, VS_INVALID, "--pubkey: this is neither what `veritas audit key` prints nor a log's file of keys");
    if (!(ret->key = malloc(sizeof *ret->key)))
        return fail(c, VS_UNVERIFIABLE, "out of memory");
    ret->key[0] = key;
    ret->n = 1;
    return true;
}

/* The keys that may have signed; the first is the one that is trusted, where one was given. */
static bool read_keys(struct check *c, const json_t *text, const char *given, size_t n_given, struct vs_keys *ret)
{
    struct vs_keys own = { 0 }, other = { 0 };
    bool good = text || given || fail(c, VS_UNVERIFIABLE, "the receipt brings no key, and none was given (--pubkey)");
    if (good && text)
        good = read_own(c, text, &own);
    if (good && given)
        good = read_given(c, given, n_given, &other);
    if (good && own.n && other.n && !vs_public_equal(&own.key[0], &other.key[0]))
        good = fail(c, VS_INVALID, "it was signed under another first key than the one that was given");
    c->r->is_trusted = good && given;
    *ret = own.n > other.n ? own : other;
    vs_keys_clear(own.n > other.n ? &other : &own);
    return good;
}

/* has_chain: the keys are the receipt's own, so the one that signed it must be among them. */
static bool is_signed(struct check *c, const json_t *signature, const struct vs_keys *keys, bool has_chain, const char *payload,
                      size_t n)
{
    static const char *const known[] = { "keyid", "sig", NULL };
    struct vs_signature signed_by;
    const json_t *id, *sig;
    if (!is_object(c, signature, "signatures", known) || !is_string(c, signature, "keyid", &id)
        || !is_string(c, signature, "sig", &sig))
        return false;
    if (!vs_base64_parse(json_string_value(sig), json_string_length(sig), signed_by.bytes, sizeof signed_by.bytes, &signed_by.n))
        return fail(c, VS_INVALID, "sig: a signature in base64 is needed");
    for (size_t i = keys->n; i > 0; i--) {
        char name[VS_HASH_HEX];
        key_name(&keys->key[i - 1], name);
        if (!is_text_of(id, name))
            continue;
        struct vs_buf pae = { 0 };
        vs_receipt_pae(payload, n, &pae);
        bool good = pae.status == VS_OK && vs_key_verify(&keys->key[i - 1], pae.data, pae.n, &signed_by);
        vs_buf_clear(&pae);
        return good || fail(c, VS_INVALID, "the signature is not of this payload");
    }
    return has_chain ? fail(c, VS_INVALID, "it was signed by a key that is not among those of the receipt")
        : fail(c, VS_UNVERIFIABLE, "the receipt brings no keys, and the one that signed it is not in --pubkey: the log's file of "
               "keys is needed");
}

static bool read_envelope(struct check *c, const json_t *receipt, const char *key, size_t n_key)
{
    static const char *const known[] = { "payload", "payloadType", "signatures", NULL };
    const json_t *envelope = json_object_get(receipt, "envelope"), *keys_text = json_object_get(receipt, "keys");
    const json_t *text, *type, *signatures = json_object_get(envelope, "signatures");
    char payload[VS_STATEMENT_MOST];
    struct vs_keys keys = { 0 };
    struct vs_error err = { 0 };
    size_t n = 0;
    if (!is_object(c, envelope, "envelope", known) || !is_string(c, envelope, "payload", &text)
        || !is_string(c, envelope, "payloadType", &type))
        return false;
    if (!is_text_of(type, VS_RECEIPT_TYPE))
        return fail(c, VS_INVALID, "payloadType: " VS_RECEIPT_TYPE " is needed; this is no receipt");
    if (!json_is_array(signatures) || json_array_size(signatures) != 1)
        return fail(c, VS_INVALID, "signatures: a list of one is needed");
    if (keys_text && !json_is_string(keys_text))
        return fail(c, VS_INVALID, "keys: a string is needed");
    if (!vs_base64_parse(json_string_value(text), json_string_length(text), (uint8_t *)payload, sizeof payload, &n))
        return fail(c, VS_INVALID, "payload: at most %d bytes in base64 are needed", VS_STATEMENT_MOST);
    vs_hash(payload, n, c->r->payload);
    bool good = read_keys(c, keys_text, key, n_key, &keys)
        && is_signed(c, json_array_get(signatures, 0), &keys, keys_text, payload, n);
    if (good && keys.n) {
        char name[VS_HASH_HEX];
        key_name(&keys.key[0], name);
        snprintf(c->r->signer, sizeof c->r->signer, "veritas-audit/%.16s", name);
    }
    vs_keys_clear(&keys);
    if (good && vs_statement_parse(payload, n, VS_STATEMENT_WHOLE, &c->r->statement, &err) != VS_OK)
        return fail(c, VS_INVALID, "%s", err.text);
    return good;
}

/* ---- the opening ---- */

static bool read_ids(struct check *c, const json_t *opening, const char *key, struct vs_receipt_ids *ret)
{
    const json_t *list = json_object_get(opening, key), *v;
    size_t i;
    if (!list)
        return true;
    if (!json_is_array(list))
        return fail(c, VS_INVALID, "%s: a list of token ids is needed", key);
    if (!(ret->id = calloc(json_array_size(list) + 1, sizeof *ret->id)))
        return fail(c, VS_UNVERIFIABLE, "out of memory");
    ret->is_there = true;
    json_array_foreach(list, i, v) {
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > UINT32_MAX)
            return fail(c, VS_INVALID, "%s: entry %zu is no token id", key, i);
        ret->id[ret->n++] = (uint32_t)json_integer_value(v);
    }
    return true;
}

/* What the opening has under a key is what the statement commits to; digest: of the content. */
static bool agrees(struct check *c, const char *key, const struct vs_hashed *committed, struct vs_sha256 *content)
{
    uint8_t digest[VS_DIGEST_BYTES];
    vs_sha256_end(content, digest);
    if (!committed->is_there)
        return fail(c, VS_INVALID, "%s: the statement says nothing of it", key);
    return memcmp(digest, committed->hash, sizeof digest) == 0
        || fail(c, VS_INVALID, "%s: this is not what the statement commits to", key);
}

static bool check_ids(struct check *c, const char *key, const char *name, const struct vs_receipt_ids *ids,
                      const struct vs_hashed *committed)
{
    struct vs_sha256 s;
    if (!ids->is_there)
        return true;
    vs_commit_begin(&s, name, c->r->salt);
    vs_commit_add_ids(&s, ids->id, ids->n);
    return agrees(c, key, committed, &s);
}

static bool check_text(struct check *c, const json_t *opening, const char *key, const char *name,
                       const struct vs_hashed *committed, const json_t **ret)
{
    struct vs_sha256 s;
    if (!json_object_get(opening, key))
        return true;
    if (!is_string(c, opening, key, ret))
        return false;
    vs_commit_begin(&s, name, c->r->salt);
    vs_sha256_add(&s, json_string_value(*ret), json_string_length(*ret));
    return agrees(c, key, committed, &s);
}

static bool add_bias(struct vs_sha256 *s, const json_t *pair)
{
    const json_t *id = json_array_get(pair, 0), *bits = json_array_get(pair, 1);
    uint32_t words[2] = { 0 };
    if (!json_is_array(pair) || json_array_size(pair) != 2 || !json_is_integer(id) || json_integer_value(id) < 0
        || json_integer_value(id) > UINT32_MAX || json_string_length(bits) != 8)
        return false;
    for (size_t i = 0; i < 8; i++) {
        int digit = vs_hex_digit(json_string_value(bits)[i]);
        if (digit < 0 || (json_string_value(bits)[i] >= 'A' && json_string_value(bits)[i] <= 'F'))
            return false;
        words[1] = words[1] << 4 | (uint32_t)digit;
    }
    words[0] = (uint32_t)json_integer_value(id);
    vs_commit_add_ids(s, words, 2);
    return true;
}

static bool add_stop(struct vs_sha256 *s, const json_t *stop)
{
    if (!json_is_string(stop))
        return false;
    vs_commit_add_text(s, json_string_value(stop), json_string_length(stop));
    return true;
}

static bool check_list(struct check *c, const json_t *opening, const char *key, const struct vs_hashed *committed,
                       bool (*add)(struct vs_sha256 *, const json_t *), const json_t **ret)
{
    const json_t *list = json_object_get(opening, key), *v;
    struct vs_sha256 s;
    size_t i;
    if (!list)
        return true;
    if (!json_is_array(list))
        return fail(c, VS_INVALID, "%s: a list is needed", key);
    vs_commit_begin(&s, key, c->r->salt);
    json_array_foreach(list, i, v)
        if (!add(&s, v))
            return fail(c, VS_INVALID, "%s: entry %zu is not of its form", key, i);
    *ret = list;
    return agrees(c, key, committed, &s);
}

static json_t *parse_text(const json_t *text, struct vs_error *err)
{
    return vs_json_parse(json_string_value(text), json_string_length(text), err);
}

static bool is_json(struct check *c, const char *key, const json_t *text)
{
    struct vs_error err = { 0 };
    json_t *o = text ? parse_text(text, &err) : NULL;
    bool good = !text || o;
    json_decref(o);
    return good || fail(c, VS_INVALID, "%s: %.300s", key, err.text);
}

static bool read_opening(struct check *c, const json_t *opening)
{
    static const char *const known[] = { "salt", "prompt_tokens", "tokens", "text", "delivered", "bias", "stop", "stop_tokens",
                                         "constraint", "asked", NULL };
    struct vs_receipt *r = c->r;
    const struct vs_statement *s = &r->statement;
    const json_t *salt;
    if (!is_object(c, opening, "opening", known) || !is_string(c, opening, "salt", &salt))
        return false;
    if (!vs_hex_is_sha256(json_string_value(salt)) || json_string_length(salt) != 2 * VS_SALT_BYTES)
        return fail(c, VS_INVALID, "salt: 64 hex digits in lower case are needed");
    vs_hex_bytes(json_string_value(salt), VS_SALT_BYTES, r->salt);
    r->has_salt = true;
    return read_ids(c, opening, "prompt_tokens", &r->prompt) && read_ids(c, opening, "tokens", &r->tokens)
        && read_ids(c, opening, "stop_tokens", &r->stop_tokens)
        && check_ids(c, "prompt_tokens", VS_COMMIT_PROMPT, &r->prompt, &s->request.prompt)
        && check_ids(c, "tokens", VS_COMMIT_TOKENS, &r->tokens, &s->tokens)
        && check_ids(c, "stop_tokens", VS_COMMIT_STOP_TOKENS, &r->stop_tokens, &s->request.stop_tokens)
        && check_text(c, opening, "text", VS_COMMIT_TEXT, &s->text, &r->text)
        && check_text(c, opening, "delivered", VS_COMMIT_DELIVERED, &s->delivered, &r->delivered)
        && check_text(c, opening, "constraint", VS_COMMIT_CONSTRAINT, &s->request.constraint, &r->constraint)
        && is_json(c, "constraint", r->constraint)
        && check_text(c, opening, "asked", VS_COMMIT_ASKED, &s->request.asked, &r->asked) && is_json(c, "asked", r->asked)
        && check_list(c, opening, VS_COMMIT_BIAS, &s->request.bias, add_bias, &r->bias)
        && check_list(c, opening, VS_COMMIT_STOP, &s->request.stop, add_stop, &r->stop);
}

/* ---- what must fit ---- */

static bool is_without_worker(const char *finish)
{
    return strcmp(finish, "stop") != 0 && strcmp(finish, "length") != 0 && strcmp(finish, "tool_calls") != 0;
}

static bool fits(struct check *c)
{
    struct vs_receipt *r = c->r;
    const struct vs_statement *s = &r->statement;
    if (s->time.end < s->time.start)
        return fail(c, VS_INVALID, "time: it ends before it starts");
    if (!s->has_worker)
        return is_without_worker(s->result.finish)
            || fail(c, VS_INVALID, "result: an answer that ended by '%s' has a model, a request and a trace", s->result.finish);
    if (!s->tokens.is_there || !s->text.is_there)
        return fail(c, VS_INVALID, "subject: %s and %s are needed", VS_COMMIT_TOKENS, VS_COMMIT_TEXT);
    if (s->request.n_prompt > s->numeric.n_ctx || s->trace.n_out > s->numeric.n_ctx + 1 - s->request.n_prompt)
        return fail(c, VS_INVALID, "trace: %" PRIu64 " tokens and a prompt of %" PRIu64 " do not fit into the context of %" PRIu64,
                    s->trace.n_out, s->request.n_prompt, s->numeric.n_ctx);
    if (s->request.max_tokens >= 0 && s->trace.n_out > (uint64_t)s->request.max_tokens)
        return fail(c, VS_INVALID, "trace: there are more tokens than were asked for");
    if (r->prompt.is_there && r->prompt.n != s->request.n_prompt)
        return fail(c, VS_INVALID, "prompt_tokens: %zu, and the statement says %" PRIu64, r->prompt.n, s->request.n_prompt);
    if (r->tokens.is_there && r->tokens.n != s->trace.n_out)
        return fail(c, VS_INVALID, "tokens: %zu, and the statement says %" PRIu64, r->tokens.n, s->trace.n_out);
    if (!r->has_salt)
        return true;
    if (vs_statement_chain(s, r->salt, r->h0) != VS_OK)
        return fail(c, VS_UNVERIFIABLE, "out of memory");
    if (s->trace.n_out == 0 && memcmp(r->h0, s->trace.chain.hash, sizeof r->h0) != 0)
        return fail(c, VS_INVALID, "trace: the chain of no tokens is not its beginning");
    return true;
}

enum vs_verdict vs_receipt_check(const void *data, size_t n, const char *key, size_t n_key, struct vs_receipt *ret,
                                 char *reason, size_t reason_size)
{
    static const char *const known[] = { "envelope", "keys", "opening", NULL };
    struct check c = { .r = ret, .verdict = VS_WELL_FORMED, .reason = reason, .size = reason_size };
    struct vs_error err = { 0 };
    *ret = (struct vs_receipt){ 0 };
    *reason = 0;
    if (n > VS_RECEIPT_MOST) {
        fail(&c, VS_INVALID, "the receipt has more than %d bytes", VS_RECEIPT_MOST);
        return c.verdict;
    }
    if (!(ret->json = vs_json_parse(data, n, &err))) {
        fail(&c, err.code == VS_E_NOMEM ? VS_UNVERIFIABLE : VS_INVALID, "this is no receipt: %.300s", err.text);
        return c.verdict;
    }
    const json_t *opening = json_object_get(ret->json, "opening");
    if (is_object(&c, ret->json, "receipt", known) && read_envelope(&c, ret->json, key, n_key)
        && (!opening || read_opening(&c, opening)))
        fits(&c);
    return c.verdict;
}

/* ---- what a replay needs ---- */

const char *vs_receipt_lacks(const struct vs_receipt *r)
{
    const struct vs_statement *s = &r->statement;
    if (!s->has_worker)
        return s->delivered.is_there ? "it does not say how what was delivered was computed: the request ended before its worker "
                                       "said so" : "nothing was computed: there is no answer to redo";
    if (!r->has_salt)
        return "the opening is missing: salt, prompt_tokens, tokens";
    if (!r->prompt.is_there || !r->tokens.is_there)
        return "the opening lacks prompt_tokens or tokens: the guard withheld them (--kept, where its operator has them), the "
               "request was stopped, or somebody took them out";
    if ((s->request.bias.is_there && !r->bias) || (s->request.stop.is_there && !r->stop)
        || (s->request.stop_tokens.is_there && !r->stop_tokens.is_there) || (s->request.constraint.is_there && !r->constraint))
        return "the opening lacks bias, stop, stop_tokens or constraint, to which the statement commits";
    if ((s->request.shaped || strcmp(s->result.finish, "tool_calls") == 0) && !r->asked)
        return "calls of tools or reasoning bent the draws: to redo them, `asked` of the opening is needed";
    return NULL;
}

static json_t *ids_json(const struct vs_receipt_ids *ids)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < ids->n; i++)
        json_array_append_new(list, json_integer((json_int_t)ids->id[i]));
    return list;
}

static json_t *hex_json(const void *bytes, size_t n)
{
    char hex[2 * VS_DIGEST_BYTES + 1];
    vs_hex(bytes, n, hex);
    return json_string(hex);
}

/* Of a text that is not in the opening its digest can be compared all the same. */
json_t *vs_receipt_request(const struct vs_receipt *r, bool decode)
{
    struct vs_buf statement = { 0 };
    vs_statement_format(&r->statement, VS_STATEMENT_WORKER, &statement);
    json_t *o = statement.status != VS_OK ? NULL
        : json_pack("{s:s#, s:o, s:o, s:o, s:s, s:b}", "statement", statement.data, statement.n,
                    "salt", hex_json(r->salt, sizeof r->salt), "prompt_tokens", ids_json(&r->prompt), "tokens",
                    ids_json(&r->tokens), "finish", r->statement.result.finish, "decode", decode);
    vs_buf_clear(&statement);
    if (o && r->bias)
        json_object_set(o, "bias", (json_t *)(uintptr_t)r->bias);
    if (o && r->stop)
        json_object_set(o, "stop", (json_t *)(uintptr_t)r->stop);
    if (o && r->stop_tokens.is_there)
        json_object_set_new(o, "stop_tokens", ids_json(&r->stop_tokens));
    if (o && r->constraint)
        json_object_set_new(o, "constraint", parse_text(r->constraint, NULL));
    if (o && r->asked)
        json_object_set_new(o, "asked", parse_text(r->asked, NULL));
    return o;
}

void vs_receipt_clear(struct vs_receipt *r)
{
    free(r->prompt.id);
    free(r->tokens.id);
    free(r->stop_tokens.id);
    json_decref(r->json);
    *r = (struct vs_receipt){ 0 };
}
