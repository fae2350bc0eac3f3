/* template/format.c - numbers to text and back as Python does it, `%` formatting, str.format, strftime. No locale. */
#include "template/internal.h"
#include "base/date.h"
#include "unicode/unicode.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- floats ------------------------------------------------------------------------------------------------- */

/* digits x 10^exponent, without any locale: strtod sees no decimal point. */
static double from_digits(const char *digits, int n, long exponent)
{
    char text[1200];
    if (n > 1100) {                     /* beyond what a double can tell apart */
        exponent += n - 1100;
        n = 1100;
    }
    snprintf(text, sizeof text, "%.*se%ld", n, n ? digits : "0", exponent);
    return strtod(text, NULL);
}

/* Shortest digits that read back as f (finite, positive); the value is 0.DIGITS x 10^point. */
static int shortest(double f, char digits[24], int *point)
{
    int n = 0;
    for (int precision = 0; precision < 17; precision++) {
        char text[48];
        snprintf(text, sizeof text, "%.*e", precision, f);
        n = 0;
        char *at = text;
        for (; *at && *at != 'e'; at++)
            if (*at >= '0' && *at <= '9')
                digits[n++] = *at;
        int exponent = (int)strtol(*at ? at + 1 : at, NULL, 10);
        *point = exponent + 1;
        if (from_digits(digits, n, exponent - (n - 1)) == f)
            break;
    }
    while (n > 1 && digits[n - 1] == '0')
        n--;
    digits[n] = 0;
    return n;
}

int vs_tp_float_repr(double f, char out[64])
{
    if (isnan(f))
        return snprintf(out, 64, "nan");
    const char *sign = signbit(f) ? "-" : "";
    f = fabs(f);
    if (isinf(f))
        return snprintf(out, 64, "%sinf", sign);
    if (f == 0)
        return snprintf(out, 64, "%s0.0", sign);
    char digits[24];
    int point, n = shortest(f, digits, &point);
    if (point > 16 || point < -3) {
        int e = point - 1;
        return snprintf(out, 64, "%s%c%s%se%c%02d", sign, digits[0], n > 1 ? "." : "", digits + 1, e < 0 ? '-' : '+', abs(e));
    }
    if (point <= 0)
        return snprintf(out, 64, "%s0.%.*s%s", sign, -point, "000", digits);
    if (point >= n)
        return snprintf(out, 64, "%s%s%.*s.0", sign, digits, point - n, "0000000000000000");
    return snprintf(out, 64, "%s%.*s.%s", sign, point, digits, digits + point);
}

static void strip_space(const char **s, size_t *n)
{
    struct vs_tp_str str = { .s = *s, .n = *n };
    size_t len;
    while (str.n && vs_tp_str_isspace_at(NULL, &str, 0, &len)) {
        str.s += len;
        str.n -= len;
    }
    while (str.n) {
        size_t at = str.n - 1;
        while (at && ((unsigned char)str.s[at] & 0xc0) == 0x80)
            at--;
        if (!vs_tp_str_isspace_at(NULL, &str, at, &len))
            break;
        str.n = at;
    }
    *s = str.s;
    *n = str.n;
}

