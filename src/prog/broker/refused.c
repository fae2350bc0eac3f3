/* prog/broker/refused.c - requests that ended two workers: nobody may ask them again while the daemon lives.
 *
 * They are known by model, type, length and SHA-256 of the body. A digest is computed only of a body as long as one of these, so
 * that no other request pays for it. */
#include "prog/broker/broker.h"

#include "base/bytes.h"
#include "base/sha256.h"

#include <stdlib.h>
#include <string.h>

struct refused {
    char *model;
    uint16_t type;
    size_t n;
    uint8_t sha256[32];
};

static void digest_of(const struct request *r, uint8_t ret[32])
{
    struct vs_sha256 s;
    vs_sha256_init(&s);
    vs_sha256_add(&s, r->body.data, r->body.n);
    vs_sha256_end(&s, ret);
}

/* The list is a ring: when it is full the oldest is forgotten. */
void refused_add(struct broker *b, const struct request *r)
{
    if (!b->refused && !(b->refused = calloc(MAX_REFUSED, sizeof *b->refused)))
        return;
    struct refused *at = &b->refused[b->n_refused++ % MAX_REFUSED];
    free(at->model);
    *at = (struct refused){ .model = strdup(r->model->name), .type = r->type, .n = r->body.n };
    digest_of(r, at->sha256);
    char hex[65];
    vs_hex(at->sha256, sizeof at->sha256, hex);
    broker_log(b, "model %s: a request ended two workers; it is refused from now on (SHA-256 of its body: %s)", r->model->name,
               hex);
}

bool refused_has(const struct broker *b, const struct request *r)
{
    uint8_t sha256[32];
    bool is_known = false;
    for (unsigned i = 0; i < b->n_refused && i < MAX_REFUSED; i++) {
        const struct refused *at = &b->refused[i];
        if (at->type != r->type || at->n != r->body.n || !at->model || strcmp(at->model, r->model->name) != 0)
            continue;
        if (!is_known)
            digest_of(r, sha256);
        is_known = true;
        if (memcmp(sha256, at->sha256, sizeof sha256) == 0)
            return true;
    }
    return false;
}

void refused_free(struct broker *b)
{
    for (unsigned i = 0; b->refused && i < MAX_REFUSED; i++)
        free(b->refused[i].model);
    free(b->refused);
    b->refused = NULL;
    b->n_refused = 0;
}
