/* rooms: import tensor base */
#include "base/buf.h"
#include "base/bytes.h"
#include "import/gguf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Files are spelled as words: =abc bytes, $abc a string with its u64 length, 1: 2: 4: 8:N a little-endian number,
 * z:N zeros, p:N zeros up to a multiple of N. */
static struct vs_buf build(const char *spec)
{
    struct vs_buf b = { 0 };
    char *words = strdup(spec), *save = NULL;
    assert_non_null(words);
    for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        uint64_t v = w[0] == '=' || w[0] == '$' ? strlen(w + 1) : strtoull(w + 2, NULL, 0);
        uint8_t number[8];
        vs_store_u64le(number, v);
        if (w[0] == '$')
            vs_buf_add(&b, number, 8);
        if (w[0] == '$' || w[0] == '=') {
            vs_buf_str(&b, w + 1);
        } else if (w[0] == 'z' || w[0] == 'p') {
            size_t n = (size_t)(w[0] == 'z' ? v : (v - b.n % v) % v);
            char *zeros = vs_buf_grow(&b, n);
            assert_non_null(zeros);
            memset(zeros, 0, n);
        } else {
            vs_buf_add(&b, number, (size_t)(w[0] - '0'));
        }
    }
    free(words);
    assert_int_equal(b.status, VS_OK);
    return b;
}

/* Parses from exactly sized memory, so that a sanitizer sees every read past the end. */
static int parse(const struct vs_buf *b, size_t n_head, uint64_t file_size, struct vs_gguf **ret, struct vs_error *err,
                 uint8_t **ret_head)
{
    *ret_head = malloc(n_head ? n_head : 1);
    assert_non_null(*ret_head);
    if (n_head)
        memcpy(*ret_head, b->data, n_head);
    return vs_gguf_open(*ret_head, n_head, file_size, ret, err);
}

#define HEAD(n_tensors, n_kv) "=GGUF 4:3 8:" n_tensors " 8:" n_kv " "
#define KV_U32(key, v) "$" key " 4:4 4:" v " "
#define TENSOR(name, ne, type, offset) "$" name " 4:1 8:" ne " 4:" type " 8:" offset " "
#define PAD "p:32 "

static const char good[] =
    HEAD("2", "9")
    "$general.architecture 4:8 $llama "
    KV_U32("general.alignment", "64")
    "$a.i8 4:1 1:0xff "
    "$a.f64 4:12 8:0x3ff8000000000000 "
    "$a.names 4:9 4:8 8:3 $a $bc $d "
    "$a.u16s 4:9 4:2 8:2 2:7 2:65535 "
    "$a.yes 4:7 1:1 "
    "$a.empty 4:9 4:5 8:0 "
    "$a.big 4:10 8:0xffffffffffffffff "
    "$w 4:2 8:64 8:3 4:2 8:0 "
    "$b 4:1 8:5 4:0 8:128 "
    "p:64 z:128 z:20 ";