static bool is_word(const char *s, size_t n, const char *word)
{
    if (n != strlen(word))
        return false;
    for (size_t i = 0; i < n; i++)
        if ((s[i] | 0x20) != word[i])
            return false;
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool vs_tp_parse_float(const char *s, size_t n, double *ret)
{
    strip_space(&s, &n);
    bool negative = n && *s == '-';
    if (n && (*s == '-' || *s == '+')) {
        s++;
        n--;
    }
    if (is_word(s, n, "inf") || is_word(s, n, "infinity") || is_word(s, n, "nan")) {
        *ret = (*s | 0x20) == 'n' ? NAN : negative ? -INFINITY : INFINITY;
        return true;
    }
    char digits[1200];
    int n_digits = 0;
    long exponent = 0;
    bool any = false, point = false;
    size_t i = 0;
    for (; i < n; i++) {
        if (s[i] == '_') {
            if (!i || !is_digit(s[i - 1]) || i + 1 >= n || !is_digit(s[i + 1]))
                return false;
            continue;
        }
        if (s[i] == '.' && !point) {
            point = true;
            continue;
        }
        if (!is_digit(s[i]))
            break;
        any = true;
        if (n_digits == 0 && s[i] == '0') {
            exponent -= point;
            continue;
        }
        if (n_digits < 1100)
            digits[n_digits++] = s[i];
        else
            exponent++;
        exponent -= point;
    }
    if (!any)
        return false;
    if (i < n) {
        if ((s[i] | 0x20) != 'e')
            return false;
        i++;
        bool minus = i < n && s[i] == '-';
        i += i < n && (s[i] == '-' || s[i] == '+');
        if (i >= n || !is_digit(s[i]))
            return false;
        long e = 0;
        for (; i < n; i++) {
            if (s[i] == '_' && i + 1 < n && is_digit(s[i + 1]))
                continue;
            if (!is_digit(s[i]))
                return false;
            e = e < 100000000 ? e * 10 + (s[i] - '0') : e;
        }
        exponent += minus ? -e : e;
    }
    double f = from_digits(digits, n_digits, exponent);
    *ret = negative ? -f : f;
    return true;
}

bool vs_tp_parse_int(const char *s, size_t n, int base, int64_t *ret, bool *ret_too_big)
{
    *ret_too_big = false;
    strip_space(&s, &n);
    bool negative = n && *s == '-';
    if (n && (*s == '-' || *s == '+')) {
        s++;
        n--;
    }
    static const struct { char c; int base; } prefixes[] = { { 'b', 2 }, { 'o', 8 }, { 'x', 16 } };
    bool prefixed = false, zeros = base == 0;
    for (size_t i = 0; i < 3 && n > 1 && *s == '0' && !prefixed; i++) {
        if ((s[1] | 0x20) == prefixes[i].c && (base == 0 || base == prefixes[i].base)) {
            base = prefixes[i].base;
            s += 2;
            n -= 2;
            prefixed = true;
            if (n && *s == '_') {
                s++;
                n--;
            }
        }
    }
    if (base == 0)
        base = 10;
    if (!n)
        return false;
    __int128 v = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '_') {
            if (i == 0 || i + 1 == n || s[i - 1] == '_')
                return false;
            continue;
        }
        int lower = s[i] | 0x20;
        int d = is_digit(s[i]) ? s[i] - '0' : lower >= 'a' && lower <= 'z' ? lower - 'a' + 10 : 99;
        if (d >= base)
            return false;
        if (zeros && !prefixed && i && *s == '0' && d)
            return false;
        v = v * base + d;
        if (v > (__int128)INT64_MAX + 1)
            *ret_too_big = true, v = INT64_MAX;
    }
    if (negative)
        v = -v;
    if (v > INT64_MAX)
        *ret_too_big = true;
    *ret = (int64_t)v;
    return !*ret_too_big;
}

/* ---- one field ---------------------------------------------------------------------------------------------- */

struct spec {
    uint32_t fill;
    char align, sign, type, group;
    bool alt, zero;
    int64_t width, precision;           /* -1: not given */
};

enum { MAX_WIDTH = 1 << 20, MAX_PRECISION = 350 };

static bool put_padded(struct vs_tp_builder *b, const struct vs_tp_str *s, size_t sign_n, const struct spec *spec, char align)
{
    int64_t missing = spec->width - (int64_t)s->n_chars, left = 0;
    if (missing < 0)
        missing = 0;
    char c[5] = { 0 };
    size_t n_fill = 1;
    c[0] = ' ';
    if (spec->fill) {
        struct vs_tp_builder f;
        vs_tp_build(&f, b->vm);
        vs_tp_put_char(&f, spec->fill, true);
        struct vs_tp_str *fill = vs_tp_built(&f);
        if (!fill)
            return false;
        n_fill = fill->n;
        memcpy(c, fill->s, n_fill);
    }
    if (align == '=') {
        return vs_tp_put_part(b, s, 0, sign_n) && vs_tp_put_fill(b, c, n_fill, missing) &&
               vs_tp_put_part(b, s, sign_n, s->n - sign_n);
    }
    left = align == '>' ? missing : align == '^' ? missing / 2 : 0;
    return vs_tp_put_fill(b, c, n_fill, left) && vs_tp_put_str(b, s) && vs_tp_put_fill(b, c, n_fill, missing - left);
}

/* Digits of |v| in a base, with a separator every so many; into the end of out. */
static char *digits_of(uint64_t v, unsigned base, bool upper, char group, char out[160])
{
    char *at = out + 159;
    *at = 0;
    int n = 0, every = base == 10 ? 3 : 4;
    do {
        if (group && n && n % every == 0)
            *--at = group;
        *--at = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[v % base];
        n++;
        v /= base;
    } while (v);
    return at;
}

