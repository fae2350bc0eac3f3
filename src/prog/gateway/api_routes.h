/* prog/gateway/api_routes.h - the APIs, one for each kind of route (routes.c), and what several of them answer with. */
#ifndef VS_GATEWAY_API_ROUTES_H
#define VS_GATEWAY_API_ROUTES_H
#include "prog/gateway/api.h"

extern const struct gw_api gw_api_chat, gw_api_chat_tokens;             /* api_chat.c */
extern const struct gw_api gw_api_completions;                          /* api_completions.c */
extern const struct gw_api gw_api_responses, gw_api_responses_tokens;   /* api_responses.c */
extern const struct gw_api gw_api_messages, gw_api_messages_tokens;     /* api_messages.c */
extern const struct gw_api gw_api_tokenize, gw_api_detokenize, gw_api_template;    /* api_tokens.c */
extern const struct gw_api gw_api_embeddings, gw_api_rerank, gw_api_ollama_embed, gw_api_ollama_embed_one;   /* api_vectors.c */
extern const struct gw_api gw_api_decisions;                            /* api_decisions.c */
extern const struct gw_api gw_api_ollama_chat, gw_api_ollama_generate;  /* api_ollama.c */
extern const struct gw_api gw_api_ollama_tags, gw_api_ollama_ps, gw_api_ollama_show, gw_api_ollama_version;

#define GW_ANTHROPIC "anthropic-version" /* the header by which Anthropic's clients are known */

struct gw_reading;

/* api_chat.c: errors in OpenAI's form, a count of tokens in OpenAI's form. */
void gw_fail_openai(struct gw_call *call, const struct gw_error *err, bool begun, struct vs_buf *out);
void gw_done_input_tokens(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out);
/* api_ollama.c: errors in Ollama's form, and a model's name, that may end in ":latest". */
void gw_fail_ollama(struct gw_call *call, const struct gw_error *err, bool begun, struct vs_buf *out);
int gw_read_ollama_model(struct gw_reading *r, const json_t *v);
/* api_chat.c: a whole request of OpenAI's chat, and its tools. */
int gw_read_chat(struct gw_reading *r);
int gw_read_tools(struct gw_reading *r, const json_t *v);
#endif
