/* prog/veritas/audit.c - `veritas audit`: is the log as it was written, and what does it say? */
#include "evidence/check.h"
#include "evidence/proof.h"
#include "evidence/sign.h"
#include "ipc/json.h"
#include "prog/veritas/audit_folder.h"
#include "prog/veritas/command.h"
#include "prog/veritas/policy_file.h"
#include "prog/veritas/term.h"

#include "base/date.h"
#include "base/word.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int vs_command_audit(const struct vs_args *args)
{
    char name[64];
    if (args->n == 0)
        return vs_usage("audit", "which one: verify, show, export, checkpoint, key or fetch?");
    snprintf(name, sizeof name, "audit %.40s", args->v[0]);
    return vs_command_unknown(name);
}

/* The log in `given`, else the one of the policy. Its folder, open; -1 and err. */
static int open_log(const struct vs_args *args, const char *given, struct vs_error *err)
{
    struct vs_policy_file policy;
    char path[PATH_MAX];
    int rc = VS_OK;
    vs_json_setup(0);
    if (vs_evidence_setup(err) != VS_OK)
        return -1;
    if (given)
        return audit_folder_open(given, false, err);
    if (vs_policy_file_read(&policy, vs_args_given(args, VS_OPT_POLICY) ? vs_args_text(args, VS_OPT_POLICY) : NULL, err) != VS_OK)
        return -1;
    rc = audit_folder_of(&policy, path, sizeof path, err);
    vs_policy_file_clear(&policy);
    return rc == VS_OK ? audit_folder_open(path, false, err) : -1;
}

/* Reads the whole log; what it is like is in c. VS_E_*: it cannot be read. */
static int read_log(int dir, struct vs_log_check *c, vs_log_line *each, void *context, struct vs_error *err)
{
    struct audit_files files;
    int rc = audit_files_list(dir, &files, err);
    for (size_t i = 0; rc == VS_OK && i < files.n && !c->first_bad; i++) {
        char name[AUDIT_NAME_BYTES];
        struct vs_error why = { 0 };
        audit_name(files.first[i], name);
        int fd = audit_file_open(dir, name, O_RDONLY, &why);
        if (fd < 0 && why.code == VS_E_MALFORMED)
            vs_log_check_fail(c, files.first[i], "%s", why.text);
        else if (fd < 0)
            rc = vs_error_set(err, why.code, "%s", why.text);
        else
            rc = vs_log_check_fd(c, fd, files.first[i], each, context, err);
        if (fd >= 0)
            close(fd);
    }
    if (rc == VS_OK && files.n)
        vs_log_check_end(c);
    if (rc == VS_OK && files.n == 0)
        rc = vs_error_set(err, VS_E_NOT_FOUND, "there is no log in this folder");
    audit_files_clear(&files);
    return rc;
}

/* ---- keys and checkpoints ---- */

struct signing {
    struct vs_keys keys;
    struct vs_note *note;                /* [n], as they stand in the file, and the one that was saved elsewhere */
    size_t n, n_cut, next;               /* next: the one whose record has not come yet */
    size_t n_pasts;                      /* so many of them stand in the file of keys */
    uint64_t through;                    /* the last one that fits signs so many records */
};

static void signing_clear(struct signing *s)
{
    vs_keys_clear(&s->keys);
    free(s->note);
    *s = (struct signing){ 0 };
}

static int compare_notes(const void *a, const void *b)
{
    const struct vs_note *x = a, *y = b;
    return x->size < y->size ? -1 : x->size > y->size;
}

/* All notes of text[n]. What a kill left of one is passed over; one that is whole and not ours is not, but where others may be,
 * too: in the file of --checkpoint. */
