/* filter/rules.c - see rules.h: opens a file of compiled rules. Only built where Vectorscan is there. */
#include "filter/rules.h"

#include "base/bytes.h"
#include "base/sha256.h"
#include "filter/automaton.h"
#include "filter/english.h"
#include "filter/letters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A word may be that part of a pattern. begun: place of that part in vs_rules.begun. */
struct use { uint32_t begun; uint16_t pattern; uint8_t at, gap; bool is_last; };

enum {
    LATELY = 3,
    N_PAIRS = 32 * 32,
    N_SLOTS = 1 << 14,                   /* of the words that are looked up: more than twice as many as those */
    N_STEPS = 1 << 14,                   /* of all phrases: more than twice as many as those */
    N_ACTIVE = 8,                        /* phrases that may go on with the next word */
    N_SEEN = 1 << 13,                    /* matches of the automaton in one text; more of them say nothing new */
    N_COMMON = 1 << 12,                  /* places of common words */
    SHORT = 8,                           /* letters of such a word, at most */
    MOST = 4,                            /* words of rules that a word of a text may be */
};

/* Beginnings of a pattern, up to one of its parts, that were found in this scan: the last ones. */
struct begun {
    unsigned n;
    struct { uint32_t start, end; } lately[LATELY];
};

/* What is compared first of a word that is looked up. */
struct known { uint64_t key; uint8_t n, kind; bool is_ascii; };      /* key: vs_letters_key */

struct seen { uint32_t word, start, end; };

/* A short word that is common in texts or rules: which words of rules it is, +1 each, or 0. Known from the start: no word of a text
 * is kept for the next one. */
struct common { uint64_t key; uint16_t word[MOST]; };      /* key: vs_letters_key */

/* Phrases are a trie of words: a step from a node, by a word, to the next one. */
struct step { uint16_t from, word, to, emits; };     /* to 0: this slot is free; emits: number of a word + 1, when a phrase ends */

struct vs_rules {
    struct vs_rule_table table;
    struct vs_automaton *automaton;
    struct common common[N_COMMON];      /* by the hash of the key */
    uint16_t slot[N_SLOTS];              /* number of a word + 1, by its hash */
    uint16_t sign[0x80];                 /* number of the word that is this one character + 1 */
    uint32_t lengths[N_PAIRS];           /* of prefixes, by their first two characters: a bit for each length, the last one for all
                                          * that are longer */
    struct known *known;                 /* [n_words] */
    struct step step[N_STEPS];
    unsigned n_nodes;
    unsigned *uses_from;                 /* [n_words + 1] into use: first those that begin a pattern, */
    unsigned *later_from;                /* [n_words] from here on the others */
    struct use *use;
    struct begun *begun;                 /* of each part of each pattern: what of it counts only where is_begun says so */
    bool *is_begun;                      /* [n_begun] */
    unsigned *begun_now, n_begun_now;    /* [n_begun]: those that is_begun says so of */
    unsigned *begun_from;                /* [n_patterns] into begun */
    size_t n_begun;
    struct seen seen[N_SEEN];            /* by the automaton */
    size_t n_seen;
};

void vs_rules_build(char ret[VS_RULES_BUILD])
{
    memset(ret, 0, VS_RULES_BUILD);
    snprintf(ret, VS_RULES_BUILD, "veritas %s vectorscan %s", VERITAS_VERSION, vs_automaton_version());
}

