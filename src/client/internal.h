/* client/internal.h - what the files of this room share. */
#ifndef VS_CLIENT_INTERNAL_H
#define VS_CLIENT_INTERNAL_H
#include "client/client.h"

#include <sys/types.h>

/* Says HELLO on fd and hears the answer. Takes over fd, and child (a private daemon, 0: none), also on failure. */
int vs_client_open_on(int fd, pid_t child, const char *name, const char *key, struct vs_client **ret, struct vs_error *err);

/* The key of the file that VERITAS_KEY_FILE names; "" when it names none. The caller wipes it. VS_E_DENIED: others may read it;
 * VS_E_INVALID: there is none; never VS_E_NOT_FOUND. */
enum { VS_CLIENT_KEY_BYTES = 129 };
int vs_client_key_read(char ret[VS_CLIENT_KEY_BYTES], struct vs_error *err);
#endif
