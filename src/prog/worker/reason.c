/* prog/worker/reason.c - reasoning in front of an answer that keeps a form (generate.h).
 *
 *     MAY_BEGIN --its mark--> UNDER_WAY --its end--> MAY_SPACE --white space, or the form--> OVER
 *         '------------------------------ the form ------------------------------------------^
 *
 * What is reasoned is free, but it does not end the answer, and it ends itself when just enough tokens are left for its end and the
 * shortest answer: then the tokens of its end are the only ones that are allowed.
 */
#include "prog/worker/generate.h"

#include <stdlib.h>
#include <string.h>

enum { SPACE_TOKENS = 2 };

/* The id of a text that is one token; VS_TOKENIZER_NONE. */
static int one_token(const struct vs_service *s, const char *text, struct vs_check *check, uint32_t *ret, struct vs_error *err)
{
    struct vs_ids ids = { 0 };
    int r = vs_service_encode(s, text, strlen(text), true, 0, check, &ids, err);
    *ret = ids.n == 1 ? ids.id[0] : VS_TOKENIZER_NONE;
    vs_ids_clear(&ids);
    return r;
}

int vs_reason_marks_read(const struct vs_service *s, const struct vs_style *style, struct vs_check *check,
                         struct vs_reason_marks *ret, struct vs_error *err)
{
    static const char *const spaces[SPACE_TOKENS] = { "\n\n", "\n" };
    enum vs_mark open, close;
    if (!vs_style_thinks(style, &open, &close))
        return VS_OK;
    ret->close_text = vs_mark_text[close];
    int r = one_token(s, vs_mark_text[open], check, &ret->open, err);
    for (size_t i = 0; i < SPACE_TOKENS && r == VS_OK; i++)
        r = one_token(s, spaces[i], check, &ret->space[i], err);
    if (r == VS_OK)
        r = vs_service_encode(s, ret->close_text, strlen(ret->close_text), true, 0, check, &ret->close, err);
    ret->is_control = ret->close.n && vs_tokenizer_is_control(s->tokenizer, ret->close.id[ret->close.n - 1]);
    return r;
}

void vs_reason_marks_clear(struct vs_reason_marks *m)
{
    vs_ids_clear(&m->close);
}

int vs_reasoning_init(struct vs_reasoning *r, const struct vs_reason_marks *marks, const struct vs_service *s, uint32_t shortest,
                      bool is_open)
{
    r->marks = marks;
    r->tokenizer = s->tokenizer;
    r->shortest = shortest;
    r->n_words = (vs_model_n_vocab(s->model) + 63) / 64;
    r->state = is_open ? VS_REASON_UNDER_WAY : marks->open != VS_TOKENIZER_NONE ? VS_REASON_MAY_BEGIN : VS_REASON_OVER;
    r->bits = r->state == VS_REASON_OVER ? NULL : malloc((2 * r->n_words + 1) * sizeof *r->bits);
    if (!r->bits)
        return r->state == VS_REASON_OVER ? VS_OK : VS_E_NOMEM;
    r->goes_on = r->bits + r->n_words;
    memset(r->goes_on, 0xff, r->n_words * sizeof *r->goes_on);
    for (uint32_t id = 0; id < vs_tokenizer_n_vocab(r->tokenizer) && id / 64 < r->n_words; id++)
        if (vs_tokenizer_is_end(r->tokenizer, id))
            r->goes_on[id / 64] &= ~(UINT64_C(1) << id % 64);
    return VS_OK;
}

void vs_reasoning_clear(struct vs_reasoning *r)
{
    free(r->bits);
    r->bits = NULL;
}

static void allow(struct vs_reasoning *r, uint32_t id)
{
    r->bits[id / 64] |= UINT64_C(1) << id % 64;
}

/* Must it end, when `left` tokens may follow the next one? */
static bool must_close(const struct vs_reasoning *r, uint32_t left)
{
    return r->n_forced || left < r->marks->close.n + r->shortest;
}

