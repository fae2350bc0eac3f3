/* engine/file.h - a model's file: read by range, and the SHA-256 of what was read.
 *
 * Somebody may write to the file while it is loaded, through a mapping that changes no time stamp. So the digest that goes into
 * a result must be that of the bytes that the weights were made of:
 *
 *     load     each range is copied into the reader's memory and hashed there, block by block, with a secret key
 *     after    a thread of low priority reads the file from end to end; what it feeds to SHA-256 gets the same hash as the
 *              block that was loaded, or there is no digest
 *
 * The block hash is NH over 64-bit words with a key of a block's length: two different blocks of one length have equal hashes for
 * at most 2^-64 of the keys, whoever chose them. The key is random, lives as long as the load and never leaves the process.
 *
 * A model may be split over several files. They are one behind the other here; the digest of such a model is the SHA-256 of a text:
 * the SHA-256 of each part in lower-case hex, a line each (sha256sum NAME-*.gguf | cut -c-64 | sha256sum).
 *
 * Bytes that nobody loaded (the padding between tensors) are in the digest as the thread finds them.
 *
 * Threads: the source may be read by several at once; everything else is for one caller. After _finish nothing is read.
 * Failure: VS_E_SYSTEM, VS_E_NOMEM; VS_E_MALFORMED for a file that was cut or changed.
 */
#ifndef VS_ENGINE_FILE_H
#define VS_ENGINE_FILE_H
#include "base/files.h"
#include "base/source.h"

struct vs_model_file;

/* Regular files, open for reading: the parts in order, at least one. They are the file's from now on, also when this fails. */
int vs_model_file_open(const struct vs_files *parts, struct vs_model_file **ret, struct vs_error *err);
/* The same with adapters: the last n_adapters of the files. They follow the model's bytes, and its digest does not cover them. */
int vs_model_file_open_with(const struct vs_files *files, unsigned n_adapters, struct vs_model_file **ret, struct vs_error *err);
void vs_model_file_adapter(const struct vs_model_file *f, unsigned i, uint64_t *ret_start, uint64_t *ret_bytes);
/* The adapter's SHA-256 in hex; there once _digest has said VS_OK. */
const char *vs_model_file_adapter_digest(const struct vs_model_file *f, unsigned i);
void vs_model_file_close(struct vs_model_file *f);

/* Reads that are in the digest: what is loaded, each byte once. */
const struct vs_source *vs_model_file_source(const struct vs_model_file *f);
/* Reads that nobody vouches for: to look for where the header ends. _loaded then enters what was used of them. */
const struct vs_source *vs_model_file_glance(const struct vs_model_file *f);
int vs_model_file_loaded(struct vs_model_file *f, uint64_t offset, const void *bytes, size_t n, struct vs_error *err);

/* Everything is loaded: the digest's thread begins. */
int vs_model_file_finish(struct vs_model_file *f, struct vs_error *err);

/* Helps to compute it for wait_ms at most. VS_OK and *ret_hex; VS_E_BUSY and *ret_done of the file's bytes; or why there is
 * none. */
int vs_model_file_digest(struct vs_model_file *f, unsigned wait_ms, char ret_hex[65], uint64_t *ret_done, struct vs_error *err);
#endif
