/* filter/table.c - see rules.h: the table of a file of compiled rules. */
#include "filter/rules.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

void vs_rule_table_clear(struct vs_rule_table *t)
{
    free(t->rule);
    free(t->pattern);
    free(t->part);
    free(t->words);
    free(t->word);
    free(t->texts);
    free(t->width);
    free(t->ids);
    *t = (struct vs_rule_table){ 0 };
}

static bool read_rules(struct vs_rule_table *t, struct vs_bytes *b)
{
    char *id = t->ids;
    for (unsigned i = 0; i < t->n_rules; i++) {
        struct vs_rule *rule = &t->rule[i];
        rule->weight[0] = vs_bytes_u16le(b);
        rule->weight[1] = vs_bytes_u16le(b);
        unsigned class = vs_bytes_u8(b), n = vs_bytes_u8(b);
        const uint8_t *text = vs_bytes_take(b, n);
        if (!text || rule->weight[0] > 1000 || rule->weight[1] > 1000
            || class >= VS_N_RULE_CLASSES || !n || n >= VS_RULE_ID || memchr(text, 0, n))
            return false;
        rule->class = (enum vs_rule_class)class;
        rule->id = memcpy(id, text, n);
        id += n + 1;
    }
    for (unsigned i = 0; i < t->n_patterns; i++) {
        struct vs_rule_pattern *pattern = &t->pattern[i];
        pattern->rule = vs_bytes_u16le(b);
        pattern->word = vs_bytes_u16le(b);
        pattern->n = vs_bytes_u8(b);
        if ((pattern->rule != VS_RULE_NONE ? pattern->rule >= t->n_rules : pattern->word >= t->n_words) || !pattern->n
            || pattern->n > VS_RULE_PARTS)
            return false;
        for (unsigned k = 0; k < pattern->n; k++) {
            pattern->gap[k] = vs_bytes_u8(b);
            pattern->part[k] = vs_bytes_u16le(b);
            if (pattern->gap[k] >= VS_N_RULE_GAPS || pattern->part[k] >= t->n_parts)
                return false;
        }
    }
    char *text = t->texts;
    for (unsigned i = 0; i < t->n_words; i++) {
        unsigned kind = vs_bytes_u8(b), n = vs_bytes_u8(b);
        const uint8_t *from = vs_bytes_take(b, n);
        if (!from || kind >= VS_N_WORD_KINDS || n > VS_RULE_WORD || memchr(from, 0, n) || (!n && kind < VS_WORD_PHRASE))
            return false;
        t->word[i] = (struct vs_rule_word){ memcpy(text, from, n), (enum vs_rule_word_kind)kind };
        t->width[i] = vs_bytes_u16le(b);
        text += n + 1;
    }
    uint16_t *word = t->words;
    for (unsigned i = 0; i < t->n_parts; i++) {
        t->part[i] = (struct vs_rule_part){ word, vs_bytes_u16le(b) };
        if (t->part[i].n > vs_bytes_left(b) / 2)
            return false;
        for (unsigned k = 0; k < t->part[i].n; k++)
            if ((*word++ = vs_bytes_u16le(b)) >= t->n_words)
                return false;
    }
    return b->status == VS_OK;
}

int vs_rule_table_read(struct vs_rule_table *t, const void *bytes, size_t n, struct vs_error *err)
{
    struct vs_bytes b;
    vs_bytes_init(&b, bytes, n);
    uint32_t n_rules = vs_bytes_u32le(&b), n_patterns = vs_bytes_u32le(&b);
    uint32_t n_parts = vs_bytes_u32le(&b), n_words = vs_bytes_u32le(&b);
    if (b.status != VS_OK || !n_rules || n_rules > VS_RULES_MOST || !n_patterns || n_patterns > VS_RULES_MOST || !n_parts
        || n_parts > VS_RULES_MOST || !n_words || n_words > VS_RULES_MOST)
        return vs_error_set(err, VS_E_MALFORMED, "rules: the table has %u rules, %u patterns, %u parts, %u words",
                            (unsigned)n_rules, (unsigned)n_patterns, (unsigned)n_parts, (unsigned)n_words);
    *t = (struct vs_rule_table){
        .rule = calloc(n_rules, sizeof *t->rule), .pattern = calloc(n_patterns, sizeof *t->pattern),
        .word = calloc(n_words, sizeof *t->word), .part = calloc(n_parts, sizeof *t->part), .texts = calloc(n + n_words, 1),
        .width = calloc(n_words, sizeof *t->width),
        .words = calloc(n / 2 + 1, sizeof *t->words), .ids = calloc(n_rules, VS_RULE_ID),
        .n_rules = n_rules, .n_patterns = n_patterns, .n_parts = n_parts, .n_words = n_words,
    };
    bool memory = t->rule && t->pattern && t->word && t->part && t->texts && t->width && t->words && t->ids;
    if (memory && read_rules(t, &b))
        return VS_OK;
    vs_rule_table_clear(t);
    return memory ? vs_error_set(err, VS_E_MALFORMED, "rules: the table is cut short, or holds what no table can")
                  : vs_error_set(err, VS_E_NOMEM, "rules: out of memory");
}
