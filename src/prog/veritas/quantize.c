/* prog/veritas/quantize.c - `veritas quantize`: a locked-in child reads the old file and makes the new one (maker.h). */
#include "base/file.h"
#include "prog/veritas/command.h"
#include "prog/veritas/maker.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_OVERRIDES = 256 };

/* The model's parts, the first of them as the input, and the imatrix behind them. */
static int open_all(struct vs_maker *m, const struct vs_args *args, uint64_t *ret_bytes, struct vs_error *err)
{
    struct stat st;
    int rc = vs_files_open_model("the model", args->v[0], &m->others, &st, ret_bytes, err);
    if (rc != VS_OK)
        return rc;
    m->input = m->others.fd[0];
    memmove(m->others.fd, m->others.fd + 1, --m->others.n * sizeof *m->others.fd);
    if (vs_args_given(args, VS_OPT_IMATRIX)) {
        rc = vs_file_open("the imatrix", vs_args_text(args, VS_OPT_IMATRIX), &m->others.fd[m->others.n], &st, err);
        m->others.n += rc == VS_OK;
    }
    return rc;
}

int vs_command_quantize(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_maker m = { .input = -1 };
    char threads[24], parts[24];
    uint64_t bytes = 0, n_read = 0;
    int n = 0, n_overrides = args->option[VS_OPT_TENSOR_TYPE].n;
    if (!vs_args_given(args, VS_OPT_MIX))
        return vs_usage("quantize", "to which type? --type Q4_K_M");
    if (n_overrides > MAX_OVERRIDES)
        return vs_usage("quantize", "too many --tensor");
    const char *mix = vs_args_text(args, VS_OPT_MIX);
    if ((strncmp(mix, "IQ1", 3) == 0 || strncmp(mix, "IQ2", 3) == 0) && !vs_args_given(args, VS_OPT_IMATRIX))
        vs_note("%s without --imatrix loses much; `veritas imatrix` makes one", mix);
    snprintf(threads, sizeof threads, "%lld", (long long)vs_maker_threads(args));
    m.words[n++] = "veritas-worker";
    m.words[n++] = "--quantize";
    m.words[n++] = vs_args_text(args, VS_OPT_MIX);
    m.words[n++] = threads;
    m.words[n++] = parts;
    for (int i = 0; i < n_overrides; i++)
        m.words[n++] = args->option[VS_OPT_TENSOR_TYPE].v[i];
    int rc = open_all(&m, args, &n_read, &err);
    snprintf(parts, sizeof parts, "%u", 1 + m.others.n - vs_args_given(args, VS_OPT_IMATRIX));
    if (rc == VS_OK)
        rc = vs_maker_run(&m, args->v[1], &bytes, &err);
    if (rc == VS_OK)
        vs_note("%s: %.1f MB (%s: %.1f MB)", args->v[1], (double)bytes / 1e6, args->v[0], (double)n_read / 1e6);
    vs_files_close(&m.others);
    if (m.input >= 0)
        close(m.input);
    return rc == VS_OK ? 0 : vs_fail(&err);
}