static void test_good_file(void **state)
{
    (void)state;
    struct vs_buf b = build(good);
    struct vs_gguf *g = NULL;
    struct vs_error err = { 0 };
    uint8_t *head;
    int code = parse(&b, b.n, b.n, &g, &err, &head);
    assert_string_equal(err.text, "");
    assert_int_equal(code, VS_OK);
    assert_int_equal(vs_gguf_version(g), 3);
    assert_int_equal(vs_gguf_entries(g)->n, 9);
    assert_int_equal(vs_gguf_n_tensors(g), 2);

    struct vs_str s;
    assert_int_equal(vs_entries_str(vs_gguf_entries(g), "general.architecture", &s, &err), VS_OK);
    assert_int_equal(s.n, 5);
    assert_memory_equal(s.data, "llama", 5);
    const struct vs_entry *kv = vs_entries_find(vs_gguf_entries(g), "a.i8");
    int64_t i;
    uint64_t u = 99;
    double f;
    assert_true(vs_entry_int(kv, 0, &i));
    assert_int_equal(i, -1);
    assert_false(vs_entry_uint(kv, 0, &u));
    assert_int_equal(u, 99);
    assert_false(vs_entry_int(kv, 1, &i));
    assert_true(vs_entry_float(vs_entries_find(vs_gguf_entries(g), "a.f64"), 0, &f));
    assert_true(f == 1.5);
    kv = vs_entries_find(vs_gguf_entries(g), "a.u16s");
    assert_true(vs_entry_uint(kv, 1, &u));
    assert_int_equal(u, 65535);
    kv = vs_entries_find(vs_gguf_entries(g), "a.big");
    assert_true(vs_entry_uint(kv, 0, &u));
    assert_true(u == UINT64_MAX);
    assert_false(vs_entry_int(kv, 0, &i));
    assert_true(vs_entry_float(kv, 0, &f));
    assert_true(f == 0x1p64);

    struct vs_entry_cursor cursor = { 0 };
    kv = vs_entries_find(vs_gguf_entries(g), "a.names");
    const char *names[] = { "a", "bc", "d" };
    for (int j = 0; j < 3; j++) {
        assert_true(vs_entry_next_str(kv, &cursor, &s));
        assert_int_equal(s.n, strlen(names[j]));
        assert_memory_equal(s.data, names[j], s.n);
    }
    assert_false(vs_entry_next_str(kv, &cursor, &s));
    assert_null(vs_entries_find(vs_gguf_entries(g), "a.name"));

    uint32_t n;
    float f32;
    bool yes;
    assert_int_equal(vs_entries_u32(vs_gguf_entries(g), "absent", &n, &err), VS_E_NOT_FOUND);
    assert_string_equal(err.text, "");
    assert_int_equal(vs_entries_u32(vs_gguf_entries(g), "a.i8", &n, &err), VS_E_MALFORMED);
    assert_string_equal(err.text, "GGUF: key 'a.i8' is -1, outside 0 to 4294967295");
    assert_int_equal(vs_entries_u32(vs_gguf_entries(g), "a.big", &n, &err), VS_E_MALFORMED);
    assert_int_equal(vs_entries_u32(vs_gguf_entries(g), "a.u16s", &n, &err), VS_E_MALFORMED);
    assert_string_equal(err.text, "GGUF: key 'a.u16s' is an array of u16 instead of an integer");
    assert_int_equal(vs_entries_bool(vs_gguf_entries(g), "a.yes", &yes, &err), VS_OK);
    assert_true(yes);
    assert_int_equal(vs_entries_bool(vs_gguf_entries(g), "a.i8", &yes, &err), VS_E_MALFORMED);
    assert_int_equal(vs_entries_f32(vs_gguf_entries(g), "a.f64", &f32, &err), VS_OK);
    assert_true(f32 == 1.5f);
    assert_int_equal(vs_entries_f32(vs_gguf_entries(g), "a.yes", &f32, &err), VS_E_MALFORMED);
    assert_int_equal(vs_entries_str(vs_gguf_entries(g), "a.yes", &s, &err), VS_E_MALFORMED);

    const struct vs_gguf_tensor *t = vs_gguf_tensor(g, "w");
    assert_non_null(t);
    assert_int_equal(t->n_bytes, 3 * 36);
    assert_int_equal(t->offset, vs_gguf_data_start(g));
    assert_int_equal(t->ne[1], 3);
    assert_int_equal(t->ne[3], 1);
    t = vs_gguf_tensor(g, "b");
    assert_int_equal(t->offset + t->n_bytes, b.n);
    assert_null(vs_gguf_tensor(g, "c"));
    vs_gguf_close(g);
    free(head);
    vs_buf_clear(&b);
}

/* Every prefix of a file that goes on is SHORT; every cut file is MALFORMED; none reads past its end. */
static void test_every_cut(void **state)
{
    (void)state;
    struct vs_buf b = build(good);
    struct vs_gguf *g = NULL;
    struct vs_error err;
    uint8_t *head;
    assert_int_equal(parse(&b, b.n, b.n, &g, &err, &head), VS_OK);
    size_t header = (size_t)vs_gguf_data_start(g) - 63;         /* at least so many bytes are needed */
    vs_gguf_close(g);
    free(head);
    for (size_t n = 0; n < b.n; n++) {
        int code = parse(&b, n, b.n, &g, &err, &head);
        if (code == VS_OK)
            vs_gguf_close(g);
        free(head);
        if (n < header)
            assert_int_equal(code, VS_E_SHORT);
        else
            assert_true(code == VS_OK || code == VS_E_SHORT);
        code = parse(&b, n, n, &g, &err, &head);
        free(head);
        assert_int_equal(code, VS_E_MALFORMED);
        assert_true(strlen(err.text) > 20);
    }
    vs_buf_clear(&b);
}

