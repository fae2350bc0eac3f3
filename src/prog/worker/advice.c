/* prog/worker/advice.c - what a model file recommends for sampling: its keys general.sampling.*, as llama.cpp knows them.
 *
 * Each is honoured or refused by name: a recommendation that we can't follow would otherwise give other answers than its author
 * meant, silently. A request goes its own way key by key, or altogether with sampling.ignore_file.
 */
#include "prog/worker/generate.h"

#include <math.h>
#include <string.h>

#define PREFIX "general.sampling."
#define WAY_OUT "; --ignore-file-sampling goes without what the file recommends"

enum kind { NUMBER, TOP_K, LAST_N, MUST_BE_0, FOR_THE_ABOVE, SEQUENCE };

static const struct advice {
    const char *name;
    enum kind kind;
    const char *key;                     /* of the request's sampling, which has the last word */
    size_t offset;                       /* in struct vs_sampling */
} known[] = {
    { "temp",            NUMBER, "temperature",    offsetof(struct vs_sampling, temperature) },
    { "top_k",           TOP_K,  "top_k",          0 },
    { "top_p",           NUMBER, "top_p",          offsetof(struct vs_sampling, top_p) },
    { "min_p",           NUMBER, "min_p",          offsetof(struct vs_sampling, min_p) },
    { "penalty_last_n",  LAST_N, "repeat_last_n",  0 },
    { "penalty_repeat",  NUMBER, "repeat_penalty", offsetof(struct vs_sampling, repeat_penalty) },
    { "xtc_probability", MUST_BE_0, NULL, 0 },
    { "xtc_threshold",   FOR_THE_ABOVE, NULL, 0 },
    { "mirostat",        MUST_BE_0, NULL, 0 },
    { "mirostat_tau",    FOR_THE_ABOVE, NULL, 0 },
    { "mirostat_eta",    FOR_THE_ABOVE, NULL, 0 },
    { "sequence",        SEQUENCE, NULL, 0 },
};

/* Samplers in the contract's order. Top-k only counts, so it may stand on either side of the temperature. */
static const struct step {
    const char *name;
    int rank;                            /* 0: does nothing here unless the file asks for it by a value, which is refused above */
} steps[] = {
    { "penalties", 1 }, { "temperature", 2 }, { "top_k", 2 }, { "typ_p", 3 }, { "top_p", 4 }, { "min_p", 5 },
    { "dry", 0 }, { "top_n_sigma", 0 }, { "xtc", 0 },
};
enum { N_STEPS = sizeof steps / sizeof *steps, MAX_SEQUENCE = 64 };
enum { PENALTIES, TEMPERATURE, TOP_K_STEP, TYPICAL, TOP_P, MIN_P };

static bool is_given(const json_t *o, const char *key)
{
    const json_t *v = key ? json_object_get(o, key) : NULL;
    return v && !json_is_null(v);
}

static bool does_something(const struct vs_sampling *p, int step)
{
    switch (step) {
    case PENALTIES: return p->repeat_penalty != 1 || p->presence_penalty != 0 || p->frequency_penalty != 0;
    case TEMPERATURE: return p->temperature != 1;
    case TOP_K_STEP: return p->top_k != 0;
    case TYPICAL: return p->typical_p < 1;
    case TOP_P: return p->top_p < 1;
    case MIN_P: return p->min_p > 0;
    default: return false;
    }
}

static int step_find(const char *name, size_t n)
{
    for (int i = 0; i < N_STEPS; i++)
        if (strlen(steps[i].name) == n && memcmp(steps[i].name, name, n) == 0)
            return i;
    return -1;
}

/* What the file's sequence does not name is off, unless the request asks for it. */
static void switch_off(struct vs_sampling *p, const json_t *given, const bool named[N_STEPS])
{
    if (!named[PENALTIES] && !is_given(given, "repeat_penalty"))
        p->repeat_penalty = 1;
    if (!named[TEMPERATURE] && !is_given(given, "temperature"))
        p->temperature = 1;
    if (!named[TOP_K_STEP] && !is_given(given, "top_k"))
        p->top_k = 0;
    if (!named[TYPICAL] && !is_given(given, "typical_p"))
        p->typical_p = 1;
    if (!named[TOP_P] && !is_given(given, "top_p"))
        p->top_p = 1;
    if (!named[MIN_P] && !is_given(given, "min_p"))
        p->min_p = 0;
}

/* The steps that the file names, in its order. */
static int read_sequence(const struct vs_str *names, int order[MAX_SEQUENCE], size_t *ret_n, struct vs_error *err)
{
    size_t n_order = 0;
    for (size_t i = 0, n; i < names->n; i += n + 1) {
        const char *end = memchr(names->data + i, ';', names->n - i);
        n = end ? (size_t)(end - names->data) - i : names->n - i;
        if (!n)
            continue;
        int step = step_find(names->data + i, n);
        if (step < 0 || n_order == MAX_SEQUENCE)
            return vs_error_set(err, VS_E_UNSUPPORTED, "the model file's " PREFIX "sequence names an unknown sampler" WAY_OUT);
        order[n_order++] = step;
    }
    *ret_n = n_order;
    return VS_OK;
}

