/* rooms: evidence base */
/* The log's format: trees against RFC 6962's own definition, and every way to change a log of 200 records is found, with the number
 * of the first record that is not as it was written. */
#include "evidence/check.h"
#include "evidence/proof.h"
#include "evidence/sign.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 200 };

static struct vs_buf lines[N + 1];       /* [1..N], without newlines; record N is a stop */
static struct vs_log_check before[N + 2];       /* the check before it takes line i */

static void make_log(void)
{
    uint8_t prev[VS_HASH_BYTES] = { 0 };
    struct vs_tree tree = { 0 };
    uint8_t leaf[VS_HASH_BYTES];
    for (uint64_t i = 1; i <= N; i++) {
        struct vs_line_head head = { .seq = i, .time_ms = 1700000000000 + (int64_t)i, .mono_ns = i * 1000,
                                     .boot = "0123456789abcdef0123456789abcdef" };
        struct vs_buf members = { 0 };
        memcpy(head.prev, prev, sizeof prev);
        if (i == 1)
            vs_line_tree_format(&tree, &members);
        else
            vs_buf_printf(&members, "\"event\":\"%s\",\"unmapped\":{\"number\":%d}", i == N ? "stop" : "answer", (int)i * 7);
        vs_line_format(&head, members.data, members.n, &lines[i]);
        vs_buf_clear(&members);
        vs_hash(lines[i].data, lines[i].n, prev);
        vs_leaf(lines[i].data, lines[i].n, leaf);
        vs_tree_add(&tree, leaf);
    }
}

static int setup(void **state)
{
    struct vs_log_check c = { 0 };
    (void)state;
    if (vs_evidence_setup(NULL) != VS_OK)
        return 1;
    make_log();
    vs_log_check_file(&c, 1);
    for (int i = 1; i <= N; i++) {
        before[i] = c;
        if (!vs_log_check_line(&c, lines[i].data, lines[i].n))
            return 1;
    }
    before[N + 1] = c;
    return !vs_log_check_end(&c) || !c.is_closed || c.n_records != N;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 1; i <= N; i++)
        vs_buf_clear(&lines[i]);
    return 0;
}

/* A check that is where the good one was before it took line i. Its buffers were empty. */
static struct vs_log_check at(int i)
{
    struct vs_log_check c = before[i];
    c.run = c.before = (struct vs_buf){ 0 };
    return c;
}

/* Takes lines from..to. */
static void take(struct vs_log_check *c, int from, int to)
{
    for (int i = from; i <= to && vs_log_check_line(c, lines[i].data, lines[i].n); i++)
        ;
}

static uint64_t end(struct vs_log_check *c)
{
    vs_log_check_end(c);
    vs_log_check_clear(c);
    return c->first_bad;
}

static void every_byte_flipped(void **state)
{
    (void)state;
    for (int i = 1; i < N; i++)         /* the last one is told by a checkpoint alone */
        for (size_t k = 0; k < lines[i].n; k++) {
            struct vs_log_check c = at(i);
            char *byte = &lines[i].data[k], was = *byte;
            *byte = (char)(was ^ 1 << (i + k) % 8);
            bool is_newline = *byte == '\n';
            if (is_newline) {           /* two lines */
                vs_log_check_line(&c, lines[i].data, k);
                vs_log_check_line(&c, lines[i].data + k + 1, lines[i].n - k - 1);
            } else {
                vs_log_check_line(&c, lines[i].data, lines[i].n);
            }
            *byte = was;
            take(&c, i + 1, i + 3 < N ? i + 3 : N);
            uint64_t bad = end(&c);
            /* Of the last two the first may be meant: nothing stands behind the second. */
            if (bad != (uint64_t)i && !(i == N - 1 && bad == N))
                fail_msg("record %d, byte %zu: said %d", i, k, (int)bad);
        }
}