static const struct fault {
    const char *spec;
    int code;
    const char *text;                           /* what the message must contain */
} faults[] = {
    { "", VS_E_MALFORMED, "the file ends inside the first bytes" },
    { "=GG", VS_E_MALFORMED, "the file ends inside the first bytes" },
    { "=GGML 4:3 8:0 8:0", VS_E_MALFORMED, "it begins with 'GGML'" },
    { "1:0 1:255 1:10 1:39 z:20", VS_E_MALFORMED, "it begins with '\\x00\\xff\\x0a\\x27'" },
    { "=GGUF 4:1 4:0 4:0", VS_E_UNSUPPORTED, "version 1 is not supported" },
    { "=GGUF 4:4 8:0 8:0", VS_E_UNSUPPORTED, "version 4 is not supported" },
    { "=GGUF 4:0 8:0 8:0", VS_E_UNSUPPORTED, "version 0 is not supported" },
    { "=GGUF 4:0x03000000 8:0 8:0", VS_E_UNSUPPORTED, "big-endian" },
    { HEAD("0", "1"), VS_E_MALFORMED, "1 metadata keys announced" },
    { HEAD("0", "0x7fffffff") "z:1000", VS_E_MALFORMED, "2147483647 metadata keys announced" },
    { HEAD("0", "0x100000000") "z:1000", VS_E_MALFORMED, "metadata keys announced" },
    { HEAD("0", "0x8000000000000000") "z:1000", VS_E_MALFORMED, "metadata keys announced" },
    { HEAD("0", "65537") "z:1000000", VS_E_MALFORMED, "65537 metadata keys announced" },
    { HEAD("0x80000000", "0") "z:1000", VS_E_MALFORMED, "2147483648 tensors announced" },
    { HEAD("0xffffffffffffffff", "0") "z:1000", VS_E_MALFORMED, "tensors announced" },
    { HEAD("0x1c71c71c71c71c8", "0") "z:1000", VS_E_MALFORMED, "tensors announced" },      /* x 144 wraps */
    { HEAD("0", "1") "8:0 4:4 4:1 z:9", VS_E_MALFORMED, "metadata key 0 is 0 bytes long" },
    { HEAD("0", "1") "8:2000 z:3000", VS_E_MALFORMED, "metadata key 0 is 2000 bytes long" },
    { HEAD("0", "1") "8:0xffffffffffffffff z:30", VS_E_MALFORMED, "the file ends inside metadata key 0" },
    { HEAD("0", "1") "8:0x7ffffffffffffff8 z:30", VS_E_MALFORMED, "the file ends inside metadata key 0" },
    { HEAD("0", "1") "$k 4:13 z:30", VS_E_MALFORMED, "key 'k' has the unknown value type 13" },
    { HEAD("0", "1") "$k 4:0xffffffff z:30", VS_E_MALFORMED, "unknown value type 4294967295" },
    { HEAD("0", "1") "$k 4:8 8:31 z:30", VS_E_MALFORMED, "the file ends inside key 'k': 31 bytes wanted" },
    { HEAD("0", "1") "$k 4:8 8:0xffffffffffffffff z:30", VS_E_MALFORMED, "the file ends inside key 'k'" },
    { HEAD("0", "1") "$k 4:7 1:2", VS_E_MALFORMED, "key 'k' holds the value 2 where only 0 and 1 are bools" },
    { HEAD("0", "1") "$k 4:9 4:7 8:3 1:0 1:1 1:255", VS_E_MALFORMED, "the value 255" },
    { HEAD("0", "1") "$k 4:9 4:13 8:1 z:30", VS_E_MALFORMED, "key 'k' has the unknown element type 13" },
    { HEAD("0", "1") "$k 4:9 4:9 8:1 4:4 8:1 4:1", VS_E_UNSUPPORTED, "key 'k' is an array of arrays" },
    { HEAD("0", "1") "$k 4:9 4:4 8:8 z:31", VS_E_MALFORMED, "key 'k' has 8 elements of type u32, more than the rest" },
    { HEAD("0", "1") "$k 4:9 4:10 8:1 4:0", VS_E_MALFORMED,
      "key 'k' has 1 element of type u64, more than the rest of the file (4 bytes)" },
    { HEAD("0", "1") "$k 4:9 4:4 8:0x4000000000000001 z:31", VS_E_MALFORMED, "key 'k' has 4611686018427387905 elements" },
    { HEAD("0", "1") "$k 4:9 4:8 8:0x2000000000000000 z:31", VS_E_MALFORMED, "elements of type string" },
    { HEAD("0", "1") "$k 4:9 4:8 8:2 $a 8:5 =abcd", VS_E_MALFORMED, "the file ends inside key 'k': 5 bytes wanted" },
    { HEAD("0", "2") KV_U32("k", "1") KV_U32("k", "1"), VS_E_MALFORMED, "the key 'k' occurs twice" },
    { HEAD("0", "3") KV_U32("k", "1") KV_U32("j", "1") "$k 4:8 $x", VS_E_MALFORMED, "the key 'k' occurs twice" },
    { HEAD("0", "1") KV_U32("general.alignment", "0"), VS_E_MALFORMED, "general.alignment is 0, which is not a power" },
    { HEAD("0", "1") KV_U32("general.alignment", "24"), VS_E_MALFORMED, "general.alignment is 24" },
    { HEAD("0", "1") KV_U32("general.alignment", "0xffffffff"), VS_E_MALFORMED, "general.alignment is 4294967295" },
    { HEAD("0", "1") "$general.alignment 4:10 8:32", VS_E_MALFORMED, "general.alignment has type u64 instead of u32" },
    { HEAD("0", "1") "$general.alignment 4:9 4:4 8:1 4:32", VS_E_MALFORMED, "general.alignment has type array" },
    { HEAD("1", "0") "8:0 4:1 8:4 4:0 8:0 z:99", VS_E_MALFORMED, "the name of tensor 0 is 0 bytes long" },
    { HEAD("1", "0") "8:256 z:400", VS_E_MALFORMED, "the name of tensor 0 is 256 bytes long" },
    { HEAD("1", "0") "8:0xffffffffffffffff z:99", VS_E_MALFORMED, "the file ends inside the description of tensor 0" },
    { HEAD("1", "0") "$w 4:0 4:0 8:0 z:99", VS_E_MALFORMED, "tensor 'w' has 0 dimensions" },
    { HEAD("1", "0") "$w 4:5 8:1 8:1 8:1 8:1 8:1 4:0 8:0 z:99", VS_E_MALFORMED, "tensor 'w' has 5 dimensions" },
    { HEAD("1", "0") "$w 4:0xffffffff z:99", VS_E_MALFORMED, "4294967295 dimensions" },
    { HEAD("1", "0") TENSOR("w", "0", "0", "0") "z:99", VS_E_MALFORMED, "dimension 0 of tensor 'w' is 0" },
    { HEAD("1", "0") TENSOR("w", "0xffffffffffffffff", "0", "0") "z:99", VS_E_MALFORMED, "dimension 0 of tensor 'w'" },
    { HEAD("1", "0") "$w 4:2 8:4 8:0x10000000001 4:0 8:0 z:99", VS_E_MALFORMED, "dimension 1 of tensor 'w'" },
    { HEAD("1", "0") "$w 4:4 8:0x80000000 8:0x80000000 8:4 8:1 4:0 8:0 z:99", VS_E_MALFORMED, "is larger than the file" },
    { HEAD("1", "0") "$w 4:4 8:0x8000000000 8:0x8000000000 8:0x8000000000 8:0x8000000000 4:0 8:0 z:99", VS_E_MALFORMED,
      "is larger than the file" },
    { HEAD("1", "0") TENSOR("w", "32", "1000", "0") "z:99", VS_E_UNSUPPORTED, "unknown type number 1000" },
    { HEAD("1", "0") TENSOR("w", "32", "0x80000000", "0") "z:99", VS_E_UNSUPPORTED, "unknown type number 2147483648" },
    { HEAD("1", "0") TENSOR("w", "32", "31", "0") "z:99", VS_E_UNSUPPORTED, "type Q4_0_4_4 (number 31)" },
    { HEAD("1", "0") TENSOR("w", "256", "212", "0") "z:999", VS_E_UNSUPPORTED, "rows of Q4_K interleaved" },
    { HEAD("1", "0") TENSOR("w", "33", "2", "0") "z:999", VS_E_MALFORMED, "rows of 33 elements, not a multiple of the 32" },
    { HEAD("1", "0") TENSOR("w", "128", "12", "0") "z:999", VS_E_MALFORMED, "not a multiple of the 256 in a Q4_K block" },
    { HEAD("2", "0") TENSOR("w", "8", "0", "0") TENSOR("w", "8", "0", "32") PAD "z:64", VS_E_MALFORMED,
      "there are two tensors named 'w'" },
    { HEAD("1", "0") TENSOR("w", "8", "0", "16") PAD "z:64", VS_E_MALFORMED, "offset 16 is not a multiple" },
    { HEAD("1", "0") TENSOR("w", "8", "0", "0") PAD "z:31", VS_E_MALFORMED, "ends past the end of the file" },
    { HEAD("1", "0") TENSOR("w", "8", "0", "0"), VS_E_MALFORMED, "ends past the end of the file" },
    { HEAD("1", "0") TENSOR("w", "8", "0", "0xffffffffffffffe0") PAD "z:64", VS_E_MALFORMED, "ends past the end" },
    { HEAD("2", "0") TENSOR("w", "8", "0", "32") TENSOR("v", "8", "0", "0") PAD "z:64", VS_E_MALFORMED,
      "tensor 'w' leaves a gap" },
    { HEAD("2", "0") TENSOR("w", "16", "0", "0") TENSOR("v", "8", "0", "32") PAD "z:96", VS_E_MALFORMED,
      "tensor 'v' overlaps or precedes" },
    { HEAD("2", "0") TENSOR("w", "8", "0", "0") TENSOR("v", "8", "0", "0") PAD "z:64", VS_E_MALFORMED,
      "tensor 'v' overlaps or precedes" },
    { HEAD("1", "1") KV_U32("general.alignment", "0x80000000") TENSOR("w", "8", "0", "0") "z:64", VS_E_MALFORMED,
      "ends past the end" },
};

