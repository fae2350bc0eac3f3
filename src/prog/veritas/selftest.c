/* prog/veritas/selftest.c - what other programs of ours do alone: this one becomes them, since it computes nothing itself. */
#include "base/child.h"
#include "prog/veritas/command.h"
#include "prog/veritas/term.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int vs_command_become(const char *program, const char *const *words)
{
    char path[1200];
    struct vs_error err = { 0 };
    union { const char *const *in; char *const *out; } argv = { words };        /* execv changes nothing */
    if (vs_program_find(program, path, sizeof path, &err) != VS_OK)
        return vs_fail(&err);
    vs_child_exec(path, argv.out, NULL, vs_child_kept_locked, "/");
    vs_say("%s cannot be started: %s", path, strerror(errno));
    return 1;
}

int vs_command_selftest(const struct vs_args *args)
{
    const char *words[8] = { "veritas-selftest" };
    int n = 1;
    if (vs_args_given(args, VS_OPT_JSON))
        words[n++] = "--json";
    if (vs_args_given(args, VS_OPT_BRIEF))
        words[n++] = "--brief";
    if (vs_args_given(args, VS_OPT_EVERY)) {
        words[n++] = "--every";
        words[n++] = vs_args_text(args, VS_OPT_EVERY);
    }
    if (vs_args_given(args, VS_OPT_ISA)) {
        words[n++] = "--isa";
        words[n++] = vs_args_text(args, VS_OPT_ISA);
    }
    return vs_command_become("veritas-selftest", words);
}