static int read_notes(struct signing *s, const char *what, bool has_others, const char *text, size_t n, struct vs_error *err)
{
    size_t cap = s->n, used;
    for (; n > 0; text += used, n -= used) {
        struct vs_note note;
        int rc = vs_note_parse(text, n, &s->keys, &note, &used);
        if (rc == VS_E_MALFORMED)
            return vs_error_set(err, rc, "%s: checkpoint %zu is not signed by a key of this log", what, s->n + 1);
        if (rc == VS_E_NOT_FOUND && !has_others)
            return vs_error_set(err, VS_E_MALFORMED, "%s: where checkpoint %zu should begin, there is not %s", what, s->n + 1,
                                s->keys.origin);
        s->n_cut += rc == VS_E_SHORT;
        if (rc != VS_OK)
            continue;
        if (s->n >= cap) {
            struct vs_note *more = realloc(s->note, (cap = cap ? 2 * cap : 64) * sizeof *more);
            if (!more)
                return vs_error_set(err, VS_E_NOMEM, "out of memory");
            s->note = more;
        }
        s->note[s->n++] = note;
    }
    if (s->n)
        qsort(s->note, s->n, sizeof *s->note, compare_notes);
    return VS_OK;
}

/* What each key says of the log before it is as good as a checkpoint by the key before. */
static int add_pasts(struct signing *s, struct vs_error *err)
{
    struct vs_note *more = realloc(s->note, (s->n + s->keys.n) * sizeof *more);
    if (!more)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    s->note = more;
    for (size_t i = 0; i < s->keys.n; i++) {
        const struct vs_past *past = &s->keys.past[i];
        if (!past->size)
            continue;
        s->note[s->n] = (struct vs_note){ .size = past->size };
        memcpy(s->note[s->n++].root, past->root, sizeof past->root);
        s->n_pasts++;
    }
    qsort(s->note, s->n, sizeof *s->note, compare_notes);
    return VS_OK;
}

/* A file of the log's folder, whole; one that is not there is empty. */
static int read_small(int dir, const char *name, struct vs_buf *ret, struct vs_error *err)
{
    struct vs_error why = { 0 };
    char piece[65536];
    ret->limit = 256u << 20;
    int fd = audit_file_open(dir, name, O_RDONLY, &why);
    if (fd < 0)
        return why.code == VS_E_NOT_FOUND ? VS_OK : vs_error_set(err, why.code, "%s", why.text);
    for (ssize_t got; (got = read(fd, piece, sizeof piece)) > 0 && ret->status == VS_OK;)
        vs_buf_add(ret, piece, (size_t)got);
    close(fd);
    return ret->status;
}

/* The keys of the log; of receipts, where there is none. VS_E_MALFORMED: they cannot be as they were written. */
static int read_public(int dir, const struct vs_args *args, struct signing *ret, struct vs_error *err)
{
    struct vs_buf text = { 0 };
    struct vs_public trusted;
    char *given = NULL;
    size_t n = 0;
    *ret = (struct signing){ 0 };
    int rc = read_small(dir, "keys", &text, err);
    if (rc == VS_OK)
        rc = vs_keys_parse(text.data ? text.data : "", text.n, &ret->keys, err);
    if (rc == VS_OK && !ret->keys.n)
        rc = vs_error_set(err, VS_E_MALFORMED, "the public keys are not there");
    if (rc == VS_OK && vs_args_given(args, VS_OPT_PUBKEY)) {
        rc = vs_text_read(vs_args_text(args, VS_OPT_PUBKEY), 4096, &given, &n, err);
        if (rc == VS_OK && !vs_vkey_parse(given, n, &trusted))
            rc = vs_error_set(err, VS_E_INVALID, "--pubkey: this is no key; `veritas audit key` prints one");
        else if (rc == VS_OK && !vs_public_equal(&trusted, &ret->keys.key[0]))
            rc = vs_error_set(err, VS_E_MALFORMED, "the log is signed by another key than --pubkey");
        free(given);
    }
    vs_buf_clear(&text);
    return rc;
}

