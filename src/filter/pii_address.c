/* filter/pii_address.c - postal addresses: a house number, a name and a kind of street ("705 Elm Street", with unit, city, state
 * and code), the forms of other countries ("Hauptstraße 12, 10115 Berlin", "12 rue de la Paix", "Calle Mayor 5"), and boxes ("PO
 * Box 12").
 *
 * A street is told by its number and its kind together. What follows it is taken as far as it is an address for certain: a unit, a
 * city with its state or code. A city alone is left.
 */
#include "filter/pii_match.h"

#include <string.h>

static size_t spaces(struct vs_pii_at *a, size_t i)
{
    while (vs_pii_byte(a, i) == ' ')
        i++;
    return i;
}

/* A word that begins with a capital letter, or one that no ASCII has; with "O'", "-" and so on inside. 0: no. */
static size_t name(struct vs_pii_at *a, size_t i)
{
    uint8_t c = vs_pii_byte(a, i);
    if (!vs_is_upper(c) && c < 0xc3)
        return 0;
    for (i++;; i++) {
        c = vs_pii_byte(a, i);
        bool is_inside = (c == '\'' || c == '-') && vs_is_alpha(vs_pii_byte(a, i + 1));
        if (!vs_is_alpha(c) && c < 0x80 && !is_inside)
            return i;
    }
}

static size_t run(struct vs_pii_at *a, size_t i, unsigned least, unsigned most)
{
    size_t start = i;
    while (i - start <= most && vs_is_digit(vs_pii_byte(a, i)))
        i++;
    return i - start >= least && i - start <= most ? i : 0;
}

/* ---- what follows the street ---- */

/* Between two parts: ", ", a line's end (also written \n), or a space. 0: nothing of it. */
static size_t gap(struct vs_pii_at *a, size_t i, bool *ret_is_mark)
{
    size_t start = i;
    *ret_is_mark = false;
    if (vs_pii_byte(a, i) == '.' && (vs_pii_byte(a, i + 1) == ',' || vs_pii_byte(a, i + 1) == ' '))
        i++;
    for (unsigned n = 0; n < 4; n++) {
        uint8_t c = vs_pii_byte(a, i);
        if (c == ',' || c == '\n' || c == '\r')
            *ret_is_mark = true;
        else if (c == '\\' && vs_pii_byte(a, i + 1) == 'n') {
            *ret_is_mark = true;
            i++;
        } else if (c != ' ')
            break;
        i++;
    }
    return i > start ? i : 0;
}

/* "Apt 4B", "#12", "Suite 300", "5th Floor" */
static size_t unit(struct vs_pii_at *a, size_t i)
{
    uint64_t classes;
    bool is_mark;
    size_t at = gap(a, i, &is_mark), n = 0;
    if (!at)
        return i;
    if (vs_pii_byte(a, at) == '#')
        at++;
    else {
        size_t end = vs_pii_word(a, at, &classes);
        if (vs_is_digit(vs_pii_byte(a, at)) && end < at + 6 && vs_pii_byte(a, end) == ' ' && vs_pii_is(a, end + 1, "floor"))
            return end + 6;
        if (!(classes & VS_NEAR(UNIT)) || end == at)
            return i;
        at = end + (vs_pii_byte(a, end) == '.');
        at = spaces(a, at);
        at += vs_pii_byte(a, at) == '#';
    }
    for (uint8_t c; n < 6; n++) {
        c = vs_pii_byte(a, at + n);
        if (!vs_is_alnum(c) && !(n && c == '-' && vs_is_alnum(vs_pii_byte(a, at + n + 1))))
            break;
    }
    bool has_digit = false;
    for (size_t k = 0; k < n; k++)
        has_digit |= vs_is_digit(vs_pii_byte(a, at + k));
    return n && (has_digit || n == 1) && !vs_is_alnum(vs_pii_byte(a, at + n)) ? at + n : i;
}

/* SW1A 2AA, M5V 2T6 (with a space or without) */
static size_t letter_code(struct vs_pii_at *a, size_t i)
{
    char shape[10] = "";
    size_t n = 0, at = i;
    for (uint8_t c; n < 8; at++) {
        c = vs_pii_byte(a, at);
        if (vs_is_digit(c))
            shape[n++] = '9';
        else if (vs_is_upper(c))
            shape[n++] = 'A';
        else if (c != ' ' || n < 2 || n > 4 || !vs_is_digit(vs_pii_byte(a, at + 1)))
            break;
    }
    shape[n] = 0;
    static const char shapes[] = " A99AA A999AA AA99AA AA999AA A9A9AA AA9A9AA A9A9A9 ";
    char look[12] = " ";
    memcpy(look + 1, shape, n);
    look[n + 1] = ' ', look[n + 2] = 0;
    return n >= 5 && strstr(shapes, look) && !vs_is_alnum(vs_pii_byte(a, at)) ? at : 0;
}

/* A code of digits: 10115, 62704-1234, 00-590, 111 23, 1017 GL. */
static size_t digit_code(struct vs_pii_at *a, size_t i, bool is_before_city)
{
    size_t end;
    if ((end = run(a, i, 5, 6))) {
        if (vs_pii_byte(a, end) == '-' && run(a, end + 1, 4, 4) && !vs_is_alnum(vs_pii_byte(a, end + 5)))
            return end + 5;
        return vs_is_alnum(vs_pii_byte(a, end)) ? 0 : end;
    }
    if ((end = run(a, i, 4, 4)) && !vs_is_alnum(vs_pii_byte(a, end))) {
        if (vs_pii_byte(a, end) == ' ' && vs_is_upper(vs_pii_byte(a, end + 1)) && vs_is_upper(vs_pii_byte(a, end + 2)) &&
            !vs_is_alnum(vs_pii_byte(a, end + 3)))
            return end + 3;
        return end;
    }
    if ((end = run(a, i, 4, 4)) && vs_is_upper(vs_pii_byte(a, end)) && vs_is_upper(vs_pii_byte(a, end + 1)) &&
        !vs_is_alnum(vs_pii_byte(a, end + 2)))
        return end + 2;
    if (is_before_city && (end = run(a, i, 2, 2)) && vs_pii_byte(a, end) == '-' && (end = run(a, end + 1, 3, 3)))
        return end;
    if (is_before_city && (end = run(a, i, 3, 3)) && vs_pii_byte(a, end) == ' ' && (end = run(a, end + 1, 2, 2)))
        return end;
    return 0;
}

