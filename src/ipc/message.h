/* ipc/message.h - every message that may cross a socket between our processes, as data.
 *
 * A table holds what one side may receive on one kind of link, a row for each message: type, flags, when, how large. What has no
 * row is refused, and the peer is dropped (docs/PROTOCOL.md). Each program has a handler for each row of the tables that it reads
 * and checks that at its start (vs_ipc_unhandled).
 *
 *     client --from_client--> broker --to_guard--> guard --to_worker--> worker
 *     client <--to_client---- broker <-from_guard- guard <-from_worker- worker
 *                             broker --to_supervisor--> supervisor --to_guard_control--> guard
 *                             broker <-from_supervisor- supervisor <-from_guard_control- guard
 *                             gateway --from_gateway--> its parent, `veritas gateway`
 *                             gateway <---to_gateway--- its parent
 *
 * "When" is a state of what the frame's id names. Id 0 is the link itself, every other id a request, so that a link may carry many:
 *
 *     link:     START --HELLO or READY--> OPEN
 *     request:  FREE --a request--> BEGUN --COMPLETE, REJECTED or ERROR--> FREE            only on a link that is OPEN
 */
#ifndef VS_IPC_MESSAGE_H
#define VS_IPC_MESSAGE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VS_PROTOCOL_VERSION 2

#define VS_MAX_REQUEST (16u << 20)      /* bytes of a request's body */
#define VS_MAX_RESULT  (32u << 20)      /* bytes of a result's body; longer results go through DATA */
#define VS_MAX_CONTROL 4096u            /* HELLO, PROGRESS, ...; the body of a small request */
#define VS_MAX_ENVELOPE 4096u           /* bytes of an envelope (ipc/envelope.h), */
#define VS_MAX_LOAD    8192u            /* and of LOAD's: a path and settings */
#define VS_MAX_START   16384u           /* START, STARTED: paths and settings */
#define VS_MAX_SECRETS (1u << 20)       /* SETTINGS of a gateway: certificates */
#define VS_MAX_RECEIPT (32u << 10)      /* RECEIPT: facts of one, or the signed one */
#define VS_MAX_KEPT    (16u << 20)      /* KEPT */
#define VS_MAX_CHUNK   (64u << 10)      /* bytes of a TOKEN or DATA frame */
#define VS_MAX_FRAME   (4 + VS_MAX_ENVELOPE + VS_MAX_REQUEST)
#define VS_CREDIT_START (256u << 10)    /* every request begins with this credit */
#define VS_CREDIT_MAX  (1u << 20)       /* credit that a request may have at most */
#define VS_CANCEL_MS   5000u            /* a worker has so long to end what was cancelled; then its client hears of it anyway */
#define VS_CLAIM_MS (VS_CANCEL_MS - 1000u)      /* of these a worker waits so long, from its order on, for what a receipt needs */
#define VS_COLLECTOR_ID 256u            /* of a gateway's connection to its collector of spans; those to the daemon have 1... */

/* What PROGRESS may say that is under way: names, so that no text travels so. */
#define VS_PROGRESS_MAP(X) X("load") X("loading") X("prompt") X("logits") X("perplexity") X("bench") X("digest") X("verify")

enum { VS_MAX_CHOICES = 16 };           /* answers to one request */

enum {                                  /* frame flags */
    VS_FLAG_FD = 1,                     /* a descriptor travels with this frame (LOAD) */
    VS_FLAG_EXTRA = 2,                  /* TOKEN: JSON follows the text */
    VS_FLAG_INDEX = 4,                  /* TOKEN: a u32 comes first, the index of the choice (n > 1) */
    VS_FLAG_PART = 8,                   /* TOKEN: then a u32, the part of the answer that its text belongs to */
    VS_FLAG_FDS = 16,                   /* several descriptors travel with this frame, in one message (LOAD) */
};

enum { VS_PART_CONTENT, VS_PART_REASONING, VS_PART_CALL };      /* call k: VS_PART_CALL + k */
#define VS_NO_TOKEN UINT32_MAX          /* TOKEN: more text of the token before, whose text spans parts */

