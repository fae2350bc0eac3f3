/* ipc/message.c - the tables of message.h. Each row is a permission; what is missing here cannot be said. */
#include "ipc/message.h"

#include "ipc/envelope.h"

#include <string.h>

#define N_OF(a) (sizeof(a) / sizeof *(a))

/* Three kinds of rows: a payload as it is; an envelope and a body, of a request or of its end. */
#define PLAIN(name, flags, states, min, max) { VS_MSG_##name, flags, states, min, max, 0, 0 }
#define REQUEST(name, flags, keys, envelope, body) \
    { VS_MSG_##name, flags, VS_AT_FREE, MIN_ENVELOPE, 4 + (envelope) + (body), envelope, keys }
#define OUTCOME(name, states, body) { VS_MSG_##name, 0, states, MIN_ENVELOPE, 4 + VS_MAX_ENVELOPE + (body), VS_MAX_ENVELOPE, 0 }
#define MIN_ENVELOPE 6                  /* its length and "{}" */
#define TOKEN_FLAGS (VS_FLAG_EXTRA | VS_FLAG_INDEX | VS_FLAG_PART)

/* What a broker hears from its clients. Credit and cancel may come for a request that has just ended: the client could not know. */
static const struct vs_ipc_rule from_client[] = {
    /*    type    flags states                     min max */
    PLAIN(HELLO,  0,    VS_AT_START,               2,  1024),
    PLAIN(CREDIT, 0,    VS_AT_FREE | VS_AT_BEGUN,  4,  4),
    PLAIN(CANCEL, 0,    VS_AT_FREE | VS_AT_BEGUN,  0,  0),
#define FROM_CLIENT(name, type, method, flags, keys, envelope, body) REQUEST(name, flags, keys, envelope, body),
    VS_REQUEST_MAP(FROM_CLIENT)
};

/* What a client hears. ERROR with id 0 is how a broker ends the connection. */
static const struct vs_ipc_rule to_client[] = {
    PLAIN(HELLO,    0,             VS_AT_START, 2, VS_MAX_CONTROL),
    PLAIN(TOKEN,    TOKEN_FLAGS,   VS_AT_BEGUN, 8, VS_MAX_CHUNK),
    PLAIN(DATA,     0,             VS_AT_BEGUN, 1, VS_MAX_CHUNK),
    PLAIN(PROGRESS, 0,             VS_AT_BEGUN, 2, VS_MAX_CONTROL),
    PLAIN(RECEIPT,  VS_FLAG_INDEX, VS_AT_BEGUN, 2, VS_MAX_RECEIPT),
    PLAIN(FILES,    VS_FLAG_FD | VS_FLAG_FDS, VS_AT_BEGUN, 2, VS_MAX_CONTROL),
    OUTCOME(COMPLETE, VS_AT_BEGUN, VS_MAX_RESULT),
    OUTCOME(REJECTED, VS_AT_BEGUN, 0),
    OUTCOME(ERROR,    VS_AT_START | VS_AT_OPEN | VS_AT_BEGUN, VS_MAX_RESULT),
};

/* What a guard hears from the broker: the requests that a model answers, and what belongs to them. It passes them on. */
static const struct vs_ipc_rule to_guard[] = {
    PLAIN(CREDIT, 0, VS_AT_FREE | VS_AT_BEGUN, 4, 4),
    PLAIN(CANCEL, 0, VS_AT_FREE | VS_AT_BEGUN, 4, 4),
    PLAIN(SENT,   VS_FLAG_INDEX, VS_AT_FREE,       4, VS_MAX_CHUNK),
#define TO_GUARD(name, type, method, flags, keys, envelope, body) REQUEST(name, 0, VS_KEYS_WORKER, envelope, body),
    VS_MODEL_REQUEST_MAP(TO_GUARD) VS_GUARD_REQUEST_MAP(TO_GUARD)
};

/* What a broker hears from a guard, which reads what strangers and models write, so it is trusted no more than a worker. READY says
 * both sandboxes. */
static const struct vs_ipc_rule from_guard[] = {
    PLAIN(TOKEN,    TOKEN_FLAGS,   VS_AT_BEGUN,                            8, VS_MAX_CHUNK),
    PLAIN(DATA,     0,             VS_AT_BEGUN,                            1, VS_MAX_CHUNK),
    PLAIN(PROGRESS, 0,             VS_AT_START | VS_AT_BEGUN,              2, VS_MAX_CONTROL),
    PLAIN(LOG,      0,             VS_AT_START | VS_AT_OPEN | VS_AT_BEGUN, 2, VS_MAX_CONTROL),
    PLAIN(BLOCKED,  0,             VS_AT_BEGUN,                            4, 4),
    PLAIN(ALIVE,    0,             VS_AT_START | VS_AT_OPEN | VS_AT_BEGUN, 0, 0),
    PLAIN(STATS,    0,             VS_AT_OPEN,                             2, VS_MAX_CONTROL),
    PLAIN(RECEIPT,  VS_FLAG_INDEX, VS_AT_BEGUN,                            2, VS_MAX_RECEIPT),
    PLAIN(KEPT,     VS_FLAG_INDEX, VS_AT_BEGUN,                            8, VS_MAX_KEPT),
    OUTCOME(COMPLETE, VS_AT_BEGUN, VS_MAX_RESULT),
    OUTCOME(REJECTED, VS_AT_BEGUN, 0),
    OUTCOME(ERROR,    VS_AT_BEGUN, VS_MAX_RESULT),
    PLAIN(READY,    0,             VS_AT_START,                            2, 3 * VS_MAX_CONTROL),
    PLAIN(FAILED,   0,             VS_AT_START | VS_AT_OPEN,               2, VS_MAX_CONTROL),
    PLAIN(DIGEST,   0,             VS_AT_OPEN,                             64, 64),
    PLAIN(BROKEN,   0,             VS_AT_START | VS_AT_OPEN,               2, VS_MAX_CONTROL),
};

/* What a worker hears, from its guard. */
static const struct vs_ipc_rule to_worker[] = {
    PLAIN(CREDIT, 0, VS_AT_FREE | VS_AT_BEGUN, 4, 4),
    PLAIN(CANCEL, 0, VS_AT_FREE | VS_AT_BEGUN, 4, 4),
    PLAIN(SENT,   VS_FLAG_INDEX, VS_AT_FREE,       4, VS_MAX_CHUNK),
#define TO_WORKER(name, type, method, flags, keys, envelope, body) REQUEST(name, 0, VS_KEYS_WORKER, envelope, body),
    VS_MODEL_REQUEST_MAP(TO_WORKER)
};

/* What a guard hears from its worker, which is not trusted any more once it has read a model. It has no LOG: a log is for people,
 * and would be a way past the filters. */
static const struct vs_ipc_rule from_worker[] = {
    PLAIN(TOKEN,    TOKEN_FLAGS,   VS_AT_BEGUN,                            8, VS_MAX_CHUNK),
    PLAIN(DATA,     0,             VS_AT_BEGUN,                            1, VS_MAX_CHUNK),
    PLAIN(PROGRESS, 0,             VS_AT_START | VS_AT_BEGUN,              2, VS_MAX_CONTROL),
    PLAIN(BLOCKED,  0,             VS_AT_BEGUN,                            4, 4),
    PLAIN(ALIVE,    0,             VS_AT_START | VS_AT_OPEN | VS_AT_BEGUN, 0, 0),
    PLAIN(STATS,    0,             VS_AT_OPEN,                             2, VS_MAX_CONTROL),
    PLAIN(RECEIPT,  VS_FLAG_INDEX, VS_AT_BEGUN,                            2, VS_MAX_RECEIPT),
    PLAIN(KEPT,     VS_FLAG_INDEX, VS_AT_BEGUN,                            8, VS_MAX_KEPT),
    OUTCOME(COMPLETE, VS_AT_BEGUN, VS_MAX_RESULT),
    OUTCOME(REJECTED, VS_AT_BEGUN, 0),
    OUTCOME(ERROR,    VS_AT_BEGUN, VS_MAX_RESULT),
    PLAIN(READY,    0,             VS_AT_START,                            2, 2 * VS_MAX_CONTROL),
    PLAIN(FAILED,   0,             VS_AT_START | VS_AT_OPEN,               2, VS_MAX_CONTROL),
    PLAIN(DIGEST,   0,             VS_AT_OPEN,                             64, 64),
};

/* What the supervisor hears from the broker, which strangers talk to. A model's id is FREE until START. */
static const struct vs_ipc_rule to_supervisor[] = {
    PLAIN(HELLO,  0,          VS_AT_START,               2,  VS_MAX_CONTROL),
    PLAIN(START,  VS_FLAG_FD | VS_FLAG_FDS, VS_AT_FREE,  2,  VS_MAX_START),
    PLAIN(STOP,   0,          VS_AT_FREE | VS_AT_BEGUN,  0,  0),
    PLAIN(KILL,   0,          VS_AT_FREE | VS_AT_BEGUN,  0,  0),
    PLAIN(MODELS, 0,          VS_AT_FREE,                0,  0),
    PLAIN(END,    0,          VS_AT_OPEN,                0,  0),
    PLAIN(ALIVE,  0,          VS_AT_OPEN,                0,  0),
    PLAIN(REFUSED, 0,         VS_AT_OPEN,                2,  VS_MAX_CONTROL),
    PLAIN(AUDIT,  0,          VS_AT_OPEN,                0,  0),
    PLAIN(FILES,  0,          VS_AT_FREE,                0,  0),
    PLAIN(ALIAS,  0,          VS_AT_FREE,                2,  VS_MAX_CONTROL),
    PLAIN(WAITED, 0,          VS_AT_FREE | VS_AT_BEGUN,  0,  0),
};

/* What the broker hears from the supervisor. */
static const struct vs_ipc_rule from_supervisor[] = {
    PLAIN(HELLO,   0,          VS_AT_OPEN,               0,  0),
    PLAIN(ALIVE,   0,          VS_AT_OPEN,               0,  0),
    PLAIN(STARTED, VS_FLAG_FD, VS_AT_FREE | VS_AT_BEGUN, 2,  VS_MAX_START),
    PLAIN(FAILED,  0,          VS_AT_FREE | VS_AT_BEGUN, 2,  VS_MAX_CONTROL),
    PLAIN(EXITED,  0,          VS_AT_FREE | VS_AT_BEGUN, 2,  VS_MAX_CONTROL),
    PLAIN(MODELS,  0,          VS_AT_FREE | VS_AT_BEGUN, 2,  VS_MAX_CHUNK),
    PLAIN(DRAIN,   0,          VS_AT_OPEN,               4,  4),
    PLAIN(REFUSED, 0,          VS_AT_OPEN,               2,  VS_MAX_CONTROL),
    PLAIN(SETTINGS, VS_FLAG_FD, VS_AT_OPEN,              0,  0),
    PLAIN(AUDIT,   VS_FLAG_FD, VS_AT_OPEN,               2,  VS_MAX_CONTROL),
    PLAIN(FILES,   VS_FLAG_FD | VS_FLAG_FDS, VS_AT_FREE, 2,  VS_MAX_CONTROL),
    PLAIN(ALIAS,   0,          VS_AT_FREE,               2,  VS_MAX_CONTROL),
    PLAIN(WAITED,  0,          VS_AT_FREE | VS_AT_BEGUN, 16, 16),
};

/* What the log's writer hears from the broker, which strangers talk to: records, numbered by their id from 1; receipts to be
 * signed, so too. */
static const struct vs_ipc_rule to_audit[] = {
    PLAIN(HELLO,  0, VS_AT_OPEN, 2, VS_MAX_CONTROL),
    PLAIN(RECORD, 0, VS_AT_FREE, 2, 2 * VS_MAX_CONTROL),
    PLAIN(KEPT, 0, VS_AT_FREE, 40, 32 + VS_MAX_KEPT),
    PLAIN(RECEIPT, 0, VS_AT_FREE, 2, VS_MAX_RECEIPT),
};

/* What the broker hears from it. */
static const struct vs_ipc_rule from_audit[] = {
    PLAIN(WRITTEN, 0, VS_AT_OPEN, 8, 8),
    PLAIN(RECEIPT, 0, VS_AT_FREE, 2, VS_MAX_RECEIPT),
};

/* What the writer hears from the supervisor, which opens files for it. */
static const struct vs_ipc_rule to_audit_control[] = {
    PLAIN(BROKER,  VS_FLAG_FD, VS_AT_OPEN, 0, 0),
    PLAIN(SEGMENT, VS_FLAG_FD, VS_AT_OPEN, 0, 0),
    PLAIN(NAMED,   0,          VS_AT_OPEN, 0, 0),
    PLAIN(FAILED,  0,          VS_AT_OPEN, 2, VS_MAX_CONTROL),
    PLAIN(SETTINGS, 0,         VS_AT_OPEN, 2, VS_MAX_START),
    PLAIN(RECORD,  0,          VS_AT_OPEN, 2, VS_MAX_CONTROL),
    PLAIN(STOP,    0,          VS_AT_OPEN, 0, 0),
};

/* What the supervisor hears from the writer. */
static const struct vs_ipc_rule from_audit_control[] = {
    PLAIN(READY,   0, VS_AT_OPEN, 2, VS_MAX_CONTROL),
    PLAIN(SEGMENT, 0, VS_AT_OPEN, 8, 8),
    PLAIN(NAMED,   0, VS_AT_OPEN, 8, 8),
};

/* What a guard hears from the supervisor: with each new worker two sockets. */
static const struct vs_ipc_rule to_guard_control[] = {
    PLAIN(WORKER, VS_FLAG_FD, VS_AT_OPEN, 0, 0),
    PLAIN(BROKER, VS_FLAG_FD, VS_AT_OPEN, 0, 0),
    PLAIN(ALIVE,  0,          VS_AT_OPEN, 0, 0),
    PLAIN(SETTINGS, VS_FLAG_FD, VS_AT_OPEN, 0, 0),
};

/* What the supervisor hears from a guard: that it is there. */
static const struct vs_ipc_rule from_guard_control[] = {
    PLAIN(ALIVE, 0, VS_AT_OPEN, 0, 0),
};

/* What a gateway hears from its parent; ids are the gateway's connections to the daemon, from 1. */
static const struct vs_ipc_rule to_gateway[] = {
    PLAIN(LISTEN,   VS_FLAG_FD, VS_AT_OPEN,               2,  VS_MAX_CONTROL),
    PLAIN(STARTED,  VS_FLAG_FD, VS_AT_FREE | VS_AT_BEGUN, 2,  VS_MAX_CONTROL),
    PLAIN(FAILED,   0,          VS_AT_FREE | VS_AT_BEGUN, 2,  VS_MAX_CONTROL),
    PLAIN(SETTINGS, 0,          VS_AT_OPEN,               2,  VS_MAX_SECRETS),
    PLAIN(DRAIN,    0,          VS_AT_OPEN,               4,  4),
};

/* What the parent hears from its gateway, which strangers talk to. */
static const struct vs_ipc_rule from_gateway[] = {
    PLAIN(HELLO,  0, VS_AT_START,              2, VS_MAX_CONTROL),
    PLAIN(START,  0, VS_AT_FREE | VS_AT_BEGUN, 2, VS_MAX_CONTROL),
    PLAIN(READY,  0, VS_AT_OPEN,               2, VS_MAX_CONTROL),
    PLAIN(FAILED, 0, VS_AT_OPEN,               2, VS_MAX_CONTROL),
};

const struct vs_ipc_table vs_ipc_from_client = { from_client, N_OF(from_client) };
const struct vs_ipc_table vs_ipc_to_client = { to_client, N_OF(to_client) };
const struct vs_ipc_table vs_ipc_to_guard = { to_guard, N_OF(to_guard) };
const struct vs_ipc_table vs_ipc_from_guard = { from_guard, N_OF(from_guard) };
const struct vs_ipc_table vs_ipc_to_guard_control = { to_guard_control, N_OF(to_guard_control) };
const struct vs_ipc_table vs_ipc_from_guard_control = { from_guard_control, N_OF(from_guard_control) };
const struct vs_ipc_table vs_ipc_to_worker = { to_worker, N_OF(to_worker) };
const struct vs_ipc_table vs_ipc_from_worker = { from_worker, N_OF(from_worker) };
const struct vs_ipc_table vs_ipc_to_audit = { to_audit, N_OF(to_audit) };
const struct vs_ipc_table vs_ipc_from_audit = { from_audit, N_OF(from_audit) };
const struct vs_ipc_table vs_ipc_to_audit_control = { to_audit_control, N_OF(to_audit_control) };
const struct vs_ipc_table vs_ipc_from_audit_control = { from_audit_control, N_OF(from_audit_control) };
const struct vs_ipc_table vs_ipc_to_supervisor = { to_supervisor, N_OF(to_supervisor) };
const struct vs_ipc_table vs_ipc_from_supervisor = { from_supervisor, N_OF(from_supervisor) };
const struct vs_ipc_table vs_ipc_to_gateway = { to_gateway, N_OF(to_gateway) };
const struct vs_ipc_table vs_ipc_from_gateway = { from_gateway, N_OF(from_gateway) };

static const struct {
    uint16_t type;
    bool is_request;
    const char *name;
} names[] = {
#define REQUEST_NAME(name, value, text, ...) { value, true, text },
    VS_REQUEST_MAP(REQUEST_NAME)
#define OTHER_NAME(name, value, text) { value, false, text },
    VS_MESSAGE_MAP(OTHER_NAME)
};

const struct vs_ipc_rule *vs_ipc_rule_find(const struct vs_ipc_table *table, uint16_t type)
{
    for (size_t i = 0; i < table->n_rules; i++)
        if (table->rules[i].type == type)
            return &table->rules[i];
    return NULL;
}

static uint16_t type_of(const void *handlers, size_t size, size_t i)
{
    uint16_t type;
    memcpy(&type, (const char *)handlers + i * size, sizeof type);
    return type;
}

size_t vs_ipc_handler(const void *handlers, size_t n, size_t size, uint16_t type)
{
    size_t i = 0;
    while (i < n && type_of(handlers, size, i) != type)
        i++;
    return i;
}

uint16_t vs_ipc_unhandled(const struct vs_ipc_table *table, const void *handlers, size_t n, size_t size)
{
    for (size_t i = 0; i < table->n_rules; i++)
        if (vs_ipc_handler(handlers, n, size, table->rules[i].type) == n)
            return table->rules[i].type;
    for (size_t i = 0; i < n; i++)
        if (!vs_ipc_rule_find(table, type_of(handlers, size, i)))
            return type_of(handlers, size, i);
    return 0;
}

const char *vs_message_name(uint16_t type)
{
    for (size_t i = 0; i < N_OF(names); i++)
        if (names[i].type == type)
            return names[i].name;
    return "unknown";
}

bool vs_message_is_request(uint16_t type)
{
    for (size_t i = 0; i < N_OF(names); i++)
        if (names[i].type == type)
            return names[i].is_request;
    return false;
}

bool vs_message_is_terminal(uint16_t type)
{
    return type >= VS_MSG_COMPLETE && type <= VS_MSG_ERROR;
}