static void dropped_doubled_swapped_inserted(void **state)
{
    (void)state;
    for (int i = 2; i < N - 2; i++) {
        struct vs_log_check c = at(i);
        take(&c, i + 1, N);
        assert_int_equal(end(&c), i);

        c = at(i);
        take(&c, i, i);
        take(&c, i, N);
        assert_int_equal(end(&c), i);

        c = at(i);
        take(&c, i + 1, i + 1);
        take(&c, i, i);
        take(&c, i + 2, N);
        assert_int_equal(end(&c), i);

        struct vs_buf forged = { 0 };   /* well made, with the right number and the right hash before it */
        struct vs_line_head head = before[i].last;
        head.seq = (uint64_t)i;
        memcpy(head.prev, before[i].last_hash, sizeof head.prev);
        vs_line_format(&head, "\"event\":\"forged\"", 16, &forged);
        c = at(i);
        vs_log_check_line(&c, forged.data, forged.n);
        take(&c, i, N);
        assert_int_equal(end(&c), i);
        c = at(i);                      /* in its place */
        vs_log_check_line(&c, forged.data, forged.n);
        take(&c, i + 1, N);
        assert_int_equal(end(&c), i);
        vs_buf_clear(&forged);
    }
}

static void torn(void **state)
{
    (void)state;
    struct vs_log_check whole = at(50);
    vs_log_check_rest(&whole, lines[50].data, lines[50].n);
    assert_true(vs_log_check_unended(&whole));
    take(&whole, 51, N);
    assert_int_equal(end(&whole), 0);
    for (size_t cut = 1; cut < lines[50].n; cut++) {
        struct vs_log_check c = at(50);
        assert_true(vs_log_check_rest(&c, lines[50].data, cut));
        assert_false(vs_log_check_unended(&c));
        assert_int_equal(end(&c), 50);  /* nothing names it yet */

        struct vs_buf run = { 0 }, members = { 0 }, next = { 0 };
        struct vs_line_head head = before[50].last;
        vs_buf_add(&run, lines[50].data, cut);
        vs_buf_char(&run, '\n');
        vs_buf_str(&members, "\"event\":\"start\"");
        vs_line_torn_format(run.data, run.n, &members);
        head.seq = 50;
        memcpy(head.prev, before[50].last_hash, sizeof head.prev);
        vs_line_format(&head, members.data, members.n, &next);
        c = at(50);
        assert_true(vs_log_check_line(&c, run.data, cut));
        assert_true(vs_log_check_line(&c, next.data, next.n));
        assert_int_equal(c.n_torn, 1);
        assert_int_equal(end(&c), 0);
        run.data[cut / 2] ^= 1;         /* other bytes than it names */
        if (run.data[cut / 2] != '\n') {
            c = at(50);
            vs_log_check_line(&c, run.data, cut);
            vs_log_check_line(&c, next.data, next.n);
            assert_int_equal(end(&c), 50);
        }
        c = at(50);                     /* none */
        vs_log_check_line(&c, next.data, next.n);
        assert_int_equal(end(&c), 50);
        vs_buf_clear(&run);
        vs_buf_clear(&members);
        vs_buf_clear(&next);
    }
}

static void heads(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "", "{}", "{\"seq\":0,\"prev\":\"", "null", "{\"seq\":01,", "{\"seq\":-1,", "{\"seq\":99999999999999999999,",
    };
    struct vs_line_head head;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_non_null(vs_line_parse(wrong[i], strlen(wrong[i]), &head));
    for (size_t n = 0; n < lines[7].n; n++)
        assert_non_null(vs_line_parse(lines[7].data, n, &head));
    assert_null(vs_line_parse(lines[7].data, lines[7].n, &head));
    assert_int_equal(head.seq, 7);
    assert_int_equal(head.time_ms, 1700000000007);
}

/* RFC 6962, 2.1: the definition, by recursion. */
static void root_by_definition(uint8_t leaf[][VS_HASH_BYTES], size_t n, uint8_t ret[VS_HASH_BYTES])
{
    static const uint8_t tag = 1;
    uint8_t left[VS_HASH_BYTES], right[VS_HASH_BYTES];
    size_t k = 1;
    if (n == 1) {
        memcpy(ret, leaf[0], VS_HASH_BYTES);
        return;
    }
    while (2 * k < n)
        k *= 2;
    root_by_definition(leaf, k, left);
    root_by_definition(leaf + k, n - k, right);
    vs_hash_pieces((struct vs_piece[]){ { &tag, 1 }, { left, sizeof left }, { right, sizeof right } }, 3, ret);
}

