/* rooms: evidence base */
/* Any bytes as a file of the log: lines, torn bytes, a frontier; as its public keys, as a checkpoint, as a key. What is accepted is
 * a chain, and cutting it anywhere is noticed or leaves a shorter chain. */
#include "evidence/check.h"
#include "evidence/sign.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void feed(struct vs_log_check *c, const char *text, size_t n)
{
    const char *end;
    vs_log_check_file(c, 1);
    for (; (end = memchr(text, '\n', n)); n -= (size_t)(end - text) + 1, text = end + 1)
        vs_log_check_line(c, text, (size_t)(end - text));
    vs_log_check_rest(c, text, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct vs_log_check c = { 0 }, cut = { 0 };
    if (vs_evidence_setup(NULL) != VS_OK)
        abort();
    feed(&c, (const char *)data, n);
    if (c.n_records && (c.last.seq != c.first + c.n_records - 1 || c.tree.n != c.last.seq))
        abort();
    if (!vs_log_check_end(&c) && (!c.first_bad || !c.reason[0]))
        abort();
    feed(&cut, (const char *)data, n / 2);
    if (cut.n_records > c.n_records && !c.first_bad)
        abort();
    vs_log_check_unended(&cut);
    struct vs_keys keys;
    struct vs_note note;
    struct vs_error err;
    struct vs_public key;
    size_t used;
    if (vs_keys_parse((const char *)data, n, &keys, &err) == VS_OK) {
        vs_note_parse((const char *)data, n, &keys, &note, &used);
        if ((n && !used) || used > n)
            abort();
        vs_keys_clear(&keys);
    }
    vs_vkey_parse((const char *)data, n, &key);
    vs_log_check_clear(&c);
    vs_log_check_clear(&cut);
    return 0;
}
