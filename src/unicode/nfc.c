/* unicode/nfc.c - Normalization Form C (Unicode Standard Annex 15).
 *
 * A character that NFC leaves alone, whatever stands beside it, is a place to cut: between two of them lies a part. A part is
 * decomposed, its marks are ordered by combining class (counted, so that a million marks take linear time), and composed again.
 */
#include "unicode/internal.h"

#include "base/utf8.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {                                  /* Hangul syllables are reckoned */
    L_BASE = 0x1100, V_BASE = 0x1161, T_BASE = 0x11a7, S_BASE = 0xac00,
    N_L = 19, N_V = 21, N_T = 28, N_S = N_L * N_V * N_T,
};

enum { MAX_DECOMPOSITIONS = 2100, N_SLOTS = 4096, MAX_DEPTH = 4 };
static struct apart { uint32_t whole, part[2]; } apart[MAX_DECOMPOSITIONS];    /* sorted by the whole */
static uint16_t slot[N_SLOTS];                                                  /* index + 1 of apart[], by both parts */

static unsigned slot_of(uint32_t a, uint32_t b)
{
    return (a * 0x9e3779b1u ^ b * 0x85ebca77u) >> 20;
}

void vs_nfc_start(void)
{
    assert(vs_decompositions_n <= MAX_DECOMPOSITIONS);
    uint32_t last = 0;
    for (unsigned i = 0; i < vs_decompositions_n; i++) {
        const uint32_t *row = &vs_decompositions[3 * i];
        last += row[0];
        apart[i] = (struct apart){ last, { row[1], row[2] } };
        if (!row[2] || vs_unicode(last)->flags & VS_UNICODE_NFC_MOVES)
            continue;                   /* one part, or excluded: not composed again */
        unsigned at = slot_of(row[1], row[2]);
        while (slot[at])
            at = (at + 1) % N_SLOTS;
        slot[at] = (uint16_t)(i + 1);
    }
}

/* 0 when the two don't compose. */
static uint32_t compose(uint32_t a, uint32_t b)
{
    if (a >= L_BASE && a < L_BASE + N_L && b >= V_BASE && b < V_BASE + N_V)
        return S_BASE + ((a - L_BASE) * N_V + (b - V_BASE)) * N_T;
    if (a >= S_BASE && a < S_BASE + N_S && (a - S_BASE) % N_T == 0 && b > T_BASE && b < T_BASE + N_T)
        return a + (b - T_BASE);
    for (unsigned at = slot_of(a, b); slot[at]; at = (at + 1) % N_SLOTS) {
        const struct apart *p = &apart[slot[at] - 1];
        if (p->part[0] == a && p->part[1] == b)
            return p->whole;
    }
    return 0;
}

