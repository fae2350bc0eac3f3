/* prog/veritas/stage.h - where a model is put together before anybody can see it.
 *
 * The folder .NAME.pull in the model directory, locked by who works there; what an interrupted pull left in it is the beginning of
 * the next one. A file leaves it by getting its name, whole and checked, in one step.
 */
#ifndef VS_VERITAS_STAGE_H
#define VS_VERITAS_STAGE_H
#include "prog/veritas/models.h"
#include "prog/veritas/record.h"

#include <limits.h>

struct vs_args;

struct vs_stage {
    char name[VS_MODEL_NAME_MAX + 1];
    char directory[PATH_MAX];            /* absolute, at most PATH_MAX - 256 long: names fit behind it */
    int lock;                            /* of the directory; -1: not open */
};

/* Makes the folder and waits for the lock. VS_E_CANCELLED after Ctrl-C, VS_E_DENIED where others could write in it. */
int vs_stage_open(struct vs_stage *stage, const char *name, struct vs_error *err);
void vs_stage_close(struct vs_stage *stage, bool remove);    /* harmless when it is not open */

/* Path of a file in the folder. */
void vs_stage_path(const struct vs_stage *stage, const char *file, char ret[PATH_MAX]);

/* What lies under a model's name: nothing (VS_E_NOT_FOUND), the wanted file (VS_OK; it is read unless that was done since it was
 * written, and then recorded as from record->source), or another one (VS_E_BUSY). bytes 0: not known. */
int vs_stage_look(const char *name, const struct vs_record *wanted, uint64_t bytes, struct vs_error *err);

/* Gives `path`, open as fd, the model's name and writes its record down. Without force a file that is there stays: VS_E_BUSY. */
int vs_stage_publish(const char *path, int fd, const char *name, const struct vs_record *record, bool force, struct vs_error *err);

/* Has a locked-in worker read what a file says of itself: is it a whole GGUF file? `what` is named in the message. ret_unfit gets
 * why it cannot be run, "" when it can. */
enum { VS_UNFIT = 300 };
int vs_stage_inspect(const struct vs_args *args, const struct vs_files *files, const char *what, char ret_unfit[VS_UNFIT],
                     struct vs_error *err);

/* Says that a model is there, and how to run it or why that cannot be. */
void vs_stage_say(const char *name, const char *of_digest, const char *unfit);
#endif
