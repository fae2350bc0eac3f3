/* prog/veritas/imatrix.c - `veritas imatrix`: what the columns of a model's matrices are multiplied with when it reads a text. */
#include "base/file.h"
#include "prog/veritas/command.h"
#include "prog/veritas/maker.h"
#include "prog/veritas/models.h"
#include "prog/veritas/session.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int vs_command_imatrix(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_maker m = { .input = -1, .what = "reading the text" };
    struct stat st;
    char threads[24], ctx[24], path[PATH_MAX];
    uint64_t bytes = 0;
    if (args->option[VS_OPT_FILE].n != 1)
        return vs_usage("imatrix", "which text shall the model read? -f TEXT");
    if (!vs_args_given(args, VS_OPT_OUTPUT))
        return vs_usage("imatrix", "where to? -o FILE");
    const char *text = args->option[VS_OPT_FILE].v[0], *name = strrchr(text, '/');
    snprintf(threads, sizeof threads, "%lld", (long long)vs_maker_threads(args));
    snprintf(ctx, sizeof ctx, "%lld", vs_args_given(args, VS_OPT_CTX) ? (long long)vs_args_int(args, VS_OPT_CTX) : 512LL);
    const char *words[] = { "veritas-worker", "--imatrix", threads, ctx, name ? name + 1 : text };
    memcpy(m.words, words, sizeof words);
    int rc = vs_file_open("the text", text, &m.input, &st, &err);
    if (rc == VS_OK)
        rc = vs_session_open_model(args, vs_args_text(args, VS_OPT_MODEL), path, &m.others, &bytes, &err);
    if (rc == VS_OK)
        rc = vs_maker_run(&m, vs_args_text(args, VS_OPT_OUTPUT), &bytes, &err);
    if (rc == VS_OK)
        vs_note("%s: %.1f MB", vs_args_text(args, VS_OPT_OUTPUT), (double)bytes / 1e6);
    vs_files_close(&m.others);
    if (m.input >= 0)
        close(m.input);
    return rc == VS_OK ? 0 : vs_fail(&err);
}
