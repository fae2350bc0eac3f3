/* prog/gateway/link.c - connections to the daemon: who has room, what comes, what happens when one ends. The parent makes them. */
#include "prog/gateway/gateway.h"

#include <stdio.h>
#include <string.h>

#define FIRST_WAIT (100 * MS)           /* before the parent is asked again; doubles up to */
#define LAST_WAIT (2000 * MS)
#define SAME_DEATH (1000 * MS)          /* connections that end within it have lost one daemon, and that is told once */

bool link_is_up(const struct gateway *g)
{
    for (size_t i = 0; i < MAX_LINKS; i++)
        if (g->links[i].client)
            return true;
    return false;
}

static void ask_for(struct gateway *g, struct link *l)
{
    if (l->is_asked_for || l->client)
        return;
    l->is_asked_for = control_send(g, VS_MSG_START, (uint64_t)(l - g->links) + 1, json_object()) == VS_OK;
    l->retry_at = 0;
}

/* The first that has room. Beside it there is room for as many more, so that a crowd that comes at once finds it: else one more is
 * made. */
static struct link *find(struct gateway *g)
{
    struct link *found = NULL, *next = NULL;
    size_t room = 0;
    for (size_t i = 0; i < MAX_LINKS; i++) {
        struct link *l = &g->links[i];
        room += l->client ? MAX_ASKED - l->n_asked : 0;
        found = !found && l->client && l->n_asked < MAX_ASKED ? l : found;
        next = !next && !l->client ? l : next;
    }
    if (next && room <= MAX_ASKED && !next->retry_at)
        ask_for(g, next);
    return found;
}

/* Sends what c asks, under key where there is one; it->id is set and it is remembered. */
static int ask(struct gateway *g, const struct conn *c, const char *key, uint16_t type, json_t *request, struct asked *it,
               struct link **ret_link, struct vs_error *err)
{
    struct link *l = find(g);
    if (!l)
        return link_is_up(g) ? vs_error_set(err, VS_E_BUSY, "too many requests are under way")
                             : vs_error_set(err, VS_E_DIED, "the daemon cannot be reached");
    if (key[0])
        json_object_set_new(request, "key", json_string(key));
    if (c && c->remote[0])
        json_object_set_new(request, "remote", json_string(c->remote));
    int rc = vs_client_request(l->client, type, request, NULL, &it->id, err);
    if (rc != VS_OK)
        return rc;
    l->asked[l->n_asked++] = *it;
    *ret_link = l;
    return VS_OK;
}

int link_send(struct gateway *g, struct call *call, size_t index, const struct gw_ask *what, struct link **ret_link,
              uint64_t *ret_id, struct vs_error *err)
{
    struct asked it = { .call = call, .index = index };
    int rc = ask(g, call->conn, call->conn ? call->conn->key : "", what->type, what->request, &it, ret_link, err);
    if (rc == VS_OK)
        *ret_id = it.id;
    return rc;
}

int link_ask_key(struct gateway *g, struct conn *c, struct vs_error *err)
{
    struct asked it = { .conn = c };
    struct link *l;
    json_t *request = json_object();
    int rc = ask(g, c, c->key, VS_MSG_WHOAMI, request, &it, &l, err);
    json_decref(request);
    return rc;
}

void link_tell_refused(struct gateway *g, const struct conn *c, const char *how)
{
    struct asked it = { 0 };            /* nobody waits for the answer */
    struct link *l;
    struct vs_error err;
    json_t *request = json_pack("{s:s}", "refused", how);
    if (ask(g, c, "", VS_MSG_WHOAMI, request, &it, &l, &err) != VS_OK)
        gateway_log("the daemon's log does not tell of a key that was refused: %s", err.text);
    json_decref(request);
}

void link_forget_conn(struct gateway *g, const struct conn *c)
{
    for (size_t i = 0; i < MAX_LINKS; i++)
        for (size_t k = 0; k < g->links[i].n_asked; k++)
            if (g->links[i].asked[k].conn == c)
                g->links[i].asked[k].conn = NULL;
}