/* Is it whole, unchanged and of this build? Then *ret_table is the size of its table. */
static int check(const uint8_t *file, size_t n, size_t *ret_table, struct vs_error *err)
{
    if (n < VS_RULES_HEADER || memcmp(file, VS_RULES_MAGIC, 8) != 0)
        return vs_error_set(err, VS_E_MALFORMED, "rules: this is no file of compiled rules (%zu bytes)", n);
    char build[VS_RULES_BUILD];
    vs_rules_build(build);
    if (vs_load_u32le(file + 8) != VS_RULES_FORMAT || vs_load_u32le(file + 12) != VS_RULES_HEADER
        || memcmp(file + 64, build, VS_RULES_BUILD) != 0)
        return vs_error_set(err, VS_E_UNSUPPORTED,
                            "rules: made by another build (\"%.*s\", this is \"%s\"): install the rules of this one",
                            VS_RULES_BUILD - 1, (const char *)file + 64, build);
    uint64_t whole = vs_load_u64le(file + 16), table = vs_load_u64le(file + 24);
    if (whole != n)
        return vs_error_set(err, VS_E_MALFORMED,
                            "rules: the file has %zu bytes, its header says %llu: it was cut short or continued", n,
                            (unsigned long long)whole);
    uint8_t sum[32];
    vs_sha256_of(file + VS_RULES_HEADER, n - VS_RULES_HEADER, sum);
    if (memcmp(sum, file + 32, sizeof sum) != 0 || table > n - VS_RULES_HEADER || table % 8)
        return vs_error_set(err, VS_E_MALFORMED, "rules: the file was changed: its SHA-256 is not the one that its header says");
    *ret_table = (size_t)table;
    return VS_OK;
}

/* Counts the uses of each word, or, when `use` is there, writes them: those that begin a pattern, or the others. */
static void each_use(struct vs_rules *r, unsigned *count, bool begins)
{
    const struct vs_rule_table *t = &r->table;
    for (unsigned i = 0; i < t->n_patterns; i++) {
        unsigned n = t->pattern[i].rule == VS_RULE_NONE ? 0 : begins ? 1 : t->pattern[i].n;
        for (unsigned k = !begins; k < n; k++) {
            const struct vs_rule_part *part = &t->part[t->pattern[i].part[k]];
            for (unsigned w = 0; w < part->n; w++) {
                if (r->use)
                    r->use[r->uses_from[part->word[w]] + count[part->word[w]]] = (struct use){
                        r->begun_from[i] + k, (uint16_t)i, (uint8_t)k, t->pattern[i].gap[k], k + 1u == t->pattern[i].n };
                count[part->word[w]]++;
            }
        }
    }
}

/* ---- words that are looked up ---- */

static inline char low(char c)
{
    return (uint8_t)(c - 'A') < 26 ? (char)(c | 0x20) : c;
}

/* Of s[0, n), the same for small and capital letters; `room` bytes may be read. */
static inline uint64_t hash_of(const char *s, size_t n, size_t room, uint64_t key)
{
    uint64_t h = (key ^ n) * UINT64_C(0x9e3779b97f4a7c15);
    for (size_t i = 8; i < n; i += 8)
        h = (h ^ h >> 31 ^ vs_letters_key(s + i, n - i, room - i)) * UINT64_C(0x9e3779b97f4a7c15);
    return h;
}

static unsigned slot_of(uint64_t h, enum vs_rule_word_kind kind)
{
    return (unsigned)(h >> 40 ^ kind) % N_SLOTS;
}

/* The row of `lengths` of a word: by its first two characters, whatever their case; and the bit there. */
static inline unsigned pair_of(const char *text, size_t n)
{
    return ((uint8_t)text[0] & 31u) << 5 | (n > 1 ? (uint8_t)text[1] & 31u : 0);
}

static inline uint32_t bit_of(size_t n)
{
    return (uint32_t)1 << (n < 31 ? n : 31);
}

static void note_length(struct vs_rules *r, const struct vs_rule_word *word)
{
    size_t n = strlen(word->text);
    unsigned pair = pair_of(word->text, n);
    r->lengths[pair] |= bit_of(n);
    for (unsigned second = 0; second < 32 && n == 1; second++)
        r->lengths[pair | second] |= bit_of(n);
}

static bool fill_slots(struct vs_rules *r)
{
    unsigned n = 0;
    for (unsigned i = 0; i < r->table.n_words; i++) {
        const struct vs_rule_word *word = &r->table.word[i];
        if (word->kind != VS_WORD_WHOLE && word->kind != VS_WORD_PREFIX)
            continue;
        if (!word->text[1] && (uint8_t)word->text[0] < 0x80 && word->kind == VS_WORD_WHOLE)
            r->sign[(uint8_t)word->text[0]] = (uint16_t)(i + 1);
        size_t length = strlen(word->text);
        uint64_t key = vs_letters_key(word->text, length, length);
        unsigned at = slot_of(hash_of(word->text, length, length, key), word->kind);
        r->known[i] = (struct known){ key, (uint8_t)length, (uint8_t)word->kind, true };
        for (size_t k = 0; k < length; k++)
            r->known[i].is_ascii &= (uint8_t)word->text[k] < 0x80;
        if (word->kind == VS_WORD_PREFIX)
            note_length(r, word);
        while (r->slot[at])
            at = (at + 1) % N_SLOTS;
        r->slot[at] = (uint16_t)(i + 1);
        if (++n > N_SLOTS / 2)
            return false;
    }
    return true;
}