/* One to three names: where they end. */
static size_t city(struct vs_pii_at *a, size_t i)
{
    size_t end = 0;
    for (unsigned n = 0; n < 3; n++) {
        size_t next = name(a, i);
        if (!next)
            break;
        end = next;
        if (vs_pii_byte(a, end) == '.' && next - i < 4 && vs_pii_byte(a, end + 1) == ' ')
            next++;                      /* St. Louis */
        if (vs_pii_byte(a, next) != ' ')
            break;
        i = next + 1;
        if (vs_pii_is(a, i, "am") || vs_pii_is(a, i, "de") || vs_pii_is(a, i, "upon") || vs_pii_is(a, i, "on"))
            i = spaces(a, vs_pii_byte(a, i) == 'u' ? i + 4 : i + 2);
    }
    return end;
}

/* A state at i, "IL" or "Illinois", "New York"; with its code behind it. 0: none. */
static size_t state(struct vs_pii_at *a, size_t i)
{
    uint64_t classes, second;
    size_t end = vs_pii_word(a, i, &classes);
    if (end == i || !vs_is_upper(vs_pii_byte(a, i)))
        return 0;
    bool is_short = end - i <= 3;
    if (is_short && !vs_is_upper(vs_pii_byte(a, i + 1)))
        classes = 0;
    if (!(classes & VS_NEAR(STATE))) {
        static const char *const firsts[] = { "new", "north", "south", "west", "rhode" };
        bool is_first = false;
        for (size_t k = 0; k < 5; k++)
            is_first |= vs_pii_is(a, i, firsts[k]);
        if (!is_first || vs_pii_byte(a, end) != ' ' || !name(a, end + 1))
            return 0;
        end = vs_pii_word(a, end + 1, &second);
        if (!vs_pii_is(a, i, "new") && !(second & VS_NEAR(STATE)) && !vs_pii_is(a, i, "rhode") && end - i < 9)
            return 0;
    }
    bool is_mark;
    size_t at = gap(a, end, &is_mark), code = at ? digit_code(a, at, false) : 0;
    if (at && !code)
        code = letter_code(a, at);
    return code ? code : end;
}

/* ", USA" */
static size_t country(struct vs_pii_at *a, size_t i)
{
    static const char *const names[] = {
        "usa", "us", "uk", "england", "scotland", "canada", "australia", "germany", "france", "spain", "italy", "deutschland",
        "ireland", "netherlands",
    };
    bool is_mark;
    size_t at = gap(a, i, &is_mark);
    if (!at || !is_mark)
        return i;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        if (vs_is_upper(vs_pii_byte(a, at)) && vs_pii_is(a, at, names[k]))
            return at + strlen(names[k]);
    if (vs_pii_is(a, at, "united") && vs_pii_byte(a, at + 6) == ' ')
        return vs_pii_is(a, at + 7, "states") ? at + 13 : vs_pii_is(a, at + 7, "kingdom") ? at + 14 : i;
    return i;
}

/* The last name before a code, or two capital letters behind a comma: the state. */
static bool is_state(struct vs_pii_at *a, size_t word, size_t end, bool is_mark)
{
    bool has_code = vs_is_digit(vs_pii_byte(a, end - 1));
    return vs_is_upper(vs_pii_byte(a, word)) && (has_code || (is_mark && vs_is_upper(vs_pii_byte(a, word + 1))));
}

/* (RM) */
static bool province(struct vs_pii_at *a, size_t i)
{
    return vs_pii_byte(a, i) == '(' && vs_is_upper(vs_pii_byte(a, i + 1)) && vs_is_upper(vs_pii_byte(a, i + 2))
           && vs_pii_byte(a, i + 3) == ')';
}

/* City, state, code behind i, as far as they are there for certain. */
static size_t place(struct vs_pii_at *a, size_t i)
{
    size_t from = i;
    for (unsigned n = 0; n < 3; n++) {
        bool is_mark;
        size_t at = gap(a, from, &is_mark), end;
        if (!at)
            return i;
        if ((end = letter_code(a, at)) || (n && is_mark && (end = state(a, at))))
            return country(a, end);
        size_t town = is_mark && (end = digit_code(a, at, true)) ? city(a, spaces(a, end + (vs_pii_byte(a, end) == ','))) : 0;
        if (town) {                      /* 10115 Berlin; 86074, Filignano (IS) */
            bool has_province = vs_pii_byte(a, town) == ' ' && province(a, town + 1);
            return has_province ? town + 5 : country(a, town);
        }
        if (n && (end = digit_code(a, at, false)) && !vs_is_alnum(vs_pii_byte(a, end)))
            return country(a, end);
        /* City ST 12345: the last of the names may be the state */
        size_t word = at, last = 0;
        for (unsigned k = 0; k < 4; k++) {
            if (k && (end = state(a, word)) && is_state(a, word, end, is_mark))
                return country(a, end);
            size_t next = name(a, word);
            if (!next)
                break;
            last = next;
            if (vs_pii_byte(a, next) == '.' && next - word < 4)
                next++;
            if (vs_pii_byte(a, next) != ' ')
                break;
            word = next + 1;
            if (k && is_mark && (end = letter_code(a, word)))
                return country(a, end);
            if (is_mark && ((end = letter_code(a, word)) || (end = digit_code(a, word, false))))
                return country(a, end);
        }
        if (!last)
            return i;
        from = last;
    }
    return i;
}

