/* sandbox/words.c - last words: why a process died, left by its signal handlers for its parent.
 *
 * The handlers touch nothing but the mapped page and end the process at once: whatever state the program is in, a
 * store and a system call still work. */
#include "base/text.h"
#include "sandbox/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1                   /* si_code of a SIGSYS that a filter sent */
#endif

static struct vs_last_words *page;      /* this process's own, NULL when it has none */
static atomic_flag spoken = ATOMIC_FLAG_INIT;

int vs_last_words_create(int *ret_fd, struct vs_last_words **ret_words, struct vs_error *err)
{
    int fd = memfd_create("veritas last words", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return vs_error_set(err, VS_E_SYSTEM, "cannot make a shared page: %s", strerror(errno));
    void *map = MAP_FAILED;
    if (ftruncate(fd, sizeof *page) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0
        || (ret_words
            && (map = mmap(NULL, sizeof *page, PROT_READ, MAP_SHARED, fd, 0)) == MAP_FAILED)) {
        int error = errno;
        close(fd);
        return vs_error_set(err, VS_E_SYSTEM, "cannot prepare a shared page: %s", strerror(error));
    }
    if (ret_words)
        *ret_words = map;
    *ret_fd = fd;
    return VS_OK;
}

void vs_last_words_unmap(struct vs_last_words *words)
{
    if (words)
        munmap(words, sizeof *words);
}

int vs_last_words_attach(int fd)
{
    if (page)
        return VS_OK;
    /* A page that could be cut would turn the last words themselves into a SIGBUS. */
    off_t bytes = lseek(fd, 0, SEEK_END);
    if (bytes < (off_t)sizeof *page)
        return VS_E_SHORT;
    void *map = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return VS_E_SYSTEM;
    page = map;
    return VS_OK;
}

static void copy_text(char *to, size_t to_bytes, const char *from)
{
    size_t i = 0;
    for (; i + 1 < to_bytes && from[i]; i++)
        to[i] = from[i];
    to[i] = 0;
}

void vs_last_words_phase(const char *phase)
{
    if (page)
        copy_text(page->phase, sizeof page->phase, phase);
}

static void publish(enum vs_last_words_kind kind)
{
    atomic_thread_fence(memory_order_release);
    page->kind = kind;
}

void vs_last_words_say(int status, const char *text)
{
    if (!page || atomic_flag_test_and_set(&spoken))
        return;
    page->status = status;
    copy_text(page->text, sizeof page->text, text);
    publish(VS_WORDS_TEXT);
}

/* fstat() of this C library is newfstatat(fd, "", …), which the list cannot tell from a look at any path. So that
 * call traps, and is answered here by the plain fstat it means. */
static bool answer_fstat(const siginfo_t *info, ucontext_t *context)
{
#if defined(__x86_64__) && defined(SYS_newfstatat)
    greg_t *r = context->uc_mcontext.gregs;
    if (info->si_syscall != SYS_newfstatat || r[REG_R10] != AT_EMPTY_PATH || *(const char *)r[REG_RSI] != 0)
        return false;
    int saved = errno;
    r[REG_RAX] = syscall(SYS_fstat, (int)r[REG_RDI], r[REG_RDX]) == 0 ? 0 : -errno;
    errno = saved;
    return true;
#elif defined(__aarch64__)
    unsigned long long *r = context->uc_mcontext.regs;
    if (info->si_syscall != SYS_newfstatat || r[3] != AT_EMPTY_PATH || *(const char *)r[1] != 0)
        return false;
    int saved = errno;
    r[0] = syscall(SYS_fstat, (int)r[0], r[2]) == 0 ? 0 : (unsigned long long)-errno;
    errno = saved;
    return true;
#else
    (void)info, (void)context;
    return false;
#endif
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    bool trapped = number == SIGSYS && info->si_code == SYS_SECCOMP;
    if (trapped && answer_fstat(info, context))
        return;
    if (page && !atomic_flag_test_and_set(&spoken)) {
        page->number = trapped ? info->si_syscall : number;
        page->arch = trapped ? info->si_arch : 0;
        page->code = info->si_code;
        page->address = (uint64_t)(uintptr_t)(trapped ? info->si_call_addr : info->si_addr);
        publish(trapped ? VS_WORDS_SYSCALL : VS_WORDS_SIGNAL);
    }
    /* Not _exit: a sanitizer puts itself in between and looks for leaks. */
    syscall(SYS_exit_group, VS_SANDBOX_EXIT);
    __builtin_trap();
}

void vs_words_handle_signals(void)
{
    /* The crash of a sanitizer build belongs to the sanitizer, which reports it better. */
    static const int handled[] = { SIGSYS, SIGBUS, SIGSEGV, SIGABRT, SIGFPE, SIGILL };
    enum { N = sizeof handled / sizeof *handled, N_SANITIZER = 2 };
    static char stack[65536] __attribute__((aligned(64)));  /* a frame with AVX-512 or AMX state is large */
    stack_t s = { .ss_sp = stack, .ss_size = sizeof stack };
    sigaltstack(&s, NULL);
    struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    sigfillset(&action.sa_mask);
    sigset_t open;
    sigemptyset(&open);
    for (int i = 0; i < (VS_SANDBOX_SANITIZER ? N_SANITIZER : N); i++) {
        sigaction(handled[i], &action, NULL);
        sigaddset(&open, handled[i]);
    }
    sigprocmask(SIG_UNBLOCK, &open, NULL);
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGXFSZ, &ignore, NULL);
}