/* Requests, a row each. Values are wire format: append, never renumber. The method is that of prog/worker/service.h and of
 * docs/PROTOCOL.md; keys: what the envelope may say; then the largest envelope and body. */
#define VS_MODEL_REQUEST_MAP(X)         /* answered by the worker of the model that is named */                      \
    /* name       type  method        flags       keys                           envelope         body */            \
    X(GENERATE,   0x10, "generate",   0,          VS_KEYS_ANSWER | VS_KEY_RECEIPT, VS_MAX_ENVELOPE, VS_MAX_REQUEST)   \
    X(CHAT,       0x11, "chat",       0,          VS_KEYS_ANSWER | VS_KEY_RECEIPT, VS_MAX_ENVELOPE, VS_MAX_REQUEST)   \
    X(TOKENIZE,   0x12, "tokenize",   0,          VS_KEYS_MODEL,                 VS_MAX_ENVELOPE, VS_MAX_REQUEST)     \
    X(DETOKENIZE, 0x13, "detokenize", 0,          VS_KEYS_MODEL,                 VS_MAX_ENVELOPE, VS_MAX_REQUEST)     \
    X(INSPECT,    0x14, "inspect",    0,          VS_KEYS_MODEL,                 VS_MAX_ENVELOPE, VS_MAX_CONTROL)     \
    X(LOGITS,     0x15, "logits",     0,          VS_KEYS_MODEL,                 VS_MAX_ENVELOPE, VS_MAX_REQUEST)     \
    X(PERPLEXITY, 0x16, "perplexity", 0,          VS_KEYS_MODEL,                 VS_MAX_ENVELOPE, VS_MAX_REQUEST)     \
    X(BENCH,      0x17, "bench",      0,          VS_KEYS_MODEL,                 VS_MAX_ENVELOPE, VS_MAX_CONTROL)     \
    X(CONSTRAIN,  0x20, "constrain",  0,          VS_KEYS_MODEL,                 VS_MAX_ENVELOPE, VS_MAX_REQUEST)     \
    X(EMBED,      0x21, "embed",      0,          VS_KEYS_ANSWER,                VS_MAX_ENVELOPE, VS_MAX_REQUEST)     \
    X(RERANK,     0x22, "rerank",     0,          VS_KEYS_ANSWER,                VS_MAX_ENVELOPE, VS_MAX_REQUEST)     \
    X(VERIFY,     0x23, "verify",     0,          VS_KEYS_MODEL,                 VS_MAX_ENVELOPE, VS_MAX_REQUEST)
#define VS_BROKER_REQUEST_MAP(X)        /* answered by the broker; nobody reads a body, so there is none */           \
    X(LOAD,       0x18, "load",       VS_FLAG_FD | VS_FLAG_FDS, VS_KEYS_MODEL | VS_KEY_SETTINGS, VS_MAX_LOAD, 0)      \
    X(UNLOAD,     0x19, "unload",     0,          VS_KEYS_MODEL | VS_KEY_FORCE,  VS_MAX_ENVELOPE, 0)                  \
    X(LIST,       0x1a, "list",       0,          VS_KEYS_ALL,                   VS_MAX_ENVELOPE, 0)                  \
    X(STATUS,     0x1b, "status",     0,          VS_KEYS_ALL,                   VS_MAX_ENVELOPE, 0)                  \
    X(SHUTDOWN,   0x1c, "shutdown",   0,          VS_KEYS_ALL,                   VS_MAX_ENVELOPE, 0)                  \
    X(METRICS,    0x1e, "metrics",    0,          VS_KEYS_ALL,                   VS_MAX_ENVELOPE, 0)                  \
    X(TRACES,     0x1f, "traces",     0,          VS_KEYS_ALL,                   VS_MAX_ENVELOPE, 0)                  \
    X(WHOAMI,     0x2c, "whoami",     0,          VS_KEYS_ALL | VS_KEY_REFUSED,  VS_MAX_ENVELOPE, 0)                  \
    X(ATTACH,     0x2d, "attach",     VS_FLAG_FD, VS_KEYS_ALL,                   VS_MAX_ENVELOPE, 0)                  \
    X(AUDITLOG,   0x2e, "auditlog",   0,          VS_KEYS_ALL,                   VS_MAX_ENVELOPE, 0)