static bool found(struct vs_pii_at *a, size_t end, const char *rule, unsigned score)
{
    return vs_pii_found(a, place(a, unit(a, end)), VS_PII_ADDRESS, rule, score);
}

/* ---- a number first ---- */

/* 12, 221B, 12-14, 12 1/2: where it ends. */
static size_t house(struct vs_pii_at *a, size_t i)
{
    size_t end = run(a, i, 1, 6);
    if (!end)
        return 0;
    uint8_t c = vs_pii_byte(a, end);
    if (vs_is_alpha(c) && !vs_is_alnum(vs_pii_byte(a, end + 1)))
        return end + 1;
    if ((c == '-' || c == '/') && run(a, end + 1, 1, 4))
        end = run(a, end + 1, 1, 4);
    else if (c == ' ' && vs_pii_byte(a, end + 2) == '/' && run(a, end + 1, 1, 1) && run(a, end + 3, 1, 1))
        end += 4;
    return vs_is_alnum(vs_pii_byte(a, end)) ? 0 : end;
}

/* 5th, 42nd */
static size_t nth(struct vs_pii_at *a, size_t i)
{
    size_t end = run(a, i, 1, 3);
    static const char *const ends[] = { "st", "nd", "rd", "th" };
    for (size_t k = 0; end && k < 4; k++)
        if (vs_pii_is(a, end, ends[k]))
            return end + 2;
    return 0;
}

static size_t direction(struct vs_pii_at *a, size_t end)
{
    uint64_t classes;
    if (vs_pii_byte(a, end) != ' ' || !vs_is_upper(vs_pii_byte(a, end + 1)))
        return end;
    size_t next = vs_pii_word(a, end + 1, &classes);
    return classes & VS_NEAR(WIND) ? next : end;
}

/* Names and a kind of street, as English has them. */
static size_t english(struct vs_pii_at *a, size_t i, bool *ret_is_sure)
{
    size_t end = 0;
    for (unsigned n = 0; n < 6; n++) {
        uint64_t classes;
        bool is_name = name(a, i) != 0;
        size_t next = nth(a, i);
        if (!next)
            next = vs_pii_word(a, i, &classes);
        else
            classes = 0, is_name = true;
        if (next == i || !is_name)
            break;
        bool is_suffix = classes & VS_NEAR(SUFFIX) && !(classes & (VS_NEAR(ROAD) | VS_NEAR(LANE)));
        bool is_kind = classes & (VS_NEAR(ROAD) | VS_NEAR(LANE) | VS_NEAR(SUFFIX));
        bool is_alone = is_kind && vs_pii_is(a, i, "broadway");
        if (end && !is_kind)
            break;
        bool goes_on = vs_pii_byte(a, next) == '-' && vs_is_alpha(vs_pii_byte(a, next + 1));
        if (is_kind && !goes_on && (n || is_alone)) {
            end = next;
            *ret_is_sure = !is_suffix;
        }
        while ((vs_pii_byte(a, next) == '\'' || vs_pii_byte(a, next) == '-') && vs_is_alpha(vs_pii_byte(a, next + 1)))
            next = vs_pii_word(a, next + 1, &classes);
        if (vs_pii_byte(a, next) == '.' && vs_pii_byte(a, next + 1) == ' ')
            next++;
        if (vs_pii_byte(a, next) != ' ')
            break;
        i = next + 1;
    }
    return end ? direction(a, end) : 0;
}

/* All in small letters: only the kinds that are nothing else, one or two words before them. */
static size_t small_english(struct vs_pii_at *a, size_t i)
{
    static const char *const never[] = {
        "the", "of", "on", "in", "a", "from", "to", "and", "or", "way", "people", "cars", "miles", "km", "blocks", "minutes",
        "more", "lane", "per", "at", "for", "with", "by", "new", "dirt", "is",
    };
    for (unsigned n = 0; n < 4; n++) {
        uint64_t classes;
        size_t next = nth(a, i);
        if (!next)
            next = vs_pii_word(a, i, &classes);
        else
            classes = 0;
        if (next == i || next - i > 15)
            return 0;
        for (size_t k = 0; k < sizeof never / sizeof *never; k++)
            if (vs_pii_is(a, i, never[k]))
                return 0;
        if (n && classes & VS_NEAR(ROAD))
            return next;
        if (vs_pii_byte(a, next) != ' ')
            return 0;
        i = next + 1;
    }
    return 0;
}

static size_t connector(struct vs_pii_at *a, size_t i)
{
    static const char *const words[] = {
        "de", "la", "du", "des", "le", "les", "del", "los", "las", "da", "do", "dos", "das", "della", "dei", "degli", "delle",
        "di", "van", "der", "den", "sur", "et", "y", "e", "dell", "d", "l",
    };
    for (size_t k = 0; k < sizeof words / sizeof *words; k++)
        if (vs_pii_is(a, i, words[k])) {
            size_t end = i + strlen(words[k]);
            return vs_pii_byte(a, end) == '\'' || vs_pii_byte(a, end) == ' ' ? end + 1 : 0;
        }
    return 0;
}

