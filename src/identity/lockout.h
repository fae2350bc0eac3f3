/* identity/lockout.h - who tries keys is not listened to for a while: five wrong ones within a minute, then nothing for 30 seconds.
 *
 * Each is told apart by a number of the caller's (a uid, a hash of an address). The table has a fixed size; when it is full the one
 * that tried longest ago and is not locked out is forgotten. Times are vs_clock_ns(). Memory: the struct is all. Threads: none.
 */
#ifndef VS_IDENTITY_LOCKOUT_H
#define VS_IDENTITY_LOCKOUT_H
#include <stdbool.h>
#include <stdint.h>

enum { VS_LOCKOUT_TRIES = 5, VS_LOCKOUT_ENTRIES = 512 };
#define VS_LOCKOUT_WINDOW UINT64_C(60000000000)
#define VS_LOCKOUT_TIME   UINT64_C(30000000000)

struct vs_lockout {
    struct vs_lockout_entry {
        uint64_t who, until;            /* until 0: not locked out */
        uint64_t at[VS_LOCKOUT_TRIES];  /* of the last wrong ones, the newest first */
        unsigned n;                     /* 0: the entry is free */
    } entry[VS_LOCKOUT_ENTRIES];
    unsigned n_used;                    /* entries before it may be in use */
};

uint64_t vs_lockout_left(const struct vs_lockout *l, uint64_t who, uint64_t now);      /* nanoseconds; 0: not locked out */
bool vs_lockout_wrong(struct vs_lockout *l, uint64_t who, uint64_t now);               /* a wrong key; true: locked out from now */
#endif
