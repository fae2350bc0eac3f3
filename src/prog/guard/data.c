/* prog/guard/data.c - DATA: numbers of 32 bits, for requests that are answered by so many that a result can't hold them.
 *
 *     logits, embed    float32
 *     tokenize         ids of tokens, where there are more than a million
 *
 * All others have none. The bytes of a float may spell something all the same. So runs of printable bytes that are long enough to
 * be a secret are looked at like any text, and what a frame ends with that the next may go on with waits for that. A number can't
 * be replaced: where something would be, the answer ends. */
#include "prog/guard/guard.h"

#include "base/bytes.h"

enum {
    WIDTH = 4,                          /* bytes of a number */
    LEAST_RUN = 12,                     /* printable bytes: one of 60,000 floats begins such a run by chance */
    MOST_HELD = 256,
};

static const struct form {
    uint16_t type;
    uint32_t most;                      /* the largest number; 0: any */
} forms[] = {
    { VS_MSG_LOGITS, 0 },
    { VS_MSG_EMBED, 0 },
    { VS_MSG_TOKENIZE, (1u << 24) - 1 },         /* one byte of four is 0, so nothing is spelt */
};

static const struct form *form_of(uint16_t type)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (forms[i].type == type)
            return &forms[i];
    return NULL;
}

static const char *judge(const struct form *form, const struct vs_frame *f)
{
    if (!form)
        return "it sends data for a request that has none";
    if (f->n % WIDTH)
        return "its data are no whole numbers";
    for (uint32_t i = 0; i < f->n && form->most; i += WIDTH)
        if (vs_load_u32le(f->data + i) > form->most)
            return "its data are no ids";
    return NULL;
}

static bool is_printable(char c)
{
    return c >= ' ' && c <= '~';
}

/* Looks at every run; *ret_open: bytes of the one at the end. False: what was found does not pass. */
static bool look(struct pass *p, const char *bytes, size_t n, size_t *ret_open)
{
    bool passed = true, changed;
    for (size_t i = 0, run; i < n; i += run + 1) {
        for (run = 0; i + run < n && is_printable(bytes[i + run]); run++)
            ;
        if (run >= LEAST_RUN)
            passed &= screen_text(p->screen, SIDE_RESULT, bytes + i, run, "data", &p->verdict, NULL, &changed) && !changed;
        *ret_open = i + run >= n ? run : 0;
    }
    return passed;
}

/* The first bytes of what waits, in frames. */
static void let_go(struct guard *g, struct pass *p, size_t n)
{
    for (size_t at = 0, piece; at < n; at += piece) {
        piece = n - at < VS_MAX_CHUNK ? n - at : VS_MAX_CHUNK;
        pass_emit(g, p, VS_MSG_DATA, 0, p->data.data + at, piece);
    }
    vs_buf_drop(&p->data, n);
}

const char *data_take(struct guard *g, struct pass *p, const struct vs_frame *f)
{
    const char *why = judge(form_of(p->type), f);
    size_t open = 0, held;
    if (why || p->is_cut)
        return why;
    if (!p->screen->side[SIDE_RESULT].n) {
        pass_emit(g, p, f->type, f->flags, f->data, f->n);
        return NULL;
    }
    vs_buf_add(&p->data, f->data, f->n);
    if (p->data.status != VS_OK)
        guard_leave("out of memory");
    if (!look(p, p->data.data, p->data.n, &open)) {
        output_cut(g, p);
        return NULL;
    }
    held = (open < MOST_HELD ? open : MOST_HELD) + WIDTH - 1;
    held -= held % WIDTH;
    let_go(g, p, p->data.n - (held < p->data.n ? held : p->data.n));
    return NULL;
}

void data_end(struct guard *g, struct pass *p)
{
    let_go(g, p, p->is_cut ? 0 : p->data.n);
}
