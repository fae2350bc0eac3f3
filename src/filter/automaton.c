/* filter/automaton.c - see automaton.h. */
#include "filter/automaton.h"

#include <hs/hs_common.h>
#include <hs/hs_runtime.h>
#include <stdlib.h>

struct vs_automaton {
    hs_database_t *database;
    hs_scratch_t *scratch;
};

const char *vs_automaton_version(void)
{
    return hs_version();
}

int vs_automaton_open(const void *bytes, size_t n, struct vs_automaton **ret, struct vs_error *err)
{
    if (hs_valid_platform() != HS_SUCCESS)
        return vs_error_set(err, VS_E_UNSUPPORTED, "rules: Vectorscan needs SSE 4.2, which this processor does not have");
    struct vs_automaton *a = calloc(1, sizeof *a);
    if (!a)
        return vs_error_set(err, VS_E_NOMEM, "rules: out of memory");
    hs_error_t r = hs_deserialize_database(bytes, n, &a->database);
    if (r == HS_SUCCESS)
        r = hs_alloc_scratch(a->database, &a->scratch);
    if (r != HS_SUCCESS) {
        vs_automaton_close(a);
        if (r == HS_NOMEM)
            return vs_error_set(err, VS_E_NOMEM, "rules: out of memory");
        return vs_error_set(err, VS_E_MALFORMED, "rules: Vectorscan %s can't read the automaton (%d): build the rules again",
                            hs_version(), r);
    }
    *ret = a;
    return VS_OK;
}

void vs_automaton_close(struct vs_automaton *a)
{
    if (!a)
        return;
    hs_free_scratch(a->scratch);
    hs_free_database(a->database);
    free(a);
}

size_t vs_automaton_bytes(const struct vs_automaton *a)
{
    size_t database = 0, scratch = 0;
    hs_database_size(a->database, &database);
    hs_scratch_size(a->scratch, &scratch);
    return sizeof *a + database + scratch;
}

struct told { vs_automaton_fn *told; void *arg; };

static int on_match(unsigned pattern, unsigned long long from, unsigned long long to, unsigned flags, void *context)
{
    (void)flags;
    const struct told *t = context;
    t->told(t->arg, pattern, (size_t)from, (size_t)to);
    return 0;
}

int vs_automaton_scan(struct vs_automaton *a, const char *text, size_t n, vs_automaton_fn *told, void *arg)
{
    if (n > UINT32_MAX)
        return VS_E_LIMIT;
    struct told t = { told, arg };
    return n && hs_scan(a->database, text, (unsigned)n, 0, a->scratch, on_match, &t) != HS_SUCCESS ? VS_E_LIMIT : VS_OK;
}
