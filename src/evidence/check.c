/* evidence/check.c - see check.h. */
#include "evidence/check.h"

#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_RUN (1u << 20)             /* torn bytes that are looked at */
#define STOP_MEMBER "\"event\":\"stop\""

void vs_log_check_fail(struct vs_log_check *c, uint64_t at, const char *format, ...)
{
    va_list args;
    if (c->first_bad)
        return;
    c->first_bad = at;
    va_start(args, format);
    vsnprintf(c->reason, sizeof c->reason, format, args);
    va_end(args);
}

static uint64_t expected(const struct vs_log_check *c)
{
    return c->first ? c->last.seq + 1 : c->named;
}

/* ---- the frontier in a segment's first record ---- */

void vs_line_tree_format(const struct vs_tree *t, struct vs_buf *out)
{
    bool is_first = true;
    vs_buf_printf(out, "\"tree\":{\"size\":%" PRIu64 ",\"peaks\":[", t->n);
    for (unsigned level = 0; level < VS_TREE_LEVELS; level++) {
        char hex[VS_HASH_HEX];
        if (!(t->n >> level & 1))
            continue;
        vs_hex(t->peak[level], VS_HASH_BYTES, hex);
        vs_buf_printf(out, "%s\"%s\"", is_first ? "" : ",", hex);
        is_first = false;
    }
    vs_buf_str(out, "]}");
}

bool vs_line_tree(const char *line, size_t n, struct vs_tree *ret)
{
    static const char begin[] = "\"tree\":{\"size\":", middle[] = ",\"peaks\":[";
    const char *end = line + n, *at = memmem(line, n, begin, sizeof begin - 1);
    char digits[24] = "";
    if (!at)
        return false;
    at += sizeof begin - 1;
    size_t length = 0;
    while (length < 19 && at + length < end && at[length] >= '0' && at[length] <= '9')
        length++;
    memcpy(digits, at, length);
    at += length;
    *ret = (struct vs_tree){ .n = strtoull(digits, NULL, 10) };
    if (!length || (size_t)(end - at) < sizeof middle - 1 || memcmp(at, middle, sizeof middle - 1) != 0)
        return false;
    at += sizeof middle - 1;
    bool is_first = true;
    for (unsigned level = 0; level < VS_TREE_LEVELS; level++) {
        char hex[VS_HASH_HEX] = "";
        size_t comma = is_first ? 0 : 1;
        if (!(ret->n >> level & 1))
            continue;
        if ((size_t)(end - at) < comma + 66 || (comma && *at != ',') || at[comma] != '"' || at[comma + 65] != '"')
            return false;
        memcpy(hex, at + comma + 1, 64);
        if (!vs_hex_is_sha256(hex))
            return false;
        vs_hex_bytes(hex, VS_HASH_BYTES, ret->peak[level]);
        at += comma + 66;
        is_first = false;
    }
    return end - at >= 2 && at[0] == ']' && at[1] == '}';
}

/* ---- lines ---- */

void vs_log_check_file(struct vs_log_check *c, uint64_t first)
{
    if (c->first && first != c->last.seq + 1 && !c->is_pending)
        vs_log_check_fail(c, c->last.seq + 1, "the next file begins with record %" PRIu64, first);
    else if (c->first && c->run.n)
        vs_log_check_fail(c, c->last.seq + 1, "bytes that are no record end a file");
    c->is_begin = true;
    c->named = first;
}

/* The bytes between the record before and this one: none, or those that it names. */
static bool run_fits(struct vs_log_check *c, const char *line, size_t n)
{
    uint64_t bytes;
    uint8_t named[VS_HASH_BYTES], hash[VS_HASH_BYTES];
    bool says = vs_line_torn(line, n, &bytes, named);
    if (!says && !c->run.n)
        return true;
    vs_hash(c->run.data ? c->run.data : "", c->run.n, hash);
    if (!says || bytes != c->run.n || memcmp(named, hash, sizeof hash) != 0)
        return false;
    c->n_torn++;
    return true;
}

