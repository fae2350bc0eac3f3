/* ipc/name.h - how models are called. */
#ifndef VS_IPC_NAME_H
#define VS_IPC_NAME_H
#include <stdbool.h>

#define VS_MODEL_NAME_MAX 100           /* bytes */

/* a-z 0-9 . _ -, not beginning with a dot. NAME.gguf in the model directory is its file. */
bool vs_model_name_is_valid(const char *name);
#endif
