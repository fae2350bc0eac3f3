/* prog/selftest/main.c - veritas-selftest: does this build on this machine compute what the contract says? (docs/NUMERICS.md)
 *
 *   veritas-selftest [--json] [--brief] [--every N] [--isa LEVEL]
 *   veritas-selftest --golden
 *
 * `veritas selftest` starts it. --every N: each N-th model, where all would take too long (an emulator, ASan). It reads no file,
 * opens no socket and links only the numeric rooms, so it can be built static for a machine of which only a compiler is at hand.
 * Exit status: 0 all hashes are golden, 1 one is not, 2 usage, 6 cancelled.
 */
#include "base/bytes.h"
#include "base/word.h"
#include "selftest/selftest.h"
#include "base/sha256.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void quote(const char *s)
{
    putchar('"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            putchar('\\');
        putchar(*s);
    }
    putchar('"');
}

/* Rows of the matrix (docs/NUMERICS.md, 8) by what became of the pages; else by whether something was guessed. */
enum row { ALONE, SPECULATION, PREFIX_CACHE, PREEMPTION, N_ROWS };
static const char *const row_names[N_ROWS] = { "alone", "speculation", "prefix cache", "preemption" };
static const enum row row_of[VS_N_PASTS] = {
    [VS_FOUND_RUNNING] = PREFIX_CACHE, [VS_FOUND_KEPT] = PREFIX_CACHE, [VS_FORKED] = PREFIX_CACHE,
    [VS_PARKED] = PREEMPTION, [VS_EVICTED] = PREEMPTION, [VS_SHORTENED] = PREEMPTION,
};

struct outcome {
    size_t n, n_of[N_ROWS];             /* configurations that were computed */
    bool ok;
    char hash[65];                      /* of the first, or of the first that differs */
    char what[640];                     /* what differs */
};

static void tell(struct outcome *o, const struct vs_way *w, const char *what)
{
    char where[20] = "";
    if (w->past != VS_ALONE)
        snprintf(where, sizeof where, " at %u", w->split);
    snprintf(o->what, sizeof o->what, "isa %s, %u thread%s, chunk %u, %u draft%s, %s%s: %s", vs_isa_name(w->isa), w->n_threads,
             vs_plural(w->n_threads), w->chunk, w->n_drafts, vs_plural(w->n_drafts), vs_past_name(w->past), where, what);
    o->ok = false;
}

static struct outcome try_case(const struct vs_case *of, enum vs_isa isa, bool brief)
{
    struct outcome o = { .ok = true, .hash = "" };
    struct vs_way ways[VS_MAX_WAYS];
    size_t n_ways = vs_selftest_ways(of, isa, brief, ways);
    struct vs_subject subject;
    struct vs_error err = { 0 };
    if (vs_subject_create(of, &subject, &err) != VS_OK) {
        snprintf(o.what, sizeof o.what, "%s", err.text);
        o.ok = false;
        return o;
    }
    for (size_t i = 0; i < n_ways && o.ok; i++) {
        const struct vs_way *w = &ways[i];
        if (vs_subject_run(&subject, w, o.hash, &err) != VS_OK) {
            tell(&o, w, err.text);
        } else if (strcmp(o.hash, of->golden) != 0) {
            char both[80];
            snprintf(both, sizeof both, "%.16s, golden is %.16s", o.hash, of->golden);
            tell(&o, w, both);
        } else {
            o.n++;
            o.n_of[w->past == VS_ALONE && w->n_drafts ? SPECULATION : row_of[w->past]]++;
        }
    }
    vs_subject_clear(&subject);
    return o;
}

static int print_golden(void)
{
    const struct vs_way oracle = { .isa = VS_ISA_C, .n_threads = 1 };
    for (size_t i = 0; i < vs_n_cases; i++) {
        struct vs_subject subject;
        struct vs_error err = { 0 };
        char hash[65];
        int r = vs_subject_create(&vs_cases[i], &subject, &err);
        if (r == VS_OK) {
            r = vs_subject_run(&subject, &oracle, hash, &err);
            vs_subject_clear(&subject);
        }
        if (r != VS_OK) {
            fprintf(stderr, "veritas-selftest: %s: %s\n", vs_cases[i].name, err.text);
            return 1;
        }
        printf("%s %s\n", hash, vs_cases[i].name);
    }
    return 0;
}

