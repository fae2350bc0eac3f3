/* base/files.h - files that belong together: a model's file, or the parts that one was split into, and what comes with it.
 *
 * A split model is NAME-00001-of-00003.gguf and so on. Whoever means it names its first part; the others are found by their names.
 */
#ifndef VS_BASE_FILES_H
#define VS_BASE_FILES_H
#include "base/file.h"
#include "base/status.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

enum {
    VS_MAX_PARTS = 48,                  /* of a model */
    VS_MAX_FILES = 56,                  /* descriptors that go with one message */
    VS_SPLIT_SUFFIX = 15,               /* characters of "-00001-of-00003" */
    VS_SPLIT_MAX = 999,                 /* parts that a name may tell of */
};

struct vs_files { unsigned n; int fd[VS_MAX_FILES]; };           /* zeroed: none. They belong to who holds it */

void vs_files_close(struct vs_files *f);            /* there are none afterwards */
/* Descriptors of its own for the same files, none below `low`. VS_E_SYSTEM, and there are none. */
int vs_files_copy(const struct vs_files *f, int low, struct vs_files *ret, struct vs_error *err);

/* Which files they are: the identity of the first (base/file.h), and behind a + a number for all others. */
void vs_files_identity(const struct vs_files *f, char ret[VS_FILE_IDENTITY]);

/* How many parts a model has by its name, of which this is one: 0 when it is no such name. *ret_at: where its number stands. */
unsigned vs_split_count(const char *path, size_t *ret_at);
/* The name of part i, from 1. */
void vs_split_name(const char *path, size_t at, unsigned i, char *ret, size_t n);

/* Where the model of that name lies in a folder: NAME.gguf, else the first part of NAME, else NAME.gguf, which is not there.
 * VS_E_LIMIT: the path is too long; VS_E_INVALID: there are several sets of parts. */
int vs_files_find_model(const char *folder, const char *name, char *ret, size_t n, struct vs_error *err);

/* "FILE=0.5": the scale, and *ret_n bytes of the name; 1 and all of it when none follows. */
double vs_files_scale(const char *text, size_t *ret_n);

/* Adds the model's file at `path`, or all parts of the one whose first part it is, in order; ret_first: of the first, *ret_bytes:
 * of all. VS_E_INVALID: it is another part; VS_E_MALFORMED: a part is missing; VS_E_LIMIT: there are too many; as vs_file_open. */
int vs_files_open_model(const char *what, const char *path, struct vs_files *io, struct stat *ret_first, uint64_t *ret_bytes,
                        struct vs_error *err);
#endif
