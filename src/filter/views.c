/* filter/views.c - see views.h: the blocks, the maps, and the folded view. */
#include "filter/view_parts.h"

#include "base/utf8.h"
#include "unicode/unicode.h"

#include <stdlib.h>
#include <string.h>

const char *const vs_reading_step_names[VS_N_READING_STEPS] = {
#define VS_READING_STEP_NAME(name, text) text,
    VS_READING_STEP_MAP(VS_READING_STEP_NAME)
#undef VS_READING_STEP_NAME
};

/* Rows of 32 from 0. */
const uint8_t vs_letter_of[256] = {
    26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26,
    26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26,
    26, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 26, 26, 26, 26,
    26, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 26, 26, 26, 26,
    26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26,
    26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26,
    26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26,
    26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26,
};

/* ---- maps ---- */

static bool grow(struct vs_reading *view, size_t n)
{
    if (n <= view->cap)
        return true;
    size_t cap = view->cap ? 2 * view->cap : 1024;
    cap = cap < n ? n : cap;
    uint32_t *from = realloc(view->from, cap * sizeof *from);
    view->from = from ? from : view->from;
    uint32_t *to = realloc(view->to, cap * sizeof *to);
    view->to = to ? to : view->to;
    uint8_t *step = realloc(view->step, cap);
    view->step = step ? step : view->step;
    if (!from || !to || !step) {
        view->text.status = VS_E_NOMEM;
        return false;
    }
    view->cap = cap;
    return true;
}

void vs_reading_put(struct vs_reading *view, const struct vs_source *source, const char *bytes, size_t n, size_t from, size_t to,
                 enum vs_reading_step step)
{
    size_t at = view->text.n;
    if (view->text.status != VS_OK || (at + n > view->cap && !grow(view, at + n)))
        return;
    if (n == 1 && at + 1 < view->text.cap)
        view->text.data[view->text.n++] = bytes[0];
    else
        vs_buf_add(&view->text, bytes, n);
    const struct vs_reading *map = source->map;
    if (map && from < to) {
        if (step == VS_READING_PLAIN)
            step = map->step[from];
        uint32_t low = map->from[from], high = map->to[from];
        for (size_t i = from + 1; i < to; i++) {
            low = map->from[i] < low ? map->from[i] : low;
            high = map->to[i] > high ? map->to[i] : high;
        }
        from = low;
        to = high;
    } else if (map) {                    /* between two bytes of the source */
        from = to = from < map->text.n ? map->from[from] : map->text.n ? map->to[map->text.n - 1] : 0;
    }
    for (size_t i = at; i < view->text.n; i++) {
        view->from[i] = (uint32_t)from;
        view->to[i] = (uint32_t)to;
        view->step[i] = (uint8_t)step;
    }
}