static void accept(struct vs_log_check *c, const struct vs_line_head *head, const char *line, size_t n)
{
    uint8_t leaf[VS_HASH_BYTES];
    if (!c->first)
        c->first = head->seq;
    c->last = *head;
    c->n_records++;
    vs_hash(line, n, c->last_hash);
    vs_leaf(line, n, leaf);
    vs_tree_add(&c->tree, leaf);
    c->is_closed = memmem(line, n, STOP_MEMBER, sizeof STOP_MEMBER - 1) != NULL;
    vs_buf_reset(&c->run);
}

/* The first record of a file: its name tells its number, and the frontier what came before it. */
static bool begin(struct vs_log_check *c, const struct vs_line_head *head, const char *line, size_t n)
{
    struct vs_tree tree;
    uint8_t root[VS_HASH_BYTES], ours[VS_HASH_BYTES];
    if (head->seq != c->named) {
        vs_log_check_fail(c, c->first ? c->last.seq + 1 : c->named, "the file's name is not the number of its first record");
        return false;
    }
    if (!vs_line_tree(line, n, &tree) || tree.n != head->seq - 1) {
        vs_log_check_fail(c, head->seq, "a file's first record does not tell the tree before it");
        return false;
    }
    vs_tree_root(&tree, root);
    vs_tree_root(&c->tree, ours);
    if (c->first && memcmp(root, ours, sizeof root) != 0) {
        vs_log_check_fail(c, head->seq, "the tree that a file's first record tells is not that of the records before it");
        return false;
    }
    static const uint8_t zero[VS_HASH_BYTES];
    if (!c->first && head->seq == 1 && memcmp(head->prev, zero, sizeof zero) != 0) {
        vs_log_check_fail(c, 1, "the first record names one before it");
        return false;
    }
    if (!c->first) {
        c->tree = tree;
        c->has_believed = head->seq > 1;
        memcpy(c->believed_root, root, sizeof root);
    }
    return true;
}

/* Two neighbours do not fit. attested: the second is named by the line behind it, so it is sound. */
static void decide(struct vs_log_check *c, bool attested)
{
    uint64_t seq = c->pending.seq, before = c->last.seq;
    uint8_t hash[VS_HASH_BYTES];
    vs_hash(c->before.data, c->before.n, hash);
    c->is_pending = false;
    if (memcmp(hash, c->last_hash, sizeof hash) == 0)
        vs_log_check_fail(c, before, "it stands there twice");
    else if (!attested)
        vs_log_check_fail(c, before + 1, "it does not follow the record before it");
    else if (seq > before + 1)
        vs_log_check_fail(c, before + 1, "the records %" PRIu64 " to %" PRIu64 " are missing", before + 1, seq - 1);
    else
        vs_log_check_fail(c, before, "the record behind it names another");
}

/* Nobody follows it: a signature may say that it is as it was. */
static bool is_signed(const struct vs_log_check *c)
{
    uint8_t hash[VS_HASH_BYTES];
    vs_hash(c->before.data, c->before.n, hash);
    return c->signed_seq && c->pending.seq == c->signed_seq && memcmp(hash, c->signed_head, sizeof hash) == 0;
}

/* The line behind one that does not fit. */
static void resolve(struct vs_log_check *c, const char *line, size_t n)
{
    struct vs_line_head head;
    uint8_t hash[VS_HASH_BYTES];
    vs_hash(c->before.data, c->before.n, hash);
    decide(c, !vs_line_parse(line, n, &head) && head.seq == c->pending.seq + 1 && memcmp(head.prev, hash, sizeof hash) == 0);
}

bool vs_log_check_line(struct vs_log_check *c, const char *line, size_t n)
{
    struct vs_line_head head;
    if (c->first_bad)
        return false;
    if (c->is_pending) {
        resolve(c, line, n);
        return false;
    }
    const char *wrong = vs_line_parse(line, n, &head);
    if (wrong) {
        if (c->is_begin || n > VS_LINE_MOST || c->run.n > MOST_RUN)
            vs_log_check_fail(c, expected(c), "%s", wrong);
        vs_buf_add(&c->run, line, n);
        vs_buf_char(&c->run, '\n');
        return !c->first_bad;
    }
    bool follows = !c->first || (head.seq == c->last.seq + 1 && memcmp(head.prev, c->last_hash, VS_HASH_BYTES) == 0);
    if (c->is_begin && follows && !begin(c, &head, line, n))
        return false;
    c->is_begin = false;
    if (follows && run_fits(c, line, n)) {
        accept(c, &head, line, n);
        return true;
    }
    if (c->run.n || follows) {
        vs_log_check_fail(c, expected(c), c->run.n ? "bytes that are no record stand in its place"
                                                   : "the torn bytes that it names are not there");
        return false;
    }
    c->pending = head;
    c->is_pending = true;
    vs_buf_reset(&c->before);
    vs_buf_add(&c->before, line, n);
    return true;
}

