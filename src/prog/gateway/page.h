/* prog/gateway/page.h - the web page of the gateway: one file, which fetches nothing but our own routes.
 *
 * Its policy (Content-Security-Policy) allows the script and the style that stand in the page, by their hashes, and requests to
 * where it came from: nothing else is loaded, framed or run.
 */
#ifndef VS_GATEWAY_PAGE_H
#define VS_GATEWAY_PAGE_H
#include <stddef.h>

extern const char gw_page[];
size_t gw_page_bytes(void);

/* Writes the policy's value. Call it once at the start: it hashes the page. VS_OK, or VS_E_LIMIT when ret[n] is too small. */
int gw_page_policy(char *ret, size_t n);
#endif
