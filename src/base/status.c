/* base/status.c - see status.h */
#include "base/status.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    int code, http, exit_code;
    const char *name, *text;
} statuses[] = {
    { VS_OK, 0, 0, "OK", "ok" },
#define VS_STATUS_ROW(name, value, http, exit_code, text) { value, http, exit_code, #name, text },
    VS_STATUS_MAP(VS_STATUS_ROW)
#undef VS_STATUS_ROW
};

enum { N_STATUSES = sizeof statuses / sizeof *statuses };

static int find(int code)
{
    for (int i = 0; i < N_STATUSES; i++)
        if (statuses[i].code == code)
            return i;
    return -1;
}

const char *vs_status_name(int code)
{
    int i = find(code);
    return i < 0 ? "UNKNOWN" : statuses[i].name;
}

const char *vs_status_text(int code)
{
    int i = find(code);
    return i < 0 ? "unknown error" : statuses[i].text;
}

int vs_status_exit(int code)
{
    int i = find(code);
    return i < 0 ? 1 : statuses[i].exit_code;
}

int vs_status_http(int code)
{
    int i = find(code);
    return i < 0 ? 0 : statuses[i].http;
}

int vs_status_parse(const char *name)
{
    for (int i = 0; i < N_STATUSES; i++)
        if (strcmp(statuses[i].name, name) == 0)
            return statuses[i].code;
    return VS_OK;
}

/* What a text quotes may hold anything; and it may have been cut within a character. */
static void make_one_line(char *text)
{
    size_t n = strlen(text), good;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            text[i] = ' ';
    good = vs_utf8_valid(text, n);
    if (n - good < 4)                   /* else it was not UTF-8 before */
        text[good] = 0;
}

int vs_error_set(struct vs_error *err, int code, const char *format, ...)
{
    if (!err)
        return code;
    err->code = code;
    err->retry_after_ms = 0;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    make_one_line(err->text);
    return code;
}
