/* tokenizer/wordpiece.c - WordPiece (tokenizer.ggml.model "bert").
 *
 * The text is cleaned (no control characters), taken apart at accents and put into lower case where the file wants that, and cut
 * into words: at white space, and around each punctuation mark and each ideograph. A word is spelled by the longest piece that
 * begins it, then by the longest that goes on, and so on; one that can't be spelled to its end, or has more than 100 characters, is
 * one unknown token. In the file U+2581 marks pieces that begin a word; here that is a space.
 */
#include "tokenizer/internal.h"

#include "base/utf8.h"
#include "unicode/unicode.h"

#include <string.h>

enum { MOST_CHARACTERS = 100, WORD_BYTES = 1 + 4 * MOST_CHARACTERS };

struct word {
    char text[WORD_BYTES + 4];           /* a space, then its characters */
    size_t n;
    uint32_t n_characters;
};

#define CONTROL (1u << VS_U_CC | 1u << VS_U_CF | 1u << VS_U_CO)          /* characters that nobody has assigned stay */
#define PUNCTUATION (1u << VS_U_PC | 1u << VS_U_PD | 1u << VS_U_PS | 1u << VS_U_PE | 1u << VS_U_PI | 1u << VS_U_PF | 1u << VS_U_PO)

static bool is_ideograph(uint32_t c)
{
    static const struct { uint32_t first, last; } runs[] = {
        { 0x3400, 0x4dbf }, { 0x4e00, 0x9fff }, { 0xf900, 0xfaff }, { 0x20000, 0x2a6df }, { 0x2a700, 0x2b73f },
        { 0x2b740, 0x2b81f }, { 0x2b920, 0x2ceaf }, { 0x2f800, 0x2fa1f },
    };
    bool found = false;
    for (size_t i = 0; i < sizeof runs / sizeof *runs && c >= runs[0].first; i++)
        found |= c >= runs[i].first && c <= runs[i].last;
    return found;
}

static bool is_punctuation(uint32_t c)
{
    bool ascii = (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
    return ascii || vs_unicode(c)->mask & PUNCTUATION;
}

/* The piece that begins word[at] and is the longest; its end. */
static uint32_t longest(const struct vs_vocab *v, const struct word *w, size_t at, size_t *ret_end)
{
    size_t most = w->n - at < v->max_bytes ? w->n : at + v->max_bytes;
    for (size_t end = most; end > at; end--) {
        if (end < w->n && ((uint8_t)w->text[end] & 0xc0) == 0x80)
            continue;
        uint32_t id = vs_vocab_find(v, w->text + at, end - at);
        if (id != VS_NO_ID) {
            *ret_end = end;
            return id;
        }
    }
    return VS_NO_ID;
}

static int spell(struct vs_encoder *e, struct word *w)
{
    size_t start = e->ids->n, at = 0;
    int r = vs_check_work(e->check, 32 * w->n);
    bool known = w->n_characters <= MOST_CHARACTERS;
    while (r == VS_OK && known && at < w->n) {
        uint32_t id = longest(&e->t->vocab, w, at, &at);
        known = id != VS_NO_ID;
        r = known ? vs_ids_add(e->ids, id) : VS_OK;
    }
    if (r == VS_OK && !known) {
        e->ids->n = start;
        r = e->t->unk == VS_NO_ID ? vs_error_set(e->err, VS_E_MALFORMED, "the vocabulary has no token for unknown words")
                                  : vs_ids_add(e->ids, e->t->unk);
    }
    return r;
}

/* The word has ended. */
static int flush(struct vs_encoder *e, struct word *w)
{
    int r = w->n_characters ? spell(e, w) : VS_OK;
    w->n = 1;
    w->n_characters = 0;
    return r;
}

/* One character, as it is spelled. */
static void put(struct word *w, uint32_t c)
{
    if (++w->n_characters <= MOST_CHARACTERS)
        w->n += vs_utf8_encode(c, w->text + w->n);
}

static int take(struct vs_encoder *e, struct word *w, uint32_t c)
{
    bool alone = is_punctuation(c) || is_ideograph(c);
    int r = alone ? flush(e, w) : VS_OK;
    put(w, c);
    return r == VS_OK && alone ? flush(e, w) : r;
}

/* A character of the text, in the parts and the case that the file wants. */
static int normalise(struct vs_encoder *e, struct word *w, uint32_t c)
{
    const struct vs_tokenizer *t = e->t;
    uint32_t part[VS_UNICODE_PARTS] = { c }, to[3];
    int n = t->wordpiece.strips_accents && c >= 0x80 ? vs_unicode_parts(c, part) : 1, r = VS_OK;
    for (int i = 0; i < n && r == VS_OK; i++) {
        if (t->wordpiece.strips_accents && vs_unicode(part[i])->mask & 1u << VS_U_MN)
            continue;
        int k = t->wordpiece.lowers ? vs_unicode_to(part[i], VS_TO_LOWER, to) : 0;
        for (int j = 0; j < k && r == VS_OK; j++)
            r = take(e, w, to[j]);
        if (!t->wordpiece.lowers)
            r = take(e, w, part[i]);
    }
    return r;
}

static int encode(struct vs_encoder *e, const char *text, size_t n, bool at_start)
{
    struct word w = { .text = " ", .n = 1 };
    int r = VS_OK;
    (void)at_start;
    for (size_t i = 0; i < n && r == VS_OK;) {
        uint32_t c;
        size_t len = vs_utf8_decode(text + i, n - i, &c);
        if (!len)
            return vs_error_set(e->err, VS_E_MALFORMED, "the text is not valid UTF-8");
        i += len;
        if (c == ' ' || (c >= '\t' && c <= '\r' && c != '\v' && c != '\f') || vs_unicode(c)->mask & 1u << VS_U_WHITE_SPACE)
            r = flush(e, &w);
        else if (c && c != 0xfffd && !(vs_unicode(c)->mask & CONTROL))
            r = normalise(e, &w, c);
        if (r == VS_OK)
            r = vs_check_work(e->check, len);
    }
    return r == VS_OK ? flush(e, &w) : r;
}

/* The file may name the first token as cls. Both ends are always there; lower case holds where the file does not say otherwise, and
 * accents go with it. */
static int load(struct vs_tokenizer *t, const struct vs_entries *entries, struct vs_error *err)
{
    uint32_t cls;
    int r = vs_entries_u32(entries, "tokenizer.ggml.cls_token_id", &cls, NULL);
    if (r == VS_OK && cls < t->vocab.n)
        t->bos = cls;
    t->add_bos = t->add_sep = true;
    t->add_eos = false;
    t->wordpiece.lowers = true;
    r = vs_entries_bool(entries, "tokenizer.ggml.normalizer.lowercase", &t->wordpiece.lowers, err);
    t->wordpiece.strips_accents = t->wordpiece.lowers;
    if (r == VS_OK || r == VS_E_NOT_FOUND)
        r = vs_entries_bool(entries, "tokenizer.ggml.normalizer.strip_accents", &t->wordpiece.strips_accents, err);
    return r == VS_E_NOT_FOUND ? VS_OK : r;
}

const struct vs_family vs_family_wordpiece = {
    .name = "bert", .bos = 101, .eos = VS_NO_ID, .unk = 100, .sep = 102, .add_bos = true, .add_space_prefix = true,
    .unspell = vs_spm_unspell, .load = load, .encode = encode,
};
