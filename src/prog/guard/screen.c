/* prog/guard/screen.c - see screen.h */
#include "prog/guard/screen.h"

#include "filter/control.h"
#include "ipc/envelope.h"
#include "ipc/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is looked for ---- */

enum { PII, SECRETS, PROTECT, URLS, CONTROL };          /* places of detectors */

static enum vs_stream_action action_of(enum vs_policy_mode mode)
{
    return mode == VS_POLICY_REDACT ? VS_STREAM_REPLACE : mode == VS_POLICY_BLOCK ? VS_STREAM_BLOCK : VS_STREAM_PASS;
}

static void look_for(struct looking *l, enum vs_finding_kind kind, enum vs_policy_mode mode, const struct vs_detector *d)
{
    bool strict = mode >= VS_POLICY_REDACT;
    l->mode[kind] = mode;
    if (mode == VS_POLICY_OFF || !d)
        return;
    l->config.action[kind] = kind == VS_FOUND_CONTROL ? VS_STREAM_REMOVE : action_of(mode);
    l->is_strict |= strict;
    l->hides |= strict && kind != VS_FOUND_CONTROL;
    l->detectors[l->n++] = d;
}

/* Of what an answer may have: to the stream when it may not stay, else it is watched. */
static void look_in_answers(struct looking side[N_SIDES], enum vs_finding_kind kind, enum vs_policy_mode mode,
                            const struct vs_detector *d)
{
    side[SIDE_STREAM].mode[kind] = side[SIDE_WATCH].mode[kind] = mode;
    look_for(&side[mode >= VS_POLICY_REDACT ? SIDE_STREAM : SIDE_WATCH], kind, mode, d);
}

static void set_up_sides(struct screen *s, const uint8_t key[VS_REDACT_KEY])
{
    const struct vs_policy *p = &s->policy;
    const struct vs_detector *protect = s->protect ? &s->detector[PROTECT] : NULL;
    enum vs_policy_mode urls = p->output.urls == VS_POLICY_URLS_LIST ? VS_POLICY_REDACT : VS_POLICY_OFF;
    enum vs_policy_mode control = p->output.control == VS_POLICY_CONTROL_STRIP ? VS_POLICY_REDACT : VS_POLICY_OFF;
    const struct { enum vs_finding_kind kind; enum vs_policy_mode input, output; const struct vs_detector *detector; } rows[] = {
        { VS_FOUND_PII, p->pii.input, p->pii.output, &s->detector[PII] },
        { VS_FOUND_SECRET, p->secrets.input, p->secrets.output, &s->detector[SECRETS] },
        { VS_FOUND_PROTECTED, p->secrets.input, p->secrets.output, protect },
        { VS_FOUND_URL, VS_POLICY_OFF, urls, &s->detector[URLS] },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        look_for(&s->side[SIDE_INPUT], rows[i].kind, rows[i].input, rows[i].detector);
        look_for(&s->side[SIDE_RESULT], rows[i].kind, rows[i].output, rows[i].detector);
        look_in_answers(s->side, rows[i].kind, rows[i].output, rows[i].detector);
    }
    look_in_answers(s->side, VS_FOUND_CONTROL, control, &s->detector[CONTROL]);      /* results are data: a terminal gets answers */
    for (int i = 0; i < N_SIDES; i++) {
        s->side[i].config.style = (enum vs_redact_style)p->pii.style;    /* one order: policy.h, redact.h */
        memcpy(s->side[i].config.key, key, VS_REDACT_KEY);
    }
}

struct vs_stream_config looking_config(const struct looking *l)
{
    struct vs_stream_config config = l->config;
    config.detectors = l->detectors;
    config.n_detectors = l->n;
    return config;
}

/* The values that are to be protected, as their detector takes them. VS_E_INVALID, VS_E_NOMEM. */
static int set_up_protect(struct screen *s, struct vs_error *err)
{
    const struct vs_policy_list *values = &s->policy.secrets.protect;
    struct vs_protected *list = calloc(values->n + 1, sizeof *list);
    if (!list)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    for (size_t i = 0; i < values->n; i++)
        list[i] = (struct vs_protected){ values->v[i], strlen(values->v[i]) };
    s->protect = values->n ? vs_protect_create(list, values->n) : NULL;
    free(list);
    if (values->n && !s->protect)
        return vs_error_set(err, VS_E_INVALID, "secrets.protect: at most %d values of %d to %d bytes", VS_PROTECT_VALUES,
                            VS_PROTECT_LEAST, VS_PROTECT_MOST);
    if (s->protect)
        s->detector[PROTECT] = vs_protect_detector(s->protect);
    return VS_OK;
}

