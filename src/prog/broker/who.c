/* prog/broker/who.c - who asks: the kernel says whose process it is, a key whose name; and what each may ask.
 *
 * The supervisor hands us the list of keys as a sealed file, again whenever it changes. Whose key is gone meanwhile loses his
 * connections and his requests; whose role changed has the new one from then on. */
#include "prog/broker/broker.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/sha256.h"
#include "ipc/json.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What a request of a type needs; all that a model answers otherwise needs GENERATE. */
static const struct { uint16_t type; uint32_t scope; } needed[] = {
    { VS_MSG_TOKENIZE, VS_SCOPE_TOKENIZE }, { VS_MSG_DETOKENIZE, VS_SCOPE_TOKENIZE }, { VS_MSG_CONSTRAIN, VS_SCOPE_TOKENIZE },
    { VS_MSG_INSPECT, VS_SCOPE_TOKENIZE },  { VS_MSG_BENCH, VS_SCOPE_BENCH },         { VS_MSG_SCAN, VS_SCOPE_SCAN },
    { VS_MSG_LOAD, VS_SCOPE_LOAD },         { VS_MSG_UNLOAD, VS_SCOPE_UNLOAD },       { VS_MSG_LIST, VS_SCOPE_LIST },
    { VS_MSG_METRICS, VS_SCOPE_METRICS },   { VS_MSG_TRACES, VS_SCOPE_METRICS },      { VS_MSG_SHUTDOWN, VS_SCOPE_SHUTDOWN },
    { VS_MSG_STATUS, 0 },                   { VS_MSG_WHOAMI, 0 },       /* what they tell depends on who asks */
    { VS_MSG_AUDITLOG, VS_SCOPE_AUDIT },
    { VS_MSG_ATTACH, 0 },                                               /* for the client of a private daemon alone */
};

uint32_t who_scope_of(uint16_t type)
{
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (needed[i].type == type)
            return needed[i].scope;
    return VS_SCOPE_GENERATE;
}

bool who_may(const struct who *w, uint32_t scope)
{
    return (w->scopes & scope) == scope;
}

json_t *who_json(const struct who *w)
{
    json_t *v = json_pack("{s:s, s:o}", "role", vs_role_name(w->role), "scopes", vs_scopes_json(w->scopes));
    if (w->name[0])
        json_object_set_new(v, "name", json_string(w->name));
    return v;
}

int64_t who_owner(const struct who *w, int64_t owner)
{
    struct vs_buf text = { 0 };
    uint8_t digest[32];
    if (!w->name[0])
        return owner;
    vs_buf_printf(&text, "key %s %lld", w->name, (long long)w->created);
    vs_sha256_of(text.data ? text.data : "", text.n, digest);
    vs_buf_clear(&text);
    return (int64_t)(UINT64_C(1) << 62 | vs_load_u64le(digest) >> 2);       /* as that of a person: no uid is so large */
}

/* ---- keys ---- */

static bool is_owner(const struct broker *b, const struct peer *p)
{
    return p->is_private || p->uid == 0 || (p->uid == b->uid && !(p->uid == NOBODY && b->has_group));
}

/* Without a key: the daemon's own user may do all, whom the socket's group lets in may ask. */
static struct who nameless(const struct broker *b, const struct peer *p)
{
    enum vs_role role = is_owner(b, p) ? VS_ROLE_ADMIN : VS_ROLE_USER;
    return (struct who){ .role = role, .scopes = vs_role_scopes(role) };
}

/* Users are told apart as far as we see them; else processes. */
static uint64_t number_of(const struct peer *p)
{
    return p->uid == NOBODY ? UINT64_C(1) << 40 | (uint64_t)p->pid : p->uid;
}

static struct who named(const struct vs_identity *i, const struct vs_secret *s)
{
    struct who w = { .role = i->role, .scopes = i->scopes, .created = i->created };
    memcpy(w.name, i->name, sizeof w.name);
    memcpy(w.id, s->id, sizeof w.id);
    return w;
}

/* remote: where a gateway's client is; "": here. */
static void note(struct broker *b, const char *event, const struct peer *p, const char *remote)
{
    json_t *fields = json_pack("{s:I, s:I, s:i}", "uid", (json_int_t)p->uid, "pid", (json_int_t)p->pid, "status_id", 2);
    if (*remote)
        json_object_set_new(fields, "remote", vs_json_text(remote, strlen(remote)));
    audit_note(b, event, fields);
}

static void log_locked_out(struct broker *b, const struct peer *p)
{
    note(b, "locked_out", p, "");
    const struct vs_log_field fields[] = { { "uid", NULL, p->uid }, { "pid", NULL, (uint64_t)p->pid } };
    broker_log_event(b, VS_LOG_WARNING, "locked_out", fields, 2, "too many wrong keys: this user is locked out for 30 seconds");
}

