/* filter/scan.c - see scan.h. */
#include "filter/scan.h"

#include "base/buf.h"
#include "filter/linear.h"
#include "filter/list.h"
#include "filter/rules.h"
#include "filter/view_parts.h"

#include <stdlib.h>
#include <string.h>

enum {
    MOST_MATCHES = 1024,                 /* of a view that are weighed at once; */
    KEPT_MATCHES = 256,                  /* so many of them once more, together with those that follow */
    ASIDE = 64,                          /* phrases of a view of a block that make others count less */
    TOGETHER = 32,                       /* rules that count together */
    TOLD = 250,                          /* from this weight on a rule is told */
    ABOUT = 1000,                        /* bytes around a match in which an `about` phrase says that it is spoken about */
    QUOTED = 4,                          /* then it counts for one in so many; */
    REPORTED = 2,                        /* what begins in a `reported` phrase for one in so many */
    HIDDEN = 450,                        /* score of text that nobody sees, whatever it says */
    SHORT = 600, DOUBLED = 4,            /* bytes of a text, which the model knows best; each doubling, at most so many, */
    UNSURE = 60,                         /* takes so much from what it says: of many sentences the highest score runs high */
    BESIDE = 750,                        /* thousandths of what rules say count beside the model, which knows their words, too */
    FEW = 6,                             /* words: from so many on, too */
    READABLE = 2,                        /* vs_english_pairs of what has words, for each byte; of English 6 to 14 */
    READABLE_GUESS = 5,
    SURE = 500,                          /* of the model: a harmless text seldom reaches it */
    MOST = 999,                          /* nobody is as sure as 1000, so that no text reaches that threshold */
    CALM = 200,                          /* attacks that rules find seldom stay below it, people who write to people do: */
    NEAR = 16,                           /* nor do these bytes around what rules found reach it; */
    CALMED = 2,                          /* then what rules say counts for one in so many */
    LISTED = 600,                        /* thousandths of what the model says of entries of a list: no sentence orders anything */
};

struct match { unsigned rule, weight; size_t start, end; };

struct vs_scan {
    struct vs_rules *rules;
    struct vs_views views;
    struct vs_buf masked;                /* the text without what the allow list names */
    struct match match[MOST_MATCHES];
    size_t n_matches;
    const struct where *where;           /* these matches are in */
    unsigned rules_score;                /* the best of those that were weighed, and where it is found: */
    size_t rules_start, rules_end;
    bool is_calmable;                    /* ... and by nothing but what the model may outweigh */
    const struct vs_scan_config *config;
    struct vs_scan_result *ret;
};

/* What a place of the text is called to the outside. */
struct where {
    const struct vs_reading *view;       /* NULL: the block itself */
    size_t block;                        /* where the block begins in the text */
    const char *text;
    size_t n;
};

int vs_scan_create(struct vs_rules *rules, struct vs_scan **ret)
{
    struct vs_scan *s = calloc(1, sizeof *s);
    if (!s)
        return VS_E_NOMEM;
    s->rules = rules;
    *ret = s;
    return VS_OK;
}

void vs_scan_free(struct vs_scan *s)
{
    if (!s)
        return;
    vs_views_clear(&s->views);
    vs_buf_clear(&s->masked);
    free(s);
}

/* ---- findings ---- */

static void tell(struct vs_scan *s, const struct vs_finding *finding)
{
    struct vs_scan_result *ret = s->ret;
    for (size_t i = 0; i < ret->n; i++) {
        struct vs_finding *old = &ret->found[i];
        if (old->kind == finding->kind && old->rule == finding->rule && old->start < finding->end && finding->start < old->end)
            return;                      /* seen in another view, in the other block, or with another end */
    }
    if (ret->n < VS_SCAN_FOUND)
        ret->found[ret->n++] = *finding;
    else
        ret->more++;
}

static void tell_injection(struct vs_scan *s, const struct where *w, const char *type, const char *rule, unsigned score,
                           size_t start, size_t end)
{
    enum vs_reading_step step = VS_READING_PLAIN;
    if (w->view)
        vs_reading_place(w->view, start, end, &start, &end, &step);
    tell(s, &(struct vs_finding){ VS_FOUND_INJECTION, type, rule, vs_reading_step_names[step], w->block + start, w->block + end,
                                  score });
}