void vs_reading_copy(struct vs_reading *view, const struct vs_source *source, size_t from, size_t to)
{
    size_t at = view->text.n, n = to - from;
    const struct vs_reading *map = source->map;
    if (from >= to || view->text.status != VS_OK || (at + n > view->cap && !grow(view, at + n)))
        return;
    vs_buf_add(&view->text, source->text + from, n);
    if (view->text.status != VS_OK)
        return;
    if (map) {
        memcpy(view->from + at, map->from + from, n * sizeof *view->from);
        memcpy(view->to + at, map->to + from, n * sizeof *view->to);
        memcpy(view->step + at, map->step + from, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        view->from[at + i] = (uint32_t)(from + i);
        view->to[at + i] = (uint32_t)(from + i + 1);
    }
    memset(view->step + at, VS_READING_PLAIN, n);
}

void vs_reading_break(struct vs_reading *view)
{
    static const struct vs_source none;
    size_t n = view->text.n;
    if (n && view->text.data[n - 1] != '\n')
        vs_reading_put(view, &none, "\n\n", 2, view->to[n - 1], view->to[n - 1], VS_READING_PLAIN);
}

void vs_reading_place(const struct vs_reading *view, size_t start, size_t end, size_t *ret_start, size_t *ret_end,
                      enum vs_reading_step *ret_step)
{
    uint32_t low = UINT32_MAX, high = 0;
    unsigned step = VS_READING_PLAIN;
    for (size_t i = start; i < end && i < view->text.n; i++) {
        low = view->from[i] < low ? view->from[i] : low;
        high = view->to[i] > high ? view->to[i] : high;
        step = view->step[i] > step ? view->step[i] : step;
    }
    *ret_start = low <= high ? low : high;
    *ret_end = high;
    *ret_step = (enum vs_reading_step)step;
}

enum { AROUND = 240 };                   /* bytes that stay on each side of what is not plain */

/* Leaves out what is far from everything that a view of plain text changed: rules and model have seen it. */
static void thin(struct vs_reading *view)
{
    size_t n = view->text.n, kept = 0;
    char *text = view->text.data;
    for (size_t i = 0; i < n;) {
        size_t end = i;                  /* of the plain run that begins here */
        while (end < n && view->step[end] == VS_READING_PLAIN)
            end++;
        bool long_run = end - i > 3 * AROUND;
        size_t before = i && long_run ? AROUND : 0, after = end < n && long_run ? AROUND : 0;
        size_t stay = long_run ? before : end - i;
        memmove(text + kept, text + i, stay);
        memmove(view->from + kept, view->from + i, stay * sizeof *view->from);
        memmove(view->to + kept, view->to + i, stay * sizeof *view->to);
        memset(view->step + kept, VS_READING_PLAIN, stay);
        kept += stay;
        if (long_run) {
            for (unsigned k = 0; k < 2 && kept; k++, kept++) {
                text[kept] = '\n';
                view->from[kept] = view->to[kept] = view->to[i + stay ? i + stay - 1 : 0];
                view->step[kept] = VS_READING_PLAIN;
            }
            memmove(text + kept, text + end - after, after);
            memmove(view->from + kept, view->from + end - after, after * sizeof *view->from);
            memmove(view->to + kept, view->to + end - after, after * sizeof *view->to);
            memset(view->step + kept, VS_READING_PLAIN, after);
            kept += after;
        }
        i = end;
        while (i < n && view->step[i] != VS_READING_PLAIN) {
            text[kept] = text[i];
            view->from[kept] = view->from[i];
            view->to[kept] = view->to[i];
            view->step[kept++] = view->step[i++];
        }
    }
    view->text.n = kept;
}

/* ---- folding ---- */

enum { TAG_FIRST = 0xe0020, TAG_LAST = 0xe007e };

static bool is_selector(uint32_t c)
{
    return (c >= 0xfe00 && c <= 0xfe0f) || (c >= 0xe0100 && c <= 0xe01ef);
}

/* The byte that a tag character or a variation selector can carry. */
static char carried(uint32_t c)
{
    return (char)(c >= TAG_FIRST && c <= TAG_LAST ? c - 0xe0000 : c <= 0xfe0f ? c - 0xfe00 : c - 0xe0100 + 16);
}

/* A run of characters that nobody sees and that carry text: to the end of the view, as a piece of its own. How long the run is. */
static size_t hidden_run(const struct vs_source *s, size_t i, struct vs_reading *hidden)
{
    size_t from = i, count = 0, before = hidden->text.n;
    vs_reading_break(hidden);
    while (i < s->n) {
        uint32_t c;
        size_t length = vs_utf8_decode(s->text + i, s->n - i, &c);
        if (!length || !((c >= TAG_FIRST && c <= TAG_LAST) || is_selector(c)))
            break;
        char byte = carried(c);
        vs_reading_put(hidden, s, &byte, 1, i, i + length, VS_READING_TAGS);
        i += length;
        count++;
    }
    if (count < 2 && before <= hidden->text.n)
        hidden->text.n = before;         /* one selector says how a sign is drawn */
    return i - from;
}

struct fold {
    const struct vs_source *source;
    struct vs_reading *view, *hidden;
    unsigned latin, other;               /* letters of the block so far, and a look ahead */
    bool gone;                           /* something went before the next character */
    size_t gone_at;
};

/* Does the word that begins at i mix letters of ASCII with others that look like such, or is it all look-alikes in Latin text? */
static bool is_disguised(const struct fold *f, size_t i)
{
    const struct vs_source *s = f->source;
    unsigned latin = 0, alike = 0, strange = 0;
    while (i < s->n) {
        uint32_t c, to[VS_FOLD_MOST];
        size_t length = vs_utf8_decode(s->text + i, s->n - i, &c);
        if (!length || !(c < 0x80 ? vs_ascii_letter((char)c) || vs_ascii_digit((char)c)
                         : vs_unicode(c)->flags & VS_UNICODE_ALPHA || vs_unicode_alike(c) || !vs_unicode_fold(c, to)))
            break;
        i += length;
        if (c < 0x80) {
            latin += vs_ascii_letter((char)c);
        } else {
            int n = vs_unicode_fold(c, to);
            latin += n == 1 && to[0] < 0x80;
            alike += n && to[0] >= 0x80 && vs_unicode_alike(c);
            strange += n && to[0] >= 0x80 && !vs_unicode_alike(c);
        }
    }
    return alike && (latin ? latin + alike > strange : !strange && f->latin > f->other);
}

/* The letter of a Braille cell; 0: it has none. */
static char braille(uint32_t c)
{
    static const char cell[64] = {
        [0] = ' ', [1] = 'a', [3] = 'b', [9] = 'c', [25] = 'd', [17] = 'e', [11] = 'f', [27] = 'g', [19] = 'h', [10] = 'i',
        [26] = 'j', [5] = 'k', [7] = 'l', [13] = 'm', [29] = 'n', [21] = 'o', [15] = 'p', [31] = 'q', [23] = 'r', [14] = 's',
        [30] = 't', [37] = 'u', [39] = 'v', [58] = 'w', [45] = 'x', [61] = 'y', [53] = 'z',
    };
    return c >= 0x2800 && c < 0x2840 ? cell[c - 0x2800] : 0;
}

static void fold_char(struct fold *f, uint32_t c, size_t at, size_t length, bool disguised)
{
    uint32_t to[VS_FOLD_MOST], alike = disguised ? vs_unicode_alike(c) : 0;
    char out[4 * VS_FOLD_MOST];
    size_t n = 0, from = f->gone ? f->gone_at : at;
    enum vs_reading_step step = f->gone ? VS_READING_INVISIBLE : VS_READING_PLAIN;
    if (c < 0x80 && vs_is_control((char)c)) {
        f->gone_at = from;
        f->gone = true;
        return;
    }
    if (c < 0x80) {
        out[n++] = (char)c;
    } else if (alike) {
        out[n++] = (char)alike;
        step = VS_READING_CONFUSABLES;
    } else if (braille(c)) {
        out[n++] = braille(c);
        step = VS_READING_FOLDED;
    } else {
        int count = vs_unicode_fold(c, to);
        if (!count) {
            f->gone_at = f->gone ? f->gone_at : at;
            f->gone = true;
            return;
        }
        for (int k = 0; k < count; k++)
            n += vs_utf8_encode(to[k], out + n);
        if ((count > 1 || to[0] != c) && step == VS_READING_PLAIN)
            step = VS_READING_FOLDED;
    }
    vs_reading_put(f->view, f->source, out, n, step == VS_READING_INVISIBLE ? from : at, at + length, step);
    f->gone = false;
}

/* ASCII from i on stays as it is, up to the word that what is none touches. */
static size_t plain_end(const struct vs_source *s, size_t i)
{
    size_t end = i;
    while (end < s->n && (uint8_t)s->text[end] < 0x80 && !vs_is_control(s->text[end]))
        end++;
    while (end < s->n && end > i && (vs_ascii_letter(s->text[end - 1]) || vs_ascii_digit(s->text[end - 1])))
        end--;
    return end;
}

static void fold(const struct vs_source *s, struct vs_reading *view, struct vs_reading *hidden)
{
    struct fold f = { .source = s, .view = view, .hidden = hidden };
    bool in_word = false, disguised = false;
    for (size_t i = 0; i < s->n; i++) {
        f.latin += vs_ascii_letter(s->text[i]);
        f.other += ((uint8_t)s->text[i] & 0xc0) == 0xc0;
    }
    for (size_t i = 0; i < s->n;) {
        uint32_t c;
        size_t plain = f.gone || in_word ? i : plain_end(s, i);
        vs_reading_copy(view, s, i, plain);
        if ((i = plain) == s->n)
            break;
        size_t length = vs_utf8_decode(s->text + i, s->n - i, &c);
        if (!length) {
            i++;                         /* not UTF-8 */
            continue;
        }
        if (c >= 0x80 && ((c >= TAG_FIRST && c <= TAG_LAST) || is_selector(c))) {
            i += hidden_run(s, i, hidden);
            continue;
        }
        bool letter = c < 0x80 ? vs_ascii_letter((char)c) || vs_ascii_digit((char)c)
            : (vs_unicode(c)->flags & VS_UNICODE_ALPHA) || vs_unicode_alike(c);
        if (letter && !in_word)
            disguised = is_disguised(&f, i);
        if ((c < 0x80 && !vs_is_control((char)c)) || letter || (c >= 0x80 && vs_unicode_fold(c, (uint32_t[VS_FOLD_MOST]){ 0 })))
            in_word = letter;            /* else nobody sees it, and the word goes on */
        fold_char(&f, c, i, length, disguised && letter);
        i += length;
    }
}

/* ---- a block ---- */

static struct vs_reading *next_view(struct vs_views *v)
{
    struct vs_reading *view = v->n < VS_VIEWS ? &v->view[v->n] : NULL;
    if (view) {
        view->text.n = 0;
        view->text.status = VS_OK;
    }
    return view;
}

/* Keeps the view that was made last, unless it is empty; the source that it is then, else `otherwise`. */
static struct vs_source keep(struct vs_views *v, struct vs_reading *view, struct vs_source otherwise)
{
    if (!view || !view->text.n)
        return otherwise;
    v->n++;
    return (struct vs_source){ view->text.data, view->text.n, view };
}

/* The folded view, and at its end what nobody sees. */
static struct vs_source make_folded(struct vs_views *v, struct vs_source source)
{
    struct vs_reading *view = next_view(v), hidden = { 0 };
    if (!view)
        return source;
    fold(&source, view, &hidden);
    if (hidden.text.n) {
        vs_reading_break(view);
        for (size_t i = 0; i < hidden.text.n; i++) {
            size_t at = view->text.n;
            static const struct vs_source none;
            vs_reading_put(view, &none, hidden.text.data + i, 1, hidden.from[i], hidden.to[i],
                           (enum vs_reading_step)hidden.step[i]);
            if (view->text.status != VS_OK || view->text.n == at)
                break;
        }
        struct vs_survey survey;         /* words, not all such characters in their order */
        vs_survey_make(&(struct vs_source){ hidden.text.data, hidden.text.n, NULL }, &survey);
        v->hidden = v->hidden || (hidden.text.n >= VS_VIEWS_HIDDEN && survey.plain > 0);
    }
    if (hidden.text.status != VS_OK)
        view->text.status = hidden.text.status;
    vs_buf_clear(&hidden.text);
    free(hidden.from);
    free(hidden.to);
    free(hidden.step);
    return keep(v, view, source);
}

static void make_level(struct vs_views *v, struct vs_source source, const struct vs_survey *known, unsigned depth)
{
    struct vs_survey survey;
    struct vs_reading *decoded;
    if (known)
        survey = *known;
    else
        vs_survey_make(&source, &survey);
    struct vs_source plain = source, from_decoded;
    if (survey.foreign) {
        source = make_folded(v, source);
        vs_survey_make(&source, &survey);
        survey.foreign = 1;
    }
    if (survey.marks >= 2 && (decoded = next_view(v))) {
        vs_reading_unmarked(&source, decoded);
        keep(v, decoded, source);
    }
    if ((survey.singles >= 5 || survey.letters >= 18) && (decoded = next_view(v))) {
        vs_reading_joined(&source, decoded);
        keep(v, decoded, source);
    }
    if (survey.leet >= 4 && (decoded = next_view(v))) {
        vs_reading_leet(&source, decoded);
        keep(v, decoded, source);
    }
    if (depth == VS_VIEWS_DEPTH || !(decoded = next_view(v)))
        return;
    vs_reading_decoded(&source, &survey, &v->budget, decoded);
    if (survey.foreign)
        vs_reading_upside_down(&plain, &v->budget, decoded);
    from_decoded = keep(v, decoded, (struct vs_source){ 0 });
    if (from_decoded.n)
        make_level(v, from_decoded, NULL, depth + 1);
}

int vs_views_make(struct vs_views *v, const char *text, size_t n, const struct vs_survey *known)
{
    v->n = 0;
    v->hidden = false;
    v->budget = n * VS_VIEWS_MOST + VS_VIEWS_LEAST;
    make_level(v, (struct vs_source){ text, n, NULL }, known, 0);
    unsigned made = v->n;
    v->n = 0;
    for (unsigned i = 0; i < made; i++) {
        if (v->view[i].text.status != VS_OK)
            return v->view[i].text.status;
        thin(&v->view[i]);               /* only now: what decodes a view needs all of it */
        if (v->view[i].text.n) {         /* those that say something come first */
            struct vs_reading view = v->view[i];
            v->view[i] = v->view[v->n];
            v->view[v->n++] = view;
        }
    }
    return VS_OK;
}

void vs_views_clear(struct vs_views *v)
{
    for (unsigned i = 0; i < VS_VIEWS; i++) {
        vs_buf_clear(&v->view[i].text);
        free(v->view[i].from);
        free(v->view[i].to);
        free(v->view[i].step);
    }
    *v = (struct vs_views){ 0 };
}
