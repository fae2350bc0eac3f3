/* backend/page.c - see page.h */
#include "backend/page.h"

#include <string.h>

static const char *const names[VS_N_KV_TYPES] = { "f16", "f32", "q8_0" };

int vs_kv_type_parse(const char *name)
{
    for (int i = 0; i < VS_N_KV_TYPES; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return -1;
}

const char *vs_kv_type_name(enum vs_kv_type type)
{
    return names[type];
}
