/* prog/guard/scan.c - SCAN: what would be found in a text, or what the output filter would make of it. Needs no worker. */
#include "prog/guard/guard.h"

#include "base/clock.h"
#include "filter/strip.h"
#include "ipc/json.h"
#include "ipc/keys.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_TOLD = 65536, LARGEST_PIECE = 64,
    SLICE = 1 << 20,                     /* bytes that are looked at before others may go on */
    UNITS = 4,                           /* of work for a byte */
};
#define TOO_LONG "what it becomes is larger than a result may be; give less at once"

struct telling {                        /* findings of one text */
    json_t *findings;
    bool failed;                        /* one of them could not be kept */
    json_int_t more;
    struct vs_buf text;                 /* as it became */
};

static void tell(struct telling *t, const struct vs_finding *finding)
{
    if (json_array_size(t->findings) < MAX_TOLD)
        t->failed |= json_array_append_new(t->findings, finding_json(finding, "")) != 0;
    else
        t->more++;
}

static void on_piece(void *arg, const struct vs_piece *piece)
{
    struct telling *t = arg;
    vs_buf_add(&t->text, piece->bytes, (size_t)(piece->out_end - piece->out_start));
}

static void on_found(void *arg, const struct vs_finding *finding, enum vs_stream_action action)
{
    (void)action;
    tell(arg, finding);
}

/* ---- redact ---- */

static int type_bit(const char *name, uint32_t *ret)
{
    for (unsigned i = 0; i < VS_N_PII; i++)
        if (strcmp(vs_finding_type(VS_FOUND_PII, (enum vs_pii)i), name) == 0) {
            *ret |= VS_PII_BIT(i);
            return VS_OK;
        }
    return VS_E_INVALID;
}

static int read_types(const json_t *redact, uint32_t *ret, struct vs_error *err)
{
    const json_t *list = json_object_get(redact, "types"), *name;
    size_t i;
    if (!json_is_array(list))
        return VS_OK;
    *ret = 0;
    json_array_foreach(list, i, name)
        if (!json_is_string(name) || type_bit(json_string_value(name), ret) != VS_OK)
            return vs_error_set(err, VS_E_INVALID, "redact.types: entry %zu is no type of personal data", i);
    return VS_OK;
}

static enum vs_redact_style style_of(const json_t *redact, enum vs_policy_style preset)
{
    static const char *const names[] = {
#define STYLE_NAME(name, text) text,
        VS_REDACT_MAP(STYLE_NAME)
    };
    const char *name = json_string_value(json_object_get(redact, "style"));
    for (unsigned i = 0; name && i < VS_N_REDACT; i++)
        if (strcmp(names[i], name) == 0)
            return (enum vs_redact_style)i;
    return (enum vs_redact_style)preset;
}

/* In pieces of `cut` bytes; or of 1 to LARGEST_PIECE, by chance (xorshift64*) from `seed`. */
static void feed(struct vs_strip *stream, const char *text, size_t n, size_t cut, uint64_t seed, bool by_chance,
                 struct vs_check *rest)
{
    uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (size_t at = 0, piece; at < n; at += piece) {
        piece = by_chance ? 1 + (size_t)((state * UINT64_C(0x2545f4914f6cdd1d)) >> 32) % LARGEST_PIECE : cut ? cut : SLICE;
        piece = piece < n - at ? piece : n - at;
        state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
        vs_strip_push(stream, text + at, piece, false);
        vs_check_work(rest, UNITS * piece);
    }
    vs_strip_push(stream, "", 0, true);
}

static json_t *redact(struct guard *g, const struct screen *s, const json_t *body, const json_t *how, struct vs_error *err)
{
    const json_t *text = json_object_get(body, "text"), *seed = json_object_get(how, "seed");
    uint32_t types = 0;
    bool is_some = json_is_array(json_object_get(how, "types"));         /* null is as if it was not there */
    if (read_types(how, &types, err) != VS_OK)
        return NULL;
    struct redactor *r = calloc(1, sizeof *r);
    struct telling t = { .findings = json_array(), .text.limit = VS_MAX_RESULT };
    const struct vs_stream_sink sink = { &t, on_piece, on_found };
    json_t *result = NULL;
    struct vs_strip *stream = NULL;
    if (r) {
        redactor_init(r, s, is_some ? &types : NULL, style_of(how, s->policy.pii.style), g->key);
        stream = vs_strip_create(r->first, true, &r->config, &sink);
    }
    if (stream) {
        feed(stream, json_string_value(text), json_string_length(text),
             (size_t)json_integer_value(json_object_get(how, "cut")), (uint64_t)json_integer_value(seed), json_is_integer(seed),
             s->rest);
        if (t.text.status == VS_OK && !t.failed)
            result = json_pack("{s:o, s:O, s:I}", "text", vs_json_text(t.text.data ? t.text.data : "", t.text.n), "findings",
                               t.findings, "held_max", (json_int_t)vs_strip_held_max(stream));
    }
    if (result && t.more)
        json_object_set_new(result, "more", json_integer(t.more));
    vs_strip_free(stream);
    bool too_long = t.text.status == VS_E_LIMIT;
    vs_buf_clear(&t.text);
    json_decref(t.findings);
    free(r);
    if (!result && too_long)
        vs_error_set(err, VS_E_LIMIT, TOO_LONG);
    else if (!result)
        vs_error_set(err, VS_E_NOMEM, "out of memory");
    return result;
}

