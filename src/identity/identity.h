/* identity/identity.h - who may ask, and for what: a name, a role, what is kept of its key.
 *
 *     veritas keys:  a folder with a file for each name     NAME.json -- _parse --> struct vs_identity -- _format --> NAME.json
 *     supervisor:    all files of the folder --> one JSON object, in a sealed memfd (_list_format)
 *     broker:        the memfd -- _list_parse --> struct vs_identities: the id of a key finds its record
 *
 * A role is a set of scopes; a key may have fewer than its role, never more. Every request has one scope that it needs
 * (docs/IDENTITY.md has both tables).
 *
 * Memory:  a list goes with _list_clear; a zeroed one may be cleared. Threads: none. JSON: jansson's rules.
 */
#ifndef VS_IDENTITY_IDENTITY_H
#define VS_IDENTITY_IDENTITY_H
#include "base/buf.h"
#include "base/status.h"
#include "identity/key.h"
#include "ipc/name.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* name, who has it: user, operator, auditor (an admin has all), what it is for. Append; the bits are our own. */
#define VS_SCOPE_MAP(X)                                                        \
    X(GENERATE, "generate", 1, 1, 0, "answers, and likelihoods of texts")      \
    X(TOKENIZE, "tokenize", 1, 1, 0, "ids, constraints, what a file holds")    \
    X(LIST,     "list",     1, 1, 1, "which models there are")                 \
    X(BENCH,    "bench",    0, 1, 0, "measurements, alone on a model")         \
    X(SCAN,     "scan",     0, 1, 1, "scan and redact")                        \
    X(LOAD,     "load",     0, 1, 0, "load models, also by asking for one")    \
    X(UNLOAD,   "unload",   0, 1, 0, "unload models")                          \
    X(STATUS,   "status",   0, 1, 1, "requests and connections of others")     \
    X(METRICS,  "metrics",  0, 1, 1, "metrics and traces")                     \
    X(VERDICTS, "verdicts", 0, 1, 1, "what the guard found, in detail")        \
    X(AUDIT,    "audit",    0, 0, 1, "the audit log")                          \
    X(SHUTDOWN, "shutdown", 0, 0, 0, "end the daemon")

enum vs_scope {
#define VS_SCOPE_ENUM(name, ...) VS_SCOPE_BIT_##name,
    VS_SCOPE_MAP(VS_SCOPE_ENUM)
#undef VS_SCOPE_ENUM
    VS_N_SCOPES
};
enum {
#define VS_SCOPE_SET(name, ...) VS_SCOPE_##name = 1 << VS_SCOPE_BIT_##name,
    VS_SCOPE_MAP(VS_SCOPE_SET)
#undef VS_SCOPE_SET
    VS_SCOPES_ALL = (1 << VS_N_SCOPES) - 1
};
enum vs_role { VS_ROLE_USER, VS_ROLE_OPERATOR, VS_ROLE_AUDITOR, VS_ROLE_ADMIN, VS_N_ROLES };

const char *vs_role_name(enum vs_role role);
bool vs_role_parse(const char *name, enum vs_role *ret);
uint32_t vs_role_scopes(enum vs_role role);
const char *vs_scope_name(enum vs_scope scope);
json_t *vs_scopes_json(uint32_t scopes);             /* a list of names */
/* "generate,load" as bits; VS_E_INVALID: one that there is not, or that the role does not have. */
int vs_scopes_parse(const char *text, enum vs_role role, uint32_t *ret, struct vs_error *err);

enum {
    VS_IDENTITY_NAME = VS_KEY_NAME_BYTES,
    VS_IDENTITY_FILE_MOST = 8192,       /* bytes of a file */
    VS_IDENTITIES_MOST = 20000,         /* in a folder */
};
#define VS_IDENTITIES_BYTES (32u << 20) /* of a list's JSON */

struct vs_identity {
    char name[VS_IDENTITY_NAME];
    enum vs_role role;
    uint32_t scopes;                    /* of those that the role has */
    int64_t created;                    /* seconds since 1970; a name that was revoked and made again is somebody else */
    struct vs_secret secret[2];         /* that of its key, and of the one before a rotation */
};

/* text[n], the content of a file. VS_E_MALFORMED: the text says what is wrong; *ret is untouched. */
int vs_identity_parse(const char *text, size_t n, struct vs_identity *ret, struct vs_error *err);
void vs_identity_format(const struct vs_identity *who, struct vs_buf *out);

struct vs_identities {
    struct vs_identity *v;              /* [n], by name */
    size_t n;
    struct vs_identity_ref { const struct vs_identity *who; const struct vs_secret *secret; } *by_id;     /* [n_ids] */
    size_t n_ids;
};

/* The list as JSON: an array of what _format writes. */
int vs_identity_list_parse(const json_t *list, struct vs_identities *ret, struct vs_error *err);
json_t *vs_identity_json(const struct vs_identity *who);
void vs_identity_list_clear(struct vs_identities *all);

/* Whose key is text[n], now (seconds since 1970)? NULL: nobody's, or it does not hold any more. */
const struct vs_identity *vs_identity_of_key(const struct vs_identities *all, const char *text, size_t n, int64_t now,
                                             const struct vs_secret **ret_secret);
const struct vs_identity *vs_identity_find(const struct vs_identities *all, const char *name);
#endif
