/* A program that libveritas is put into, with threads, signal handlers and children of its own. Each command is one thing that must
 * hold; tests/e2e/capi.py builds it from the installed prefix. Exit status 0: it held. */
#include <veritas/veritas.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MANY = 128 };

#define CHECK(what) do { if (!(what)) { dprintf(2, "line %d: not so: %s (%s: %s)\n", __LINE__, #what, error.name, error.message); \
    exit(1); } } while (0)

static struct veritas_error error = VERITAS_ERROR_INIT;
static volatile sig_atomic_t n_children_signals;
static const char *model;

static void on_child(int number)
{
    (void)number;
    n_children_signals++;
}

static int n_descriptors(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d && readdir(d))
        n++;
    closedir(d);
    return n;
}

static void *open_private(void *ret)
{
    struct veritas_options o = VERITAS_OPTIONS_INIT;
    o.mode = VERITAS_PRIVATE;
    CHECK(veritas_open(&o, (veritas **)ret, &error) == VERITAS_OK);
    return NULL;
}

static void *sleep_for_ever(void *unused)
{
    for (;;)
        pause();
    return unused;
}

static char *answer(veritas *v)
{
    char *text = NULL;
    CHECK(veritas_load(v, model, "{\"threads\":1}", &error) == VERITAS_OK);
    CHECK(veritas_generate(v, model, "ab", "{\"raw\":true,\"max_tokens\":20,\"ignore_eos\":true,\"sampling\":{\"temperature\":0}}",
                           &text, &error) == VERITAS_OK);
    return text;
}

/* A private daemon is started by a thread that ends at once, in a process with other threads; nothing of the process changes, its
 * own child stays its own, and afterwards all is as before. */
static void guest(int child_action)
{
    struct sigaction before[NSIG], after, act = { .sa_handler = child_action == 1 ? SIG_IGN : on_child };
    sigset_t mask, mask_after;
    pthread_t other, opener;
    veritas *v;
    int status;
    if (child_action)
        sigaction(SIGCHLD, &act, NULL);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    pthread_create(&other, NULL, sleep_for_ever, NULL);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    signal(SIGPIPE, SIG_DFL);
    pid_t own = fork();
    if (own == 0) {
        pause();
        _exit(7);
    }
    int descriptors = n_descriptors();
    for (int i = 1; i < NSIG; i++)
        if (sigaction(i, NULL, &before[i]) != 0)
            memset(&before[i], 0, sizeof before[i]);
    for (int round = 0; round < 2; round++) {
        pthread_create(&opener, NULL, open_private, &v);
        pthread_join(opener, NULL);
        usleep(100000);                 /* would end now, if it were bound to the thread */
        CHECK(veritas_is_private(v));
        char *text = answer(v);
        CHECK(strlen(text) > 0);
        veritas_free(text);
        veritas_close(v);
    }
    for (int i = 1; i < NSIG; i++)
        if (sigaction(i, NULL, &after) == 0)
            CHECK(after.sa_handler == before[i].sa_handler && after.sa_flags == before[i].sa_flags);
    pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
    CHECK(memcmp(&mask, &mask_after, sizeof mask) == 0);
    CHECK(n_descriptors() == descriptors);
    CHECK(waitpid(-1, &status, WNOHANG) == 0);      /* only our child is there, and it lives */
    kill(own, SIGKILL);
    if (child_action != 1)
        CHECK(waitpid(-1, &status, 0) == own && WIFSIGNALED(status));
}

/* Somebody reaps whatever child there is, also the daemon: closing neither waits for it for ever nor kills a stranger. */
static void *reap_all(void *unused)
{
    for (;;)
        if (waitpid(-1, NULL, 0) < 0)
            usleep(1000);
    return unused;
}

static void reaper(void)
{
    pthread_t thread;
    veritas *v;
    pthread_create(&thread, NULL, reap_all, NULL);
    for (int round = 0; round < 3; round++) {
        open_private(&v);
        veritas_free(answer(v));
        veritas_close(v);
    }
}

/* Without standard descriptors. */
static void naked(void)
{
    veritas *v;
    for (int i = 0; i < 3; i++)
        close(i);
    open_private(&v);
    char *text = answer(v);
    if (!text[0])
        _exit(1);
    veritas_free(text);
    veritas_close(v);
}

/* A private daemon that does not start says why where log_fd leads, and nowhere else. */
static void broken(void)
{
    struct veritas_options o = VERITAS_OPTIONS_INIT;
    veritas *v;
    char said[400] = "";
    int end[2];
    CHECK(pipe(end) == 0);
    setenv("VERITAS_SANDBOX", "nonsense", 1);
    o.mode = VERITAS_PRIVATE;
    CHECK(veritas_open(&o, &v, &error) == VERITAS_E_DIED && strstr(error.message, "log_fd"));
    o.log_fd = end[1];
    CHECK(veritas_open(&o, &v, &error) == VERITAS_E_DIED && !strstr(error.message, "log_fd"));
    CHECK(read(end[0], said, sizeof said - 1) > 0 && strstr(said, "nonsense"));
}

/* The daemon's line of those who want in is full: that is said, after ten seconds. */
static void full(void)
{
    struct veritas_options o = VERITAS_OPTIONS_INIT;
    veritas *v;
    o.mode = VERITAS_RUNNING;
    o.socket = model;
    CHECK(veritas_open(&o, &v, &error) == VERITAS_E_BUSY);
}

