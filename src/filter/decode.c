/* filter/decode.c - the table of decoders, and the pieces that they write. Encodings are tried on runs that look like them, and
 * kept when text comes out. See decode.h and views.h. */
#include "filter/decode.h"

#include "base/status.h"
#include "base/utf8.h"

#include <string.h>

enum { AT_LEAST = 4 };                   /* bytes that a decoded piece has */

/* ---- pieces ---- */

struct vs_piece vs_piece_begin(const struct vs_source *s, size_t *budget, struct vs_reading *to)
{
    vs_reading_break(to);
    return (struct vs_piece){ s, to, budget, to->text.n };
}

bool vs_piece_add(struct vs_piece *p, char c, size_t from, size_t end, enum vs_reading_step step)
{
    if (!*p->budget)
        return false;
    --*p->budget;
    vs_reading_put(p->to, p->source, &c, 1, from, end, step);
    return true;
}

/* Text, and not what comes out when something else is decoded: UTF-8, no control, letters or digits at least for half. */
static bool is_text(const char *s, size_t n)
{
    size_t letters = 0, controls = 0;
    for (size_t i = 0; i < n; i++) {
        letters += vs_ascii_letter(s[i]) || vs_ascii_digit(s[i]) || s[i] == ' ' || (uint8_t)s[i] >= 0x80;
        controls += (uint8_t)s[i] < 0x20 && s[i] != '\n' && s[i] != '\t' && s[i] != '\r';
    }
    size_t valid = vs_utf8_valid(s, n);
    return n >= AT_LEAST && valid + 3 >= n && !controls && 2 * letters >= n;
}

/* Moves the bytes [from, from + n) of the view to `to`. */
static void move(struct vs_reading *view, size_t to, size_t from, size_t n)
{
    memmove(view->text.data + to, view->text.data + from, n);
    memmove(view->from + to, view->from + from, n * sizeof *view->from);
    memmove(view->to + to, view->to + from, n * sizeof *view->to);
    memmove(view->step + to, view->step + from, n);
}

/* Of UTF-16 every second byte is 0. */
static void drop_zeros(struct vs_reading *view, size_t before)
{
    size_t kept = before;
    for (size_t i = before; i < view->text.n; i++)
        if (view->text.data[i])
            move(view, kept++, i, 1);
    view->text.n = kept;
}

/* Of what is not text as a whole the runs that are: a byte that nobody can read does not hide what stands beside it. */
static void keep_runs(struct vs_reading *view, size_t before)
{
    enum { RUN = 12 };                   /* by chance 1 of 100,000 places begins so many bytes that can be read */
    const char *text = view->text.data;
    size_t kept = before, n = view->text.n;
    for (size_t i = before, run; i < n; i += run + 1) {
        for (run = 0; i + run < n && (uint8_t)text[i + run] < 0x80 && !vs_is_control(text[i + run]); run++)
            ;
        if (run < RUN)
            continue;
        move(view, kept, i, run);
        kept += run;
        if (i + run < n) {
            move(view, kept, i + run, 1);
            view->text.data[kept++] = '\n';
        }
    }
    view->text.n = kept;
}

/* Of the piece only `kept` bytes stay: what the others took of the budget is there again. */
static void cut(struct vs_piece *p, size_t n, size_t kept)
{
    *p->budget += n - kept;
    p->to->text.n = p->before + kept;
}

void vs_piece_drop(struct vs_piece *p)
{
    if (p->to->text.n > p->before)
        cut(p, p->to->text.n - p->before, 0);
}

bool vs_piece_end(struct vs_piece *p)
{
    struct vs_buf *text = &p->to->text;
    size_t n = text->n > p->before ? text->n - p->before : 0;
    if (text->status == VS_OK && n) {
        drop_zeros(p->to, p->before);
        if (!is_text(text->data + p->before, text->n - p->before))
            keep_runs(p->to, p->before);
        bool good = is_text(text->data + p->before, text->n - p->before);
        cut(p, n, good ? text->n - p->before : 0);
        return good;
    }
    vs_piece_drop(p);
    return false;
}

bool vs_piece_close(struct vs_piece *p, bool is_enough)
{
    if (is_enough)
        return vs_piece_end(p);
    vs_piece_drop(p);
    return false;
}

/* ---- all ---- */

/* Those first whose text is shorter than what they read. */
static vs_decoder_fn *const decoders[] = {
    vs_decode_base64, vs_decode_numbers, vs_decode_morse, vs_decode_groups, vs_decode_uu, vs_decode_base85, vs_decode_base58,
    vs_decode_escapes, vs_decode_shifted, vs_decode_reversed, vs_decode_rot47, vs_decode_reordered, vs_decode_listed,
    vs_decode_respelled, vs_decode_parts,
};

/* None may write more than half of what is left, so that there is some for each. */
void vs_reading_decoded(const struct vs_source *s, const struct vs_survey *v, size_t *budget, struct vs_reading *to)
{
    for (size_t k = 0; k < sizeof decoders / sizeof *decoders; k++) {
        size_t kept = *budget / 2, part = *budget - kept;
        decoders[k](s, v, &part, to);
        *budget = kept + part;
    }
}
