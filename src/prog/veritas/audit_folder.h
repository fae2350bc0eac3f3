/* prog/veritas/audit_folder.h - the folder of a log: NNNNNNNNNNNNNNNN.jsonl, each named by the number of its first record.
 *
 *     lock        held by the daemon that writes          next.part   a file that has no name yet
 *     text.key    the key of the HMAC of texts: with it, who has a text can show that it was the one
 *
 * Memory: a list of files is the caller's; audit_files_clear. Threads: one.
 */
#ifndef VS_VERITAS_AUDIT_FOLDER_H
#define VS_VERITAS_AUDIT_FOLDER_H
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct audit_files {
    uint64_t *first;                    /* [n], ascending */
    size_t n;
};

enum { AUDIT_NAME_BYTES = 24 };
void audit_name(uint64_t first, char ret[AUDIT_NAME_BYTES]);
int audit_files_list(int dir, struct audit_files *ret, struct vs_error *err);
void audit_files_clear(struct audit_files *f);

/* Opens a regular file of dir that is no link; flags as open() has them. -1 and err. */
int audit_file_open(int dir, const char *name, int flags, struct vs_error *err);
/* The same of a file with a key in it, which nobody else may read: made 0600. */
int audit_secret_open(int dir, const char *name, struct vs_error *err);
/* The folder at path, which is made when `make` is true (0700); it must be the caller's own, and nobody else may write into it. */
int audit_folder_open(const char *path, bool make, struct vs_error *err);

/* Where the log is that a policy means: `audit.dir`, which begins where the policy's file lies. VS_E_NOT_FOUND: it means none. */
struct vs_policy_file;
int audit_folder_of(const struct vs_policy_file *policy, char *ret, size_t n, struct vs_error *err);
#endif
