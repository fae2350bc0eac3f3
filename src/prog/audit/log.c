/* prog/audit/log.c - the files of the log: where it ends, one line more, when it is on the disk, the next file. */
#include "prog/audit/audit.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "ipc/json.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYNC_TIME (1000 * MS)            /* a group is on the disk after so long at most */
#define CLOCK_STEP_MS 1000               /* the wall clock went so much further, or back, than it may by itself */
enum { MOST_MEMBERS = VS_LINE_MOST - 1024 };     /* bytes; the rest is the line's head, and what it says of torn bytes */

void audit_leave(int status, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    vs_last_words_say(status, text);
    _exit(1);
}

/* ---- lines ---- */

static void line(struct audit *a, const char *members, size_t n)
{
    struct vs_line_head head = { .seq = a->last_seq + 1, .time_ms = vs_clock_real_ms(), .mono_ns = vs_clock_ns() };
    uint8_t leaf[VS_HASH_BYTES];
    size_t begin = a->out.n;
    memcpy(head.prev, a->last_hash, sizeof head.prev);
    memcpy(head.boot, a->boot, sizeof head.boot);
    vs_line_format(&head, members, n, &a->out);
    if (a->out.status != VS_OK)
        audit_leave(VS_E_NOMEM, "out of memory for a record");
    vs_hash(a->out.data + begin, a->out.n - begin, a->last_hash);
    vs_leaf(a->out.data + begin, a->out.n - begin, leaf);
    vs_tree_add(&a->state.tree, leaf);
    a->last_seq++;
    vs_buf_char(&a->out, '\n');
}

/* The clock of the wall moves with the other one, but for small corrections. Between two starts of the machine it goes on. */
void log_clock(struct audit *a)
{
    if (a->set_back_ms) {
        json_int_t step = a->set_back_ms;
        a->set_back_ms = 0;
        log_event(a, "clock", json_pack("{s:I}", "step_ms", step));
    }
    int64_t offset = vs_clock_real_ms() - (int64_t)(vs_clock_ns() / MS), step = offset - a->clock_offset_ms;
    bool is_known = a->clock_offset_ms != INT64_MIN;
    a->clock_offset_ms = offset;
    if (is_known && (step > CLOCK_STEP_MS || step < -CLOCK_STEP_MS))
        log_event(a, "clock", json_pack("{s:I}", "step_ms", (json_int_t)step));
}

void log_event(struct audit *a, const char *event, json_t *fields)
{
    struct vs_buf members = { 0 };
    struct vs_buf text = { 0 };
    if (a->is_signer) {
        json_decref(fields);
        return;
    }
    bool is_first = strcmp(event, "segment") == 0;
    fields = fields ? fields : json_object();
    json_object_set_new(fields, "event", json_string(event));
    vs_json_dump(fields, &text);
    if (is_first && a->written_source[0])       /* which broker's record was the last one, for who reads this file alone */
        vs_buf_printf(&members, "\"from\":\"%s:%" PRIu64 "\",", a->written_source, a->written_number);
    if (is_first) {
        vs_line_tree_format(&a->state.tree, &members);
        vs_buf_char(&members, ',');
    }
    if (!text.n || !record_format(text.data, text.n, &members))
        audit_leave(VS_E_NOMEM, "a record could not be made");
    vs_buf_clear(&text);
    if (a->torn.n) {
        vs_line_torn_format(a->torn.data, a->torn.n, &members);
        vs_buf_clear(&a->torn);
    }
    line(a, members.data, members.n);
    vs_buf_clear(&members);
    json_decref(fields);
}

/* The members of somebody else's record, behind what is in `members`. What can't be one leaves a gap: something happened. */
static void add_members(const char *text, size_t n, struct vs_buf *members)
{
    static const char gap[] = "{\"event\":\"gap\"}";
    size_t before = members->n;
    if (record_format(text, n, members) && members->n <= MOST_MEMBERS)
        return;
    members->n = before;
    if (!record_format(gap, sizeof gap - 1, members))
        audit_leave(VS_E_NOMEM, "a record could not be made");
}

void log_record(struct audit *a, uint64_t number, const char *text, size_t n)
{
    log_clock(a);
    vs_buf_reset(&a->members);
    vs_buf_str(&a->members, "\"from\":\"");
    vs_buf_str(&a->members, a->source);
    vs_buf_char(&a->members, ':');
    vs_buf_decimal(&a->members, number);
    vs_buf_str(&a->members, "\",");
    add_members(text, n, &a->members);
    line(a, a->members.data, a->members.n);
    a->n_taken = number;
}

void log_note(struct audit *a, const char *text, size_t n)
{
    log_clock(a);
    vs_buf_reset(&a->members);
    add_members(text, n, &a->members);
    line(a, a->members.data, a->members.n);
}

/* ---- to the file ---- */

/* All of it, or the program ends: what came through of a line is torn then. */
static void write_all(int fd, const char *data, size_t n)
{
    if (!vs_write_all(fd, data, n))
        audit_leave(VS_E_SYSTEM, "the log cannot be written: %s", strerror(errno));
}

void log_sync(struct audit *a)
{
    if (a->unsynced_at && fdatasync(a->log_fd) != 0)
        audit_leave(VS_E_SYSTEM, "the log cannot be brought to the disk: %s", strerror(errno));
    a->unsynced_at = 0;
}

