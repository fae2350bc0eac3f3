/* prog/veritas/doctor.c - what this machine offers and what to do about what it lacks, as rows of a table. */
#include "base/machine.h"
#include "base/word.h"
#include "client/client.h"
#include "prog/veritas/command.h"
#include "prog/veritas/session.h"
#include "prog/veritas/models.h"
#include "prog/veritas/term.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

struct facts {
    struct vs_machine machine;
    struct vs_sandbox_host host;
    json_t *checks;
};

static void put(struct facts *f, const char *name, bool ok, const char *advice, const char *value)
{
    json_array_append_new(f->checks, json_pack("{s:s, s:s, s:b, s:s}", "name", name, "value", value, "ok", ok,
                                               "advice", ok ? "" : advice));
}

static bool read_line(const char *path, char *text, size_t n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, n - 1);
    if (fd >= 0)
        close(fd);
    text[got > 0 ? got : 0] = 0;
    text[strcspn(text, "\n")] = 0;
    return got > 0;
}

static void check_cpu(struct facts *f)
{
    char text[200];
    const char *isa = NULL;              /* none: plain C */
    const struct vs_machine *m = &f->machine;
    snprintf(text, sizeof text, "%u, unless --threads says otherwise: %u processor%s allowed, %u core%s", m->n_cpus,
             m->n_affinity, vs_plural(m->n_affinity), m->n_cores, vs_plural(m->n_cores));
    if (m->quota_cpus > 0)
        snprintf(text + strlen(text), sizeof text - strlen(text), ", a quota of %.2f", m->quota_cpus);
    put(f, "threads", m->n_cpus >= 1, "", text);
    snprintf(text, sizeof text, "%u", m->n_nodes);
    put(f, "NUMA nodes", m->n_nodes <= 1,
        "numactl --cpunodebind=0 --membind=0 veritas serve keeps a model's weights beside its threads", text);
#if defined(__x86_64__)
    unsigned a = 0, b = 0, c = 0, d = 0;
    bool f16c = __get_cpuid(1, &a, &b, &c, &d) && c & bit_F16C;
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && f16c;
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
    put(f, "AVX2, FMA, F16C", avx2, "without it plain C computes: the same answer, many times slower",
        avx2 ? "there: the avx2 kernels can run" : "not there");
    bool avxvnni = avx2 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && a & 1u << 4;
    put(f, "AVX-VNNI", avxvnni || avx512, "nothing to do: the avx2 kernels run instead, with the same bits",
        avxvnni ? "there: the avxvnni kernels can run" : avx512 ? "there as AVX-512 VL: the avxvnni kernels can run" : "not there");
    put(f, "AVX-512 VNNI", avx512, "nothing to do: the avx2 or avxvnni kernels run instead, with the same bits",
        avx512 ? "there: the avx512 kernels can run" : "not there");
    isa = avx512 ? "avx512" : avxvnni ? "avxvnni" : avx2 ? "avx2" : NULL;
#elif defined(__aarch64__)
    bool dot = getauxval(AT_HWCAP) & HWCAP_ASIMDDP, i8mm = dot && getauxval(AT_HWCAP2) & HWCAP2_I8MM;
    put(f, "dot product", dot, "without it plain C computes: the same answer, many times slower",
        dot ? "there: the neon kernels can run" : "not there");
    put(f, "int8 matrix product", i8mm, "nothing to do: the neon kernels run instead, with the same bits",
        i8mm ? "there: the i8mm kernels can run" : "not there");
    isa = i8mm ? "i8mm" : dot ? "neon" : NULL;
#else
    put(f, "vector kernels", false, "this build has plain C kernels only for this processor", "none");
#endif
    snprintf(text, sizeof text, "%s, unless --isa says otherwise", isa ? isa : "c");
    put(f, "instruction set", true, "", isa ? text : "plain C");
}