enum {
    SHORTEST = 4,                       /* bytes of a text in which something can be found, */
    LONG_NUMBER = 13,                   /* digits of a number */
    MOST_HARMLESS = 64,                 /* names that are remembered */
};
#define FEW_DIGITS 1e10                 /* below this it has fewer, however it is rounded */

/* The names of results are always the same ones, and what is found in one depends on it and on the policy alone. */
struct harmless {
    unsigned n;
    char name[MOST_HARMLESS][IN_WORD];
};

_Static_assert((int)VS_POLICY_LABEL == (int)VS_REDACT_LABEL && (int)VS_POLICY_MASK == (int)VS_REDACT_MASK
               && (int)VS_POLICY_HASH == (int)VS_REDACT_HASH, "styles have one order");

int screen_create(const char *text, size_t n, const uint8_t key[VS_REDACT_KEY], struct vs_scan *scan, struct vs_check *rest,
                  struct screen **ret, struct vs_error *err)
{
    struct screen *s = calloc(1, sizeof *s);
    char digest[VS_POLICY_DIGEST];
    unsigned line;
    int rc = s ? vs_policy_parse(text, n, NULL, NULL, &s->policy, &line, err) : vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (rc == VS_OK)
        rc = vs_policy_digest(&s->policy, digest);
    if (rc == VS_OK)
        rc = set_up_protect(s, err);
    if (rc != VS_OK) {
        screen_unref(s);
        return rc;
    }
    s->n_users = 1;
    s->harmless = calloc(1, sizeof *s->harmless);        /* NULL: each name is looked at again */
    memcpy(s->digest, digest, sizeof s->digest - 1);
    vs_pii_init(&s->pii, s->policy.pii.types);
    vs_secrets_init(&s->secrets);
    s->detector[PII] = vs_pii_detector(&s->pii);
    s->detector[SECRETS] = vs_secrets_detector(&s->secrets);
    s->urls = (struct vs_urls){ VS_URLS_LIST, (const char *const *)s->policy.output.url_allow.v, s->policy.output.url_allow.n };
    s->detector[URLS] = vs_urls_detector(&s->urls);
    s->detector[CONTROL] = vs_control_detector;
    s->scan = scan;
    s->rest = rest;
    s->all[s->n_all++] = &s->detector[PII];
    s->all[s->n_all++] = &s->detector[SECRETS];
    if (s->protect)
        s->all[s->n_all++] = &s->detector[PROTECT];
    set_up_sides(s, key);
    *ret = s;
    return VS_OK;
}

struct screen *screen_ref(struct screen *s)
{
    s->n_users++;
    return s;
}

void screen_unref(struct screen *s)
{
    if (!s || (s->n_users && --s->n_users))
        return;
    vs_protect_free(s->protect);
    vs_policy_clear(&s->policy);
    free(s->harmless);
    free(s);
}

struct prompted *screen_prompted(const struct screen *s, const char *system, size_t n, bool *ret_failed)
{
    *ret_failed = false;
    if (s->policy.output.system_prompt == VS_POLICY_OFF || n < VS_PROMPT_RUN)
        return NULL;
    struct prompted *p = calloc(1, sizeof *p);
    if (p)
        p->prompt = vs_prompt_create(system, n, s->rest);
    if (!p || !p->prompt) {
        free(p);
        *ret_failed = true;
        return NULL;
    }
    p->detector = vs_prompt_detector(p->prompt);
    memcpy(p->side, s->side, sizeof p->side);
    look_in_answers(p->side, VS_FOUND_SYSTEM_PROMPT, s->policy.output.system_prompt, &p->detector);
    return p;
}

void prompted_free(struct prompted *p)
{
    if (!p)
        return;
    vs_prompt_free(p->prompt);
    free(p);
}

