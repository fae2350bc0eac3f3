/* ipc/keys.h - every key that a request or the settings of a load may have, as data: name, type, range, who reads it.
 *
 * The command line takes the ranges of its options from here, who receives a request checks it with one call, and what is
 * wrong is told in the same words everywhere. A key that is not in the list is an error, because one that is misspelt would
 * otherwise change an answer silently. null counts as absent. The keys of envelopes stand here too; which message has which of
 * them is said in its own row (message.h).
 *
 * Threads: the table is constant.
 */
#ifndef VS_IPC_KEYS_H
#define VS_IPC_KEYS_H
#include "base/status.h"
#include "ipc/message.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vs_key_value {
    VS_VALUE_FLAG,                      /* true or false */
    VS_VALUE_FLAG_OR_INT,               /* or a whole number from low to high */
    VS_VALUE_INT,                       /* a whole number from low to high */
    VS_VALUE_NUMBER,                    /* a number from low to high */
    VS_VALUE_TEXT,                      /* a string */
    VS_VALUE_CHOICE,                    /* one of `words` */
    VS_VALUE_CHOICE_OR_OBJECT,          /* or an object, which who reads it judges */
    VS_VALUE_LIST,                      /* a list of what `words` says; at most `high` of them when that is not 0 */
    VS_VALUE_OBJECT,                    /* its keys are rows of their own, "name.key", unless `words` says what it holds */
};

struct vs_key {
    const char *path;                   /* "max_tokens", "sampling.top_k" */
    enum vs_key_value value;
    double low, high;
    const char *words;
    uint32_t readers;                   /* VS_READS(...) of each message that may have it */
};

/* Request types are 0x10 to 0x2d. The last places are for the settings that a broker and a worker are started with: those of
 * `veritas serve`, and those of a load with the supervisor's own. */
enum { VS_KEYS_OF_BROKER = 0x2e, VS_KEYS_OF_WORKER = 0x2f };
#define VS_READS(type) (UINT32_C(1) << ((type) & 31))

/* Checks all keys of a request's body, or of the object `group` ("settings") of a request: VS_E_INVALID names the key, what is
 * needed and what is there instead. */
int vs_key_check_body(uint16_t type, const json_t *body, struct vs_error *err);
int vs_key_check_group(uint16_t type, const char *group, const json_t *object, struct vs_error *err);

/* One value, in the same words; and a key that is none of `what`. near: one that it may have been meant for, or NULL. */
int vs_key_judge(const struct vs_key *key, const json_t *v, struct vs_error *err);
int vs_key_unknown(const char *name, const char *what, const char *near, struct vs_error *err);

/* The row of "sampling.top_k", whoever reads it; NULL: there is none. */
const struct vs_key *vs_key_find(const char *path);

/* "a whole number from 0 to 100", "auto, c or avx2": what is needed, in words. */
void vs_key_range(const struct vs_key *key, char *ret, size_t n);
#endif