static void cancelled(int number)
{
    static const char text[] = "veritas: cancelled\n";
    (void)number;
    ssize_t n = write(2, text, sizeof text - 1);
    (void)n;
    _exit(6);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_DFL);            /* `veritas` ignores it */
    signal(SIGINT, cancelled);
    signal(SIGTERM, cancelled);
    bool json = false, brief = false;
    int isa = (int)vs_isa_best();
    unsigned long every = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            json = true;
        } else if (strcmp(argv[i], "--brief") == 0) {
            brief = true;
        } else if (strcmp(argv[i], "--every") == 0 && i + 1 < argc && (every = strtoul(argv[i + 1], NULL, 10)) > 0) {
            i++;
        } else if (strcmp(argv[i], "--golden") == 0) {
            return print_golden();
        } else if (strcmp(argv[i], "--isa") == 0 && i + 1 < argc && (isa = vs_isa_parse(argv[i + 1])) >= 0 &&
                   isa <= (int)vs_isa_best()) {
            i++;
        } else {
            fprintf(stderr, "usage: veritas-selftest [--json] [--brief] [--every N] [--isa LEVEL that this processor has] | "
                    "--golden\n");
            return 2;
        }
    }
    size_t n_models = 0, n = 0, n_bad = 0, n_of[N_ROWS] = { 0 };
    struct vs_sha256 all;
    vs_sha256_init(&all);
    if (json)
        printf("{\"contract\": \"VNC-1\", \"isa\": \"%s\", \"models\": [", vs_isa_name((enum vs_isa)isa));
    for (size_t i = 0; i < vs_n_cases; i += every) {
        struct outcome o = try_case(&vs_cases[i], (enum vs_isa)isa, brief);
        n_models++;
        n += o.n;
        for (int row = 0; row < N_ROWS; row++)
            n_of[row] += o.n_of[row];
        n_bad += !o.ok;
        vs_sha256_add(&all, o.hash, strlen(o.hash));
        if (json) {
            printf("%s{\"name\": ", i ? ", " : "");
            quote(vs_cases[i].name);
            printf(", \"configurations\": %zu, \"hash\": \"%s\", \"golden\": \"%s\", \"ok\": %s, \"fault\": ", o.n, o.hash,
                   vs_cases[i].golden, o.ok ? "true" : "false");
            quote(o.what);
            putchar('}');
        } else if (o.ok) {
            printf("%s: %zu configuration%s, 1 hash %.16s\n", vs_cases[i].name, o.n, vs_plural(o.n), o.hash);
        } else {
            printf("%s: DIFFERS: %s\n", vs_cases[i].name, o.what);
        }
        fflush(stdout);
    }
    uint8_t bytes[32];
    char digest[65], of_all[32] = "";
    if (every > 1)
        snprintf(of_all, sizeof of_all, " of %zu", (size_t)vs_n_cases);
    vs_sha256_end(&all, bytes);
    vs_hex(bytes, sizeof bytes, digest);
    for (int row = 0; row < N_ROWS && !json && !n_bad; row++)
        printf("%s: %zu configuration%s\n", row_names[row], n_of[row], vs_plural(n_of[row]));
    if (json)
        printf("], \"rows\": {\"alone\": %zu, \"speculation\": %zu, \"prefix_cache\": %zu, \"preemption\": %zu}, "
               "\"configurations\": %zu, \"digest\": \"%s\", \"ok\": %s}\n", n_of[ALONE], n_of[SPECULATION],
               n_of[PREFIX_CACHE], n_of[PREEMPTION], n, digest, n_bad ? "false" : "true");
    else if (n_bad)
        printf("selftest: %zu of %zu models differ%s from the contract: do not trust this build on this machine\n",
               n_bad, n_models, n_bad == 1 ? "s" : "");
    else
        printf("selftest: %zu models%s, %zu configurations up to %s, every hash golden, digest %s\n", n_models, of_all, n,
               vs_isa_name((enum vs_isa)isa), digest);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "veritas: cannot write to standard output: %s\n", strerror(errno ? errno : EIO));
        return 1;
    }
    return n_bad ? 1 : 0;
}
