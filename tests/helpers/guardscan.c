/* What a scan says of JSON lines, for people who tune rules and for bench/guard. rooms: filter unicode base
 *
 *     guardscan RULES [user|retrieved|tool] < FILE     a line for each line: score, then findings as rule:view:score:start-end
 *     guardscan RULES time < FILE                      microseconds for each KiB, each line scanned often
 *
 * A line is an object with "text".
 */
#include "base/buf.h"
#include "filter/rules.h"
#include "filter/scan.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void show(const struct vs_scan_result *r)
{
    printf("%u", r->score);
    for (size_t i = 0; i < r->n; i++)
        printf(" %s:%s:%u:%zu-%zu", r->found[i].rule, r->found[i].view, r->found[i].score, r->found[i].start, r->found[i].end);
    putchar('\n');
}

int main(int argc, char **argv)
{
    static struct vs_scan_result result;
    struct vs_scan_config config = { .zone = VS_ZONE_USER, .injection = true, .threshold = 500 };
    struct vs_buf file = { 0 };
    struct vs_rules *rules;
    struct vs_scan *scan;
    struct vs_error err;
    char *line = NULL, block[1 << 14];
    size_t room = 0, bytes = 0;
    double spent = 0;
    FILE *f = argc > 1 ? fopen(argv[1], "rb") : NULL;
    bool timing = argc > 2 && strcmp(argv[2], "time") == 0;
    if (!f)
        return 2;
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
        vs_buf_add(&file, block, n);
    fclose(f);
    if (vs_rules_open(file.data, file.n, &rules, &err) != VS_OK || vs_scan_create(rules, &scan) != VS_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    if (argc > 2 && !timing)
        config.zone = strcmp(argv[2], "tool") == 0 ? VS_ZONE_TOOL
            : strcmp(argv[2], "retrieved") == 0 ? VS_ZONE_RETRIEVED : VS_ZONE_USER;
    for (ssize_t n; (n = getline(&line, &room, stdin)) > 0;) {
        json_t *value = json_loadb(line, (size_t)n, 0, NULL), *text = json_object_get(value, "text");
        const char *s = json_string_value(text);
        size_t length = json_string_length(text);
        double from = now();
        for (int k = 0; k < (timing ? 500 : 1); k++)
            if (vs_scan_text(scan, &config, s ? s : "", length, &result) != VS_OK)
                return 1;
        spent += now() - from;
        bytes += length;
        if (!timing)
            show(&result);
        json_decref(value);
    }
    if (timing && bytes)
        printf("%.2f us for each KiB, %zu bytes\n", spent / 500 / (double)bytes * 1024, bytes);
    free(line);
    vs_scan_free(scan);
    vs_rules_close(rules);
    vs_buf_clear(&file);
    return 0;
}