void redactor_init(struct redactor *r, const struct screen *s, const uint32_t *some, enum vs_redact_style style,
                   const uint8_t key[VS_REDACT_KEY])
{
    bool is_all = !some;
    uint32_t types = is_all ? s->policy.pii.types : *some;
    vs_pii_init(&r->pii, types);
    vs_secrets_init(&r->secrets);
    r->detector[PII] = vs_pii_detector(&r->pii);
    r->detector[SECRETS] = vs_secrets_detector(&r->secrets);
    r->config = (struct vs_stream_config){ .detectors = r->detectors, .style = style };
    if (types & ~VS_PII_BIT(VS_PII_API_KEY))
        r->detectors[r->config.n_detectors++] = &r->detector[PII];
    if (types & VS_PII_BIT(VS_PII_API_KEY))
        r->detectors[r->config.n_detectors++] = &r->detector[SECRETS];
    if (is_all && s->protect)
        r->detectors[r->config.n_detectors++] = &s->detector[PROTECT];
    if (is_all && s->policy.output.urls == VS_POLICY_URLS_LIST)
        r->detectors[r->config.n_detectors++] = &s->detector[URLS];
    r->first = is_all && s->policy.output.control == VS_POLICY_CONTROL_STRIP ? &s->detector[CONTROL] : NULL;
    for (unsigned i = 0; i < VS_N_FOUND; i++)
        r->config.action[i] = VS_STREAM_REPLACE;
    memcpy(r->config.key, key, sizeof r->config.key);
}

/* ---- verdicts ---- */

bool in_is_word(const char *key)
{
    size_t n = 0;
    while (n <= IN_WORD && (((uint8_t)(key[n] | 32) >= 'a' && (uint8_t)(key[n] | 32) <= 'z') || key[n] == '_'))
        n++;
    return n && !key[n] && n <= IN_WORD;
}

size_t in_add(char in[IN_BYTES], const char *key)
{
    size_t n = strlen(in), at = n;
    for (const char *dot = n ? "." : ""; *dot && at + 1 < IN_BYTES; dot++)
        in[at++] = *dot;
    for (const char *word = in_is_word(key) ? key : "*"; *word && at + 1 < IN_BYTES; word++)
        in[at++] = *word;
    in[at] = 0;
    return n;
}

void verdict_note(struct verdict *v, enum vs_policy_mode mode, const struct vs_finding *finding, const char *in)
{
    v->done = mode > v->done ? mode : v->done;
    if (v->n == MAX_FINDINGS) {
        v->more++;
        return;
    }
    v->found[v->n].finding = *finding;
    v->found[v->n].mode = mode;
    snprintf(v->found[v->n++].in, IN_BYTES, "%s", in);
}

json_t *finding_json(const struct vs_finding *f, const char *in)
{
    json_t *value = json_pack("{s:s, s:s, s:s, s:I, s:I, s:i, s:s}", "kind", vs_finding_kind_name(f->kind), "type", f->type, "rule",
                              f->rule, "start", (json_int_t)f->start, "end", (json_int_t)f->end, "score", (int)f->score, "view",
                              f->view ? f->view : "plain");
    if (in && *in)
        json_object_set_new(value, "in", json_string(in));
    return value;
}

void verdict_format(const struct verdict *v, const struct screen *s, char *ret, size_t n)
{
    struct vs_buf out = { .limit = n - 1 };
    ret[0] = 0;
    if (v->done < VS_POLICY_WARN)
        return;
    for (unsigned most = v->n; ret[0] == 0; most--) {
        json_t *findings = json_array();
        for (unsigned i = 0; i < most; i++)
            if (v->found[i].mode >= VS_POLICY_WARN)     /* of others only the log is told */
                json_array_append_new(findings, finding_json(&v->found[i].finding, v->found[i].in));
        json_t *value = json_pack("{s:s, s:o, s:s}", "action", vs_policy_mode_name(v->done), "findings", findings, "policy",
                                  s->digest);
        if (v->more + v->n - most)
            json_object_set_new(value, "more", json_integer(v->more + v->n - most));
        vs_buf_reset(&out);
        vs_json_dump(value, &out);
        json_decref(value);
        if (out.status == VS_OK)
            memcpy(ret, out.data, out.n + 1);
        if (most == 0)
            break;
    }
    vs_buf_clear(&out);
}

/* ---- whole texts ---- */

enum {
    SLICE = 8192,                       /* bytes that are looked at before others may go on */
    UNITS = 4,                          /* of work for a byte */
};

struct whole {
    const size_t *border;               /* [n_borders]; NULL: all findings are told */
    size_t n_borders;
    bool refuses;                       /* a finding across a border may not stay */
    const struct screen *screen;
    enum side side;
    const char *in;
    struct verdict *verdict;
    struct vs_buf *out;
    bool changed;
};