/* counts: a wrong one counts against the peer's user. */
static int who_of_key(struct broker *b, const struct peer *p, const char *key, const char *remote, bool counts, struct who *ret,
                      struct vs_error *err)
{
    const struct vs_secret *secret;
    uint64_t left = counts ? vs_lockout_left(&b->lockout, number_of(p), b->now) : 0;
    if (left) {
        vs_error_set(err, VS_E_BUSY, "too many wrong keys came from this user; wait %llu seconds",
                     (unsigned long long)(left / (1000 * MS) + 1));
        err->retry_after_ms = (int64_t)(left / MS + 1);
        return err->code;
    }
    const struct vs_identity *i = vs_identity_of_key(&b->keys, key, strlen(key), vs_clock_real_ms() / 1000, &secret);
    if (i) {
        *ret = named(i, secret);
        return VS_OK;
    }
    note(b, "wrong_key", p, remote);
    if (counts && vs_lockout_wrong(&b->lockout, number_of(p), b->now))
        log_locked_out(b, p);
    return vs_error_set(err, VS_E_KEY, "this key is not valid here, or not any more");
}

/* What `keys add` made a moment ago is about to be told to us. */
bool who_may_come(const struct broker *b, const struct peer *p, const char *key)
{
    const struct vs_secret *secret;
    char id[VS_API_KEY_ID + 1];
    return vs_api_key_parse(key, strlen(key), id) && !vs_lockout_left(&b->lockout, number_of(p), b->now)
        && !vs_identity_of_key(&b->keys, key, strlen(key), vs_clock_real_ms() / 1000, &secret);
}

int who_of_peer(struct broker *b, struct peer *p, const char *key, struct vs_error *err)
{
    int rc = VS_OK;
    if (key)
        rc = who_of_key(b, p, key, "", true, &p->who, err);
    else if (b->require_key && !p->is_private)
        rc = vs_error_set(err, VS_E_KEY, "this daemon wants a key: VERITAS_KEY_FILE names the file that holds yours");
    else
        p->who = nameless(b, p);
    if (rc == VS_OK)
        p->owner = who_owner(&p->who, p->owner);
    return rc;
}

static bool is_key_there(const struct broker *b, const struct who *w, int64_t now)
{
    const struct vs_identity *i = vs_identity_find(&b->keys, w->name);
    for (int k = 0; i && i->created == w->created && k < 2; k++)
        if (strcmp(i->secret[k].id, w->id) == 0 && (!i->secret[k].until || now < i->secret[k].until))
            return true;
    return false;
}

static int check_scope(const struct request *r, struct vs_error *err)
{
    uint32_t scope = who_scope_of(r->type);
    if (who_may(&r->who, scope))
        return VS_OK;
    unsigned bit = 0;
    while (!(scope >> bit & 1))
        bit++;
    return vs_error_set(err, VS_E_DENIED, "'%s' needs the scope '%s', which who asks does not have",
                        vs_message_name(r->type), vs_scope_name((enum vs_scope)bit));
}

int who_of_request(struct broker *b, struct request *r, const struct vs_head *head, struct vs_error *err)
{
    const struct peer *p = r->peer;
    bool is_trusted = is_owner(b, p) || peer_is_delegate(b, p);      /* it passes on what strangers say */
    int rc = VS_OK;
    if (head->remote)
        snprintf(r->remote, sizeof r->remote, "%s", head->remote);
    if (head->refused && !is_trusted)
        return vs_error_set(err, VS_E_DENIED, "only the daemon's own user, root or a delegate may tell of refused keys");
    if (head->refused)
        note(b, head->refused, p, r->remote);
    if (head->key && head->on_behalf_of)
        return vs_error_set(err, VS_E_INVALID, "key and on_behalf_of both say who asks");
    if (head->key)
        rc = who_of_key(b, p, head->key, r->remote, !is_trusted, &r->who, err);
    else if (r->who.name[0] && !is_key_there(b, &r->who, vs_clock_real_ms() / 1000))
        rc = vs_error_set(err, VS_E_KEY, "this key is not valid any more");
    if (rc == VS_OK)
        rc = check_scope(r, err);
    if (rc == VS_OK && r->who.name[0] && !request_speak_as(b, r))
        rc = vs_error_set(err, VS_E_NOMEM, "%s", vs_status_text(VS_E_NOMEM));
    return rc;
}

/* ---- when the list changes ---- */

/* w as it is now; false: its key is gone. */
static bool renew(const struct broker *b, struct who *w, int64_t now)
{
    if (!w->name[0])
        return true;
    const struct vs_identity *i = is_key_there(b, w, now) ? vs_identity_find(&b->keys, w->name) : NULL;
    if (!i)
        return false;
    w->role = i->role;
    w->scopes = i->scopes;
    return true;
}

static void renew_all(struct broker *b)
{
    static const char gone[] = "the key was revoked, or has ended";
    int64_t now = vs_clock_real_ms() / 1000;
    for (struct peer *p = b->peers; p; p = p->next) {
        for (struct request *r = p->requests; r; r = r->peer_next)
            if (r->place != PLACE_ENDED && !renew(b, &r->who, now))
                request_withdraw(b, r, VS_E_KEY, gone);
        if (!renew(b, &p->who, now))
            peer_refuse(b, p, VS_E_KEY, gone);
        else if (p->conn.state == VS_AT_OPEN && !p->who.name[0] && b->require_key && !p->is_private)
            peer_refuse(b, p, VS_E_KEY, "from now on this daemon wants a key");
    }
}

