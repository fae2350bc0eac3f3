/* filter/pii_net.c - e-mail, MAC and IP addresses.
 *
 * Sources: RFC 5321 and 5322 (the forms in use, not quoted ones), RFC 4291 and 5952 (IPv6 text), IEEE 802 (MAC).
 */
#include "filter/letters.h"
#include "filter/pii_match.h"

#include <string.h>

/* ---- e-mail ---- */

static bool is_mail(uint8_t c)
{
    return vs_pii_kind[c] & (VS_C_MAIL | VS_C_HIGH);
}

/* Two bytes of a Latin, Greek or Cyrillic letter: one that a name may have. */
static bool is_foreign(uint8_t c) { return c >= 0xc3 && c <= 0xd4; }

/* Whether p is inside what may be a local part. Two dots are in none: behind them one may begin ("write to...ann@example.org"). */
static bool is_inside(const struct vs_pii_at *a)
{
    size_t back = 1;
    uint8_t c;
    if (vs_pii_before(a, 1) == '.' && vs_pii_before(a, 2) == '.')
        return false;
    while (back < 4 && (c = vs_pii_before(a, back), is_mail(c) && !vs_is_alnum(c) && c < 0x80))
        back++;
    c = vs_pii_before(a, back);
    return vs_is_alnum(c) || (c >= 0x80 && c < 0xc0 && is_foreign(vs_pii_before(a, back + 1)));
}

/* "scheme://user:secret@host" is no mail address; "git@host:path" neither. */
static bool is_url(struct vs_pii_at *a, size_t at, size_t end)
{
    if (at - a->p == 3 && vs_pii_is(a, a->p, "git") && vs_pii_byte(a, end) == ':')
        return true;
    for (size_t back = 1; back < 64; back++) {
        uint8_t c = vs_pii_before(a, back);
        if (c == '/' && vs_pii_before(a, back + 1) == '/' && vs_pii_before(a, back + 2) == ':')
            return true;
        if (!c || (vs_pii_kind[c] & VS_C_SPACE) || c == '"' || c == '<' || c == ',' || c == '?')
            return false;
    }
    return false;
}

static bool is_file(struct vs_pii_at *a, size_t from, size_t n)
{
    static const char names[] = " png jpg jpeg gif svg webp ico css js jsx tsx map scss pdf exe dll bmp tiff mp4 json yaml yml "
                                "html ";
    char name[12] = " ";
    if (n > 8)
        return false;
    for (size_t i = 0; i < n; i++)
        name[i + 1] = (char)(vs_pii_byte(a, from + i) | 32);
    name[n + 1] = ' ', name[n + 2] = 0;
    return strstr(names, name) != NULL;
}

/* The domain at i: where it ends; 0: none. The last label has letters only, two at least. */
static size_t domain(struct vs_pii_at *a, size_t i)
{
    size_t end = 0;
    for (unsigned n_labels = 0; n_labels < 10; n_labels++) {
        size_t start = i;
        bool is_name = true;
        uint8_t c;
        while (vs_is_alnum(c = vs_pii_byte(a, i)) || is_foreign(c) || (c == '-' && i > start)) {
            is_name &= vs_is_alpha(c) || c >= 0x80;
            i += is_foreign(c) ? 2 : 1;
        }
        while (i > start && vs_pii_byte(a, i - 1) == '-')
            i--;
        bool is_puny = i - start > 4 && vs_pii_byte(a, start) == 'x' && vs_pii_byte(a, start + 2) == '-';
        if (i == start)
            break;
        if (n_labels && (is_name || is_puny) && i - start >= 2 && i - start <= 24 && !is_file(a, start, i - start))
            end = i;
        else {
            end = 0;
            size_t k = start;            /* "name@host.com555": the label ends where the digits begin */
            while (vs_is_alpha(vs_pii_byte(a, k)))
                k++;
            if (n_labels && k - start == 3 && vs_is_digit(vs_pii_byte(a, k)) && (vs_pii_byte(a, start) | 32) == 'c')
                return k;
        }
        if (vs_pii_byte(a, i) != '.' || !(vs_is_alnum(c = vs_pii_byte(a, i + 1)) || is_foreign(c)))
            break;
        i++;
    }
    uint8_t c = end ? vs_pii_byte(a, end) : 0;
    return c == '@' || c == '_' ? 0 : end;
}