static void on_piece(void *arg, const struct vs_piece *piece)
{
    struct whole *w = arg;
    w->changed |= piece->finding != NULL;
    if (w->out)
        vs_buf_add(w->out, piece->bytes, (size_t)(piece->out_end - piece->out_start));
}

static bool lies_across(const struct whole *w, const struct vs_finding *finding)
{
    size_t low = 0, high = w->n_borders;
    while (low < high) {                 /* the first border behind its beginning */
        size_t middle = low + (high - low) / 2;
        if (w->border[middle] > finding->start)
            high = middle;
        else
            low = middle + 1;
    }
    return low < w->n_borders && w->border[low] < finding->end;
}

static void on_found(void *arg, const struct vs_finding *finding, enum vs_stream_action action)
{
    struct whole *w = arg;
    if (w->border && !lies_across(w, finding))
        return;
    w->refuses |= action != VS_STREAM_PASS;
    verdict_note(w->verdict, w->screen->side[w->side].mode[finding->kind], finding, w->in);
}

/* False: it is blocked, or there was no memory. */
static bool look_at(struct whole *w, const char *text, size_t n)
{
    const struct screen *s = w->screen;
    const struct vs_stream_sink sink = { w, on_piece, on_found };
    const struct vs_stream_config config = looking_config(&s->side[w->side]);
    struct vs_stream *stream = vs_stream_create(&config, &sink);
    if (!stream)
        return false;
    for (size_t at = 0, piece; at < n; at += piece) {
        piece = n - at < SLICE ? n - at : SLICE;
        vs_stream_push(stream, text + at, piece, at + piece == n);
        vs_check_work(s->rest, UNITS * piece);
    }
    bool passed = !vs_stream_blocked(stream);
    vs_stream_free(stream);
    return passed;
}

bool screen_text(const struct screen *s, enum side side, const char *text, size_t n, const char *in, struct verdict *v,
                 struct vs_buf *out, bool *ret_changed)
{
    struct whole w = { .screen = s, .side = side, .in = in, .verdict = v, .out = out };
    *ret_changed = false;
    if (!s->side[side].n) {
        if (out)
            vs_buf_add(out, text, n);
        return true;
    }
    bool passed = look_at(&w, text, n);
    *ret_changed = w.changed || !passed;
    return passed;
}

bool screen_across(const struct screen *s, enum side side, const char *text, size_t n, const size_t *border, size_t n_borders,
                   const char *in, struct verdict *v)
{
    struct whole w = { .border = border, .n_borders = n_borders, .screen = s, .side = side, .in = in, .verdict = v };
    return !s->side[side].n || (look_at(&w, text, n) && !w.refuses);
}

/* ---- injections ---- */

bool screen_looks(const struct screen *s)
{
    bool looks = s->side[SIDE_INPUT].n || s->policy.output.system_prompt != VS_POLICY_OFF;
    for (int i = 0; i < VS_N_ZONES; i++)
        looks |= s->policy.injection.zone[i].mode != VS_POLICY_OFF;
    return looks;
}

bool screen_injection_in(const struct screen *s, enum vs_zone zone, const char *text, size_t n, screen_place_fn *place, void *arg,
                         struct verdict *v)
{
    char in[IN_BYTES];
    enum vs_policy_mode mode = s->policy.injection.zone[zone].mode;
    struct vs_scan_result found;
    const struct vs_scan_config config = {
        .zone = zone, .injection = true, .threshold = s->policy.injection.zone[zone].threshold,
        .allow = (const char *const *)s->policy.injection.allow.v, .n_allow = s->policy.injection.allow.n, .check = s->rest,
    };
    if (mode == VS_POLICY_OFF || !s->scan)
        return true;
    if (vs_scan_text(s->scan, &config, text, n, &found) != VS_OK)
        return false;
    v->injected |= (unsigned)found.flagged << zone;
    for (size_t i = 0; i < found.n && found.flagged; i++) {
        place(arg, &found.found[i], in);
        verdict_note(v, mode, &found.found[i], in);
    }
    return !found.flagged || mode < VS_POLICY_REDACT;    /* an attack has no text that could stay: redact refuses, too */
}

static void place_here(void *arg, struct vs_finding *finding, char in[IN_BYTES])
{
    (void)finding;
    snprintf(in, IN_BYTES, "%s", (const char *)arg);
}

bool screen_injection(const struct screen *s, enum vs_zone zone, const char *text, size_t n, const char *in, struct verdict *v)
{
    char path[IN_BYTES];
    snprintf(path, sizeof path, "%s", in);
    return screen_injection_in(s, zone, text, n, place_here, path, v);
}