/* And its checkpoints. */
static int read_signing(int dir, const struct vs_args *args, struct signing *ret, struct vs_error *err)
{
    struct vs_buf text = { 0 };
    int rc = read_public(dir, args, ret, err);
    if (rc == VS_OK)
        rc = read_small(dir, "checkpoints", &text, err);
    if (rc == VS_OK)
        rc = read_notes(ret, "checkpoints", false, text.data ? text.data : "", text.n, err);
    if (rc == VS_OK && !ret->n)
        rc = vs_error_set(err, VS_E_MALFORMED, "no checkpoint is there");
    vs_buf_clear(&text);
    return rc;
}

static int read_saved(const struct vs_args *args, struct signing *s, struct vs_error *err)
{
    char *text;
    size_t n, before = s->n;
    if (!vs_args_given(args, VS_OPT_CHECKPOINT))
        return VS_OK;
    int rc = vs_text_read(vs_args_text(args, VS_OPT_CHECKPOINT), 1 << 20, &text, &n, err);
    if (rc != VS_OK)
        return rc;
    rc = read_notes(s, "--checkpoint", true, text, n, err);
    free(text);
    return rc == VS_OK && s->n == before ? vs_error_set(err, VS_E_MALFORMED, "--checkpoint: it is none of this log") : rc;
}

/* ---- verify ---- */

enum { GAP_MOST = 400 };                /* bytes of a line in which its event stands */

struct verify {
    struct vs_log_check *check;
    struct signing signing;
    uint64_t missed;                     /* records that could not be written, as others say */
    uint64_t bad;                        /* 0, or the record at which a checkpoint does not fit, */
    uint64_t after;                      /* and the last one that a checkpoint fits */
    bool is_unread;                      /* there is no log, or nothing to judge it by */
};

/* Does the tree of so many records have the root that is signed? */
static bool fits(const struct vs_note *note, const struct vs_tree *tree)
{
    uint8_t root[VS_HASH_BYTES];
    vs_tree_root(tree, root);
    return memcmp(root, note->root, sizeof root) == 0;
}

/* A gap that a record names; of how many records it may not know. */
static uint64_t missed(const char *line, size_t n)
{
    static const char event[] = "\"event\":\"gap\"", count[] = "\"missed\":";
    const char *at = memmem(line, n < GAP_MOST ? n : GAP_MOST, event, sizeof event - 1) ? memmem(line, n, count, sizeof count - 1)
                   : NULL;
    return at ? strtoull(at + sizeof count - 1, NULL, 10) : 0;
}

static bool see_record(void *verify, const struct vs_line_head *head, const char *line, size_t n)
{
    struct verify *v = verify;
    struct signing *s = &v->signing;
    v->missed += missed(line, n);
    for (; s->next < s->n && s->note[s->next].size <= head->seq; s->next++) {
        const struct vs_note *note = &s->note[s->next];
        if (note->size < v->check->first - 1)
            continue;                   /* of records that were deleted */
        bool is_before = note->size == v->check->first - 1;
        bool good = is_before ? memcmp(note->root, v->check->believed_root, VS_HASH_BYTES) == 0 : fits(note, &v->check->tree);
        if (!good) {
            v->bad = is_before ? v->check->first : note->size;
            v->after = s->through;
            return false;
        }
        s->through = note->size;
    }
    return true;
}

static void print_verdict(const struct verify *v, bool as_json)
{
    const struct vs_log_check *c = v->check;
    uint64_t last = c->first + c->n_records - 1, through = v->signing.through;
    size_t n = v->signing.n - v->signing.n_pasts;
    bool is_closed = c->is_closed && through == last && !c->first_bad && !v->is_unread;
    json_t *all = json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:o, s:s}", "ok", c->first_bad == 0 && !v->is_unread,
                            "records", (json_int_t)c->n_records, "first", (json_int_t)c->first, "checkpoints",
                            (json_int_t)n, "unreadable_checkpoints", (json_int_t)v->signing.n_cut, "signed_through",
                            (json_int_t)through, "closed", is_closed, "missed", (json_int_t)v->missed, "first_bad",
                            c->first_bad ? json_integer((json_int_t)c->first_bad) : json_null(), "reason", c->reason);
    if (as_json)
        vs_answer_json(all, JSON_COMPACT);
    else if (c->first_bad)
        printf("BAD record %" PRIu64 ": %s\n", c->first_bad, c->reason);
    else if (is_closed)
        printf("ok %" PRIu64 " record%s, %zu checkpoint%s, closed\n", c->n_records, vs_plural(c->n_records), n, vs_plural(n));
    else
        printf("ok %" PRIu64 " record%s, %zu checkpoint%s; not closed: the records from %" PRIu64 " on are not signed yet, and "
               "what came after the last one and was cut off would not be missed\n", c->n_records, vs_plural(c->n_records), n,
               vs_plural(n), through + 1);
    if (v->missed && !as_json && !c->first_bad)
        printf("%" PRIu64 " record%s could not be written in time (veritas audit show --type gap)\n", v->missed,
               vs_plural(v->missed));
    json_decref(all);
}

