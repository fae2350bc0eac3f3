/* prog/veritas/door.h - `veritas gateway`: where veritas-gateway listens, and what it must not read itself.
 *
 *     strangers --TCP--> veritas-gateway ---- socket ----> daemon
 *                             \____ control link ____ `veritas gateway`: opens, connects, reads files; reads no stranger's byte
 */
#ifndef VS_VERITAS_DOOR_H
#define VS_VERITAS_DOOR_H
#include "base/buf.h"
#include "base/status.h"
#include "prog/veritas/options.h"

#include <stdbool.h>
#include <stddef.h>

enum { DOOR_MAX_LISTENERS = 16 };

struct door_listener {
    int fd;
    bool is_loopback;                    /* only this machine reaches it */
    bool is_metrics, is_tls;
    char host[80];                       /* as it was given; "" for a Unix socket */
    char path[108];                      /* of a Unix socket, which is removed at the end; else "" */
    char url[200];                       /* "http://127.0.0.1:8080", "unix:/run/x.sock" */
};

struct door {
    struct door_listener listeners[DOOR_MAX_LISTENERS];
    size_t n;
};

/* Opens what `where` says ("HOST:PORT", "[ADDRESS]:PORT", "unix:PATH"); a host with several addresses makes several listeners.
 * VS_E_INVALID, VS_E_LIMIT, VS_E_BUSY (somebody listens there), VS_E_SYSTEM. What was opened stays until door_close. */
int door_open(struct door *d, const char *where, bool is_metrics, bool is_tls, struct vs_error *err);
void door_close(struct door *d);

/* What --otlp says, "HOST:PORT" and a path; VS_E_INVALID. */
int door_collector(const char *url, char ret_host[100], char ret_path[200], struct vs_error *err);
/* Connects to HOST:PORT within two seconds; *ret_fd does not block. VS_E_NOT_FOUND. */
int door_connect(const char *host, int *ret_fd, struct vs_error *err);

/* Reads --tls-cert and --tls-key into the JSON of SETTINGS: PEM texts. */
int door_secrets(const struct vs_args *args, struct vs_buf *ret, struct vs_error *err);
#endif
