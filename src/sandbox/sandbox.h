/* sandbox/sandbox.h - a process locks itself in.
 *
 * A program that was started with its descriptors ready calls vs_sandbox_enter() once, early in main(), before it
 * reads a byte that it does not trust and before it has threads. When the call returns, the process
 *   - has no descriptor but those it named, and can make none from a name: no open, no socket, no connect, no exec;
 *   - has no identity worth having (unprivileged uid, no capabilities, no new privileges, an empty environment);
 *   - may still compute: memory (never executable), threads, clocks, and read and write on what it holds.
 * The layers (docs/SANDBOX.md): seccomp list, Landlock, namespaces and an empty root directory, rlimits, uid. What
 * the host lacks is reported, not hidden; below options.min_level the call fails and the program must end.
 *
 * What the program must know afterwards:
 *   - A system call that is not on the list ends the process (exit code VS_SANDBOX_EXIT); its number is in the page
 *     of last words, where the parent finds it. exec, ptrace, mount, bpf and the like kill at once, by SIGSYS.
 *   - Threads may be started; they end by returning, not by pthread_exit (glibc would load a library for it).
 *   - malloc is held to one arena (glibc opens /proc files for the others), a limit on memory is RLIMIT_DATA and RLIMIT_AS.
 *   - Nothing that opens a file on first use (locale, iconv, time zones, getpw*, dlopen) works: do it before.
 *
 * Threads: vs_sandbox_enter and vs_sandbox_fork want a process with one thread. Failure: VS_OK or VS_E_*; when
 * vs_sandbox_enter fails the process is half locked in and good for nothing but saying why.
 */
#ifndef VS_SANDBOX_H
#define VS_SANDBOX_H
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- last words: 4096 bytes that outlive the process ----
 *
 * A memfd that the parent makes and both map. The dying process (its signal handlers too) writes, the parent reads
 * after wait(): so it can say why. To the parent the content is untrusted bytes. */
enum vs_last_words_kind { VS_WORDS_NONE, VS_WORDS_SYSCALL, VS_WORDS_SIGNAL, VS_WORDS_TEXT };

struct vs_last_words {
    uint32_t kind;                      /* enum vs_last_words_kind; written last */
    int32_t number;                     /* system call (VS_WORDS_SYSCALL) or signal (VS_WORDS_SIGNAL) */
    uint32_t arch;                      /* AUDIT_ARCH_* of the system call */
    int32_t code;                       /* si_code of the signal */
    uint64_t address;                   /* fault address of the signal, instruction of the system call */
    int32_t status;                     /* VS_E_* beside VS_WORDS_TEXT */
    char phase[60];                     /* what the process was doing, NUL-terminated */
    char text[4008];                    /* VS_WORDS_TEXT, NUL-terminated */
};
_Static_assert(sizeof(struct vs_last_words) == 4096, "last words are one page");

/* A new sealed memfd of one page, close-on-exec; the caller owns it. Maps it too when ret_words is not NULL. */
int vs_last_words_create(int *ret_fd, struct vs_last_words **ret_words, struct vs_error *err);
void vs_last_words_unmap(struct vs_last_words *words);

/* In the child: what it is doing (shown in the explanation of a death), and a last message of its own. Both are
 * silent when no page was given to vs_sandbox_enter; both may be called before it after vs_last_words_attach. */
int vs_last_words_attach(int fd);
void vs_last_words_phase(const char *phase);
void vs_last_words_say(int status, const char *text);

/* In the parent: one printable line on why the process ended ("tried the system call openat (257) and was stopped",
 * "killed by signal 9"), and the status code for clients.
 * wait_status is waitpid's. text is NUL-terminated. words may be NULL. */
int vs_last_words_explain(const struct vs_last_words *words, int wait_status, char *text, size_t text_bytes);
/* The forbidden system call for which it was stopped, by name, until the next call; NULL: it was not. */
const char *vs_last_words_call(const struct vs_last_words *words, int wait_status);

/* ---- locking in ---- */
enum { VS_SANDBOX_EXIT = 71 };          /* exit code of a process that its handlers ended */

enum vs_sandbox_profile {
    VS_SANDBOX_WORKER,                  /* computes on one file, speaks on sockets it holds */
    VS_SANDBOX_BROKER,                  /* accepts and multiplexes sockets, passes descriptors on, no file */
    VS_SANDBOX_GATEWAY,                 /* accepts strangers from the network; sockets it is handed, no file */
    VS_SANDBOX_GUARD,                   /* reads what passes between two sockets that it is handed, no file */
    VS_SANDBOX_AUDIT,                   /* appends to files that it is handed, and waits until they are on the disk */
};

