/* policy/policy.h - what the guard is to do, as an administrator writes it down; docs/GUARD.md has each key.
 *
 *     supervisor, which opens files:  policy.json -- _parse --> struct vs_policy -- _format --> canonical JSON, in a sealed memfd
 *     guard:                          canonical JSON -- _parse --> struct vs_policy
 *
 * One table of keys (policy.c) reads and writes it. Every key may be left out and has its default then; a key that is not in the
 * table and a value that is not in its range are errors, because a policy with a slip of the pen protects nobody. The canonical
 * form has every key, in one order, and the texts of the files that `secrets.protect` names: it is read without opening anything.
 *
 * Memory:  lists belong to the policy and go with vs_policy_clear; a zeroed struct may be cleared.
 * Threads: a policy is only read once it was made. JSON: jansson's rules (ipc/json.h: vs_json_setup first).
 */
#ifndef VS_POLICY_POLICY_H
#define VS_POLICY_POLICY_H
#include "base/buf.h"
#include "base/status.h"
#include "filter/finding.h"
#include "ipc/name.h"

#include <jansson.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VS_POLICY_FILE_MOST = 1 << 20,       /* bytes of a file that is read as a policy */
    VS_POLICY_THRESHOLD_MOST = 1000,     /* scores and thresholds: 1 to 1000 */
    VS_POLICY_DIGEST = 65,               /* a digest as text: 64 hex digits and the NUL */
    VS_POLICY_GROUP = 64, VS_POLICY_PATH = 1024,         /* bytes of a group's name and of a path, with their NUL */
};

/* The order of these words is that of the table in policy.c. Of modes a later one does more. */
enum vs_policy_mode {
    VS_POLICY_OFF,                       /* not looked for */
    VS_POLICY_LOG,                       /* the daemon's log has it */
    VS_POLICY_WARN,                      /* and the result's `guard` */
    VS_POLICY_REDACT,                    /* and what was found is replaced */
    VS_POLICY_BLOCK,                     /* the request is refused, or the answer cut off: FILTERED */
};
enum vs_policy_raw { VS_POLICY_RAW_SCAN, VS_POLICY_RAW_REFUSE, VS_POLICY_RAW_ALLOW };
enum vs_policy_style { VS_POLICY_LABEL, VS_POLICY_MASK, VS_POLICY_HASH };
enum vs_policy_control { VS_POLICY_CONTROL_STRIP, VS_POLICY_CONTROL_OFF };
enum vs_policy_ids { VS_POLICY_IDS_WITHHOLD, VS_POLICY_IDS_ALLOW };
enum vs_policy_urls { VS_POLICY_URLS_ANY, VS_POLICY_URLS_LIST };
enum vs_policy_sync { VS_POLICY_SYNC_GROUP, VS_POLICY_SYNC_EACH };
enum vs_policy_failure { VS_POLICY_FAILURE_REFUSE, VS_POLICY_FAILURE_CONTINUE };
enum vs_policy_receipts { VS_POLICY_RECEIPTS_OFF, VS_POLICY_RECEIPTS_ON_REQUEST, VS_POLICY_RECEIPTS_ALWAYS };

struct vs_policy_list {                  /* texts without a NUL inside, each 1 byte or more, UTF-8 */
    char **v;                            /* [n] */
    size_t n;
};

/* Of one key, or of all that have none of their own. 0: no limit. In those of a key VS_POLICY_UNSAID: as the default has it. */
struct vs_policy_limits {
    uint64_t requests_per_minute, tokens_per_minute, in_flight, kv_tokens, priority;   /* priority: high, normal, low */
};
#define VS_POLICY_UNSAID UINT64_MAX