/* What the lines alone cannot tell. */
static void judge(struct verify *v)
{
    struct vs_log_check *c = v->check;
    uint64_t last = c->first + c->n_records - 1;
    const struct signing *s = &v->signing;
    if (v->bad && (!c->first_bad || v->bad < c->first_bad)) {
        c->first_bad = 0;
        vs_log_check_fail(c, v->bad, "a checkpoint signs other records than these (those up to %" PRIu64 " are as signed)",
                          v->after);
    } else if (!c->first_bad && s->n && s->note[s->n - 1].size > last) {
        vs_log_check_fail(c, last + 1, "a checkpoint signs %" PRIu64 " records: the end of the log is gone",
                          s->note[s->n - 1].size);
    } else if (!c->first_bad && c->first > 1 && s->through < c->first - 1) {
        vs_log_check_fail(c, 1, "the records 1 to %" PRIu64 " are not here, and no checkpoint says what they were", c->first - 1);
    }
}

/* There is nothing that could be judged. Who reads JSON gets an object all the same. */
static int fail_unread(const struct vs_args *args, struct verify *v, const struct vs_error *err)
{
    if (vs_args_given(args, VS_OPT_JSON)) {
        snprintf(v->check->reason, sizeof v->check->reason, "%.190s", err->text);
        v->is_unread = true;
        print_verdict(v, true);
    }
    int status = vs_fail(err);
    return err->code == VS_E_NOT_FOUND ? vs_status_exit(VS_E_MALFORMED) : status;
}

int vs_command_audit_verify(const struct vs_args *args)
{
    struct vs_log_check check = { 0 };
    struct verify v = { .check = &check };
    struct vs_error err = { 0 }, why = { 0 };
    int dir = open_log(args, args->n > 0 ? args->v[0] : NULL, &err);
    if (dir < 0)
        return fail_unread(args, &v, &err);
    int rc = read_signing(dir, args, &v.signing, &why), signing = rc;
    if (rc == VS_OK)
        rc = read_saved(args, &v.signing, &err);
    else if (rc == VS_E_MALFORMED)
        rc = VS_OK;
    else
        err = why;
    bool reads = rc == VS_OK;
    const struct vs_note *newest = v.signing.n ? &v.signing.note[v.signing.n - 1] : NULL;
    if (reads && newest) {
        check.signed_seq = newest->size;
        memcpy(check.signed_head, newest->head, sizeof check.signed_head);
    }
    if (reads && v.signing.keys.n)
        rc = add_pasts(&v.signing, &err);
    reads = reads && rc == VS_OK;
    if (reads)
        rc = read_log(dir, &check, see_record, &v, &err);
    close(dir);
    if (rc == VS_E_MALFORMED && reads) {  /* a file of the log is none */
        vs_log_check_fail(&check, check.first ? check.first + check.n_records : 1, "%s", err.text);
        rc = VS_OK;
    }
    if (rc == VS_OK && signing != VS_OK)
        vs_log_check_fail(&check, check.first ? check.first : 1, "%s", why.text);
    if (rc == VS_OK)
        judge(&v);
    if (rc == VS_OK)
        print_verdict(&v, vs_args_given(args, VS_OPT_JSON));
    int status = rc != VS_OK ? fail_unread(args, &v, &err) : check.first_bad ? vs_status_exit(VS_E_MALFORMED) : 0;
    vs_log_check_clear(&check);
    signing_clear(&v.signing);
    return status;
}

