/* rooms: selftest engine */
/* A steady step allocates nothing, and neither does the room of pages once it is made. The calls that our code makes are counted:
 * CMakeLists.txt has the linker send them here (--wrap). */
#include "engine/model.h"
#include "import/header.h"
#include "kv/kv.h"
#include "selftest/selftest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static atomic_size_t n_calls;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t alignment, size_t n);
void *__real_mmap(void *p, size_t n, int protection, int flags, int fd, off_t offset);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t alignment, size_t n);
void *__wrap_mmap(void *p, size_t n, int protection, int flags, int fd, off_t offset);

void *__wrap_malloc(size_t n)
{
    n_calls++;
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    n_calls++;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    n_calls++;
    return __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t alignment, size_t n)
{
    n_calls++;
    return __real_aligned_alloc(alignment, n);
}

void *__wrap_mmap(void *p, size_t n, int protection, int flags, int fd, off_t offset)
{
    n_calls++;
    return __real_mmap(p, n, protection, flags, fd, offset);
}

static int sample(void *context, size_t first, size_t n, const float *logits)
{
    struct vs_error err;
    (void)first;
    assert_int_equal(n, 1);
    return vs_answer_add(context, logits, &err);
}

static void test_decode(void **state)
{
    (void)state;
    enum { N_STEPS = 200 };
    static struct vs_case of;
    struct vs_error err = { 0 };
    struct vs_subject s;
    struct vs_answer a;
    struct vs_header *header;
    struct vs_model_file *file;
    struct vs_model *model;
    struct vs_sequence *sequence;
    of = vs_cases[0];
    of.n_generate = N_STEPS + 1;
    assert_int_equal(vs_subject_create(&of, &s, &err), VS_OK);
    int fd = memfd_create("model", MFD_CLOEXEC);
    assert_true(fd >= 0 && write(fd, s.file.data, s.file.n) == (ssize_t)s.file.n);
    const struct vs_model_config config = { .backend = &vs_backend_cpu, .level = (int)vs_isa_best(), .n_threads = 2,
                                            .kv_type = of.kv };
    n_calls = 0;
    assert_int_equal(vs_model_file_open(&(struct vs_files){ 1, { fd } }, &file, &err), VS_OK);
    assert_int_equal(vs_header_open(vs_model_file_glance(file), &header, &err), VS_OK);
    assert_int_equal(vs_model_open(header, file, &config, NULL, NULL, &model, &err), VS_OK);
    assert_int_equal(vs_sequence_create(model, &sequence), VS_OK);
    assert_in_range(n_calls, 10, SIZE_MAX);              /* they are counted */
    assert_int_equal(vs_answer_init(&a, &s, &err), VS_OK);
    assert_int_equal(vs_sequence_append(sequence, a.tokens, a.n, 1, sample, NULL, &a, &err), VS_OK);
    n_calls = 0;
    for (int i = 0; i < N_STEPS; i++)                    /* over the ends of three pages */
        assert_int_equal(vs_sequence_append(sequence, a.tokens + a.n - 1, 1, 1, sample, NULL, &a, &err), VS_OK);
    assert_int_equal(n_calls, 0);
    vs_answer_clear(&a);
    vs_sequence_free(sequence);
    vs_model_close(model);
    vs_header_close(header);
    vs_model_file_close(file);
    vs_subject_clear(&s);
}

static void no_copy(void *context, uint32_t from, uint32_t to, uint32_t n)
{
    (void)context, (void)from, (void)to, (void)n;
}

static void no_clear(void *context, const uint32_t *page, uint32_t n)
{
    (void)context, (void)page, (void)n;
}

/* Sequences come, find what others left, branch, grow and go, in a cache that is too small for them. */
static void test_pages(void **state)
{
    (void)state;
    const struct vs_kv_config config = { .n_pages = 16, .page_tokens = 16, .max_tokens = 640, .max_sequences = 5, .max_kept = 5,
                                         .memory = { no_copy, no_clear, NULL } };
    struct vs_kv *kv;
    uint32_t tokens[200], n_busy = 0, n_found = 0;
    assert_int_equal(vs_kv_create(&config, &kv), VS_OK);
    n_calls = 0;
    for (uint32_t round = 0; round < 300; round++) {
        struct vs_kv_sequence *all[5];
        for (uint32_t i = 0; i < 200; i++)
            tokens[i] = i < 50 ? i : (i + round) % 7;
        for (uint32_t i = 0; i < 4; i++) {
            assert_int_equal(vs_kv_open(kv, (round + i) % 2, i % 2 ? "key" : NULL, &all[i]), VS_OK);
            n_found += vs_kv_adopt(all[i], tokens, 200) > 0;
            uint32_t have = vs_kv_length(all[i]), want = have + 40 + round % 50;
            int r = want > 200 ? VS_OK : vs_kv_reserve(all[i], want);
            if (r == VS_OK && want <= 200)
                vs_kv_commit(all[i], tokens + have, want - have);
            n_busy += r == VS_E_BUSY;
        }
        assert_int_equal(vs_kv_fork(all[0], &all[4]), VS_OK);
        vs_kv_reserve(all[4], vs_kv_length(all[4]) + 1);
        for (uint32_t i = 0; i < 5; i++)
            vs_kv_close(all[i], i != round % 5);
    }
    assert_int_equal(n_calls, 0);
    assert_in_range(n_busy, 1, 1000);
    assert_in_range(n_found, 200, 1200);
    vs_kv_free(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_decode), cmocka_unit_test(test_pages) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
