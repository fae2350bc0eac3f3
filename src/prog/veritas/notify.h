/* prog/veritas/notify.h - what a service manager hears of the daemon: the datagrams of sd_notify, which is all of it that we need.
 *
 * $NOTIFY_SOCKET names a Unix datagram socket (a path, or @ and a name of the abstract kind); each datagram is lines NAME=VALUE.
 * $WATCHDOG_USEC says how often WATCHDOG=1 must come; $WATCHDOG_PID, when set, from whom.
 * Where nobody named a socket nothing is sent. Losing a datagram is no fault of ours: nothing here fails, and nothing waits.
 *
 * Memory: plain data and one descriptor. Threads: one at a time.
 */
#ifndef VS_VERITAS_NOTIFY_H
#define VS_VERITAS_NOTIFY_H
#include <stdint.h>

struct vs_notify {
    int fd;                             /* connected; -1: nobody listens */
    uint64_t watchdog_ns;               /* WATCHDOG=1 is wanted at least so often; 0: not at all */
};

void vs_notify_open(struct vs_notify *n);
void vs_notify_send(const struct vs_notify *n, const char *lines);
void vs_notify_close(struct vs_notify *n);
#endif
