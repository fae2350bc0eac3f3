/* prog/veritas/version.c - `veritas version`. */
#include "ipc/message.h"
#include "prog/veritas/command.h"

#include <stdio.h>

int vs_command_version(const struct vs_args *args)
{
    if (vs_args_given(args, VS_OPT_JSON))
        printf("{\"version\": \"%s\", \"protocol\": %d}\n", VERITAS_VERSION, VS_PROTOCOL_VERSION);
    else
        printf("veritas %s, protocol %d\n", VERITAS_VERSION, VS_PROTOCOL_VERSION);
    return 0;
}
