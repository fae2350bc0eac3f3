/* ipc/message.h - every message that may cross a socket between our processes, as data.
 *
 * One list names the types; four tables say what one side may receive on one kind of link: type, when, how large, which
 * flags. What is not in the receiver's table is refused and the peer is dropped (docs/PROTOCOL.md).
 *
 *     client --from_client--> broker --to_worker--> worker
 *     client <--to_client---- broker <-from_worker- worker
 */
#ifndef VS_IPC_MESSAGE_H
#define VS_IPC_MESSAGE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VS_PROTOCOL_VERSION 1

/* Values are wire format: append, never renumber. The lower-case name is the method of prog/worker/service.h. */
#define VS_MESSAGE_MAP(X)                                                                                  \
    X(HELLO,      0x01, "hello")      /* JSON, both ways, first */                                         \
    X(CREDIT,     0x02, "credit")     /* u32: this many more bytes of TOKEN and DATA frames may come */    \
    X(CANCEL,     0x03, "cancel")     /* header names the request; to a worker: u32 status, negated */     \
    X(GENERATE,   0x10, "generate")   /* requests: JSON */                                                 \
    X(CHAT,       0x11, "chat")                                                                            \
    X(TOKENIZE,   0x12, "tokenize")                                                                        \
    X(DETOKENIZE, 0x13, "detokenize")                                                                      \
    X(INSPECT,    0x14, "inspect")                                                                         \
    X(LOGITS,     0x15, "logits")                                                                          \
    X(PERPLEXITY, 0x16, "perplexity")                                                                      \
    X(BENCH,      0x17, "bench")                                                                           \
    X(LOAD,       0x18, "load")                                                                            \
    X(UNLOAD,     0x19, "unload")                                                                          \
    X(LIST,       0x1a, "list")                                                                            \
    X(STATUS,     0x1b, "status")                                                                          \
    X(SHUTDOWN,   0x1c, "shutdown")                                                                        \
    X(TOKEN,      0x40, "token")      /* u32 id, u32 text bytes, text, JSON when VS_FLAG_EXTRA */          \
    X(DATA,       0x41, "data")       /* bytes */                                                          \
    X(PROGRESS,   0x42, "progress")   /* JSON; may be lost */                                              \
    X(LOG,        0x43, "log")        /* JSON, worker to broker */                                         \
    X(BLOCKED,    0x44, "blocked")    /* worker to broker, u32: waits for credit to send so many bytes */   \
    X(COMPLETE,   0x50, "complete")   /* terminal: JSON result */                                          \
    X(REJECTED,   0x51, "rejected")   /* terminal: never started; JSON {error, message, code} */           \
    X(ERROR,      0x52, "error")      /* terminal: started and failed; id 0: the connection ends */        \
    X(READY,      0x60, "ready")      /* worker to broker, after load: JSON facts */                       \
    X(FAILED,     0x61, "failed")     /* worker to broker, instead: JSON {error, message, code} */

enum vs_message {
#define VS_MESSAGE_ENUM(name, value, text) VS_MSG_##name = value,
    VS_MESSAGE_MAP(VS_MESSAGE_ENUM)
#undef VS_MESSAGE_ENUM
};

enum {                                  /* frame flags */
    VS_FLAG_FD = 1,                     /* a descriptor travels with this frame (LOAD) */
    VS_FLAG_EXTRA = 2,                  /* TOKEN: JSON follows the text */
};

enum {                                  /* when a message may come */
    VS_AT_START = 1,                    /* client link: nothing said yet */
    VS_AT_OPEN = 2,                     /* client link: after HELLO */
    VS_AT_LOADING = 4,                  /* worker link: before READY */
    VS_AT_IDLE = 8,                     /* worker link: no request runs */
    VS_AT_BUSY = 16,                    /* worker link: one request runs */
};

#define VS_MAX_REQUEST (16u << 20)      /* bytes of a request's JSON */
#define VS_MAX_RESULT  (32u << 20)      /* bytes of a COMPLETE frame; longer results go through DATA */
#define VS_MAX_CONTROL 4096u            /* HELLO, LIST, STATUS, UNLOAD, ... */
#define VS_MAX_CHUNK   (64u << 10)      /* bytes of a TOKEN or DATA frame */
#define VS_CREDIT_START (256u << 10)    /* every request begins with this credit */
#define VS_CREDIT_MAX  (1u << 20)       /* credit that a request may have at most */

struct vs_ipc_rule {
    uint16_t type, flags;               /* flags that may be set */
    unsigned states;                    /* VS_AT_*, or-ed */
    uint32_t min, max;                  /* bytes of payload */
};

struct vs_ipc_table {
    const struct vs_ipc_rule *rules;
    size_t n_rules;
};

extern const struct vs_ipc_table vs_ipc_from_client, vs_ipc_to_client, vs_ipc_to_worker, vs_ipc_from_worker;

const struct vs_ipc_rule *vs_ipc_rule_find(const struct vs_ipc_table *table, uint16_t type);   /* NULL: refused */

const char *vs_message_name(uint16_t type);          /* "generate"; "unknown" when it is */
uint16_t vs_message_parse(const char *name);         /* 0 when unknown */
bool vs_message_is_request(uint16_t type);
bool vs_message_is_terminal(uint16_t type);
#endif
