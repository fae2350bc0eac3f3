/* filter/rules.h - the compiled rules: one file, made at build time by tools/mkrules.c from src/filter/rules/, that runs on every
 * processor of the architecture, and that the guard gets as a sealed memfd. Little-endian:
 *
 *     0    8   "VSRULES\n"
 *     8    4   VS_RULES_FORMAT           12   4   VS_RULES_HEADER
 *     16   8   bytes of the file         24   8   bytes of the table
 *     32  32   SHA-256 of all behind the header
 *     64  64   build: the version of veritas and of Vectorscan, filled up with NULs
 *     128      table: 4 number of rules, 4 number of patterns, 4 number of parts, 4 number of words
 *              each rule: 2 and 2 its weights, 1 class (rulefile.h), 1 bytes of its id, the id
 *              each pattern: 2 number of its rule, 2 of its word (rulefile.h), 1 number of its parts; each part: 1 gap
 *              before it, 2 its number
 *              each word: 1 kind (rulefile.h), 1 bytes of its text, the text (of those that are looked up), 2 width: bytes that
 *              it has at least (of expressions)
 *              each part: 2 number of its words, 2 each of them
 *              zeros up to the table's bytes, a multiple of 8
 *              the automaton, to the end of the file
 *
 * Words are looked up in one pass; in another, fast one, the automaton finds what is more than words. A pattern is found where
 * words of its parts stand in order, with what its gaps allow between them. A file that was cut, changed or made by another build
 * is refused with one error, before the automaton is looked at. Memory: a copy of what is needed; the bytes may go after _open.
 * No word of a text is kept behind its scan; common ones are looked up at _open.
 * Threads: one at a time for each (vs_rules_scan).
 */
#ifndef VS_FILTER_RULES_H
#define VS_FILTER_RULES_H
#include "filter/rulefile.h"

#include <stdint.h>

enum {
    VS_RULES_FORMAT = 1,
    VS_RULES_HEADER = 128,
    VS_RULES_BUILD = 64,
};
#define VS_RULES_MAGIC "VSRULES\n"

struct vs_rule {
    const char *id;
    enum vs_rule_class class;
    unsigned weight[2];                  /* 0 to 1000, of what a user says; of what was retrieved, or came from a tool */
};

struct vs_rule_table {
    struct vs_rule *rule;                /* [n_rules] */
    struct vs_rule_pattern *pattern;     /* [n_patterns] */
    struct vs_rule_word *word;           /* [n_words]; texts with a NUL lie in `texts` */
    uint16_t *width;                     /* [n_words] */
    struct vs_rule_part *part;           /* [n_parts]; their words lie in `words` */
    char *texts;
    uint16_t *words;
    char *ids;
    unsigned n_rules, n_patterns, n_parts, n_words;
};

/* The table alone, from its bytes; VS_E_MALFORMED or VS_E_NOMEM, then nothing is left to clear. */
int vs_rule_table_read(struct vs_rule_table *t, const void *bytes, size_t n, struct vs_error *err);
void vs_rule_table_clear(struct vs_rule_table *t);

/* Which build a file must be of: the version of veritas and of Vectorscan. */
void vs_rules_build(char ret[VS_RULES_BUILD]);

struct vs_rules;
int vs_rules_open(const void *file, size_t n, struct vs_rules **ret, struct vs_error *err);
void vs_rules_close(struct vs_rules *r);
size_t vs_rules_bytes(const struct vs_rules *r);                    /* memory that they hold */
const struct vs_rule_table *vs_rules_table(const struct vs_rules *r);

/* Tells each match of a rule: its number in the table, and where. One rule may be told often for nearly the same place. The time is
 * linear in the text. VS_OK, VS_E_NOMEM, or VS_E_LIMIT (a text of 4 GiB or more). */
typedef void vs_rules_fn(void *arg, unsigned rule, size_t start, size_t end);
int vs_rules_scan(struct vs_rules *r, const char *text, size_t n, vs_rules_fn *told, void *arg);
#endif