static size_t put_sign(char *out, bool negative, char sign)
{
    if (negative || sign == '+' || sign == ' ') {
        *out = negative ? '-' : sign;
        return 1;
    }
    return 0;
}

/* snprintf's digits with the point set by us, whatever the locale. */
static void print_float(char *out, size_t n, double f, char type, int precision, bool alt)
{
    char format[16];
    snprintf(format, sizeof format, "%%%s.*%c", alt ? "#" : "", type);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(out, n, format, precision, f);
#pragma GCC diagnostic pop
    for (char *c = out; *c; c++)
        if (*c == ',')
            *c = '.';
}

static bool format_float(struct vs_tp_vm *vm, double f, const struct spec *spec, char out[800], size_t *sign_n)
{
    char type = spec->type ? spec->type : 'g';
    int precision = spec->precision < 0 ? 6 : (int)spec->precision;
    if (precision > MAX_PRECISION)
        return vs_tp_fail(vm, VS_E_LIMIT, "a precision of more than %d", MAX_PRECISION);
    *sign_n = put_sign(out, signbit(f) && !isnan(f), spec->sign);
    char *at = out + *sign_n;
    f = fabs(f);
    bool percent = type == '%';
    if (percent)
        f *= 100;
    if (isinf(f) || isnan(f)) {
        snprintf(at, 8, "%s", isnan(f) ? "nan" : "inf");
        if (type == 'E' || type == 'F' || type == 'G')
            for (char *c = at; *c; c++)
                *c = (char)(*c - 0x20);
    } else if (!spec->type && spec->precision < 0) {
        vs_tp_float_repr(f, at);
    } else {
        print_float(at, 780, f, percent ? 'f' : type, type == 'g' && !precision ? 1 : precision, spec->alt);
        if (!spec->type && !strpbrk(at, ".e"))
            memcpy(at + strlen(at), ".0", 3);
    }
    if (percent)
        memcpy(at + strlen(at), "%", 2);
    if (spec->group) {
        size_t whole = strspn(at, "0123456789"), commas = whole ? (whole - 1) / 3 : 0, n = strlen(at);
        if (n + commas > 700)
            return vs_tp_fail(vm, VS_E_LIMIT, "a number grows too long");
        memmove(at + whole + commas, at + whole, n - whole + 1);
        for (size_t from = whole, to = whole + commas, k = 0; from > 0; k++) {
            if (k && k % 3 == 0)
                at[--to] = spec->group;
            at[--to] = at[--from];
        }
    }
    return true;
}

static bool put_number_field(struct vs_tp_builder *b, struct vs_tp_value v, const struct spec *given)
{
    struct spec spec = *given;
    char out[800];
    size_t sign_n = 0;
    const char *ints = "dxXobcn";
    bool as_int = vs_tp_is_int(v) && (!spec.type || strchr(ints, spec.type));
    if (!as_int && spec.type && !strchr("eEfFgG%", spec.type))
        return vs_tp_fail(b->vm, VS_E_INVALID, "unknown format code '%c' for a number", spec.type);
    if (as_int) {
        int64_t i = vs_tp_as_int(v);
        uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
        char type = spec.type ? spec.type : 'd', text[160];
        if (type == 'c') {
            struct vs_tp_builder c;
            vs_tp_build(&c, b->vm);
            if (i < 0 || i > 0x10ffff || (i >= 0xd800 && i < 0xe000))
                return vs_tp_fail(b->vm, VS_E_INVALID, "%%c needs a character's number");
            vs_tp_put_char(&c, (uint32_t)i, v.trusted);
            struct vs_tp_str *s = vs_tp_built(&c);
            return s && put_padded(b, s, 0, &spec, spec.align ? spec.align : '<');
        }
        unsigned base = type == 'x' || type == 'X' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 10;
        const char *digits = digits_of(u, base, type == 'X', spec.group, text);
        sign_n = put_sign(out, i < 0, spec.sign);
        char prefix[3] = { '0', type, 0 };
        int zeros = 0;
        if (spec.precision > (int64_t)strlen(digits))
            zeros = spec.precision > 600 ? 600 : (int)(spec.precision - (int64_t)strlen(digits));
        int k = snprintf(out + sign_n, sizeof out - sign_n, "%s", spec.alt && base != 10 ? prefix : "");
        sign_n += (size_t)k;
        memset(out + sign_n, '0', (size_t)zeros);
        snprintf(out + sign_n + zeros, sizeof out - sign_n - (size_t)zeros, "%s", digits);
    } else if (!format_float(b->vm, vs_tp_as_float(v), &spec, out, &sign_n)) {
        return false;
    }
    struct vs_tp_str *s = vs_tp_str_new(b->vm, out, strlen(out), v.trusted);
    char align = spec.align ? spec.align : '>';
    if (spec.zero && !spec.align) {
        align = '=';
        if (!spec.fill)
            spec.fill = '0';
    }
    return s && put_padded(b, s, sign_n, &spec, align);
}

