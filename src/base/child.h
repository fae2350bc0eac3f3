/* base/child.h - what a program that we start inherits: the rule, once.
 *
 * The environment and the working directory are the caller's, and he may stand in a folder that strangers fill: a child gets
 * neither as they are. It gets a fixed PATH, the variables that its list names, and a directory that only root fills.
 * Descriptors are its starter's affair (all of ours are close-on-exec; vs_child_close_from is for those we were born with).
 * Threads: for use after fork; only async-signal-safe calls.
 */
#ifndef VS_BASE_CHILD_H
#define VS_BASE_CHILD_H

#define VS_CHILD_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
enum { VS_CHILD_MAX_VARIABLES = 64 };        /* more than that are left out */

/* The environment that a child gets: PATH, the strings "NAME=value" of `set`, and those of our variables whose name stands in
 * `kept` (an entry that ends in * stands for all names that begin so). Both lists end with NULL and may be NULL. The strings stay
 * where they are. For use before fork too. */
struct vs_child_environment { char *value[VS_CHILD_MAX_VARIABLES + 1]; };
void vs_child_environment(const char *const *set, const char *const *kept, struct vs_child_environment *ret);

/* Becomes `program`; one without a slash is looked for in VS_CHILD_PATH. Its environment is that of `set` and `kept`.
 * directory NULL: stays in ours, for programs of ours that take relative paths.
 * Returns only on failure, with errno; ENOENT: there is no such program. */
void vs_child_exec(const char *program, char *const argv[], const char *const *set, const char *const *kept, const char *directory);

/* Descriptors first and above are closed when the child becomes another program. */
void vs_child_close_from(unsigned first);

/* What a program of ours may be told by its environment: to one that opens files for a user, to one that is locked in, and to that
 * of these which signs: how OpenSSL finds a token. */
extern const char *const vs_child_kept_daemon[];
extern const char *const vs_child_kept_locked[];
extern const char *const vs_child_kept_signer[];
#endif