/* Of a word of eight ASCII letters and digits its key says all. */
static bool is_rest(const struct vs_rules *r, unsigned word, const char *text, size_t n)
{
    const char *with = r->table.word[word].text;
    for (size_t i = r->known[word].is_ascii ? 8 : 0; i < n; i++)
        if (with[i] != low(text[i]))
            return false;
    return true;
}

/* The number of the word text[0, n) of this kind; n_words: there is none. */
static inline unsigned word_at(const struct vs_rules *r, const char *text, size_t n, size_t room, enum vs_rule_word_kind kind)
{
    uint64_t key = vs_letters_key(text, n, room);
    for (unsigned at = slot_of(hash_of(text, n, room, key), kind); r->slot[at]; at = (at + 1) % N_SLOTS) {
        unsigned word = r->slot[at] - 1u;
        const struct known *known = &r->known[word];
        if (known->key == key && known->n == n && known->kind == kind && is_rest(r, word, text, n))
            return word;
    }
    return r->table.n_words;
}

/* Which words of rules the word text[0, length) begins with, and which it is; `room` bytes may be read. How many. */
static unsigned find_words(const struct vs_rules *r, const char *text, size_t length, size_t room, unsigned known[MOST])
{
    unsigned n = 0, word;
    uint32_t lengths = r->lengths[pair_of(text, length)];
    size_t most = length < VS_RULE_WORD ? length : VS_RULE_WORD;       /* no prefix is longer */
    uint32_t shorter = lengths & (bit_of(most) - 1 + bit_of(most)) & ~bit_of(31);
    for (; shorter && n + 1 < MOST; shorter &= shorter - 1)
        if ((word = word_at(r, text, (size_t)__builtin_ctz(shorter), room, VS_WORD_PREFIX)) < r->table.n_words)
            known[n++] = word;
    for (size_t i = 31; lengths & bit_of(31) && i <= most && n + 1 < MOST; i++)
        if ((word = word_at(r, text, i, room, VS_WORD_PREFIX)) < r->table.n_words)
            known[n++] = word;
    if ((word = word_at(r, text, length, room, VS_WORD_WHOLE)) < r->table.n_words)
        known[n++] = word;
    return n;
}

static inline unsigned place_of(uint64_t key)
{
    return (unsigned)(key * UINT64_C(0x9e3779b97f4a7c15) >> 52);
}

/* The same of a word of at most SHORT letters: of most that texts have it is in `common`. */
static unsigned find_short(const struct vs_rules *r, const char *text, size_t length, size_t room, unsigned known[MOST])
{
    uint64_t key = vs_letters_key(text, length, room);
    const struct common *common = &r->common[place_of(key)];
    unsigned n = 0;
    if (common->key != key)
        return find_words(r, text, length, room, known);
    for (; n < MOST && common->word[n]; n++)
        known[n] = common->word[n] - 1u;
    return n;
}

static void note_common(struct vs_rules *r, const char *text, size_t n)
{
    if (!n || n > SHORT || vs_letters_end(text, n, 0) != n)
        return;
    unsigned known[MOST];
    uint64_t key = vs_letters_key(text, n, n);
    struct common *common = &r->common[place_of(key)];
    if (common->key)
        return;                          /* a more common one is there */
    common->key = key;
    n = find_words(r, text, n, n, known);
    for (size_t k = 0; k < n; k++)
        common->word[k] = (uint16_t)(known[k] + 1);
}

