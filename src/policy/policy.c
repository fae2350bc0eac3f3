/* policy/policy.c - the keys of a policy file, and the one place that reads and writes them by this list. */
#include "policy/policy.h"

#include "base/bytes.h"
#include "base/sha256.h"
#include "base/text.h"
#include "base/utf8.h"
#include "base/word.h"
#include "ipc/json.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PATH_BYTES = 128,                    /* of a key's path in messages */
    LIST_MOST = 1000,                    /* entries of a list */
    TEXT_MOST = 4096,                    /* bytes of an entry */
    PROTECT_MOST = 512, PROTECT_VALUES = 64,             /* filter/protect.h */
    KEYS_MOST = 20000,                   /* that have limits of their own */
    PROTECT_LEAST = 8,                   /* filter/protect.h: shorter values are in every text */
};
#define MODES "off|log|warn|redact|block"
#define FILE_WORD "file:"
#define CLASSES "high|normal|low"       /* VS_PRIORITY_* */
#define LIMITS_OF_KEYS "limits.keys"
#define LIMIT_MOST (UINT64_C(1) << 40)

/* What a key's value is, and what it is kept as. */
enum kind {
    KIND_WORD, KIND_WORD64,              /* one of `words`: its number, an enum or 64 bits */
    KIND_FLAG,                           /* true or false: a bool */
    KIND_UNSIGNED, KIND_U64,             /* a whole number in [low, high] */
    KIND_TEXT,                           /* a text of at most high bytes: char[high + 1] */
    KIND_TYPES,                          /* a list of names of VS_PII_MAP: bits */
    KIND_TEXTS,                          /* a list of texts of low to high bytes */
    KIND_SECRETS,                        /* the same, and files */
};

/* An enum is kept as its number: rows know an address and no type. */
static_assert(sizeof(enum vs_policy_mode) == sizeof(unsigned), "enums are unsigned");

