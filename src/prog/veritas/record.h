/* prog/veritas/record.h - what is known of a model file: its SHA-256, computed of this very file, and where it came from.
 *
 * Beside NAME.gguf lies .NAME.record, one JSON object: sha256, source, and what identifies the file that was read (bytes, inode,
 * times of last write and change). A digest is shown only while all of that still fits; so a file that was replaced or written to
 * has none
 * until `veritas models verify` has read it.
 */
#ifndef VS_VERITAS_RECORD_H
#define VS_VERITAS_RECORD_H
#include "base/files.h"
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

enum vs_record_state {
    VS_RECORD_NONE,                      /* nothing was written down, or nobody we trust did it */
    VS_RECORD_STALE,                     /* of a file that was there before, or before it was touched */
    VS_RECORD_CURRENT
};

struct vs_record {
    char sha256[65];                     /* lower-case hex */
    char source[1024];                   /* "models pull NAME", a URL, "models add PATH" */
};

/* file: the stat of NAME.gguf. ret is filled in unless the answer is NONE. */
enum vs_record_state vs_record_read(const char *name, const struct stat *file, struct vs_record *ret);

/* The record of the model whose (first) file lies at `path`, and of which these files were opened (NULL: those at the path). That
 * of a split model is made of those of its parts: its digest by the rule of vs_digest_join, its state the worst of theirs. */
enum vs_record_state vs_record_of_model(const char *path, const struct vs_files *files, struct vs_record *ret);

/* file: the stat of NAME.gguf from before it was read, or from after it got its name. VS_E_SYSTEM or VS_E_DENIED where it cannot
 * be written. */
int vs_record_write(const char *name, const struct stat *file, const struct vs_record *record, struct vs_error *err);

/* `path` of .NAME.record; VS_E_* as vs_model_path. */
int vs_record_path(const char *name, char *ret, size_t n, struct vs_error *err);

/* SHA-256 of the whole file, with progress. VS_E_CANCELLED after Ctrl-C (vs_session_signals), VS_E_MALFORMED when the file changes
 * meanwhile. */
int vs_file_digest(int fd, const char *what, char ret_hex[65], struct vs_error *err);

/* The digest of a split model: the SHA-256 of the lines that its parts' digests in hex are. VS_E_NOMEM. */
struct vs_digest_lines { char hex[65]; };
int vs_digest_join(const struct vs_digest_lines *parts, unsigned n, char ret_hex[65], struct vs_error *err);
/* That of opened files: of one as it is, of the parts of a model joined. */
int vs_files_digest(const struct vs_files *files, const char *what, char ret_hex[65], struct vs_error *err);

/* A digest that is computed while its bytes are copied. */
struct vs_sum;
struct vs_sum *vs_sum_create(void);      /* NULL: out of memory */
bool vs_sum_add(struct vs_sum *sum, const void *data, size_t n);
bool vs_sum_end(struct vs_sum *sum, char ret_hex[65]);
void vs_sum_free(struct vs_sum *sum);
#endif
