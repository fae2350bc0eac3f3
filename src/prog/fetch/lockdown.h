/* prog/fetch/lockdown.h - a process that must reach the network gives up everything else. */
#ifndef VS_FETCH_LOCKDOWN_H
#define VS_FETCH_LOCKDOWN_H

/* For good: no new privileges, no identity of root, no dumps, few descriptors, no byte to any file (RLIMIT_FSIZE 0), files can
 * only be read, and only where name resolution looks (Landlock, where the kernel has it), and no system call that starts, traces
 * or mounts
 * anything (seccomp). NULL, or what could not be had. */
const char *vs_fetch_lockdown(void);
#endif
