/* prog/gateway/routes.c - what is served where. Paths stand without /v1; each is served with it too. */
#include "prog/gateway/api_routes.h"
#include "prog/gateway/gateway.h"

#include <stdio.h>
#include <string.h>

const struct gw_route gw_routes[] = {
    { "POST", "/chat/completions", &gw_api_chat, NULL, false },
    { "POST", "/chat/completions/input_tokens", &gw_api_chat_tokens, NULL, false },
    { "POST", "/completions", &gw_api_completions, NULL, false },
    { "POST", "/responses", &gw_api_responses, NULL, false },
    { "POST", "/responses/input_tokens", &gw_api_responses_tokens, NULL, false },
    { "POST", "/messages", &gw_api_messages, NULL, false },
    { "POST", "/messages/count_tokens", &gw_api_messages_tokens, NULL, false },
    { "POST", "/embeddings", &gw_api_embeddings, NULL, false },
    { "POST", "/rerank", &gw_api_rerank, NULL, false },
    { "POST", "/tokenize", &gw_api_tokenize, NULL, false },
    { "POST", "/detokenize", &gw_api_detokenize, NULL, false },
    { "POST", "/apply-template", &gw_api_template, NULL, false },
    { "POST", "/decisions", &gw_api_decisions, NULL, false },
    { "POST", "/systemone", &gw_api_decisions, NULL, true },
    { "POST", "/api/chat", &gw_api_ollama_chat, NULL, true },
    { "POST", "/api/generate", &gw_api_ollama_generate, NULL, true },
    { "POST", "/api/show", &gw_api_ollama_show, NULL, true },
    { "POST", "/api/embed", &gw_api_ollama_embed, NULL, true },
    { "POST", "/api/embeddings", &gw_api_ollama_embed_one, NULL, true },
    { "GET", "/api/tags", &gw_api_ollama_tags, NULL, true },
    { "GET", "/api/ps", &gw_api_ollama_ps, NULL, true },
    { "GET", "/api/version", &gw_api_ollama_version, NULL, true },
    { NULL, NULL, NULL, NULL, false },
};

const char *gw_route_label(const struct gw_route *route)
{
    return route->label ? route->label : route->path;
}

const struct gw_api *route_api_of(const struct gateway *g, const struct conn *c, const char *path)
{
    if (g->settings.is_ollama && strncmp(path, "/api/", 5) == 0)
        return &gw_api_ollama_chat;
    bool is_ours = !c->route || strcmp(c->route->method, "GET") == 0;           /* of no API that has a form of its own */
    bool is_theirs = strncmp(path, "/messages", 9) == 0 || (is_ours && gw_request_field(&c->request, GW_ANTHROPIC));
    return is_theirs ? &gw_api_messages : NULL;
}

static bool matches(const struct gw_route *r, const char *path, const char **ret_rest)
{
    size_t n = strlen(r->path);
    bool is_open = r->path[n - 1] == '*';
    if (!is_open)
        return strcmp(r->path, path) == 0;
    if (strncmp(r->path, path, n - 1) != 0 || !path[n - 1])
        return false;
    *ret_rest = path + n - 1;
    return true;
}

const struct gw_route *route_find(const struct gateway *g, const struct conn *c, const char *method, const char *path,
                                  const char **ret_rest, int *ret_status, char ret_allow[64])
{
    const struct gw_route *const tables[] = { own_routes, gw_routes };
    size_t n = 0;
    *ret_rest = "";
    *ret_status = 404;
    ret_allow[0] = 0;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const struct gw_route *r = tables[i]; r->path; r++) {
            bool is_off = (r->is_ollama && !g->settings.is_ollama) || (route_is_page(r) && !g->settings.is_web);
            if (is_off || !matches(r, path, ret_rest))
                continue;
            if (c->listener->is_metrics && !route_is_metrics(r))
                continue;               /* that listener serves nothing else */
            if (strcmp(r->method, method) == 0)
                return r;
            *ret_status = 405;
            n += (size_t)snprintf(ret_allow + n, 64 - n, "%s%s%s", n ? ", " : "", r->method,
                                  strcmp(r->method, "GET") == 0 ? ", HEAD" : "");
        }
    return NULL;
}