static unsigned most(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

/* ---- rules ---- */

static bool is_allowed(const struct vs_scan *s, const char *id)
{
    for (size_t i = 0; i < s->config->n_allow; i++)
        if (strcmp(s->config->allow[i], id) == 0)
            return true;
    return false;
}

static enum vs_rule_class class_of(const struct vs_scan *s, const struct match *m)
{
    return vs_rules_table(s->rules)->rule[m->rule].class;
}

static bool is_quote(const struct where *w, size_t i)
{
    const char *t = w->text + i;
    return t[0] == '"' || t[0] == '`' || (t[0] == '\'' && (!i || !vs_ascii_letter(t[-1])))
        || (w->n - i > 2 && memcmp(t, "\xe2\x80", 2) == 0 && strchr("\x98\x9c\x9e", t[2]) && t[2])
        || (w->n - i > 1 && memcmp(t, "\xc2\xab", 2) == 0) || (w->n - i > 2 && memcmp(t, "\xe3\x80\x8c", 3) == 0);
}

/* Is there a quotation mark on the same line, not far before it? */
static bool is_quoted(const struct where *w, const struct match *m)
{
    size_t low = m->start > 160 ? m->start - 160 : 0;
    for (size_t i = m->start; i > low && w->text[i - 1] != '\n'; i--)
        if (is_quote(w, i - 1))
            return true;
    return false;
}

/* What is spoken about, and what begins in something harmless, counts less or not. */
static void weigh(struct vs_scan *s, const struct where *w)
{
    const struct match *said[ASIDE];
    unsigned n_said = 0;
    bool content = s->config->zone == VS_ZONE_RETRIEVED || s->config->zone == VS_ZONE_TOOL;
    for (size_t i = 0; i < s->n_matches && n_said < ASIDE; i++)
        if (class_of(s, &s->match[i]) >= VS_RULE_HARMLESS)
            said[n_said++] = &s->match[i];
    for (size_t i = 0; i < s->n_matches; i++) {
        struct match *m = &s->match[i];
        bool about = false, reported = false;
        m->weight = class_of(s, m) < VS_RULE_HARMLESS ? vs_rules_table(s->rules)->rule[m->rule].weight[content] : 0;
        for (unsigned k = 0; k < n_said && m->weight; k++) {
            const struct match *o = said[k];
            if (class_of(s, o) == VS_RULE_ABOUT)
                about = about || (o->start < m->end + ABOUT && m->start < o->end + ABOUT);
            else if (o->start <= m->start && m->start < o->end && class_of(s, o) == VS_RULE_REPORTED)
                reported = true;
            else if (o->start <= m->start && m->start < o->end)
                m->weight = 0;
        }
        if (reported)
            m->weight /= REPORTED;
        if (about && m->weight && is_quoted(w, m))
            m->weight /= QUOTED;
    }
}

static int by_start(const void *a, const void *b)
{
    const struct match *x = a, *y = b;
    return x->start != y->start ? (x->start < y->start ? -1 : 1) : x->rule != y->rule ? (x->rule < y->rule ? -1 : 1) : 0;
}

/* People tell people, too, to forget what was said before; of other orders, and in languages of which it has learned little, that
 * the model sees no attack says nothing. */
static bool may_be_calm(const struct vs_scan *s, const struct match *m)
{
    static const char learned[] = "ar- de- es- fr- hi- it- ja- ko- nl- pl- pt- ru- tr- zh-";
    const char *id = vs_rules_table(s->rules)->rule[m->rule].id;
    char language[] = { id[0], id[1], '-', 0 };
    if (class_of(s, m) == VS_RULE_LANGUAGE)
        return strlen(id) > 2 && id[2] == '-' && strstr(learned, language);
    return class_of(s, m) == VS_RULE_OVERRIDE;
}

/* The best that rules say together within a window, and where. */
static void best_window(struct vs_scan *s)
{
    for (size_t i = 0; i < s->n_matches; i++) {
        unsigned seen[TOGETHER], n = 0, left = 1000;
        size_t start = s->match[i].start, end = start;
        bool is_calmable = true;
        for (size_t k = i; k < s->n_matches && s->match[k].start < s->match[i].start + VS_SCAN_WINDOW && n < TOGETHER; k++) {
            const struct match *m = &s->match[k];
            bool again = false;
            for (unsigned j = 0; j < n && !again; j++)
                again = seen[j] == m->rule;
            if (again || !m->weight)
                continue;
            start = n ? start : m->start;
            end = m->end > end ? m->end : end;
            is_calmable &= may_be_calm(s, m);
            seen[n++] = m->rule;
            left = left * (1000 - m->weight) / 1000;
        }
        if (1000 - left > s->rules_score) {
            s->rules_score = 1000 - left;
            s->rules_start = start;
            s->rules_end = end;
            s->is_calmable = is_calmable;
        }
    }
}

/* Weighs the matches, and tells of them. The last `kept` stay. */
static void settle(struct vs_scan *s, size_t kept)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_matches; i++)
        if (!s->config->n_allow || !is_allowed(s, vs_rules_table(s->rules)->rule[s->match[i].rule].id))
            s->match[n++] = s->match[i];
    s->n_matches = n;
    weigh(s, s->where);
    qsort(s->match, s->n_matches, sizeof *s->match, by_start);
    best_window(s);
    for (size_t i = 0; i < s->n_matches; i++) {
        const struct match *m = &s->match[i];
        if (m->weight >= TOLD)
            tell_injection(s, s->where, vs_rule_class_names[class_of(s, m)], vs_rules_table(s->rules)->rule[m->rule].id, m->weight,
                           m->start, m->end);
    }
    kept = kept < s->n_matches ? kept : s->n_matches;
    memmove(s->match, s->match + s->n_matches - kept, kept * sizeof *s->match);
    s->n_matches = kept;
}

