/* ipc/json.c - see json.h */
#include "ipc/json.h"

#include "base/utf8.h"
#include "ipc/long_text.h"

#include <errno.h>
#include <float.h>
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
    else
        atomic_fetch_add_explicit(&n_refused, 1, memory_order_relaxed);
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

/* A key: \u0000 is replaced, other escapes are copied. */
static void soften_key(const char *s, size_t n, struct vs_buf *out)
{
    for (size_t i = 0; i < n; i++) {
        if (s[i] != '\\') {
            vs_buf_char(out, s[i]);
        } else if (n - i >= 6 && memcmp(s + i, "\\u0000", 6) == 0) {
            vs_buf_str(out, "\\ufffd");
            i += 5;
        } else {
            vs_buf_add(out, s + i, n - i < 2 ? n - i : 2);
            i++;
        }
    }
}

/* A number: whole ones beyond 64 bits become real, those beyond a double the largest. What is no number is copied, for the
 * parser to judge. */
static void soften_number(const char *s, size_t n, struct vs_buf *out)
{
    struct vs_buf text = { 0 };
    char *end = NULL;
    vs_buf_add(&text, s, n);
    if (text.status != VS_OK) {
        out->status = text.status;
        return;
    }
    double value = strtod(text.data, &end);
    errno = 0;
    bool is_whole = text.data[strcspn(text.data, ".eE")] == 0;
    bool fits = !is_whole || (strtoll(text.data, NULL, 10), errno != ERANGE);
    if (*end == 0 && (value > DBL_MAX || value < -DBL_MAX))
        vs_buf_str(out, value < 0 ? "-1.7976931348623157e308" : "1.7976931348623157e308");
    else
        vs_buf_printf(out, fits ? "%s" : "%se0", text.data);
    vs_buf_clear(&text);
}

