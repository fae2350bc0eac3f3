/* prog/veritas/policy_file.h - which policy holds, and reading it: the one place that looks for it and opens what it names.
 *
 * It is looked for in this order: the file that --policy names, $VERITAS_POLICY, $XDG_CONFIG_HOME/veritas/policy.json
 * (~/.config/veritas/policy.json), /etc/veritas/policy.json. What is named must be there; where nothing is, the built-in policy
 * holds.
 *
 * Memory: see vs_policy_file_clear. Threads: none.
 */
#ifndef VS_VERITAS_POLICY_FILE_H
#define VS_VERITAS_POLICY_FILE_H
#include "policy/policy.h"

#include <limits.h>

struct vs_policy_file {
    char path[PATH_MAX];                 /* absolute; "": the built-in policy */
    char *text;                          /* canonical, with what the files hold that secrets.protect names: for the guard alone */
    char *shown;                         /* the same with those files by their names */
    char digest[VS_POLICY_DIGEST];
    struct vs_policy_identity identity;
    enum vs_policy_receipts receipts;
    char keep[VS_POLICY_PATH];           /* receipts.keep */
    json_t *limits;                      /* as the broker reads them */
    char keys[PATH_MAX];                 /* the folder of keys, absolute; "": there is none, for nothing says where */
};

/* Where the policy is: named (NULL: by nobody), or where it is looked for; "" when there is none. VS_E_LIMIT: a path too long. */
int vs_policy_file_find(const char *named, char ret[PATH_MAX], struct vs_error *err);

/* Finds it and reads it. Paths in secrets.protect begin where the policy file lies. VS_E_INVALID names file, line and key;
 * VS_E_NOT_FOUND and others: it, or a file that it names, cannot be read. On failure *ret is empty. */
int vs_policy_file_read(struct vs_policy_file *ret, const char *named, struct vs_error *err);

void vs_policy_file_clear(struct vs_policy_file *f);
#endif