/* The name of a street behind its kind: connectors and names, one name at least. */
static size_t romance(struct vs_pii_at *a, size_t i)
{
    size_t end = 0;
    for (unsigned n = 0; n < 7; n++) {
        size_t next = connector(a, i);
        if (!next) {
            next = name(a, i);
            if (!next) {                 /* rue du 4 Septembre */
                size_t number = run(a, i, 1, 2);
                next = number && vs_pii_byte(a, number) == ' ' && name(a, number + 1) ? number : 0;
            }
            if (!next)
                break;
            end = next;
            if (vs_pii_byte(a, next) != ' ')
                break;
            next++;
        }
        i = next;
    }
    return end;
}

/* "12", "12a", "12-14" with nothing that goes on. */
static size_t house_after(struct vs_pii_at *a, size_t i)
{
    size_t end = run(a, i, 1, 4);
    if (!end)
        return 0;
    uint8_t c = vs_pii_byte(a, end);
    if (vs_is_alpha(c) && !vs_is_alnum(vs_pii_byte(a, end + 1)))
        end++;
    else if (c == ' ' && vs_is_lower(vs_pii_byte(a, end + 1)) && vs_pii_byte(a, end + 1) < 'f' && vs_pii_byte(a, end + 2) == ',')
        end += 2;
    else if ((c == '-' || c == '/') && run(a, end + 1, 1, 4))
        end = run(a, end + 1, 1, 4);
    return vs_pii_ends(a, end) ? end : 0;
}

/* Behind a label ("Address:") whatever has the parts of an address, to the end of the line or string: a number, names, a comma. */
static bool labelled(struct vs_pii_at *a)
{
    uint8_t before = vs_pii_before(a, 1), c;
    size_t back = before == ' ' || before == '"' || before == '\'' ? 2 : 1;
    back += vs_pii_before(a, back) == ' ' && before == '"';
    c = vs_pii_before(a, back);
    if ((c != ':' && c != '=') || !vs_pii_is_next(a, VS_NEAR(LABEL)) || vs_pii_near(a, VS_NEAR(ELSE)) < 3)
        return false;
    unsigned n_names = 0, n_numbers = 0, n_commas = 0, n_small = 0;
    size_t i = a->p, end = a->p;
    while (i - a->p < 140) {
        uint64_t classes;
        size_t next = vs_pii_word(a, i, &classes);
        c = vs_pii_byte(a, i);
        if (next > i) {
            n_numbers += vs_is_digit(c);
            n_names += vs_is_upper(c) || c >= 0xc3;
            n_small += vs_is_lower(c) && next - i > 3;
            if (n_small > 1)
                return false;            /* a sentence: hold no more of it */
            end = vs_is_lower(c) ? end : next;
            i = next;
        } else if (c == ',' || c == ' ' || c == '-' || c == '/' || c == '.' || c == '#' || c == '\'') {
            bool is_stop = c == '.' && (n_numbers && n_names > 1) && !vs_is_alnum(vs_pii_byte(a, i + 1)) && n_commas;
            if (is_stop || (c == '-' && vs_pii_byte(a, i + 1) == ' '))
                break;
            n_commas += c == ',';
            i++;
        } else if (province(a, i))
            end = i += 4;
        else
            break;
    }
    bool is_end = c == 0 || c == '(' || c == '\n' || c == '\r'
                                   || c == '"' || c == '.' || c == ';' || c == '|' || c == '<' || c == '}' || c == '\\';
    return is_end && n_numbers && n_names > 1 && n_commas && vs_pii_found(a, end, VS_PII_ADDRESS, "address-labelled",
                                                                                         820);
}

/* "12 Monkeys Street art": what goes on with a noun is no address, if nothing says that it is one. */
static bool goes_on(struct vs_pii_at *a, size_t end)
{
    static const char *const small[] = {
        "and", "or", "in", "at", "is", "was", "on", "near", "to", "by", "for", "with", "from", "where", "which", "that", "after",
        "before", "until", "since", "if", "as", "but", "because", "has", "had", "will", "can", "not", "please", "today",
        "tomorrow", "tonight", "yesterday", "this", "next", "last", "between", "behind", "opposite", "across", "then", "so",
        "apt", "apartment", "unit", "suite", "flat", "floor", "room", "the", "my", "our", "your", "off",
    };
    if (vs_pii_byte(a, end) != ' ' || !vs_is_lower(vs_pii_byte(a, end + 1)))
        return false;
    for (size_t k = 0; k < sizeof small / sizeof *small; k++)
        if (vs_pii_is(a, end + 1, small[k]))
            return false;
    return vs_pii_near(a, VS_NEAR(PLACE)) >= 4;
}

