/* import/adapter.c - see adapter.h */
#include "import/adapter.h"

#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RANK = 4096, MAX_HEAD = 64 << 20, BLOCK = 64 << 10 };

struct vs_adapter {
    uint8_t *head;
    struct vs_gguf *gguf;
    struct vs_gguf_tensor *tensors;      /* copies of all, with offsets of the whole source */
    struct vs_adapter_pair *pairs;
    size_t n_pairs;
};

#define REFUSED(...) vs_error_set(err, VS_E_UNSUPPORTED, "adapter: " __VA_ARGS__)
#define WRONG(...) vs_error_set(err, VS_E_MALFORMED, "adapter: " __VA_ARGS__)
#define SHOW(str) vs_str_shown(str).text

static bool is(struct vs_str s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.data, text, s.n) == 0;
}

static bool begins(struct vs_str s, const char *text)
{
    return s.n >= strlen(text) && memcmp(s.data, text, strlen(text)) == 0;
}

/* What the name has before this ending; n = 0: it has another one. */
static struct vs_str before(struct vs_str s, const char *ending)
{
    size_t n = strlen(ending);
    bool fits = s.n > n && memcmp(s.data + s.n - n, ending, n) == 0;
    return (struct vs_str){ s.data, fits ? s.n - n : 0 };
}

static int need_text(const struct vs_entries *e, const char *key, const char *wanted, struct vs_error *err)
{
    struct vs_str s;
    int r = vs_entries_str(e, key, &s, err);
    if (r == VS_E_NOT_FOUND)
        return WRONG("%s is missing: the file is no LoRA adapter", key);
    if (r != VS_OK || is(s, wanted))
        return r;
    return REFUSED("%s is '%s', must be '%s'", key, SHOW(s), wanted);
}

static int check_keys(const struct vs_gguf *adapter, const struct vs_gguf *model, float *ret_alpha, struct vs_error *err)
{
    static const char *const known[] = { "adapter.type", "adapter.lora.alpha", "adapter.lora.task_name",
                                         "adapter.lora.prompt_prefix" };
    const struct vs_entries *e = vs_gguf_entries(adapter);
    struct vs_str ours, theirs;
    int r = need_text(e, "general.type", "adapter", err);
    if (r == VS_OK)
        r = need_text(e, "adapter.type", "lora", err);
    if (r == VS_OK && vs_entries_str(vs_gguf_entries(model), "general.architecture", &ours, NULL) == VS_OK) {
        r = vs_entries_str(e, "general.architecture", &theirs, err);
        if (r == VS_E_NOT_FOUND)
            r = WRONG("general.architecture is missing");
        else if (r == VS_OK && (ours.n != theirs.n || memcmp(ours.data, theirs.data, ours.n) != 0))
            r = WRONG("it is for a model of the architecture '%s', this one is '%s'", SHOW(theirs), SHOW(ours));
    }
    if (r == VS_OK && (r = vs_entries_f32(e, "adapter.lora.alpha", ret_alpha, err)) == VS_E_NOT_FOUND)
        r = WRONG("adapter.lora.alpha is missing");
    if (r == VS_OK && !(*ret_alpha >= -1e6f && *ret_alpha <= 1e6f))
        r = WRONG("adapter.lora.alpha is %g", (double)*ret_alpha);
    for (size_t i = 0; i < e->n && r == VS_OK; i++) {
        struct vs_str key = e->entry[i].key;
        bool is_known = begins(key, "general.");
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            is_known = is_known || is(key, known[k]);
        if (!is_known)
            r = REFUSED("%s: this key is not known, so what it changes can't be honoured", SHOW(key));
    }
    return r;
}

static bool is_float(const struct vs_gguf_tensor *t)
{
    return t->dtype->id == VS_F32 || t->dtype->id == VS_F16 || t->dtype->id == VS_BF16;
}

