/* filter/linear.h - how much a text reads like an injection, by a linear model: the rules' companion for wordings that no rule
 * knows.
 *
 * Features are hashed to VS_LINEAR_BUCKETS buckets, each with one small integer weight (linear_weights.c, which
 * tools/train_linear.py writes): words and their 2- and 3-grams, a pair of words with one between them, 4-grams of a word's
 * characters, marks like `[[` or `<|` with the word beside them, words in capitals. Letters are lower case here; a number
 * is `0` and how many digits it has; a Han, kana or Hangul character is a word of its own; what separates sentences starts the
 * n-grams anew. And concepts (concepts.h), with buckets of their own: what a word or a phrase means in any of some twenty
 * languages, whether a sentence begins with it, the three concepts before it in the sentence, and the last one of the sentence
 * before: "forget ... rules" is one feature, whatever the language and whatever stands between.
 *
 * A unit's raw score is the sum of the weights of its features over the square root of their number. Three kinds of units are
 * scored, since a long text dilutes what a sentence says, and a sentence alone may say too little: sentences, windows of 64
 * words, half overlapping, and the whole. Each kind has a straight line of its own from the raw score to points, through two raw
 * scores of harmless texts that were not learned from: what 15 % of our hardest ones reach is 200, what 1.1 % reach is 500. The
 * score is the mean of the three (or the highest less 200, where that is more) less 30: one kind alone is wrong more often. At
 * 500 it is wrong in about 1 of 100 harmless texts: see bench/results.
 *
 * Integers only: the same score on every machine. Memory: some hundred bytes of stack; 96 KiB for what is known of common
 * words and 64 for the lexicon, made before main. Time: linear, some 4 ns for each byte.
 * Any bytes are welcome: what is not valid UTF-8 counts as a mark. Threads: only constant data is read.
 */
#ifndef VS_FILTER_LINEAR_H
#define VS_FILTER_LINEAR_H
#include <stdbool.h>
#include "base/check.h"

#include <stddef.h>
#include <stdint.h>

enum {
    VS_LINEAR_WORDS = 1 << 17, VS_LINEAR_CONCEPTS = 1 << 15,
    VS_LINEAR_BUCKETS = VS_LINEAR_WORDS + VS_LINEAR_CONCEPTS,
};

enum { VS_LINEAR_MOST = 1400 };          /* more than this no kind says, however high its raw score is */

struct vs_linear_scores {
    unsigned sentence, window, whole;    /* the highest of each kind, 0 to VS_LINEAR_MOST */
    unsigned score;                      /* of all three together */
    size_t start, end;                   /* the smallest unit that reaches it: bytes of the text */
};

/* check: asked meanwhile, at each word; what it answers does not matter. NULL: nobody is asked. */
void vs_linear_score(const char *text, size_t n, struct vs_check *check, struct vs_linear_scores *ret);

/* A word of the text, text[start, end): its features. `opens`: it begins a sentence. For whoever trains the weights. */
struct vs_linear_word {
    const uint32_t *bucket;              /* [n]; the same one may stand there twice */
    unsigned n;
    size_t start, end;
    bool opens;
};
typedef void vs_linear_word_fn(void *arg, const struct vs_linear_word *word);
void vs_linear_words(const char *text, size_t n, vs_linear_word_fn *told, void *arg);
#endif