static bool numbered(struct vs_pii_at *a)
{
    uint64_t classes;
    uint8_t before = vs_pii_before(a, 1);
    if (!vs_pii_begins(a) || (before == '#' && vs_pii_near(a, VS_NEAR(PLACE)) > 3) || before == ':')
        return false;
    size_t end = house(a, a->p), i = end;
    if (!end)
        return false;
    uint8_t third = vs_pii_byte(a, end + 1);
    if ((third == 'b' && vs_pii_is(a, end + 1, "bis")) || (third == 't' && vs_pii_is(a, end + 1, "ter")))
        i += 4;
    i += vs_pii_byte(a, i) == ',';
    if (vs_pii_byte(a, i) != ' ')
        return false;
    i = spaces(a, i);
    if (vs_is_digit(vs_pii_byte(a, i)) && !nth(a, i))
        return false;                    /* numbers in a row */
    size_t next = vs_pii_word(a, i, &classes), street;
    if (classes & VS_NEAR(STREET) && next > i) {
        next += vs_pii_byte(a, next) == '.';
        if (vs_pii_byte(a, next) == ' ' && (street = romance(a, next + 1)))
            return found(a, street, "address-romance", 900);
    }
    if (vs_pii_byte(a, end) != ' ')
        return false;
    bool is_sure;
    if ((street = english(a, i, &is_sure))) {
        size_t whole = place(a, unit(a, street));
        if ((is_sure && !(whole == street && goes_on(a, street))) || whole > street || vs_pii_near(a, VS_NEAR(PLACE)) < 4)
            return vs_pii_found(a, whole, VS_PII_ADDRESS, "address", is_sure ? 900 : 850);
        return false;
    }
    if ((street = city(a, i))) {         /* any name, when a unit is there */
        size_t second = vs_pii_byte(a, street) == ' ' ? house_after(a, street + 1) : 0, last = second ? second : street;
        if (unit(a, last) > last)
            return found(a, last, "address-unit", 830);
    }
    if (street && vs_pii_near(a, VS_NEAR(PLACE)) < 4) {      /* or when its place is certain */
        size_t whole = place(a, street);
        if (whole > street)
            return vs_pii_found(a, whole, VS_PII_ADDRESS, "address-place", 820);
    }
    if (!vs_is_lower(vs_pii_byte(a, i)) && !vs_is_digit(vs_pii_byte(a, i)))
        return false;
    street = small_english(a, i);
    return street && vs_pii_near(a, VS_NEAR(PLACE)) < 3 && found(a, street, "address", 800);
}

/* What was found, or more of it behind a label, where it seems to go on. */
static bool or_labelled(struct vs_pii_at *a, bool is_found)
{
    size_t end = a->end;
    if (!is_found)
        return labelled(a);
    if (vs_pii_byte(a, end) != ',' && vs_pii_byte(a, end) != '-' && vs_pii_byte(a, end + 1) != ',')
        return true;
    if (!labelled(a) || a->end < end)
        a->end = end;
    return true;
}

bool vs_pii_house(struct vs_pii_at *a)
{
    return or_labelled(a, numbered(a));
}

/* ---- a word first ---- */

static bool has_suffix(struct vs_pii_at *a, size_t end)
{
    static const char *const suffixes[] = {
        ("stra\xc3\x9f" "e"), "strasse", "str", "gasse", "weg", "platz", "allee", "ring", "damm", "ufer", "steig", "chaussee",
        "straat", "laan", "gracht", "plein", "kade", "dijk", "singel", "gatan", "v\xc3\xa4gen", "gata", "veien", "stigen",
        "gr\xc3\xa4nd", "torg", "dreef", "pad", "hof", "baan", "boulevard", "vej", "gade", "katu", "gate", "steeg",
        "torget", "str\xc3\xa6" "de", "stien", "all\xc3\xa9", "v\xc3\xa4g", "plassen", "plads", "kuja", "polku", "br\xc3\xbc" "cke",
        "graben", "markt",
    };
    for (size_t k = 0; k < sizeof suffixes / sizeof *suffixes; k++) {
        size_t n = strlen(suffixes[k]);
        if (end - a->p < n + 3 && end - a->p != n)
            continue;
        bool is_same = true;
        for (size_t i = 0; i < n && is_same; i++) {
            uint8_t c = vs_pii_byte(a, end - n + i);
            is_same = (vs_is_upper(c) ? c | 32 : c) == (uint8_t)suffixes[k][i];
        }
        if (is_same)
            return true;
    }
    return false;
}

/* "Platz 3", "Sitzplatz 12": as likely a place in a race, a hall or a list. */
static bool is_seat(struct vs_pii_at *a)
{
    static const char *const words[] = {
        "platz", "sitzplatz", "stehplatz", "liegeplatz", "schlafplatz", "parkplatz", "stellplatz", "standplatz", "lagerplatz",
        "arbeitsplatz", "studienplatz", "ausbildungsplatz", "kitaplatz", "tabellenplatz", "listenplatz", "startplatz",
        "rangplatz", "podestplatz", "speicherplatz", "steckplatz", "fensterplatz", "gangplatz", "logenplatz", "zeltplatz",
        "campingplatz", "spielplatz", "tennisplatz", "tischplatz", "bauplatz", "umweg", "ausweg", "irrweg",
    };
    for (size_t k = 0; k < sizeof words / sizeof *words; k++)
        if (vs_pii_is(a, a->p, words[k]))
            return true;
    return false;
}

/* "Der Platz 3", "den Weg 2": no name. */
static bool is_article(struct vs_pii_at *a)
{
    static const char *const words[] = { "der", "die", "das", "den", "dem", "des", "ein", "eine", "einen", "auf", "von", "vom" };
    for (size_t k = 0; k < sizeof words / sizeof *words; k++)
        if (vs_pii_is(a, a->p, words[k]))
            return true;
    return false;
}

static bool germanic(struct vs_pii_at *a, size_t end)
{
    uint64_t classes;
    while (vs_pii_byte(a, end) == '-' && vs_is_alpha(vs_pii_byte(a, end + 1)))
        end = vs_pii_word(a, end + 1, &classes);         /* Albert-Einstein-Ring */
    size_t i = end + (vs_pii_byte(a, end) == '.');
    if (vs_pii_byte(a, i) != ' ')
        return false;
    if (vs_is_digit(vs_pii_byte(a, i + 1)) && has_suffix(a, end)) {
        size_t number = house_after(a, i + 1);
        if (is_seat(a))
            return number && place(a, number) > number && found(a, number, "address-germanic", 850);
        return number && end - a->p > 4 && found(a, number, "address-germanic", 900);
    }
    /* Berliner Straße 5, Kölner Str. 12 */
    static const char *const kinds[] = {
        ("stra\xc3\x9f" "e"), "strasse", "str", "allee", "weg", "platz", "gasse", "ring", "damm", "ufer",
    };
    if (vs_pii_byte(a, i) == '.' || !vs_is_upper(vs_pii_byte(a, end + 1)))
        return false;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (vs_pii_is(a, end + 1, kinds[k])) {
            size_t next = end + 1 + strlen(kinds[k]);
            next += vs_pii_byte(a, next) == '.';
            size_t number = vs_pii_byte(a, next) == ' ' ? house_after(a, next + 1) : 0;
            return number && !is_article(a) && found(a, number, "address-germanic", 900);
        }
    return false;
}

