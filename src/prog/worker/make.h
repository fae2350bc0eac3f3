/* prog/worker/make.h - the worker as a child that makes a file and ends (prog/veritas/maker.h): what all of these do.
 *
 * Descriptors: 3 a pipe for what is made, 4 input or nothing, 5 last words, 6 and on others.
 */
#ifndef VS_WORKER_MAKE_H
#define VS_WORKER_MAKE_H
#include "base/files.h"
#include "base/source.h"

#include <stdint.h>

enum { VS_MAKE_INPUT = 4, VS_MAKE_FIRST = 6 };

/* The beginning of `veritas-worker --WHAT`: VS_OK, or 2 with a line on stderr where no `veritas` started it. */
int vs_make_begin(const char *what);
/* Locks itself in; the pipe, the input and the others stay. *ret_others: descriptors from 6 on. */
int vs_make_enter(struct vs_files *ret_others, struct vs_error *err);
/* The end: the exit status; a failure becomes the last words. */
int vs_make_end(int status, const struct vs_error *err);

/* *fd as a source; VS_E_INVALID where it is no file. _parts: a model's parts, one behind the other. */
int vs_make_source(int *fd, struct vs_source *ret, struct vs_error *err);
struct vs_make_parts {
    unsigned n;
    int fd[VS_MAX_PARTS];
    uint64_t end[VS_MAX_PARTS];          /* of each, with those before it; _parts fills it in */
};
int vs_make_parts(struct vs_make_parts *of, struct vs_source *ret, struct vs_error *err);

/* To the pipe. _progress: done of total (not 0); _length: so many bytes follow, which are the file. VS_E_CANCELLED: nobody
 * reads. */
int vs_make_put(const void *data, size_t n, struct vs_error *err);
int vs_make_progress(uint64_t done, uint64_t total, struct vs_error *err);
int vs_make_length(uint64_t n, struct vs_error *err);

/* A number of threads as a word says it, 1 to 256. */
unsigned vs_make_threads(const char *word);
#endif