static bool put_text_field(struct vs_tp_builder *b, struct vs_tp_str *s, const struct spec *spec, char align)
{
    if (spec->precision >= 0 && (uint64_t)spec->precision < s->n_chars)
        s = vs_tp_str_bytes(b->vm, s, 0, vs_tp_str_offset(b->vm, s, (size_t)spec->precision));
    return s && put_padded(b, s, 0, spec, align);
}

/* ---- "..." % args ------------------------------------------------------------------------------------------- */

struct percent {
    struct vs_tp_vm *vm;
    struct vs_tp_str *format;
    struct vs_tp_value args;
    size_t used;                        /* of a tuple */
    bool markup, by_name;
};

static bool next_arg(struct percent *p, struct vs_tp_value *ret)
{
    size_t n = p->args.kind == VS_TP_TUPLE ? p->args.u.list->n : 1;
    if (p->used >= n)
        return vs_tp_fail(p->vm, VS_E_INVALID, "not enough arguments for format string");
    *ret = p->args.kind == VS_TP_TUPLE ? p->args.u.list->item[p->used] : p->args;
    p->used++;
    return true;
}

static bool star_or_number(struct percent *p, size_t *at, int64_t *ret)
{
    const struct vs_tp_str *f = p->format;
    if (*at < f->n && f->s[*at] == '*') {
        struct vs_tp_value v;
        (*at)++;
        if (!next_arg(p, &v))
            return false;
        if (!vs_tp_is_int(v))
            return vs_tp_fail(p->vm, VS_E_INVALID, "* wants int");
        *ret = vs_tp_as_int(v);
    } else {
        for (; *at < f->n && is_digit(f->s[*at]); (*at)++)
            *ret = (*ret < 0 ? 0 : *ret) < MAX_WIDTH ? (*ret < 0 ? 0 : *ret) * 10 + (f->s[*at] - '0') : *ret;
    }
    return (*ret <= MAX_WIDTH && *ret >= -MAX_WIDTH) || vs_tp_fail(p->vm, VS_E_LIMIT, "a field wider than %d", MAX_WIDTH);
}