/* "Am Markt 1, 28195 Bremen", "Unter den Linden 77, 10117 Berlin": with its code, as the words alone are any. */
static bool german_at(struct vs_pii_at *a, size_t end)
{
    static const char *const words[] = { "am", "im", "zum", "zur", "an", "auf", "unter", "beim", "alter", "alte", "neuer", "neue" };
    static const char *const articles[] = { "der", "den", "dem" };
    bool is_there = false;
    size_t i = end + 1, next;
    for (size_t k = 0; k < sizeof words / sizeof *words; k++)
        is_there |= vs_pii_is(a, a->p, words[k]);
    for (size_t k = 0; is_there && k < 3; k++)
        if (vs_pii_is(a, i, articles[k]))
            i += 4;
    if (!is_there || vs_pii_byte(a, end) != ' ' || !(next = name(a, i)) || vs_pii_byte(a, next) != ' ')
        return false;
    size_t number = house_after(a, next + 1), whole = number ? place(a, number) : 0;
    return whole > number && vs_pii_found(a, whole, VS_PII_ADDRESS, "address-germanic", 880);
}

/* "Calle Mayor 12", "Via Roma, 10", "Rua Augusta 1500" */
static bool romance_first(struct vs_pii_at *a, size_t end)
{
    size_t i = end + (vs_pii_byte(a, end) == '.' || vs_pii_byte(a, end) == '/');
    i = spaces(a, i);
    if (vs_pii_is(a, a->p, "avenue") || vs_pii_is(a, a->p, "place") || vs_pii_is(a, a->p, "ave") || vs_pii_is(a, a->p, "boulevard"))
        return false;                    /* the number stands before these */
    size_t street = i > end ? romance(a, i) : 0;
    if (!street)
        return false;
    i = street + (vs_pii_byte(a, street) == ',');
    i = spaces(a, i);
    if (vs_pii_byte(a, i) == 'n' && (vs_pii_byte(a, i + 1) == '.' || vs_pii_byte(a, i + 1) == 0xc2))
        i = spaces(a, i + (vs_pii_byte(a, i + 1) == '.' ? 2 : 3));
    size_t number = i > street ? house_after(a, i) : 0;
    return number && found(a, number, "address-romance", 880);
}

/* "PSC 1875, Box 8802\nAPO AA 47798", "USS Shepard\nFPO AE 14128": the army's and the navy's post. */
static bool military(struct vs_pii_at *a, size_t end)
{
    bool is_mark;
    size_t i = run(a, spaces(a, end), 1, 4);
    if (i) {
        i = gap(a, i, &is_mark);
        i = i && vs_pii_is(a, i, "box") ? run(a, spaces(a, i + 3), 1, 5) : 0;
    } else
        i = name(a, spaces(a, end));
    i = i ? gap(a, i, &is_mark) : 0;
    if (!i || !(vs_pii_is(a, i, "apo") || vs_pii_is(a, i, "fpo") || vs_pii_is(a, i, "dpo")))
        return false;
    i = state(a, spaces(a, i + 3));
    return i && vs_is_digit(vs_pii_byte(a, i - 1)) && vs_pii_found(a, i, VS_PII_ADDRESS, "military", 900);
}

static bool box(struct vs_pii_at *a, size_t end)
{
    size_t i = end;
    uint8_t second = vs_pii_byte(a, a->p + 1) | 32;
    if (second == 's' || second == 'm')
        return military(a, end);
    if (end - a->p == 1) {               /* P.O. Box, P O Box */
        i += vs_pii_byte(a, i) == '.';
        i = spaces(a, i);
        if ((vs_pii_byte(a, i) | 32) != 'o' || vs_is_alpha(vs_pii_byte(a, i + 1)))
            return false;
        i++;
    } else if (vs_pii_is(a, a->p, "post")) {
        if (!vs_pii_is(a, end + 1, "office"))
            return false;
        i = end + 7;
    }
    i += vs_pii_byte(a, i) == '.';
    i = spaces(a, i);
    if (vs_pii_is(a, a->p, "apartado")) {
        if (vs_pii_is(a, i, "de"))
            i = spaces(a, i + 2);
        i = spaces(a, vs_pii_is(a, i, "correos") ? i + 7 : vs_pii_is(a, i, "postal") ? i + 6 : i);
    } else if (!vs_pii_is(a, a->p, "postfach") && !vs_pii_is(a, a->p, "pobox")) {
        if (!vs_pii_is(a, i, "box"))
            return false;
        i = spaces(a, i + 3);
    }
    i += vs_pii_byte(a, i) == '#';
    size_t number = run(a, i, 1, 7);
    if (number && vs_pii_byte(a, number) == ' ' && vs_pii_is(a, a->p, "postfach") && run(a, number + 1, 2, 2))
        number += 3;
    return number && vs_pii_ends(a, number) && found(a, number, "box", 900);
}

