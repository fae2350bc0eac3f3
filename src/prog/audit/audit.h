/* prog/audit/audit.h - the writer of the log: `veritas-audit`, one for each daemon that keeps one (docs/AUDIT.md).
 *
 *     broker --records--> veritas-audit --lines--> NNNNNNNNNNNNNNNN.jsonl
 *     supervisor --files that are open for appending--> veritas-audit
 *
 * It alone holds the log. The supervisor opens each file for it, so it can open none, and what it holds it can only make longer.
 * What the broker sends is an event and its fields; the line is made here (record.c), so nobody who speaks for the broker writes a
 * word of the log's own. A record is in the file when WRITTEN says so.
 *
 * When the log cannot be written it ends, and says why in its last words; the supervisor starts it again, and it goes on where the
 * log ends. A line that was cut is ended by a newline, and the next record names the bytes that are none. One thread.
 *
 *     seal.c     keys and checkpoints; own.c: the first one in a file            receipt.c  receipts, signed
 *     log.c      the files: where the log ends, lines, sync, the next file       record.c   an event as the members of a line
 *     control.c  what the supervisor and the broker say                          main.c     set-up, lock-in, the loop
 */
#ifndef VS_AUDIT_AUDIT_H
#define VS_AUDIT_AUDIT_H
#include "evidence/check.h"
#include "evidence/sign.h"
#include "ipc/frame.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define MS 1000000ull                    /* times are vs_clock_ns() */
#define MAX_JSON (8u << 20)
#define MAX_BEHIND (4u << 20)            /* bytes of the broker's frames that may wait */
enum { SOURCE_BYTES = 17 };              /* 16 hex digits and a NUL: which broker */

struct audit {
    struct vs_conn control, broker;
    bool broker_has_more;
    int log_fd, next_fd;                 /* next_fd: the file that SEGMENT brought; -1 */
    uint64_t log_bytes;
    struct vs_log_check state;           /* of the log as far as it is read; then its tree and last record go on here */
    struct vs_buf out, members;          /* lines that are not written yet; of the record that is being made */
    struct vs_buf torn;                  /* bytes behind the last record: the next one names them */
    uint64_t last_seq;                   /* of the last line, written or not */
    uint8_t last_hash[VS_HASH_BYTES];
    char boot[VS_BOOT_HEX];
    char source[SOURCE_BYTES];           /* the broker's */
    uint64_t n_taken, n_told;            /* of its records: made to lines; known to be written */
    char written_source[SOURCE_BYTES];   /* whose record is the last of a broker in the log, and its number */
    uint64_t written_number;
    int64_t clock_offset_ms;             /* wall minus monotonic; INT64_MIN: not known yet */
    int64_t set_back_ms;                 /* 0, or by so much the wall's clock is behind the record of another start */
    uint64_t unsynced_at;                /* 0, or since when something is not on the disk */
    bool was_answered, is_stopping, is_waiting;          /* is_waiting: for an answer, between two files */
    struct vs_buf held;                  /* what the supervisor says meanwhile */
    char failed[200];                    /* what the supervisor could not do */
    struct vs_key_secret secret;             /* of the epoch that signs now, */
    struct vs_key *key;                  /* ready to sign */
    uint64_t epoch;
    struct vs_buf keys;                  /* public keys, as they stand in receipts */
    unsigned slot;                       /* of the key's file, where it lies */
    char origin[VS_ORIGIN_BYTES];
    bool is_signer;                      /* there is no log: it signs receipts, and its key stays the first one */
    bool has_copy;                       /* of checkpoints, in a second place */
    bool has_own;                        /* a file of the user's has the first key */
    bool has_kept;                       /* what was withheld from clients goes to a file of the operator's */
    struct vs_buf kept;                  /* of the receipt of that number, which comes next: salt and a KEPT frame's content */
    uint64_t kept_id;
    struct vs_past sealed;               /* what the last checkpoint signs */
    uint64_t sealed_at;                  /* and was made at that time */
    /* settings */
    unsigned checkpoint_records, checkpoint_seconds;
    bool sync_each;
    uint64_t rotate_bytes;
    char policy[65];
};

/* log.c. Whoever can't write ends the program. */
_Noreturn void audit_leave(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_open(struct audit *a, uint64_t first);                /* finds the end of log_fd, or begins the first file when it is -1 */
/* Adds a line. _event: one of our own; fields: an object or NULL, stolen. _broker: the broker's record of that number. */
void log_event(struct audit *a, const char *event, json_t *fields);
void log_record(struct audit *a, uint64_t number, const char *text, size_t n);
void log_note(struct audit *a, const char *text, size_t n);    /* the supervisor's */
void log_clock(struct audit *a);                               /* was it set? */
void log_flush(struct audit *a);                               /* lines go to the file; the broker is told */
void log_sync(struct audit *a);
uint64_t log_timer(struct audit *a);                           /* syncs when it is due; when it is due next */

/* seal.c */
struct vs_root;
void seal_begin(const struct vs_root *root);   /* of a log that begins: root signs its first key. Before lock-in */
void seal_open(struct audit *a);                               /* finds the key that signs now, or makes the first one */
void seal_check(struct audit *a);                              /* the log has all that the last checkpoint signs, or it ends */
void seal(struct audit *a);                                    /* signs all records that are written; they are on the disk then */
void seal_next_epoch(struct audit *a);                         /* another key; the old one signs it and is erased */
uint64_t seal_timer(struct audit *a);                          /* signs when it is due; when it is due next */

/* own.c: the user's file with the first key, where signing.key names one that the log made */
bool own_begin(struct audit *a, const char *text, size_t n);   /* is this such a file? Before lock-in */
void own_settle(struct audit *a);                              /* it has the key as long as that is the log's */
void own_erase(const struct audit *a);

/* receipt.c: a statement, signed */
void receipt_sign(struct audit *a, const struct vs_frame *f);
void receipt_keep(struct audit *a, const struct vs_frame *f);  /* its content, for the operator's file */

/* record.c: text[n] is an object without blanks, "event" and its fields; appends the members of the record. False: the event or a
 * field is not known, not of its kind, or this is no JSON. */
bool record_format(const char *text, size_t n, struct vs_buf *out);

/* control.c */
uint16_t control_unhandled(void);
void control_ready(struct audit *a, short events);
void control_wait(struct audit *a);                            /* for the answer to SEGMENT or NAMED */
void control_catch_up(struct audit *a);                        /* takes what came meanwhile */
void broker_ready(struct audit *a, short events);
void settings_take(struct audit *a, const json_t *settings);
#endif