static const struct row {
    const char *path;
    enum kind kind;
    size_t at;                           /* in struct vs_policy */
    const char *words;
    uint64_t low, high;
    uint64_t preset;                     /* of lists: none */
} rows[] = {
#define ROW(path, kind, member, ...) { path, kind, offsetof(struct vs_policy, member), __VA_ARGS__ }
#define WORD(path, member, words, preset) ROW(path, KIND_WORD, member, words, 0, 0, VS_POLICY_##preset)
#define ZONE(name, where)                                                                                                 \
    WORD("injection." name ".mode", injection.zone[where].mode, MODES, WARN),                                             \
    ROW("injection." name ".threshold", KIND_UNSIGNED, injection.zone[where].threshold, NULL, 1, VS_POLICY_THRESHOLD_MOST, 500)
#define TYPE_BIT(name, preset) | (preset ? UINT64_C(1) << VS_PII_##name : 0)
    /*   path                    kind or member                        words, or low, high, default */
    ROW( "version",              KIND_UNSIGNED, version,               NULL, 1, 1, 1),
    ROW( "input.max_bytes",      KIND_U64, input.max_bytes,            NULL, 1, 16 << 20, 1 << 20),
    WORD("input.raw_tokens",     input.raw_tokens,                     "scan|refuse|allow", RAW_SCAN),
    ZONE("user",                 VS_ZONE_USER),
    ZONE("retrieved",            VS_ZONE_RETRIEVED),
    ZONE("tool",                 VS_ZONE_TOOL),
    ROW( "injection.allow",      KIND_TEXTS, injection.allow,          NULL, 1, TEXT_MOST, 0),
    WORD("pii.input",            pii.input,                            MODES, OFF),
    WORD("pii.output",           pii.output,                           MODES, OFF),
    ROW( "pii.types",            KIND_TYPES, pii.types,                NULL, 0, 0, 0 VS_PII_MAP(TYPE_BIT)),
    WORD("pii.style",            pii.style,                            "label|mask|hash", LABEL),
    WORD("secrets.input",        secrets.input,                        MODES, WARN),
    WORD("secrets.output",       secrets.output,                       MODES, WARN),
    ROW( "secrets.protect",      KIND_SECRETS, secrets.protect,        NULL, PROTECT_LEAST, PROTECT_MOST, 0),
    WORD("output.control",       output.control,                       "strip|off", CONTROL_STRIP),
    WORD("output.urls",          output.urls,                          "any|list", URLS_ANY),
    ROW( "output.url_allow",     KIND_TEXTS, output.url_allow,         NULL, 1, TEXT_MOST, 0),
    WORD("output.system_prompt", output.system_prompt,                 MODES, WARN),
    WORD("output.raw_tokens",    output.raw_tokens,                    "withhold|allow", IDS_WITHHOLD),
    ROW( "identity.require_key", KIND_FLAG, identity.require_key,      NULL, 0, 1, 0),
    ROW( "identity.socket_group", KIND_TEXT, identity.socket_group,    NULL, 0, VS_POLICY_GROUP - 1, 0),
    ROW( "identity.keys",        KIND_TEXT, identity.keys,             NULL, 0, VS_POLICY_PATH - 1, 0),
    ROW( "audit.dir",            KIND_TEXT, audit.dir,                 NULL, 0, VS_POLICY_PATH - 1, 0),
    ROW( "audit.private",        KIND_FLAG, audit.is_private,          NULL, 0, 1, 0),
    WORD("audit.sync",           audit.sync,                           "group|each", SYNC_GROUP),
    WORD("audit.on_failure",     audit.on_failure,                     "refuse|continue", FAILURE_REFUSE),
    ROW( "audit.rotate_bytes",   KIND_U64, audit.rotate_bytes,         NULL, 64 << 10, 1 << 30, 64 << 20),
    ROW( "audit.retain_days",    KIND_UNSIGNED, audit.retain_days,     NULL, 0, 36500, 0),
    ROW( "audit.checkpoint_records", KIND_UNSIGNED, audit.checkpoint_records, NULL, 1, 1000000, 1000),
    ROW( "audit.checkpoint_seconds", KIND_UNSIGNED, audit.checkpoint_seconds, NULL, 1, 86400, 60),
    ROW( "audit.checkpoint_copy", KIND_TEXT, audit.checkpoint_copy,    NULL, 0, VS_POLICY_PATH - 1, 0),
    ROW( "signing.key",          KIND_TEXT, signing_key,               NULL, 0, VS_POLICY_PATH - 1, 0),
    WORD("receipts.mode",        receipts.mode,                        "off|on-request|always", RECEIPTS_ON_REQUEST),
    ROW( "receipts.keep",        KIND_TEXT, receipts.keep,             NULL, 0, VS_POLICY_PATH - 1, 0),
    ROW( "limits.default.requests_per_minute", KIND_U64, limits.all.requests_per_minute, NULL, 0, LIMIT_MOST, 0),
    ROW( "limits.default.tokens_per_minute",   KIND_U64, limits.all.tokens_per_minute,   NULL, 0, LIMIT_MOST, 0),
    ROW( "limits.default.in_flight",           KIND_U64, limits.all.in_flight,           NULL, 0, LIMIT_MOST, 0),
    ROW( "limits.default.kv_tokens",           KIND_U64, limits.all.kv_tokens,           NULL, 0, LIMIT_MOST, 0),
    ROW( "limits.default.priority",            KIND_WORD64, limits.all.priority,         CLASSES, 0, 0, 0),
};
#define N_ROWS (sizeof rows / sizeof *rows)

/* Those of a key, limits.keys.NAME: the same keys. */
static const struct row limit_rows[] = {
#define LIMIT_ROW(name, kind, words) { #name, kind, offsetof(struct vs_policy_limits, name), words, 0, LIMIT_MOST, 0 }
    LIMIT_ROW(requests_per_minute, KIND_U64, NULL), LIMIT_ROW(tokens_per_minute, KIND_U64, NULL),
    LIMIT_ROW(in_flight, KIND_U64, NULL), LIMIT_ROW(kv_tokens, KIND_U64, NULL), LIMIT_ROW(priority, KIND_WORD64, CLASSES),
};
enum { N_LIMIT_ROWS = sizeof limit_rows / sizeof *limit_rows };

static const char *const pii_names[VS_N_PII] = {
#define PII_NAME(name, preset) [VS_PII_##name] = #name,
    VS_PII_MAP(PII_NAME)
#undef PII_NAME
};
static_assert(VS_N_PII <= 32, "types are bits of 32");

