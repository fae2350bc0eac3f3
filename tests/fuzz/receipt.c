/* rooms: evidence receipt ipc base */
/* Any bytes as a receipt, as a statement, and as a statement that is signed, with an opening behind its newline: what is accepted
 * is spelled as it would be written, fits together, and can be replayed or says why not. */
#include "evidence/receipt.h"

#include "ipc/json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void statement(const char *text, size_t n, enum vs_statement_part part)
{
    struct vs_statement s;
    struct vs_error err = { 0 };
    struct vs_buf again = { 0 };
    if (vs_statement_parse(text, n, part, &s, &err) != VS_OK) {
        if (!err.text[0])
            abort();
        return;
    }
    vs_statement_format(&s, part, &again);
    if (again.n != n || memcmp(again.data, text, n) != 0)
        abort();
    vs_buf_clear(&again);
}

static void receipt(const char *text, size_t n)
{
    struct vs_receipt r;
    char reason[200];
    enum vs_verdict v = vs_receipt_check(text, n, NULL, 0, &r, reason, sizeof reason);
    if ((v == VS_WELL_FORMED) != (reason[0] == 0) || v == VS_MATCH || v == VS_MISMATCH)
        abort();
    if (v == VS_WELL_FORMED && !vs_receipt_lacks(&r)) {
        json_t *request = vs_receipt_request(&r, false);
        if (!request || r.tokens.n != r.statement.trace.n_out)
            abort();
        json_decref(request);
    }
    vs_receipt_clear(&r);
}

/* The statement signed, with keys of its own, and what follows as its opening. */
static void signed_receipt(const char *text, size_t n)
{
    static const uint8_t seed[VS_SEED_BYTES] = { 1 };
    struct vs_buf line = { 0 }, keys = { 0 }, whole = { 0 };
    struct vs_key_secret secret;
    struct vs_key *signer = NULL;
    const char *end = memchr(text, '\n', n);
    size_t length = end ? (size_t)(end - text) : n;
    if (vs_key_secret_read(VS_KEY_ED25519, seed, NULL, &secret) != VS_OK
        || vs_keys_line(1, &secret.public, NULL, &secret, &line) != VS_OK || vs_key_create(&secret, &signer) != VS_OK)
        abort();
    vs_receipt_keys(line.data, line.n, &keys);
    if (vs_receipt_sign(text, length, signer, &keys, &whole) != VS_OK)
        abort();
    vs_buf_clear(&line);
    vs_key_free(signer);
    if (end) {
        whole.n--;
        vs_buf_str(&whole, ",\"opening\":");
        vs_buf_add(&whole, end + 1, n - length - 1);
        vs_buf_char(&whole, '}');
    }
    receipt(whole.data, whole.n);
    vs_buf_clear(&keys);
    vs_buf_clear(&whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *text = (const char *)data;
    if (vs_evidence_setup(NULL) != VS_OK)
        abort();
    receipt(text, n);
    for (int part = VS_STATEMENT_WORKER; part <= VS_STATEMENT_WHOLE; part++)
        statement(text, n, (enum vs_statement_part)part);
    signed_receipt(text, n);
    return 0;
}