bool vs_log_check_unended(struct vs_log_check *c)
{
    struct vs_line_head head;
    size_t all = c->run.n, begin = all;
    while (begin > 0 && c->run.data[begin - 1] != '\n')
        begin--;
    const char *line = c->run.data + begin;
    if (begin == all || c->is_pending || c->first_bad || vs_line_parse(line, all - begin, &head) || !c->first
        || head.seq != c->last.seq + 1 || memcmp(head.prev, c->last_hash, VS_HASH_BYTES) != 0)
        return false;
    c->run.n = begin;
    bool fits = run_fits(c, line, all - begin);
    c->run.n = all;
    if (fits)
        accept(c, &head, line, all - begin);
    return fits;
}

bool vs_log_check_rest(struct vs_log_check *c, const char *bytes, size_t n)
{
    if (n == 0 || c->first_bad)
        return !c->first_bad;
    if (c->is_pending)
        decide(c, is_signed(c));
    vs_buf_add(&c->run, bytes, n > MOST_RUN ? MOST_RUN : n);
    return !c->first_bad;
}

bool vs_log_check_end(struct vs_log_check *c)
{
    if (c->is_pending)
        decide(c, is_signed(c));
    if (c->run.n || c->is_begin)
        vs_log_check_fail(c, expected(c), "the last line is torn: the next start of the daemon says so, or the log was cut");
    return !c->first_bad;
}

void vs_log_check_clear(struct vs_log_check *c)
{
    vs_buf_clear(&c->run);
    vs_buf_clear(&c->before);
}

/* ---- files ---- */

enum { CHUNK = 1 << 18 };

/* Lines of text[n]; returns how many bytes they took. */
static size_t take_lines(struct vs_log_check *c, const char *text, size_t n, vs_log_line *each, void *context)
{
    size_t at = 0;
    for (const char *end; !c->first_bad && (end = memchr(text + at, '\n', n - at)); at = (size_t)(end - text) + 1) {
        uint64_t before = c->n_records;
        size_t length = (size_t)(end - text) - at;
        vs_log_check_line(c, text + at, length);
        if (each && c->n_records > before && !each(context, &c->last, text + at, length))
            each = NULL;
    }
    return c->first_bad ? n : at;
}

int vs_log_check_fd(struct vs_log_check *c, int fd, uint64_t first, vs_log_line *each, void *context, struct vs_error *err)
{
    struct vs_buf text = { 0 };
    off_t offset = 0;
    ssize_t got = 1;
    vs_log_check_file(c, first);
    while (!c->first_bad && got > 0 && text.status == VS_OK) {
        char *to = vs_buf_grow(&text, CHUNK);
        got = to ? pread(fd, to, CHUNK, offset) : 0;
        text.n -= (size_t)(CHUNK - (got > 0 ? got : 0)) * (to != NULL);
        if (got < 0 && errno == EINTR) {
            got = 1;
            continue;
        }
        offset += got > 0 ? got : 0;
        vs_buf_drop(&text, take_lines(c, text.data, text.n, each, context));
        if (text.n > VS_LINE_MOST)
            vs_log_check_fail(c, expected(c), "it is longer than a line of the log can be");
    }
    int status = got < 0 ? vs_error_set(err, VS_E_SYSTEM, "it cannot be read: %s", strerror(errno))
               : text.status != VS_OK ? vs_error_set(err, text.status, "out of memory") : VS_OK;
    if (status == VS_OK)
        vs_log_check_rest(c, text.data ? text.data : "", text.n);
    vs_buf_clear(&text);
    return status;
}
