/* prog/worker/drafter.h - a small model beside the large one, in the same worker and on the same threads, which guesses what the
 * large one will say.
 *
 * It reads what the large one has, samples with the same draws, and so is often right where the two agree. Its sequences have K and
 * V of their own, shared and kept by the same rules. What it costs when it has to catch up with a text is bounded: it reads only
 * as much as the answer is long already, times sixteen.
 *
 * Memory:  its own model; pages as many as the large model has.
 * Threads: the one that computes steps; between steps only.
 */
#ifndef VS_WORKER_DRAFTER_H
#define VS_WORKER_DRAFTER_H
#include "engine/model.h"
#include "sampler/sampler.h"

struct vs_entries;
struct vs_source;

struct vs_drafter;
/* Is the file that of the model it would guess for, byte for byte? Read no further than to the first byte that differs; false
 * where either can't be read, which _open then says. fd stays the caller's. */
bool vs_drafter_is_model(int fd, const struct vs_source *model, vs_progress_fn *progress, void *context);
/* fd is the file's, which this closes. target: the model that is guessed for, entries: of its file. VS_E_INVALID when the
 * vocabularies differ: the text names the first token that does. */
int vs_drafter_open(int fd, struct vs_model *target, const struct vs_entries *entries, vs_progress_fn *progress, void *context,
                    struct vs_drafter **ret, struct vs_error *err);
/* What _open would find wrong with the file before it reads weights. fd as there. */
int vs_drafter_check(int fd, const struct vs_entries *entries, struct vs_error *err);
void vs_drafter_close(struct vs_drafter *d);
void vs_drafter_memory(const struct vs_drafter *d, struct vs_backend_memory *ret, size_t *ret_kv_bytes);

/* What a guess takes, in ns; one_row: what a step of a single row of the target takes. It is known as a share of that: a machine
 * that grows slower or faster does so for both, also while nothing is guessed. */
double vs_drafter_cost(struct vs_drafter *d, double one_row);

struct vs_drafter_sequence {             /* zeroed but for the first block: nothing is read yet */
    int64_t owner;
    const char *cache_key;               /* borrowed; NULL: none */
    const struct vs_sampling *sampling;  /* borrowed */

    struct vs_kv_sequence *kv;           /* NULL: none */
    uint32_t n_same;                     /* tokens that it has and that are known to be the text's */
    bool failed;                         /* no more guesses */
};

/* token[n] is the text, of which the last n_made tokens were made here; there is room for n_guesses more, where the guesses go.
 * Returns how many there are: it ends behind one of which it is not sure; 0 while it catches up, and when it can't. */
uint32_t vs_drafter_guess(struct vs_drafter *d, struct vs_drafter_sequence *s, uint32_t *token, uint32_t n, uint64_t n_made,
                          uint32_t n_guesses);
void vs_drafter_end(struct vs_drafter_sequence *s);      /* what it read is kept for others */
#endif
