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

/* A word may be that part of a pattern. begun: place of that part in vs_rules.begun; before: that of the one before. */
struct use { uint16_t begun, before, pattern; uint8_t gap; bool is_last; };

enum {
    LATELY = 3,
    N_PAIRS = 32 * 32,
    N_SLOTS = 1 << 14,                   /* of the words that are looked up: more than twice as many as those */
    N_STEPS = 1 << 14,                   /* of all phrases: more than twice as many as those */
    N_ACTIVE = 8,                        /* phrases that may go on with the next word */
    GROUP = 64,                          /* parts of patterns of which one look says whether any of them was found */
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

/* Uses of a word as a later part, of patterns that stand close together: which parts must have been found before, as bits of
 * begun_bits[at]. */
struct group { uint64_t before; uint32_t at, from, end; };      /* from, end: into use */

/* Where a word is used: use[from, later) begin a pattern, group[first, last) have the others. */
struct uses { uint32_t from, later, first, last; };

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
    uint16_t *lead;                      /* [n_words]: the step from the root + 1, 0: no phrase begins with it */
    struct uses *uses;                   /* [n_words] */
    struct group *group;
    struct use *use;
    size_t n_use, n_group;
    struct begun *begun;                 /* of each part of each pattern: what of it counts only where begun_bits says so */
    uint64_t *begun_bits;                /* [n_begun / GROUP + 1]: a bit each */
    unsigned n_begun;
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

/* Part k of a pattern: the parts that another follows, in the order of those that follow, so that which are asked for together
 * stand together. */
struct place { uint16_t follows, pattern; uint8_t k; };

static int by_follower(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return x->follows != y->follows ? (x->follows < y->follows ? -1 : 1)
         : x->pattern != y->pattern ? (x->pattern < y->pattern ? -1 : 1) : x->k - y->k;
}

static bool place_parts(struct vs_rules *r, uint16_t (*begun)[VS_RULE_PARTS])
{
    const struct vs_rule_table *t = &r->table;
    struct place *place = calloc((size_t)t->n_patterns * VS_RULE_PARTS, sizeof *place);
    for (unsigned i = 0; place && i < t->n_patterns; i++)
        for (unsigned k = 0; t->pattern[i].rule != VS_RULE_NONE && k + 1u < t->pattern[i].n; k++)
            place[r->n_begun++] = (struct place){ t->pattern[i].part[k + 1], (uint16_t)i, (uint8_t)k };
    bool fits = place && r->n_begun <= UINT16_MAX;
    if (fits)
        qsort(place, r->n_begun, sizeof *place, by_follower);
    for (unsigned b = 0; fits && b < r->n_begun; b++)
        begun[place[b].pattern][place[b].k] = (uint16_t)b;
    free(place);
    return fits;
}

static int by_before(const void *a, const void *b)
{
    const struct use *x = a, *y = b;
    return x->before - y->before;
}

/* Counts the uses of each word, or, when `use` is there, writes them: those that begin a pattern, or the others. */
static void each_use(struct vs_rules *r, uint16_t (*begun)[VS_RULE_PARTS], unsigned *count, bool begins)
{
    const struct vs_rule_table *t = &r->table;
    for (unsigned i = 0; i < t->n_patterns; i++) {
        unsigned n = t->pattern[i].rule == VS_RULE_NONE ? 0 : begins ? 1 : t->pattern[i].n;
        for (unsigned k = !begins; k < n; k++) {
            const struct vs_rule_part *part = &t->part[t->pattern[i].part[k]];
            for (unsigned w = 0; w < part->n; w++) {
                if (r->use)
                    r->use[r->uses[part->word[w]].from + count[part->word[w]]] = (struct use){
                        begun[i][k], k ? begun[i][k - 1] : 0, (uint16_t)i, t->pattern[i].gap[k], k + 1u == t->pattern[i].n };
                count[part->word[w]]++;
            }
        }
    }
}

/* The groups of the uses of a word up to use[end]. */
static void group_uses(struct vs_rules *r, struct uses *u, size_t end)
{
    u->first = u->last = (uint32_t)r->n_group;
    qsort(r->use + u->later, end - u->later, sizeof *r->use, by_before);
    for (uint32_t i = u->later; i < end; i++) {
        uint32_t before = r->use[i].before;
        struct group *g = &r->group[r->n_group];
        if (u->last == u->first || g[-1].at != before / GROUP) {
            *g = (struct group){ 0, before / GROUP, i, i };
            u->last = (uint32_t)++r->n_group;
        }
        g = &r->group[r->n_group - 1];
        g->before |= UINT64_C(1) << before % GROUP;
        g->end = i + 1;
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
    for (unsigned at = 0; at < N_STEPS; at++)
        if (r->step[at].to && !r->step[at].from)
            r->lead[r->step[at].word] = (uint16_t)(at + 1);
    return true;
}

/* Where each word is used. */
static bool index_words(struct vs_rules *r)
{
    const struct vs_rule_table *t = &r->table;
    unsigned *count = calloc(t->n_words + 1, sizeof *count);
    r->uses = calloc(t->n_words + 1, sizeof *r->uses);
    r->lead = calloc(t->n_words + 1, sizeof *r->lead);
    r->known = calloc(t->n_words + 1, sizeof *r->known);
    uint16_t (*begun)[VS_RULE_PARTS] = calloc(t->n_patterns, sizeof *begun);
    if (count && r->known && r->uses && r->lead && begun && place_parts(r, begun)) {
        r->begun = calloc(r->n_begun + 1, sizeof *r->begun);
        r->begun_bits = calloc(r->n_begun / GROUP + 1, sizeof *r->begun_bits);
        each_use(r, begun, count, true);
        each_use(r, begun, count, false);
        for (unsigned w = 0; w < t->n_words; w++) {
            r->uses[w].from = (uint32_t)r->n_use;
            r->n_use += count[w];
            count[w] = 0;
        }
        r->use = calloc(r->n_use + 1, sizeof *r->use);
        r->group = calloc(r->n_use + 1, sizeof *r->group);
    }
    if (r->use && r->group) {
        each_use(r, begun, count, true);
        for (unsigned w = 0; w < t->n_words; w++)
            r->uses[w].later = r->uses[w].from + count[w];
        each_use(r, begun, count, false);
        for (unsigned w = 0; w < t->n_words; w++)
            group_uses(r, &r->uses[w], r->uses[w].from + count[w]);
    }
    free(count);
    free(begun);
    return r->use && r->group && r->begun && r->begun_bits;
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
    free(r->uses);
    free(r->lead);
    free(r->group);
    free(r->use);
    free(r->begun);
    free(r->begun_bits);
    free(r->known);
    free(r);
}

size_t vs_rules_bytes(const struct vs_rules *r)
{
    const struct vs_rule_table *t = &r->table;
    return sizeof *r + t->n_rules * (sizeof *t->rule + VS_RULE_ID)
        + (t->n_words + 1) * (sizeof *r->uses + sizeof *r->lead + sizeof *r->known)
        + t->n_parts * sizeof *t->part + (r->n_use + 1) * (sizeof *r->use + sizeof *r->group)
        + t->n_patterns * sizeof *t->pattern
        + (r->n_begun + 1) * sizeof *r->begun + (r->n_begun / GROUP + 1) * sizeof *r->begun_bits
        + vs_automaton_bytes(r->automaton);
}

const struct vs_rule_table *vs_rules_table(const struct vs_rules *r)
{
    return &r->table;
}

/* ---- a scan ---- */

struct active { uint32_t node, start; };

struct scan {
    struct vs_rules *rules;
    const char *text;
    vs_rules_fn *told;
    void *arg;
    struct active active[2][N_ACTIVE];   /* phrases that go on: active[turn][0, n_active) */
    unsigned turn, n_active;
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

static const uint8_t most_between[VS_N_RULE_GAPS] = { VS_RULE_NEXT, VS_RULE_NEAR, VS_RULE_FAR, VS_RULE_BEYOND };

static bool is_between(const char *text, size_t from, size_t to, enum vs_rule_gap gap)
{
    for (size_t i = from; i < to && gap != VS_RULE_WIDE; i++)
        if ((gap == VS_RULE_ADJACENT && !joins(text[i])) || ends_sentence(text + i, to - i))
            return false;
    return true;
}

/* May this stand between two parts? Mostly it is a blank. */
static inline bool may_lie(const char *text, size_t from, size_t to, enum vs_rule_gap gap)
{
    return to - from <= most_between[gap] && ((to - from == 1 && text[from] == ' ') || is_between(text, from, to, gap));
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
    uint64_t *bits = &r->begun_bits[use->begun / GROUP], bit = UINT64_C(1) << use->begun % GROUP;
    if (!(*bits & bit)) {
        *bits |= bit;
        b->n = 0;
    }
    b->lately[b->n % LATELY].start = (uint32_t)start;
    b->lately[b->n++ % LATELY].end = (uint32_t)end;
}

/* The word goes on with patterns of this group, of which some part was found. */
static __attribute__((noinline)) void on_group(const struct scan *s, const struct group *g, size_t start, size_t end)
{
    const struct vs_rules *r = s->rules;
    for (const struct use *use = r->use + g->from; use < r->use + g->end; use++) {
        const struct begun *b = &r->begun[use->before];
        unsigned n = r->begun_bits[g->at] >> use->before % GROUP & 1 ? b->n < LATELY ? b->n : LATELY : 0;
        for (unsigned k = 0; k < n; k++) {
            size_t from = b->lately[k].end;
            if (from <= start && may_lie(s->text, from, start, use->gap)) {
                begin(s, use, b->lately[k].start, end);
                break;
            }
        }
    }
}

static inline void on_word(const struct scan *s, unsigned word, size_t start, size_t end)
{
    const struct vs_rules *r = s->rules;
    if (word >= r->table.n_words)
        return;
    const struct uses *u = &r->uses[word];
    for (const struct use *use = r->use + u->from, *later = r->use + u->later; use < later; use++)
        begin(s, use, start, end);
    const uint64_t *bits = r->begun_bits;
    for (const struct group *g = r->group + u->first, *last = r->group + u->last; g < last; g++)
        if (bits[g->at] & g->before)
            on_group(s, g, start, end);
}

/* What the automaton found and ends at most here, in order. */
static __attribute__((noinline)) void catch_up(struct scan *s, size_t *at, size_t end)
{
    const struct vs_rules *r = s->rules;
    for (; *at < r->n_seen && r->seen[*at].end <= end; ++*at)
        on_word(s, r->seen[*at].word, r->seen[*at].start, r->seen[*at].end);
}

/* A phrase that began at `from` goes on, or begins, with this step. */
static inline void go(struct scan *s, const struct step *step, size_t from, size_t end, struct active *next, unsigned *n)
{
    if (step->emits)
        on_word(s, step->emits - 1u, from, end);
    if (step->to && *n < N_ACTIVE)
        next[(*n)++] = (struct active){ step->to, (uint32_t)from };
}

/* The next word of the text may be any of word[0, n): phrases go on with it, or begin. */
static inline void go_on(struct scan *s, const unsigned *word, unsigned n, size_t start, size_t end)
{
    const struct vs_rules *r = s->rules;
    const struct active *active = s->active[s->turn];
    struct active *next = s->active[!s->turn];
    unsigned n_next = 0;
    if (s->n_active && may_lie(s->text, s->end, start, VS_RULE_ADJACENT))
        for (unsigned i = 0; i < s->n_active; i++)
            for (unsigned k = 0; k < n; k++)
                go(s, &r->step[step_at(r, active[i].node, word[k])], active[i].start, end, next, &n_next);
    for (unsigned k = 0; k < n; k++)
        if (r->lead[word[k]])
            go(s, &r->step[r->lead[word[k]] - 1u], start, end, next, &n_next);
    s->turn = !s->turn;
    s->n_active = n_next;
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
    memset(r->begun_bits, 0, (r->n_begun / GROUP + 1) * sizeof *r->begun_bits);
    r->n_seen = 0;
    int status = vs_automaton_scan(r->automaton, text, n, on_seen, r);
    size_t seen = 0, next = r->n_seen ? r->seen[0].end : SIZE_MAX;
    for (size_t i = 0; i < n && status == VS_OK;) {
        size_t apart = separator(text + i, n - i);
        unsigned sign = apart == 1 ? r->sign[(uint8_t)text[i]] : 0;
        if (sign)
            on_word(&s, sign - 1u, i, i + 1);
        i = apart ? i + apart : look_up(&s, i, n);
        if (next <= i) {
            catch_up(&s, &seen, i);
            next = seen < r->n_seen ? r->seen[seen].end : SIZE_MAX;
        }
    }
    catch_up(&s, &seen, n);
    return status;
}
