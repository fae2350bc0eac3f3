/* ipc/frame.h - the one frame format on every arrow between our processes.
 *
 *     0        4      6       8              16
 *     | length | type | flags | request id   | payload ...        little-endian; length counts the payload only
 *
 * A vs_conn is one end of a stream socket: bytes in, frames out, and the reverse. It never blocks (MSG_DONTWAIT, whatever
 * the descriptor's own mode). A header is judged against the receiver's table before one byte is allocated for its
 * payload. Buffers are counted against a budget before they are taken; a frame for which there is no room is read and thrown
 * away, and its receiver told.
 *
 * Descriptors: a frame with VS_FLAG_FD takes the descriptor that came with the bytes, one with VS_FLAG_FDS all that came with them
 * in one message. Those of one frame at most wait for it. One that no frame claims is a violation; what is left over is closed by
 * _clear.
 *
 * Memory:  the conn owns its socket, buffers and waiting descriptor. A frame's data points into the conn and lives until
 *          the next _next, _read or _clear.
 * Threads: one at a time.
 */
#ifndef VS_IPC_FRAME_H
#define VS_IPC_FRAME_H
#include "base/buf.h"
#include "base/files.h"
#include "base/status.h"
#include "ipc/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VS_FRAME_HEADER 16u

/* So much of something, of which those below take their part. */
struct vs_budget {
    size_t used, limit;
    size_t own;                         /* so much of it is this one's whatever others do: it is not had from above */
    struct vs_budget *above;            /* NULL: this is all there is */
};

bool vs_budget_take(struct vs_budget *b, size_t n);    /* false: no room, nothing was taken. b NULL: there always is */
void vs_budget_give(struct vs_budget *b, size_t n);

struct vs_frame {
    uint16_t type, flags;
    uint64_t id;
    uint32_t n;
    const uint8_t *data;
    int fd;                             /* -1, or the frame's descriptor: the taker owns it */
    bool is_refused;                    /* there was no room for its payload: n is 0, no bytes, no descriptor */
};

struct vs_conn {
    int fd;                             /* -1 = closed */
    const struct vs_ipc_table *table;   /* what may come in */
    bool takes_fds;                     /* a row of the table does; else the kernel drops what comes */
    unsigned state;                     /* of the link: VS_AT_START or VS_AT_OPEN */
    unsigned (*state_of)(const void *context, uint64_t id);  /* of a request: VS_AT_FREE or VS_AT_BEGUN. NULL: as the row says */
    const void *context;
    struct vs_buf in, out;
    bool corked;                        /* frames are queued; who sends says when they go (_flush) */
    size_t in_done, out_done;           /* consumed, sent */
    size_t skip;                        /* bytes of a refused frame that have not come yet */
    struct vs_budget *budget;           /* of the buffers' bytes; NULL: not counted */
    size_t counted;                     /* bytes taken of the budget */
    struct vs_files came;               /* descriptors that wait for their frame */
    struct vs_files more;               /* those behind the first of the frame that was taken last; the next _next closes them */
    struct vs_files to_send;            /* descriptors that go with byte to_send_at of out */
    size_t to_send_at;
};

void vs_frame_header(uint8_t ret[VS_FRAME_HEADER], uint16_t type, uint16_t flags, uint64_t id, uint32_t n);

/* Takes over fd. */
void vs_conn_init(struct vs_conn *c, int fd, const struct vs_ipc_table *table, unsigned state);
void vs_conn_clear(struct vs_conn *c);

/* Takes what the socket has, at most about 256 KiB. VS_OK: some bytes came. VS_E_BUSY: none there now.
 * VS_E_DIED: the other end closed. VS_E_PROTOCOL (unexpected descriptors), VS_E_LIMIT (no room),
 * VS_E_NOMEM, VS_E_SYSTEM: give up. */
int vs_conn_read(struct vs_conn *c);

/* Next whole frame. VS_OK; VS_E_BUSY: not yet whole; else the peer broke the rules: VS_E_PROTOCOL or VS_E_LIMIT, err says how. */
int vs_conn_next(struct vs_conn *c, struct vs_frame *ret, struct vs_error *err);
bool vs_conn_is_partial(const struct vs_conn *c);    /* some bytes of a frame came, not all */

/* Queues a frame (fd: borrowed, duplicated when >= 0) and sends what the socket takes. VS_OK also when bytes stay queued;
 * VS_E_NOMEM; VS_E_LIMIT: the budget is used up; VS_E_DIED: the other end is gone; VS_E_BUSY: an earlier descriptor still
 * waits (flush first). */
int vs_conn_send(struct vs_conn *c, uint16_t type, uint16_t flags, uint64_t id, const void *data, size_t n, int fd);
/* The same with several descriptors: flags say so. */
int vs_conn_send_files(struct vs_conn *c, uint16_t type, uint64_t id, const void *data, size_t n, const struct vs_files *files);
/* The same for a payload in two pieces, without a descriptor. */
int vs_conn_send_parts(struct vs_conn *c, uint16_t type, uint16_t flags, uint64_t id, const void *head, size_t n, const void *body,
                       size_t m);
int vs_conn_flush(struct vs_conn *c);                /* VS_OK: all sent; VS_E_BUSY: some left; VS_E_DIED */
size_t vs_conn_queued(const struct vs_conn *c);      /* bytes not yet taken by the socket */

/* Takes a TOKEN payload apart; false when it is malformed. */
struct vs_token_view {
    uint32_t index;                     /* of the choice; 0 without VS_FLAG_INDEX */
    uint32_t part;                      /* VS_PART_*; 0 without VS_FLAG_PART */
    uint32_t id;                        /* VS_NO_TOKEN: more text of the token before */
    const char *text, *extra;           /* extra: JSON, NULL when absent */
    uint32_t text_bytes, extra_bytes;
};
bool vs_token_parse(const struct vs_frame *f, struct vs_token_view *ret);

/* A RECEIPT frame: with VS_FLAG_INDEX it is of one of several answers, which a u32 in front names. False: it is too short. */
struct vs_receipt_view { bool has_index; uint32_t index; const char *text; size_t n; };
bool vs_receipt_view(const struct vs_frame *f, struct vs_receipt_view *ret);

/* What a KEPT frame has behind such a u32: u32 ids of the prompt, u32 ids of the answer, all these ids, u32le each, and JSON: the
 * rest of the opening. False: it is not that. */
struct vs_kept_view { uint32_t n_prompt, n_tokens; const uint8_t *ids; const char *opening; size_t n; };
bool vs_kept_view(const void *data, size_t n, struct vs_kept_view *ret);
#endif
