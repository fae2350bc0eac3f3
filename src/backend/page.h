/* backend/page.h - what one KV page is, for all who count them or write them. */
#ifndef VS_BACKEND_PAGE_H
#define VS_BACKEND_PAGE_H
#include <stdint.h>

enum { VS_PAGE_TOKENS = 64 };            /* consecutive positions in a page */

static inline uint32_t vs_pages_for(uint32_t n_tokens)   /* pages that hold so many */
{
    return n_tokens / VS_PAGE_TOKENS + (n_tokens % VS_PAGE_TOKENS != 0);
}

enum vs_kv_type { VS_KV_F16, VS_KV_F32, VS_KV_Q8_0, VS_N_KV_TYPES };
int vs_kv_type_parse(const char *name);                  /* "f16" "f32" "q8_0"; -1 when unknown */
const char *vs_kv_type_name(enum vs_kv_type type);
#endif
