/* rooms: engine base */
#include "engine/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>

/* A file in memory, mapped as one who means us harm would: what he writes changes no time stamp. */
struct victim {
    int fd;
    size_t n;
    uint8_t *map;
};

static struct victim victim(size_t n)
{
    struct victim v = { .fd = memfd_create("model", MFD_CLOEXEC), .n = n };
    assert_true(v.fd >= 0);
    assert_int_equal(ftruncate(v.fd, (off_t)n), 0);
    v.map = mmap(NULL, n ? n : 1, PROT_READ | PROT_WRITE, MAP_SHARED, v.fd, 0);
    assert_ptr_not_equal(v.map, MAP_FAILED);
    for (size_t i = 0; i < n; i++)
        v.map[i] = (uint8_t)(i * 31 + i / 251);
    return v;
}

static void end(struct victim *v)
{
    munmap(v->map, v->n ? v->n : 1);
    close(v->fd);
}

static struct vs_model_file *opened(const struct victim *v)
{
    struct vs_error err = { 0 };
    struct vs_model_file *f = NULL;
    assert_int_equal(vs_model_file_open(&(struct vs_files){ 1, { dup(v->fd) } }, &f, &err), VS_OK);
    assert_int_equal(vs_model_file_source(f)->n_bytes, v->n);
    return f;
}

static void load(struct vs_model_file *f, uint64_t offset, size_t n, uint8_t *to)
{
    struct vs_error err = { 0 };
    assert_int_equal(vs_source_read(vs_model_file_source(f), offset, n, to, &err), VS_OK);
}

static int finish(struct vs_model_file *f, char hex[65], struct vs_error *err)
{
    uint64_t done;
    assert_int_equal(vs_model_file_finish(f, err), VS_OK);
    int r;
    while ((r = vs_model_file_digest(f, 1000, hex, &done, err)) == VS_E_BUSY)
        ;
    assert_int_equal(vs_model_file_digest(f, 0, hex, &done, err), r);          /* and so it stays */
    return r;
}

static void hex_of(const void *bytes, size_t n, char hex[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    assert_true(EVP_Digest(bytes, n, digest, NULL, EVP_sha256(), NULL));
    for (size_t i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

/* Ranges of any size in any order, gaps between them, copies that are the file's bytes. */
static void test_digest(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 15, 16, 17, 65535, 65536, 65537, 700001 };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        struct victim v = victim(sizes[s]);
        struct vs_model_file *f = opened(&v);
        uint8_t *copy = calloc(v.n + 1, 1);
        size_t cut[4] = { 0, v.n / 3, v.n / 3 + v.n / 7, v.n };
        for (size_t i = 3; i--;)
            if (i != 1 && cut[i + 1] > cut[i])           /* nobody loads the middle */
                load(f, cut[i], cut[i + 1] - cut[i], copy + cut[i]);
        assert_memory_equal(copy, v.map, cut[1]);
        assert_memory_equal(copy + cut[2], v.map + cut[2], v.n - cut[2]);
        char got[65], want[65];
        struct vs_error err = { 0 };
        assert_int_equal(finish(f, got, &err), VS_OK);
        hex_of(v.map, v.n, want);
        assert_string_equal(got, want);
        memset(v.map, 7, v.n);                           /* afterwards the file may be what it likes */
        uint64_t done;
        assert_int_equal(vs_model_file_digest(f, 0, got, &done, &err), VS_OK);
        assert_string_equal(got, want);
        assert_int_equal(done, v.n);
        vs_model_file_close(f);
        free(copy);
        end(&v);
    }
}

/* One bit of one byte anywhere, between the load and the digest: no digest. Put back in time: nobody was deceived. */
static void test_changed(void **state)
{
    (void)state;
    enum { N = 200000 };
    static const size_t places[] = { 0, 1, 7, 8, 15, 16, 65535, 65536, 131071, N - 65536, N - 3, N - 1 };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        for (int back = 0; back < 2; back++) {
            struct victim v = victim(N);
            struct vs_model_file *f = opened(&v);
            uint8_t *copy = malloc(N);
            char hex[65], want[65];
            hex_of(v.map, v.n, want);
            load(f, 0, 65536, copy);
            load(f, 65536, N - 65536, copy + 65536);
            v.map[places[i]] ^= 0x40;
            if (back)
                v.map[places[i]] ^= 0x40;
            struct vs_error err = { 0 };
            int r = finish(f, hex, &err);
            assert_int_equal(r, back ? VS_OK : VS_E_MALFORMED);
            if (back)
                assert_string_equal(hex, want);
            else
                assert_non_null(strstr(err.text, "changed while it was loaded"));
            vs_model_file_close(f);
            free(copy);
            end(&v);
        }
}

/* Two words changed so that a plain sum, or a hash without a key, would not show it; two blocks exchanged. */
static void test_changed_with_care(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct victim v = victim(1 << 18);
        struct vs_model_file *f = opened(&v);
        uint8_t *copy = malloc(v.n);
        uint64_t words[2], *at = (uint64_t *)(void *)v.map;
        char hex[65];
        struct vs_error err = { 0 };
        load(f, 0, v.n, copy);
        memcpy(words, at, sizeof words);
        if (how == 0) {
            at[0] = words[0] + 1;
            at[1] = words[1] - 1;
        } else if (how == 1) {
            at[0] = words[1];
            at[1] = words[0];
        } else {
            memcpy(v.map, copy + 65536, 65536);
            memcpy(v.map + 65536, copy, 65536);
        }
        assert_int_equal(finish(f, hex, &err), VS_E_MALFORMED);
        vs_model_file_close(f);
        free(copy);
        end(&v);
    }
}