/* ---- checkpoint, key ---- */

/* The last note of the file, as text and read. */
static int newest_note(int dir, const struct vs_keys *keys, struct vs_buf *ret, struct vs_note *ret_note, struct vs_error *err)
{
    struct vs_buf text = { 0 };
    size_t used, last = 0, last_n = 0;
    int rc = read_small(dir, "checkpoints", &text, err);
    for (size_t at = 0; rc == VS_OK && at < text.n; at += used) {
        struct vs_note note;
        if (vs_note_parse(text.data + at, text.n - at, keys, &note, &used) != VS_OK)
            continue;
        *ret_note = note;
        last = at;
        last_n = used;
    }
    if (rc == VS_OK)
        vs_buf_add(ret, text.data + last, last_n);
    vs_buf_clear(&text);
    return rc;
}

int vs_command_audit_checkpoint(const struct vs_args *args)
{
    struct signing s;
    struct vs_buf text = { 0 };
    struct vs_note note;
    struct vs_error err = { 0 };
    int dir = open_log(args, args->n > 0 ? args->v[0] : NULL, &err);
    if (dir < 0)
        return vs_fail(&err);
    int rc = read_signing(dir, args, &s, &err);
    if (rc == VS_OK)
        rc = newest_note(dir, &s.keys, &text, &note, &err);
    if (rc == VS_OK)
        fwrite(text.data, 1, text.n, stdout);
    close(dir);
    vs_buf_clear(&text);
    signing_clear(&s);
    return rc == VS_OK ? 0 : vs_fail(&err);
}

int vs_command_audit_key(const struct vs_args *args)
{
    struct signing s;
    struct vs_buf text = { 0 };
    struct vs_error err = { 0 };
    int dir = open_log(args, args->n > 0 ? args->v[0] : NULL, &err);
    if (dir < 0)
        return vs_fail(&err);
    int rc = read_public(dir, args, &s, &err);
    close(dir);
    if (rc == VS_OK) {
        vs_vkey_format(s.keys.origin, &s.keys.key[0], &text);
        printf("%s\n", text.data);
    }
    vs_buf_clear(&text);
    signing_clear(&s);
    return rc == VS_OK ? 0 : vs_fail(&err);
}

/* ---- show ---- */

struct show {
    int64_t since, until;                /* milliseconds */
    const char *type;                    /* NULL: all */
    bool as_json, has_found;
};

static int days_of(int year, int month)
{
    static const int days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && is_leap);
}

/* "2026-11-29", "2026-11-29T12:30:00Z" (or with thousandths, as `audit show` prints it), seconds since 1970, or "7d", "12h", "30m"
 * before now. In milliseconds. */
static bool read_time(const char *s, int64_t *ret)
{
    static const struct { char letter; int64_t seconds; } units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
    int year, month, day, hour = 0, minute = 0, second = 0, thousandth = 0, used = 0, more = 0;
    int64_t number;
    size_t n = strlen(s);
    for (size_t i = 0; i < sizeof units / sizeof *units && n > 1 && n < 12; i++)
        if (s[n - 1] == units[i].letter) {
            char digits[12];
            snprintf(digits, sizeof digits, "%.*s", (int)n - 1, s);
            *ret = ((int64_t)time(NULL) - (vs_integer_parse(digits, &number) ? number * units[i].seconds : 0)) * 1000;
            return vs_integer_parse(digits, &number) && number >= 0;
        }
    if (vs_integer_parse(s, &number)) {
        *ret = number * 1000;
        return number >= 0 && number < INT64_MAX / 1000;
    }
    if (sscanf(s, "%4d-%2d-%2d%n", &year, &month, &day, &used) != 3 || year < 1970 || month < 1 || month > 12 || day < 1
        || day > days_of(year, month))
        return false;
    if (s[used] == 'T' && (sscanf(s + used, "T%2d:%2d%n", &hour, &minute, &more) != 2 || hour > 23 || minute > 59 || hour < 0))
        return false;
    used += more;
    more = 0;
    if (s[used] == ':' && (sscanf(s + used, ":%2d%n", &second, &more) != 1 || second < 0 || second > 60))
        return false;
    bool has_seconds = more > 0;
    used += more;
    more = 0;
    if (has_seconds && s[used] == '.'
        && (strspn(s + used + 1, "0123456789") != 3 || sscanf(s + used, ".%3d%n", &thousandth, &more) != 1))
        return false;
    used += more;
    if (s[used] != 0 && strcmp(s + used, "Z") != 0)
        return false;
    /* Days of the Gregorian calendar, years beginning in March. */
    int64_t y = month > 2 ? year : year - 1, m = month > 2 ? month - 3 : month + 9;
    int64_t days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
    *ret = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + thousandth;
    return true;
}