static void *cancel_odd(void *list)
{
    veritas_request **r = (veritas_request **)list;
    usleep(30000);
    for (int i = 1; i < MANY; i += 2)
        veritas_cancel(r[i]);
    return NULL;
}

/* As many requests at once as one connection may have, the odd ones without end until another thread cancels them. */
static void many(void)
{
    veritas *v;
    veritas_request *r[MANY];
    struct veritas_event e = VERITAS_EVENT_INIT;
    static char text[MANY][512];
    pthread_t thread;
    int n_done = 0, n_cancelled = 0;
    CHECK(veritas_open(NULL, &v, &error) == VERITAS_OK);
    char *alone = answer(v);
    for (int i = 0; i < MANY; i++) {
        CHECK(veritas_request_new(v, VERITAS_GENERATE, model, &r[i], &error) == VERITAS_OK);
        veritas_request_set_user(r[i], text[i]);
        veritas_set_text(r[i], "prompt", "ab", 2);
        veritas_set_flag(r[i], "raw", 1);
        veritas_set_flag(r[i], "ignore_eos", 1);
        veritas_set_number(r[i], "sampling.temperature", 0);
        veritas_set_int(r[i], "max_tokens", i % 2 ? 1000000 : 20);
        CHECK(veritas_start(r[i], &error) == VERITAS_OK);
    }
    pthread_create(&thread, NULL, cancel_odd, r);
    while (n_done + n_cancelled < MANY) {
        CHECK(veritas_step(v, -1, &e, &error) == VERITAS_OK);
        char *to = (char *)e.user;
        if (e.kind == VERITAS_TOKEN && strlen(to) + e.text_bytes < 500)
            memcpy(to + strlen(to), e.text, e.text_bytes);
        if (e.kind == VERITAS_DONE)
            n_done++;
        if (e.kind == VERITAS_FAILED && e.error->code != VERITAS_E_CANCELLED)
            error = *e.error;
        if (e.kind == VERITAS_FAILED)
            n_cancelled += e.error->code == VERITAS_E_CANCELLED ? 1 : 1000;
    }
    CHECK(n_done + n_cancelled == MANY && n_done >= MANY / 2);
    for (int i = 0; i < MANY; i += 2)
        CHECK(strcmp(text[i], alone) == 0);
    pthread_join(thread, NULL);
    for (int i = 0; i < MANY; i++)
        veritas_request_free(r[i]);
    veritas_free(alone);
    veritas_close(v);
}

static void *one_thread(void *ret)
{
    veritas *v;
    CHECK(veritas_open(NULL, &v, &error) == VERITAS_OK);
    *(char **)ret = answer(v);
    veritas_close(v);
    return NULL;
}

/* Eight threads, a connection each. */
static void threads(void)
{
    pthread_t thread[8];
    char *text[8];
    for (int i = 0; i < 8; i++)
        pthread_create(&thread[i], NULL, one_thread, &text[i]);
    for (int i = 0; i < 8; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < 8; i++) {
        CHECK(strcmp(text[0], text[i]) == 0);
        veritas_free(i ? text[i] : NULL);
    }
    veritas_free(text[0]);
}

/* The daemon is killed in the middle of two streams: each has exactly one end, and then there is only the reason. */
static void orphan(void)
{
    veritas *v;
    veritas_request *r[2];
    struct veritas_event e = VERITAS_EVENT_INIT;
    int n_failed = 0, was_said = 0, status;
    CHECK(veritas_open(NULL, &v, &error) == VERITAS_OK);
    veritas_free(answer(v));
    for (int i = 0; i < 2; i++) {
        CHECK(veritas_request_new(v, VERITAS_GENERATE, model, &r[i], &error) == VERITAS_OK);
        veritas_set_json(r[i], NULL, "{\"prompt\":\"ab\",\"raw\":true,\"max_tokens\":1000000,\"ignore_eos\":true}");
        CHECK(veritas_start(r[i], &error) == VERITAS_OK);
    }
    while ((status = veritas_step(v, 20000, &e, &error)) == VERITAS_OK) {
        if (e.kind == VERITAS_TOKEN && !was_said)
            was_said = puts("kill") + fflush(stdout) + 1;
        if (e.kind == VERITAS_FAILED && e.request)
            n_failed++;
    }
    CHECK(n_failed == 2 && status != VERITAS_E_TIMEOUT && error.code == status);
    CHECK(veritas_start(r[0], &error) == status);
    veritas_request_free(r[0]);
    veritas_close(v);
    veritas_request_free(r[1]);
}

int main(int argc, char **argv)
{
    const char *command = argc == 3 ? argv[1] : "";
    model = argv[argc - 1];
    if (strcmp(command, "guest") == 0)
        guest(0);
    else if (strcmp(command, "guest-ignoring") == 0)
        guest(1);
    else if (strcmp(command, "guest-handling") == 0)
        guest(2);
    else if (strcmp(command, "reaper") == 0)
        reaper();
    else if (strcmp(command, "broken") == 0)
        broken();
    else if (strcmp(command, "full") == 0)
        full();
    else if (strcmp(command, "naked") == 0)
        naked();
    else if (strcmp(command, "many") == 0)
        many();
    else if (strcmp(command, "threads") == 0)
        threads();
    else if (strcmp(command, "orphan") == 0)
        orphan();
    else
        return 2;
    return 0;
}
