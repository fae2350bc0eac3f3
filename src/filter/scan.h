/* filter/scan.h - a whole text looked through: rules and the linear model over the text and its views, and detectors of spans.
 *
 *     text --blocks--> views --> rules -----> windows of a few sentences --.
 *       |                 '----> model -----> sentences, windows, whole ---+--> score, flagged
 *       '--------------> detectors -------------------------------------- findings
 *
 * What stands close together counts together: rules that are found within VS_SCAN_WINDOW bytes are combined, each rule once, as if
 * they were independent (1 minus the product of what is left); so is the model's score with them. A long text does not dilute
 * that, because only the best place counts. The model alone counts less in a text of more than 600 bytes, and half beyond 2,400. A
 * rule whose phrase stands in quotes, in a text that speaks about such phrases (class `about`), counts for a quarter; what begins
 * within a `harmless` phrase not at all, what begins within a `reported` one half.
 *
 * Deterministic: integers only. Memory: a scanner keeps its views between texts: some 100 KiB, a few MiB after hostile ones,
 * whatever their length. Time: linear. Threads: one at a time for each scanner.
 */
#ifndef VS_FILTER_SCAN_H
#define VS_FILTER_SCAN_H
#include "base/check.h"
#include "base/status.h"
#include "filter/detector.h"

enum {
    VS_SCAN_WINDOW = 500,                /* bytes in which rules count together */
    VS_SCAN_OVERLAP = 1024,              /* bytes that two blocks share */
    VS_SCAN_FOUND = 64,                  /* findings that are told; others are counted */
};

struct vs_rules;

struct vs_scan_config {
    enum vs_zone zone;                   /* VS_ZONE_SYSTEM: no injection is looked for */
    bool injection;                      /* rules and model; false: only detectors look */
    unsigned threshold;                  /* 1 to 1000: `flagged` from this score on */
    const char *const *allow;            /* [n_allow]: ids of rules that do not count, and texts in which nothing counts */
    size_t n_allow;
    const struct vs_detector *const *detectors;      /* [n_detectors] */
    size_t n_detectors;
    struct vs_check *check;              /* asked within a long text; its answer does not matter. NULL: nobody is */
};

struct vs_scan_result {
    unsigned score;                      /* of injection, 0 to 1000 */
    bool flagged;                        /* it reached the threshold */
    struct vs_finding found[VS_SCAN_FOUND];      /* [n]; in the order in which they were found, views after the text */
    size_t n, more;                      /* told; left out */
};

struct vs_scan;
/* `rules` outlives the scanner. VS_E_NOMEM. */
int vs_scan_create(struct vs_rules *rules, struct vs_scan **ret);
void vs_scan_free(struct vs_scan *s);

/* VS_OK, VS_E_NOMEM, or VS_E_LIMIT (a text of 4 GiB or more). Any bytes are welcome. */
int vs_scan_text(struct vs_scan *s, const struct vs_scan_config *config, const char *text, size_t n, struct vs_scan_result *ret);
#endif