static void test_cut_and_grown(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct victim v = victim(300000);
        struct vs_model_file *f = opened(&v);
        uint8_t *copy = malloc(v.n);
        char hex[65];
        struct vs_error err = { 0 };
        if (how == 0) {                                  /* cut before it is read */
            assert_int_equal(ftruncate(v.fd, 100000), 0);
            assert_int_equal(vs_source_read(vs_model_file_source(f), 0, v.n, copy, &err), VS_E_MALFORMED);
            assert_non_null(strstr(err.text, "cut while it was loaded (it ends at byte 100000 of 300000)"));
        } else {
            load(f, 0, v.n, copy);
            assert_int_equal(ftruncate(v.fd, how == 1 ? 299999 : 300001), 0);
            assert_int_equal(finish(f, hex, &err), VS_E_MALFORMED);
        }
        vs_model_file_close(f);
        free(copy);
        end(&v);
    }
}

/* What was read twice cannot be vouched for with one digest; what was looked at and then entered can. */
static void test_entered(void **state)
{
    (void)state;
    struct victim v = victim(100000);
    uint8_t *copy = malloc(v.n);
    char hex[65], want[65];
    struct vs_error err = { 0 };
    struct vs_model_file *f = opened(&v);
    assert_int_equal(vs_source_read(vs_model_file_glance(f), 0, 5000, copy, &err), VS_OK);
    assert_int_equal(vs_model_file_loaded(f, 0, copy, 1000, &err), VS_OK);
    load(f, 1000, v.n - 1000, copy + 1000);
    assert_int_equal(finish(f, hex, &err), VS_OK);
    hex_of(v.map, v.n, want);
    assert_string_equal(hex, want);
    vs_model_file_close(f);

    f = opened(&v);
    load(f, 0, 2000, copy);
    load(f, 1999, 10, copy);
    assert_int_equal(finish(f, hex, &err), VS_E_MALFORMED);
    vs_model_file_close(f);

    f = opened(&v);                                      /* closed in the middle */
    load(f, 0, v.n, copy);
    assert_int_equal(vs_model_file_finish(f, &err), VS_OK);
    vs_model_file_close(f);
    free(copy);
    end(&v);
}

static void test_not_a_file(void **state)
{
    (void)state;
    int fd[2];
    struct vs_error err = { 0 };
    struct vs_model_file *f = NULL;
    assert_int_equal(pipe(fd), 0);
    assert_int_equal(vs_model_file_open(&(struct vs_files){ 1, { fd[0] } }, &f, &err), VS_E_MALFORMED);
    assert_null(f);
    close(fd[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digest),      cmocka_unit_test(test_changed), cmocka_unit_test(test_changed_with_care),
        cmocka_unit_test(test_cut_and_grown), cmocka_unit_test(test_entered), cmocka_unit_test(test_not_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