static void on_match(void *arg, unsigned rule, size_t start, size_t end)
{
    struct vs_scan *s = arg;
    for (size_t i = s->n_matches; i && s->match[i - 1].end + 64 > start; i--)
        if (s->match[i - 1].rule == rule && s->match[i - 1].start == start) {
            s->match[i - 1].end = end > s->match[i - 1].end ? end : s->match[i - 1].end;
            return;                      /* the same with another end */
        }
    if (s->n_matches == MOST_MATCHES)    /* or a text of words that say little would hide what follows */
        settle(s, KEPT_MATCHES);
    s->match[s->n_matches++] = (struct match){ .rule = rule, .start = start, .end = end };
}

static int scan_rules(struct vs_scan *s, const struct where *w, unsigned *ret_score)
{
    s->n_matches = 0;
    s->where = w;
    s->rules_score = 0;
    s->is_calmable = false;              /* nothing is found in this one yet: the rest speaks of another */
    int r = vs_rules_scan(s->rules, w->text, w->n, on_match, s);
    if (r == VS_OK && s->n_matches)
        settle(s, 0);
    *ret_score = s->rules_score;
    return r;
}

/* ---- the model ---- */

/* What the model's score is worth of a text of n bytes, without rules. */
static unsigned worth_of(unsigned score, size_t n)
{
    unsigned less = 0;
    size_t step = SHORT;
    for (unsigned i = 0; i < DOUBLED && n > step; i++, step *= 2)
        less += n >= 2 * step ? UNSURE : (unsigned)(UNSURE * (n - step) / step);
    return score > less ? score - less : 0;
}

/* The model knows words. What has none of them (escapes, digits, spaced letters) is no text to it: the views of that are. And
 * shifted or reversed text is found by how it reads; what still reads badly is a guess: source code, tables. */
static bool is_readable(const struct where *w, struct vs_survey *ret)
{
    size_t guessed = 0;
    for (size_t i = 0; w->view && i < w->n; i++)
        guessed += w->view->step[i] >= VS_READING_SHIFTED;
    vs_survey_make(&(struct vs_source){ w->text, w->n, NULL }, ret);
    if (4 * (size_t)ret->foreign > w->n)
        return true;                     /* of another script */
    return ret->plain >= (2 * guessed > w->n ? READABLE_GUESS : READABLE) * (int)w->n && 8 * (size_t)ret->singles < w->n + 16
        && 12 * (size_t)ret->leet < w->n + 36;
}

/* Words of the text, at most FEW: of other scripts each character may be a word. */
static unsigned words_of(const struct where *w)
{
    unsigned words = 0;
    bool inside = false;
    for (size_t i = 0; i < w->n && words < FEW; i++) {
        bool letter = vs_ascii_letter(w->text[i]), lead = ((uint8_t)w->text[i] & 0xc0) == 0xc0;
        words += lead || (letter && !inside);
        inside = letter;
    }
    return words;
}