/* ---- words: "off|log|warn" ---- */

/* Word i; its length. NULL behind the last. */
static const char *word_at(const char *words, unsigned i, size_t *ret_n)
{
    for (; i > 0 && words; i--)
        words = (words = strchr(words, '|')) ? words + 1 : NULL;
    *ret_n = words ? strcspn(words, "|") : 0;
    return words;
}

static bool word_find(const char *words, const char *word, unsigned *ret)
{
    size_t n;
    const char *w;
    for (unsigned i = 0; (w = word_at(words, i, &n)); i++)
        if (strlen(word) == n && memcmp(w, word, n) == 0) {
            *ret = i;
            return true;
        }
    return false;
}

/* "off, log or warn" */
static const char *words_listed(const char *words, char *ret, size_t size)
{
    size_t n, at = 0, more;
    const char *w;
    for (unsigned i = 0; (w = word_at(words, i, &n)) && at < size; i++)
        at += (size_t)snprintf(ret + at, size - at, "%s%.*s", i == 0 ? "" : word_at(words, i + 1, &more) ? ", " : " or ",
                               (int)n, w);
    return ret;
}

/* ---- values in the struct ---- */

/* p: the struct that the row is of. */
static void put(void *p, const struct row *row, uint64_t value)
{
    unsigned small = (unsigned)value;
    bool flag = value != 0;
    char *to = (char *)p + row->at;
    if (row->kind == KIND_U64 || row->kind == KIND_WORD64)
        memcpy(to, &value, sizeof value);
    else if (row->kind == KIND_FLAG)
        memcpy(to, &flag, sizeof flag);
    else if (row->kind == KIND_TEXT)
        *to = 0;                         /* its default is "" */
    else
        memcpy(to, &small, sizeof small);
}

static uint64_t get(const void *p, const struct row *row)
{
    uint64_t value;
    unsigned small;
    bool flag;
    const char *from = (const char *)p + row->at;
    if (row->kind == KIND_U64 || row->kind == KIND_WORD64) {
        memcpy(&value, from, sizeof value);
        return value;
    }
    if (row->kind == KIND_FLAG) {
        memcpy(&flag, from, sizeof flag);
        return flag;
    }
    memcpy(&small, from, sizeof small);
    return small;
}

static bool is_list(const struct row *row)
{
    return row->kind == KIND_TEXTS || row->kind == KIND_SECRETS;
}

static const struct vs_policy_list *list_of(const struct vs_policy *p, const struct row *row)
{
    return (const struct vs_policy_list *)(const void *)((const char *)p + row->at);
}

void vs_policy_default(struct vs_policy *ret)
{
    *ret = (struct vs_policy){ .injection.zone[VS_ZONE_SYSTEM] = { VS_POLICY_OFF, VS_POLICY_THRESHOLD_MOST } };
    for (size_t i = 0; i < N_ROWS; i++)
        if (!is_list(&rows[i]))
            put(ret, &rows[i], rows[i].preset);
}

void vs_policy_clear(struct vs_policy *p)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        const struct vs_policy_list *list = list_of(p, &rows[i]);
        for (size_t k = 0; is_list(&rows[i]) && k < list->n; k++)
            free(list->v[k]);
        if (is_list(&rows[i]))
            free(list->v);
    }
    free(p->limits.keys);
    *p = (struct vs_policy){ 0 };
}

const char *vs_policy_mode_name(enum vs_policy_mode mode)
{
    static const char *const names[] = { "off", "log", "warn", "redact", "block" };
    return names[mode];
}

/* ---- where a key stands ---- */

static const char *skip_space(const char *s, const char *end)
{
    while (s < end && strchr(" \t\r\n", *s) && *s)
        s++;
    return s;
}

static const char *skip_string(const char *s, const char *end)
{
    for (s++; s < end && *s != '"'; s++)
        s += *s == '\\';
    return s < end ? s + 1 : end;
}

/* Behind the value at s, and the comma after it. The text is known to be JSON. */
static const char *skip_value(const char *s, const char *end)
{
    size_t depth = 0;
    while (s < end && !(depth == 0 && strchr(",]}", *s))) {
        if (*s == '"') {
            s = skip_string(s, end);
            continue;
        }
        depth += *s == '[' || *s == '{';
        depth -= *s == ']' || *s == '}';
        s++;
    }
    return s < end && *s == ',' ? s + 1 : s;
}

