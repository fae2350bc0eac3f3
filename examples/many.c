/* examples/many.c - many questions at once, in a poll loop of our own: each line of standard input is one, and its answer is
 * printed when it is whole, whatever the order.
 *
 *     cc many.c $(pkg-config --cflags --libs veritas) -o many
 *     ./many smollm2-135m-instruct <questions
 */
#include <veritas/veritas.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct question {                       /* the user pointer of its request */
    int number;
    size_t n;
    char answer[8192];
};

static int n_asked, n_running;

static int ask(veritas *v, const char *model, const char *prompt, size_t n, struct veritas_error *error)
{
    veritas_request *r;
    struct question *q = (struct question *)calloc(1, sizeof *q);
    if (!q || veritas_request_new(v, VERITAS_GENERATE, model, &r, error) != VERITAS_OK) {
        free(q);
        return VERITAS_E_NOMEM;
    }
    q->number = ++n_asked;
    veritas_request_set_user(r, q);
    veritas_set_text(r, "prompt", prompt, n);
    veritas_set_int(r, "max_tokens", 100);
    veritas_set_number(r, "sampling.temperature", 0);
    int status = veritas_start(r, error);
    if (status == VERITAS_OK) {
        n_running++;
    } else {
        veritas_request_free(r);
        free(q);
    }
    return status;
}

static void take(const struct veritas_event *e)
{
    struct question *q = (struct question *)e->user;
    if (e->kind == VERITAS_TOKEN && e->text_bytes < sizeof q->answer - q->n) {
        memcpy(q->answer + q->n, e->text, e->text_bytes);
        q->n += e->text_bytes;
    }
    if (e->kind != VERITAS_DONE && e->kind != VERITAS_FAILED)
        return;
    printf("%d: %s\n", q->number, e->kind == VERITAS_DONE ? q->answer : e->error->message);
    n_running--;
    veritas_request_free(e->request);
    free(q);
}

int main(int argc, char **argv)
{
    struct veritas_error error = VERITAS_ERROR_INIT;
    veritas *v = NULL;
    char line[65536];
    size_t n = 0;
    int is_open = 1, status = VERITAS_OK;
    if (argc != 2) {
        fprintf(stderr, "usage: %s MODEL <QUESTIONS\n", argv[0]);
        return 2;
    }
    if ((status = veritas_open(NULL, &v, &error)) == VERITAS_OK)
        status = veritas_load(v, argv[1], NULL, &error);
    while (status == VERITAS_OK && (is_open || n_running > 0)) {
        struct pollfd p[2] = { { veritas_fd(v), POLLIN, 0 }, { is_open ? 0 : -1, POLLIN, 0 } };
        poll(p, 2, -1);
        if (p[0].revents) {             /* all that is there */
            struct veritas_event e = VERITAS_EVENT_INIT;
            while ((status = veritas_step(v, 0, &e, &error)) == VERITAS_OK)
                take(&e);
            if (status == VERITAS_E_TIMEOUT)
                status = VERITAS_OK;
        }
        if (p[1].revents && status == VERITAS_OK) {
            ssize_t got = read(0, line + n, sizeof line - n);
            n += got > 0 ? (size_t)got : 0;
            is_open = got > 0;
            while (status == VERITAS_OK && n > 0) {
                char *end = (char *)memchr(line, '\n', n);
                size_t length = end ? (size_t)(end - line) : n, used = end ? length + 1 : n;
                if (!end && is_open && n < sizeof line)
                    break;              /* the rest of the line comes later */
                status = ask(v, argv[1], line, length, &error);
                memmove(line, line + used, n -= used);
            }
        }
    }
    if (status != VERITAS_OK)
        fprintf(stderr, "%s: %s\n", error.name, error.message);
    veritas_close(v);
    return status == VERITAS_OK ? 0 : 1;
}
