/* What a detector finds in rows of JSON, and how often it is right. rooms: filter
 *
 *     detect secrets [-v] FILE...      each row has `text` or `text_b64`, and `label` 1 (there is a secret) or 0; with -v
 *                                      missed and wrong rows are printed, without their text; every row is also tried in pieces
 */
#include "filter/secrets.h"
#include "../support/detecting.h"

#include <jansson.h>

struct tally { unsigned good, found, harmless, alarms; };

static char *text_of(json_t *row, size_t *ret_n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *b64 = json_string_value(json_object_get(row, "text_b64")), *plain = json_string_value(json_object_get(row, "text"));
    if (!b64) {
        *ret_n = plain ? strlen(plain) : 0;
        return strdup(plain ? plain : "");
    }
    char *text = malloc(strlen(b64) + 1);
    uint32_t bits = 0;
    unsigned have = 0;
    *ret_n = 0;
    for (const char *at; text && *b64 && (at = strchr(digits, *b64)); b64++) {
        bits = bits << 6 | (uint32_t)(at - digits);
        have += 6;
        if (have >= 8)
            text[(*ret_n)++] = (char)(bits >> (have -= 8));
    }
    return text;
}

static void judge_row(const struct vs_detector *detector, json_t *row, bool verbose, struct tally *t)
{
    static struct detected d;
    size_t n;
    char *text = text_of(row, &n);
    if (!text)
        return;
    const char *id = json_string_value(json_object_get(row, "id")), *kind = json_string_value(json_object_get(row, "kind"));
    bool is_secret = json_integer_value(json_object_get(row, "label")) == 1;
    detect_any_cut(detector, text, n, (uint32_t)n, &d);
    free(text);
    t->good += is_secret;
    t->harmless += !is_secret;
    t->found += is_secret && d.n > 0;
    t->alarms += !is_secret && d.n > 0;
    if (verbose && is_secret != (d.n > 0))
        printf("%s %s %s %s\n", is_secret ? "missed" : "wrong", id ? id : "-", kind ? kind : "-", d.n ? d.span[0].rule : "");
}

int main(int argc, char **argv)
{
    static struct vs_secrets secrets;
    vs_secrets_init(&secrets);
    struct vs_detector detector = vs_secrets_detector(&secrets);
    bool verbose = argc > 2 && strcmp(argv[2], "-v") == 0;
    if (argc < 3 || strcmp(argv[1], "secrets") != 0) {
        fprintf(stderr, "usage: detect secrets [-v] FILE...\n");
        return 2;
    }
    for (int i = verbose ? 3 : 2; i < argc; i++) {
        struct tally t = { 0 };
        FILE *f = fopen(argv[i], "r");
        if (!f) {
            perror(argv[i]);
            return 1;
        }
        json_t *row;
        while ((row = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL))) {
            judge_row(&detector, row, verbose, &t);
            json_decref(row);
        }
        fclose(f);
        printf("%s: found %u of %u, false alarms %u of %u\n", argv[i], t.found, t.good, t.alarms, t.harmless);
    }
    return 0;
}
