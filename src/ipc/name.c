/* ipc/name.c - see name.h */
#include "ipc/name.h"

#include <string.h>

bool vs_model_name_is_valid(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= VS_MODEL_NAME_MAX && name[0] != '.' && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}