static void fill_common(struct vs_rules *r)
{
    for (const char *word = vs_english_words; *word;) {
        size_t n = strcspn(word, " ");
        note_common(r, word, n);
        word += n + strspn(word + n, " ");
    }
    for (unsigned i = 0; i < r->table.n_words; i++)
        if (r->table.word[i].kind == VS_WORD_WHOLE)
            note_common(r, r->table.word[i].text, strlen(r->table.word[i].text));
}

/* ---- phrases ---- */

static unsigned step_at(const struct vs_rules *r, unsigned from, unsigned word)
{
    unsigned at = (from * 0x9e37u + word * 0x85ebu) % N_STEPS;
    while (r->step[at].to && (r->step[at].from != from || r->step[at].word != word))
        at = (at + 1) % N_STEPS;
    return at;
}

static bool fill_steps(struct vs_rules *r)
{
    const struct vs_rule_table *t = &r->table;
    for (unsigned i = 0; i < t->n_patterns; i++) {
        unsigned node = 0;
        for (unsigned k = 0; k < t->pattern[i].n && t->pattern[i].rule == VS_RULE_NONE; k++) {
            const struct vs_rule_part *part = &t->part[t->pattern[i].part[k]];
            struct step *step = part->n ? &r->step[step_at(r, node, part->word[0])] : NULL;
            if (!step || (!step->to && ++r->n_nodes > N_STEPS / 2))
                return false;
            if (!step->to)
                *step = (struct step){ (uint16_t)node, part->word[0], (uint16_t)r->n_nodes, 0 };
            if (k + 1u == t->pattern[i].n)
                step->emits = (uint16_t)(t->pattern[i].word + 1);
            node = step->to;
        }
    }
    return true;
}

/* Where each word is used. */
static bool index_words(struct vs_rules *r)
{
    const struct vs_rule_table *t = &r->table;
    unsigned *count = calloc(t->n_words + 1, sizeof *count);
    r->uses_from = calloc(t->n_words + 1, sizeof *r->uses_from);
    r->later_from = calloc(t->n_words + 1, sizeof *r->later_from);
    r->begun_from = calloc(t->n_patterns, sizeof *r->begun_from);
    for (unsigned i = 0; r->begun_from && i < t->n_patterns; i++) {
        r->begun_from[i] = (unsigned)r->n_begun;
        r->n_begun += t->pattern[i].n;
    }
    r->begun = calloc(r->n_begun, sizeof *r->begun);
    r->is_begun = calloc(r->n_begun, sizeof *r->is_begun);
    r->begun_now = calloc(r->n_begun, sizeof *r->begun_now);
    r->known = calloc(t->n_words + 1, sizeof *r->known);
    if (count && r->known && r->uses_from && r->later_from && r->begun_from && r->begun && r->is_begun && r->begun_now) {
        each_use(r, count, true);
        each_use(r, count, false);
        for (unsigned w = 0; w < t->n_words; w++) {
            r->uses_from[w + 1] = r->uses_from[w] + count[w];
            count[w] = 0;
        }
        r->use = calloc(r->uses_from[t->n_words] + 1, sizeof *r->use);
        if (r->use)
            each_use(r, count, true);
        for (unsigned w = 0; w < t->n_words; w++)
            r->later_from[w] = r->uses_from[w] + count[w];
        if (r->use)
            each_use(r, count, false);
    }
    free(count);
    return r->use;
}

int vs_rules_open(const void *file, size_t n, struct vs_rules **ret, struct vs_error *err)
{
    const uint8_t *bytes = file;
    size_t table = 0;
    int r = check(bytes, n, &table, err);
    if (r != VS_OK)
        return r;
    struct vs_rules *rules = calloc(1, sizeof *rules);
    if (!rules)
        return vs_error_set(err, VS_E_NOMEM, "rules: out of memory");
    r = vs_rule_table_read(&rules->table, bytes + VS_RULES_HEADER, table, err);
    if (r == VS_OK && !index_words(rules))
        r = vs_error_set(err, VS_E_NOMEM, "rules: out of memory");
    if (r == VS_OK && (!fill_slots(rules) || !fill_steps(rules)))
        r = vs_error_set(err, VS_E_MALFORMED, "rules: the table has too many words");
    if (r == VS_OK)
        fill_common(rules);
    if (r == VS_OK)
        r = vs_automaton_open(bytes + VS_RULES_HEADER + table, n - VS_RULES_HEADER - table, &rules->automaton, err);
    if (r == VS_OK)
        *ret = rules;
    else
        vs_rules_close(rules);
    return r;
}

