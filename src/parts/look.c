/* parts/look.c - what the parser looks at, bytes that are not decided yet, and what is said of them. */
#include "parts/parser.h"

#include <stdlib.h>
#include <string.h>

/* ---- what is said ---- */

void vs_parts_say_plain(struct vs_parts *p, uint32_t part, const char *text, size_t n)
{
    struct vs_pieces *s = &p->said;
    if (!n)
        return;
    if (!s->n || s->piece[s->n - 1].part != part) {
        if (s->n == s->cap) {
            size_t cap = s->cap ? 2 * s->cap : 4;
            struct vs_piece *piece = realloc(s->piece, cap * sizeof *piece);
            if (!piece) {
                p->status = VS_E_NOMEM;
                return;
            }
            s->piece = piece;
            s->cap = cap;
        }
        s->piece[s->n++] = (struct vs_piece){ part, 0 };
    }
    s->piece[s->n - 1].n += n;
    vs_buf_add(&s->text, text, n);
    if (s->text.status != VS_OK)
        p->status = s->text.status;
}

/* The next n bytes that are not decided, and they are then. */
void vs_parts_say(struct vs_parts *p, uint32_t part, size_t n)
{
    const char *at = p->in.data + p->done, *end = at + n;
    while (at < end) {
        const char *control = memchr(at, CONTROL, (size_t)(end - at));
        vs_parts_say_plain(p, part, at, (size_t)((control ? control : end) - at));
        if (!control)
            break;
        const char *name = vs_mark_text[vs_mark_of_code(control)];
        if (p->config.shows_control)
            vs_parts_say_plain(p, part, name, strlen(name));
        at = control + VS_MARK_CODE;
    }
    p->done += n;
}

/* ---- looking at bytes ---- */

/* A long run that still goes on is looked through once: where the last one that was not empty began and ended is remembered. */
size_t vs_look_space(struct vs_parts *p, size_t at)
{
    size_t before = p->dropped + p->done, from = before + at, to = from == p->blank.at ? from + p->blank.n : from;
    while (to - before < left(p) && is_space(bytes(p)[to - before]))
        to++;
    if (to > from)
        p->blank = (struct vs_span){ from, to - from };
    return to - before;
}

enum vs_match vs_look_match(const struct vs_parts *p, size_t at, const char *text, size_t n)
{
    size_t there = left(p) - at, common = there < n ? there : n;
    if (memcmp(bytes(p) + at, text, common) != 0)
        return NO;
    return common == n ? YES : PERHAPS;
}

/* One of a list. *ret_n: its bytes. */
enum vs_match vs_look_any(const struct vs_parts *p, size_t at, const uint8_t *marks, size_t *ret_n)
{
    enum vs_match best = NO;
    for (; *marks != NO_MARK; marks++) {
        enum vs_match m = match_mark(p, at, *marks);
        if (m == YES)
            *ret_n = p->pattern[*marks].n;
        best = m > best ? m : best;
    }
    return best;
}

/* Where text begins, from call.at on; what was looked at in vain is remembered. SIZE_MAX: not yet. */
size_t vs_look_find(struct vs_parts *p, const char *text, size_t n)
{
    struct vs_call *c = &p->call;
    const char *found = left(p) - c->at >= n ? memmem(bytes(p) + c->at, left(p) - c->at, text, n) : NULL;
    if (found)
        return (size_t)(found - bytes(p));
    if (left(p) - c->at >= n)
        c->at = left(p) - n + 1;
    return SIZE_MAX;
}

struct vs_span vs_look_trimmed(const struct vs_parts *p, size_t from, size_t to)
{
    while (from < to && is_space(bytes(p)[from]))
        from++;
    while (to > from && is_space(bytes(p)[to - 1]))
        to--;
    return (struct vs_span){ from, to - from };
}

bool vs_look_is(const struct vs_parts *p, struct vs_span s, const char *word)
{
    return s.n == strlen(word) && memcmp(bytes(p) + s.at, word, s.n) == 0;
}

enum vs_match vs_look_fence(struct vs_parts *p, size_t at, size_t *ret_at)
{
    enum { MOST_WORD = 16 };             /* json, tool_call */
    static const uint8_t marks[] = { VS_MARK_FENCE, VS_MARK_FENCE_JSON, NO_MARK };
    size_t n = 0;
    enum vs_match m = vs_look_any(p, at, marks, &n);
    if (m != YES)
        return m;
    size_t from = at += n;
    while (at < left(p) && at - from < MOST_WORD && ((uint8_t)((bytes(p)[at] | 32) - 'a') < 26 || bytes(p)[at] == '_'))
        at++;
    if (at < left(p) && !is_space(bytes(p)[at]))
        return NO;
    *ret_at = at = vs_look_space(p, at);
    return at == left(p) ? PERHAPS : bytes(p)[at] == '{' || bytes(p)[at] == '[' ? YES : NO;
}

/* The next word of a header: [at, at + n) between white space and marks. */
struct vs_span vs_look_word(const struct vs_parts *p, size_t at, size_t end)
{
    static const uint8_t between[] = {
        VS_MARK_DEEPSEEK_SEP, VS_MARK_ARGS, VS_MARK_CALL_ID, VS_MARK_KIMI_ARGS, VS_MARK_CONSTRAIN, VS_MARK_MESSAGE, VS_MARK_CHANNEL,
        VS_MARK_START, VS_MARK_SOLAR_NAME, VS_MARK_SOLAR_ARGS, NO_MARK,
    };
    size_t n = 0, from = SIZE_MAX;
    while (at < end) {
        bool is_mark = vs_look_any(p, at, between, &n) == YES;
        if ((is_mark || is_space(bytes(p)[at])) && from != SIZE_MAX)
            break;
        if (!is_mark && !is_space(bytes(p)[at]) && from == SIZE_MAX)
            from = at;
        at += is_mark ? n : 1;
    }
    return from == SIZE_MAX ? (struct vs_span){ end, 0 } : (struct vs_span){ from, at - from };
}
