/* prog/veritas/output.h - a file that a command writes: whole, or as it was before.
 *
 * What is written goes to a new file beside the one that was named, which takes its place at the end; so an older file stays until
 * the new one is whole and on the disk, and nothing is left of one that failed. "-" (standard output), devices and pipes can't be
 * replaced: they get everything at the end.
 */
#ifndef VS_VERITAS_OUTPUT_H
#define VS_VERITAS_OUTPUT_H
#include "base/status.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct vs_output {
    const char *path;                    /* as it was named; borrowed */
    int fd;                              /* of the new file; -1: closed */
    int stream;                          /* where everything is copied at the end; -1: the new file takes the place of target */
    char target[PATH_MAX];
    char beside[PATH_MAX];               /* name of the new file; "": it has none yet */
    int error;                           /* errno of the first write that failed */
    bool exclusive;                      /* set after _open: a file that is there by then is not replaced (errno EEXIST) */
};

/* mode is that of a file which is not there yet; one that is there keeps its own. VS_E_NOT_FOUND, VS_E_DENIED, VS_E_SYSTEM. */
int vs_output_open(struct vs_output *o, const char *path, mode_t mode, struct vs_error *err);

/* VS_E_INVALID: the file at `path` is that at `other`, which is read. Either may be no file. */
int vs_output_spare(const char *path, const char *other, struct vs_error *err);

/* Takes room on the disk for the bytes from..to of a file, so that a full disk is known before anything is written. `what` is named
 * in the message. VS_E_LIMIT; where the file system can't reserve it is only asked. */
int vs_disk_reserve(int fd, const char *what, uint64_t from, uint64_t to, struct vs_error *err);

/* The first failure is kept and told by _commit; false from then on. */
bool vs_output_write(struct vs_output *o, const void *data, size_t n);
bool vs_output_write_at(struct vs_output *o, uint64_t offset, const void *data, size_t n);

/* The beginning of a NumPy file (.npy, version 1.0) of float32 [rows, columns], whose numbers follow it. */
enum { VS_NPY_HEADER = 128 };
bool vs_output_npy(struct vs_output *o, uint64_t rows, uint64_t columns);

/* Puts the file in its place. After a failure the older file is as it was. Closes in every case. */
int vs_output_commit(struct vs_output *o, struct vs_error *err);
void vs_output_drop(struct vs_output *o);        /* forgets what was written; harmless after _commit */
#endif
