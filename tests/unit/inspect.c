/* rooms: import tensor ipc base */
#include "prog/worker/inspect.c"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void u32(struct vs_buf *b, uint32_t v)
{
    uint8_t x[4];
    vs_store_u32le(x, v);
    vs_buf_add(b, x, 4);
}

static void u64(struct vs_buf *b, uint64_t v)
{
    uint8_t x[8];
    vs_store_u64le(x, v);
    vs_buf_add(b, x, 8);
}

static void str(struct vs_buf *b, const char *s)
{
    u64(b, strlen(s));
    vs_buf_str(b, s);
}

static void key(struct vs_buf *b, const char *name, uint32_t type)
{
    str(b, name);
    u32(b, type);
}

/* A file of an architecture nobody knows, with per-layer head counts, odd text and numbers. */
static struct vs_buf strange_file(void)
{
    struct vs_buf b = { 0 };
    vs_buf_str(&b, "GGUF");
    u32(&b, 3);
    u64(&b, 2);
    u64(&b, 12);
    key(&b, "general.architecture", 8), str(&b, "odd");
    key(&b, "bad\xff" "text", 8), str(&b, "a\xc3\xa9\xc3z");
    key(&b, "big", 10), u64(&b, UINT64_MAX);
    key(&b, "nan", 6), u32(&b, 0x7fc00000);
    key(&b, "yes", 7), vs_buf_char(&b, 1);
    key(&b, "odd.block_count", 4), u32(&b, 3);
    key(&b, "odd.embedding_length", 4), u32(&b, 64);
    key(&b, "odd.context_length", 4), u32(&b, 100);
    key(&b, "odd.attention.head_count", 4), u32(&b, 4);
    key(&b, "odd.attention.head_count_kv", 9), u32(&b, 4), u64(&b, 3), u32(&b, 2), u32(&b, 0), u32(&b, 1);
    key(&b, "odd.attention.value_length", 4), u32(&b, 32);
    key(&b, "names", 9), u32(&b, 8), u64(&b, 10);
    for (int i = 0; i < 10; i++)
        str(&b, "x\n");
    str(&b, "w"), u32(&b, 2), u64(&b, 64), u64(&b, 2), u32(&b, 2), u64(&b, 0);
    str(&b, "v"), u32(&b, 1), u64(&b, 8), u32(&b, 0), u64(&b, 96);
    while (b.n % 32)
        vs_buf_char(&b, 0);
    for (int i = 0; i < 96 + 32; i++)
        vs_buf_char(&b, 0);
    assert_int_equal(b.status, VS_OK);
    return b;
}

static json_int_t at(const json_t *o, const char *a, const char *b)
{
    json_t *v = json_object_get(json_object_get(o, a), b);
    assert_true(json_is_integer(v));
    return json_integer_value(v);
}

static void test_any_architecture(void **state)
{
    (void)state;
    struct vs_buf b = strange_file();
    struct vs_gguf *g;
    struct vs_error err = { 0 };
    json_t *out;
    int code = vs_gguf_open(b.data, b.n, b.n, &g, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(code, VS_OK);
    assert_int_equal(vs_inspect(g, 0, NULL, &out, &err), VS_OK);

    assert_string_equal(json_string_value(json_object_get(out, "architecture")), "odd");
    json_t *metadata = json_object_get(out, "metadata");
    assert_string_equal(json_string_value(json_object_get(metadata, "bad\\xfftext")), "a\xc3\xa9\\xc3z");
    assert_string_equal(json_string_value(json_object_get(metadata, "big")), "18446744073709551615");
    assert_string_equal(json_string_value(json_object_get(metadata, "nan")), "nan");
    assert_true(json_is_true(json_object_get(metadata, "yes")));
    json_t *names = json_object_get(metadata, "names");
    assert_string_equal(json_string_value(json_object_get(names, "elem")), "string");
    assert_int_equal(json_integer_value(json_object_get(names, "count")), 10);
    assert_int_equal(json_array_size(json_object_get(names, "head")), 8);
    assert_true(json_is_null(json_object_get(out, "chat_template")));

    assert_int_equal(json_integer_value(json_object_get(out, "parameters")), 136);
    assert_int_equal(json_integer_value(json_object_get(out, "tensor_bytes")), 72 + 32);
    assert_int_equal(at(json_object_get(out, "types"), "Q4_0", "bytes"), 72);
    json_t *t = json_array_get(json_object_get(out, "tensors"), 1);
    assert_string_equal(json_string_value(json_object_get(t, "name")), "v");
    assert_int_equal(json_integer_value(json_object_get(t, "offset")), (json_int_t)vs_gguf_data_start(g) + 96);

    /* 128 slots (pages of 64), 2 + 0 + 1 heads, keys of 16 and values of 32 */
    json_t *memory = json_object_get(out, "memory");
    assert_int_equal(at(memory, "kv", "f32"), 128 * 3 * 48 * 4);
    assert_int_equal(at(memory, "kv", "f16"), 128 * 3 * 48 * 2);
    assert_int_equal(at(memory, "kv", "q8_0"), 128 * 3 * (48 + 4));
    assert_int_equal(at(memory, "total", "f16"), 128 * 3 * 48 * 2 + 104);
    json_decref(out);

    assert_int_equal(vs_inspect(g, 1, NULL, &out, &err), VS_OK);
    assert_int_equal(at(json_object_get(out, "memory"), "kv", "f32"), 64 * 3 * 48 * 4);
    char *text = json_dumps(out, 0);                             /* what goes over the wire is valid JSON */
    assert_non_null(text);
    json_t *again = json_loads(text, 0, NULL);
    assert_true(json_equal(again, out));
    json_decref(again);
    json_decref(out);
    free(text);
    vs_gguf_close(g);
    vs_buf_clear(&b);
}

static void test_no_metadata_at_all(void **state)
{
    (void)state;
    struct vs_buf b = { 0 };
    vs_buf_str(&b, "GGUF");
    u32(&b, 2);
    u64(&b, 0);
    u64(&b, 0);
    struct vs_gguf *g;
    struct vs_error err = { 0 };
    json_t *out;
    assert_int_equal(vs_gguf_open(b.data, b.n, b.n, &g, &err), VS_OK);
    assert_int_equal(vs_inspect(g, 4096, NULL, &out, &err), VS_OK);
    assert_true(json_is_null(json_object_get(out, "architecture")));
    assert_true(json_is_null(json_object_get(out, "bits_per_weight")));
    assert_non_null(json_object_get(json_object_get(out, "memory"), "unknown"));
    json_decref(out);
    vs_gguf_close(g);
    vs_buf_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_architecture),
        cmocka_unit_test(test_no_metadata_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
