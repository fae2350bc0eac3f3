/* prog/veritas/maker.h - commands whose result is a file that a locked-in child makes from others: quantize, imatrix.
 *
 *     IN --(descriptors)--> veritas-worker --WHAT --(pipe)--> a file without a name --(when it is whole)--> OUT
 *
 * What comes through the pipe: records of 16 bytes, two numbers u64le: done and total (not 0), to be shown as progress; at last the
 * file's length and 0, and the file itself. The child is not believed: its bytes are counted and stored, nothing else. Whatever
 * ends early leaves no file.
 */
#ifndef VS_VERITAS_MAKER_H
#define VS_VERITAS_MAKER_H
#include "base/files.h"
#include "prog/veritas/output.h"
#include "prog/veritas/term.h"

#include <stdbool.h>

enum { VS_MAKER_WORDS = 272, VS_MAKER_FIRST_FD = 6 };

struct vs_maker {
    const char *words[VS_MAKER_WORDS];   /* its command line, from "veritas-worker" on; NULL at the end. Borrowed */
    /* In the child: 3 the pipe, 4 input (-1: none), 5 last words, and from VS_MAKER_FIRST_FD on the others */
    int input;
    struct vs_files others;
    const char *what;                    /* for progress before the file comes; NULL: the file's bytes are the progress */
    struct vs_output out;
};

/* Makes the file at `path`, or leaves what is there. The descriptors stay the caller's. *ret_bytes: of the new file. VS_E_INVALID:
 * the file at `path` is one of those that are read. */
int vs_maker_run(struct vs_maker *m, const char *path, uint64_t *ret_bytes, struct vs_error *err);

/* The processor cores that the child may use, or what --threads says. */
struct vs_args;
int64_t vs_maker_threads(const struct vs_args *args);
#endif