/* A and B of one matrix against the model's own. */
static int check_pair(struct vs_adapter_pair *p, const struct vs_gguf *model, float alpha, struct vs_error *err)
{
    char name[256];
    if (p->name.n >= sizeof name)
        return WRONG("%s: the name is too long", SHOW(p->name));
    memcpy(name, p->name.data, p->name.n);
    name[p->name.n] = 0;
    if (!p->a || !p->b)
        return WRONG("%s has %s and no %s", SHOW(p->name), p->a ? "lora_a" : "lora_b", p->a ? "lora_b" : "lora_a");
    const struct vs_gguf_tensor *w = vs_gguf_tensor(model, name);
    if (!w)
        return WRONG("%s: the model has no such matrix: it is for another one", SHOW(p->name));
    if (strncmp(name, "token_embd.", 11) == 0 || w->n_dims != 2 || p->a->n_dims > 2 || p->b->n_dims > 2)
        return REFUSED("%s: adapters of embeddings, norms and experts are not supported", SHOW(p->name));
    if (!is_float(p->a) || !is_float(p->b))
        return REFUSED("%s is of type %s; supported are F32, F16 and BF16", SHOW(p->name),
                       (is_float(p->a) ? p->b : p->a)->dtype->name);
    if (p->a->ne[1] != p->b->ne[0] || p->a->ne[1] < 1 || p->a->ne[1] > MAX_RANK)
        return WRONG("%s: lora_a has %llu rows, lora_b %llu columns: both must be the rank, 1 to %d", SHOW(p->name),
                     (unsigned long long)p->a->ne[1], (unsigned long long)p->b->ne[0], MAX_RANK);
    if (p->a->ne[0] != w->ne[0] || p->b->ne[1] != w->ne[1])
        return WRONG("%s: it fits a matrix of %llu x %llu, the model's is %llu x %llu", SHOW(p->name),
                     (unsigned long long)p->a->ne[0], (unsigned long long)p->b->ne[1], (unsigned long long)w->ne[0],
                     (unsigned long long)w->ne[1]);
    p->rank = (uint32_t)p->a->ne[1];
    p->factor = alpha != 0 ? alpha / (float)p->rank : 1;
    return VS_OK;
}

static int find_pairs(struct vs_adapter *a, const struct vs_gguf *model, float alpha, struct vs_error *err)
{
    size_t n = vs_gguf_n_tensors(a->gguf);
    if (!n)
        return WRONG("it has no tensors");
    for (size_t i = 0; i < n; i++) {
        const struct vs_gguf_tensor *t = &a->tensors[i];
        struct vs_str first = before(t->name, ".lora_a"), second = before(t->name, ".lora_b"), name = first.n ? first : second;
        if (!name.n)
            return REFUSED("%s: this tensor is neither lora_a nor lora_b", SHOW(t->name));
        size_t k = 0;
        while (k < a->n_pairs && !(a->pairs[k].name.n == name.n && memcmp(a->pairs[k].name.data, name.data, name.n) == 0))
            k++;
        if (k == a->n_pairs)
            a->pairs[a->n_pairs++] = (struct vs_adapter_pair){ .name = name };
        *(first.n ? &a->pairs[k].a : &a->pairs[k].b) = t;
    }
    int r = VS_OK;
    for (size_t k = 0; k < a->n_pairs && r == VS_OK; k++)
        r = check_pair(&a->pairs[k], model, alpha, err);
    return r;
}

