/* prog/veritas/history_line.c - how one entry stands in the history's file; see history.h. */
#include "prog/veritas/history.h"

#include "base/utf8.h"

#include <string.h>

bool vs_history_keeps(const char *entry, size_t n)
{
    return n > 0 && n <= VS_HISTORY_ENTRY_LIMIT && !memchr(entry, '\0', n) && vs_utf8_valid(entry, n) == n;
}

void vs_history_encode(const char *entry, size_t n, struct vs_buf *ret)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)entry[i];
        if (c < 0x20 || c == 0x7f || c == '\\')
            vs_buf_printf(ret, "\\%03o", c);
        else
            vs_buf_char(ret, (char)c);
    }
    vs_buf_char(ret, '\n');
}

static bool is_octal(const char *s)
{
    return s[0] >= '0' && s[0] <= '3' && s[1] >= '0' && s[1] <= '7' && s[2] >= '0' && s[2] <= '7';
}

bool vs_history_decode(const char *line, size_t n, struct vs_buf *ret)
{
    /* older versions let libedit write the file: the same escapes below this line */
    static const char header[] = "_HiStOrY_V2_";
    vs_buf_reset(ret);
    ret->limit = VS_HISTORY_ENTRY_LIMIT;
    for (size_t i = 0; i < n; i++) {
        if (line[i] == '\\' && n - i >= 4 && is_octal(line + i + 1)) {
            vs_buf_char(ret, (char)((line[i + 1] - '0') * 64 + (line[i + 2] - '0') * 8 + (line[i + 3] - '0')));
            i += 3;
        } else {
            vs_buf_char(ret, line[i]);
        }
    }
    return ret->status == VS_OK && ret->n > 0 && vs_history_keeps(ret->data, ret->n) && strcmp(ret->data, header) != 0;
}