static void test_faults(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct vs_buf b = build(faults[i].spec);
        struct vs_gguf *g = NULL;
        struct vs_error err = { 0 };
        uint8_t *head;
        int code = parse(&b, b.n, b.n, &g, &err, &head);
        if (code != faults[i].code || !strstr(err.text, faults[i].text))
            fail_msg("%s: %s '%s', expected '%s'", faults[i].spec, vs_status_name(code), err.text, faults[i].text);
        if (code == VS_OK)
            vs_gguf_close(g);
        assert_int_equal(err.code, code);
        assert_null(strchr(err.text, '\n'));
        assert_int_equal(vs_gguf_open(head, b.n, b.n, &g, NULL), code);
        free(head);
        vs_buf_clear(&b);
    }
}

/* Names that share all but their end, in descending order, and a duplicate at the very end: seconds if anything here
 * were quadratic. */
static void test_many_keys_and_tensors(void **state)
{
    (void)state;
    for (int twice = 0; twice < 2; twice++) {
        enum { N_KV = 65536, N_TENSORS = 100000 };
        struct vs_buf b = build("=GGUF 4:3 8:100000 8:65536");
        char name[32];
        uint8_t number[8];
        for (int i = N_KV; i-- > 0;) {
            snprintf(name, sizeof name, "key.key.key.%06d", i);
            vs_store_u64le(number, strlen(name));
            vs_buf_add(&b, number, 8);
            vs_buf_str(&b, name);
            vs_buf_add(&b, "\0\0\0\0\1", 5);
        }
        for (int i = N_TENSORS; i-- > 0;) {
            snprintf(name, sizeof name, "blk.%06d.weight", i == 0 && twice ? N_TENSORS - 1 : i);
            vs_store_u64le(number, strlen(name));
            vs_buf_add(&b, number, 8);
            vs_buf_str(&b, name);
            vs_buf_add(&b, "\1\0\0\0\1\0\0\0\0\0\0\0\0\0\0", 16);
            vs_store_u64le(number, (uint64_t)(N_TENSORS - 1 - i) * 32);
            vs_buf_add(&b, number, 8);
        }
        assert_int_equal(b.status, VS_OK);
        struct vs_gguf *g = NULL;
        struct vs_error err = { 0 };
        uint64_t file_size = b.n + (uint64_t)N_TENSORS * 32 + 32;
        uint8_t *head;
        int code = parse(&b, b.n, file_size, &g, &err, &head);
        if (twice) {
            assert_int_equal(code, VS_E_MALFORMED);
            assert_string_equal(err.text, "GGUF: there are two tensors named 'blk.099999.weight'");
        } else {
            assert_string_equal(err.text, "");
            assert_int_equal(code, VS_OK);
            assert_non_null(vs_entries_find(vs_gguf_entries(g), "key.key.key.000000"));
            assert_non_null(vs_entries_find(vs_gguf_entries(g), "key.key.key.065535"));
            assert_null(vs_entries_find(vs_gguf_entries(g), "key.key.key.065536"));
            assert_int_equal(vs_gguf_tensor(g, "blk.000000.weight")->offset,
                             vs_gguf_data_start(g) + (N_TENSORS - 1) * 32);
            vs_gguf_close(g);
        }
        free(head);
        vs_buf_clear(&b);
    }
}

static void test_header_too_large(void **state)
{
    (void)state;
    struct vs_buf b = build(HEAD("0", "1") "$k 4:9 4:0 8:0x40000000");
    struct vs_gguf *g;
    struct vs_error err = { 0 };
    assert_int_equal(vs_gguf_open(b.data, b.n, (uint64_t)1 << 40, &g, &err), VS_E_MALFORMED);
    assert_non_null(strstr(err.text, "larger than 256 MiB"));
    vs_buf_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_file),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_many_keys_and_tensors),
        cmocka_unit_test(test_header_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