/* What the model says of a text; calm: it was asked about enough words, and no sentence, window or whole is like an attack. */
struct opinion {
    struct vs_linear_scores scores;
    bool is_asked, is_calm;
};

static bool is_calm(const struct vs_linear_scores *s)
{
    return s->sentence < CALM && s->window < CALM && s->whole < CALM;
}

/* Nor are the words around what rules found in w? Else an order among enough friendly words would be calm. */
static bool is_calm_near(const struct vs_scan *s, const struct where *w)
{
    struct vs_linear_scores scores;
    size_t start = s->rules_start > NEAR ? s->rules_start - NEAR : 0, end = w->n - s->rules_end > NEAR ? s->rules_end + NEAR : w->n;
    while (start && start < s->rules_start && w->text[start - 1] != ' ')
        start++;
    while (end < w->n && end > s->rules_end && w->text[end] != ' ')
        end--;
    vs_linear_score(w->text + start, end - start, s->config->check, &scores);
    return is_calm(&scores);
}

/* One word is no sentence: a role, a name of a tool's parameter; the model knows words one by one, and would be sure of
 * "assistant". And of "and now" its sentence, window and whole are the same few words, which prove nothing by agreeing: such a text
 * counts as far as it has FEW words. *ret_survey: of w, whatever the model is asked. */
static void ask_model(const struct vs_scan *s, const struct where *w, struct opinion *ret, struct vs_survey *ret_survey)
{
    struct vs_linear_scores *scores = &ret->scores;
    *ret = (struct opinion){ 0 };
    unsigned words = words_of(w);
    if (!is_readable(w, ret_survey) || words < 2 || (s->config->n_allow && is_allowed(s, "linear")))
        return;
    vs_linear_score(w->text, w->n, s->config->check, scores);
    ret->is_calm = words == FEW && is_calm(scores);
    scores->score = scores->score * words / FEW;
    ret->is_asked = true;
}

/* Both together count, but no less than rules by themselves; the model is told where it is sure. It was asked about `w`; rules
 * looked at a part of it, s->where. */
static void count_both(struct vs_scan *s, const struct where *w, unsigned rules, const struct opinion *model)
{
    unsigned worth = model->is_asked ? worth_of(model->scores.score, w->n) : 0;
    if (worth >= SURE && rules < TOLD && vs_is_list(w->text, w->n))
        worth = worth * LISTED / 1000;
    rules = model->is_calm && s->is_calmable && is_calm_near(s, s->where) ? rules / CALMED : rules;
    unsigned score = most(rules, worth + (model->is_asked ? rules * BESIDE / 1000 : 0));
    s->ret->score = most(s->ret->score, score < MOST ? score : MOST);
    if (worth >= SURE)
        tell_injection(s, w, "model", "linear", worth < MOST ? worth : MOST, model->scores.start, model->scores.end);
}

/* ---- a text ---- */

/* A part of `whole`; model, survey: what was said of that. */
static int scan_block(struct vs_scan *s, const struct where *whole, size_t block, size_t n, const struct opinion *model,
                      const struct vs_survey *survey)
{
    struct vs_survey of_block;
    struct where w = { NULL, block, whole->text + block, n };
    struct opinion of_view;
    unsigned score;
    int r = scan_rules(s, &w, &score);
    if (r == VS_OK)
        count_both(s, whole, score, model);
    if (r == VS_OK)
        r = vs_views_make(&s->views, w.text, n, n == whole->n ? survey : NULL);
    for (unsigned i = 0; i < s->views.n && r == VS_OK; i++) {
        const struct vs_reading *view = &s->views.view[i];
        w = (struct where){ view, block, view->text.data, view->text.n };
        r = scan_rules(s, &w, &score);
        ask_model(s, &w, &of_view, &of_block);
        count_both(s, &w, score, &of_view);
    }
    if (s->views.hidden && r == VS_OK) {
        s->ret->score = s->ret->score > HIDDEN ? s->ret->score : HIDDEN;
        tell(s, &(struct vs_finding){ VS_FOUND_INJECTION, "marker", "hidden-text", "tags", block, block + n, HIDDEN });
    }
    return r;
}

