/* base/machine.h - what this machine offers to one process: processors and memory, container limits included.
 *
 * Read from /proc and /sys, so before lock-in. What cannot be read is left at its neutral value; nothing fails. */
#ifndef VS_BASE_MACHINE_H
#define VS_BASE_MACHINE_H
#include <stdint.h>

struct vs_machine {
    uint32_t n_cpus;                    /* threads that compute best: n_cores, cut by the cgroup quota (rounded down: a pool that is
                                         * throttled stands still for most of a period); at least 1 */
    uint32_t n_affinity;                /* processors that the scheduler may use */
    uint32_t n_cores;                   /* cores among them: two processors of one core share its vector units */
    uint32_t n_nodes;                   /* NUMA nodes of the machine; 1 when it doesn't say */
    double quota_cpus;                  /* cgroup v1 or v2 quota in processors; 0 = none */
    uint64_t total_bytes;               /* MemTotal */
    uint64_t available_bytes;           /* MemAvailable */
    uint64_t cgroup_bytes;              /* memory limit of the cgroup; 0 = none */
    uint64_t free_bytes;                /* what a process may plan with: the smaller of both */
    uint32_t page_bytes;
};

/* root is the prefix of /proc and /sys: "" for this machine, a folder for tests. */
void vs_machine_read(const char *root, struct vs_machine *ret);
#endif