void vs_rules_close(struct vs_rules *r)
{
    if (!r)
        return;
    vs_automaton_close(r->automaton);
    vs_rule_table_clear(&r->table);
    free(r->uses_from);
    free(r->later_from);
    free(r->use);
    free(r->begun);
    free(r->is_begun);
    free(r->begun_now);
    free(r->begun_from);
    free(r->known);
    free(r);
}

size_t vs_rules_bytes(const struct vs_rules *r)
{
    const struct vs_rule_table *t = &r->table;
    return sizeof *r + t->n_rules * (sizeof *t->rule + VS_RULE_ID)
        + (t->n_words + 1) * (sizeof *r->uses_from + sizeof *r->later_from + sizeof *r->known)
        + t->n_parts * sizeof *t->part + r->uses_from[t->n_words] * sizeof *r->use
        + t->n_patterns * (sizeof *t->pattern + sizeof *r->begun_from)
        + r->n_begun * (sizeof *r->begun + sizeof *r->is_begun + sizeof *r->begun_now)
        + vs_automaton_bytes(r->automaton);
}

const struct vs_rule_table *vs_rules_table(const struct vs_rules *r)
{
    return &r->table;
}

/* ---- a scan ---- */

struct scan {
    struct vs_rules *rules;
    const char *text;
    vs_rules_fn *told;
    void *arg;
    struct { unsigned node; size_t start; } active[N_ACTIVE];
    unsigned n_active;
    size_t end;                          /* of the last word */
};

/* Of a byte: letters and digits of ASCII, other ASCII, what begins a character that may separate words, others. */
enum { IN_WORD, APART, MAY_PART, HIGH };
static uint8_t part_of[256];

__attribute__((constructor)) static void start(void)
{
    for (unsigned c = 0; c < 256; c++) {
        bool is_word = (c | 0x20) - 'a' < 26 || c - '0' < 10;
        bool may_part = c == 0xc2 || c == 0xd8 || c == 0xe2 || c == 0xe3 || c == 0xe0;
        part_of[c] = c < 0x80 ? (is_word ? IN_WORD : APART) : may_part ? MAY_PART : HIGH;
    }
}

/* Bytes of the character at s that separates words; 0: it belongs to one. Beyond ASCII: Latin-1 signs, general and CJK punctuation,
 * Arabic comma, semicolon and question mark, danda. */
static inline size_t separator(const char *s, size_t n)
{
    const uint8_t *b = (const uint8_t *)s;
    if (part_of[b[0]] != MAY_PART)
        return part_of[b[0]] == APART;
    if (n > 1 && (b[0] == 0xc2 || (b[0] == 0xd8 && (b[1] == 0x8c || b[1] == 0x9b || b[1] == 0x9f))))
        return 2;
    if (n > 2 && ((b[0] == 0xe2 && (b[1] == 0x80 || b[1] == 0x81)) || (b[0] == 0xe3 && b[1] == 0x80)
                  || (b[0] == 0xe0 && b[1] == 0xa5 && (b[2] == 0xa4 || b[2] == 0xa5))))
        return 3;
    return 0;
}

/* May it stand between two words that belong together? */
static bool joins(char c)
{
    static const bool sign[128] = {
        ['"'] = true, ['\''] = true, ['*'] = true, ['_'] = true, [','] = true, [':'] = true, ['('] = true, [')'] = true,
        ['-'] = true, ['`'] = true, ['~'] = true, ['.'] = true, ['|'] = true, ['/'] = true, ['+'] = true, ['='] = true,
        ['#'] = true, ['%'] = true, ['&'] = true, ['!'] = true, ['$'] = true, ['<'] = true, ['>'] = true, ['@'] = true,
        ['['] = true, ['\\'] = true, [']'] = true, ['^'] = true, ['{'] = true, ['}'] = true,
    };
    return (uint8_t)c >= 0x80 || (uint8_t)c <= ' ' || sign[(uint8_t)c];
}

