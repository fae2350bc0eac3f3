/* draft/suffix.h - what followed the last time: guesses at a sequence's next tokens from its own.
 *
 * The end of the sequence is looked for in all that stands before it, prompt and answer alike; what followed there is the guess.
 *
 *     tokens    a b c d e ... x a b c          the last three stood at the beginning,
 *     guess                           d e ...  where d e followed: evidence 3
 *
 * The longest match wins (lengths from VS_SUFFIX_LENGTH on are equal), then the latest place. Only so many of the latest places are
 * looked at, and only those that share the last tokens (the table at the top of suffix.c), so a guess costs the same whatever
 * the tokens are. Beside that, the place where the last good match would go on is kept: near it, one token is as good as two
 * elsewhere, because who copies a text with changes goes on behind each change.
 *
 * Tokens are compared, never a hash alone. A guess is only a guess: nothing here can change an answer.
 *
 * Memory:  the index's own, 20 to 40 bytes a token. It doubles when it must grow; a call that has room allocates nothing.
 * Threads: one at a time.
 * Failure: VS_E_NOMEM; nothing has changed.
 */
#ifndef VS_DRAFT_SUFFIX_H
#define VS_DRAFT_SUFFIX_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VS_SUFFIX_LENGTH = 32 };          /* longest match that counts */

struct vs_suffix;
int vs_suffix_create(struct vs_suffix **ret);
void vs_suffix_free(struct vs_suffix *s);
/* Makes room for n tokens in all. */
int vs_suffix_reserve(struct vs_suffix *s, size_t n);
/* The sequence goes on with these n tokens. */
int vs_suffix_push(struct vs_suffix *s, const uint32_t *token, size_t n);

/* Guesses the next n tokens. False: nothing fits, and nothing is written. *ret_evidence, at least 1, says how good the first guess
 * is: how many tokens before it fit; it grows by one with each guess behind it that comes true. */
bool vs_suffix_guess(struct vs_suffix *s, size_t n, uint32_t *ret_token, uint32_t *ret_evidence);

/* How many pairs of tokens were compared so far: at most VS_SUFFIX_COMPARES a guess, and none by a push. */
enum { VS_SUFFIX_COMPARES = 2400 };
uint64_t vs_suffix_compared(const struct vs_suffix *s);
#endif
