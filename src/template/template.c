/* template/template.c - see template.h: parse, render, and the bounds a render runs in. */
#include "template/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- bounds ------------------------------------------------------------------------------------------------- */

void vs_tp_set_failure(struct vs_tp_vm *vm, int code, const char *format, ...)
{
    if (vm->status != VS_OK)
        return;
    vm->status = code;
    if (!vm->err)
        return;
    vm->err->code = code;
    int n = snprintf(vm->err->text, sizeof vm->err->text, "template: line %u: ", vm->line);
    va_list args;
    va_start(args, format);
    vsnprintf(vm->err->text + n, sizeof vm->err->text - (size_t)n, format, args);
    va_end(args);
    for (char *c = vm->err->text; *c; c++)
        if ((unsigned char)*c < 0x20)
            *c = ' ';
}

bool vs_tp_fail_memory(struct vs_tp_vm *vm)
{
    if (vm->arena.status == VS_E_LIMIT)
        return vs_tp_fail(vm, VS_E_LIMIT, "rendering needs more than %zu bytes of memory", vm->arena.cap);
    return vs_tp_fail(vm, VS_E_NOMEM, "out of memory");
}

bool vs_tp_step(struct vs_tp_vm *vm, uint64_t n)
{
    if (vm->status != VS_OK)
        return false;
    if (n > vm->steps)
        return vs_tp_fail(vm, VS_E_LIMIT, "rendering takes too many steps");
    vm->steps -= n;
    int r = vs_check_work(vm->check, 8 * n);
    return r == VS_OK || vs_tp_fail(vm, r, "%s", vs_status_text(r));
}

enum { FIRST_BLOCK = 256, LARGEST_BLOCK = 1 << 20 };

bool vs_tp_copy(struct vs_tp_vm *vm, void *to, const void *from, size_t n)
{
    for (size_t at = 0, k; at < n; at += k) {
        k = n - at < LARGEST_BLOCK ? n - at : LARGEST_BLOCK;
        if (!vs_tp_work(vm, k))
            return false;
        memcpy((char *)to + at, (const char *)from + at, k);
    }
    return vm->status == VS_OK;
}

bool vs_tp_same(struct vs_tp_vm *vm, const void *a, const void *b, size_t n, bool *ret)
{
    size_t block = FIRST_BLOCK;          /* most differ early: what is paid grows with what is found equal */
    *ret = true;
    for (size_t at = 0, k; *ret && at < n && a != b; at += k, block *= block < LARGEST_BLOCK ? 2 : 1) {
        k = n - at < block ? n - at : block;
        if (!vs_tp_work(vm, k))
            return *ret = false;
        *ret = memcmp((const char *)a + at, (const char *)b + at, k) == 0;
    }
    return true;
}

bool vs_tp_enter(struct vs_tp_vm *vm)
{
    if (vm->depth >= vm->max_depth)
        return vs_tp_fail(vm, VS_E_LIMIT, "nested too deeply");
    vm->depth++;
    return true;
}

void vs_tp_leave(struct vs_tp_vm *vm)
{
    vm->depth--;
}

void *vs_tp_grow(struct vs_tp_vm *vm, void *p, size_t old, size_t n)
{
    void *q = vs_tp_extend(&vm->arena, p, old, n) ? p : vs_tp_alloc(&vm->arena, n);
    if (!q)
        return vs_tp_fail_memory(vm), NULL;
    return q == p || !old || vs_tp_copy(vm, q, p, old) ? q : NULL;
}

void *vs_tp_new(struct vs_tp_vm *vm, size_t n)
{
    if (n > FIRST_BLOCK && !vs_tp_work(vm, n))
        return NULL;
    void *p = vs_tp_alloc_zero(&vm->arena, n);
    if (!p)
        vs_tp_fail_memory(vm);
    return p;
}

/* ---- the interface ------------------------------------------------------------------------------------------ */

int vs_template_parse(const char *source, size_t n, struct vs_template **ret, struct vs_error *err)
{
    struct vs_template *t = calloc(1, sizeof *t);
    if (!t)
        return vs_error_set(err, VS_E_NOMEM, "template: out of memory");
    int status = vs_tp_parse(t, source, n, err);
    if (status == VS_OK)
        status = vs_tp_bind(t, err);
    if (status == VS_OK)
        *ret = t;
    else
        vs_template_free(t);
    return status;
}

void vs_template_free(struct vs_template *t)
{
    if (!t)
        return;
    vs_tp_arena_clear(&t->arena);
    free(t);
}

enum {
    DEFAULT_STEPS = 20000000, DEFAULT_DEPTH = 128,
    FRAMES_PER_CALL = 16,               /* C recursion: what a call within a call needs, generously */
    ARENA_PER_OUTPUT = 4, LEAST_ARENA = 1 << 20,
};

static bool load_context(struct vs_tp_vm *vm, const json_t *context, const char *const *trusted_keys)
{
    vm->context = vs_tp_dict_new(vm);
    if (!vm->context)
        return false;
    if (!context)
        return true;
    if (!json_is_object(context))
        return vs_tp_fail(vm, VS_E_INVALID, "the context is not a JSON object");
    struct vs_tp_value all;
    if (!vs_tp_from_json(vm, context, false, &all))
        return false;
    vm->context = all.u.dict;
    for (; trusted_keys && *trusted_keys; trusted_keys++) {
        const struct vs_tp_str name = { .s = *trusted_keys, .n = strlen(*trusted_keys) };
        struct vs_tp_pair *p = vs_tp_dict_find_name(vm, vm->context, &name);
        if (p && p->value.kind == VS_TP_STR)
            p->value.u.str->trusted = true;
    }
    return vm->status == VS_OK;
}

int vs_template_render(const struct vs_template *t, const json_t *context, const char *const *trusted_keys, int64_t now,
                       const struct vs_template_limits *limits, struct vs_marked_text *out, struct vs_error *err)
{
    static const struct vs_template_limits defaults;
    if (!limits)
        limits = &defaults;
    struct vs_marked_text text = { 0 };
    unsigned depth = limits->depth ? limits->depth : DEFAULT_DEPTH;
    struct vs_tp_vm vm = {
        .steps = limits->steps ? limits->steps : DEFAULT_STEPS,
        .max_calls = depth,
        .max_depth = depth < 64 ? 1024 : depth > 256 ? 4096 : depth * FRAMES_PER_CALL,
        .check = limits->check,
        .now = now,
        .out = &text,
        .out_limit = limits->output_bytes ? limits->output_bytes : (size_t)64 << 20,
        .err = err,
    };
    vm.arena.cap = vm.out_limit > SIZE_MAX / 8 ? SIZE_MAX / 2 : vm.out_limit * ARENA_PER_OUTPUT;
    if (vm.arena.cap < LEAST_ARENA)
        vm.arena.cap = LEAST_ARENA;
    if (load_context(&vm, context, trusted_keys) && vs_tp_run(&vm, t) && vm.status == VS_OK) {
        vs_marked_text_clear(out);
        *out = text;
        memset(&text, 0, sizeof text);
    } else if (vm.status == VS_OK) {
        vs_tp_fail(&vm, VS_E_FAULT, "the template stopped without saying why");
    }
    vs_marked_text_clear(&text);
    vs_tp_arena_clear(&vm.arena);
    return vm.status;
}