/* One NaN would spoil every answer, and be noticed only there. */
static int check_weights(const struct vs_source *file, const struct vs_gguf_tensor *t, uint8_t *block, struct vs_error *err)
{
    size_t size = t->dtype->id == VS_F32 ? 4 : 2;
    uint32_t exponent = t->dtype->id == VS_F16 ? 0x7c00 : 0x7f80;
    for (uint64_t at = 0, n; at < t->n_bytes; at += n) {
        n = t->n_bytes - at < BLOCK ? t->n_bytes - at : BLOCK;
        int r = vs_source_read(file, t->offset + at, (size_t)n, block, err);
        if (r != VS_OK)
            return r;
        for (size_t i = 0; i + size <= n; i += size) {
            uint32_t high = size == 4 ? vs_load_u32le(block + i) >> 16 : vs_load_u16le(block + i);
            if ((high & exponent) == exponent)
                return WRONG("%s: weight %llu is NaN or infinite", SHOW(t->name), (unsigned long long)((at + i) / size));
        }
    }
    return VS_OK;
}

static int read_all(struct vs_adapter *a, const struct vs_source *file, uint64_t start, uint64_t n_bytes, struct vs_error *err)
{
    struct vs_error why = { 0 };
    int r = VS_E_SHORT;
    for (uint64_t want = 1 << 20; r == VS_E_SHORT; want *= 4) {
        size_t n = (size_t)(want < n_bytes ? want : n_bytes);
        uint8_t *head = want <= 4 * (uint64_t)MAX_HEAD ? realloc(a->head, n ? n : 1) : NULL;
        if (!head)
            return vs_error_set(err, VS_E_NOMEM, "adapter: no memory for its header");
        a->head = head;
        r = vs_source_read(file, start, n, head, err);
        if (r != VS_OK)
            return r;
        r = vs_gguf_open(head, n, n_bytes, &a->gguf, &why);
        if (r == VS_E_SHORT && n == n_bytes)
            r = vs_error_set(&why, VS_E_MALFORMED, "the file ends inside its header");
    }
    return r == VS_OK ? VS_OK : vs_error_set(err, r, "adapter: %s", why.text);
}

int vs_adapter_open(const struct vs_source *file, uint64_t start, uint64_t n_bytes, const struct vs_gguf *g,
                    struct vs_adapter **ret, struct vs_error *err)
{
    struct vs_adapter *a = calloc(1, sizeof *a);
    uint8_t *block = malloc(BLOCK);
    float alpha = 0;
    int r = a && block ? read_all(a, file, start, n_bytes, err) : vs_error_set(err, VS_E_NOMEM, "adapter: out of memory");
    if (r == VS_OK)
        r = check_keys(a->gguf, g, &alpha, err);
    size_t n = r == VS_OK ? vs_gguf_n_tensors(a->gguf) : 0;
    if (r == VS_OK) {
        a->tensors = calloc(n + 1, sizeof *a->tensors);
        a->pairs = calloc(n + 1, sizeof *a->pairs);
        if (!a->tensors || !a->pairs)
            r = vs_error_set(err, VS_E_NOMEM, "adapter: out of memory");
    }
    for (size_t i = 0; i < n && r == VS_OK; i++) {
        a->tensors[i] = *vs_gguf_tensor_at(a->gguf, i);
        a->tensors[i].offset += start;
    }
    if (r == VS_OK)
        r = find_pairs(a, g, alpha, err);
    for (size_t i = 0; i < n && r == VS_OK; i++)
        r = check_weights(file, &a->tensors[i], block, err);
    free(block);
    if (r == VS_OK)
        *ret = a;
    else
        vs_adapter_close(a);
    return r;
}

void vs_adapter_close(struct vs_adapter *a)
{
    if (!a)
        return;
    vs_gguf_close(a->gguf);
    free(a->tensors);
    free(a->pairs);
    free(a->head);
    free(a);
}

size_t vs_adapter_n_pairs(const struct vs_adapter *a)
{
    return a->n_pairs;
}

const struct vs_adapter_pair *vs_adapter_pair_at(const struct vs_adapter *a, size_t i)
{
    return &a->pairs[i];
}

const struct vs_adapter_pair *vs_adapter_find(const struct vs_adapter *a, const char *name)
{
    for (size_t i = 0; i < a->n_pairs; i++)
        if (is(a->pairs[i].name, name))
            return &a->pairs[i];
    return NULL;
}
