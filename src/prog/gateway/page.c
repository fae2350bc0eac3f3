/* prog/gateway/page.c - page.html within the program, and its policy. */
#include "prog/gateway/page.h"

#include "base/status.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

/* CMake rebuilds this file when the page changes (OBJECT_DEPENDS). */
__asm__(".section .rodata\n"
        ".global gw_page\n"
        "gw_page:\n"
        ".incbin \"" GW_PAGE_FILE "\"\n"
        "gw_page_end:\n"
        ".global gw_page_end\n"
        ".byte 0\n"
        ".previous\n");
extern const char gw_page_end[];

size_t gw_page_bytes(void)
{
    return (size_t)(gw_page_end - gw_page);
}

/* The hash of what stands between two marks, as a policy names it: 44 characters and a NUL. */
static void hash_between(const char *begin_mark, const char *end_mark, char ret[45])
{
    const char *begin = strstr(gw_page, begin_mark) + strlen(begin_mark), *end = strstr(begin, end_mark);
    uint8_t hash[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)begin, (size_t)(end - begin), hash);
    EVP_EncodeBlock((unsigned char *)ret, hash, sizeof hash);
}

int gw_page_policy(char *ret, size_t n)
{
    char style[45], script[45];
    hash_between("<style>", "</style>", style);
    hash_between("<script>", "</script>", script);
    int length = snprintf(ret, n, "default-src 'none'; script-src 'sha256-%s'; style-src 'sha256-%s'; connect-src 'self'; "
                          "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", script, style);
    return length > 0 && (size_t)length < n ? VS_OK : VS_E_LIMIT;
}