/* What c is made of, at most `room` code points. */
static int take_apart(uint32_t c, int depth, uint32_t *to, int room)
{
    unsigned lo = 0, hi = c < 0x80 || depth == MAX_DEPTH ? 0 : vs_decompositions_n;
    while (lo < hi) {
        unsigned mid = lo + (hi - lo) / 2;
        if (apart[mid].whole < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == vs_decompositions_n || apart[lo].whole != c || room < 2) {
        *to = c;
        return 1;
    }
    int n = take_apart(apart[lo].part[0], depth + 1, to, room - 1);
    return apart[lo].part[1] ? n + take_apart(apart[lo].part[1], depth + 1, to + n, room - n) : n;
}

int vs_unicode_parts(uint32_t c, uint32_t to[VS_UNICODE_PARTS])
{
    if (c < S_BASE || c >= S_BASE + N_S)
        return take_apart(c, 0, to, VS_UNICODE_PARTS);
    uint32_t s = c - S_BASE;
    to[0] = L_BASE + s / (N_V * N_T);
    to[1] = V_BASE + s % (N_V * N_T) / N_T;
    to[2] = T_BASE + s % N_T;
    return s % N_T == 0 ? 2 : 3;
}

/* ---- one part of a text ---- */

struct part {
    uint32_t *c;                        /* code points; [0, n) */
    uint32_t *spare;                    /* of the same size, for ordering */
    size_t n, cap;
    struct vs_check *check;
    int r;                              /* VS_OK, or why the work stops */
};

/* Before each of many equal steps; asks now and then. */
static bool go_on(struct part *p, size_t i)
{
    if ((i & 0xfff) == 0xfff && p->r == VS_OK)
        p->r = vs_check_work(p->check, 0x1000);
    return p->r == VS_OK;
}

static bool put(struct part *p, uint32_t c)
{
    if (p->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 64;
        uint32_t *grown = realloc(p->c, cap * sizeof *grown);
        if (grown)
            p->c = grown;
        uint32_t *spare = grown ? realloc(p->spare, cap * sizeof *spare) : NULL;
        if (!spare) {
            p->r = VS_E_NOMEM;
            return false;
        }
        p->spare = spare;
        p->cap = cap;
    }
    p->c[p->n++] = c;
    return true;
}

static bool decompose(struct part *p, uint32_t c)
{
    uint32_t to[VS_UNICODE_PARTS];
    int n = vs_unicode_parts(c, to);
    for (int i = 0; i < n; i++)
        if (!put(p, to[i]))
            return false;
    return true;
}

static unsigned combining(uint32_t c)
{
    return vs_unicode(c)->combining;
}

/* Orders the marks c[from..to) by combining class; equals keep their order. */
static void order(struct part *p, size_t from, size_t to)
{
    if (to - from < 32) {
        for (size_t i = from + 1; i < to; i++) {
            uint32_t c = p->c[i];
            size_t k = i;
            for (; k > from && combining(p->c[k - 1]) > combining(c); k--)
                p->c[k] = p->c[k - 1];
            p->c[k] = c;
        }
        return;
    }
    size_t at[257] = { 0 };
    for (size_t i = from; i < to && go_on(p, i); i++)
        at[combining(p->c[i]) + 1]++;
    for (unsigned k = 1; k < 257; k++)
        at[k] += at[k - 1];
    for (size_t i = from; i < to && go_on(p, i); i++)
        p->spare[at[combining(p->c[i])]++] = p->c[i];
    if (p->r == VS_OK)
        memcpy(p->c + from, p->spare, (to - from) * sizeof *p->c);
}

static void order_marks(struct part *p)
{
    for (size_t i = 0; i < p->n && p->r == VS_OK;) {
        size_t from = i;
        while (i < p->n && combining(p->c[i]) && go_on(p, i))
            i++;
        if (i - from > 1)
            order(p, from, i);
        i += i == from;
    }
}

static void compose_part(struct part *p)
{
    size_t n = 0, starter = SIZE_MAX;
    unsigned last = 0;                  /* combining class of what stands before, behind the starter */
    for (size_t i = 0; i < p->n && go_on(p, i); i++) {
        uint32_t c = p->c[i], whole;
        unsigned class = combining(c);
        if (starter != SIZE_MAX && (n == starter + 1 || last < class) && (whole = compose(p->c[starter], c))) {
            p->c[starter] = whole;
            continue;
        }
        if (!class)
            starter = n;
        last = class;
        p->c[n++] = c;
    }
    p->n = n;
}

/* ---- a text ---- */

size_t vs_nfc_prefix(const char *s, size_t n, struct vs_check *check, int *ret_r)
{
    size_t safe = 0;                    /* where the last character that nothing moves begins */
    *ret_r = VS_OK;
    for (size_t i = 0, asked = 0; i < n;) {
        if (i - asked >= VS_CHECK_UNITS / 4) {
            if ((*ret_r = vs_check_work(check, i - asked)) != VS_OK)
                return safe;
            asked = i;
        }
        if ((uint8_t)s[i] < 0x80) {
            for (uint64_t eight; n - i > 8 && (memcpy(&eight, s + i, 8), !(eight & 0x8080808080808080u));)
                i += 8;
            safe = i - ((uint8_t)s[i] >= 0x80);
            i += (uint8_t)s[i] < 0x80;
            continue;
        }
        uint32_t c;
        size_t length = vs_utf8_next(s + i, &c);
        if (vs_unicode(c)->flags & VS_UNICODE_NFC_MOVES)
            return safe;
        safe = i;
        i += length;
    }
    return n;
}

int vs_nfc(const char *s, size_t n, struct vs_check *check, struct vs_buf *out)
{
    struct part p = { .check = check };
    for (size_t i = 0; i < n && p.r == VS_OK;) {
        size_t whole = vs_nfc_prefix(s + i, n - i, check, &p.r);
        vs_buf_add(out, s + i, whole);
        i += whole;
        p.n = 0;
        for (size_t first = i; i < n && p.r == VS_OK;) {    /* up to the next character that nothing moves */
            uint32_t c;
            size_t length = vs_utf8_next(s + i, &c);
            if (i > first && !(vs_unicode(c)->flags & VS_UNICODE_NFC_MOVES))
                break;
            i += length;
            if (decompose(&p, c))
                p.r = vs_check_work(check, 4);
        }
        order_marks(&p);
        compose_part(&p);
        for (size_t k = 0; k < p.n && go_on(&p, k); k++)
            vs_buf_utf8(out, p.c[k]);
        p.r = p.r == VS_OK ? out->status : p.r;
    }
    free(p.c);
    free(p.spare);
    return p.r;
}
