/* prog/receipt/main.c - `veritas-receipt`: is a receipt well-formed, signed, and what its opening says? `veritas verify` starts it;
 * it can be used alone.
 *
 *     veritas-receipt [--request [--decode]] [--line N] < RECEIPT [3< PUBKEY] [4< KEPT]
 *
 * It knows no model and no engine: it reads the receipt from its standard input, the public key from descriptor 3 where that is
 * open, and locks itself in before it reads a byte of either. A line of JSON says the verdict: WELL_FORMED (exit status 0), INVALID
 * (3) or UNVERIFIABLE (4), and with --request a second one is the body of a request VERIFY, for who has the model. With --line the
 * input holds several receipts, one in a line, and N says which is meant; where there is no such line, or several and no N, the
 * exit status is 2. KEPT is the operator's file of what was withheld from clients (receipts.keep): what it has of this receipt is
 * added to the opening. */
#include "evidence/receipt.h"

#include "base/bytes.h"
#include "base/word.h"
#include "ipc/json.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEY_FD = 3, KEPT_FD = 4, MOST_KEYS = 32 << 20, MOST_LINE = 192 << 20 };
#define MOST_JSON (UINT64_C(2) << 30)
#define MOST_MEMORY (UINT64_C(3) << 30)

static int leave(const struct vs_error *err)
{
    fprintf(stderr, "veritas-receipt: %s\n", err->text);
    return vs_status_exit(err->code);
}