/* " 2) ", " 12. " or " [b] " before a capital: the next one of a list. Words of one sentence may have footnotes, and a number each.
 * (Four of these or more are read without them: decode_order.c.) s[n) is the next word. */
static bool begins_entry(const char *s, size_t n)
{
    size_t i = 2;
    bool is_small = (s[n] >= 'a' && s[n] <= 'z') || (s[n] >= '0' && s[n] <= '9');
    if (n < 4 || (s[0] != ' ' && s[0] != '\n') || is_small)
        return false;
    if (s[1] == '[')
        return n > 4 && s[3] == ']' && s[4] == ' ';
    i += s[2] >= '0' && s[2] <= '9';
    return i + 1 < n && s[1] >= '0' && s[1] <= '9' && (s[i] == ')' || s[i] == '.') && s[i + 1] == ' ';
}

/* s[0, n): what lies between two words, from somewhere on; s[n): the second. */
static bool ends_sentence(const char *s, size_t n)
{
    bool is_mark = s[0] == '!' || s[0] == '?' || s[0] == ';' || s[0] == '.';
    return (is_mark && n > 1 && joins(s[1]))         /* not in "all!previous", "v1.2" */
        || begins_entry(s, n) || (n > 1 && s[0] == '\n' && s[1] == '\n') || (n > 2 && memcmp(s, "\xe3\x80\x82", 3) == 0);
}

/* May this stand between two parts? */
static bool may_lie(const char *text, size_t from, size_t to, enum vs_rule_gap gap)
{
    static const size_t most[VS_N_RULE_GAPS] = { VS_RULE_NEXT, VS_RULE_NEAR, VS_RULE_FAR, VS_RULE_BEYOND };
    if (to - from > most[gap])
        return false;
    for (size_t i = from; i < to && gap != VS_RULE_WIDE; i++)
        if ((gap == VS_RULE_ADJACENT && !joins(text[i])) || ends_sentence(text + i, to - i))
            return false;
    return true;
}

/* The beginning of a pattern up to this part lies at start..end. */
static inline void begin(const struct scan *s, const struct use *use, size_t start, size_t end)
{
    if (use->is_last) {
        s->told(s->arg, s->rules->table.pattern[use->pattern].rule, start, end);
        return;
    }
    struct vs_rules *r = s->rules;
    struct begun *b = &r->begun[use->begun];
    if (!r->is_begun[use->begun]) {
        r->is_begun[use->begun] = true;
        r->begun_now[r->n_begun_now++] = use->begun;
        b->n = 0;
    }
    b->lately[b->n % LATELY].start = (uint32_t)start;
    b->lately[b->n++ % LATELY].end = (uint32_t)end;
}

static void on_word(const struct scan *s, unsigned word, size_t start, size_t end)
{
    const struct vs_rules *r = s->rules;
    if (word >= r->table.n_words)
        return;
    const struct use *use = r->use + r->uses_from[word], *later = r->use + r->later_from[word];
    for (; use < later; use++)
        begin(s, use, start, end);
    for (const struct use *end_of_uses = r->use + r->uses_from[word + 1]; use < end_of_uses; use++) {
        if (!r->is_begun[use->begun - 1])
            continue;
        const struct begun *b = &r->begun[use->begun - 1];
        unsigned n = b->n < LATELY ? b->n : LATELY;
        for (unsigned k = 0; k < n; k++) {
            if (b->lately[k].end <= start && may_lie(s->text, b->lately[k].end, start, use->gap)) {
                begin(s, use, b->lately[k].start, end);
                break;
            }
        }
    }
}

/* What the automaton found and ends at most here, in order. */
static void catch_up(struct scan *s, size_t *at, size_t end)
{
    const struct vs_rules *r = s->rules;
    for (; *at < r->n_seen && r->seen[*at].end <= end; ++*at)
        on_word(s, r->seen[*at].word, r->seen[*at].start, r->seen[*at].end);
}

