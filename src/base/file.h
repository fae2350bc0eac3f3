/* base/file.h - files that somebody else owns: opened only when they are files, and told apart.
 *
 * A name may stand for a pipe, a device or a directory; opening one of those can block or do something, so it is looked at
 * first, and what was opened is looked at again. One wording and one exit status, wherever it is met.
 */
#ifndef VS_BASE_FILE_H
#define VS_BASE_FILE_H
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* Opens the regular file at `path` for reading; what ("the model") is for the messages. The caller owns *ret_fd.
 * VS_E_NOT_FOUND, VS_E_DENIED, VS_E_MALFORMED (no regular file), VS_E_SYSTEM. */
int vs_file_open(const char *what, const char *path, int *ret_fd, struct stat *ret, struct vs_error *err);

/* Is this descriptor one of a regular file, open for reading only? path is for the messages. VS_OK, VS_E_INVALID (it can be
 * written to, or is not usable) or VS_E_MALFORMED. */
int vs_file_check(const char *what, const char *path, int fd, struct stat *ret, struct vs_error *err);

/* Which file it is: "inode bytes seconds.nanoseconds" of the last write. Chmod, links and a new name do not change it. */
enum { VS_FILE_IDENTITY = 96 };
void vs_file_identity(const struct stat *st, char ret[VS_FILE_IDENTITY]);

/* What became of the file at `path` since it had this identity: NULL when nothing, or when it cannot be told; else "removed",
 * "replaced" or "written to". Of the identity of several files (base/files.h) the first counts. */
const char *vs_file_changed(const char *path, const char *identity);

/* Writes all n bytes. false: not all were taken, and errno says why. */
bool vs_write_all(int fd, const void *data, size_t n);

/* Nothing was done to it, not even a write that put the times back: same device, inode, size, times of last write and change. */
bool vs_file_is_untouched(const struct stat *a, const struct stat *b);
#endif