/* All of a descriptor, at most `most` bytes and one more. */
static int read_all(int fd, size_t most, struct vs_buf *ret, struct vs_error *err)
{
    char piece[65536];
    ssize_t got;
    while (ret->n <= most && (got = read(fd, piece, sizeof piece)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return vs_error_set(err, VS_E_SYSTEM, "descriptor %d cannot be read: %s", fd, strerror(errno));
        vs_buf_add(ret, piece, (size_t)got);
        if (ret->status != VS_OK)
            return vs_error_set(err, VS_E_NOMEM, "out of memory");
    }
    return VS_OK;
}

/* What OpenSSL loads at its first use is there before nothing can be opened any more. */
static int prepare(struct vs_error *err)
{
    vs_json_setup(MOST_JSON);
    if (vs_evidence_setup(err) != VS_OK || vs_sign_setup(err) != VS_OK)
        return err->code;
    struct vs_sandbox_options options = {
        .profile = VS_SANDBOX_AUDIT, .keep_fds = 1u << KEY_FD | 1u << KEPT_FD, .words_fd = -1, .memory_bytes = MOST_MEMORY,
        .keep_stderr = true,
    };
    struct vs_sandbox_report report;
    int rc = vs_sandbox_options_parse(getenv("VERITAS_SANDBOX"), &options, err);
    return rc == VS_OK ? vs_sandbox_enter(&options, &report, err) : rc;
}

static void put_hash(json_t *o, const char *key, const struct vs_hashed *h)
{
    char hex[2 * VS_DIGEST_BYTES + 1];
    vs_hex(h->hash, VS_DIGEST_BYTES, hex);
    json_object_set_new(o, key, h->is_there ? json_string(hex) : json_null());
}

/* What a person, or who has the model, needs of a receipt that is well-formed. */
static void describe(const struct vs_receipt *r, json_t *o)
{
    const struct vs_statement *s = &r->statement;
    const char *lacks = vs_receipt_lacks(r);
    json_object_set_new(o, "signer", json_string(r->signer));
    json_object_set_new(o, "trusted", json_boolean(r->is_trusted));
    json_object_set_new(o, "finish", json_string(s->result.finish));
    json_object_set_new(o, "start", json_integer((json_int_t)s->time.start));
    json_object_set_new(o, "lacks", lacks ? json_string(lacks) : json_null());
    if (!s->has_worker)
        return;
    put_hash(o, "model", &s->model.sha256);
    json_object_set_new(o, "contract", json_string(s->contract.id));
    json_object_set_new(o, "kv_type", json_string(s->numeric.kv_type));
    json_object_set_new(o, "ctx", json_integer((json_int_t)s->numeric.n_ctx));
}

static json_t *verdict_json(enum vs_verdict verdict, const struct vs_receipt *r, const char *reason)
{
    json_t *o = json_pack("{s:s, s:n, s:s, s:o, s:I}", "verdict", vs_verdict_name(verdict), "at", "mode", "structure", "reason",
                          vs_json_text(reason, strlen(reason)), "tokens", (json_int_t)r->statement.trace.n_out);
    if (o && verdict == VS_WELL_FORMED)
        describe(r, o);
    return o;
}

static bool print(json_t *o)
{
    struct vs_buf line = { 0 };
    if (o)
        vs_json_dump(o, &line);
    vs_buf_char(&line, '\n');
    bool done = o && line.status == VS_OK && fwrite(line.data, 1, line.n, stdout) == line.n && fflush(stdout) == 0;
    vs_buf_clear(&line);
    json_decref(o);
    return done;
}

/* 0: it is none. */
static size_t number_of(const char *word)
{
    char *end;
    unsigned long long n = strtoull(word, &end, 10);
    return *word >= '1' && *word <= '9' && !*end && n < SIZE_MAX ? (size_t)n : 0;
}

/* Of a descriptor with a line for each receipt, the line of that number, from 1; of a longer one its first `most` bytes and some
 * more. The lines in front of it may be of any length. */
static int read_numbered(int fd, size_t number, size_t most, struct vs_buf *ret, struct vs_error *err)
{
    char piece[65536];
    size_t n_lines = 0;
    bool is_within = false;              /* a line */
    ssize_t got;
    while ((got = read(fd, piece, sizeof piece)) != 0) {
        if (got < 0 && errno != EINTR)
            return vs_error_set(err, VS_E_SYSTEM, "descriptor %d cannot be read: %s", fd, strerror(errno));
        for (const char *at = piece, *end = piece + (got > 0 ? got : 0); at < end;) {
            const char *stop = memchr(at, '\n', (size_t)(end - at));
            n_lines += !is_within;
            if (n_lines == number)
                vs_buf_add(ret, at, (size_t)((stop ? stop : end) - at));
            if (ret->status != VS_OK)
                return vs_error_set(err, VS_E_NOMEM, "out of memory");
            if (n_lines == number && (stop || ret->n > most))
                return VS_OK;
            is_within = !stop;
            at = stop ? stop + 1 : end;
        }
    }
    return n_lines == number ? VS_OK
        : vs_error_set(err, VS_E_INVALID, "--line %zu: there %s %zu line%s", number, n_lines == 1 ? "is" : "are", n_lines,
                       vs_plural(n_lines));
}

/* The next line that is not blank, and moves on behind it; false: there is none. */
static bool next_line(const char **at, const char *end, const char **ret, size_t *ret_n)
{
    while (*at < end && memchr(" \t\r\n", **at, 4))
        ++*at;
    const char *stop = *at < end ? memchr(*at, '\n', (size_t)(end - *at)) : NULL;
    *ret = *at;
    *at = stop ? stop : end;
    *ret_n = (size_t)(*at - *ret);
    return *ret_n > 0;
}

/* Is it one receipt? Several are objects in a line each; whatever else stands behind one, the receipt is judged with it. */
static int need_one(const struct vs_buf *text, struct vs_error *err)
{
    const char *at = text->data ? text->data : "", *end = at + text->n, *line;
    bool is_object = text->n > 0;
    size_t n;
    for (int i = 0; i < 2 && is_object; i++) {
        json_t *value = next_line(&at, end, &line, &n) ? vs_json_parse(line, n, NULL) : NULL;
        is_object = json_is_object(value);
        json_decref(value);
    }
    return is_object ? vs_error_set(err, VS_E_INVALID, "the file has several receipts, one in a line: --line N says which is meant")
                     : VS_OK;
}

/* The line of this receipt in the operator's file, read to its end; empty: it has none. */
static int find_kept(const uint8_t payload[VS_HASH_BYTES], struct vs_buf *ret, struct vs_error *err)
{
    static char piece[1 << 20];
    char head[VS_HASH_HEX + 16], hex[VS_HASH_HEX];
    ssize_t got;
    vs_hex(payload, VS_HASH_BYTES, hex);
    size_t n_head = (size_t)snprintf(head, sizeof head, "{\"receipt\":\"%s\"", hex);
    bool is_it = true;                  /* as far as the line was read */
    while ((got = read(KEPT_FD, piece, sizeof piece)) != 0) {
        if (got < 0 && errno != EINTR)
            return vs_error_set(err, VS_E_SYSTEM, "--kept cannot be read: %s", strerror(errno));
        for (const char *at = piece, *end = piece + (got > 0 ? got : 0); at < end;) {
            const char *stop = memchr(at, '\n', (size_t)(end - at));
            if (is_it)
                vs_buf_add(ret, at, (size_t)((stop ? stop : end) - at));
            is_it = is_it && (!ret->n || memcmp(ret->data, head, ret->n < n_head ? ret->n : n_head) == 0);
            if (ret->status != VS_OK)
                return vs_error_set(err, ret->status, "--kept: a line is too long, or there is no memory for it");
            if (stop && is_it && ret->n > n_head)
                return VS_OK;
            if (stop || !is_it)
                vs_buf_reset(ret);
            is_it = is_it || stop;
            at = stop ? stop + 1 : end;
        }
    }
    vs_buf_reset(ret);
    return VS_OK;
}

/* The receipt with an opening that has, beside its own members, those that were kept: its text. */
static int add_kept(const struct vs_receipt *r, struct vs_buf *ret, struct vs_error *err)
{
    struct vs_buf line = { .limit = MOST_LINE };
    int rc = find_kept(r->payload, &line, err);
    json_t *kept = rc == VS_OK && line.n ? vs_json_parse(line.data, line.n, NULL) : NULL;
    json_t *opening = json_object_get(kept, "opening"), *own = json_object_get(r->json, "opening");
    if (json_is_object(opening)) {
        json_object_update(opening, own);
        json_object_set(r->json, "opening", opening);
        vs_buf_reset(ret);
        vs_json_dump(r->json, ret);
        rc = ret->status == VS_OK ? VS_OK : vs_error_set(err, ret->status, "out of memory");
    }
    json_decref(kept);
    vs_buf_clear(&line);
    return rc;
}

int main(int argc, char **argv)
{
    static const int exits[] = { [VS_WELL_FORMED] = 0, [VS_UNVERIFIABLE] = 4, [VS_INVALID] = 3 };
    struct vs_error err = { 0 };
    struct vs_buf text = { 0 }, key = { 0 };
    struct vs_receipt r = { 0 };
    char reason[600];
    bool request = false, decode = false, has_key = fcntl(KEY_FD, F_GETFD) >= 0, has_kept = fcntl(KEPT_FD, F_GETFD) >= 0;
    size_t line = 0;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        bool is_line = strcmp(word, "--line") == 0 && i + 1 < argc && (line = number_of(argv[i + 1])) > 0;
        request |= strcmp(word, "--request") == 0;
        decode |= strcmp(word, "--decode") == 0;
        if (!is_line && strcmp(word, "--request") != 0 && strcmp(word, "--decode") != 0) {
            fprintf(stderr, "usage: veritas-receipt [--request [--decode]] [--line N] < RECEIPT [3< PUBKEY] [4< KEPT]\n");
            return 2;
        }
        i += is_line;
    }
    if (prepare(&err) != VS_OK || (has_key && read_all(KEY_FD, MOST_KEYS, &key, &err) != VS_OK))
        return leave(&err);
    int rc = line ? read_numbered(0, line, VS_RECEIPT_MOST, &text, &err) : read_all(0, VS_RECEIPT_MOST, &text, &err);
    if (rc != VS_OK || (!line && need_one(&text, &err) != VS_OK))
        return leave(&err);
    enum vs_verdict verdict = vs_receipt_check(text.data ? text.data : "", text.n, has_key ? key.data ? key.data : "" : NULL,
                                               key.n, &r, reason, sizeof reason);
    if (has_kept && verdict == VS_WELL_FORMED) {        /* and then once more */
        rc = add_kept(&r, &text, &err);
        vs_receipt_clear(&r);
        if (rc != VS_OK)
            return leave(&err);
        verdict = vs_receipt_check(text.data, text.n, has_key ? key.data ? key.data : "" : NULL, key.n, &r, reason, sizeof reason);
    }
    vs_buf_clear(&text);
    bool done = print(verdict_json(verdict, &r, reason));
    if (done && request && verdict == VS_WELL_FORMED && !vs_receipt_lacks(&r))
        done = print(vs_receipt_request(&r, decode));
    vs_receipt_clear(&r);
    vs_buf_clear(&key);
    return done ? exits[verdict] : 1;
}
