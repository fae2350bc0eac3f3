/* template/json.c - tojson: Python's json.dumps. Text of the input stays untrusted inside the JSON it becomes part of. */
#include "template/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct writer { struct vs_tp_builder b; const struct vs_tp_json *style; };

static bool put_text(struct writer *w, const struct vs_tp_str *s)
{
    vs_tp_put_cstr(&w->b, "\"");
    for (struct vs_tp_walk walk = vs_tp_over(w->b.vm, s, 0, s->n); vs_tp_walk(&walk);) {
        uint32_t c = walk.c;
        size_t at = walk.at, n = walk.n;
        char text[16] = { 0 };
        static const char special[] = "\"\\\n\r\t\f\b", letter[] = "\"\\nrtfb";
        const char *hit = c && c < 0x80 ? strchr(special, (int)c) : NULL;
        if (hit)
            snprintf(text, sizeof text, "\\%c", letter[hit - special]);
        else if (c < 0x20 || (w->style->ascii && c > 0x7e && c < 0x10000))
            snprintf(text, sizeof text, "\\u%04x", c);
        else if (w->style->ascii && c > 0x7e)
            snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + (c & 0x3ff));
        else {
            if (!vs_tp_put_part(&w->b, s, at, n))
                return false;
            continue;
        }
        if (!vs_tp_put(&w->b, text, strlen(text), vs_tp_mark(s, at)))
            return false;
    }
    return vs_tp_put_cstr(&w->b, "\"");
}

static bool put_scalar(struct writer *w, struct vs_tp_value v)
{
    char text[64];
    switch (v.kind) {
    case VS_TP_NONE: snprintf(text, sizeof text, "%s", "null"); break;
    case VS_TP_BOOL: snprintf(text, sizeof text, "%s", v.u.b ? "true" : "false"); break;
    case VS_TP_INT: snprintf(text, sizeof text, "%lld", (long long)v.u.i); break;
    case VS_TP_FLOAT:
        vs_tp_float_repr(v.u.f, text);
        if (isnan(v.u.f))
            snprintf(text, sizeof text, "%s", "NaN");
        else if (isinf(v.u.f))
            snprintf(text, sizeof text, "%s", v.u.f < 0 ? "-Infinity" : "Infinity");
        break;
    default:
        return vs_tp_fail(w->b.vm, VS_E_INVALID, "Object of type %s is not JSON serializable", vs_tp_type_name(v));
    }
    return vs_tp_put(&w->b, text, strlen(text), v.trusted);
}

static bool new_line(struct writer *w, int depth)
{
    if (!w->style->indent)
        return true;
    bool good = vs_tp_put_cstr(&w->b, "\n");
    for (int i = 0; good && i < depth; i++)
        good = vs_tp_put_str(&w->b, w->style->indent);
    return good;
}

static bool put(struct writer *w, struct vs_tp_value v, int depth);

static bool put_key(struct writer *w, struct vs_tp_value key)
{
    if (key.kind == VS_TP_STR)
        return put_text(w, key.u.str);
    if (key.kind != VS_TP_NONE && !vs_tp_is_number(key))
        return vs_tp_fail(w->b.vm, VS_E_INVALID, "keys must be str, int, float, bool or None, not %s", vs_tp_type_name(key));
    return vs_tp_put_cstr(&w->b, "\"") && put_scalar(w, key) && vs_tp_put_cstr(&w->b, "\"");
}

/* Stable insertion by key; bounded by steps like everything else. */
static bool sort_pairs(struct writer *w, struct vs_tp_dict *d, struct vs_tp_pair **ret)
{
    struct vs_tp_vm *vm = w->b.vm;
    struct vs_tp_pair *sorted = vs_tp_alloc(&vm->arena, d->n * sizeof *sorted);
    if (!sorted)
        return vs_tp_fail_memory(vm);
    for (size_t i = 0; i < d->n; i++) {
        size_t lo = 0, hi = i;
        while (lo < hi) {
            size_t mid = lo + (hi - lo) / 2;
            int order;
            if (!vs_tp_order(vm, d->pair[i].key, sorted[mid].key, "<", &order))
                return false;
            if (order < 0)
                hi = mid;
            else
                lo = mid + 1;
        }
        if (!vs_tp_step(vm, 1 + (i - lo) / 16))
            return false;
        memmove(sorted + lo + 1, sorted + lo, (i - lo) * sizeof *sorted);
        sorted[lo] = d->pair[i];
    }
    *ret = sorted;
    return true;
}

static bool put_object(struct writer *w, struct vs_tp_dict *d, int depth)
{
    struct vs_tp_pair *pair = d->pair;
    if (!d->n)
        return vs_tp_put_cstr(&w->b, "{}");
    if (w->style->sort && !sort_pairs(w, d, &pair))
        return false;
    vs_tp_put_cstr(&w->b, "{");
    for (size_t i = 0; i < d->n; i++)
        if ((i && !vs_tp_put_str(&w->b, w->style->item)) || !new_line(w, depth + 1) || !put_key(w, pair[i].key) ||
            !vs_tp_put_str(&w->b, w->style->key) || !put(w, pair[i].value, depth + 1))
            return false;
    return new_line(w, depth) && vs_tp_put_cstr(&w->b, "}");
}

static bool put_array(struct writer *w, struct vs_tp_list *l, int depth)
{
    if (!l->n)
        return vs_tp_put_cstr(&w->b, "[]");
    vs_tp_put_cstr(&w->b, "[");
    for (size_t i = 0; i < l->n; i++)
        if ((i && !vs_tp_put_str(&w->b, w->style->item)) || !new_line(w, depth + 1) || !put(w, l->item[i], depth + 1))
            return false;
    return new_line(w, depth) && vs_tp_put_cstr(&w->b, "]");
}

static bool put(struct writer *w, struct vs_tp_value v, int depth)
{
    if (v.kind == VS_TP_STR)
        return put_text(w, v.u.str);
    if (v.kind != VS_TP_DICT && v.kind != VS_TP_LIST && v.kind != VS_TP_TUPLE)
        return put_scalar(w, v);
    if (!vs_tp_step(w->b.vm, 1) || !vs_tp_enter(w->b.vm))
        return false;
    bool good = v.kind == VS_TP_DICT ? put_object(w, v.u.dict, depth) : put_array(w, v.u.list, depth);
    vs_tp_leave(w->b.vm);
    return good;
}

bool vs_tp_json(struct vs_tp_vm *vm, struct vs_tp_value v, const struct vs_tp_json *style, struct vs_tp_value *ret)
{
    struct writer w = { .style = style };
    vs_tp_build(&w.b, vm);
    return put(&w, v, 0) && vs_tp_built_value(&w.b, ret);
}
