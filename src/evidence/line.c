/* evidence/line.c - see line.h. */
#include "evidence/line.h"

#include "base/bytes.h"

#include <stdio.h>
#include <string.h>

/* Many lines a second: no format strings. */
static void put_number(struct vs_buf *out, const char *before, uint64_t value)
{
    vs_buf_str(out, before);
    vs_buf_decimal(out, value);
}

void vs_line_format(const struct vs_line_head *head, const char *members, size_t n, struct vs_buf *out)
{
    char prev[VS_HASH_HEX];
    vs_hex(head->prev, sizeof head->prev, prev);
    put_number(out, "{\"seq\":", head->seq);
    vs_buf_str(out, ",\"prev\":\"");
    vs_buf_str(out, prev);
    put_number(out, "\",\"time\":", head->time_ms < 0 ? 0 : (uint64_t)head->time_ms);
    put_number(out, ",\"mono\":", head->mono_ns);
    vs_buf_str(out, ",\"boot\":\"");
    vs_buf_str(out, head->boot);
    vs_buf_str(out, n ? "\"," : "\"");
    vs_buf_add(out, members, n);
    vs_buf_char(out, '}');
}

struct cursor {
    const char *at, *end;
    bool is_wrong;
};

static void take(struct cursor *c, const char *text)
{
    size_t n = strlen(text);
    if (c->is_wrong || (size_t)(c->end - c->at) < n || memcmp(c->at, text, n) != 0)
        c->is_wrong = true;
    else
        c->at += n;
}

/* Decimal digits of a number below 2^63, without a zero in front. */
static uint64_t number(struct cursor *c)
{
    const char *begin = c->at;
    uint64_t value = 0;
    while (!c->is_wrong && c->at < c->end && *c->at >= '0' && *c->at <= '9' && c->at - begin < 19)
        value = value * 10 + (uint64_t)(*c->at++ - '0');
    size_t n = (size_t)(c->at - begin);
    c->is_wrong |= n == 0 || (n > 1 && *begin == '0') || value > INT64_MAX;
    return value;
}

/* n lower-case digits. */
static const char *hex(struct cursor *c, size_t n)
{
    const char *begin = c->at;
    if ((size_t)(c->end - c->at) < n) {
        c->is_wrong = true;
        return begin;
    }
    for (size_t i = 0; i < n && !c->is_wrong; i++)
        c->is_wrong = !(*c->at >= '0' && *c->at <= '9') && !(*c->at >= 'a' && *c->at <= 'f') ? true : (c->at++, false);
    return begin;
}

static bool is_plain(char b)
{
    return (unsigned char)b >= 0x20 && b != 0x7f && b != '"' && b != '\\';
}

/* One object from its first byte to its last, as far as braces and strings tell: so a line that was cut is never one. */
static const char *shape(const char *line, size_t n)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        while (in_string && i < n && is_plain(line[i]))
            i++;
        if (i == n)
            break;
        char b = line[i];
        if ((unsigned char)b < 0x20 || b == 0x7f)
            return "there is a control character in it";
        if (b == '"')
            in_string = !in_string;
        else if (in_string && b == '\\')
            i++;
        else if (!in_string && b == '{')
            depth++;
        else if (!in_string && b == '}' && (depth == 0 || (--depth == 0 && i + 1 != n)))
            return "it does not begin or end as a record does";
    }
    return depth || in_string || n == 0 ? "it does not begin or end as a record does" : NULL;
}

const char *vs_line_parse(const char *line, size_t n, struct vs_line_head *ret)
{
    struct cursor c = { line, line + n, false };
    if (n > VS_LINE_MOST)
        return "it is longer than a line of the log can be";
    const char *wrong = shape(line, n);
    if (wrong)
        return wrong;
    take(&c, "{\"seq\":");
    ret->seq = number(&c);
    take(&c, ",\"prev\":\"");
    const char *prev = hex(&c, 64);
    take(&c, "\",\"time\":");
    ret->time_ms = (int64_t)number(&c);
    take(&c, ",\"mono\":");
    ret->mono_ns = number(&c);
    take(&c, ",\"boot\":\"");
    const char *boot = hex(&c, VS_BOOT_HEX - 1);
    take(&c, "\"");
    if (c.is_wrong || c.end - c.at < 1 || line[n - 1] != '}' || (*c.at != ',' && *c.at != '}') || ret->seq == 0)
        return "it does not begin or end as a record does";
    vs_hex_bytes(prev, VS_HASH_BYTES, ret->prev);
    memcpy(ret->boot, boot, VS_BOOT_HEX - 1);
    ret->boot[VS_BOOT_HEX - 1] = 0;
    return NULL;
}

#define TORN_BEGIN ",\"torn\":{\"bytes\":"
#define TORN_MIDDLE ",\"sha256\":\""
#define TORN_END "\"}"

void vs_line_torn_format(const void *bytes, size_t n, struct vs_buf *out)
{
    uint8_t hash[VS_HASH_BYTES];
    char text[VS_HASH_HEX];
    vs_hash(bytes, n, hash);
    vs_hex(hash, sizeof hash, text);
    vs_buf_printf(out, TORN_BEGIN "%zu" TORN_MIDDLE "%s" TORN_END, n, text);
}

bool vs_line_torn(const char *line, size_t n, uint64_t *ret_bytes, uint8_t ret_hash[VS_HASH_BYTES])
{
    size_t most = sizeof TORN_BEGIN + 19 + sizeof TORN_MIDDLE + 64 + sizeof TORN_END;
    if (n < most / 2 || line[n - 2] != '}' || line[n - 3] != '"')      /* most lines */
        return false;
    for (size_t back = sizeof TORN_END; back <= most && back <= n; back++) {
        struct cursor c = { line + n - back, line + n, false };
        take(&c, TORN_BEGIN);
        *ret_bytes = c.is_wrong ? 0 : number(&c);
        take(&c, TORN_MIDDLE);
        const char *hash = c.is_wrong ? NULL : hex(&c, 64);
        take(&c, TORN_END "}");
        if (c.is_wrong || c.at != c.end)
            continue;
        vs_hex_bytes(hash, VS_HASH_BYTES, ret_hash);
        return true;
    }
    return false;
}
