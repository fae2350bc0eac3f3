/* filter/list.h - is a text a list of short entries? Memory: none. Threads: any. */
#ifndef VS_FILTER_LIST_H
#define VS_FILTER_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* Four entries or more, of few words, and of no person: a menu, a row of buttons, names of columns. Where a script writes no blanks
 * an entry is a few letters. Linear time. */
bool vs_is_list(const char *text, size_t n);

#endif
