/* ipc/name.h - how models and keys are called. */
#ifndef VS_IPC_NAME_H
#define VS_IPC_NAME_H
#include <stdbool.h>

#define VS_MODEL_NAME_MAX 100           /* bytes */

/* a-z 0-9 . _ -, not beginning with a dot. NAME.gguf in the model directory is its file. */
bool vs_model_name_is_valid(const char *name);

enum { VS_KEY_NAME_BYTES = 65 };        /* of the name of an API key, with its NUL */

/* 1 to 64 of a-z A-Z 0-9 . _ - @, and no point first: so it can be a file's name. */
bool vs_key_name_is_valid(const char *name);
#endif