/* The member `key[n]` of the object at s; NULL when there is none of that spelling. */
static const char *member(const char *s, const char *end, const char *key, size_t n)
{
    for (s = skip_space(s + 1, end); s < end && *s == '"'; s = skip_space(skip_value(s, end), end)) {
        const char *after = skip_string(s, end);
        if ((size_t)(after - s) == n + 2 && memcmp(s + 1, key, n) == 0)
            return s;
        s = skip_space(after, end) + 1;
    }
    return NULL;
}

/* The line of the value that path ("pii.types[2]") names, or of the deepest that is found on the way. */
static unsigned line_of(const char *text, size_t n, const char *path)
{
    const char *end = text + n, *at = skip_space(text, end), *found = at;
    unsigned line = 1;
    while (*path && found) {
        if (*path == '[') {
            found = skip_space(at + 1, end);
            for (unsigned long i = strtoul(path + 1, NULL, 10); i > 0; i--)
                found = skip_space(skip_value(found, end), end);
            path = strchr(path, ']') + 1;
            at = found;
        } else {
            size_t length = strcspn(path, ".[");
            if ((found = member(at, end, path, length)))
                at = skip_space(skip_space(skip_string(found, end), end) + 1, end);
            path += length;
        }
        path += *path == '.';
    }
    for (const char *s = text; s < at; s++)
        line += *s == '\n';
    return line;
}

/* ---- reading ---- */

struct reading {
    const char *text;
    size_t n;
    vs_policy_read *read;
    void *context;
    struct vs_policy policy;
    void *to;                            /* where a word, a flag or a number goes */
    struct vs_error *err;
    unsigned line;                       /* of what is wrong */
};

#define WRONG(r, path, ...) ((r)->line = line_of((r)->text, (r)->n, path), vs_error_set((r)->err, VS_E_INVALID, __VA_ARGS__))

static int no_memory(struct reading *r)
{
    return vs_error_set(r->err, VS_E_NOMEM, "out of memory");
}

static const struct row *row_find(const char *path)
{
    for (size_t i = 0; i < N_ROWS; i++)
        if (strcmp(rows[i].path, path) == 0)
            return &rows[i];
    return NULL;
}

/* Is path the beginning of others: an object? */
static bool is_group(const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < N_ROWS; i++)
        if (strncmp(rows[i].path, path, n) == 0 && rows[i].path[n] == '.')
            return true;
    return false;
}

/* The key of group ("" or "pii.") that may be meant by `key`; false when none is near. */
static bool sibling_like(const char *group, const char *key, char *ret, size_t size)
{
    size_t n = strlen(group);
    unsigned best = 3;
    for (size_t i = 0; i < N_ROWS; i++) {
        char name[PATH_BYTES];
        if (strncmp(rows[i].path, group, n) != 0)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(rows[i].path + n, "."), rows[i].path + n);
        unsigned unlike = vs_word_unlike(key, name);
        if (unlike < best) {
            best = unlike;
            snprintf(ret, size, "%s%s", group, name);
        }
    }
    return best < 3;
}

static int unknown_key(struct reading *r, const char *group, const char *key)
{
    char path[PATH_BYTES], near[PATH_BYTES];
    bool has_near = sibling_like(group, key, near, sizeof near);
    snprintf(path, sizeof path, "%s%s", group, strlen(key) < 64 && !strpbrk(key, ".[") ? key : "");
    return WRONG(r, path, "%s%.100s: there is no such key%s%s%s", group, vs_shown(key).text, has_near ? "; did you mean " : "",
                 has_near ? near : "", has_near ? "?" : "");
}

static int take_word(struct reading *r, const struct row *row, const json_t *value)
{
    char list[PATH_BYTES];
    unsigned found;
    if (!json_is_string(value))
        return WRONG(r, row->path, "%s: a text is needed: %s", row->path, words_listed(row->words, list, sizeof list));
    const char *word = json_string_value(value);
    if (strlen(word) != json_string_length(value) || !word_find(row->words, word, &found))
        return WRONG(r, row->path, "%s: \"%.60s\" is not %s", row->path, vs_shown(word).text,
                     words_listed(row->words, list, sizeof list));
    put(r->to, row, found);
    return VS_OK;
}