/* The text again, with what our values can't hold replaced. One pass; what is no JSON stays no JSON. */
static void soften(const char *s, size_t n, struct vs_check *check, struct vs_buf *out)
{
    size_t end;
    for (size_t i = 0; i < n && out->status == VS_OK && vs_check_work(check, 1) == VS_OK; i = end) {
        end = i + 1;
        if (s[i] == '"') {
            end = vs_string_end(s, n, i);
            if (vs_string_is_key(s, n, end))
                soften_key(s + i, end - i, out);
            else
                vs_buf_add(out, s + i, end - i);
        } else if (s[i] == '-' || (s[i] >= '0' && s[i] <= '9')) {
            while (end < n && s[end] && strchr("+-.eE0123456789", s[end]))
                end++;
            soften_number(s + i, end - i, out);
        } else {
            vs_buf_char(out, s[i]);
        }
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

static json_t *load_all(const void *data, size_t n, struct vs_check *check, json_error_t *e)
{
    struct reading from = { n ? data : "", n, check };
    return json_load_callback(next_piece, &from, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, e);
}

/* Long strings apart. What is wrong is said of the whole text. */
static json_t *load(const void *data, size_t n, struct vs_check *check, json_error_t *e)
{
    struct vs_long_texts texts;
    json_t *value = NULL;
    if (vs_long_take(data, n, check, &texts))
        value = load_all(texts.thin.data, texts.thin.n, check, e);
    if (value && !vs_long_put(&texts, value)) {
        json_decref(value);
        value = NULL;
    }
    vs_long_clear(&texts);
    return value ? value : load_all(data, n, check, e);
}

json_t *vs_json_read(const void *data, size_t n, struct vs_check *check, struct vs_error *err)
{
    size_t refused = atomic_load(&n_refused);
    json_error_t e;
    json_t *value = load(data, n, check, &e);
    if (!value && (json_error_code(&e) == json_error_numeric_overflow || json_error_code(&e) == json_error_null_byte_in_key)) {
        struct vs_buf softer = { 0 };
        soften(data, n, check, &softer);
        if (softer.status == VS_OK)
            value = load(softer.data, softer.n, check, &e);
        vs_buf_clear(&softer);
    }
    if (check && check->status != VS_OK) {
        json_decref(value);
        vs_error_set(err, check->status, "%s", vs_status_text(check->status));
        return NULL;
    }
    if (!value) {
        /* jansson does not always say that it was memory. */
        if (json_error_code(&e) == json_error_out_of_memory || atomic_load(&n_refused) != refused)
            vs_error_set(err, VS_E_LIMIT, "JSON takes too much memory");
        else if (json_error_code(&e) == json_error_stack_overflow)
            vs_error_set(err, VS_E_LIMIT, "JSON is nested too deeply");
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

json_t *vs_json_value(const char *text, size_t n)
{
    static const char head[] = "{\"v\":";
    struct vs_buf whole = { 0 };
    vs_buf_add(&whole, head, sizeof head - 1);
    vs_buf_add(&whole, text, n);
    vs_buf_char(&whole, '}');
    json_t *object = whole.status == VS_OK ? vs_json_read(whole.data, whole.n, NULL, NULL) : NULL;
    json_t *value = json_object_size(object) == 1 ? json_incref(json_object_get(object, "v")) : NULL;
    json_decref(object);
    vs_buf_clear(&whole);
    return value;
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

static void write_value(const json_t *value, struct writing *to);

static void write_string(const char *s, size_t n, struct writing *to)
{
    vs_long_write(s, n, to->out);
    if (vs_check_work(to->check, 1 + n / 16) != VS_OK)
        to->out->status = to->check->status;
}

static void write_object(const json_t *value, struct writing *to)
{
    const char *key;
    json_t *child;
    bool some = false;
    vs_buf_char(to->out, '{');
    json_object_foreach((json_t *)(uintptr_t)value, key, child) {
        if (some)
            vs_buf_char(to->out, ',');
        write_string(key, strlen(key), to);
        vs_buf_char(to->out, ':');
        write_value(child, to);
        some = true;
    }
    vs_buf_char(to->out, '}');
}

static void write_array(const json_t *value, struct writing *to)
{
    vs_buf_char(to->out, '[');
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (i)
            vs_buf_char(to->out, ',');
        write_value(json_array_get(value, i), to);
    }
    vs_buf_char(to->out, ']');
}

static void write_integer(json_int_t value, struct writing *to)
{
    size_t before = to->out->n;
    if (value < 0)
        vs_buf_char(to->out, '-');
    vs_buf_decimal(to->out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    if (vs_check_work(to->check, to->out->n - before + 1) != VS_OK)
        to->out->status = to->check->status;
}

/* As jansson writes it compactly, in one walk; strings faster. */
static void write_value(const json_t *value, struct writing *to)
{
    if (to->out->status != VS_OK)
        return;
    if (json_is_string(value))
        write_string(json_string_value(value), json_string_length(value), to);
    else if (json_is_integer(value))
        write_integer(json_integer_value(value), to);
    else if (json_is_object(value))
        write_object(value, to);
    else if (json_is_array(value))
        write_array(value, to);
    else if (json_is_null(value))
        vs_buf_add(to->out, "null", 4);
    else if (json_dump_callback(value, add_chunk, to, JSON_COMPACT | JSON_ENCODE_ANY) != 0 && to->out->status == VS_OK)
        to->out->status = VS_E_NOMEM;
}

void vs_json_write(const json_t *value, struct vs_buf *out, struct vs_check *check)
{
    write_value(value, &(struct writing){ out, check });
}

void vs_json_free(json_t *value, struct vs_check *check)
{
    enum { ENTRY_UNITS = 64 };
    const char *key;
    json_t *child;
    void *next;
    bool is_last = value && value->refcount == 1;
    if (is_last && json_is_object(value)) {
        json_object_foreach_safe(value, next, key, child) {
            json_incref(child);
            json_object_del(value, key);
            vs_json_free(child, check);
        }
    }
    for (size_t n = is_last ? json_array_size(value) : 0; n; n--) {
        json_array_remove(value, n - 1);
        vs_check_work(check, ENTRY_UNITS);
    }
    json_decref(value);
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

bool vs_json_is_text(const char *s)
{
    return vs_utf8_valid(s, strlen(s)) == strlen(s);
}

json_t *vs_json_error(int code, const char *message)
{
    if (!vs_json_is_text(message))
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

const char *vs_json_other_key(const json_t *object, const char *const *known)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        size_t i = 0;
        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i])
            return key;
    }
    return NULL;
}