static bool percent_field(struct percent *p, size_t *at, struct vs_tp_builder *b)
{
    const struct vs_tp_str *f = p->format;
    struct spec spec = { .width = -1, .precision = -1 };
    struct vs_tp_value v;
    bool named = *at < f->n && f->s[*at] == '(', left = false;
    if (named) {
        size_t from = ++*at, depth = 1;
        for (; *at < f->n && vs_tp_work(p->vm, 4); (*at)++) {
            depth += f->s[*at] == '(';
            depth -= f->s[*at] == ')';
            if (!depth)
                break;
        }
        if (*at >= f->n)
            return vs_tp_fail(p->vm, VS_E_INVALID, "incomplete format key");
        if (p->args.kind != VS_TP_DICT)
            return vs_tp_fail(p->vm, VS_E_INVALID, "format requires a mapping");
        struct vs_tp_str key = { .s = f->s + from, .n = *at - from };
        struct vs_tp_pair *pair = vs_tp_dict_find_name(p->vm, p->args.u.dict, &key);
        if (!pair)
            return vs_tp_fail(p->vm, VS_E_INVALID, "format key '%.*s' is missing", (int)(key.n < 60 ? key.n : 60), key.s);
        v = pair->value;
        p->by_name = true;
        ++*at;
    }
    for (; *at < f->n && f->s[*at] && strchr("-+ #0", f->s[*at]); (*at)++) {
        char c = f->s[*at];
        left |= c == '-';
        spec.zero |= c == '0';
        spec.alt |= c == '#';
        if (c == '+' || (c == ' ' && !spec.sign))
            spec.sign = c;
    }
    if (!star_or_number(p, at, &spec.width))
        return false;
    if (spec.width < -1) {
        left = true;
        spec.width = -spec.width;
    }
    if (*at < f->n && f->s[*at] == '.') {
        ++*at;
        spec.precision = 0;
        if (!star_or_number(p, at, &spec.precision))
            return false;
        if (spec.precision < 0)
            spec.precision = 0;
    }
    while (*at < f->n && f->s[*at] && strchr("hlL", f->s[*at]))
        ++*at;
    if (*at >= f->n)
        return vs_tp_fail(p->vm, VS_E_INVALID, "incomplete format");
    char type = f->s[(*at)++];
    if (type == '%')
        return vs_tp_put_cstr(b, "%");
    if (!named && !next_arg(p, &v))
        return false;
    spec.align = left ? '<' : 0;
    if (left)
        spec.zero = false;
    if (type == 's' || type == 'r' || type == 'a') {
        struct vs_tp_builder text;
        vs_tp_build(&text, p->vm);
        if (!(type == 's' ? vs_tp_put_value(&text, v) : vs_tp_put_repr(&text, v)))
            return false;
        struct vs_tp_str *s = vs_tp_built(&text);
        bool keep = v.kind == VS_TP_STR && v.u.str->markup && type == 's';
        if (!s || (p->markup && !keep && !vs_tp_str_escape(p->vm, s, &s)))
            return false;
        return put_text_field(b, s, &spec, left ? '<' : '>');
    }
    if (!type || !strchr("diuxXoeEfFgGc", type))
        return vs_tp_fail(p->vm, VS_E_INVALID, "unsupported format character '%c'", type);
    if (type == 'c' && v.kind == VS_TP_STR && v.u.str->n_chars == 1)
        return put_text_field(b, v.u.str, &spec, left ? '<' : '>');
    if (v.kind == VS_TP_UNDEFINED)
        return vs_tp_fail_undefined(p->vm, v);
    if (!vs_tp_is_number(v))
        return vs_tp_fail(p->vm, VS_E_INVALID, "%%%c format: a number is required, not %s", type, vs_tp_type_name(v));
    spec.type = type == 'i' || type == 'u' ? 'd' : type;
    if (strchr("dxXo", spec.type) && v.kind == VS_TP_FLOAT) {
        if (spec.type != 'd' || !(fabs(v.u.f) < 9e18))
            return vs_tp_fail(p->vm, VS_E_INVALID, "%%%c format: an integer is required, not float", type);
        struct vs_tp_value whole = vs_tp_int((int64_t)v.u.f);
        whole.trusted = v.trusted;
        v = whole;
    }
    if (type == 'c')
        spec.align = spec.align ? spec.align : '>';
    return put_number_field(b, v, &spec);
}

bool vs_tp_percent(struct vs_tp_vm *vm, struct vs_tp_str *format, struct vs_tp_value args, struct vs_tp_value *ret)
{
    struct percent p = { .vm = vm, .format = format, .args = args, .markup = format->markup };
    struct vs_tp_builder b;
    vs_tp_build(&b, vm);
    for (size_t at = 0; at < format->n && vs_tp_work(vm, 64);) {
        const char *hit = memchr(format->s + at, '%', format->n - at);
        size_t to = hit ? (size_t)(hit - format->s) : format->n;
        if (!vs_tp_put_part(&b, format, at, to - at) || !vs_tp_step(vm, 1))
            return false;
        at = to + 1;
        if (hit && !percent_field(&p, &at, &b))
            return false;
    }
    bool mapping = args.kind == VS_TP_DICT || args.kind == VS_TP_LIST || args.kind == VS_TP_RANGE ||
                   args.kind == VS_TP_UNDEFINED;
    size_t n = args.kind == VS_TP_TUPLE ? args.u.list->n : mapping || p.by_name ? p.used : 1;
    if (p.used < n)
        return vs_tp_fail(vm, VS_E_INVALID, "not all arguments converted during string formatting");
    struct vs_tp_str *s = vs_tp_built(&b);
    if (!s)
        return false;
    s->markup = format->markup;
    *ret = vs_tp_of_str(s);
    return true;
}

/* ---- "...".format(...) -------------------------------------------------------------------------------------- */