/* "Flat 3, 12 Park Road", "Unit 21 778 Michelle Court"; "Flat 7, Rees Lane, Leeds LS6 2AB": with its code also without a number. */
static bool unit_first(struct vs_pii_at *a, size_t end)
{
    size_t i = spaces(a, end + (vs_pii_byte(a, end) == '.')), n = 0;
    bool is_sure;
    while (n < 5 && vs_is_alnum(vs_pii_byte(a, i + n)))
        n++;
    if (!n || !(vs_is_digit(vs_pii_byte(a, i)) || n == 1))
        return false;
    i += n;
    bool has_comma = vs_pii_byte(a, i) == ',';
    i = spaces(a, i + has_comma);
    size_t number = house(a, i), from = number ? spaces(a, number) : i;
    size_t street = number || has_comma ? english(a, from, &is_sure) : 0, whole = street ? place(a, street) : 0;
    return street && ((number && is_sure) || whole > street) && vs_pii_found(a, whole, VS_PII_ADDRESS, "address", 900);
}

static bool worded(struct vs_pii_at *a, size_t end, uint64_t classes)
{
    uint8_t first = vs_pii_byte(a, a->p), before = vs_pii_before(a, 1);
    if (vs_is_word(before) || before == '.' || before == '@' || before == '/')
        return false;
    if (classes & VS_NEAR(BOX) && box(a, end))
        return true;
    if (classes & VS_NEAR(UNIT) && (unit_first(a, end) || military(a, end)))
        return true;
    if (end - a->p == 1 && vs_pii_byte(a, end) != '/')
        return false;                    /* C/ Alta 5 */
    bool is_short = end - a->p < 4 && vs_pii_byte(a, end) != '/' && vs_pii_byte(a, end) != '.';
    if (classes & VS_NEAR(STREET) && (vs_is_upper(first) || !is_short) && romance_first(a, end))
        return true;
    return (vs_is_upper(first) || first >= 0xc3) && (germanic(a, end) || german_at(a, end));
}

/* ---- Russian and Ukrainian: "ul. Lenina, d. 12, kv. 4" ---- */

/* ul, ulitsa, prosp, prospekt, pr-t, per, pereulok, bul, b-r, bulvar, shosse, nab, naberezhnaya, ploshchad, proyezd; vul, vulytsia,
 * provulok */
static const char *const streets[] = {
    "\xd1\x83\xd0\xbb", "\xd0\xa3\xd0\xbb", "\xd1\x83\xd0\xbb\xd0\xb8\xd1\x86\xd0\xb0",
    "\xd0\xa3\xd0\xbb\xd0\xb8\xd1\x86\xd0\xb0", "\xd0\xbf\xd1\x80\xd0\xbe\xd1\x81\xd0\xbf",
    "\xd0\x9f\xd1\x80\xd0\xbe\xd1\x81\xd0\xbf", "\xd0\xbf\xd1\x80\xd0\xbe\xd1\x81\xd0\xbf\xd0\xb5\xd0\xba\xd1\x82",
    "\xd0\x9f\xd1\x80\xd0\xbe\xd1\x81\xd0\xbf\xd0\xb5\xd0\xba\xd1\x82", "\xd0\xbf\xd1\x80-\xd1\x82",
    "\xd0\x9f\xd1\x80-\xd1\x82", "\xd0\xbf\xd0\xb5\xd1\x80", "\xd0\x9f\xd0\xb5\xd1\x80",
    "\xd0\xbf\xd0\xb5\xd1\x80\xd0\xb5\xd1\x83\xd0\xbb\xd0\xbe\xd0\xba",
    "\xd0\x9f\xd0\xb5\xd1\x80\xd0\xb5\xd1\x83\xd0\xbb\xd0\xbe\xd0\xba", "\xd0\xb1\xd1\x83\xd0\xbb", "\xd0\x91\xd1\x83\xd0\xbb",
    "\xd0\xb1-\xd1\x80", "\xd0\x91-\xd1\x80", "\xd0\xb1\xd1\x83\xd0\xbb\xd1\x8c\xd0\xb2\xd0\xb0\xd1\x80",
    "\xd0\x91\xd1\x83\xd0\xbb\xd1\x8c\xd0\xb2\xd0\xb0\xd1\x80", "\xd1\x88\xd0\xbe\xd1\x81\xd1\x81\xd0\xb5",
    "\xd0\xa8\xd0\xbe\xd1\x81\xd1\x81\xd0\xb5", "\xd0\xbd\xd0\xb0\xd0\xb1", "\xd0\x9d\xd0\xb0\xd0\xb1",
    "\xd0\xbd\xd0\xb0\xd0\xb1\xd0\xb5\xd1\x80\xd0\xb5\xd0\xb6\xd0\xbd\xd0\xb0\xd1\x8f",
    "\xd0\x9d\xd0\xb0\xd0\xb1\xd0\xb5\xd1\x80\xd0\xb5\xd0\xb6\xd0\xbd\xd0\xb0\xd1\x8f",
    "\xd0\xbf\xd0\xbb\xd0\xbe\xd1\x89\xd0\xb0\xd0\xb4\xd1\x8c", "\xd0\x9f\xd0\xbb\xd0\xbe\xd1\x89\xd0\xb0\xd0\xb4\xd1\x8c",
    "\xd0\xbf\xd1\x80\xd0\xbe\xd0\xb5\xd0\xb7\xd0\xb4", "\xd0\x9f\xd1\x80\xd0\xbe\xd0\xb5\xd0\xb7\xd0\xb4",
    "\xd0\xb2\xd1\x83\xd0\xbb", "\xd0\x92\xd1\x83\xd0\xbb", "\xd0\xb2\xd1\x83\xd0\xbb\xd0\xb8\xd1\x86\xd1\x8f",
    "\xd0\x92\xd1\x83\xd0\xbb\xd0\xb8\xd1\x86\xd1\x8f", "\xd0\xbf\xd1\x80\xd0\xbe\xd0\xb2\xd1\x83\xd0\xbb\xd0\xbe\xd0\xba",
    "\xd0\x9f\xd1\x80\xd0\xbe\xd0\xb2\xd1\x83\xd0\xbb\xd0\xbe\xd0\xba",
    NULL,
};
/* d, dom; bud, budynok */
static const char *const houses[] = {
    "\xd0\xb4", "\xd0\xb4\xd0\xbe\xd0\xbc", "\xd0\xb1\xd1\x83\xd0\xb4",
    "\xd0\xb1\xd1\x83\xd0\xb4\xd0\xb8\xd0\xbd\xd0\xbe\xd0\xba",
    NULL,
};
/* kv, kvartira, korp, k, str, of, ofis, podyezd, etazh */
static const char *const rooms[] = {
    "\xd0\xba\xd0\xb2", "\xd0\xba\xd0\xb2\xd0\xb0\xd1\x80\xd1\x82\xd0\xb8\xd1\x80\xd0\xb0", "\xd0\xba\xd0\xbe\xd1\x80\xd0\xbf",
    "\xd0\xba", "\xd1\x81\xd1\x82\xd1\x80", "\xd0\xbe\xd1\x84", "\xd0\xbe\xd1\x84\xd0\xb8\xd1\x81",
    "\xd0\xbf\xd0\xbe\xd0\xb4\xd1\x8a\xd0\xb5\xd0\xb7\xd0\xb4", "\xd1\x8d\xd1\x82\xd0\xb0\xd0\xb6",
    NULL,
};

