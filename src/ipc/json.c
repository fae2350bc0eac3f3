/* ipc/json.c - see json.h */
#include "ipc/json.h"

#include "base/utf8.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* jansson's allocator is one for the process, so its budget is too. A small message can unfold to a hundred times its size
 * ("[[],[],..."), which is why a cap on bytes of text would not be enough. */
static atomic_size_t used, n_refused;
static size_t limit;

static void *budget_malloc(size_t n)
{
    if (n > limit || atomic_load_explicit(&used, memory_order_relaxed) > limit - n) {
        atomic_fetch_add_explicit(&n_refused, 1, memory_order_relaxed);
        return NULL;
    }
    void *p = malloc(n);
    if (p)
        atomic_fetch_add_explicit(&used, malloc_usable_size(p), memory_order_relaxed);
    return p;
}

static void budget_free(void *p)
{
    if (p)
        atomic_fetch_sub_explicit(&used, malloc_usable_size(p), memory_order_relaxed);
    free(p);
}

void vs_json_setup(size_t limit_bytes)
{
    size_t seed = 0;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed || seed == 0)
        seed = (size_t)time(NULL) | 1;
    json_object_seed(seed);
    if (limit_bytes) {
        limit = limit_bytes;
        json_set_alloc_funcs(budget_malloc, budget_free);
    }
}

struct reading {
    const char *at;
    size_t left;
    struct vs_check *check;
};

/* jansson's next piece, at most a KiB; an end that comes early makes it give up. */
static size_t next_piece(void *buffer, size_t n, void *context)
{
    struct reading *r = context;
    n = n < r->left ? n : r->left;
    if (vs_check_work(r->check, n) != VS_OK)
        return (size_t)-1;
    memcpy(buffer, r->at, n);
    r->at += n;
    r->left -= n;
    return n;
}

json_t *vs_json_read(const void *data, size_t n, struct vs_check *check, struct vs_error *err)
{
    size_t refused = atomic_load(&n_refused);
    json_error_t e;
    struct reading from = { n ? data : "", n, check };
    json_t *value = json_load_callback(next_piece, &from, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &e);
    if (check && check->status != VS_OK) {
        json_decref(value);
        vs_error_set(err, check->status, "%s", vs_status_text(check->status));
        return NULL;
    }
    if (!value) {
        /* jansson does not always say that it was memory. */
        if (json_error_code(&e) == json_error_out_of_memory || atomic_load(&n_refused) != refused)
            vs_error_set(err, VS_E_LIMIT, "JSON takes too much memory");
        else
            vs_error_set(err, VS_E_MALFORMED, "JSON, byte %d: %s", e.position, e.text);
        return NULL;
    }
    if (!json_is_object(value)) {
        json_decref(value);
        vs_error_set(err, VS_E_MALFORMED, "JSON: an object is expected");
        return NULL;
    }
    return value;
}

json_t *vs_json_parse(const void *data, size_t n, struct vs_error *err)
{
    return vs_json_read(data, n, NULL, err);
}

struct writing {
    struct vs_buf *out;
    struct vs_check *check;
};

static int add_chunk(const char *s, size_t n, void *context)
{
    struct writing *w = context;
    if (vs_check_work(w->check, n) != VS_OK)
        w->out->status = w->check->status;
    vs_buf_add(w->out, s, n);
    return w->out->status == VS_OK ? 0 : -1;
}

void vs_json_write(const json_t *value, struct vs_buf *out, struct vs_check *check)
{
    struct writing to = { out, check };
    if (json_dump_callback(value, add_chunk, &to, JSON_COMPACT | JSON_ENCODE_ANY) != 0 && out->status == VS_OK)
        out->status = VS_E_NOMEM;
}

void vs_json_dump(const json_t *value, struct vs_buf *out)
{
    vs_json_write(value, out, NULL);
}

json_t *vs_json_text(const char *s, size_t n)
{
    if (vs_utf8_valid(s, n) == n)
        return json_stringn(n ? s : "", n);
    struct vs_buf clean = { 0 };
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t len = vs_utf8_decode(s + i, n - i, &c);
        vs_buf_utf8(&clean, len ? c : 0xfffd);
        i += len ? len : 1;
    }
    json_t *v = clean.status == VS_OK ? json_stringn(clean.data ? clean.data : "", clean.n) : NULL;
    vs_buf_clear(&clean);
    return v;
}

size_t vs_json_text_bytes(const char *s, size_t n)
{
    size_t bytes = 2;                   /* the quotes */
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t c;
        len = vs_utf8_decode(s + i, n - i, &c);
        if (len == 1 && c < 0x20)
            bytes += strchr("\b\f\n\r\t", (int)c) && c ? 2 : 6;
        else
            bytes += len == 1 && (c == '"' || c == '\\') ? 2 : len ? len : 3;
        len += !len;
    }
    return bytes;
}

json_t *vs_json_error(int code, const char *message)
{
    if (vs_utf8_valid(message, strlen(message)) != strlen(message))
        message = vs_status_text(code);
    return json_pack("{s:s, s:i, s:s}", "error", vs_status_name(code), "code", code, "message", message);
}

void vs_json_to_error(const json_t *value, struct vs_error *ret)
{
    const char *name = json_string_value(json_object_get(value, "error"));
    const char *message = json_string_value(json_object_get(value, "message"));
    int code = name ? vs_status_parse(name) : 0;
    if (code == 0 || !message) {
        vs_error_set(ret, VS_E_PROTOCOL, "an error without a known name came");
        return;
    }
    vs_error_set(ret, code, "%s", message);
}