/* ---- for the log ---- */

json_t *who_keys_json(const struct broker *b)
{
    struct vs_sha256 sum;
    uint8_t digest[32];
    char hex[65];
    vs_sha256_init(&sum);
    for (size_t i = 0; i < b->keys.n; i++) {
        const struct vs_identity *who = &b->keys.v[i];
        char line[256];
        int n = snprintf(line, sizeof line, "%s %d %x %lld %s %s\n", who->name, (int)who->role, (unsigned)who->scopes,
                         (long long)who->created, who->secret[0].id, who->secret[1].id);
        vs_sha256_add(&sum, line, n < (int)sizeof line ? (size_t)n : sizeof line - 1);
    }
    vs_sha256_end(&sum, digest);
    vs_hex(digest, sizeof digest, hex);
    return json_pack("{s:{s:I, s:s}}", "keys", "count", (json_int_t)b->keys.n, "sha256", hex);
}

static void note_key(struct broker *b, const char *event, const struct vs_identity *who)
{
    audit_note(b, event, json_pack("{s:s, s:s, s:o}", "account", who->name, "account_role", vs_role_name(who->role), "settings",
                                   json_pack("{s:o}", "scopes", vs_scopes_json(who->scopes))));
}

static bool is_secret_same(const struct vs_identity *a, const struct vs_identity *c)
{
    return strcmp(a->secret[0].id, c->secret[0].id) == 0 && a->secret[0].until == c->secret[0].until;
}

/* What another list changes; both are in the order of names. */
static void note_changes(struct broker *b, const struct vs_identities *old, const struct vs_identities *fresh)
{
    size_t i = 0, k = 0;
    while (b->audit.is_on && (i < old->n || k < fresh->n)) {
        int order = i == old->n ? 1 : k == fresh->n ? -1 : strcmp(old->v[i].name, fresh->v[k].name);
        bool is_other = order == 0 && old->v[i].created != fresh->v[k].created;
        if (order < 0 || is_other)
            note_key(b, "key_revoked", &old->v[i]);
        if (order > 0 || is_other)
            note_key(b, "key_added", &fresh->v[k]);
        else if (order == 0 && !is_secret_same(&old->v[i], &fresh->v[k]))
            note_key(b, "key_rotated", &fresh->v[k]);
        else if (order == 0 && (old->v[i].role != fresh->v[k].role || old->v[i].scopes != fresh->v[k].scopes))
            note_key(b, "key_changed", &fresh->v[k]);
        i += order <= 0;
        k += order >= 0;
    }
}

static int read_list(struct broker *b, int fd, struct vs_error *err)
{
    struct vs_buf text = { .limit = VS_IDENTITIES_BYTES };
    struct vs_identities keys = { 0 };
    char piece[16384];
    lseek(fd, 0, SEEK_SET);
    for (ssize_t n; (n = read(fd, piece, sizeof piece)) > 0;)
        vs_buf_add(&text, piece, (size_t)n);
    json_t *all = text.status == VS_OK ? vs_json_parse(text.data ? text.data : "", text.n, err) : NULL;
    int rc = all ? vs_identity_list_parse(json_object_get(all, "keys"), &keys, err)
                 : text.status ? vs_error_set(err, text.status, "%s", vs_status_text(text.status)) : err->code;
    if (rc == VS_OK) {
        const char *policy = json_string_value(json_object_get(all, "policy"));
        snprintf(b->audit.policy, sizeof b->audit.policy, "%s", policy ? policy : "");
        note_changes(b, &b->keys, &keys);
        vs_identity_list_clear(&b->keys);
        b->keys = keys;
        b->require_key = json_is_true(json_object_get(all, "require_key"));
        b->has_group = json_is_true(json_object_get(all, "has_group"));
        b->receipts = (unsigned)json_integer_value(json_object_get(all, "receipts"));
        b->keeps = json_is_true(json_object_get(all, "keeps"));
        limits_changed(b, json_object_get(all, "limits"));
    }
    json_decref(all);
    vs_buf_clear(&text);
    return rc;
}

void who_read(struct broker *b, int fd)
{
    struct vs_error err = { 0 };
    if (read_list(b, fd, &err) == VS_OK) {
        renew_all(b);
        for (struct peer *p = b->peers; p; p = p->next) {
            if (p->late_key[0] && !who_may_come(b, p, p->late_key))
                peer_judge_late(b, p);
            for (struct request *r = p->requests; r; r = r->peer_next)
                if (r->late_key && r->place != PLACE_ENDED && r->place != PLACE_CLOSING && !who_may_come(b, p, r->late_key))
                    ask_judge_late(b, r);
        }
    } else {                            /* the supervisor checked it; nobody goes on under what does not hold any more */
        broker_log(b, "the list of keys: %s", err.text);
        b->ending = true;
    }
}
