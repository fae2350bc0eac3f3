/* tokenizer/detok.c - ids back to bytes, all at once or one by one (see tokenizer.h).
 *
 * Streaming emits whole characters only. A sequence that can no longer become valid turns into one U+FFFD for its
 * longest part that could have begun a character, as the Unicode Standard recommends (and Python's "replace" does).
 */
#include "tokenizer/internal.h"

#include "base/utf8.h"
#include "base/word.h"

#include <inttypes.h>
#include <string.h>

/* What id prints. *io_started: false until something printed that is no control token. */
static const char *printed(const struct vs_tokenizer *t, uint32_t id, bool special, bool *io_started, size_t *ret_n)
{
    const struct vs_vocab *v = &t->vocab;
    const char *s = vs_span(&v->bytes, id, ret_n);
    if (v->flags[id] & VS_PIECE_IS_CONTROL) {
        if (v->flags[id] & VS_PIECE_IS_HIDDEN && !special)
            *ret_n = 0;
        return s;
    }
    if (!*io_started && t->add_space_prefix && *ret_n && *s == ' ') {
        s++;
        --*ret_n;
    }
    *io_started = true;
    return s;
}

int vs_tokenizer_decode(const struct vs_tokenizer *t, const uint32_t *ids, size_t n, bool special,
                        struct vs_check *check, struct vs_buf *out, struct vs_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] >= t->vocab.n)
            return vs_error_set(err, VS_E_INVALID, "token %" PRIu32 " is beyond the vocabulary of %" PRIu32, ids[i],
                                t->vocab.n);
    bool started = false;
    int r = VS_OK;
    for (size_t i = 0; i < n && r == VS_OK && out->status == VS_OK; i++) {
        size_t n_piece;
        const char *s = printed(t, ids[i], special, &started, &n_piece);
        vs_buf_add(out, s, n_piece);
        r = vs_check_work(check, 1 + n_piece / 16);
    }
    if (r != VS_OK)
        return vs_error_set(err, r, "%s, while %zu token%s became a text", vs_status_text(r), n, vs_plural(n));
    return out->status == VS_OK ? VS_OK : vs_error_set(err, out->status, "no room for the text of %zu token%s", n, vs_plural(n));
}

void vs_detok_init(struct vs_detok *d, const struct vs_tokenizer *t, bool special)
{
    *d = (struct vs_detok){ .t = t, .special = special };
}

void vs_detok_continue(struct vs_detok *d)
{
    d->started = true;
}

/* How many bytes at s begin a character that may still be completed by more: 1..3, or 0. */
static size_t beginning(const char *s, size_t n)
{
    for (size_t k = n < 3 ? n : 3; k; k--)
        if (vs_utf8_unfinished(s, k) == k)
            return k;
    return 0;
}

/* Emits what is certain of s[0..n); returns how many bytes at the end must wait. */
static size_t emit(const char *s, size_t n, struct vs_buf *out)
{
    size_t i = 0;
    while (i < n) {
        size_t valid = vs_utf8_valid(s + i, n - i);
        vs_buf_add(out, s + i, valid);
        i += valid;
        if (i == n)
            break;
        size_t k = beginning(s + i, n - i);
        if (k && k == n - i)
            return k;
        vs_buf_utf8(out, 0xfffd);
        i += k ? k : 1;
    }
    return 0;
}

int vs_detok_push(struct vs_detok *d, uint32_t id, struct vs_buf *out)
{
    if (id >= d->t->vocab.n)
        return VS_E_INVALID;
    size_t n;
    const char *s = printed(d->t, id, d->special, &d->started, &n);
    /* Held bytes need at most three more; what follows is emitted straight from the piece. */
    while (d->n_held && n) {
        char joined[4];
        memcpy(joined, d->held, d->n_held);
        joined[d->n_held] = *s;
        size_t n_joined = d->n_held + 1;
        s++;
        n--;
        size_t wait = emit(joined, n_joined, out);
        memcpy(d->held, joined + n_joined - wait, wait);
        d->n_held = wait;
    }
    size_t wait = emit(s, n, out);
    if (n) {
        memcpy(d->held, s + n - wait, wait);
        d->n_held = wait;
    }
    return out->status;
}

void vs_detok_finish(struct vs_detok *d, struct vs_buf *out)
{
    if (d->n_held)
        vs_buf_utf8(out, 0xfffd);
    d->n_held = 0;
}