static int take_number(struct reading *r, const struct row *row, const json_t *value)
{
    json_int_t n = json_integer_value(value);
    if (json_is_integer(value) && n >= (json_int_t)row->low && n <= (json_int_t)row->high) {
        put(r->to, row, (uint64_t)n);
        return VS_OK;
    }
    if (row->low == row->high)
        return WRONG(r, row->path, "%s: only %llu is known", row->path, (unsigned long long)row->low);
    return WRONG(r, row->path, "%s: a whole number from %llu to %llu is needed", row->path, (unsigned long long)row->low,
                 (unsigned long long)row->high);
}

static int take_flag(struct reading *r, const struct row *row, const json_t *value)
{
    if (!json_is_boolean(value))
        return WRONG(r, row->path, "%s: true or false is needed", row->path);
    put(r->to, row, json_is_true(value));
    return VS_OK;
}

static int take_text(struct reading *r, const struct row *row, const json_t *value)
{
    const char *text = json_string_value(value);
    size_t n = json_string_length(value);
    if (!text || n > row->high || strlen(text) != n || vs_utf8_valid(text, n) != n)
        return WRONG(r, row->path, "%s: a text of at most %llu bytes is needed", row->path, (unsigned long long)row->high);
    memcpy((char *)&r->policy + row->at, text, n + 1);
    return VS_OK;
}

static bool type_find(const char *name, size_t n, unsigned *ret)
{
    for (*ret = 0; *ret < VS_N_PII; ++*ret)
        if (strlen(pii_names[*ret]) == n && memcmp(pii_names[*ret], name, n) == 0)
            return true;
    return false;
}

static const char *type_like(const char *name)
{
    const char *best = NULL;
    unsigned least = 3;
    for (unsigned i = 0; i < VS_N_PII; i++) {
        unsigned unlike = vs_word_unlike(name, pii_names[i]);
        if (unlike < least) {
            least = unlike;
            best = pii_names[i];
        }
    }
    return best;
}

static int take_types(struct reading *r, const struct row *row, const json_t *value)
{
    uint64_t types = 0;
    unsigned type;
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *entry = json_array_get(value, i);
        char path[PATH_BYTES];
        snprintf(path, sizeof path, "%s[%zu]", row->path, i);
        if (!json_is_string(entry))
            return WRONG(r, path, "%s: a text is needed: the name of a type", path);
        const char *name = json_string_value(entry);
        if (!type_find(name, json_string_length(entry), &type)) {
            const char *near = type_like(name);
            return WRONG(r, path, "%s: \"%.60s\" is not a type%s%s%s", path, vs_shown(name).text, near ? "; did you mean " : "",
                         near ? near : "", near ? "?" : "");
        }
        types |= UINT64_C(1) << type;
    }
    put(&r->policy, row, types);
    return VS_OK;
}

/* A copy of text[n] at the end of row's list. path: of the entry it comes from; where: what to say beside it, "" or " line 3". */
static int add_text(struct reading *r, const struct row *row, const char *path, const char *where, const char *text, size_t n)
{
    struct vs_policy_list *list = (struct vs_policy_list *)(void *)((char *)&r->policy + row->at);
    if (n < row->low || n > row->high)
        return WRONG(r, path, "%s:%s a text of %llu to %llu bytes is needed, this one has %zu", path, where,
                     (unsigned long long)row->low, (unsigned long long)row->high, n);
    if (memchr(text, 0, n))
        return WRONG(r, path, "%s:%s there is a NUL in the text", path, where);
    if (vs_utf8_valid(text, n) != n)
        return WRONG(r, path, "%s:%s the text is not UTF-8", path, where);
    size_t most = row->kind == KIND_SECRETS ? PROTECT_VALUES : LIST_MOST;
    if (list->n == most)
        return WRONG(r, path, "%s:%s there are more than %zu texts", path, where, most);
    char **grown = realloc(list->v, (list->n + 1) * sizeof *grown);
    if (!grown)
        return no_memory(r);
    list->v = grown;
    if (!(grown[list->n] = strndup(text, n)))
        return no_memory(r);
    list->n++;
    return VS_OK;
}