static bool is_cyrillic(uint8_t c)
{
    return c >= 0xd0 && c <= 0xd2;
}

/* Where one of the words ends that stands there whole, with the dot of a short form; 0: none does. */
static size_t one_of(struct vs_pii_at *a, size_t i, const char *const *words)
{
    for (; *words; words++) {
        size_t k = i;
        for (const char *w = *words; *w && vs_pii_byte(a, k) == (uint8_t)*w; w++)
            k++;
        if (k - i == strlen(*words) && !is_cyrillic(vs_pii_byte(a, k)) && !vs_is_alnum(vs_pii_byte(a, k)))
            return k + (vs_pii_byte(a, k) == '.');
    }
    return 0;
}

/* Up to three words of Cyrillic letters, the first with a capital. */
static size_t cyrillic_name(struct vs_pii_at *a, size_t i)
{
    enum { WORDS = 3, LONGEST = 64 };
    uint8_t lead = vs_pii_byte(a, i), next = vs_pii_byte(a, i + 1);
    if (!(lead == 0xd0 && next >= 0x80 && next < 0xb0) && lead != 0xd2)
        return 0;
    size_t end = i;
    for (unsigned words = 0; words < WORDS && is_cyrillic(vs_pii_byte(a, i)); words++) {
        if (words && one_of(a, i, houses))
            break;
        while (i - end < LONGEST && (is_cyrillic(vs_pii_byte(a, i)) || (vs_pii_byte(a, i) & 0xc0) == 0x80 ||
                                     (vs_pii_byte(a, i) == '-' && is_cyrillic(vs_pii_byte(a, i + 1)))))
            i++;
        end = i;
        i += vs_pii_byte(a, i) == ' ';
    }
    return end;
}

static bool is_year(struct vs_pii_at *a, size_t i, size_t end)
{
    return end - i == 4 && (vs_pii_byte(a, i) == '1' || vs_pii_byte(a, i) == '2');
}

static bool cyrillic(struct vs_pii_at *a)
{
    static const char second[] = "\x83\xbf\xb1\x88\xbd\xb2\xa3\x9f\x91\xa8\x9d\x92";   /* of letters with which streets begin */
    if (!memchr(second, vs_pii_byte(a, a->p + 1), sizeof second - 1))
        return false;
    size_t i = one_of(a, a->p, streets), end, next;
    if (!i || !(i = cyrillic_name(a, spaces(a, i))))
        return false;
    bool has_comma = vs_pii_byte(a, i) == ',';
    i = spaces(a, i + has_comma);
    next = one_of(a, i, houses);
    bool is_sure = next != 0;
    i = next ? spaces(a, next) : i;
    if (!(end = run(a, i, 1, 4)) || (!is_sure && is_year(a, i, end)))
        return false;
    if (vs_pii_byte(a, end) == '/' && run(a, end + 1, 1, 3))
        end = run(a, end + 1, 1, 3);
    else if (is_cyrillic(vs_pii_byte(a, end)) && !is_cyrillic(vs_pii_byte(a, end + 2)))
        end += 2;                        /* 12a */
    if (!vs_pii_ends(a, end))
        return false;
    for (;;) {
        i = spaces(a, end + (vs_pii_byte(a, end) == ','));
        next = one_of(a, i, rooms);
        if (!next || !(next = run(a, spaces(a, next), 1, 4)) || !vs_pii_ends(a, next) || next == a->p + VS_DETECT_HELD)
            break;                       /* not within a number, of which no more may be looked at */
        end = next;
        is_sure = true;
    }
    if (!is_sure && vs_pii_byte(a, end) == ' ' && is_cyrillic(vs_pii_byte(a, end + 1)))
        return false;                    /* what there are so many of */
    return vs_pii_found(a, end, VS_PII_ADDRESS, "address-cyrillic", 860);
}

bool vs_pii_street(struct vs_pii_at *a, size_t end, uint64_t classes)
{
    if (is_cyrillic(vs_pii_byte(a, a->p)) && cyrillic(a))
        return true;
    return or_labelled(a, worded(a, end, classes));
}
