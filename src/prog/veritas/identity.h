/* prog/veritas/identity.h - the folder of keys: a file NAME.json for each name (identity/identity.h), 0600 in a folder 0700.
 *
 * A file is written beside its place and renamed, so that whoever reads finds a whole one. What others than its owner may write,
 * and what is owned by a stranger, does not count: who could write there would let himself in.
 *
 * Memory: JSON is a new reference. Threads: none.
 */
#ifndef VS_VERITAS_IDENTITY_H
#define VS_VERITAS_IDENTITY_H
#include "identity/identity.h"

/* All keys of the folder, as the broker reads them; a folder that is not there has none. NULL and err: it can't be used. What does
 * not count is told by vs_say, a line each, unless is_silent. */
json_t *vs_keys_list(const char *folder, bool is_silent, struct vs_error *err);

/* VS_E_NOT_FOUND: there is no such name. */
int vs_keys_load(const char *folder, const char *name, struct vs_identity *ret, struct vs_error *err);
/* is_new: VS_E_INVALID when the name is there. */
int vs_keys_save(const char *folder, const struct vs_identity *who, bool is_new, struct vs_error *err);
int vs_keys_remove(const char *folder, const char *name, struct vs_error *err);

/* Tells when something in the folder changes, also when it is not there yet. */
struct vs_keys_watch { int fd, watch; };              /* fd: to poll for reading; -1: none */
void vs_keys_watch_set(struct vs_keys_watch *w, const char *folder);
bool vs_keys_watch_read(struct vs_keys_watch *w);    /* has something changed since the last call? */
void vs_keys_watch_close(struct vs_keys_watch *w);
#endif
