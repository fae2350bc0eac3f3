/* prog/veritas/hosts.h - every host and URI that a format fixes; the one file where tools/tidy allows them.
 *
 * Nothing is asked there unless the user names it: "hf:" stands for the hub of that name.
 */
#ifndef VS_VERITAS_HOSTS_H
#define VS_VERITAS_HOSTS_H

#define VS_HTTPS "https://"
#define VS_HTTP "http://"

#define VS_HOST_HF "https://huggingface.co"

/* What may stand in for the hub in tests: a port of this machine. */
#define VS_HOSTS_LOCAL                                                                  \
    "http://127.0.0.1:", "http://[::1]:", "http://localhost:",                          \
    "https://127.0.0.1:", "https://[::1]:", "https://localhost:"

#endif