/* The next word of the text may be any of word[0, n): phrases go on with it, or begin. */
static void go_on(struct scan *s, const unsigned *word, unsigned n, size_t start, size_t end)
{
    bool adjacent = s->n_active && may_lie(s->text, s->end, start, VS_RULE_ADJACENT);
    struct scan next;
    next.n_active = 0;
    for (unsigned i = adjacent ? 0 : s->n_active; i <= s->n_active; i++) {      /* the last one: a phrase that begins here */
        unsigned node = i < s->n_active ? s->active[i].node : 0;
        size_t from = i < s->n_active ? s->active[i].start : start;
        for (unsigned k = 0; k < n; k++) {
            const struct step *step = &s->rules->step[step_at(s->rules, node, word[k])];
            if (step->emits)
                on_word(s, step->emits - 1u, from, end);
            if (step->to && next.n_active < N_ACTIVE) {
                next.active[next.n_active].node = step->to;
                next.active[next.n_active++].start = from;
            }
        }
    }
    for (unsigned i = 0; i < next.n_active; i++)
        s->active[i] = next.active[i];
    s->n_active = next.n_active;
    s->end = end;
}

/* Between text[i - 1] and text[i], i > start: letters of ASCII beside Chinese, Japanese or Korean ones belong to another word. */
static inline bool changes_script(const char *text, size_t start, size_t i)
{
    uint8_t c = (uint8_t)text[i], before = (uint8_t)text[i - 1];
    if ((c < 0x80) == (before < 0x80))
        return false;
    size_t lead = i - 1;
    while (lead > start && ((uint8_t)text[lead] & 0xc0) == 0x80)
        lead--;
    c = c < 0x80 ? (uint8_t)text[lead] : c;
    return c >= 0xe3 && c <= 0xed;
}

/* Of the word that begins at start, and has letters of ASCII up to i. */
static size_t word_end(const char *text, size_t start, size_t i, size_t n)
{
    while (i < n && !separator(text + i, n - i) && !(i > start && changes_script(text, start, i)))
        i++;
    return i;
}

/* One word of the text: what it begins with, and what it is. */
static size_t look_up(struct scan *s, size_t start, size_t n)
{
    const struct vs_rules *r = s->rules;
    const char *text = s->text;
    unsigned known[MOST], n_known;
    size_t end = vs_letters_end(text, n, start);
    bool is_short = end > start && end - start <= SHORT && (end == n || part_of[(uint8_t)text[end]] == APART);
    if (is_short) {
        n_known = find_short(r, text + start, end - start, n - start, known);
    } else {
        end = word_end(text, start, end, n);
        n_known = find_words(r, text + start, end - start, n - start, known);
    }
    for (unsigned k = 0; k < n_known; k++)
        on_word(s, known[k], start, end);
    if (n_known)
        go_on(s, known, n_known, start, end);
    else
        s->n_active = 0;
    return end;
}

static void on_seen(void *arg, unsigned word, size_t start, size_t end)
{
    struct vs_rules *r = arg;
    (void)start;
    if (word >= r->table.n_words || r->n_seen == N_SEEN)
        return;
    size_t width = r->table.width[word], at = r->n_seen++;
    for (; at && r->seen[at - 1].end > end; at--)
        r->seen[at] = r->seen[at - 1];
    r->seen[at] = (struct seen){ word, (uint32_t)(end - (width < end ? width : end)), (uint32_t)end };
}

int vs_rules_scan(struct vs_rules *r, const char *text, size_t n, vs_rules_fn *told, void *arg)
{
    struct scan s = { .rules = r, .text = text, .told = told, .arg = arg };
    while (r->n_begun_now)
        r->is_begun[r->begun_now[--r->n_begun_now]] = false;
    r->n_seen = 0;
    int status = vs_automaton_scan(r->automaton, text, n, on_seen, r);
    size_t seen = 0;
    for (size_t i = 0; i < n && status == VS_OK;) {
        size_t apart = separator(text + i, n - i);
        if (apart == 1 && r->sign[(uint8_t)text[i]])
            on_word(&s, r->sign[(uint8_t)text[i]] - 1u, i, i + 1);
        i = apart ? i + apart : look_up(&s, i, n);
        catch_up(&s, &seen, i);
    }
    catch_up(&s, &seen, n);
    return status;
}