/* A value a line. Blank lines and the marks of PEM blocks, which are in every one of them, are no values. */
static int add_lines(struct reading *r, const struct row *row, const char *path, const char *text, size_t n)
{
    static const char marks[] = "-----";
    size_t n_values = 0, line = 1;
    for (size_t at = 0, length; at < n; at += length + 1, line++) {
        const char *end = memchr(text + at, '\n', n - at);
        length = end ? (size_t)(end - text) - at : n - at;
        size_t used = length > 0 && text[at + length - 1] == '\r' ? length - 1 : length;
        char where[40];
        snprintf(where, sizeof where, " line %zu of the file:", line);
        if (used == 0 || (used >= sizeof marks - 1 && memcmp(text + at, marks, sizeof marks - 1) == 0))
            continue;
        int rc = add_text(r, row, path, where, text + at, used);
        if (rc != VS_OK)
            return rc;
        n_values++;
    }
    return n_values > 0 ? VS_OK : WRONG(r, path, "%s: the file has no value in it", path);
}

static int add_file(struct reading *r, const struct row *row, const char *path, const char *file)
{
    struct vs_buf text = { .limit = VS_POLICY_FILE_MOST };
    struct vs_error why = { 0 };
    int rc = *file ? r->read(r->context, file, &text, &why) : VS_OK;
    if (!*file)
        rc = WRONG(r, path, "%s: a path is missing behind file:", path);
    else if (rc == VS_OK && text.status != VS_OK)
        rc = vs_error_set(r->err, text.status, "%s: %s", path, vs_status_text(text.status));
    else if (rc == VS_OK)
        rc = add_lines(r, row, path, text.data ? text.data : "", text.n);
    else
        vs_error_set(r->err, rc, "%s: %.400s", path, why.text);
    r->line = line_of(r->text, r->n, path);
    if (text.data)
        explicit_bzero(text.data, text.n);
    vs_buf_clear(&text);
    return rc;
}

static int take_texts(struct reading *r, const struct row *row, const json_t *value)
{
    static const char word[] = FILE_WORD;
    int rc = VS_OK;
    for (size_t i = 0; i < json_array_size(value) && rc == VS_OK; i++) {
        const json_t *entry = json_array_get(value, i);
        const char *text = json_string_value(entry);
        char path[PATH_BYTES];
        snprintf(path, sizeof path, "%s[%zu]", row->path, i);
        if (!text)
            rc = WRONG(r, path, "%s: a text is needed", path);
        else if (row->kind == KIND_SECRETS && r->read && strncmp(text, word, sizeof word - 1) == 0 &&
                 strlen(text) == json_string_length(entry))
            rc = add_file(r, row, path, text + sizeof word - 1);
        else
            rc = add_text(r, row, path, "", text, json_string_length(entry));
    }
    return rc;
}

static const struct vs_policy_limits unsaid = {
    VS_POLICY_UNSAID, VS_POLICY_UNSAID, VS_POLICY_UNSAID, VS_POLICY_UNSAID, VS_POLICY_UNSAID,
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct vs_policy_limits_of *)a)->name, ((const struct vs_policy_limits_of *)b)->name);
}

static int take_value(struct reading *r, const struct row *row, const json_t *value)
{
    static int (*const take[])(struct reading *, const struct row *, const json_t *) = {
        [KIND_WORD] = take_word, [KIND_UNSIGNED] = take_number, [KIND_U64] = take_number,
        [KIND_TYPES] = take_types, [KIND_TEXTS] = take_texts, [KIND_SECRETS] = take_texts,
        [KIND_FLAG] = take_flag, [KIND_TEXT] = take_text, [KIND_WORD64] = take_word,
    };
    if ((is_list(row) || row->kind == KIND_TYPES) && !json_is_array(value))
        return WRONG(r, row->path, "%s: a list is needed", row->path);
    return take[row->kind](r, row, value);
}

static int take_limit(struct reading *r, const char *of, const char *key, const json_t *value)
{
    char path[PATH_BYTES + 64];
    snprintf(path, sizeof path, "%s.%.60s", of, vs_shown(key).text);
    for (size_t i = 0; i < N_LIMIT_ROWS; i++)
        if (strcmp(limit_rows[i].path, key) == 0) {
            struct row row = limit_rows[i];
            row.path = path;
            return take_value(r, &row, value);
        }
    return WRONG(r, of, "%s: there is no such key; there are those of limits.default", path);
}