bool vs_pii_email(struct vs_pii_at *a)
{
    size_t i = a->p;
    if (is_inside(a))
        return false;
    i = vs_letters_end(a->text, a->n - i < 64 ? a->n : i + 64, i);       /* mostly a word that is no address */
    uint8_t c, last = i > a->p ? (uint8_t)a->text[i - 1] : 0;
    for (; is_mail(c = vs_pii_byte(a, i)); i++, last = c)
        if (i - a->p > 64 || (c == '.' && last == '.') || (c >= 0x80 && !is_foreign(c) && !is_foreign(last)))
            return false;
    if (c != '@' || last == '.' || i == a->p)
        return false;
    size_t end = domain(a, i + 1);
    return end && !is_url(a, i, end) && vs_pii_found(a, end, VS_PII_EMAIL, "email", 980);
}

/* ---- MAC ---- */

static unsigned hexes(struct vs_pii_at *a, size_t i, unsigned limit)
{
    unsigned n = 0;
    while (n < limit && vs_is_hex(vs_pii_byte(a, i + n)))
        n++;
    return n;
}

static bool has_letter(struct vs_pii_at *a, size_t from, size_t end)
{
    for (size_t i = from; i < end; i++)
        if (vs_is_alpha(vs_pii_byte(a, i)))
            return true;
    return false;
}

/* n groups of `each` hex digits with one separator: where they end. */
static size_t hex_groups(struct vs_pii_at *a, unsigned n, unsigned each, uint8_t separator)
{
    size_t i = a->p;
    for (unsigned k = 0; k < n; k++, i += each) {
        if (k && vs_pii_byte(a, i++) != separator)
            return 0;
        if (hexes(a, i, each + 1) != each)
            return 0;
    }
    return i;
}

/* As a switch lists what it has seen: "10    001a.2b3c.4d5e    DYNAMIC     Gi1/0/1". */
static bool is_listed(struct vs_pii_at *a, size_t end)
{
    enum { BLANKS = 12 };
    size_t i = end;
    while (i < end + BLANKS && (vs_pii_byte(a, i) == ' ' || vs_pii_byte(a, i) == '\t'))
        i++;
    return i > end && (vs_pii_is(a, i, "dynamic") || vs_pii_is(a, i, "static") || vs_pii_is(a, i, "arpa"));
}

/* Pairs with dashes and groups of four stand for many things: as Windows writes an address it has capitals. */
static bool is_said(struct vs_pii_at *a, size_t end, uint8_t separator)
{
    bool has_small = false;
    for (size_t i = a->p; i < end; i++)
        has_small |= vs_is_lower(vs_pii_byte(a, i));
    return separator == ':' || (separator == '-' && !has_small) || vs_pii_near(a, VS_NEAR(MAC) | VS_NEAR(NET)) < 9
        || is_listed(a, end);
}

bool vs_pii_mac(struct vs_pii_at *a)
{
    uint8_t before = vs_pii_before(a, 1);
    unsigned n = hexes(a, a->p, 13);
    size_t end = 0;
    if (vs_is_word(before) || ((before == ':' || before == '-' || before == '.') && vs_is_hex(vs_pii_before(a, 2))))
        return false;
    uint8_t separator = vs_pii_byte(a, a->p + n);
    if (n == 2 && (separator == ':' || separator == '-'))
        end = hex_groups(a, 6, 2, separator);
    else if (n == 4 && separator == '.')
        end = hex_groups(a, 3, 4, '.');
    else if (n == 12 && vs_pii_near(a, VS_NEAR(MAC)) < 3)
        end = a->p + 12;
    if (!end || (!has_letter(a, a->p, end) && vs_pii_near(a, VS_NEAR(MAC)) > 3))
        return false;                    /* six numbers of two digits: a time code, as likely as not */
    if (n < 12 && !is_said(a, end, separator))
        return false;
    uint8_t c = vs_pii_byte(a, end), digit = vs_pii_byte(a, a->p) | 32;
    if (vs_is_word(c) || ((c == ':' || c == '-' || c == '.') && vs_is_hex(vs_pii_byte(a, end + 1)) && n < 12))
        return false;
    bool is_same = digit == '0' || digit == 'f';      /* nobody's: all zeros, or everybody's: all ones */
    for (size_t i = a->p; i < end && is_same; i++)
        is_same = !vs_is_hex(vs_pii_byte(a, i)) || (vs_pii_byte(a, i) | 32) == digit;
    if (is_same)
        return false;
    return vs_pii_found(a, end, VS_PII_MAC_ADDRESS, "mac", 950);
}

