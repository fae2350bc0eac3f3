/* bench/guard/features.c - the linear model seen by its trainer: texts on standard input, features or scores on standard output.
 *
 *     guard-features words     each text: how many words, how many features, for each word its start, its end and how many features
 *                              it has (1 << 31 is added where it opens a sentence), then the bucket of each feature
 *     guard-features scores    each text: sentence, window, whole, score, start, end
 *
 * A text is its length in bytes and the bytes. Numbers are 32 bits of this machine. tools/train_linear.py and bench/guard/linear.py
 * run it, so that features are computed in one place. */
#include "filter/linear.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct numbers { uint32_t *at; size_t n, room; };

static void put(struct numbers *to, uint32_t x)
{
    if (to->n == to->room) {
        to->room = to->room ? 2 * to->room : 1 << 16;
        to->at = realloc(to->at, to->room * sizeof *to->at);
        if (!to->at)
            exit(1);
    }
    to->at[to->n++] = x;
}

struct dump { struct numbers words, buckets; };

static void word(void *arg, const struct vs_linear_word *w)
{
    struct dump *d = arg;
    put(&d->words, (uint32_t)w->start);
    put(&d->words, (uint32_t)w->end);
    put(&d->words, w->n | (uint32_t)w->opens << 31);
    for (unsigned i = 0; i < w->n; i++)
        put(&d->buckets, w->bucket[i]);
}

static void give(struct numbers *from)
{
    if (fwrite(from->at, sizeof *from->at, from->n, stdout) != from->n)
        exit(1);
    from->n = 0;
}

static void words(struct dump *d, const char *text, size_t n)
{
    vs_linear_words(text, n, word, d);
    uint32_t head[2] = { (uint32_t)(d->words.n / 3), (uint32_t)d->buckets.n };
    if (fwrite(head, sizeof head, 1, stdout) != 1)
        exit(1);
    give(&d->words);
    give(&d->buckets);
}

static void scores(struct dump *d, const char *text, size_t n)
{
    struct vs_linear_scores s;
    vs_linear_score(text, n, NULL, &s);
    const size_t all[] = { s.sentence, s.window, s.whole, s.score, s.start, s.end };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        put(&d->words, (uint32_t)all[i]);
    give(&d->words);
}

int main(int argc, char **argv)
{
    bool features = argc == 2 && !strcmp(argv[1], "words");
    if (!features && (argc != 2 || strcmp(argv[1], "scores"))) {
        fprintf(stderr, "usage: guard-features words|scores < texts\n");
        return 2;
    }
    char *text = NULL;
    struct dump d = { 0 };
    for (uint32_t n; fread(&n, sizeof n, 1, stdin) == 1;) {
        char *grown = realloc(text, (size_t)n + 1);
        if (!grown || fread(grown, 1, n, stdin) != n) {
            fprintf(stderr, "guard-features: the input ends inside a text, or memory is short\n");
            return 1;
        }
        text = grown;
        (features ? words : scores)(&d, text, n);
    }
    free(text);
    free(d.words.at);
    free(d.buckets.at);
    return 0;
}
