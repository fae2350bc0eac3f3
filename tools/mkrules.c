/* Compiles the rules of injection (src/filter/rules/, the format is in src/filter/rulefile.h) into the file that the guard loads
 * (src/filter/rules.h). Part of the build; not installed. It alone links Vectorscan's compiler.
 *
 *     mkrules OUT FILE...
 */
#include "base/buf.h"
#include "base/bytes.h"
#include "base/sha256.h"
#include "filter/rules.h"

#include <hs/hs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what, const char *about)
{
    fprintf(stderr, "mkrules: %s: %s\n", what, about);
    exit(1);
}

static void read_file(struct vs_rulefile *f, const char *path)
{
    struct vs_buf text = { 0 };
    struct vs_error err = { 0 };
    FILE *file = fopen(path, "rb");
    char block[1 << 14];
    if (!file)
        die(path, "can't be read");
    for (size_t n; (n = fread(block, 1, sizeof block, file)) > 0;)
        vs_buf_add(&text, block, n);
    if (ferror(file) || text.status != VS_OK)
        die(path, "can't be read");
    fclose(file);
    const char *name = strrchr(path, '/');
    if (text.n && vs_rulefile_add(f, name ? name + 1 : path, text.data, text.n, &err) != VS_OK)
        die("not compiled", err.text);
    vs_buf_clear(&text);
}

/* For every processor of this architecture. */
static void compile(const struct vs_rulefile *f, char **ret, size_t *ret_n, unsigned *ret_n_words)
{
    const hs_platform_info_t any = { .tune = HS_TUNE_FAMILY_GENERIC };
    static const char *word[VS_RULES_MOST];
    static unsigned flags[VS_RULES_MOST], number[VS_RULES_MOST];
    unsigned n = 0;
    hs_database_t *database = NULL;
    hs_compile_error_t *wrong = NULL;
    for (unsigned i = 0; i < f->n_words; i++) {
        if (f->word[i].kind != VS_WORD_REGEX)
            continue;                   /* rules.c looks these up */
        word[n] = f->word[i].text;
        flags[n] = HS_FLAG_CASELESS;
        number[n++] = i;
    }
    *ret_n_words = n;
    if (hs_compile_multi(word, flags, number, n, HS_MODE_BLOCK, &any, &database, &wrong) != HS_SUCCESS) {
        if (wrong->expression >= 0)
            fprintf(stderr, "mkrules: %s\n", word[wrong->expression]);
        die("Vectorscan says", wrong->message);
    }
    if (hs_serialize_database(database, ret, ret_n) != HS_SUCCESS)
        die("Vectorscan", "can't serialise its automaton");
    hs_free_database(database);
}

static void add_number(struct vs_buf *b, uint64_t v, size_t bytes)
{
    uint8_t le[8];
    vs_store_u64le(le, v);
    vs_buf_add(b, le, bytes);
}

/* How many bytes it has at least. */
static unsigned width_of(const char *expression)
{
    hs_expr_info_t *info = NULL;
    hs_compile_error_t *wrong = NULL;
    if (hs_expression_info(expression, HS_FLAG_CASELESS, &info, &wrong) != HS_SUCCESS)
        die("Vectorscan says", wrong->message);
    unsigned width = info->min_width < UINT16_MAX ? info->min_width : UINT16_MAX;
    free(info);
    return width;
}

static void add_table(struct vs_buf *b, const struct vs_rulefile *f)
{
    add_number(b, f->n, 4);
    add_number(b, f->n_patterns, 4);
    add_number(b, f->n_parts, 4);
    add_number(b, f->n_words, 4);
    for (size_t i = 0; i < f->n; i++) {
        const struct vs_rule_text *rule = &f->rule[i];
        add_number(b, rule->weight[0], 2);
        add_number(b, rule->weight[1], 2);
        add_number(b, rule->class, 1);
        add_number(b, strlen(rule->id), 1);
        vs_buf_str(b, rule->id);
    }
    for (size_t i = 0; i < f->n_patterns; i++) {
        const struct vs_rule_pattern *pattern = &f->pattern[i];
        add_number(b, pattern->rule, 2);
        add_number(b, pattern->word, 2);
        add_number(b, pattern->n, 1);
        for (unsigned k = 0; k < pattern->n; k++) {
            add_number(b, pattern->gap[k], 1);
            add_number(b, pattern->part[k], 2);
        }
    }
    for (size_t i = 0; i < f->n_words; i++) {
        const struct vs_rule_word *word = &f->word[i];
        size_t n = word->kind == VS_WORD_WHOLE || word->kind == VS_WORD_PREFIX ? strlen(word->text) : 0;
        if (n > VS_RULE_WORD)
            die("too long a word", word->text);
        add_number(b, word->kind, 1);
        add_number(b, n, 1);
        vs_buf_add(b, word->text, n);
        add_number(b, word->kind == VS_WORD_REGEX ? width_of(word->text) : 0, 2);
    }
    for (size_t i = 0; i < f->n_parts; i++) {
        add_number(b, f->part[i].n, 2);
        for (unsigned k = 0; k < f->part[i].n; k++)
            add_number(b, f->part[i].word[k], 2);
    }
    while (b->n % 8)
        vs_buf_char(b, 0);
}

static void write_file(const char *path, const struct vs_buf *table, const char *automaton, size_t n_automaton)
{
    struct vs_buf out = { 0 };
    struct vs_sha256 sum;
    uint8_t digest[32];
    char build[VS_RULES_BUILD];
    vs_sha256_init(&sum);
    vs_sha256_add(&sum, table->data, table->n);
    vs_sha256_add(&sum, automaton, n_automaton);
    vs_sha256_end(&sum, digest);
    vs_rules_build(build);
    vs_buf_str(&out, VS_RULES_MAGIC);
    add_number(&out, VS_RULES_FORMAT, 4);
    add_number(&out, VS_RULES_HEADER, 4);
    add_number(&out, VS_RULES_HEADER + table->n + n_automaton, 8);
    add_number(&out, table->n, 8);
    vs_buf_add(&out, digest, sizeof digest);
    vs_buf_add(&out, build, sizeof build);
    vs_buf_add(&out, table->data, table->n);
    vs_buf_add(&out, automaton, n_automaton);
    FILE *file = out.status == VS_OK ? fopen(path, "wb") : NULL;
    if (!file || fwrite(out.data, 1, out.n, file) != out.n || fclose(file) != 0)
        die(path, "can't be written");
    vs_buf_clear(&out);
}

int main(int argc, char **argv)
{
    struct vs_rulefile rules = { 0 };
    struct vs_buf table = { 0 };
    char *automaton;
    size_t n_automaton;
    unsigned n_expressions;
    if (argc < 3)
        die("usage", "mkrules OUT FILE...");
    for (int i = 2; i < argc; i++)
        read_file(&rules, argv[i]);
    compile(&rules, &automaton, &n_automaton, &n_expressions);
    add_table(&table, &rules);
    write_file(argv[1], &table, automaton, n_automaton);
    printf("%zu rules, %zu words, %u expressions of %zu bytes\n", rules.n, rules.n_words, n_expressions, n_automaton);
    free(automaton);
    vs_buf_clear(&table);
    vs_rulefile_clear(&rules);
    return 0;
}