/* ---- IP ---- */

/* Four numbers 0 to 255 without leading zeros: the end, 0: no. */
static size_t octets(struct vs_pii_at *a, size_t i, unsigned octet[4])
{
    for (unsigned k = 0; k < 4; k++) {
        if (k && vs_pii_byte(a, i++) != '.')
            return 0;
        size_t start = i;
        octet[k] = 0;
        for (uint8_t c; i < start + 4 && vs_is_digit(c = vs_pii_byte(a, i)); i++)
            octet[k] = octet[k] * 10 + (c - '0');
        if (i == start || i > start + 3 || octet[k] > 255 || (i > start + 1 && vs_pii_byte(a, start) == '0'))
            return 0;
    }
    return i;
}

/* Three small numbers of four: versions, numbers of enzymes and of segments look so, and hardly one address of four hundred. */
static bool is_small(const unsigned o[4])
{
    enum { SMALL = 32, DIGIT = 10 };
    return o[0] < SMALL && o[1] < SMALL && (o[2] < SMALL || o[3] < DIGIT);
}

/* A word of networks not far before it, a port or a network's length behind it, or a sign in front that addresses have. */
static bool is_of_network(struct vs_pii_at *a, uint8_t behind, uint8_t next)
{
    uint8_t before = vs_pii_before(a, 1);
    return ((behind == ':' || behind == '/') && vs_is_digit(next)) || before == '/' || before == '@' || before == '['
        || vs_pii_near(a, VS_NEAR(NET)) < 8;
}

static bool is_mask(const unsigned o[4])
{
    uint32_t x = o[0] << 24 | o[1] << 16 | o[2] << 8 | o[3];
    return o[0] == 255 && x != 0xffffffff && ((~x + 1) & ~x) == 0;
}

/* "3.2.1.4 Scope": the number of a part of a document, at the beginning of a line. */
static bool is_heading(struct vs_pii_at *a, size_t end, const unsigned o[4])
{
    uint8_t before = vs_pii_before(a, 1);
    if ((before && before != '\n') || o[0] > 9 || o[1] > 30 || o[2] > 30 || o[3] > 30)
        return false;
    return vs_pii_byte(a, end) == ' ' && vs_is_upper(vs_pii_byte(a, end + 1)) && vs_is_lower(vs_pii_byte(a, end + 2));
}

/* The beginning of a line, or a mark after the word: it does not speak of this number. */
static bool is_quoted_key(struct vs_pii_at *a)
{
    return vs_pii_before(a, 1) == ' ' && (vs_pii_before(a, 2) == '-' || vs_pii_before(a, 2) == ',' || vs_pii_before(a, 2) == ';');
}