static struct asked *asked_of(struct link *l, uint64_t id)
{
    for (size_t i = 0; i < l->n_asked; i++)
        if (l->asked[i].id == id)
            return &l->asked[i];
    return NULL;
}

void link_forget(struct link *l, uint64_t id)
{
    struct asked *a = asked_of(l, id);
    if (!a)
        return;
    a->call = NULL;                     /* its end still comes */
    if (l->client)
        vs_client_cancel(l->client, id, NULL);
}

void link_adopt(struct gateway *g, size_t i, int fd, uint32_t credit)
{
    struct link *l = &g->links[i];
    struct vs_error err;
    l->is_asked_for = false;
    if (vs_client_resume(fd, credit, &l->client, &err) != VS_OK) {
        gateway_log("a connection to the daemon cannot be used: %s", err.text);
        link_refused(g, i);
        return;
    }
    l->n_asked = 0;
    l->has_more = false;
    l->wait = FIRST_WAIT;
    l->retry_at = 0;
}

void link_refused(struct gateway *g, size_t i)
{
    struct link *l = &g->links[i];
    l->is_asked_for = false;
    l->wait = l->wait * 2 > LAST_WAIT ? LAST_WAIT : l->wait < FIRST_WAIT ? FIRST_WAIT : l->wait * 2;
    l->retry_at = g->now + l->wait;
}

/* All that was asked there is lost. The first link is made again at once; others when there is need. */
static void lose(struct gateway *g, struct link *l, const char *why)
{
    if (!g->lost_at || g->now - g->lost_at > SAME_DEATH)
        gateway_log("the daemon is gone: %s", why);
    g->lost_at = g->now;
    vs_client_close(l->client);
    l->client = NULL;
    size_t n = l->n_asked;
    l->n_asked = 0;
    struct asked asked[MAX_ASKED];
    memcpy(asked, l->asked, sizeof asked);
    for (size_t i = 0; i < n; i++) {
        struct call *call = asked[i].call;
        const struct vs_error died = { .code = VS_E_DIED, .text = "the daemon ended" };
        if (asked[i].conn)
            who_told(g, asked[i].conn, &died);
        if (!call)
            continue;
        for (size_t j = i + 1; j < n; j++)
            if (asked[j].call == call)
                asked[j].call = NULL;
        call_lost(g, call, "the daemon ended before the answer was complete");
    }
    if (l == &g->links[0])
        ask_for(g, l);
}

void link_ready(struct gateway *g, struct link *l)
{
    struct vs_event e;
    struct vs_error err;
    int rc = VS_OK;
    /* What came with one read: whether there is more poll says, at no cost. */
    for (int n = 0; n < 1024 && l->client && (n == 0 || vs_client_has_more(l->client)); n++) {
        if ((rc = vs_client_next(l->client, 0, &e, &err)) != VS_OK)
            break;
        struct asked *a = asked_of(l, e.request);
        if (!a)
            continue;
        struct asked it = *a;
        if (e.is_last)
            *a = l->asked[--l->n_asked];
        if (it.call)
            call_event(g, it.call, it.index, &e);
        else if (it.conn && e.is_last)
            who_told(g, it.conn, &e.error);
    }
    if (l->client && rc != VS_OK && rc != VS_E_TIMEOUT)
        lose(g, l, err.text);
    l->has_more = l->client && vs_client_has_more(l->client);
}

uint64_t link_timers(struct gateway *g)
{
    uint64_t next = NEVER;
    for (size_t i = 0; i < MAX_LINKS; i++) {
        struct link *l = &g->links[i];
        if (l->retry_at && g->now >= l->retry_at) {
            l->retry_at = 0;
            if (i == 0)
                ask_for(g, l);
        }
        if (l->retry_at && l->retry_at < next)
            next = l->retry_at;
    }
    return next;
}