int vs_advice_sequence(const struct vs_entries *entries, const json_t *given, struct vs_sampling *p, struct vs_error *err)
{
    struct vs_str names;
    bool named[N_STEPS] = { false };
    int order[MAX_SEQUENCE], rank = 0;
    size_t n = 0;
    if (json_is_true(json_object_get(given, "ignore_file")) || !vs_entries_find(entries, PREFIX "sequence"))
        return VS_OK;
    if (vs_entries_str(entries, PREFIX "sequence", &names, NULL) != VS_OK)
        return vs_error_set(err, VS_E_MALFORMED, "the model file's " PREFIX "sequence is no text" WAY_OUT);
    int r = read_sequence(&names, order, &n, err);
    if (r != VS_OK)
        return r;
    for (size_t i = 0; i < n; i++)
        named[order[i]] = true;
    switch_off(p, given, named);
    for (size_t i = 0; i < n; i++) {
        if (!does_something(p, order[i]))
            continue;
        if (steps[order[i]].rank < rank)
            return vs_error_set(err, VS_E_UNSUPPORTED, "the model file's " PREFIX "sequence wants %s in another place; here "
                                "the order is penalties, temperature, top_k, typ_p, top_p, min_p" WAY_OUT, steps[order[i]].name);
        rank = steps[order[i]].rank;
    }
    return VS_OK;
}

static int apply(const struct vs_entry *kv, const struct advice *a, struct vs_sampling *p, struct vs_error *err)
{
    double number;
    int64_t whole;
    bool is_number = kv->type != VS_ENTRY_ARRAY && kv->type != VS_ENTRY_BOOL && vs_entry_float(kv, 0, &number);
    bool is_whole = is_number && vs_entry_int(kv, 0, &whole);
    if (!is_number || !isfinite(number))
        return vs_error_set(err, VS_E_MALFORMED, "the model file's " PREFIX "%s is no number" WAY_OUT, a->name);
    switch (a->kind) {
    case NUMBER:
        *(float *)(void *)((char *)p + a->offset) = (float)number;
        return VS_OK;
    case TOP_K:
        if (!is_whole || whole > INT32_MAX)
            return vs_error_set(err, VS_E_MALFORMED, "the model file's " PREFIX "top_k is no whole number in range" WAY_OUT);
        p->top_k = whole < 0 ? 0 : (uint32_t)whole;         /* writers mean by -1: off */
        return VS_OK;
    case LAST_N:
        if (!is_whole || whole < -1 || whole > INT32_MAX)
            return vs_error_set(err, VS_E_MALFORMED, "the model file's " PREFIX "penalty_last_n is out of range" WAY_OUT);
        p->repeat_last_n = (int32_t)whole;
        return VS_OK;
    case MUST_BE_0:
        if (number != 0)
            return vs_error_set(err, VS_E_UNSUPPORTED, "the model file recommends " PREFIX "%s %g, which is not offered here"
                                WAY_OUT, a->name, number);
        return VS_OK;
    default:
        return VS_OK;
    }
}

static const struct advice *known_find(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].name) == n && memcmp(known[i].name, name, n) == 0)
            return &known[i];
    return NULL;
}

int vs_advice_apply(const struct vs_entries *entries, const json_t *given, uint32_t n_vocab, struct vs_sampling *p,
                    struct vs_error *err)
{
    static const size_t n_prefix = sizeof PREFIX - 1;
    struct vs_error why;
    if (json_is_true(json_object_get(given, "ignore_file")))
        return VS_OK;
    for (size_t i = 0; i < entries->n; i++) {
        const struct vs_entry *kv = &entries->entry[i];
        if (kv->key.n < n_prefix || memcmp(kv->key.data, PREFIX, n_prefix) != 0)
            continue;
        const struct advice *a = known_find(kv->key.data + n_prefix, kv->key.n - n_prefix);
        if (!a)
            return vs_error_set(err, VS_E_UNSUPPORTED, "the model file recommends %.*s, which is not known here" WAY_OUT,
                                (int)(kv->key.n < 80 ? kv->key.n : 80), kv->key.data);
        int r = a->kind == SEQUENCE || is_given(given, a->key) ? VS_OK : apply(kv, a, p, err);
        if (r != VS_OK)
            return r;
    }
    if (vs_sampling_check(p, n_vocab, &why) != VS_OK)
        return vs_error_set(err, VS_E_MALFORMED, "the model file's general.sampling: %s" WAY_OUT, why.text);
    return VS_OK;
}
