/* What a scan says of JSON lines, for people who tune rules and for bench/guard. rooms: filter unicode base
 *
 *     guardscan RULES [user|retrieved|tool [all]] < FILE   a line for each line: score, then findings as rule:view:score:start-end
 *     guardscan RULES time [all] < FILE                    microseconds for each KiB: of each line the least of some rounds
 *     guardscan RULES once [all] < FILE                    a line for each line: microseconds of one scan
 *
 * all: with every detector. A line is an object with "text".
 */
#include "base/buf.h"
#include "filter/pii.h"
#include "filter/protect.h"
#include "filter/rules.h"
#include "filter/scan.h"
#include "filter/secrets.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 10, TIMES = 6 };        /* each line is scanned, to measure */

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

/* What a policy can ask for: personal data, secrets, two protected values. */
static void detect_all(struct vs_scan_config *config)
{
    static const struct vs_protected values[] = { { "Blue-Heron-4471-Falcon", 22 }, { "a value that nobody says", 24 } };
    static struct vs_pii_state pii;
    static struct vs_secrets secrets;
    static struct vs_detector each[3];
    static const struct vs_detector *list[3] = { &each[0], &each[1], &each[2] };
    vs_pii_init(&pii, UINT32_MAX);
    vs_secrets_init(&secrets);
    each[0] = vs_pii_detector(&pii);
    each[1] = vs_secrets_detector(&secrets);
    each[2] = vs_protect_detector(vs_protect_create(values, 2));
    config->detectors = list;
    config->n_detectors = 3;
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
    bool timing = argc > 2 && strcmp(argv[2], "time") == 0, once = argc > 2 && strcmp(argv[2], "once") == 0;
    if (!f)
        return 2;
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
        vs_buf_add(&file, block, n);
    fclose(f);
    if (vs_rules_open(file.data, file.n, &rules, &err) != VS_OK || vs_scan_create(rules, &scan) != VS_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    if (argc > 3 && strcmp(argv[3], "all") == 0)
        detect_all(&config);
    if (argc > 2 && !timing)
        config.zone = strcmp(argv[2], "tool") == 0 ? VS_ZONE_TOOL
            : strcmp(argv[2], "retrieved") == 0 ? VS_ZONE_RETRIEVED : VS_ZONE_USER;
    for (ssize_t n; (n = getline(&line, &room, stdin)) > 0;) {
        json_t *value = json_loadb(line, (size_t)n, 0, NULL), *text = json_object_get(value, "text");
        const char *s = json_string_value(text);
        size_t length = json_string_length(text);
        double least = 1e9;
        for (int round = 0; round < (timing ? ROUNDS : 1); round++) {
            double from = now();
            for (int k = 0; k < (timing ? TIMES : 1); k++)
                if (vs_scan_text(scan, &config, s ? s : "", length, &result) != VS_OK)
                    return 1;
            from = now() - from;
            least = from < least ? from : least;
        }
        spent += least;
        bytes += length;
        if (once)
            printf("%.0f\n", least);
        else if (!timing)
            show(&result);
        json_decref(value);
    }
    if (timing && bytes)
        printf("%.2f us for each KiB, %zu bytes\n", spent / TIMES / (double)bytes * 1024, bytes);
    free(line);
    vs_scan_free(scan);
    vs_rules_close(rules);
    vs_buf_clear(&file);
    return 0;
}
