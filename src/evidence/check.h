/* evidence/check.h - is a log as it was written? Line by line, from the first to the last, in one pass and constant memory.
 *
 * Every record names the hash of the one before it, so an altered record is told by its successor, and the last ones by a signed
 * checkpoint (evidence/note.h). Where two neighbours do not fit, the line behind them says which of them is not as it was written:
 * one that its own successor names is sound.
 *
 * Memory: a vs_log_check owns little buffers; vs_log_check_clear. Threads: one at a time.
 */
#ifndef VS_EVIDENCE_CHECK_H
#define VS_EVIDENCE_CHECK_H
#include "evidence/line.h"

struct vs_log_check {
    uint64_t n_records, first;          /* sound ones; the number of the first that there is, 0: none yet */
    uint64_t first_bad;                 /* 0, or the first record that cannot be as it was written; then the rest is not read */
    char reason[200];
    uint64_t n_torn;                    /* runs of torn bytes that a record names */
    struct vs_line_head last;           /* of record `first + n_records - 1` */
    uint8_t last_hash[VS_HASH_BYTES];
    bool is_closed;                     /* the last record is that of an orderly end */
    struct vs_tree tree;                /* of all records, as far as the frontier of the first segment can be believed */
    bool has_believed;                  /* that segment was not the first one: who has a checkpoint can tell */
    uint8_t believed_root[VS_HASH_BYTES];       /* of the records before `first` */
    bool is_begin;                      /* the next line is the first of a file */
    uint64_t named;                     /* which says by its name what that is */
    struct vs_buf run, before;          /* bytes that are no record; the line that does not fit and waits for its successor */
    bool is_pending;
    struct vs_line_head pending;
    uint64_t signed_seq;                /* set by who has a checkpoint: that is the record which nobody follows, */
    uint8_t signed_head[VS_HASH_BYTES]; /* and the SHA-256 of its line; 0: there is none */
};

/* A file begins, named `first`. */
void vs_log_check_file(struct vs_log_check *c, uint64_t first);
/* Takes the next line, without its newline. False: something is wrong, and there is no need to read on. */
bool vs_log_check_line(struct vs_log_check *c, const char *line, size_t n);
/* Takes what stands behind the last newline of a file; it is no record. */
bool vs_log_check_rest(struct vs_log_check *c, const char *bytes, size_t n);
/* The last line lacks its newline, but is a record with all its bytes: it is taken, for a writer that ends it. */
bool vs_log_check_unended(struct vs_log_check *c);
/* All has been read: what is left open is decided. True: the lines are sound. */
bool vs_log_check_end(struct vs_log_check *c);
void vs_log_check_clear(struct vs_log_check *c);

/* Reads the frontier that a segment's first record has: of the size-th tree. False: none, or a broken one. */
bool vs_line_tree(const char *line, size_t n, struct vs_tree *ret);
void vs_line_tree_format(const struct vs_tree *t, struct vs_buf *out);         /* "tree":{...} */

/* A whole file: what fd holds from its beginning, by pread(2). each (may be NULL) sees the lines that are records, in order, and
 * may say that it has seen enough. VS_OK whatever the lines are like; VS_E_SYSTEM: it cannot be read. */
typedef bool vs_log_line(void *context, const struct vs_line_head *head, const char *line, size_t n);
int vs_log_check_fd(struct vs_log_check *c, int fd, uint64_t first, vs_log_line *each, void *context, struct vs_error *err);

/* A log that is not as it was written at record `at`. Only the first such finding counts. */
void vs_log_check_fail(struct vs_log_check *c, uint64_t at, const char *format, ...) __attribute__((format(printf, 3, 4)));
#endif