#define VS_GUARD_REQUEST_MAP(X)         /* answered by a guard, without a model */                                    \
    X(SCAN,       0x1d, "scan",       0,          VS_KEYS_ALL,                   VS_MAX_ENVELOPE, VS_MAX_REQUEST)
#define VS_REQUEST_MAP(X) VS_MODEL_REQUEST_MAP(X) VS_GUARD_REQUEST_MAP(X) VS_BROKER_REQUEST_MAP(X)

/* Everything else that is said; the rows are in message.c. */
#define VS_MESSAGE_MAP(X)                                                                                  \
    X(HELLO,      0x01, "hello")      /* JSON, both ways, first; from a supervisor: clients may come now */ \
    X(CREDIT,     0x02, "credit")     /* u32: this many more bytes of TOKEN and DATA frames may come */    \
    X(CANCEL,     0x03, "cancel")     /* header names the request; to a worker: u32 status, negated */     \
    X(TOKEN,      0x40, "token")      /* u32 id, u32 text bytes, text, JSON when VS_FLAG_EXTRA */          \
    X(DATA,       0x41, "data")       /* bytes */                                                          \
    X(PROGRESS,   0x42, "progress")   /* JSON; may be lost; id 0: of the loading */                        \
    X(LOG,        0x43, "log")        /* JSON, guard to broker */                                          \
    X(BLOCKED,    0x44, "blocked")    /* worker to broker, u32: waits for credit to send so many bytes */  \
    X(RECEIPT,    0x45, "receipt")    /* worker: facts of an answer; to the signer: all; from it, and to a client: signed */ \
    X(ALIVE,      0x46, "alive")      /* worker: it works, or loads. Supervisor to broker, and back: are you there? */ \
    X(SENT,       0x47, "sent")       /* to a worker, before a request that goes on there: u32 ids of tokens */ \
    X(STATS,      0x48, "stats")      /* worker to broker: JSON, numbers that changed */ \
    X(KEPT,       0x49, "kept")       /* before RECEIPT, where the operator keeps it: what its content is (ipc/frame.h) */ \
    X(COMPLETE,   0x50, "complete")   /* terminal: envelope, result */                                     \
    X(REJECTED,   0x51, "rejected")   /* terminal: never started; envelope */                              \
    X(ERROR,      0x52, "error")      /* terminal: started and failed; envelope. Id 0: the connection ends */ \
    X(READY,      0x60, "ready")      /* worker to broker, after load: JSON facts */                       \
    X(FAILED,     0x61, "failed")     /* worker to broker, instead, or later: JSON {error, message, code} */ \
    X(DIGEST,     0x62, "digest")     /* worker to broker, once: SHA-256 of the file that was loaded, in hex */ \
    X(BROKEN,     0x63, "broken")     /* guard to broker: its worker broke a rule; JSON {error, message, code} */ \
    X(START,      0x70, "start")      /* the control link; ids are the broker's models. JSON {model, settings} */ \
    X(STOP,       0x71, "stop")       /* its worker is to end */                                           \
    X(STARTED,    0x72, "started")    /* with its socket: JSON {pid, path, bytes, file, ...} */            \
    X(EXITED,     0x73, "exited")     /* its worker has ended: JSON {error, message, code} */              \
    X(MODELS,     0x74, "models")     /* what is in the directory? and the answer: JSON {path, models} */  \
    X(END,        0x75, "end")        /* a client asked for the end */                                     \
    X(DRAIN,      0x76, "drain")      /* u32: answers must end within so many milliseconds */              \
    X(KILL,       0x77, "kill")       /* its worker hangs: it is to die, and is started again */           \
    X(LISTEN,     0x78, "listen")     /* to a gateway, with a listening socket: JSON {host, tls, metrics} */ \
    X(SETTINGS,   0x79, "settings")   /* to a gateway: JSON {cert, key}, at its start and when they change; to a guard: */ \
                                      /* a sealed file with its policy; to a broker: one with who may ask */ \
    X(REFUSED,    0x7a, "refused")    /* a request that ended two workers: JSON {model, type, bytes, sha256}, both ways */ \
    X(WORKER,     0x7b, "worker")     /* supervisor to guard: the socket to a new worker; then comes */ \
    X(BROKER,     0x7c, "broker")     /* the one on which the broker hears of that worker, or of us, where no worker came */ \
    X(AUDIT,      0x7d, "audit")      /* supervisor to broker: the socket to the log's writer; JSON {on_failure}. */ \
                                      /* Back: another one, please, also to sign receipts; or there is none: JSON, error */ \
    X(RECORD,     0x7e, "record")     /* to the writer: JSON, what happened; the broker's id is the record's number */ \
    X(WRITTEN,    0x7f, "written")    /* writer to broker: u64, records up to this number are in the log */ \
    X(SEGMENT,    0x80, "segment")    /* writer: needs another file, its u64 first record; supervisor: here it is */ \
    X(NAMED,      0x81, "named")      /* writer: give it its name, that u64; supervisor: done */           \
    X(FILES,      0x82, "files")      /* the log's: which are there? and the answer, with descriptors: JSON {files}, or error */ \
    X(ALIAS,      0x83, "alias")      /* a loaded model gets another name: JSON {model, alias}; the answer: {}, or error */ \
    X(WAITED,     0x84, "waited")     /* its processes had no processor for how long? and the answer: u64 ns, worker and guard */