static bool parse_spec(struct vs_tp_vm *vm, const struct vs_tp_str *s, struct spec *spec)
{
    *spec = (struct spec){ .width = -1, .precision = -1 };
    size_t at = 0, n = 0;
    if (s->n) {
        uint32_t c = vs_tp_str_char(s, 0, &n);
        if (n < s->n && s->s[n] && strchr("<>=^", s->s[n])) {
            spec->fill = c;
            spec->align = s->s[n];
            at = n + 1;
        } else if (c && c < 0x80 && strchr("<>=^", (int)c)) {
            spec->align = (char)c;
            at = 1;
        }
    }
    if (at < s->n && s->s[at] && strchr("+- ", s->s[at]))
        spec->sign = s->s[at++];
    if (at < s->n && s->s[at] == '#')
        spec->alt = true, at++;
    if (at < s->n && s->s[at] == '0')
        spec->zero = true, at++;
    for (; at < s->n && is_digit(s->s[at]); at++)
        spec->width = spec->width > MAX_WIDTH ? spec->width : (spec->width < 0 ? 0 : spec->width) * 10 + (s->s[at] - '0');
    if (at < s->n && (s->s[at] == ',' || s->s[at] == '_'))
        spec->group = s->s[at++];
    if (at < s->n && s->s[at] == '.') {
        spec->precision = 0;
        size_t from = ++at;
        for (; at < s->n && is_digit(s->s[at]); at++)
            spec->precision = spec->precision > MAX_WIDTH ? spec->precision : spec->precision * 10 + (s->s[at] - '0');
        if (at == from)
            return vs_tp_fail(vm, VS_E_INVALID, "format specifier missing precision");
    }
    if (at < s->n)
        spec->type = s->s[at++];
    if (at < s->n)
        return vs_tp_fail(vm, VS_E_INVALID, "invalid format specifier");
    if (spec->width > MAX_WIDTH)
        return vs_tp_fail(vm, VS_E_LIMIT, "a field wider than %d", MAX_WIDTH);
    return true;
}

struct format {
    struct vs_tp_vm *vm;
    struct vs_tp_list *args;
    struct vs_tp_dict *named;
    size_t automatic;
    bool markup, counted, numbered;
};

/* The value that a field name ("0", "name", "a.b[c]", "") means. */
static bool field_value(struct format *f, struct vs_tp_str *name, struct vs_tp_value *ret)
{
    size_t end = 0;
    while (end < name->n && name->s[end] != '.' && name->s[end] != '[' && vs_tp_work(f->vm, 4))
        end++;
    struct vs_tp_str *first = vs_tp_str_bytes(f->vm, name, 0, end);
    int64_t index = -1;
    bool too_big;
    if (!first)
        return false;
    if (!first->n) {
        index = (int64_t)f->automatic++;
        f->counted = true;
    } else if (is_digit(first->s[0]) && vs_tp_parse_int(first->s, first->n, 10, &index, &too_big)) {
        f->numbered = true;
    }
    if (f->counted && f->numbered)
        return vs_tp_fail(f->vm, VS_E_INVALID, "cannot mix automatic and manual field numbering");
    if (index >= 0) {
        if ((uint64_t)index >= f->args->n)
            return vs_tp_fail(f->vm, VS_E_INVALID, "replacement index %lld out of range", (long long)index);
        *ret = f->args->item[index];
    } else {
        struct vs_tp_pair *p = vs_tp_dict_find_name(f->vm, f->named, first);
        if (!p)
            return vs_tp_fail(f->vm, VS_E_INVALID, "format key '%.*s' is missing", (int)(first->n < 60 ? first->n : 60), first->s);
        *ret = p->value;
    }
    for (size_t at = end; at < name->n;) {
        bool attr = name->s[at++] == '.';
        size_t from = at;
        while (at < name->n && (attr ? name->s[at] != '.' && name->s[at] != '[' : name->s[at] != ']'))
            at++;
        struct vs_tp_str *key = vs_tp_str_bytes(f->vm, name, from, at);
        if (!key || (!attr && at++ >= name->n) || !key->n)
            return key && vs_tp_fail(f->vm, VS_E_INVALID, "a bad field name in a format string");
        struct vs_tp_value k = vs_tp_of_str(key);
        if (!attr && is_digit(key->s[0]) && vs_tp_parse_int(key->s, key->n, 10, &index, &too_big))
            k = vs_tp_int(index);
        if (!(attr ? vs_tp_getattr(f->vm, *ret, key, ret) : vs_tp_getitem(f->vm, *ret, k, ret)))
            return false;
    }
    return true;
}

