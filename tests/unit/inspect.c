/* rooms: selftest cpu import tensor ipc base */
#include "prog/worker/inspect.c"

#include "cpu/backend.h"
#include "selftest/selftest.h"


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void str(struct vs_buf *b, const char *s)
{
    vs_buf_u64le(b, strlen(s));
    vs_buf_str(b, s);
}

static void key(struct vs_buf *b, const char *name, uint32_t type)
{
    str(b, name);
    vs_buf_u32le(b, type);
}

/* A file of an architecture nobody knows, with per-layer head counts, odd text and numbers. */
static struct vs_buf strange_file(void)
{
    struct vs_buf b = { 0 };
    vs_buf_str(&b, "GGUF");
    vs_buf_u32le(&b, 3);
    vs_buf_u64le(&b, 2);
    vs_buf_u64le(&b, 12);
    key(&b, "general.architecture", 8), str(&b, "odd");
    key(&b, "bad\xff" "text", 8), str(&b, "a\xc3\xa9\xc3z");
    key(&b, "big", 10), vs_buf_u64le(&b, UINT64_MAX);
    key(&b, "nan", 6), vs_buf_u32le(&b, 0x7fc00000);
    key(&b, "yes", 7), vs_buf_char(&b, 1);
    key(&b, "odd.block_count", 4), vs_buf_u32le(&b, 3);
    key(&b, "odd.embedding_length", 4), vs_buf_u32le(&b, 64);
    key(&b, "odd.context_length", 4), vs_buf_u32le(&b, 100);
    key(&b, "odd.attention.head_count", 4), vs_buf_u32le(&b, 4);
    key(&b, "odd.attention.head_count_kv", 9), vs_buf_u32le(&b, 4), vs_buf_u64le(&b, 3), vs_buf_u32le(&b, 2),
        vs_buf_u32le(&b, 0), vs_buf_u32le(&b, 1);
    key(&b, "odd.attention.value_length", 4), vs_buf_u32le(&b, 32);
    key(&b, "names", 9), vs_buf_u32le(&b, 8), vs_buf_u64le(&b, 10);
    for (int i = 0; i < 10; i++)
        str(&b, "x\n");
    str(&b, "w"), vs_buf_u32le(&b, 2), vs_buf_u64le(&b, 64), vs_buf_u64le(&b, 2), vs_buf_u32le(&b, 2), vs_buf_u64le(&b, 0);
    str(&b, "v"), vs_buf_u32le(&b, 1), vs_buf_u64le(&b, 8), vs_buf_u32le(&b, 0), vs_buf_u64le(&b, 96);
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
    assert_int_equal(vs_inspect(g, &vs_backend_cpu, 0, NULL, &out, &err), VS_OK);

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

    json_t *memory = json_object_get(out, "memory");
    assert_non_null(strstr(json_string_value(json_object_get(memory, "unknown")), "architecture 'odd' is not supported"));
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

/* Numbers worked out by hand: pages of 64 positions in runs of 8, one layer, 2 heads of 64. */
static void test_memory_is_what_the_backend_takes(void **state)
{
    (void)state;
    struct vs_subject s;
    struct vs_error err = { 0 };
    assert_int_equal(vs_subject_create(&vs_cases[0], &s, &err), VS_OK);
    struct vs_gguf *g;
    assert_int_equal(vs_gguf_open(s.file.data, s.file.n, s.file.n, &g, &err), VS_OK);
    static const struct { uint32_t ctx, pages; } cases[] = { { 0, 16 }, { 1024, 16 }, { 1000, 16 }, { 1, 8 }, { 512, 8 },
                                                             { 513, 16 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *out;
        json_int_t heads = cases[i].pages * 2, keys = 64 * 64, total;
        assert_int_equal(vs_inspect(g, &vs_backend_cpu, cases[i].ctx, NULL, &out, &err), VS_OK);
        json_t *memory = json_object_get(out, "memory");
        assert_int_equal(json_integer_value(json_object_get(memory, "context")), cases[i].ctx ? cases[i].ctx : 1024);
        assert_int_equal(at(memory, "kv", "f32"), heads * 2 * keys * 4);
        assert_int_equal(at(memory, "kv", "f16"), heads * 2 * keys * 2);
        assert_int_equal(at(memory, "kv", "q8_0"), heads * (2 * keys + 2 * 64 * 4 + 64 * 4));
        total = at(memory, "total", "q8_0");
        assert_int_equal(total, at(memory, "kv", "q8_0") + json_integer_value(json_object_get(memory, "weights")));
        assert_int_equal(at(memory, "kv", "q8_0"),
                         vs_backend_cpu.kv_bytes(&s.graph, VS_KV_Q8_0, vs_pages_for(cases[i].ctx ? cases[i].ctx : 1024)));
        json_decref(out);
    }
    vs_gguf_close(g);
    vs_subject_clear(&s);
}

/* Every model of the self-test as a program: a line an instruction, every tensor named, every place inside the arena. */
static void test_program(void **state)
{
    (void)state;
    for (size_t i = 0; i < vs_n_cases; i++) {
        struct vs_subject s;
        struct vs_error err = { 0 };
        struct vs_buf out = { 0 };
        assert_int_equal(vs_subject_create(&vs_cases[i], &s, &err), VS_OK);
        const struct vs_backend_config config = { .level = 0, .n_threads = 3, .max_rows = 64, .max_out = 4, .max_positions = 1024,
                                                  .n_pages = 16, .kv_type = vs_cases[i].kv, .high = vs_cases[i].high };
        assert_int_equal(vs_backend_cpu.describe(&s.graph, &config, &out, &err), VS_OK);
        size_t n_lines = 0, n, arena;
        for (size_t k = 0; k < out.n; k++)
            n_lines += out.data[k] == '\n';
        vs_buf_char(&out, 0);
        const char *counts = strstr(out.data, "in a step: ");
        assert_non_null(counts);
        assert_int_equal(sscanf(counts, "in a step: %zu instructions, %zu bytes", &n, &arena), 2);
        assert_int_equal(n_lines, n + 1);
        for (size_t t = 0; t < s.graph.n_tensors; t++)
            assert_true(strstr(out.data, s.graph.tensors[t].name) || strcmp(s.graph.tensors[t].name, "rope_freqs.weight") == 0);
        for (const char *at = out.data; (at = strchr(at, '@')); at++)
            assert_true(strtoul(at + 1, NULL, 10) < arena);
        vs_buf_clear(&out);
        vs_subject_clear(&s);
    }
}

static void test_no_metadata_at_all(void **state)
{
    (void)state;
    struct vs_buf b = { 0 };
    vs_buf_str(&b, "GGUF");
    vs_buf_u32le(&b, 2);
    vs_buf_u64le(&b, 0);
    vs_buf_u64le(&b, 0);
    struct vs_gguf *g;
    struct vs_error err = { 0 };
    json_t *out;
    assert_int_equal(vs_gguf_open(b.data, b.n, b.n, &g, &err), VS_OK);
    assert_int_equal(vs_inspect(g, &vs_backend_cpu, 4096, NULL, &out, &err), VS_OK);
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
        cmocka_unit_test(test_memory_is_what_the_backend_takes),
        cmocka_unit_test(test_program),
        cmocka_unit_test(test_no_metadata_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