static int show_options(const struct vs_args *args, struct show *ret)
{
    static const struct { enum vs_option_id id; size_t at; const char *name; } times[] = {
        { VS_OPT_SINCE, offsetof(struct show, since), "since" }, { VS_OPT_UNTIL, offsetof(struct show, until), "until" },
    };
    *ret = (struct show){ .since = 0, .until = INT64_MAX, .as_json = vs_args_given(args, VS_OPT_JSON) };
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        const char *text = vs_args_given(args, times[i].id) ? vs_args_text(args, times[i].id) : NULL;
        if (text && !read_time(text, (int64_t *)(void *)((char *)ret + times[i].at)))
            return vs_usage(args->command->name, "--%s: '%s' is neither a date (2026-11-29, 2026-11-29T12:30:00Z), nor seconds "
                            "since 1970, nor a time before now (12h, 7d)", times[i].name, vs_shown(text).text);
    }
    ret->type = vs_args_given(args, VS_OPT_TYPE) ? vs_args_text(args, VS_OPT_TYPE) : NULL;
    return 0;
}

static bool is_type(const char *line, size_t n, const char *type)
{
    char mark[80];
    int length = snprintf(mark, sizeof mark, "\"event\":\"%.60s\"", type);
    return memmem(line, n, mark, (size_t)length) != NULL;
}

static const char *text_at(const json_t *all, const char *group, const char *key)
{
    const char *text = json_string_value(json_object_get(group ? json_object_get(all, group) : all, key));
    return text ? text : "";
}

/* Number, time, event, and what it is about. */
static void print_line(const struct vs_line_head *head, const char *line, size_t n)
{
    struct tm tm = { 0 };
    json_t *all = vs_json_parse(line, n, NULL);
    const json_t *api = json_object_get(all, "api"), *user = json_object_get(json_object_get(all, "actor"), "user");
    vs_date_of(head->time_ms / 1000, &tm);
    printf("%" PRIu64 " %04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s", head->seq, tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
           tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(head->time_ms % 1000), vs_shown(text_at(all, NULL, "event")).text);
    if (user)
        printf(" uid=%s", vs_shown(text_at(user, NULL, "uid")).text);
    if (*text_at(user, NULL, "credential_uid"))
        printf(" key=%s", vs_shown(text_at(user, NULL, "credential_uid")).text);
    if (*text_at(all, "user", "name"))
        printf(" key=%s", vs_shown(text_at(all, "user", "name")).text);
    if (api)
        printf(" %s", vs_shown(text_at(api, NULL, "operation")).text);
    if (*text_at(all, "ai_model", "name"))
        printf(" model=%s", vs_shown(text_at(all, "ai_model", "name")).text);
    if (*text_at(all, NULL, "status_detail"))
        printf(" finish=%s", vs_shown(text_at(all, NULL, "status_detail")).text);
    if (*text_at(all, NULL, "message"))
        printf(" %s", vs_shown(text_at(all, NULL, "message")).text);
    putchar('\n');
    json_decref(all);
}

