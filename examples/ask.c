/* examples/ask.c - one question; the answer is shown while it is made. Ctrl-C stops it.
 *
 *     cc ask.c $(pkg-config --cflags --libs veritas) -o ask
 *     ./ask smollm2-135m-instruct "Why is the sky blue?"
 */
#include <veritas/veritas.h>

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

static veritas_request *running;

static void on_interrupt(int number)
{
    (void)number;
    veritas_cancel(running);            /* may be called in a handler */
}

static int on_event(void *user, const struct veritas_event *e)
{
    FILE *out = (FILE *)user;
    if (e->kind == VERITAS_TOKEN && fwrite(e->text, 1, e->text_bytes, out) != e->text_bytes)
        return 1;                       /* nobody reads any more: stop */
    return fflush(out);
}

int main(int argc, char **argv)
{
    struct veritas_error error = VERITAS_ERROR_INIT;
    veritas *v = NULL;
    int64_t n = 0;
    int status;
    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL PROMPT\n", argv[0]);
        return 2;
    }
    if ((status = veritas_open(NULL, &v, &error)) == VERITAS_OK &&
        (status = veritas_load(v, argv[1], NULL, &error)) == VERITAS_OK &&
        (status = veritas_request_new(v, VERITAS_GENERATE, argv[1], &running, &error)) == VERITAS_OK) {
        veritas_set_text(running, "prompt", argv[2], VERITAS_TEXT);
        veritas_set_int(running, "max_tokens", 200);
        veritas_set_number(running, "sampling.temperature", 0);
        signal(SIGINT, on_interrupt);
        status = veritas_run(running, on_event, stdout, &error);
        signal(SIGINT, SIG_DFL);        /* before what the handler uses is freed */
    }
    if (status == VERITAS_OK) {
        veritas_result_int(running, "usage.completion_tokens", &n);
        fprintf(stderr, "\n(%" PRId64 " tokens, %s)\n", n, veritas_result_text(running, "finish_reason"));
    } else {
        fprintf(stderr, "%s: %s\n", error.name, error.message);
    }
    veritas_request_free(running);
    veritas_close(v);
    return status == VERITAS_OK ? 0 : 1;
}