/* ---- scan ---- */

static json_t *scan(struct guard *g, const struct screen *s, const json_t *body, struct vs_error *err)
{
    static struct vs_scan_result found;
    const json_t *text = json_object_get(body, "text"), *name = json_object_get(body, "zone");
    enum vs_zone zone = VS_ZONE_USER;
    zone_named(name, &zone);
    unsigned threshold = s->policy.injection.zone[zone].threshold;
    const struct vs_scan_config config = {
        .zone = zone, .injection = zone != VS_ZONE_SYSTEM, .threshold = threshold,
        .allow = (const char *const *)s->policy.injection.allow.v, .n_allow = s->policy.injection.allow.n,
        .detectors = s->all, .n_detectors = s->n_all, .check = s->rest,
    };
    int rc = vs_scan_text(g->scan, &config, json_string_value(text), json_string_length(text), &found);
    if (rc != VS_OK) {
        vs_error_set(err, rc, "%s", vs_status_text(rc));
        return NULL;
    }
    enum vs_policy_mode done = found.flagged ? s->policy.injection.zone[zone].mode : VS_POLICY_OFF;
    json_t *findings = json_array();
    bool failed = !findings;
    for (size_t i = 0; i < found.n; i++) {
        enum vs_finding_kind kind = found.found[i].kind;
        enum vs_policy_mode mode = kind == VS_FOUND_INJECTION ? done : s->side[SIDE_INPUT].mode[kind];
        done = mode > done ? mode : done;
        failed |= json_array_append_new(findings, finding_json(&found.found[i], "")) != 0;
    }
    json_t *result = json_pack("{s:b, s:i, s:s, s:s, s:o}", "flagged", found.flagged, "score", (int)found.score, "zone",
                               zone_names[zone], "action", done == VS_POLICY_OFF ? "pass" : vs_policy_mode_name(done),
                               "findings", findings);
    json_object_set_new(result, "threshold", zone == VS_ZONE_SYSTEM ? json_null() : json_integer(threshold));
    if (found.more)
        json_object_set_new(result, "more", json_integer((json_int_t)found.more));
    if (!result || failed) {
        json_decref(result);
        vs_error_set(err, VS_E_NOMEM, "out of memory");
        return NULL;
    }
    return result;
}

/* ---- the request ---- */

static json_t *answer(struct guard *g, struct pass *p, const json_t *body, struct vs_error *err)
{
    const json_t *how = json_object_get(body, "redact");
    if (!json_is_string(json_object_get(body, "text"))) {
        vs_error_set(err, VS_E_INVALID, "text is missing");
        return NULL;
    }
    if (json_is_object(how))
        return redact(g, p->screen, body, how, err);
    return scan(g, p->screen, body, err);
}

void scan_answer(struct guard *g, struct pass *p, const char *body, size_t n)
{
    struct vs_error err = { 0 };
    struct vs_outcome none = { 0 };
    struct vs_buf out = { .limit = 4 + VS_MAX_ENVELOPE + VS_MAX_RESULT };
    uint64_t begin_ns = vs_clock_ns();
    json_t *json = n ? vs_json_read(body, n, p->screen->rest, &err) : json_object(), *result = NULL;
    if (json && vs_key_check_body(VS_MSG_SCAN, json, &err) == VS_OK)
        result = answer(g, p, json, &err);
    json_decref(json);
    if (!result) {
        pass_fail(g, p, VS_MSG_REJECTED, err.code != VS_OK ? err.code : VS_E_NOMEM, err.text);
        return;
    }
    json_object_set_new(result, "policy", json_string(p->screen->digest));
    json_object_set_new(result, "us", json_integer((json_int_t)((vs_clock_ns() - begin_ns) / 1000)));
    size_t begin = vs_payload_begin(&out);
    vs_outcome_dump(&none, &out);
    vs_payload_end(&out, begin);
    vs_json_dump(result, &out);
    json_decref(result);
    if (out.status == VS_OK)
        pass_end(g, p, VS_MSG_COMPLETE, out.data, out.n);
    else
        pass_fail(g, p, VS_MSG_ERROR, out.status, out.status == VS_E_LIMIT ? TOO_LONG : vs_status_text(out.status));
    vs_buf_clear(&out);
}
