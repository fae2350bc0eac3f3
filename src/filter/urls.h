/* filter/urls.h - links that an answer must not have: spans of kind URL.
 *
 * Found in plain text, in Markdown (links, images, <autolinks>) and in attributes of HTML: a known scheme (http, https, ftp, ftps,
 * ws, wss, file, ssh, sftp, git, gopher, ldap, ldaps, smb, with any slashes or backslashes behind it), `data:` with a media type,
 * `javascript:`, `vbscript:`, `blob:`, `www.` and, where a link begins (behind a bracket, a quote or =), `//host`. There white
 * space within a scheme is seen through, as browsers do ("java\nscript:").
 *
 * A list names hosts: "example.com", "*.example.com" (what is below it), "example.com:8443", and a path that it must begin with:
 * "example.com/docs". It allows http and https alone, on the standard port or the one that it names, without a user (the trick
 * good@bad), and below a path only what has no `..`, `%2e` or backslash. Hosts are compared as they are written, but for
 * case and a last dot: who allows a name with other letters lists it as it will stand there (xn--...).
 *
 * A URL is undecided until its end, at most 200 bytes; a longer one is told open there and ends with the first character that no
 * URL has. Full stops and commas at the end of one stay. Threads: the struct is only read.
 */
#ifndef VS_FILTER_URLS_H
#define VS_FILTER_URLS_H
#include "filter/detector.h"

enum vs_urls_mode { VS_URLS_ANY, VS_URLS_LIST, VS_URLS_NONE };      /* all pass, those of the list pass, none passes */

struct vs_urls {
    enum vs_urls_mode mode;
    const char *const *allow;            /* [n_allow], NUL-terminated; they outlive the detector */
    size_t n_allow;
};

/* NULL, or what is wrong with an entry of the list. */
const char *vs_urls_check(const char *entry);
struct vs_detector vs_urls_detector(const struct vs_urls *urls);
#endif
