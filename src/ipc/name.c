/* ipc/name.c - see name.h */
#include "ipc/name.h"

#include <string.h>

bool vs_model_name_is_valid(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= VS_MODEL_NAME_MAX && name[0] != '.' && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

bool vs_key_name_is_valid(const char *name)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@";
    size_t n = strlen(name);
    return n > 0 && n < VS_KEY_NAME_BYTES && name[0] != '.' && strspn(name, plain) == n;
}