/* limits.keys: an object of objects, by the names of keys. */
static int take_limits(struct reading *r, const json_t *all)
{
    const char *name, *key;
    json_t *object, *value;
    size_t n = json_object_size(all);
    if (!json_is_object(all))
        return WRONG(r, LIMITS_OF_KEYS, LIMITS_OF_KEYS ": an object is needed");
    if (n > KEYS_MOST)
        return WRONG(r, LIMITS_OF_KEYS, LIMITS_OF_KEYS ": there are more than %d", KEYS_MOST);
    if (!(r->policy.limits.keys = calloc(n + 1, sizeof *r->policy.limits.keys)))
        return no_memory(r);
    json_object_foreach((json_t *)(uintptr_t)all, name, object) {
        char path[PATH_BYTES];
        snprintf(path, sizeof path, LIMITS_OF_KEYS ".%.64s", vs_shown(name).text);
        if (!vs_key_name_is_valid(name))
            return WRONG(r, LIMITS_OF_KEYS, "%s: that is not a key's name", path);
        if (!json_is_object(object))
            return WRONG(r, path, "%s: an object is needed", path);
        struct vs_policy_limits_of *of = &r->policy.limits.keys[r->policy.limits.n_keys++];
        snprintf(of->name, sizeof of->name, "%s", name);
        of->it = unsaid;
        r->to = &of->it;
        json_object_foreach(object, key, value) {
            int rc = take_limit(r, path, key, value);
            if (rc != VS_OK)
                return rc;
        }
        r->to = &r->policy;
    }
    qsort(r->policy.limits.keys, r->policy.limits.n_keys, sizeof *r->policy.limits.keys, by_name);
    return VS_OK;
}

/* group: "" or "injection.user.", what stands before the object's keys. */
static int take_object(struct reading *r, const char *group, const json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        char path[PATH_BYTES];
        int rc, n = snprintf(path, sizeof path - 1, "%s%s", group, key);
        const struct row *row = row_find(path);
        if (strcmp(path, LIMITS_OF_KEYS) == 0 && !strchr(key, '.')) {
            if ((rc = take_limits(r, value)) != VS_OK)
                return rc;
            continue;
        }
        if (n >= (int)sizeof path - 1 || strchr(key, '.') || (!row && !is_group(path)))
            return unknown_key(r, group, key);
        if (row) {
            rc = take_value(r, row, value);
        } else if (!json_is_object(value)) {
            rc = WRONG(r, path, "%s: an object is needed", path);
        } else {
            path[n] = '.';
            path[n + 1] = 0;
            rc = take_object(r, path, value);
        }
        if (rc != VS_OK)
            return rc;
    }
    return VS_OK;
}

int vs_policy_parse(const char *text, size_t n, vs_policy_read *read, void *context, struct vs_policy *ret, unsigned *ret_line,
                    struct vs_error *err)
{
    struct reading r = { .text = text, .n = n, .read = read, .context = context, .err = err };
    json_error_t e;
    int rc;
    vs_policy_default(&r.policy);
    r.to = &r.policy;
    *ret_line = 0;
    json_t *all = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    if (!all) {
        bool is_memory = json_error_code(&e) == json_error_out_of_memory;
        *ret_line = is_memory || e.line < 0 ? 0 : (unsigned)e.line;
        return is_memory ? no_memory(&r) : vs_error_set(err, VS_E_INVALID, "not JSON: %s", vs_shown(e.text).text);
    }
    rc = json_is_object(all) ? take_object(&r, "", all) : WRONG(&r, "", "a policy is a JSON object");
    json_decref(all);
    if (rc != VS_OK) {
        vs_policy_clear(&r.policy);
        *ret_line = r.line;
        return rc;
    }
    *ret = r.policy;
    return VS_OK;
}

/* ---- writing ---- */

static json_t *list_json(const struct vs_policy_list *list)
{
    json_t *all = json_array();
    for (size_t i = 0; i < list->n; i++)
        if (json_array_append_new(all, json_string(list->v[i])) != 0) {
            json_decref(all);
            return NULL;
        }
    return all;
}