static void allow_reasoning(struct vs_reasoning *r, uint32_t left)
{
    if (must_close(r, left)) {
        memset(r->bits, 0, r->n_words * sizeof *r->bits);
        allow(r, r->marks->close.id[r->n_forced]);
        return;
    }
    memcpy(r->bits, r->goes_on, r->n_words * sizeof *r->bits);
}

const uint64_t *vs_reasoning_mask(struct vs_reasoning *r, struct vs_matcher *m, uint32_t left)
{
    if (r->state == VS_REASON_UNDER_WAY) {
        allow_reasoning(r, left);
        return r->bits;
    }
    const uint64_t *form = vs_matcher_mask(m, left);
    if (!form || r->state == VS_REASON_OVER)
        return form;
    memcpy(r->bits, form, r->n_words * sizeof *r->bits);
    if (r->state == VS_REASON_MAY_BEGIN && left >= r->marks->close.n + r->shortest)
        allow(r, r->marks->open);
    for (size_t i = 0; i < SPACE_TOKENS && r->state == VS_REASON_MAY_SPACE && left >= r->shortest; i++)
        if (r->marks->space[i] != VS_TOKENIZER_NONE)
            allow(r, r->marks->space[i]);
    return r->bits;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* The end of what was reasoned, with this token behind it. */
static size_t join(const struct vs_reasoning *r, uint32_t id, char *text, size_t cap)
{
    size_t n = 0;
    const char *more = vs_tokenizer_is_control(r->tokenizer, id) ? NULL : vs_tokenizer_text(r->tokenizer, id, &n);
    n = more ? n : 0;
    n = n < cap - r->n_tail ? n : cap - r->n_tail;
    memcpy(text, r->tail, r->n_tail);
    if (n)
        memcpy(text + r->n_tail, more, n);
    return r->n_tail + n;
}

bool vs_reasoning_refuses(struct vs_reasoning *r, uint32_t id)
{
    char text[VS_REASON_TAIL + 512];
    if (r->state != VS_REASON_UNDER_WAY || r->n_forced || r->marks->is_control)
        return false;
    size_t n = join(r, id, text, sizeof text), n_mark = strlen(r->marks->close_text);
    const char *mark = memmem(text, n, r->marks->close_text, n_mark), *at = mark ? mark + n_mark : text + n;
    while (at < text + n && is_space(*at))
        at++;
    if (at == text + n)
        return false;
    r->bits[id / 64] &= ~(UINT64_C(1) << id % 64);
    return true;
}

bool vs_reasoning_takes(struct vs_reasoning *r, uint32_t id, uint32_t left)
{
    char text[VS_REASON_TAIL + 512];
    bool takes = r->state == VS_REASON_UNDER_WAY || (r->state == VS_REASON_MAY_BEGIN && id == r->marks->open);
    for (size_t i = 0; i < SPACE_TOKENS && r->state == VS_REASON_MAY_SPACE; i++)
        takes |= id == r->marks->space[i];
    if (r->state == VS_REASON_UNDER_WAY) {
        size_t n = join(r, id, text, sizeof text), n_mark = strlen(r->marks->close_text), keep = n_mark < n ? n_mark : n;
        keep = keep < VS_REASON_TAIL ? keep : VS_REASON_TAIL;
        r->has_space = n && is_space(text[n - 1]);
        memcpy(r->tail, text + n - keep, keep);
        r->n_tail = keep;
        r->n_forced += must_close(r, left) && r->n_forced + 1 < r->marks->close.n;
    } else {
        r->state = takes && r->state == VS_REASON_MAY_BEGIN ? VS_REASON_UNDER_WAY : VS_REASON_OVER;
    }
    return takes;
}

void vs_reasoning_ended(struct vs_reasoning *r)
{
    if (r->state == VS_REASON_UNDER_WAY)
        r->state = r->has_space ? VS_REASON_OVER : VS_REASON_MAY_SPACE;
}