/* Zero is a sound value for every field but those of the first block. */
struct vs_sandbox_options {
    enum vs_sandbox_profile profile;
    uint64_t keep_fds;                  /* bit n: descriptor n stays open (n < 64); all others are closed.
                                           0, 1 and 2 stay always. */
    int words_fd;                       /* page of last words, or -1; closed after it was mapped */

    uint64_t memory_bytes;              /* RLIMIT_DATA: heap, stacks, private anonymous maps; with it RLIMIT_AS, a little larger,
                                           so that no kind of map escapes. 0 = no limit */
    uint32_t n_files;                   /* RLIMIT_NOFILE; 0 = no descriptor beyond the highest kept one */
    uint32_t n_threads;                 /* RLIMIT_NPROC where it can be counted per process; 0 = 512 */
    uid_t uid; gid_t gid;               /* who a process started as root becomes; 0 = 65534 */
    bool keep_stderr;                   /* debugging: no limit on what may be written to files */

    int min_level;                      /* fail below it; 0 = VS_SANDBOX_LEVEL_DEFAULT, -1 = anything goes */
    int landlock_max;                   /* pretend that the kernel's ABI is at most this; 0 = as it is, -1 = none */
    bool no_namespaces, no_seccomp;     /* pretend that the host lacks them */
};

/* Levels, each including those before it. */
enum {
    VS_SANDBOX_LEVEL_NONE = 0,
    VS_SANDBOX_LEVEL_PROCESS = 1,       /* no new privileges, rlimits, no dumps, descriptors closed */
    VS_SANDBOX_LEVEL_CALLS = 2,         /* + the list of system calls (seccomp), and not uid 0 */
    VS_SANDBOX_LEVEL_FILES = 3,         /* + files are out of reach a second time: Landlock or an empty root */
    VS_SANDBOX_LEVEL_NETWORK = 4,       /* + the network is out of reach a second time: own network namespace */
    VS_SANDBOX_LEVEL_FULL = 5,          /* + Landlock ABI 6 or later and every namespace of the profile */
    VS_SANDBOX_LEVEL_DEFAULT = VS_SANDBOX_LEVEL_CALLS,
};

struct vs_sandbox_report {
    enum vs_sandbox_profile profile;
    int level;                          /* VS_SANDBOX_LEVEL_* */
    bool seccomp;
    int n_calls;                        /* system calls on the list */
    int landlock_abi;                   /* enforced; 0 = none */
    bool ns_user, ns_net, ns_pid, ns_mnt, ns_ipc;
    bool empty_root;                    /* the root directory is an empty, read-only file system */
    bool no_new_privs, rlimits, no_dump, caps_dropped, env_cleared, fds_closed;
    uint64_t memory_bytes;              /* limit in force, 0 = none */
    uid_t uid;                          /* the one the host sees */
    bool sanitizer;                     /* a sanitizer build: its list is wider and its limits are off */
    char missing[200];                  /* what the host lacks and why, "" when nothing */
};

/* Reads "min=3,landlock=2,namespaces=off,seccomp=off,uid=1000,gid=1000" (any part may be absent; NULL or "" is
 * fine) into options: how operator and tests reach them, passed to children in the variable VERITAS_SANDBOX. */
int vs_sandbox_options_parse(const char *text, struct vs_sandbox_options *options, struct vs_error *err);

int vs_sandbox_enter(const struct vs_sandbox_options *options, struct vs_sandbox_report *ret_report,
                     struct vs_error *err);

/* The report as one JSON object, NUL-terminated; returns the length, or 0 when it does not fit. 1024 bytes do. */
size_t vs_sandbox_report_json(const struct vs_sandbox_report *report, char *text, size_t text_bytes);

/* ---- for the parent ---- */

/* fork() for a process that will exec and enter: as the first process of a PID namespace where that is allowed and the
 * profile wants it, else plainly. Returns as fork does; the child must exec or _exit. The child is pid 1 in its own eyes: only
 * SIGKILL from outside is sure to end it. */
pid_t vs_sandbox_fork(enum vs_sandbox_profile profile);

/* What this host offers to the calling user; probes by trying in a child. */
struct vs_sandbox_host {
    bool seccomp;
    int landlock_abi;                   /* 0 = none */
    bool user_ns, net_ns, pid_ns;       /* can be made by the calling user */
    char user_ns_why[96];               /* what stands in the way, "" when nothing */
};
void vs_sandbox_probe(struct vs_sandbox_host *ret_host);

/* Name of a system call of this machine ("openat"), or NULL. */
const char *vs_sandbox_call_name(int number);
#endif