static json_t *types_json(uint64_t types)
{
    json_t *all = json_array();
    for (unsigned i = 0; i < VS_N_PII; i++)
        if (types >> i & 1 && json_array_append_new(all, json_string(pii_names[i])) != 0) {
            json_decref(all);
            return NULL;
        }
    return all;
}

static json_t *value_json(const void *p, const struct row *row)
{
    size_t n;
    if (row->kind != KIND_WORD && row->kind != KIND_WORD64)
        return json_integer((json_int_t)get(p, row));
    const char *word = word_at(row->words, (unsigned)get(p, row), &n);
    return json_stringn(word, n);
}

static json_t *row_json(const struct vs_policy *p, const struct row *row, bool is_public)
{
    if (row->kind == KIND_SECRETS && is_public)
        return json_integer((json_int_t)list_of(p, row)->n);
    if (is_list(row))
        return list_json(list_of(p, row));
    if (row->kind == KIND_TYPES)
        return types_json(get(p, row));
    if (row->kind == KIND_FLAG)
        return json_boolean(get(p, row));
    if (row->kind == KIND_TEXT)
        return json_string((const char *)p + row->at);
    return value_json(p, row);
}

/* What it says; with what is unsaid from `all`, unless that is NULL. */
static json_t *limits_json(const struct vs_policy_limits *l, const struct vs_policy_limits *all)
{
    json_t *object = json_object();
    for (size_t i = 0; i < N_LIMIT_ROWS; i++) {
        bool is_said = get(l, &limit_rows[i]) != VS_POLICY_UNSAID;
        json_t *value = is_said || all ? value_json(is_said ? l : all, &limit_rows[i]) : NULL;
        if ((is_said || all) && json_object_set_new(object, limit_rows[i].path, value) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *keys_json(const struct vs_policy *p, const struct vs_policy_limits *all)
{
    json_t *object = json_object();
    for (size_t i = 0; i < p->limits.n_keys; i++)
        if (json_object_set_new(object, p->limits.keys[i].name, limits_json(&p->limits.keys[i].it, all)) != 0) {
            json_decref(object);
            return NULL;
        }
    return object;
}

json_t *vs_policy_limits_json(const struct vs_policy *p)
{
    return json_pack("{s:o, s:o}", "default", limits_json(&p->limits.all, &p->limits.all), "keys", keys_json(p, &p->limits.all));
}

/* Puts value at path ("injection.user.mode") below all; takes the reference. */
static bool set_at(json_t *all, const char *path, json_t *value)
{
    char key[PATH_BYTES];
    const char *dot;
    for (; (dot = strchr(path, '.')); path = dot + 1) {
        snprintf(key, sizeof key, "%.*s", (int)(dot - path), path);
        if (!json_object_get(all, key) && json_object_set_new(all, key, json_object()) != 0)
            break;
        all = json_object_get(all, key);
    }
    if (dot) {
        json_decref(value);
        return false;
    }
    return json_object_set_new(all, path, value) == 0;
}

/* is_public: without the protected values. */
static void format(const struct vs_policy *p, bool is_public, struct vs_buf *out)
{
    json_t *all = json_object();
    bool good = all != NULL;
    for (size_t i = 0; i < N_ROWS && good; i++)
        good = set_at(all, rows[i].path, row_json(p, &rows[i], is_public));
    good = good && set_at(all, LIMITS_OF_KEYS, keys_json(p, NULL));
    if (good)
        vs_json_dump(all, out);
    else if (out->status == VS_OK)
        out->status = VS_E_NOMEM;
    json_decref(all);
}

void vs_policy_format(const struct vs_policy *p, struct vs_buf *out)
{
    format(p, false, out);
}

int vs_policy_digest(const struct vs_policy *p, char ret[VS_POLICY_DIGEST])
{
    struct vs_buf text = { 0 };
    uint8_t sum[32];
    format(p, true, &text);
    int rc = text.status;
    if (rc == VS_OK) {
        vs_sha256_of(text.data, text.n, sum);
        vs_hex(sum, sizeof sum, ret);
    }
    vs_buf_clear(&text);
    return rc;
}