static void check_memory(struct facts *f)
{
    char text[200];
    snprintf(text, sizeof text, "%.1f GB of %.1f GB free", (double)f->machine.free_bytes / 1e9,
             (double)f->machine.total_bytes / 1e9);
    if (f->machine.cgroup_bytes)
        snprintf(text + strlen(text), sizeof text - strlen(text), ", limited to %.1f GB by a cgroup",
                 (double)f->machine.cgroup_bytes / 1e9);
    put(f, "memory", f->machine.free_bytes > 512000000, "end other programs or raise the container's limit", text);
    bool known = read_line("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof text);
    put(f, "huge pages", known && !strstr(text, "[never]"),
        "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled makes generation faster", known ? text : "unknown");
}

/* Limits that the programs inherit; what is enough for a daemon with a few models. */
static void check_limits(struct facts *f)
{
    static const struct { const char *name; __rlimit_resource_t resource; rlim_t enough; const char *advice; } limits[] = {
        { "limit on memory", RLIMIT_DATA, RLIM_INFINITY, "ulimit -d unlimited, if models fail to load" },
        { "limit on addresses", RLIMIT_AS, RLIM_INFINITY, "ulimit -v unlimited, if models fail to load" },
        { "limit on open files", RLIMIT_NOFILE, 256, "ulimit -n 1024: a daemon needs a descriptor for each client and model" },
        { "limit on processes", RLIMIT_NPROC, 256, "ulimit -u 1024: each model is a process, each of its threads counts too" },
        { "limit on file size", RLIMIT_FSIZE, RLIM_INFINITY, "ulimit -f unlimited, for veritas models pull and veritas logits" },
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        char text[64] = "none";
        struct rlimit r = { RLIM_INFINITY, RLIM_INFINITY };
        getrlimit(limits[i].resource, &r);
        if (r.rlim_cur != RLIM_INFINITY)
            snprintf(text, sizeof text, "%llu", (unsigned long long)r.rlim_cur);
        put(f, limits[i].name, r.rlim_cur >= limits[i].enough, limits[i].advice, text);
    }
}

/* What a worker reaches here, found out by locking a child in as one. */
static bool try_sandbox(struct vs_sandbox_report *report, struct vs_error *err)
{
    int ends[2];
    struct { struct vs_sandbox_report report; struct vs_error err; } said = { 0 };
    if (pipe2(ends, O_CLOEXEC) != 0)
        return vs_error_set(err, VS_E_SYSTEM, "no pipe can be made"), false;
    vs_answer_flush();
    pid_t pid = vs_sandbox_fork(VS_SANDBOX_WORKER);
    if (pid == 0) {
        struct vs_sandbox_options o = { .profile = VS_SANDBOX_WORKER, .words_fd = -1, .keep_fds = UINT64_C(1) << 3 };
        const int out = 3;               /* the number that keep_fds names */
        if (ends[1] != out && dup2(ends[1], out) < 0)
            _exit(1);
        int rc = vs_sandbox_options_parse(getenv("VERITAS_SANDBOX"), &o, &said.err);
        o.min_level = -1;                /* the level is the question */
        if (rc == VS_OK)
            rc = vs_sandbox_enter(&o, &said.report, &said.err);
        said.err.code = rc;
        _exit(write(out, &said, sizeof said) == (ssize_t)sizeof said ? 0 : 1);
    }
    close(ends[1]);
    bool heard = pid > 0 && read(ends[0], &said, sizeof said) == (ssize_t)sizeof said;
    close(ends[0]);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (!heard)
        vs_error_set(err, VS_E_DIED, "a process that locked itself in did not come back");
    else
        *err = said.err;
    *report = said.report;
    return heard && said.err.code == VS_OK;
}

static void check_level(struct facts *f)
{
    char text[320], advice[512];
    struct vs_sandbox_report r;
    struct vs_sandbox_options o = { 0 };
    struct vs_error err = { 0 };
    if (!try_sandbox(&r, &err)) {
        put(f, "sandbox level", false, err.text, "a worker cannot lock itself in");
        return;
    }
    vs_sandbox_options_parse(getenv("VERITAS_SANDBOX"), &o, NULL);
    int min = o.min_level ? o.min_level : VS_SANDBOX_LEVEL_DEFAULT;
    snprintf(text, sizeof text, "a worker reaches %d of %d; the minimum is %d", r.level, VS_SANDBOX_LEVEL_FULL, min < 0 ? 0 : min);
    snprintf(advice, sizeof advice, "%smissing: %s; see the lines above, and docs/SANDBOX.md for what each level holds",
             r.level < min ? "workers do not start below the minimum; " : "", r.missing[0] ? r.missing : "an unprivileged uid");
    put(f, "sandbox level", r.level == VS_SANDBOX_LEVEL_FULL, advice, text);
}

static void check_sandbox(struct facts *f)
{
    char text[200];
    struct utsname u;
    if (uname(&u) == 0) {
        snprintf(text, sizeof text, "%.60s %.60s", u.sysname, u.release);
        put(f, "kernel", true, "", text);
    }
    put(f, "seccomp", f->host.seccomp, "the worker does not start without it: use a kernel with CONFIG_SECCOMP_FILTER",
        f->host.seccomp ? "there" : "not there");
    snprintf(text, sizeof text, f->host.landlock_abi ? "ABI %d" : "not there", f->host.landlock_abi);
    put(f, "Landlock", f->host.landlock_abi >= 6, "Linux 6.12 or later with landlock in the lsm= list gives the full layer", text);
    put(f, "user namespaces", f->host.user_ns, "the kernel or the container refuses them; workers run without this layer",
        f->host.user_ns ? "there" : f->host.user_ns_why);
    put(f, "network namespaces", f->host.net_ns, "workers are kept off the network by seccomp alone",
        f->host.net_ns ? "there" : "cannot be made");
    put(f, "PID namespaces", f->host.pid_ns, "workers share the process numbers of the host",
        f->host.pid_ns ? "there" : "cannot be made");
}

static void check_places(struct facts *f)
{
    char text[1024];
    struct vs_error err = { 0 };
    struct stat st;
    bool known = vs_models_directory(text, sizeof text, &err) == VS_OK;
    bool there = known && stat(text, &st) == 0;
    put(f, "model directory", there, "veritas models pull smollm2-135m-instruct makes it", known ? text : err.text);
    bool fits = vs_client_socket_path(text, sizeof text) == VS_OK;
    put(f, "socket", fits, "set VERITAS_SOCKET to a shorter path", fits ? text : "path too long");
}

/* {"checks":[{"name","value","ok","advice"}...]}; a new reference. */
static json_t *facts(void)
{
    struct facts f = { .checks = json_array() };
    vs_machine_read("", &f.machine);
    vs_sandbox_probe(&f.host);
    static void (*const checks[])(struct facts *f) = { check_cpu, check_memory, check_limits, check_sandbox, check_level,
                                                       check_places };
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        checks[i](&f);
    return json_pack("{s:o}", "checks", f.checks);
}

int vs_command_doctor(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    if (vs_session_check_variables(&err) != VS_OK)
        return vs_fail(&err);
    json_t *all = facts(), *check;
    size_t i;
    if (vs_args_given(args, VS_OPT_JSON)) {
        vs_answer_json(all, JSON_INDENT(2));
    } else {
        json_array_foreach(json_object_get(all, "checks"), i, check) {
            bool ok = json_is_true(json_object_get(check, "ok"));
            printf("%-4s %-20s %s\n", ok ? "ok" : "-", json_string_value(json_object_get(check, "name")),
                   vs_shown(json_string_value(json_object_get(check, "value"))).text);
            if (!ok)
                printf("     %-20s %s\n", "", vs_shown(json_string_value(json_object_get(check, "advice"))).text);
        }
    }
    json_decref(all);
    return 0;
}
