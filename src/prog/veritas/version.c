/* prog/veritas/version.c - `veritas version`. */
#include "prog/veritas/command.h"

#include <stdio.h>

int vs_command_version(const struct vs_args *args)
{
    if (vs_args_given(args, VS_OPT_JSON))
        printf("{\"version\": \"%s\"}\n", VERITAS_VERSION);
    else
        printf("veritas %s\n", VERITAS_VERSION);
    return 0;
}