/* Where the next block begins: at a blank within what two blocks share, else so that encodings go on in step. */
static size_t next_block(const char *text, size_t block, size_t end)
{
    enum { STEP = 120 };                 /* a multiple of the digits that base64, base32, hex and \u take */
    size_t low = end - VS_SCAN_OVERLAP;
    for (size_t i = low + VS_SCAN_OVERLAP / 2; i > low; i--)
        if (text[i - 1] == ' ' || text[i - 1] == '\n')
            return i;
    return block + (low - block) / STEP * STEP;
}

enum { UNITS = 8 };                      /* of work for a byte of a block */

static int scan_injection(struct vs_scan *s, const char *text, size_t n)
{
    struct where whole = { NULL, 0, text, n };
    struct opinion model;
    struct vs_survey survey;
    ask_model(s, &whole, &model, &survey);
    for (size_t block = 0; block < n;) {
        size_t end = n - block > VS_VIEWS_BLOCK ? block + VS_VIEWS_BLOCK : n;
        while (end < n && end > block + 1 && ((uint8_t)text[end] & 0xc0) == 0x80 && end + 4 > block + VS_VIEWS_BLOCK)
            end--;                       /* not within a character */
        int r = scan_block(s, &whole, block, end - block, &model, &survey);
        if (r != VS_OK)
            return r;
        vs_check_work(s->config->check, UNITS * (end - block));
        block = end == n ? n : next_block(text, block, end);
        while (block < n && ((uint8_t)text[block] & 0xc0) == 0x80)
            block++;
    }
    return VS_OK;
}

/* The text without what the allow list names: there stand blanks in its place. */
static int mask(struct vs_scan *s, const char **text, size_t n)
{
    bool masked = false;
    for (size_t i = 0; i < s->config->n_allow; i++) {
        const char *allowed = s->config->allow[i];
        size_t length = strlen(allowed);
        for (size_t at = 0; length && length <= n - at;) {
            const char *found = memmem((masked ? s->masked.data : *text) + at, n - at, allowed, length);
            if (!found)
                break;
            at = (size_t)(found - (masked ? s->masked.data : *text));
            if (!masked) {
                vs_buf_reset(&s->masked);
                vs_buf_add(&s->masked, *text, n);
                if (s->masked.status != VS_OK)
                    return s->masked.status;
                masked = true;
            }
            memset(s->masked.data + at, ' ', length);
            at += length;
        }
    }
    *text = masked ? s->masked.data : *text;
    return VS_OK;
}

struct detecting { struct vs_scan *s; size_t open; const char *rule; };       /* open: where the marker of an open span ends */

static void on_span(void *arg, const struct vs_span *span)
{
    struct detecting *d = arg;
    struct vs_finding finding = { span->kind, vs_finding_type(span->kind, span->type), span->rule, "plain", span->start, span->end,
                                  span->score };
    tell(d->s, &finding);
    if (span->open) {
        d->open = span->end;
        d->rule = span->rule;
    }
}

/* All spans of one detector; it goes on behind the end of each that was told open. */
static void detect(struct vs_scan *s, const struct vs_detector *detector, const char *text, size_t n)
{
    for (size_t from = 0; from < n;) {
        struct detecting d = { s, SIZE_MAX, NULL };
        detector->find(detector, text, n, from, true, on_span, &d);
        if (d.open == SIZE_MAX || !detector->closed)
            return;
        size_t end = detector->closed(detector, d.rule, text, n, d.open);
        end = end == SIZE_MAX || end > n ? n : end;
        for (size_t i = 0; i < s->ret->n; i++)
            if (s->ret->found[i].end == d.open && s->ret->found[i].rule == d.rule)
                s->ret->found[i].end = end;
        from = end > from ? end : n;
    }
}

int vs_scan_text(struct vs_scan *s, const struct vs_scan_config *config, const char *text, size_t n, struct vs_scan_result *ret)
{
    int r = n > UINT32_MAX ? VS_E_LIMIT : VS_OK;
    *ret = (struct vs_scan_result){ 0 };
    s->config = config;
    s->ret = ret;
    for (size_t i = 0; i < config->n_detectors && r == VS_OK; i++)
        detect(s, config->detectors[i], text, n);
    if (r == VS_OK && config->injection && config->zone != VS_ZONE_SYSTEM && n) {
        r = config->n_allow ? mask(s, &text, n) : VS_OK;
        if (r == VS_OK)
            r = scan_injection(s, text, n);
    }
    ret->flagged = ret->score >= config->threshold;
    return r;
}