static bool put_field(struct format *f, struct vs_tp_builder *b, struct vs_tp_value v, char conversion, struct vs_tp_str *spec_text)
{
    struct spec spec;
    if (!parse_spec(f->vm, spec_text, &spec))
        return false;
    if (conversion) {
        struct vs_tp_builder text;
        vs_tp_build(&text, f->vm);
        if (!(conversion == 's' ? vs_tp_put_value(&text, v) : vs_tp_put_repr(&text, v)) || !vs_tp_built_value(&text, &v))
            return false;
    }
    bool number = vs_tp_is_number(v) && !(v.kind == VS_TP_BOOL && !spec_text->n);
    if (number && !f->markup)
        return put_number_field(b, v, &spec);
    struct vs_tp_str *s;
    if (!vs_tp_str_of(f->vm, v, &s) || (f->markup && !vs_tp_str_escape(f->vm, s, &s)))
        return false;
    if (v.kind != VS_TP_STR && spec_text->n)
        return vs_tp_fail(f->vm, VS_E_INVALID, "unsupported format string passed to %s.__format__", vs_tp_type_name(v));
    if ((spec.type && spec.type != 's') || spec.align == '=' || spec.sign || spec.group)
        return vs_tp_fail(f->vm, VS_E_INVALID, "a format specifier that a string doesn't take");
    if (spec.zero && !spec.fill)
        spec.fill = '0';
    return put_text_field(b, s, &spec, spec.align ? spec.align : '<');
}

static bool format_into(struct format *f, struct vs_tp_builder *b, struct vs_tp_str *s, int nest);

static bool replacement(struct format *f, struct vs_tp_builder *b, struct vs_tp_str *s, size_t *at, int nest)
{
    size_t from = *at, depth = 1, name_end = 0, spec_from = 0;
    char conversion = 0;
    for (; *at < s->n && vs_tp_work(f->vm, 8); ++*at) {
        char c = s->s[*at];
        depth += c == '{';
        depth -= c == '}';
        if (!depth)
            break;
        if (depth == 1 && !name_end && (c == ':' || c == '!')) {
            name_end = *at + 1;
            if (c == '!' && *at + 1 < s->n) {
                conversion = s->s[++*at];
                if (*at + 1 < s->n && s->s[*at + 1] == ':')
                    ++*at;
            }
            spec_from = *at + 1;
        }
    }
    if (*at >= s->n)
        return vs_tp_fail(f->vm, VS_E_INVALID, "expected '}' before end of string");
    if (conversion && !strchr("sra", conversion))
        return vs_tp_fail(f->vm, VS_E_INVALID, "unknown conversion specifier");
    struct vs_tp_str *name = vs_tp_str_bytes(f->vm, s, from, name_end ? name_end - 1 : *at);
    struct vs_tp_str *spec = spec_from && spec_from <= *at ? vs_tp_str_bytes(f->vm, s, spec_from, *at)
                                                           : vs_tp_str_new(f->vm, "", 0, true);
    struct vs_tp_value v;
    ++*at;
    if (!name || !spec || !field_value(f, name, &v))
        return false;
    if (memchr(spec->s, '{', spec->n)) {
        struct vs_tp_builder inner;
        vs_tp_build(&inner, f->vm);
        if (nest >= 2)
            return vs_tp_fail(f->vm, VS_E_INVALID, "max string recursion exceeded");
        if (!format_into(f, &inner, spec, nest + 1) || !(spec = vs_tp_built(&inner)))
            return false;
    }
    return put_field(f, b, v, conversion, spec);
}

static bool format_into(struct format *f, struct vs_tp_builder *b, struct vs_tp_str *s, int nest)
{
    for (size_t at = 0; at < s->n;) {
        size_t to = at;
        while (to < s->n && s->s[to] != '{' && s->s[to] != '}' && vs_tp_work(f->vm, 4))
            to++;
        if (!vs_tp_put_part(b, s, at, to - at) || !vs_tp_step(f->vm, 1))
            return false;
        if (to == s->n)
            break;
        if (to + 1 < s->n && s->s[to + 1] == s->s[to]) {
            if (!vs_tp_put_part(b, s, to, 1))
                return false;
            at = to + 2;
            continue;
        }
        if (s->s[to] == '}')
            return vs_tp_fail(f->vm, VS_E_INVALID, "single '}' encountered in format string");
        at = to + 1;
        if (!replacement(f, b, s, &at, nest))
            return false;
    }
    return true;
}

bool vs_tp_str_format(struct vs_tp_vm *vm, struct vs_tp_str *format, struct vs_tp_list *args, struct vs_tp_dict *named,
                      struct vs_tp_value *ret)
{
    struct format f = { .vm = vm, .args = args, .named = named, .markup = format->markup };
    struct vs_tp_builder b;
    vs_tp_build(&b, vm);
    if (!format_into(&f, &b, format, 1))
        return false;
    struct vs_tp_str *s = vs_tp_built(&b);
    if (!s)
        return false;
    s->markup = format->markup;
    *ret = vs_tp_of_str(s);
    return true;
}