static bool show_line(void *show, const struct vs_line_head *head, const char *line, size_t n)
{
    struct show *s = show;
    if (head->time_ms < s->since || head->time_ms >= s->until || (s->type && !is_type(line, n, s->type)))
        return true;
    s->has_found = true;
    if (s->as_json)
        return fwrite(line, 1, n, stdout) == n && putchar('\n') != EOF;
    print_line(head, line, n);
    return true;
}

int vs_command_audit_show(const struct vs_args *args)
{
    struct vs_log_check check = { 0 };
    struct vs_error err = { 0 };
    struct show show;
    int wrong = show_options(args, &show);
    if (wrong)
        return wrong;
    int dir = open_log(args, args->n > 0 ? args->v[0] : NULL, &err);
    if (dir < 0)
        return vs_fail(&err);
    int rc = read_log(dir, &check, show_line, &show, &err);
    close(dir);
    if (rc == VS_OK && check.first_bad)
        rc = vs_error_set(&err, VS_E_MALFORMED, "record %" PRIu64 " is not as it was written: %s; nothing behind it is shown",
                          check.first_bad, check.reason);
    if (rc == VS_OK && show.type && !show.has_found)
        vs_note("no record of this time is of the event '%s' (docs/AUDIT.md has their names)", vs_shown(show.type).text);
    vs_log_check_clear(&check);
    return rc == VS_OK ? 0 : vs_fail(&err);
}

/* ---- export ---- */

struct export {
    struct show show;
    bool as_cef, has_proofs;
    struct vs_log_check *check;
    struct vs_proofs proofs;
    struct vs_note note;
    struct vs_buf note_text;
    int rc;
};

/* First pass: the leaves. */
static bool take_leaf(void *export, const struct vs_line_head *head, const char *line, size_t n)
{
    struct export *e = export;
    uint8_t leaf[VS_HASH_BYTES];
    struct vs_tree before;
    if (e->proofs.n == 0 && head->seq > 1 && vs_line_tree(line, n, &before))
        vs_proofs_init(&e->proofs, &before);
    vs_leaf(line, n, leaf);
    if (head->seq <= e->note.size)
        e->rc = vs_proofs_add(&e->proofs, leaf);
    return e->rc == VS_OK && head->seq < e->note.size;
}

/* CEF's own escapes: of | in the head, of = and a newline in the rest. */
static void put_cef(struct vs_buf *out, const char *text, bool in_head)
{
    for (; *text; text++) {
        if (*text == '\\' || *text == (in_head ? '|' : '='))
            vs_buf_char(out, '\\');
        vs_buf_char(out, *text);
    }
}

/* Each member that is no object, by its path: a.b=value. */
static void put_members(struct vs_buf *out, const char *prefix, const json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        char path[120];
        snprintf(path, sizeof path, "%s%s%s", prefix, *prefix ? "." : "", key);
        if (json_is_object(value)) {
            put_members(out, path, value);
            continue;
        }
        char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        vs_buf_printf(out, " %s=", path);
        put_cef(out, text ? text : json_is_string(value) ? json_string_value(value) : "", false);
        free(text);
    }
}

/* CEF:0|vendor|product|version|class|name|severity|members */
static void cef_line(const char *line, size_t n, struct vs_buf *out)
{
    static const int severity[] = { 0, 1, 3, 5, 8 };        /* OCSF's 0 to 4 */
    json_t *all = vs_json_parse(line, n, NULL);
    json_int_t level = json_integer_value(json_object_get(all, "severity_id"));
    struct vs_buf text = { 0 };
    vs_buf_printf(&text, "CEF:0|Veritas|Veritas SDR|%s|%lld|", VERITAS_VERSION,
                  (long long)json_integer_value(json_object_get(all, "type_uid")));
    put_cef(&text, text_at(all, NULL, "event"), true);
    vs_buf_printf(&text, "|%d|", level >= 0 && level <= 4 ? severity[level] : 10);
    vs_buf_printf(&text, "rt=%lld", (long long)json_integer_value(json_object_get(all, "time")));
    put_members(&text, "", all);
    vs_text_show(out, text.data ? text.data : "", text.n, VS_TEXT_LINE);
    vs_buf_clear(&text);
    json_decref(all);
}