enum vs_message {
#define VS_MESSAGE_ENUM(name, value, ...) VS_MSG_##name = value,
    VS_REQUEST_MAP(VS_MESSAGE_ENUM)
    VS_MESSAGE_MAP(VS_MESSAGE_ENUM)
#undef VS_MESSAGE_ENUM
};

enum {                                  /* when a message may come: the state of what its id names */
    VS_AT_START = 1,                    /* the link: nothing said yet */
    VS_AT_OPEN = 2,                     /* the link: after HELLO, or READY */
    VS_AT_FREE = 4,                     /* no request has this id */
    VS_AT_BEGUN = 8,                    /* a request has it that has not ended */
};

struct vs_ipc_rule {                    /* a row */
    uint16_t type, flags;               /* flags that may be set */
    unsigned states;                    /* VS_AT_*, or-ed */
    uint32_t min, max;                  /* bytes of payload */
    uint32_t envelope;                  /* bytes of its envelope at most; 0: the payload has none */
    unsigned keys;                      /* what the envelope of a request may say: VS_KEY_* */
};

struct vs_ipc_table {
    const struct vs_ipc_rule *rules;
    size_t n_rules;
};

extern const struct vs_ipc_table vs_ipc_from_client, vs_ipc_to_client, vs_ipc_to_guard, vs_ipc_from_guard;
extern const struct vs_ipc_table vs_ipc_to_worker, vs_ipc_from_worker;
extern const struct vs_ipc_table vs_ipc_to_guard_control, vs_ipc_from_guard_control;       /* the guard's, to the supervisor */
extern const struct vs_ipc_table vs_ipc_to_audit, vs_ipc_from_audit;               /* the log's writer and the broker */
extern const struct vs_ipc_table vs_ipc_to_audit_control, vs_ipc_from_audit_control;       /* the writer's, to the supervisor */
extern const struct vs_ipc_table vs_ipc_to_supervisor, vs_ipc_from_supervisor;     /* the broker's control link */
extern const struct vs_ipc_table vs_ipc_to_gateway, vs_ipc_from_gateway;           /* the gateway's, to its parent */

const struct vs_ipc_rule *vs_ipc_rule_find(const struct vs_ipc_table *table, uint16_t type);   /* NULL: refused */

/* A program's handlers are an array of n structs of `size` bytes, each beginning with the uint16_t type that it takes.
 * _handler: the index of the type's struct; n when there is none. _unhandled: 0 when rows and handlers are the same types, else
 * a type that is in one of the two only. */
size_t vs_ipc_handler(const void *handlers, size_t n, size_t size, uint16_t type);
uint16_t vs_ipc_unhandled(const struct vs_ipc_table *table, const void *handlers, size_t n, size_t size);

const char *vs_message_name(uint16_t type);          /* "generate"; "unknown" when it is */
bool vs_message_is_request(uint16_t type);
bool vs_message_is_terminal(uint16_t type);
#endif