/* ---- strftime ----------------------------------------------------------------------------------------------- */

static const char *const months[] = { "January", "February", "March", "April", "May", "June", "July", "August", "September",
                                      "October", "November", "December" };
static const char *const days[] = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" };

static bool put_time(struct vs_tp_builder *b, char c, bool no_pad, const struct tm *t)
{
    char text[96];
    int hour12 = t->tm_hour % 12 ? t->tm_hour % 12 : 12;
    const struct { char c; int width, value; } numbers[] = {
        { 'd', 2, t->tm_mday }, { 'm', 2, t->tm_mon + 1 }, { 'y', 2, t->tm_year % 100 }, { 'Y', 4, t->tm_year + 1900 },
        { 'H', 2, t->tm_hour }, { 'I', 2, hour12 }, { 'M', 2, t->tm_min }, { 'S', 2, t->tm_sec }, { 'j', 3, t->tm_yday + 1 },
        { 'w', 1, t->tm_wday }, { 'u', 1, t->tm_wday ? t->tm_wday : 7 }, { 'f', 6, 0 },
        { 'U', 2, (t->tm_yday + 7 - t->tm_wday) / 7 }, { 'W', 2, (t->tm_yday + 7 - (t->tm_wday + 6) % 7) / 7 },
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (numbers[i].c == c) {
            snprintf(text, sizeof text, "%0*d", no_pad ? 1 : numbers[i].width, numbers[i].value);
            return vs_tp_put_cstr(b, text);
        }
    }
    const char *month = months[t->tm_mon], *day = days[t->tm_wday];
    switch (c) {
    case 'B': return vs_tp_put_cstr(b, month);
    case 'b': case 'h': return vs_tp_put(b, month, 3, true);
    case 'A': return vs_tp_put_cstr(b, day);
    case 'a': return vs_tp_put(b, day, 3, true);
    case 'p': return vs_tp_put_cstr(b, t->tm_hour < 12 ? "AM" : "PM");
    case 'Z': case 'z': return true;
    case 'n': return vs_tp_put_cstr(b, "\n");
    case 't': return vs_tp_put_cstr(b, "\t");
    case '%': return vs_tp_put_cstr(b, "%");
    case 'e': snprintf(text, sizeof text, no_pad ? "%d" : "%2d", t->tm_mday); break;
    case 'F': snprintf(text, sizeof text, "%04d-%02d-%02d", t->tm_year + 1900, t->tm_mon + 1, t->tm_mday); break;
    case 'D': case 'x': snprintf(text, sizeof text, "%02d/%02d/%02d", t->tm_mon + 1, t->tm_mday, t->tm_year % 100); break;
    case 'T': case 'X': snprintf(text, sizeof text, "%02d:%02d:%02d", t->tm_hour, t->tm_min, t->tm_sec); break;
    case 'R': snprintf(text, sizeof text, "%02d:%02d", t->tm_hour, t->tm_min); break;
    case 'c':
        snprintf(text, sizeof text, "%.3s %.3s %2d %02d:%02d:%02d %d", day, month, t->tm_mday, t->tm_hour, t->tm_min, t->tm_sec,
                 t->tm_year + 1900);
        break;
    default: return vs_tp_fail(b->vm, VS_E_UNSUPPORTED, "strftime_now: %%%c is not supported", c);
    }
    return vs_tp_put_cstr(b, text);
}

bool vs_tp_strftime(struct vs_tp_vm *vm, struct vs_tp_str *format, struct vs_tp_value *ret)
{
    struct tm t;
    if (!vs_date_of(vm->now, &t))
        return vs_tp_fail(vm, VS_E_INVALID, "strftime_now: the time is out of range");
    struct vs_tp_builder b;
    vs_tp_build(&b, vm);
    for (size_t i = 0; i < format->n; i++) {
        if (format->s[i] != '%' || i + 1 == format->n) {
            vs_tp_put_part(&b, format, i, 1);
            continue;
        }
        bool no_pad = format->s[i + 1] == '-' && i + 2 < format->n;
        i += no_pad ? 2 : 1;
        if (!put_time(&b, format->s[i], no_pad, &t))
            return false;
    }
    return vs_tp_built_value(&b, ret);
}
