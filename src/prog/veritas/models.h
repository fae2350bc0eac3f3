/* prog/veritas/models.h - the model directory and the models that `veritas models pull` knows.
 *
 * A model NAME is the file NAME.gguf in the directory, or the files NAME-00001-of-00003.gguf and so on. Names are [a-z0-9._-]+
 * without a leading dot, so a name can never leave the directory; files that begin with a dot are unfinished work. Used by the
 * supervisor too.
 */
#ifndef VS_VERITAS_MODELS_H
#define VS_VERITAS_MODELS_H
#include "base/status.h"
#include "ipc/name.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


/* A model that Python packages carry. Part i (from 1) of n_parts lies in package `package` (with %d for i when there is
 * more than one); every part but the last has part_bytes. */
struct vs_known_model {
    const char *name, *title, *licence;
    const char *package, *version;
    unsigned n_parts;
    uint64_t part_bytes, bytes;
    const char *sha256;                  /* of the joined file, lower-case hex */
};


/* $VERITAS_MODELS, else $XDG_DATA_HOME/veritas/models, else ~/.local/share/veritas/models. Always absolute. Does not create it.
 * VS_E_INVALID when neither variable nor HOME is set, VS_E_LIMIT when it does not fit. */
int vs_models_directory(char *ret, size_t n, struct vs_error *err);

/* Path of NAME.gguf, whether it is there or not. VS_E_NOT_FOUND for an invalid name. */
int vs_model_path(const char *name, char *ret, size_t n, struct vs_error *err);
/* The same of a model that may be in parts: as vs_files_find_model. */
int vs_model_find(const char *name, char *ret, size_t n, struct vs_error *err);

/* Of the file `file` in an open directory, with the name `io_name` (without .gguf): is it a model, or the first part of one, whose
 * name is then put there? *ret_bytes: of all parts. */
bool vs_model_is_listed(int directory, const char *file, char *io_name, uint64_t *ret_bytes);

/* Makes the directory and its parents (0700). */
int vs_directory_make(const char *path, struct vs_error *err);

/* Fills err with VS_E_NOT_FOUND and what to do about it: pull it, or look at the list. Returns the code. */
int vs_model_missing(const char *name, struct vs_error *err);

/* Deletes a directory of plain files and directories, one level at a time; silent when it is not there. */
void vs_directory_remove(const char *path);

/* NAME from a path: its base name without .gguf, in lower case, what a name may not have made into dashes. */
void vs_model_name_from(const char *file, char *ret, size_t n);

/* download.c: the URL or hf:OWNER/REPO[/FILE] of `models pull`. */
struct vs_args;
int vs_model_download(const struct vs_args *args, struct vs_error *err);

/* pull.c: from_directory NULL: through pip. */
int vs_model_pull(const struct vs_known_model *model, const char *from_directory, bool force, struct vs_error *err);
#endif