bool vs_pii_ipv4(struct vs_pii_at *a)
{
    unsigned o[4];
    uint8_t before = vs_pii_before(a, 1);
    if (vs_is_word(before) || ((before == '.' || before == '-' || before == '+') && vs_is_word(vs_pii_before(a, 2)) &&
                               !(before == '-' && vs_is_digit(vs_pii_before(a, 2)) && vs_pii_before(a, 3) != '-')))
        return false;
    size_t end = octets(a, a->p, o);
    if (!end)
        return false;
    uint8_t c = vs_pii_byte(a, end), d = c ? vs_pii_byte(a, end + 1) : 0;
    if (vs_is_word(c) || c == '%' || (c == '.' && vs_is_alnum(d)) || (c == '-' && vs_is_alpha(d)) || (c == '+' && vs_is_alnum(d)))
        return false;
    unsigned version = vs_pii_near(a, VS_NEAR(VERSION));
    if ((version < 3 && version < vs_pii_near(a, VS_NEAR(NET)) && !is_quoted_key(a)) || is_heading(a, end, o))
        return false;
    bool is_private = o[0] == 10 || o[0] == 127 || (o[0] == 192 && o[1] == 168) || (o[0] == 172 && o[1] >= 16 && o[1] < 32);
    bool starts_line = !before || before == '\n';
    if (!is_private && !starts_line && is_small(o) && !is_of_network(a, c, d))
        return false;
    if (!is_private && vs_pii_near(a, VS_NEAR(SOFT)) == 0)
        return false;
    if ((o[0] == 2 && o[1] == 5 && (o[2] == 4 || o[2] == 29)) || (o[0] == 1 && o[1] == 3 && o[2] == 6))
        return false;                    /* object identifiers of certificates */
    if (is_mask(o) || (o[0] == 255 && vs_pii_near(a, VS_NEAR(MASK)) < 3))
        return false;
    if (c == ' ') {
        uint64_t classes;                /* "10.1.2.3 release" */
        vs_pii_word(a, end + 1, &classes);
        if (classes & VS_NEAR(VERSION))
            return false;
    }
    return vs_pii_found(a, end, VS_PII_IP_ADDRESS, "ipv4", 920);
}

bool vs_pii_ipv6(struct vs_pii_at *a)
{
    uint8_t before = vs_pii_before(a, 1);
    size_t i = a->p, end = 0;
    unsigned n = 0, n_pairs = 0;
    bool is_short_form = false, has_digit = false;
    if (vs_is_word(before) || before == ':' || (before == '.' && vs_is_hex(vs_pii_before(a, 2))))
        return false;
    if (vs_pii_byte(a, i) == ':') {
        if (vs_pii_byte(a, i + 1) != ':')
            return false;
        is_short_form = true;
        end = i += 2;
    }
    while (n < 8) {
        unsigned octet[4], length = hexes(a, i, 5);
        if (!length || length > 4)
            break;
        if (n >= 2 && n <= 6 && vs_pii_byte(a, i + length) == '.' && vs_is_digit(vs_pii_byte(a, i + length + 1))) {
            size_t v4 = octets(a, i, octet);
            if (!v4)
                return false;
            n += 2, i = end = v4, has_digit = true;
            break;
        }
        /* ::ffff:1.2.3.4 */
        if (is_short_form && n < 2 && vs_pii_byte(a, i + length) == '.' && vs_is_digit(vs_pii_byte(a, i + length + 1))) {
            size_t v4 = octets(a, i, octet);
            if (!v4)
                return false;
            n += 2, i = end = v4, has_digit = true;
            break;
        }
        for (unsigned k = 0; k < length; k++)
            has_digit |= vs_is_digit(vs_pii_byte(a, i + k));
        n_pairs += length == 2;
        n++;
        i = end = i + length;
        if (vs_pii_byte(a, i) != ':')
            break;
        if (vs_pii_byte(a, i + 1) == ':') {
            if (is_short_form)
                return false;
            is_short_form = true;
            end = i += 2;
        } else if (!vs_is_hex(vs_pii_byte(a, i + 1)))
            break;
        else
            i++;
    }
    uint8_t c = end ? vs_pii_byte(a, end) : 0;
    bool is_whole = is_short_form ? n >= 1 && n <= 7 && has_digit : n == 8 && n_pairs < 8;
    if (!is_whole || vs_is_word(c) || (c == ':' && vs_is_word(vs_pii_byte(a, end + 1))))
        return false;
    if (c == '.' && vs_is_digit(vs_pii_byte(a, end + 1)))
        return false;
    if (is_short_form && end - a->p < 6 && vs_pii_byte(a, a->p) != ':')
        return false;                    /* 1::2 */
    if (n == 1 && end - a->p < 5 && !(end - a->p == 3 && vs_pii_byte(a, a->p + 2) == '1'))
        return false;                    /* [::2] of some languages; but ::1 */
    if (c == '%') {                      /* fe80::1%eth0 */
        size_t zone = end + 1;
        while (vs_is_alnum(vs_pii_byte(a, zone)))
            zone++;
        end = zone > end + 1 ? zone : end;
    }
    return vs_pii_found(a, end, VS_PII_IP_ADDRESS, "ipv6", 950);
}