/* ---- the parent's side ---- */

const char *vs_sandbox_call_name(int number)
{
    static _Thread_local char name[64];
    char *found = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
    if (!found)
        return NULL;
    snprintf(name, sizeof name, "%s", found);
    free(found);
    return name;
}

static const struct { int number; const char *text; } signals[] = {
    { SIGSEGV, "touched memory that is not there (SIGSEGV)" },
    { SIGBUS, "met a memory error (SIGBUS)" },
    { SIGABRT, "found an error in itself and stopped (SIGABRT)" },
    { SIGFPE, "made an arithmetic error (SIGFPE)" },
    { SIGILL, "met an instruction that this processor lacks (SIGILL)" },
    { SIGSYS, "killed by the kernel for a forbidden system call" },
    { SIGKILL, "killed by signal 9 (by a user, or by the kernel for lack of memory)" },
};

static const char *signal_text(int number)
{
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (signals[i].number == number)
            return signals[i].text;
    return NULL;
}

static int explain(const struct vs_last_words *shared, int wait_status, char *text, size_t n)
{
    struct vs_last_words w = { 0 };
    if (shared)
        memcpy(&w, (const void *)shared, sizeof w);     /* one copy: the page cannot change under the checks */
    char phase[sizeof w.phase + 8] = "";
    if (w.phase[0]) {
        memcpy(phase, " while ", 7);
        vs_text_line(phase + 7, sizeof phase - 7, w.phase, sizeof w.phase);
    }
    if (WIFSIGNALED(wait_status)) {
        int number = WTERMSIG(wait_status);
        const char *known = signal_text(number);
        if (known)
            snprintf(text, n, "%s%s", known, phase);
        else
            snprintf(text, n, "killed by signal %d%s", number, phase);
        return VS_E_DIED;
    }
    int code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1;
    if (w.kind == VS_WORDS_TEXT) {
        vs_text_line(text, n, w.text, sizeof w.text);
        bool known = strcmp(vs_status_name(w.status), "UNKNOWN") != 0 && w.status != VS_OK;
        return known ? w.status : VS_E_DIED;
    }
    if (w.kind == VS_WORDS_SYSCALL && code == VS_SANDBOX_EXIT) {
        const char *name = vs_sandbox_call_name(w.number);
        snprintf(text, n, "tried the system call %s (%d)%s and was stopped", name ? name : "unknown", w.number, phase);
        return VS_E_DIED;
    }
    if (w.kind == VS_WORDS_SIGNAL && code == VS_SANDBOX_EXIT) {
        const char *known = signal_text(w.number);
        if (known)
            snprintf(text, n, "%s%s", known, phase);
        else
            snprintf(text, n, "stopped by signal %d%s", w.number, phase);
        return VS_E_DIED;
    }
    snprintf(text, n, "ended with exit code %d%s", code, phase);
    return VS_E_DIED;
}

const char *vs_last_words_call(const struct vs_last_words *words, int wait_status)
{
    if (!words || words->kind != VS_WORDS_SYSCALL || !WIFEXITED(wait_status) || WEXITSTATUS(wait_status) != VS_SANDBOX_EXIT)
        return NULL;
    const char *name = vs_sandbox_call_name(words->number);
    return name ? name : "unknown";
}

int vs_last_words_explain(const struct vs_last_words *words, int wait_status, char *text, size_t text_bytes)
{
    if (text_bytes)
        text[0] = 0;
    return explain(words, wait_status, text, text_bytes);
}
