/* base/check.c - large memory given back without holding anybody up. */
#include "base/check.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PART = 4 << 20 };                /* bytes between two questions: about a millisecond */

void vs_check_free(struct vs_check *c, void *p, size_t n)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = ((uintptr_t)p + page - 1) / page * page, end = (uintptr_t)p + n;
    vs_check_ask(c);
    for (; p && end > at && end - at > PART; at += PART) {
        if (madvise((void *)at, PART, MADV_DONTNEED) != 0)
            break;
        vs_check_ask(c);
    }
    free(p);
}
