/* What src/unicode knows, for tests/golden/unicode.py to compare. rooms: unicode
 *
 *     unicode facts       a line for each assigned code point: number, category bit, white space, Han, flags, combining class,
 *                         upper, lower and title case (code points joined by commas)
 *     unicode nfc         standard input in Normalization Form C
 */
#include "unicode/unicode.h"

#include <stdio.h>
#include <string.h>

static void facts(void)
{
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        const struct vs_unicode *u = vs_unicode(c);
        if (u->mask >> VS_U_CN & 1)
            continue;
        unsigned category = 0;
        while (!(u->mask >> category & 1))
            category++;
        printf("%u %u %u %u %u %u", (unsigned)c, category, (unsigned)(u->mask >> VS_U_WHITE_SPACE & 1),
               (unsigned)(u->mask >> VS_U_HAN & 1), u->flags, u->combining);
        for (int which = VS_TO_UPPER; which <= VS_TO_TITLE; which++) {
            uint32_t to[3];
            int n = vs_unicode_to(c, (enum vs_unicode_case)which, to);
            for (int i = 0; i < n; i++)
                printf("%c%u", i ? ',' : ' ', (unsigned)to[i]);
        }
        putchar('\n');
    }
}

static int nfc(void)
{
    struct vs_buf in = { 0 }, out = { 0 };
    char block[1 << 16];
    for (size_t n; (n = fread(block, 1, sizeof block, stdin)) > 0;)
        vs_buf_add(&in, block, n);
    int r = in.n ? vs_nfc(in.data, in.n, NULL, &out) : VS_OK;
    if (r == VS_OK && out.n)
        fwrite(out.data, 1, out.n, stdout);
    vs_buf_clear(&in);
    vs_buf_clear(&out);
    return r == VS_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "nfc") == 0)
        return nfc();
    puts(vs_unicode_version);
    facts();
    return 0;
}
