/* filter/decode_escapes.c - %41 &#65; \u0041 \x41 =41 (quoted-printable), and Morse. See decode.h. */
#include "filter/decode.h"

#include "base/utf8.h"

#include <string.h>

/* ---- Morse ---- */

static char morse_letter(const char *s, size_t n)
{
    static const char *const code[] = {
        ".-", "-...", "-.-.", "-..", ".", "..-.", "--.", "....", "..", ".---", "-.-", ".-..", "--", "-.", "---", ".--.", "--.-",
        ".-.", "...", "-", "..-", "...-", ".--", "-..-", "-.--", "--..", "-----", ".----", "..---", "...--", "....-", ".....",
        "-....", "--...", "---..", "----.",
    };
    for (unsigned k = 0; k < sizeof code / sizeof *code; k++)
        if (strlen(code[k]) == n && memcmp(code[k], s, n) == 0)
            return (char)(k < VS_N_LETTERS ? 'a' + (int)k : '0' + (int)(k - VS_N_LETTERS));
    return 0;
}

void vs_decode_morse(const struct vs_source *s, const struct vs_survey *v, size_t *budget, struct vs_reading *to)
{
    if (v->dots < 6)
        return;
    for (size_t i = 0; (i = vs_next_of_four(s, i, ".-.-")) < s->n;) {
        bool starts = i + 2 < s->n && strchr(".- ", s->text[i + 1]) && strchr(".-/ ", s->text[i + 2])
            && (!i || !vs_ascii_letter(s->text[i - 1]));
        if (!starts) {
            i++;
            continue;
        }
        struct vs_piece p = vs_piece_begin(s, budget, to);
        unsigned letters = 0;
        size_t from = i;
        while (i < s->n && strchr(".-/| \n", s->text[i]) && s->text[i]) {
            size_t at = i;
            while (i < s->n && i < at + 7 && (s->text[i] == '.' || s->text[i] == '-'))
                i++;
            char c = i > at ? morse_letter(s->text + at, i - at) : ' ';
            if (i == at)
                i++;
            bool twice = c == ' ' && to->text.n > p.before && to->text.data[to->text.n - 1] == ' ';
            if (!c || (i > at + 1 && c == ' '))
                break;
            letters += c != ' ';
            /* A blank ends a letter; a slash, a bar or several blanks a word. */
            bool word = c != ' ' || s->text[at] != ' ' || (i < s->n && s->text[i] == ' ');
            if (!twice && word && !vs_piece_add(&p, c, at, i, VS_READING_MORSE))
                break;
        }
        vs_piece_close(&p, letters >= 6);
        i = i > from ? i : i + 1;
    }
}

/* ---- %41 &#65; \u0041 \x41 =41 ---- */

static size_t number_at(const struct vs_source *s, size_t i, unsigned base, size_t most, uint32_t *ret)
{
    size_t from = i;
    *ret = 0;
    for (int d; i < s->n && i < from + most && (d = vs_hex_digit(s->text[i])) >= 0 && d < (int)base; i++)
        *ret = *ret * base + (uint32_t)d;
    return i - from;
}

enum { SOFT = 0x110000 };                /* no character: the end of a line of quoted-printable, which is none of the text */

/* The character that an escape at i stands for, and how long the escape is; 0: there is none. */
static size_t escape_at(const struct vs_source *s, size_t i, uint32_t *ret)
{
    static const struct { const char *name; uint32_t c; } names[] = {
        { "&lt;", '<' }, { "&gt;", '>' }, { "&amp;", '&' }, { "&quot;", '"' }, { "&apos;", '\'' }, { "&nbsp;", ' ' },
        { "&lbrack;", '[' }, { "&rbrack;", ']' }, { "&excl;", '!' }, { "&period;", '.' }, { "&comma;", ',' }, { "&colon;", ':' },
    };
    const char *t = s->text + i;
    size_t left = s->n - i, n;
    if (t[0] == '%' && number_at(s, i + 1, 16, 2, ret) == 2)
        return 3;
    if (t[0] == '=' && number_at(s, i + 1, 16, 2, ret) == 2 && *ret >= ' ')
        return 3;                        /* of mails: quoted-printable */
    if (t[0] == '=' && left > 1 && t[1] == '\n') {
        *ret = SOFT;
        return 2;
    }
    if (t[0] == '=' && left > 2 && t[1] == '\r' && t[2] == '\n') {
        *ret = SOFT;
        return 3;
    }
    if (t[0] == '\\' && left > 3 && t[1] == '\\' && t[2] == 'u' && number_at(s, i + 3, 16, 4, ret) == 4)
        return 7;                        /* of JSON within JSON */
    if (t[0] == '\\' && left > 2 && (t[1] | 0x20) == 'u') {
        bool brace = t[2] == '{';
        n = number_at(s, i + 2 + brace, 16, brace ? 6 : t[1] == 'U' ? 8 : 4, ret);
        return brace ? (n && i + 3 + n < s->n && s->text[i + 3 + n] == '}' ? n + 4 : 0) : n >= 4 ? n + 2 : 0;
    }
    if (t[0] == '\\' && left > 3 && t[1] == 'x' && number_at(s, i + 2, 16, 2, ret) == 2)
        return 4;
    if (t[0] == '\\' && left > 3 && number_at(s, i + 1, 8, 3, ret) == 3)
        return 4;
    if (t[0] != '&' || left < 4)
        return 0;
    if (t[1] == '#') {
        bool hex = (t[2] | 0x20) == 'x';
        n = number_at(s, i + 2 + hex, hex ? 16 : 10, 7, ret);
        return n ? 2 + hex + n + (i + 2 + hex + n < s->n && s->text[i + 2 + hex + n] == ';') : 0;
    }
    for (unsigned k = 0; k < sizeof names / sizeof *names; k++) {
        n = strlen(names[k].name);
        if (n <= left && memcmp(names[k].name, t, n) == 0) {
            *ret = names[k].c;
            return n;
        }
    }
    return 0;
}

void vs_decode_escapes(const struct vs_source *s, const struct vs_survey *v, size_t *budget, struct vs_reading *to)
{
    if (v->escapes < 2)
        return;
    struct vs_piece p = vs_piece_begin(s, budget, to);
    unsigned count = 0;
    for (size_t i = 0, plain; i < s->n;) {
        uint32_t c;
        char out[4];
        size_t length = 0;
        for (plain = i; (i = vs_next_of_four(s, i, "%=\\&")) < s->n && !(length = escape_at(s, i, &c)); i++)
            ;
        if (i - plain > *budget)
            break;
        vs_reading_copy(to, s, plain, i);
        *budget -= i - plain;
        if (!length)
            break;
        /* %C3%A9 are bytes of UTF-8 */
        bool is_byte = s->text[i] == '%' || s->text[i] == '=';
        bool is_soft = is_byte && c == SOFT, joins = is_soft && i + length < s->n && s->text[i + length] != '=';
        length += joins;
        size_t n = is_soft ? joins : is_byte ? 1 : vs_utf8_encode(c > 0x10ffff ? 0xfffd : c, out);
        if (is_byte)
            out[0] = joins ? s->text[i + length - 1] : (char)c;
        bool room = true;
        for (size_t k = 0; k < n && room; k++)
            room = vs_piece_add(&p, out[k], i, i + length, VS_READING_ESCAPES);
        if (!room)
            break;
        count++;
        i += length;
    }
    vs_piece_close(&p, count >= 2);
}
