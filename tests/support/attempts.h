/* support/attempts.h - what a process that was taken over would try, and the end that each attempt must have in a locked-in one:
 * unit/sandbox.c tries them in both profiles, e2e/attempts.py in a worker of the real supervisor (service_echo.c). */
#ifndef VS_TEST_ATTEMPTS_H
#define VS_TEST_ATTEMPTS_H
#include <stdbool.h>
#include <stddef.h>

enum end {
    TRAPPED,                            /* the process ends; its last words have the number of the call */
    KILLED,                             /* the kernel ends it by SIGSYS */
    WORKS,                              /* the attempt comes back, and is true */
};

struct attempt {
    const char *name;
    bool (*go)(void);                   /* true: it worked */
    enum end end;
    int call;                           /* TRAPPED with this number */
    bool sanitizer_differs;             /* the wider list of a sanitizer build lets it through or refuses it */
};
extern const struct attempt attempts[], attempts_of_worker[];   /* in both profiles; in a worker alone */
extern const size_t n_attempts, n_attempts_of_worker;
const struct attempt *attempt_find(const char *name);           /* NULL: none */
#endif
