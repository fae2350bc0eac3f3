/* rooms: base */
/* What a machine offers, read from made-up /proc and /sys trees. */
#include "base/machine.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char root[] = "/tmp/veritas-machine-XXXXXX";
static long cpus[2];                     /* the first two that we may run on; -1 = there is no second */

static void put(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *at = full + strlen(root) + 1; (at = strchr(at, '/')); at++) {
        *at = 0;
        mkdir(full, 0700);
        *at = '/';
    }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void siblings(long cpu, const char *list)
{
    char path[128];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%ld/topology/thread_siblings_list", cpu);
    put(path, list);
}

static int setup(void **state)
{
    (void)state;
    cpu_set_t set;
    long found = 0;
    cpus[0] = cpus[1] = -1;
    if (!mkdtemp(root) || sched_getaffinity(0, sizeof set, &set) != 0)
        return -1;
    for (long i = 0; i < CPU_SETSIZE && found < 2; i++)
        if (CPU_ISSET((size_t)i, &set))
            cpus[found++] = i;
    return found ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static void test_nothing_known(void **state)
{
    (void)state;
    struct vs_machine m;
    vs_machine_read("/nonexistent", &m);
    assert_true(m.n_cpus >= 1);
    assert_int_equal(m.n_cpus, m.n_affinity);
    assert_int_equal(m.n_nodes, 1);
    assert_int_equal(m.free_bytes, 0);
    assert_true(m.quota_cpus == 0);
}

static void test_cores(void **state)
{
    (void)state;
    struct vs_machine m, before;
    vs_machine_read(root, &before);
    char list[64];
    snprintf(list, sizeof list, "%ld", cpus[0]);
    siblings(cpus[0], list);
    vs_machine_read(root, &m);
    assert_int_equal(m.n_cores, before.n_cores);
    if (cpus[1] < 0)
        return;
    snprintf(list, sizeof list, "%ld,%ld\n", cpus[0], cpus[1]);
    siblings(cpus[0], list);
    siblings(cpus[1], list);
    vs_machine_read(root, &m);
    assert_int_equal(m.n_cores, before.n_cores - 1);
    assert_int_equal(m.n_affinity, before.n_affinity);
    siblings(cpus[1], "999999-1000000");  /* nonsense counts as a core of its own */
    vs_machine_read(root, &m);
    assert_int_equal(m.n_cores, before.n_cores);
}

static void test_limits(void **state)
{
    (void)state;
    struct vs_machine m;
    put("/proc/meminfo", "MemTotal:       2000 kB\nMemFree: 1 kB\nMemAvailable:   1000 kB\n");
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/sys/fs/cgroup/a/cpu.max", "50000 100000\n");
    put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/a/memory.max", "512000\n");
    vs_machine_read(root, &m);
    assert_true(m.quota_cpus > 0.49 && m.quota_cpus < 0.51);
    assert_int_equal(m.n_cpus, 1);
    assert_int_equal(m.total_bytes, 2000 * 1024);
    assert_int_equal(m.cgroup_bytes, 512000);
    assert_int_equal(m.free_bytes, 512000);
    put("/sys/fs/cgroup/a/cpu.max", "190000 100000\n");       /* 1.9: one thread that is never throttled */
    vs_machine_read(root, &m);
    assert_int_equal(m.n_cpus, 1);
    put("/proc/self/cgroup", "3:cpu,cpuacct:/x\n2:memory:/x\n");
    put("/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "100000");
    put("/sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000");
    put("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9223372036854771712");
    vs_machine_read(root, &m);
    assert_true(m.quota_cpus > 0.99 && m.quota_cpus < 1.01);
    assert_int_equal(m.cgroup_bytes, 0);
    assert_int_equal(m.free_bytes, 1000 * 1024);
}

static void test_nodes(void **state)
{
    (void)state;
    struct vs_machine m;
    put("/sys/devices/system/node/node0/cpulist", "0-1\n");
    put("/sys/devices/system/node/node1/cpulist", "2-3\n");
    vs_machine_read(root, &m);
    assert_int_equal(m.n_nodes, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_known), cmocka_unit_test(test_cores), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_nodes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
