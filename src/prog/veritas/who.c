/* prog/veritas/who.c - who may ask: the policy and the folder of keys, handed to the broker as a sealed file, which has no file of
 * its own to read. Again when the policy was read again, and when something in the folder changed. */
#include "prog/veritas/serve.h"

#include "base/clock.h"
#include "ipc/json.h"
#include "prog/veritas/term.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AGAIN_TIME (20 * MS)            /* the broker's link holds one descriptor at a time */

/* A folder that can't be used lets nobody in by a key, whatever was in it before. */
static char *list_text(const struct vs_policy_file *policy, bool keeps)
{
    struct vs_error err = { 0 };
    struct vs_buf text = { .limit = VS_IDENTITIES_BYTES };
    json_t *keys = vs_keys_list(policy->keys, false, &err);
    if (!keys) {
        vs_say_event(VS_LOG_ERROR, "keys_refused", "serve: %s: no key counts", err.text);
        keys = json_array();
    }
    json_t *all = json_pack("{s:i, s:b, s:b, s:b, s:O, s:s, s:o}", "receipts", (int)policy->receipts, "keeps", keeps, "require_key",
                            policy->identity.require_key, "has_group",
                            policy->identity.socket_group[0] != 0, "limits", policy->limits, "policy", policy->digest, "keys",
                            keys);
    vs_json_dump(all, &text);
    json_decref(all);
    if (text.status == VS_OK)
        return text.data;
    vs_buf_clear(&text);
    return NULL;
}

bool who_tell(struct supervisor *s)
{
    uint64_t began = vs_clock_ns();
    vs_keys_watch_set(&s->keys, s->settings.policy.keys);       /* first: what changes meanwhile is told */
    char *text = list_text(&s->settings.policy, s->writer.keep[0] != 0);
    int fd = text ? settings_open(text) : -1;
    bool told = fd >= 0 && control_tell_keys(s, fd);
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
    if (fd >= 0)
        close(fd);
    uint64_t now = vs_clock_ns();
    s->keys_rest = now + 2 * (now - began);
    s->keys_at = told ? 0 : now + AGAIN_TIME;
    return told;
}

/* It is read at once: who was revoked is not to be let in. Where changes follow each other it takes a third of the time at most. */
void who_changed(struct supervisor *s)
{
    uint64_t now = vs_clock_ns();
    if (vs_keys_watch_read(&s->keys) && !s->keys_at)
        s->keys_at = s->keys_rest > now ? s->keys_rest : now;
}

uint64_t who_timers(struct supervisor *s, uint64_t now)
{
    if (s->keys_at && now >= s->keys_at && s->control.fd >= 0)
        who_tell(s);
    return s->keys_at && s->control.fd >= 0 ? s->keys_at : UINT64_MAX;
}