/* ---- JSON ---- */

struct walk {
    const struct screen *screen;
    enum side side;
    char in[IN_BYTES];
    struct verdict *verdict;
    bool changed, blocked;              /* blocked: also when there is no memory for what is to be in place of a text */
};

/* A string in place of another; NULL: it stays. */
static json_t *screened(struct walk *w, const json_t *value)
{
    struct vs_buf out = { 0 };
    bool changed = false;
    json_t *fresh = NULL;
    if (json_string_length(value) < SHORTEST)
        return NULL;
    w->blocked |= !screen_text(w->screen, w->side, json_string_value(value), json_string_length(value), w->in, w->verdict, &out,
                               &changed) || out.status != VS_OK;
    if (changed)
        fresh = vs_json_text(out.data ? out.data : "", out.n);
    w->changed |= changed;
    w->blocked |= changed && !fresh;
    vs_buf_clear(&out);
    return fresh;
}

/* The same for a number with so many digits that it may be one of a card: a string is in its place then. */
static json_t *screened_number(struct walk *w, const json_t *value)
{
    double number = json_number_value(value);
    char digits[32] = "";
    if (number > -FEW_DIGITS && number < FEW_DIGITS)
        return NULL;
    if (json_is_integer(value))
        snprintf(digits, sizeof digits, "%lld", (long long)json_integer_value(value));
    else if (number > -1e20 && number < 1e20)
        snprintf(digits, sizeof digits, "%.0f", number);
    if (strlen(digits) < LONG_NUMBER)
        return NULL;
    json_t *text = json_string(digits), *fresh = screened(w, text);
    w->blocked |= !text;
    json_decref(text);
    return fresh;
}

static bool is_harmless(const struct harmless *h, const char *key)
{
    for (unsigned i = 0; h && i < h->n; i++)
        if (strncmp(h->name[i], key, sizeof h->name[i]) == 0)
            return true;
    return false;
}

static void remember_harmless(struct harmless *h, const char *key, size_t n)
{
    if (h && h->n < MOST_HARMLESS && n < sizeof *h->name)
        memcpy(h->name[h->n++], key, n + 1);
}

/* A name can't be replaced: one in which something is found refuses all, and is not told. */
static bool screen_key(struct walk *w, const char *key)
{
    struct harmless *known = w->side == SIDE_RESULT ? w->screen->harmless : NULL;
    size_t n = strlen(key);
    unsigned found = w->verdict->n + w->verdict->more;
    bool changed = false;
    if (n < SHORTEST || is_harmless(known, key))
        return true;
    bool passed = screen_text(w->screen, w->side, key, n, w->in, w->verdict, NULL, &changed) && !changed;
    if (passed && w->verdict->n + w->verdict->more == found)
        remember_harmless(known, key, n);
    w->blocked |= !passed;
    return passed;
}

static void walk(struct walk *w, json_t *value);

static json_t *walk_member(struct walk *w, json_t *value)
{
    if (json_is_string(value))
        return screened(w, value);
    if (json_is_number(value))
        return screened_number(w, value);
    walk(w, value);
    return NULL;
}

static void walk(struct walk *w, json_t *value)
{
    size_t n = strlen(w->in), i;
    const char *key;
    json_t *member, *fresh;
    void *next;
    json_object_foreach_safe(value, next, key, member) {
        in_add(w->in, screen_key(w, key) ? key : "*");
        if ((fresh = walk_member(w, member)))
            json_object_set_new(value, key, fresh);
        w->in[n] = 0;
    }
    json_array_foreach(value, i, member) {
        if (json_is_integer(member) && (uint64_t)json_integer_value(member) < 1000000000)
            continue;                    /* an id of a token, of which there are many */
        snprintf(w->in + n, sizeof w->in - n, "[%zu]", i);
        if ((fresh = walk_member(w, member)))
            json_array_set_new(value, i, fresh);
    }
    w->in[n] = 0;
}

bool screen_json(const struct screen *s, enum side side, json_t *value, const char *in, struct verdict *v, bool *ret_changed)
{
    struct walk w = { .screen = s, .side = side, .verdict = v };
    snprintf(w.in, sizeof w.in, "%s", in);
    if (s->side[side].n)
        walk(&w, value);
    *ret_changed = w.changed;
    return !w.blocked;
}