static bool export_line(void *export, const struct vs_line_head *head, const char *line, size_t n)
{
    struct export *e = export;
    struct vs_buf out = { 0 }, proof = { 0 };
    if (head->time_ms < e->show.since || head->time_ms >= e->show.until)
        return true;
    if (e->as_cef)
        cef_line(line, n, &out);
    else
        vs_buf_add(&out, line, n);
    if (e->has_proofs && head->seq <= e->note.size) {
        e->rc = vs_proofs_format(&e->proofs, head->seq - 1, e->note.size, e->note_text.data, e->note_text.n, &proof);
        json_t *all = e->rc == VS_OK ? json_pack("{s:s#, s:s#}", "line", out.data, out.n, "proof", proof.data, proof.n) : NULL;
        vs_buf_reset(&out);
        vs_json_dump(all, &out);
        json_decref(all);
    } else if (e->has_proofs) {
        vs_buf_reset(&out);             /* not signed yet */
        json_t *all = json_pack("{s:s#, s:n}", "line", line, n, "proof");
        vs_json_dump(all, &out);
        json_decref(all);
    }
    vs_buf_char(&out, '\n');
    bool done = e->rc == VS_OK && out.status == VS_OK && fwrite(out.data, 1, out.n, stdout) == out.n;
    vs_buf_clear(&out);
    vs_buf_clear(&proof);
    return done;
}

static int prepare_proofs(int dir, const struct vs_args *args, struct export *e, struct vs_error *err)
{
    struct signing s;
    struct vs_log_check check = { 0 };
    int rc = read_signing(dir, args, &s, err);
    if (rc == VS_OK)
        rc = newest_note(dir, &s.keys, &e->note_text, &e->note, err);
    if (rc == VS_OK)
        rc = read_log(dir, &check, take_leaf, e, err);
    if (rc == VS_OK && e->rc != VS_OK)
        rc = vs_error_set(err, e->rc, "%s", vs_status_text(e->rc));
    if (rc == VS_OK && e->proofs.n < e->note.size)
        rc = vs_error_set(err, VS_E_MALFORMED, "the log is not what its checkpoint signs; `veritas audit verify` says more");
    vs_log_check_clear(&check);
    signing_clear(&s);
    return rc;
}

int vs_command_audit_export(const struct vs_args *args)
{
    struct vs_log_check check = { 0 };
    struct export e = { .check = &check, .has_proofs = vs_args_given(args, VS_OPT_PROOF) };
    struct vs_error err = { 0 };
    int wrong = show_options(args, &e.show);
    if (wrong)
        return wrong;
    e.as_cef = strcmp(vs_args_text(args, VS_OPT_FORMAT), "cef") == 0;
    if (e.as_cef && e.has_proofs)
        return vs_usage(args->command->name, "--proof: a proof is about a record as it is, not in another form (--format ocsf)");
    int dir = open_log(args, args->n > 0 ? args->v[0] : NULL, &err);
    if (dir < 0)
        return vs_fail(&err);
    int rc = e.has_proofs ? prepare_proofs(dir, args, &e, &err) : VS_OK;
    if (rc == VS_OK)
        rc = read_log(dir, &check, export_line, &e, &err);
    close(dir);
    if (rc == VS_OK && e.rc != VS_OK)
        rc = vs_error_set(&err, e.rc, "a proof could not be made: %s", vs_status_text(e.rc));
    if (rc == VS_OK && check.first_bad)
        rc = vs_error_set(&err, VS_E_MALFORMED, "record %" PRIu64 " is not as it was written: %s; nothing behind it is exported",
                          check.first_bad, check.reason);
    vs_log_check_clear(&check);
    vs_proofs_clear(&e.proofs);
    vs_buf_clear(&e.note_text);
    return rc == VS_OK ? 0 : vs_fail(&err);
}
