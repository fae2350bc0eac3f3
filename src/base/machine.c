/* base/machine.c - see machine.h */
#include "base/machine.h"

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool read_text(const char *root, const char *path, char *text, size_t n)
{
    char full[1024];
    int length = snprintf(full, sizeof full, "%s%s", root, path);
    if (length < 0 || (size_t)length >= sizeof full)
        return false;
    int fd = open(full, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, n - 1);
    close(fd);
    text[got > 0 ? got : 0] = 0;
    return got > 0;
}

static uint64_t meminfo(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    return at ? strtoull(at + strlen(key), NULL, 10) * 1024 : 0;
}

/* The path of our cgroup for a controller ("" = version 2): /proc/self/cgroup holds lines "id:controllers:path". */
static bool cgroup_path(const char *text, const char *controller, char *ret, size_t n)
{
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        const char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
        size_t length = path ? strcspn(path + 1, "\n") : 0;
        if (!path || length >= n)
            continue;
        size_t n_names = (size_t)(path - names - 1);
        bool found = !*controller && n_names == 0;
        for (const char *at = names + 1; *controller && at < path; at += strcspn(at, ",:") + 1)
            found |= strcspn(at, ",:") == strlen(controller) && strncmp(at, controller, strlen(controller)) == 0;
        if (!found)
            continue;
        memcpy(ret, path + 1, length);
        ret[length] = 0;
        return true;
    }
    return false;
}

struct limits { double cpus; uint64_t bytes; };

static void read_v2(const char *root, const char *folder, struct limits *l)
{
    char path[1024], text[64];
    double quota, period;
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", folder);
    if (read_text(root, path, text, sizeof text) && sscanf(text, "%lf %lf", &quota, &period) == 2 && quota > 0 && period > 0)
        l->cpus = l->cpus == 0 || quota / period < l->cpus ? quota / period : l->cpus;
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", folder);
    if (read_text(root, path, text, sizeof text) && text[0] >= '0' && text[0] <= '9') {
        uint64_t bytes = strtoull(text, NULL, 10);
        l->bytes = l->bytes == 0 || bytes < l->bytes ? bytes : l->bytes;
    }
}

static void read_v1_cpu(const char *root, const char *folder, struct limits *l)
{
    char path[1024], text[64];
    snprintf(path, sizeof path, "/sys/fs/cgroup/cpu%s/cpu.cfs_quota_us", folder);
    double quota = read_text(root, path, text, sizeof text) ? strtod(text, NULL) : 0;
    snprintf(path, sizeof path, "/sys/fs/cgroup/cpu%s/cpu.cfs_period_us", folder);
    double period = read_text(root, path, text, sizeof text) ? strtod(text, NULL) : 0;
    if (quota > 0 && period > 0 && (l->cpus == 0 || quota / period < l->cpus))
        l->cpus = quota / period;
}

static void read_v1_memory(const char *root, const char *folder, struct limits *l)
{
    char path[1024], text[64];
    snprintf(path, sizeof path, "/sys/fs/cgroup/memory%s/memory.limit_in_bytes", folder);
    uint64_t bytes = read_text(root, path, text, sizeof text) ? strtoull(text, NULL, 10) : 0;
    if (bytes && bytes < UINT64_C(1) << 60 && (l->bytes == 0 || bytes < l->bytes))   /* no limit is a huge number */
        l->bytes = bytes;
}

/* A limit may stand at any level: our folder and all above it. In a container the path may not exist; the top then does. */
static void walk(const char *root, const char *text, const char *controller,
                 void (*take)(const char *root, const char *folder, struct limits *l), struct limits *l)
{
    char path[512];
    if (!cgroup_path(text, controller, path, sizeof path))
        return;
    for (char *cut = path; cut; ) {
        take(root, strcmp(path, "/") == 0 ? "" : path, l);
        cut = strrchr(path, '/');
        if (!cut || path[0] == 0)
            break;
        *cut = 0;
    }
}

/* "0-3,8": the first processor in the list that is in the set; -1 when none is. */
static long first_in(const char *list, const cpu_set_t *set)
{
    for (const char *at = list; *at >= '0' && *at <= '9'; at += *at == ',') {
        char *end;
        long from = strtol(at, &end, 10), to = *end == '-' ? strtol(end + 1, &end, 10) : from;
        for (long cpu = from; cpu <= to && cpu < CPU_SETSIZE; cpu++)
            if (CPU_ISSET((size_t)cpu, set))
                return cpu;
        at = end;
    }
    return -1;
}

/* Processors of the set that are the first of their core; one whose siblings can't be read counts as a core. */
static uint32_t count_cores(const char *root, const cpu_set_t *set)
{
    uint32_t n = 0;
    for (long cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((size_t)cpu, set))
            continue;
        char path[96], text[256];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%ld/topology/thread_siblings_list", cpu);
        long first = read_text(root, path, text, sizeof text) ? first_in(text, set) : cpu;
        n += first == cpu || first < 0;
    }
    return n;
}

static uint32_t count_nodes(const char *root)
{
    char path[64], text[256];
    uint32_t n = 0;
    do
        snprintf(path, sizeof path, "/sys/devices/system/node/node%u/cpulist", n);
    while (read_text(root, path, text, sizeof text) && ++n < 1024);
    return n ? n : 1;
}

void vs_machine_read(const char *root, struct vs_machine *ret)
{
    struct vs_machine m = { .n_affinity = 1, .n_cores = 1, .n_nodes = count_nodes(root) };
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) {
        m.n_affinity = (uint32_t)CPU_COUNT(&set);
        m.n_cores = count_cores(root, &set);
    }
    char text[8192];
    if (read_text(root, "/proc/meminfo", text, sizeof text)) {
        m.total_bytes = meminfo(text, "MemTotal:");
        m.available_bytes = meminfo(text, "MemAvailable:");
    }
    struct limits l = { 0, 0 };
    if (read_text(root, "/proc/self/cgroup", text, sizeof text)) {
        walk(root, text, "", read_v2, &l);
        walk(root, text, "cpu", read_v1_cpu, &l);
        walk(root, text, "memory", read_v1_memory, &l);
    }
    m.quota_cpus = l.cpus;
    m.cgroup_bytes = l.bytes;
    m.n_cpus = m.n_cores;
    if (l.cpus > 0 && l.cpus < (double)m.n_cpus)
        m.n_cpus = l.cpus < 1 ? 1 : (uint32_t)l.cpus;
    m.free_bytes = l.bytes && l.bytes < m.available_bytes ? l.bytes : m.available_bytes;
    m.page_bytes = (uint32_t)sysconf(_SC_PAGESIZE);
    *ret = m;
}
