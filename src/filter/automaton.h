/* filter/automaton.h - many patterns over one text, in one pass: the only place that calls Vectorscan (a build without it has no
 * automaton.c, and so no guard). An automaton was compiled at build time (tools/mkrules.c) and is read from its serialised bytes.
 *
 * Time: linear, some 0.5 to 1 GB/s, whatever the text; nothing is allocated by a scan.
 * Threads: one at a time for each automaton (it holds the scratch memory of a scan).
 */
#ifndef VS_FILTER_AUTOMATON_H
#define VS_FILTER_AUTOMATON_H
#include "base/status.h"

#include <stddef.h>

struct vs_automaton;

/* What compiled automata are bound to: "5.4.9 2023-03-23" of the library that is linked. */
const char *vs_automaton_version(void);

/* The bytes are copied. VS_E_MALFORMED, VS_E_UNSUPPORTED (this processor can't run it) or VS_E_NOMEM. */
int vs_automaton_open(const void *bytes, size_t n, struct vs_automaton **ret, struct vs_error *err);
void vs_automaton_close(struct vs_automaton *a);
size_t vs_automaton_bytes(const struct vs_automaton *a);            /* memory that it holds */

/* Tells each match: the number of the pattern, and where it ends (`start` is 0: starts cost much). Several ends of one pattern
 * may be told, in no fixed order of patterns. VS_OK or VS_E_LIMIT (a text of 4 GiB or more). */
typedef void vs_automaton_fn(void *arg, unsigned pattern, size_t start, size_t end);
int vs_automaton_scan(struct vs_automaton *a, const char *text, size_t n, vs_automaton_fn *told, void *arg);
#endif
