/* sandbox/internal.h - the layers, one file each, that enter.c puts in order. */
#ifndef VS_SANDBOX_INTERNAL_H
#define VS_SANDBOX_INTERNAL_H
#include "sandbox/sandbox.h"

/* A sanitizer's run time opens files, forks a symboliser and maps terabytes. A build with one gets a wider list and
 * no memory limit; it says so in its report and is for tests only. Decided when compiled, never at run time. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define VS_SANDBOX_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define VS_SANDBOX_SANITIZER 1
#endif
#endif
#ifndef VS_SANDBOX_SANITIZER
#define VS_SANDBOX_SANITIZER 0
#endif

/* What tells the profiles apart, beside the rows of seccomp.c. A further process is one more row. */
struct vs_sandbox_row {
    const char *name;
    bool writes_files;                  /* that it holds; others may not make one longer */
    bool knows_peers;                   /* asks who its clients are: the host's process numbers, and its own uid mapped */
};
const struct vs_sandbox_row *vs_sandbox_profile_row(enum vs_sandbox_profile profile);   /* report.c */

/* Adds "what: why" to report->missing. */
void vs_sandbox_missing(struct vs_sandbox_report *report, const char *what, int error);

/* words.c: handlers for SIGSYS, SIGBUS and the crashes, on a stack of their own. */
void vs_words_handle_signals(void);

/* seccomp.c: the list, loaded for all threads. Returns 0 or an errno. */
int vs_seccomp_load(const struct vs_sandbox_options *options, int *ret_n_calls);
bool vs_seccomp_available(void);

/* landlock.c: ABI of the kernel (0 = none); nothing allowed under an ABI of at most max. Returns what is enforced. */
int vs_landlock_abi(void);
int vs_landlock_deny_all(int abi, int *ret_error);

/* namespaces.c: own namespaces, an empty root, another uid, no capabilities. Fills the report. VS_OK or VS_E_SYSTEM. */
int vs_namespaces_enter(const struct vs_sandbox_options *options, struct vs_sandbox_report *report,
                        struct vs_error *err);

/* limits.c */
bool vs_limits_close_fds(uint64_t keep);
void vs_limits_clear_environment(void);
bool vs_limits_set(const struct vs_sandbox_options *options, struct vs_sandbox_report *report);
#endif