struct vs_policy {
    unsigned version;                    /* 1 */
    struct {
        uint64_t max_bytes;              /* of all texts of a request that are looked at */
        enum vs_policy_raw raw_tokens;   /* ids in place of text */
    } input;
    struct {
        struct {
            enum vs_policy_mode mode;
            unsigned threshold;          /* a score of so much or more counts as an injection */
        } zone[VS_N_ZONES];              /* VS_ZONE_SYSTEM has no key: OFF, and the highest threshold */
        struct vs_policy_list allow;     /* ids of rules that do not count, or texts in which nothing counts */
    } injection;
    struct {
        enum vs_policy_mode input, output;
        uint32_t types;                  /* bit 1 << VS_PII_*: what is looked for */
        enum vs_policy_style style;      /* of every redaction */
    } pii;
    struct {
        enum vs_policy_mode input, output;
        struct vs_policy_list protect;   /* values that must not get out, each 8 to 512 bytes, 64 at most */
    } secrets;
    struct {
        enum vs_policy_control control;
        enum vs_policy_urls urls;
        struct vs_policy_list url_allow; /* what LIST lets pass */
        enum vs_policy_mode system_prompt;
        enum vs_policy_ids raw_tokens;   /* of an answer in which something is replaced or cut off */
    } output;
    struct vs_policy_identity {          /* the broker's affair: who may ask (docs/IDENTITY.md) */
        bool require_key;                /* without a key nobody is listened to */
        char socket_group[VS_POLICY_GROUP];              /* whose members may connect; "": nobody but the daemon's user */
        char keys[VS_POLICY_PATH];       /* the folder of keys; "": the usual one */
    } identity;
    struct {                             /* docs/AUDIT.md */
        char dir[VS_POLICY_PATH];        /* where the log lies; "": there is none */
        bool is_private;                 /* a private daemon keeps one too */
        enum vs_policy_sync sync;
        enum vs_policy_failure on_failure;
        uint64_t rotate_bytes;
        unsigned retain_days;            /* 0: for ever */
        unsigned checkpoint_records, checkpoint_seconds;        /* so often the log is signed */
        char checkpoint_copy[VS_POLICY_PATH];    /* where else checkpoints go; "": nowhere */
    } audit;
    char signing_key[VS_POLICY_PATH];    /* signs the first key of a log: file:PATH and others; "": the log's own. docs/AUDIT.md */
    struct {                             /* docs/RECEIPT.md */
        enum vs_policy_receipts mode;
        char keep[VS_POLICY_PATH];       /* the file that has what was withheld from clients; "": nobody keeps it */
    } receipts;
    struct {                             /* the broker's, too: how much each may ask */
        struct vs_policy_limits all;
        struct vs_policy_limits_of { char name[VS_KEY_NAME_BYTES]; struct vs_policy_limits it; } *keys;      /* [n_keys] */
        size_t n_keys;
    } limits;
};

/* Reads the file that "file:PATH" in secrets.protect means; each line of it is a value. The text goes to *ret. */
typedef int vs_policy_read(void *context, const char *path, struct vs_buf *ret, struct vs_error *err);

void vs_policy_default(struct vs_policy *ret);
void vs_policy_clear(struct vs_policy *p);

/* text[n] as a policy. read NULL: nothing is opened, and "file:..." is a text like others; that is how the canonical form is read.
 * VS_E_INVALID (the text tells the key's path, *ret_line its line, 0 when not known), what `read` answers, VS_E_NOMEM; then *ret
 * is untouched. */
int vs_policy_parse(const char *text, size_t n, vs_policy_read *read, void *context, struct vs_policy *ret, unsigned *ret_line,
                    struct vs_error *err);

/* Appends the canonical form, without a newline. out->status tells of failure. */
void vs_policy_format(const struct vs_policy *p, struct vs_buf *out);

/* Which policy it is: the SHA-256 of the canonical form, with the number of protected values in place of them. A digest that
 * covered the values would let everybody who sees it try guesses. VS_E_NOMEM. */
int vs_policy_digest(const struct vs_policy *p, char ret[VS_POLICY_DIGEST]);

/* {"default": {...}, "keys": {NAME: {...}}}, with what is unsaid taken from the default: for the broker. NULL: no memory. */
json_t *vs_policy_limits_json(const struct vs_policy *p);

const char *vs_policy_mode_name(enum vs_policy_mode mode);       /* "warn" */
#endif
