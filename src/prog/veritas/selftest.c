/* prog/veritas/selftest.c - `veritas selftest`: becomes veritas-selftest, since this program computes nothing itself. */
#include "base/child.h"
#include "prog/veritas/command.h"
#include "prog/veritas/term.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int vs_command_selftest(const struct vs_args *args)
{
    char path[1200];
    struct vs_error err = { 0 };
    if (vs_program_find("veritas-selftest", path, sizeof path, &err) != VS_OK)
        return vs_fail(&err);
    const char *words[5] = { "veritas-selftest" };
    int n = 1;
    if (vs_args_given(args, VS_OPT_JSON))
        words[n++] = "--json";
    if (vs_args_given(args, VS_OPT_ISA)) {
        words[n++] = "--isa";
        words[n++] = vs_args_text(args, VS_OPT_ISA);
    }
    union { const char **in; char *const *out; } argv = { words };      /* execv changes nothing */
    vs_child_exec(path, argv.out, NULL, vs_child_kept_locked, "/");
    vs_say("%s cannot be started: %s", path, strerror(errno));
    return 1;
}