static void trees(void **state)
{
    (void)state;
    static uint8_t leaf[300][VS_HASH_BYTES];
    struct vs_tree t = { 0 }, again;
    uint8_t root[VS_HASH_BYTES], ours[VS_HASH_BYTES];
    char hex[VS_HASH_HEX];
    vs_tree_root(&t, ours);
    vs_hex(ours, sizeof ours, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (size_t n = 1; n <= 300; n++) {
        struct vs_buf text = { 0 };
        vs_leaf(&n, sizeof n, leaf[n - 1]);
        vs_tree_add(&t, leaf[n - 1]);
        root_by_definition(leaf, n, root);
        vs_tree_root(&t, ours);
        assert_memory_equal(root, ours, sizeof root);
        vs_buf_char(&text, '{');
        vs_line_tree_format(&t, &text);
        vs_buf_char(&text, '}');
        assert_true(vs_line_tree(text.data, text.n, &again));
        vs_tree_root(&again, root);
        assert_memory_equal(root, ours, sizeof root);
        for (size_t cut = 0; cut < text.n - 1; cut += 7)
            assert_false(vs_line_tree(text.data, cut, &again));
        vs_buf_clear(&text);
    }
    /* the leaf of nothing, of RFC 6962's test vectors */
    vs_leaf("", 0, root);
    vs_hex(root, sizeof root, hex);
    assert_string_equal(hex, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
}

/* Follows a proof from its leaf to the root, as RFC 9162, 2.1.3.2, says it. */
static bool proof_holds(const char *text, uint64_t index, uint64_t size, const uint8_t *leaf, const uint8_t *expected)
{
    uint64_t fn = index, sn = size - 1;
    uint8_t r[VS_HASH_BYTES], p[VS_HASH_BYTES];
    size_t n;
    const char *at = strchr(strchr(text, '\n') + 1, '\n') + 1;
    memcpy(r, leaf, sizeof r);
    for (const char *end; *at != '\n'; at = end + 1) {
        end = strchr(at, '\n');
        if (sn == 0 || !vs_base64_parse(at, (size_t)(end - at), p, sizeof p, &n) || n != sizeof p)
            return false;
        if (fn & 1 || fn == sn) {
            vs_node(p, r, r);
            while (!(fn & 1) && fn)
                fn >>= 1, sn >>= 1;
        } else {
            vs_node(r, p, r);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && memcmp(r, expected, sizeof r) == 0;
}

/* Every leaf of every tree, also where the first leaves are gone but for their frontier. */
static void proofs(void **state)
{
    (void)state;
    static uint8_t leaf[40][VS_HASH_BYTES];
    struct vs_tree trees_of[41] = { 0 };
    for (uint64_t i = 0; i < 40; i++) {
        vs_leaf(&i, sizeof i, leaf[i]);
        trees_of[i + 1] = trees_of[i];
        vs_tree_add(&trees_of[i + 1], leaf[i]);
    }
    for (uint64_t gone = 0; gone < 40; gone++) {
        struct vs_proofs p;
        vs_proofs_init(&p, &trees_of[gone]);
        for (uint64_t i = gone; i < 40; i++)
            assert_int_equal(vs_proofs_add(&p, leaf[i]), VS_OK);
        for (uint64_t size = gone + 1; size <= 40; size++) {
            uint8_t root[VS_HASH_BYTES];
            vs_tree_root(&trees_of[size], root);
            for (uint64_t i = gone; i < size; i++) {
                struct vs_buf text = { 0 };
                assert_int_equal(vs_proofs_format(&p, i, size, "note", 4, &text), VS_OK);
                assert_true(proof_holds(text.data, i, size, leaf[i], root));
                vs_buf_clear(&text);
            }
            struct vs_buf none = { 0 };
            assert_int_equal(vs_proofs_format(&p, size, size, "", 0, &none), VS_E_INVALID);
            if (gone)
                assert_int_equal(vs_proofs_format(&p, gone - 1, size, "", 0, &none), VS_E_INVALID);
            vs_buf_clear(&none);
        }
        vs_proofs_clear(&p);
    }
}

/* RFC 8032, 7.1, test 2; RFC 4648, 10. */
static void vectors(void **state)
{
    (void)state;
    uint8_t seed[VS_SEED_BYTES], bytes[16];
    struct vs_key_secret secret;
    struct vs_signature signature;
    char hex[2 * VS_SIGNATURE_MOST + 1];
    vs_hex_bytes("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", sizeof seed, seed);
    assert_int_equal(vs_key_secret_read(VS_KEY_ED25519, seed, NULL, &secret), VS_OK);
    vs_hex(secret.public.bytes, secret.public.n, hex);
    assert_string_equal(hex, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    assert_int_equal(vs_key_sign_once(&secret, "\x72", 1, &signature), VS_OK);
    vs_hex(signature.bytes, signature.n, hex);
    assert_string_equal(hex, "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                             "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
    assert_true(vs_key_verify(&secret.public, "\x72", 1, &signature));
    assert_false(vs_key_verify(&secret.public, "\x73", 1, &signature));
    static const char *const pairs[][2] = {
        { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" },
    };
    static const char *const wrong[] = { "Z", "Zg=", "Zg===", "Zh==", "Zm9=", "Z===", "Zm9v\n", "====", "Zg==Zg==" };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct vs_buf text = { 0 };
        size_t n;
        vs_buf_add(&text, "", 0);
        vs_base64(pairs[i][0], strlen(pairs[i][0]), &text);
        assert_string_equal(text.data ? text.data : "", pairs[i][1]);
        assert_true(vs_base64_parse(pairs[i][1], strlen(pairs[i][1]), bytes, sizeof bytes, &n));
        assert_int_equal(n, strlen(pairs[i][0]));
        assert_memory_equal(bytes, pairs[i][0], n);
        vs_buf_clear(&text);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        size_t n;
        assert_false(vs_base64_parse(wrong[i], strlen(wrong[i]), bytes, sizeof bytes, &n));
    }
}

static bool sign_with_its_seed(uint8_t ret[64], const void *data, size_t n, const uint8_t seed[32], const uint8_t public[32])
{
    memcpy(ret, seed, 32);
    memcpy(ret + 32, public, 32);
    return n && *(const uint8_t *)data == 1;
}

/* Who signs in OpenSSL's place gets the seed and the public key, and is never asked with a key of another kind. */
static void another_signer(void **state)
{
    (void)state;
    for (int kind = VS_KEY_ED25519; kind <= VS_KEY_P256; kind++) {
        struct vs_key_secret secret;
        struct vs_signature signature;
        struct vs_key *key;
        uint8_t said[] = { 1, 2 };
        if (vs_key_secret_make((enum vs_key_kind)kind, &secret) != VS_OK)
            continue;                    /* not in FIPS mode */
        assert_int_equal(vs_key_create(&secret, &key), VS_OK);
        vs_key_sign_by(key, sign_with_its_seed, &secret);
        assert_int_equal(vs_key_sign(key, said, 1, &signature), VS_OK);
        if (kind == VS_KEY_ED25519 && vs_key_kind_here() == VS_KEY_ED25519) {
            assert_int_equal(signature.n, 64);
            assert_memory_equal(signature.bytes, secret.seed, 32);
            assert_memory_equal(signature.bytes + 32, secret.public.bytes, 32);
            assert_int_equal(vs_key_sign(key, said + 1, 1, &signature), VS_E_UNSUPPORTED);
        } else {
            assert_true(vs_key_verify(&secret.public, said, 1, &signature));
        }
        vs_key_free(key);
    }
}

/* RFC 6979, A.2.5, "sample" with SHA-256. */
static void p256_vectors(void **state)
{
    (void)state;
    uint8_t seed[VS_SEED_BYTES], settled[71];
    struct vs_public public = { .n = VS_PUBLIC_MOST, .bytes = { 4 } };
    struct vs_signature signature = { .n = VS_SIGNATURE_MOST }, other;
    struct vs_key_secret secret, made;
    struct vs_key *key;
    vs_hex_bytes("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721", sizeof seed, seed);
    vs_hex_bytes("60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6", 32, public.bytes + 1);
    vs_hex_bytes("7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299", 32, public.bytes + 33);
    vs_hex_bytes("3046022100efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
                 "022100f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8", signature.n, signature.bytes);
    assert_int_equal(vs_key_secret_read(VS_KEY_P256, seed, &public, &secret), VS_OK);
    assert_false(vs_key_verify(&secret.public, "sample", 6, &signature));        /* its s is the greater one */
    vs_signature_settle(&signature, VS_KEY_P256);
    vs_hex_bytes("3045022100efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
                 "02200834e36ad29a83bf2bc9385e491d6099c8fdf9d1ed67aa7ea5f51f93782857a9", 71, settled);
    assert_int_equal(signature.n, 71);
    assert_memory_equal(signature.bytes, settled, sizeof settled);
    vs_signature_settle(&signature, VS_KEY_P256);
    assert_memory_equal(signature.bytes, settled, sizeof settled);
    assert_true(vs_key_verify(&secret.public, "sample", 6, &signature));
    assert_false(vs_key_verify(&secret.public, "Sample", 6, &signature));
    for (size_t i = 0; i < signature.n; i++) {
        other = signature;
        other.bytes[i] ^= 1;
        assert_false(vs_key_verify(&secret.public, "sample", 6, &other));
    }
    struct vs_buf vkey = { 0 };
    vs_vkey_format("veritas-audit/b18b86ce1389e46d", &secret.public, &vkey);
    assert_string_equal(vkey.data, "veritas-audit/b18b86ce1389e46d+5a7a78cc+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABGD+"
                                   "1LolWp0xyWHrdMY1bWjASbiSO2H6bOZpYi5g8p+2eQP+EAi4vJmkGunpVii8ZPLxsgwtfp9Rd6PClNRGIpk=");
    vs_buf_clear(&vkey);
    /* One key signs several texts, and each signature is of its own. */
    assert_int_equal(vs_key_secret_make(VS_KEY_P256, &made), VS_OK);
    assert_false(vs_public_equal(&made.public, &secret.public));
    const struct vs_key_secret *const both[] = { &secret, &made };
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(vs_key_create(both[i], &key), VS_OK);
        for (const char *text = "sample"; *text; text++) {
            assert_int_equal(vs_key_sign(key, text, strlen(text), &other), VS_OK);
            assert_true(vs_key_verify(&both[i]->public, text, strlen(text), &other));
            assert_false(vs_key_verify(&both[1 - i]->public, text, strlen(text), &other));
        }
        vs_key_free(key);
    }
}

/* The note's signature, and so many bytes of others in its place. */
static void put_sealed(const struct vs_buf *note, const uint8_t *sealed, size_t n, struct vs_buf *ret)
{
    const char *end = note->data + note->n - 1;
    while (end[-1] != ' ')
        end--;
    vs_buf_reset(ret);
    vs_buf_add(ret, note->data, (size_t)(end - note->data));
    vs_base64(sealed, n, ret);
    vs_buf_char(ret, '\n');
}

/* A whole line with a signature of another form was changed, and is no line that a kill left. */
static void forms(const struct vs_buf *note, const struct vs_keys *keys, enum vs_key_kind kind)
{
    uint8_t sealed[256] = { 0 }, other[256];
    size_t n, used, r;
    struct vs_note again;
    struct vs_buf text = { 0 };
    const char *base64 = note->data + note->n - 1;
    while (base64[-1] != ' ')
        base64--;
    assert_true(vs_base64_parse(base64, (size_t)(note->data + note->n - 1 - base64), sealed, sizeof sealed, &n));
    put_sealed(note, sealed, n, &text);
    assert_int_equal(vs_note_parse(text.data, text.n, keys, &again, &used), VS_OK);
    for (size_t more = 1; more < 100; more++) {
        put_sealed(note, sealed, n + more, &text);
        assert_int_equal(vs_note_parse(text.data, text.n, keys, &again, &used), VS_E_MALFORMED);
        assert_int_equal(used, text.n);
    }
    for (int by = -3; kind == VS_KEY_P256 && by < 4; by++) {    /* each of the three lengths */
        const size_t at[] = { 4 + 1, 4 + 3, 4 + 5 + (size_t)sealed[4 + 3] };
        for (size_t i = 0; by && i < 3; i++) {
            memcpy(other, sealed, sizeof other);
            other[at[i]] = (uint8_t)(other[at[i]] + by);
            put_sealed(note, other, n, &text);
            assert_int_equal(vs_note_parse(text.data, text.n, keys, &again, &used), VS_E_MALFORMED);
        }
    }
    if (kind == VS_KEY_P256) {           /* r and s by themselves */
        r = sealed[4 + 3];
        memcpy(other, sealed, 4);
        memcpy(other + 4, sealed + 4 + 4 + r - 32, 32);
        memcpy(other + 36, sealed + n - 32, 32);
        put_sealed(note, other, 68, &text);
        assert_int_equal(vs_note_parse(text.data, text.n, keys, &again, &used), VS_E_MALFORMED);
    }
    for (const char *c = "!=-\t\\"; *c; c++) {     /* what is no base64 */
        put_sealed(note, sealed, n, &text);
        text.data[text.n - 20] = *c;
        assert_int_equal(vs_note_parse(text.data, text.n, keys, &again, &used), VS_E_MALFORMED);
    }
    vs_buf_clear(&text);
}

static void notes(enum vs_key_kind first, enum vs_key_kind rest)
{
    struct vs_key_secret secret[3];
    struct vs_public trusted;
    struct vs_buf lines_of_keys = { 0 }, text = { 0 }, vkey = { 0 };
    struct vs_keys keys;
    struct vs_note note = { .size = 1234, .time_ms = 1700000000000 }, again;
    const struct vs_past past = { .size = 1200, .root = { 1, 2, 3 } };
    size_t used;
    int status;
    memset(note.root, 7, sizeof note.root);
    memset(note.head, 9, sizeof note.head);
    for (int i = 0; i < 3; i++)
        assert_int_equal(vs_key_secret_make(i ? rest : first, &secret[i]), VS_OK);
    for (int i = 0; i < 2; i++) {
        size_t first_n = lines_of_keys.n;
        assert_int_equal(vs_keys_line((uint64_t)i + 1, &secret[i].public, i ? &past : NULL, &secret[0], &lines_of_keys), VS_OK);
        for (size_t n = 1; i && n < lines_of_keys.n - first_n; n++) {   /* what a kill leaves of a line is none */
            struct vs_buf cut = { 0 };
            vs_buf_add(&cut, lines_of_keys.data, first_n + n);
            vs_buf_str(&cut, "\n");
            assert_int_equal(vs_keys_parse(cut.data, cut.n, &keys, NULL), VS_OK);
            assert_int_equal(keys.n, n + 1 == lines_of_keys.n - first_n ? 2 : 1);
            vs_keys_clear(&keys);
            vs_buf_clear(&cut);
        }
    }
    assert_int_equal(vs_keys_parse(lines_of_keys.data, lines_of_keys.n, &keys, NULL), VS_OK);
    assert_int_equal(keys.n, 2);
    assert_int_equal(keys.past[0].size, 0);
    assert_memory_equal(&keys.past[1], &past, sizeof past);
    vs_vkey_format(keys.origin, &keys.key[0], &vkey);
    assert_true(vs_vkey_parse(vkey.data, vkey.n, &trusted));
    assert_true(vs_public_equal(&trusted, &secret[0].public));
    for (size_t i = 0; i < vkey.n; i++) {
        vkey.data[i] ^= 1;
        assert_false(vs_vkey_parse(vkey.data, vkey.n, &trusted));
        vkey.data[i] ^= 1;
    }
    for (int i = 0; i < 3; i++) {       /* the third key is not of this log */
        struct vs_key *signer;
        vs_buf_reset(&text);
        assert_int_equal(vs_key_create(&secret[i], &signer), VS_OK);
        assert_int_equal(vs_note_format(&note, keys.origin, signer, &text), VS_OK);
        vs_key_free(signer);
        assert_int_equal(vs_note_parse(text.data, text.n, &keys, &again, &used), i < 2 ? VS_OK : VS_E_MALFORMED);
    }
    struct vs_key *signer;
    vs_buf_reset(&text);
    assert_int_equal(vs_key_create(&secret[1], &signer), VS_OK);
    vs_note_format(&note, keys.origin, signer, &text);
    vs_key_free(signer);
    assert_int_equal(vs_note_parse(text.data, text.n, &keys, &again, &used), VS_OK);
    assert_int_equal(used, text.n);
    assert_int_equal(again.size, 1234);
    assert_memory_equal(again.root, note.root, sizeof note.root);
    for (size_t i = 0; i < text.n; i++) {
        assert_int_equal(vs_note_parse(text.data, i, &keys, &again, &used), VS_E_SHORT);
        struct vs_buf cut = { 0 };      /* and then a newline: still cut */
        vs_buf_add(&cut, text.data, i);
        vs_buf_str(&cut, "\n");
        status = vs_note_parse(cut.data, cut.n, &keys, &again, &used);
        assert_int_equal(status, i + 1 == text.n ? VS_OK : VS_E_SHORT);
        assert_int_equal(used, cut.n);
        vs_buf_clear(&cut);
        for (int bit = 0; bit < 8; bit++) {
            text.data[i] = (char)(text.data[i] ^ 1 << bit);
            status = vs_note_parse(text.data, text.n, &keys, &again, &used);
            assert_int_equal(status, i + 1 == text.n ? VS_E_SHORT : i > strlen(keys.origin) ? VS_E_MALFORMED : VS_E_NOT_FOUND);
            assert_true(used > 0);
            text.data[i] = (char)(text.data[i] ^ 1 << bit);
        }
    }
    for (size_t i = 0; i < text.n; i++)  /* what a kill or a power failure left, and then the next one */
        for (size_t zeros = 0; zeros < 3; zeros++) {
            struct vs_buf two = { 0 };
            vs_buf_add(&two, text.data, i);
            vs_buf_add(&two, "\0\0", zeros);
            vs_buf_str(&two, i && !zeros && text.data[i - 1] == '\n' ? "" : "\n");
            vs_buf_add(&two, text.data, text.n);
            status = vs_note_parse(two.data, two.n, &keys, &again, &used);
            assert_int_equal(status, i + 1 == text.n && !zeros ? VS_OK : VS_E_SHORT);
            assert_int_equal(used, two.n - text.n);
            vs_buf_clear(&two);
        }
    forms(&text, &keys, rest);
    /* A key that the one before it did not sign. */
    vs_keys_clear(&keys);
    assert_int_equal(vs_keys_line(3, &secret[2].public, NULL, &secret[2], &lines_of_keys), VS_OK);
    assert_int_equal(vs_keys_parse(lines_of_keys.data, lines_of_keys.n, &keys, NULL), VS_E_MALFORMED);
    vs_buf_clear(&lines_of_keys);
    vs_buf_clear(&text);
    vs_buf_clear(&vkey);
}

static void notes_of_each_kind(void **state)
{
    (void)state;
    notes(VS_KEY_ED25519, VS_KEY_ED25519);
    notes(VS_KEY_P256, VS_KEY_P256);
    notes(VS_KEY_P256, VS_KEY_ED25519); /* a key from outside may be of the other one */
    notes(VS_KEY_ED25519, VS_KEY_P256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads), cmocka_unit_test(trees), cmocka_unit_test(every_byte_flipped),
        cmocka_unit_test(dropped_doubled_swapped_inserted), cmocka_unit_test(torn),
        cmocka_unit_test(vectors), cmocka_unit_test(notes_of_each_kind), cmocka_unit_test(another_signer),
        cmocka_unit_test(p256_vectors),
        cmocka_unit_test(proofs),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
