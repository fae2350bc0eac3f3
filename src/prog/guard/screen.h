/* prog/guard/screen.h - a policy, and what looks for what it names: what becomes of a text, whole or in pieces.
 *
 *     policy --screen_create--> detectors, and for each side what is done with each kind of finding:
 *
 *     SIDE_INPUT    a whole text of a request
 *     SIDE_RESULT   a whole text of a result or an error
 *     SIDE_STREAM   the text of an answer, token by token: what may not stay in it
 *     SIDE_WATCH    the same text: what is only told of it, so that nothing is held back for it
 *
 * Passes that began under a policy keep it (screen_ref), whatever comes after it.
 *
 * A verdict is what a request's `guard` will say: what was done, and the first findings. It quotes nothing.
 *
 * Memory: the screen owns its policy and detectors; a verdict its list. Threads: one at a time.
 */
#ifndef VS_GUARD_SCREEN_H
#define VS_GUARD_SCREEN_H
#include "base/buf.h"
#include "base/status.h"
#include "filter/pii.h"
#include "filter/prompt.h"
#include "filter/protect.h"
#include "filter/scan.h"
#include "filter/secrets.h"
#include "filter/stream.h"
#include "filter/urls.h"
#include "policy/policy.h"

#include <jansson.h>
#include <stdbool.h>

enum {
    MAX_DETECTORS = 8,
    MAX_FINDINGS = 8,                   /* in an envelope; others are counted */
    IN_BYTES = 96,                      /* of the path of a text, with its NUL, */
    IN_WORD = 24,                       /* and of a name in it */
};

enum side { SIDE_INPUT, SIDE_RESULT, SIDE_STREAM, SIDE_WATCH, N_SIDES };

struct looking {                        /* of one side */
    const struct vs_detector *detectors[MAX_DETECTORS];
    unsigned n;                         /* 0: nothing is looked for */
    enum vs_policy_mode mode[VS_N_FOUND];
    struct vs_stream_config config;     /* its list of detectors is ours: looking_config */
    bool is_strict;                     /* something that is found does not pass */
    bool hides;                         /* what does not pass is a secret, so that its ids are withheld, too */
};

struct screen {
    unsigned n_users;
    struct vs_policy policy;
    char digest[17];                    /* the first digits of the policy's */
    struct vs_pii_state pii;
    struct vs_secrets secrets;
    struct vs_urls urls;
    struct vs_protect *protect;         /* NULL: there are no protected values */
    struct vs_detector detector[MAX_DETECTORS];
    struct vs_scan *scan;               /* the guard's: looks for injections */
    struct vs_check *rest;              /* the guard's: asked within long texts, so that others go on; NULL: nobody is */
    const struct vs_detector *all[MAX_DETECTORS];        /* what `veritas scan` looks with, whatever the modes */
    size_t n_all;
    struct looking side[N_SIDES];
    struct harmless *harmless;          /* names in which nothing was found */
};

/* What is looked for in the answer to a request that has a system message: the same, and runs of that message. */
struct prompted {
    struct vs_prompt *prompt;
    struct vs_detector detector;
    struct looking side[N_SIDES];       /* STREAM and WATCH alone */
};
/* NULL: the policy does not ask for it, the message is too short, or there is no memory (*ret_failed). */
struct prompted *screen_prompted(const struct screen *s, const char *system, size_t n, bool *ret_failed);
void prompted_free(struct prompted *p);

/* To make a stream of. */
struct vs_stream_config looking_config(const struct looking *l);

/* text: a canonical policy; key: of the style hash; scan and rest outlive it. VS_E_INVALID, VS_E_NOMEM. */
int screen_create(const char *text, size_t n, const uint8_t key[VS_REDACT_KEY], struct vs_scan *scan, struct vs_check *rest,
                  struct screen **ret, struct vs_error *err);
struct screen *screen_ref(struct screen *s);
void screen_unref(struct screen *s);

struct verdict {
    enum vs_policy_mode done;           /* VS_POLICY_OFF: nothing was found */
    unsigned injected;                  /* a bit for each zone of which a text was flagged */
    unsigned n, more;
    struct noted {
        struct vs_finding finding;
        enum vs_policy_mode mode;
        char in[IN_BYTES];              /* where: "prompt", "output[1]"; "": it needs no saying */
    } found[MAX_FINDINGS];
};

/* Of a path like "messages[0].content": is it a name that may stand there, rather than something that was made up to be read? _add:
 * appends a name, or "*"; what was there before is the first so many bytes. */
bool in_is_word(const char *key);
size_t in_add(char in[IN_BYTES], const char *key);

void verdict_note(struct verdict *v, enum vs_policy_mode mode, const struct vs_finding *finding, const char *in);
json_t *finding_json(const struct vs_finding *finding, const char *in);
/* {"action", "findings", "policy"}; "" when nothing was found. ret has VS_VERDICT_BYTES (ipc/envelope.h). */
void verdict_format(const struct verdict *v, const struct screen *s, char *ret, size_t n);

/* What replaces personal data and secrets, whatever the policy's modes: of `types`; NULL: of the policy's, and values of protect
 * and links that are not on the list too, and `first` takes out what its answers may not have. `config` points into it and s. */
struct redactor {
    struct vs_pii_state pii;
    struct vs_secrets secrets;
    struct vs_detector detector[MAX_DETECTORS];
    const struct vs_detector *detectors[MAX_DETECTORS], *first;     /* first: NULL when nothing is taken out */
    struct vs_stream_config config;
};
void redactor_init(struct redactor *r, const struct screen *s, const uint32_t *types, enum vs_redact_style style,
                   const uint8_t key[VS_REDACT_KEY]);

/* A whole text: what it becomes is appended to out, unless that is NULL. False: a finding blocks it, and out has what came before.
 * *ret_changed: out is not the text. */
bool screen_text(const struct screen *s, enum side side, const char *text, size_t n, const char *in, struct verdict *v,
                 struct vs_buf *out, bool *ret_changed);
/* The same of a text that was joined at each border[n_borders], ascending: only what lies across one is told. False: what is found
 * there may not stay as it is. */
bool screen_across(const struct screen *s, enum side side, const char *text, size_t n, const size_t *border, size_t n_borders,
                   const char *in, struct verdict *v);
/* Injection in a whole text of a zone: found and noted as the policy says. False: it blocks. */
bool screen_injection(const struct screen *s, enum vs_zone zone, const char *text, size_t n, const char *in, struct verdict *v);
/* The same of a text that was joined: `place` says in which one a finding begins, and makes its offsets those of that. */
typedef void screen_place_fn(void *arg, struct vs_finding *finding, char in[IN_BYTES]);
bool screen_injection_in(const struct screen *s, enum vs_zone zone, const char *text, size_t n, screen_place_fn *place, void *arg,
                         struct verdict *v);
/* Does a policy's input look at anything? */
bool screen_looks(const struct screen *s);
/* All strings of a JSON value, each for itself: those that change are replaced. False as above. */
bool screen_json(const struct screen *s, enum side side, json_t *value, const char *in, struct verdict *v, bool *ret_changed);
#endif