/* Another file: its first record is on the disk before it gets its name, so a file that has one has a first record. */
static void next_file(struct audit *a)
{
    uint8_t first[8];
    vs_store_u64le(first, a->last_seq + 1);
    if (a->log_fd >= 0) {               /* what is full is signed, and the key that signed it is gone */
        seal(a);
        seal_next_epoch(a);
    }
    vs_conn_send(&a->control, VS_MSG_SEGMENT, 0, 0, first, sizeof first, -1);
    control_wait(a);
    if (a->next_fd < 0)
        audit_leave(VS_E_SYSTEM, "there is no next file for the log: %s", a->failed);
    if (a->log_fd >= 0) {               /* with what the supervisor said meanwhile */
        if (a->out.n) {
            write_all(a->log_fd, a->out.data, a->out.n);
            vs_buf_reset(&a->out);
            a->unsynced_at = vs_clock_ns();
            log_sync(a);
        }
        close(a->log_fd);
    }
    vs_store_u64le(first, a->last_seq + 1);
    a->log_fd = a->next_fd;
    a->next_fd = -1;
    log_event(a, "segment", NULL);
    write_all(a->log_fd, a->out.data, a->out.n);
    a->log_bytes = a->out.n;
    vs_buf_reset(&a->out);
    a->unsynced_at = vs_clock_ns();
    log_sync(a);
    vs_conn_send(&a->control, VS_MSG_NAMED, 0, 0, first, sizeof first, -1);
    control_wait(a);
    if (a->failed[0])
        audit_leave(VS_E_SYSTEM, "the log's next file got no name: %s", a->failed);
    control_catch_up(a);
}

static void tell_broker(struct audit *a)
{
    uint8_t number[8];
    if (a->n_told == a->n_taken || a->broker.fd < 0)
        return;
    vs_store_u64le(number, a->n_taken);
    vs_conn_send(&a->broker, VS_MSG_WRITTEN, 0, 0, number, sizeof number, -1);
    a->n_told = a->n_taken;
}

void log_flush(struct audit *a)
{
    if (a->out.n) {
        write_all(a->log_fd, a->out.data, a->out.n);
        a->log_bytes += a->out.n;
        vs_buf_reset(&a->out);
        if (!a->unsynced_at)
            a->unsynced_at = vs_clock_ns();
        if (a->sync_each)
            log_sync(a);
    }
    tell_broker(a);
    if (a->log_bytes >= a->rotate_bytes && !a->is_stopping) {      /* the end is the last record */
        vs_conn_flush(&a->broker);      /* nobody waits for the next file */
        next_file(a);
    }
}

uint64_t log_timer(struct audit *a)
{
    if (a->unsynced_at && vs_clock_ns() >= a->unsynced_at + SYNC_TIME)
        log_sync(a);
    return a->unsynced_at ? a->unsynced_at + SYNC_TIME : UINT64_MAX;
}

/* ---- where it ends ---- */

/* Which broker's record is the last one. */
static bool see_line(void *audit, const struct vs_line_head *head, const char *text, size_t n)
{
    static const char mark[] = "\",\"from\":\"";
    struct audit *a = audit;
    const char *at = memmem(text, n, mark, sizeof mark - 1);
    (void)head;
    if (at && (size_t)(text + n - at) > sizeof mark + SOURCE_BYTES + 20) {
        memcpy(a->written_source, at + sizeof mark - 1, SOURCE_BYTES - 1);
        a->written_number = strtoull(at + sizeof mark - 1 + SOURCE_BYTES, NULL, 10);
    }
    return true;
}

/* The file's last bytes may be no record: they are ended by a newline, and the next record names them. */
static void end_torn(struct audit *a)
{
    struct vs_buf *run = &a->state.run;
    if (!run->n)
        return;
    if (vs_log_check_unended(&a->state)) {
        write_all(a->log_fd, "\n", 1);
        return;
    }
    if (run->data[run->n - 1] != '\n') {
        write_all(a->log_fd, "\n", 1);
        vs_buf_char(run, '\n');
    }
    vs_buf_add(&a->torn, run->data, run->n);
    vs_buf_reset(run);
}

void log_open(struct audit *a, uint64_t first)
{
    struct vs_error err = { 0 };
    if (a->log_fd < 0) {
        next_file(a);
        return;
    }
    if (vs_log_check_fd(&a->state, a->log_fd, first, see_line, a, &err) != VS_OK)
        audit_leave(err.code, "the log: %s", err.text);
    if (a->state.is_pending || a->state.first_bad || !a->state.first) {
        uint64_t bad = a->state.first_bad;
        vs_log_check_end(&a->state);
        audit_leave(VS_E_MALFORMED, "the log is not as it was written: record %" PRIu64 ": %s. `veritas audit verify` says more; "
                    "move the folder away to begin another", bad ? bad : a->state.first_bad, a->state.reason);
    }
    off_t bytes = lseek(a->log_fd, 0, SEEK_END);
    a->log_bytes = bytes > 0 ? (uint64_t)bytes : 0;
    end_torn(a);
    if (strcmp(a->boot, a->state.last.boot) == 0)       /* the clock may have been set while nobody wrote */
        a->clock_offset_ms = a->state.last.time_ms - (int64_t)(a->state.last.mono_ns / MS);
    else if (a->state.last.time_ms > vs_clock_real_ms())
        a->set_back_ms = vs_clock_real_ms() - a->state.last.time_ms;
    a->last_seq = a->state.last.seq;
    memcpy(a->last_hash, a->state.last_hash, sizeof a->last_hash);
}
