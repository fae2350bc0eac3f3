/* prog/worker/tell.c - what an answer says: from the text of each token to frames, each of one part (parts/parts.h).
 *
 * Text comes later than its token, when characters or stop strings were held back. So marks that are control tokens, which have no
 * text, wait for the text in front of them.
 */
#include "prog/worker/generate.h"

#include <stdlib.h>
#include <string.h>

void vs_marks_find(const struct vs_tokenizer *t, uint32_t ret[VS_N_MARKS])
{
    for (unsigned m = 0; m < VS_N_MARKS; m++)
        ret[m] = VS_TOKENIZER_NONE;
    for (uint32_t id = 0; id < vs_tokenizer_n_vocab(t); id++) {
        if (!vs_tokenizer_is_control(t, id))
            continue;
        size_t n;
        const char *piece = vs_tokenizer_piece(t, id, &n);
        for (unsigned m = 0; m < VS_N_MARKS; m++)
            if (strlen(vs_mark_text[m]) == n && memcmp(piece, vs_mark_text[m], n) == 0)
                ret[m] = id;
    }
}

unsigned vs_mark_of_id(const uint32_t mark_id[VS_N_MARKS], uint32_t id)
{
    unsigned m = 0;
    while (m < VS_N_MARKS && mark_id[m] != id)
        m++;
    return m;
}

/* What the prompt has begun the answer with. */
static int begin(struct vs_teller *t, const struct vs_parts_config *config, const char *text)
{
    int r = VS_OK;
    for (size_t n; text && *text && r == VS_OK; text += n) {
        unsigned m = vs_mark_at(text, config->is_control);
        n = m < VS_N_MARKS ? strlen(vs_mark_text[m]) : 1;
        r = m < VS_N_MARKS ? vs_parts_push_mark(t->parts, (enum vs_mark)m) : vs_parts_push(t->parts, text, n);
    }
    return r;
}

int vs_teller_init(struct vs_teller *t, const struct vs_teller_config *config, struct vs_error *err)
{
    *t = (struct vs_teller){ .mark_id = config->mark_id };
    if (!config->is_in_parts)
        return VS_OK;
    struct vs_parts_config parts = {
        .style = config->style, .tools = config->tools, .is_open = config->is_open, .is_single = config->is_single,
        .shows_control = config->special, .in_content = config->in_content,
    };
    for (unsigned m = 0; m < VS_N_MARKS; m++)
        parts.is_control[m] = !config->special && config->mark_id[m] != VS_TOKENIZER_NONE;
    t->has_marks = !config->special;
    if (vs_parts_create(&parts, &t->parts) != VS_OK || begin(t, &parts, config->lead) != VS_OK
        || begin(t, &parts, config->begun) != VS_OK)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    return VS_OK;
}

void vs_teller_clear(struct vs_teller *t)
{
    for (size_t i = 0; i < t->n; i++)
        json_decref(t->told[i].extra);
    free(t->told);
    free(t->waiting);
    vs_buf_clear(&t->text);
    vs_parts_free(t->parts);
}

/* Doubles the memory of a list that is full. */
static void *grown(void *list, size_t n, size_t *io_cap, size_t size)
{
    if (n < *io_cap)
        return list;
    size_t cap = *io_cap ? 2 * *io_cap : 4;
    void *more = realloc(list, cap * size);
    if (more)
        *io_cap = cap;
    return more;
}

int vs_teller_token(struct vs_teller *t, uint32_t id, size_t n_held, struct vs_error *err)
{
    unsigned m = t->parts && t->has_marks ? vs_mark_of_id(t->mark_id, id) : VS_N_MARKS;
    if (m == VS_N_MARKS)
        return VS_OK;
    struct vs_waiting_mark *waiting = grown(t->waiting, t->n_waiting, &t->cap_waiting, sizeof *waiting);
    if (!waiting)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    t->waiting = waiting;
    t->waiting[t->n_waiting++] = (struct vs_waiting_mark){ t->n_taken + n_held, (enum vs_mark)m };
    return VS_OK;
}

static int tell(struct vs_teller *t, uint32_t id, uint32_t part, const char *text, size_t n, json_t *extra)
{
    struct vs_telling *told = grown(t->told, t->n, &t->cap, sizeof *told);
    if (!told)
        return VS_E_NOMEM;
    t->told = told;
    t->told[t->n++] = (struct vs_telling){ id, part, n, extra };
    vs_buf_add(&t->text, text, n);
    return t->text.status;
}

/* The text goes through the parser, the marks at their places. */
static int parse(struct vs_teller *t, const char *text, size_t n, bool is_last)
{
    size_t end = t->n_taken + n, i = 0;
    int r = VS_OK;
    for (; r == VS_OK && i < t->n_waiting && t->waiting[i].at <= end; i++) {
        size_t before = t->waiting[i].at - t->n_taken;
        r = vs_parts_push(t->parts, text, before);
        if (r == VS_OK)
            r = vs_parts_push_mark(t->parts, t->waiting[i].mark);
        text += before;
        n -= before;
        t->n_taken += before;
    }
    if (r == VS_OK)
        r = vs_parts_push(t->parts, text, n);
    t->n_taken = end;
    if (i)
        memmove(t->waiting, t->waiting + i, (t->n_waiting - i) * sizeof *t->waiting);
    t->n_waiting -= i;
    return r == VS_OK && is_last ? vs_parts_finish(t->parts) : r;
}

static int tell_parts(struct vs_teller *t, uint32_t id, json_t *extra)
{
    const struct vs_pieces *said = vs_parts_said(t->parts);
    size_t at = 0;
    int r = said->n ? VS_OK : tell(t, id, VS_PART_CONTENT, "", 0, extra);
    for (size_t i = 0; i < said->n && r == VS_OK; at += said->piece[i++].n)
        r = tell(t, i ? VS_NO_TOKEN : id, said->piece[i].part, said->text.data + at, said->piece[i].n, i ? NULL : extra);
    vs_parts_reset(t->parts);
    return r;
}

int vs_teller_add(struct vs_teller *t, uint32_t id, const char *text, size_t n, json_t *extra, bool is_last, struct vs_error *err)
{
    size_t n_told = t->n;
    int r = t->parts ? parse(t, text, n, is_last) : tell(t, id, VS_PART_CONTENT, text, n, extra);
    if (r == VS_OK && t->parts)
        r = tell_parts(t, id, extra);
    if (t->n == n_told)
        json_decref(extra);
    return r == VS_OK ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
}

void vs_teller_drop(struct vs_teller *t, size_t n)
{
    size_t bytes = 0;
    n = n < t->n ? n : t->n;
    for (size_t i = 0; i < n; i++) {
        bytes += t->told[i].n;
        json_decref(t->told[i].extra);
    }
    if (n)
        memmove(t->told, t->told + n, (t->n - n) * sizeof *t->told);
    t->n -= n;
    if (bytes)
        vs_buf_drop(&t->text, bytes);
}
