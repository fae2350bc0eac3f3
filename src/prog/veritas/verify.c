/* prog/veritas/verify.c - `veritas verify`: is a receipt what it says, and is the answer what the model gives? (docs/RECEIPT.md)
 *
 *     RECEIPT, --pubkey, --kept --(descriptors)--> veritas-receipt --verdict, request--> this program --VERIFY--> a private daemon
 *
 * This program reads no byte of a receipt: a small program without engine judges signature, statement and opening, locked in, and
 * makes of a sound receipt the request that does the computation again. */
#include "base/child.h"
#include "base/file.h"
#include "ipc/json.h"
#include "prog/veritas/command.h"
#include "prog/veritas/session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KEY_FD = 3, KEPT_FD = 4, HIGH_FD = 40, EXIT_USAGE = 2, EXIT_WRONG = 3, EXIT_UNVERIFIABLE = 4 };
#define MOST_OUTPUT ((size_t)96 << 20)

struct judge {
    char program[1200];
    int receipt, key, kept;              /* descriptors; key, kept -1: none */
    bool replays, decodes;
    char line[24];                       /* of the receipts in the file; "": it has one */
};

/* ---- the small program ---- */

/* In the child: the receipt to 0, the pipe to 1, the key to 3, what was kept to 4. */
static void become_judge(const struct judge *j, int pipe, pid_t parent)
{
    const char *words[6] = { "veritas-receipt" };
    union { const char *const *in; char *const *out; } argv = { words };     /* execv changes nothing */
    int fds[] = { j->receipt, pipe, j->key, j->kept }, to[] = { 0, 1, KEY_FD, KEPT_FD }, n = 1;
    enum { N = sizeof fds / sizeof *fds };
    if (j->replays)
        words[n++] = "--request";
    if (j->decodes)
        words[n++] = "--decode";
    if (j->line[0]) {
        words[n++] = "--line";
        words[n++] = j->line;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    for (int i = 0; i < N; i++)
        if (fds[i] >= 0 && (fds[i] = fcntl(fds[i], F_DUPFD, HIGH_FD)) < 0)
            _exit(127);
    close(KEY_FD);
    close(KEPT_FD);
    for (int i = 0; i < N; i++)
        if (fds[i] >= 0 && dup2(fds[i], to[i]) < 0)
            _exit(127);
    vs_child_close_from(KEPT_FD + 1);
    vs_child_exec(j->program, argv.out, NULL, vs_child_kept_locked, "/");
    _exit(127);
}

static int read_output(int pipe, struct vs_buf *ret, struct vs_error *err)
{
    char piece[65536];
    ssize_t got;
    while ((got = read(pipe, piece, sizeof piece)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 || ret->n + (size_t)got > MOST_OUTPUT)
            return vs_error_set(err, VS_E_PROTOCOL, "what veritas-receipt says cannot be read");
        vs_buf_add(ret, piece, (size_t)got);
    }
    return ret->status == VS_OK ? VS_OK : vs_error_set(err, ret->status, "out of memory");
}

/* The verdict, and where it is WELL_FORMED and there is to be a replay, the request (NULL: it can't be). */
static int ask_judge(const struct judge *j, json_t **ret_verdict, json_t **ret_request, struct vs_error *err)
{
    int pipes[2], status = 0;
    struct vs_buf output = { 0 };
    pid_t parent = getpid();
    if (pipe2(pipes, O_CLOEXEC) != 0)
        return vs_error_set(err, VS_E_SYSTEM, "pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0)
        become_judge(j, pipes[1], parent);
    close(pipes[1]);
    int rc = pid < 0 ? vs_error_set(err, VS_E_SYSTEM, "fork: %s", strerror(errno)) : read_output(pipes[0], &output, err);
    close(pipes[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    const char *end = rc == VS_OK && output.n ? memchr(output.data, '\n', output.n) : NULL;
    bool is_usage = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_USAGE;
    if (rc == VS_OK && !end && is_usage)
        rc = vs_error_set(err, VS_E_INVALID, "%s", "");          /* it has said why on standard error */
    else if (rc == VS_OK && !end)
        rc = vs_error_set(err, VS_E_DIED, "veritas-receipt ended without a verdict (%s %d)",
                          WIFEXITED(status) ? "exit status" : "signal", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    if (rc == VS_OK && !(*ret_verdict = vs_json_parse(output.data, (size_t)(end - output.data), err)))
        rc = err->code;
    size_t first = end ? (size_t)(end - output.data) + 1 : 0;
    if (rc == VS_OK && first < output.n && !(*ret_request = vs_json_parse(output.data + first, output.n - first, err)))
        rc = err->code;
    vs_buf_clear(&output);
    return rc;
}

/* ---- what comes of it ---- */

static const char *word_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static int exit_of(const char *verdict)
{
    return strcmp(verdict, "WELL_FORMED") == 0 || strcmp(verdict, "MATCH") == 0 ? 0
         : strcmp(verdict, "UNVERIFIABLE") == 0                                 ? EXIT_UNVERIFIABLE
                                                                               : EXIT_WRONG;
}

/* The verdict as it is told: of the structure, or of the replay, whose words take the place of those. */
static int tell(const struct vs_args *args, const json_t *structure, const json_t *replay, const char *mode)
{
    const json_t *said = replay ? replay : structure, *at = json_object_get(said, "at");
    const char *verdict = word_of(said, "verdict"), *signer = word_of(structure, "signer");
    bool trusted = json_is_true(json_object_get(structure, "trusted"));
    if (vs_args_given(args, VS_OPT_JSON)) {
        json_t *o = json_pack("{s:s, s:O, s:s, s:s, s:O}", "verdict", verdict, "at", at, "mode", mode, "reason",
                              word_of(said, "reason"), "tokens", json_object_get(said, "tokens"));
        if (o && *signer)
            json_object_set_new(o, "signer", json_string(signer));
        if (o && *signer)
            json_object_set_new(o, "trusted", json_boolean(trusted));
        vs_answer_json(o, JSON_COMPACT);
        json_decref(o);
        return exit_of(verdict);
    }
    printf("%s", vs_shown(verdict).text);
    if (json_is_integer(at))
        printf(" at token %lld", (long long)json_integer_value(at));
    if (*word_of(said, "reason"))
        printf(": %s", vs_shown(word_of(said, "reason")).text);
    printf("\n");
    if (exit_of(verdict) == 0)
        printf("%lld tokens, mode %s, signed by %s, %s\n", (long long)json_integer_value(json_object_get(said, "tokens")), mode,
               vs_shown(signer).text, trusted ? "the key of --pubkey" : "for which nobody vouches here (--pubkey)");
    return exit_of(verdict);
}

static json_t *unverifiable(const char *reason)
{
    return json_pack("{s:s, s:n, s:s, s:i}", "verdict", "UNVERIFIABLE", "at", "reason", reason, "tokens", 0);
}

/* ---- replay ---- */

/* As the answer was computed: what changes bits comes from the receipt, the rest from the command line. */
static json_t *load_settings(const struct vs_args *args, const json_t *structure)
{
    json_t *o = json_pack("{s:s, s:s, s:O, s:i, s:s}", "precision",
                          strcmp(word_of(structure, "contract"), "VNC-1H") == 0 ? "high" : "fast", "kv_type",
                          word_of(structure, "kv_type"), "ctx", json_object_get(structure, "ctx"), "parallel", 1, "prefix_cache",
                          "off");
    if (o && vs_args_json(args, "settings.", o) != VS_OK) {
        json_decref(o);
        return NULL;
    }
    return o;
}

/* What is not the receipt's doing: the model that was named is none, or not that of the receipt. */
static bool is_model_refused(int rc)
{
    static const int refusals[] = { VS_E_NOT_FOUND, VS_E_MALFORMED, VS_E_SHORT, VS_E_UNSUPPORTED, VS_E_INVALID, VS_E_DENIED };
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        if (rc == refusals[i])
            return true;
    return false;
}

/* Loaded as the receipt says; *ret is the verdict where that can't be. */
static int load(const struct vs_args *args, struct vs_session *s, json_t *settings, json_t **ret, struct vs_error *err)
{
    struct vs_buf reason = { 0 };
    int rc = vs_session_load(s, vs_args_text(args, VS_OPT_MODEL), settings, NULL, err);
    if (!is_model_refused(rc))
        return rc;
    vs_buf_str(&reason, rc == VS_E_NOT_FOUND ? "" : "this model cannot be loaded as the receipt says: ");
    vs_buf_str(&reason, err->text);
    if (reason.status == VS_OK)
        *ret = unverifiable(reason.data);
    vs_buf_clear(&reason);
    return *ret ? VS_OK : VS_E_NOMEM;
}

static int replay(const struct vs_args *args, const json_t *structure, json_t *request, json_t **ret, struct vs_error *err)
{
    struct vs_session s = { 0 };
    json_t *settings = load_settings(args, structure);
    int rc = settings ? vs_session_open(&s, args, NULL, VS_SESSION_PRIVATE | VS_SESSION_NO_LOAD, err)
                      : vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (rc == VS_OK)
        rc = load(args, &s, settings, ret, err);
    if (rc == VS_OK && !*ret)
        rc = vs_session_call(&s, VS_MSG_VERIFY, request, -1, NULL, NULL, ret, err);
    json_decref(settings);
    vs_session_close(&s);
    return rc;
}

static int open_files(const struct vs_args *args, struct judge *j, struct vs_error *err)
{
    struct stat st;
    int rc = vs_program_find("veritas-receipt", j->program, sizeof j->program, err);
    if (rc == VS_OK && strcmp(args->v[0], "-") == 0)
        j->receipt = fcntl(0, F_DUPFD_CLOEXEC, HIGH_FD);
    else if (rc == VS_OK)
        rc = vs_file_open("the receipt", args->v[0], &j->receipt, &st, err);
    if (rc == VS_OK && vs_args_given(args, VS_OPT_PUBKEY))
        rc = vs_file_open("the public key", vs_args_text(args, VS_OPT_PUBKEY), &j->key, &st, err);
    if (rc == VS_OK && vs_args_given(args, VS_OPT_KEPT))
        rc = vs_file_open("what was kept", vs_args_text(args, VS_OPT_KEPT), &j->kept, &st, err);
    return rc;
}

int vs_command_verify(const struct vs_args *args)
{
    struct judge j = { .receipt = -1, .key = -1, .kept = -1 };
    struct vs_error err = { 0 };
    json_t *structure = NULL, *request = NULL, *result = NULL;
    bool has_model = vs_args_given(args, VS_OPT_MODEL);
    const char *mode = vs_args_given(args, VS_OPT_MODE) ? vs_args_text(args, VS_OPT_MODE) : has_model ? "replay" : "structure";
    int status;
    if (vs_args_given(args, VS_OPT_LINE))
        snprintf(j.line, sizeof j.line, "%lld", (long long)vs_args_int(args, VS_OPT_LINE));
    j.replays = strcmp(mode, "structure") != 0;
    j.decodes = strcmp(mode, "decode") == 0;
    if (!j.replays && has_model)
        return vs_usage("verify", "--model: nothing is computed in mode structure; leave it out, or ask for --mode replay");
    int rc = open_files(args, &j, &err);
    if (rc == VS_OK)
        rc = ask_judge(&j, &structure, &request, &err);
    if (rc == VS_OK && j.replays && strcmp(word_of(structure, "verdict"), "WELL_FORMED") == 0) {
        const char *lacks = json_string_value(json_object_get(structure, "lacks"));
        if (lacks || !request)
            result = unverifiable(lacks ? lacks : "there is no memory to make the request");
        else if (!has_model)
            result = unverifiable("which model? -m names the file whose SHA-256 is that of the receipt");
        else
            rc = replay(args, structure, request, &result, &err);
    }
    status = rc == VS_OK ? tell(args, structure, result, mode) : err.text[0] ? vs_fail(&err) : EXIT_USAGE;
    json_decref(structure);
    json_decref(request);
    json_decref(result);
    if (j.receipt >= 0)
        close(j.receipt);
    if (j.key >= 0)
        close(j.key);
    if (j.kept >= 0)
        close(j.kept);
    return status;
}
