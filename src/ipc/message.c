/* ipc/message.c - the tables of message.h. Each row is a permission; what is missing here cannot be said. */
#include "ipc/message.h"

#include <string.h>

#define N_OF(a) (sizeof(a) / sizeof *(a))

/* What a broker hears from its clients. */
static const struct vs_ipc_rule from_client[] = {
    /* type            flags       states       min max */
    { VS_MSG_HELLO,      0,          VS_AT_START, 2, 1024 },
    { VS_MSG_CREDIT,     0,          VS_AT_OPEN,  4, 4 },
    { VS_MSG_CANCEL,     0,          VS_AT_OPEN,  0, 0 },
    { VS_MSG_GENERATE,   0,          VS_AT_OPEN,  2, VS_MAX_REQUEST },
    { VS_MSG_CHAT,       0,          VS_AT_OPEN,  2, VS_MAX_REQUEST },
    { VS_MSG_TOKENIZE,   0,          VS_AT_OPEN,  2, VS_MAX_REQUEST },
    { VS_MSG_DETOKENIZE, 0,          VS_AT_OPEN,  2, VS_MAX_REQUEST },
    { VS_MSG_INSPECT,    0,          VS_AT_OPEN,  2, VS_MAX_CONTROL },
    { VS_MSG_LOGITS,     0,          VS_AT_OPEN,  2, VS_MAX_REQUEST },
    { VS_MSG_PERPLEXITY, 0,          VS_AT_OPEN,  2, VS_MAX_REQUEST },
    { VS_MSG_BENCH,      0,          VS_AT_OPEN,  2, VS_MAX_CONTROL },
    { VS_MSG_LOAD,       VS_FLAG_FD, VS_AT_OPEN,  2, 2 * VS_MAX_CONTROL },
    { VS_MSG_UNLOAD,     0,          VS_AT_OPEN,  2, VS_MAX_CONTROL },
    { VS_MSG_LIST,       0,          VS_AT_OPEN,  2, VS_MAX_CONTROL },
    { VS_MSG_STATUS,     0,          VS_AT_OPEN,  2, VS_MAX_CONTROL },
    { VS_MSG_SHUTDOWN,   0,          VS_AT_OPEN,  2, VS_MAX_CONTROL },
};

/* What a client hears. ERROR may come at the start: that is how a broker refuses the connection. */
static const struct vs_ipc_rule to_client[] = {
    { VS_MSG_HELLO,    0,             VS_AT_START,              2, VS_MAX_CONTROL },
    { VS_MSG_TOKEN,    VS_FLAG_EXTRA, VS_AT_OPEN,               8, VS_MAX_CHUNK },
    { VS_MSG_DATA,     0,             VS_AT_OPEN,               1, VS_MAX_CHUNK },
    { VS_MSG_PROGRESS, 0,             VS_AT_OPEN,               2, VS_MAX_CONTROL },
    { VS_MSG_COMPLETE, 0,             VS_AT_OPEN,               2, VS_MAX_RESULT },
    { VS_MSG_REJECTED, 0,             VS_AT_OPEN,               2, VS_MAX_CONTROL },
    { VS_MSG_ERROR,    0,             VS_AT_START | VS_AT_OPEN, 2, VS_MAX_CONTROL },
};

/* What a worker hears; one request at a time. */
static const struct vs_ipc_rule to_worker[] = {
    { VS_MSG_CREDIT,     0, VS_AT_IDLE | VS_AT_BUSY, 4, 4 },
    { VS_MSG_CANCEL,     0, VS_AT_IDLE | VS_AT_BUSY, 4, 4 },
    { VS_MSG_GENERATE,   0, VS_AT_IDLE,              2, VS_MAX_REQUEST },
    { VS_MSG_CHAT,       0, VS_AT_IDLE,              2, VS_MAX_REQUEST },
    { VS_MSG_TOKENIZE,   0, VS_AT_IDLE,              2, VS_MAX_REQUEST },
    { VS_MSG_DETOKENIZE, 0, VS_AT_IDLE,              2, VS_MAX_REQUEST },
    { VS_MSG_INSPECT,    0, VS_AT_IDLE,              2, VS_MAX_CONTROL },
    { VS_MSG_LOGITS,     0, VS_AT_IDLE,              2, VS_MAX_REQUEST },
    { VS_MSG_PERPLEXITY, 0, VS_AT_IDLE,              2, VS_MAX_REQUEST },
    { VS_MSG_BENCH,      0, VS_AT_IDLE,              2, VS_MAX_CONTROL },
    { VS_MSG_STATUS,     0, VS_AT_IDLE,              2, VS_MAX_CONTROL },
};

/* What a broker hears from a worker, which is not trusted any more once it has read a model. */
static const struct vs_ipc_rule from_worker[] = {
    { VS_MSG_TOKEN,    VS_FLAG_EXTRA, VS_AT_BUSY,                             8, VS_MAX_CHUNK },
    { VS_MSG_DATA,     0,             VS_AT_BUSY,                             1, VS_MAX_CHUNK },
    { VS_MSG_PROGRESS, 0,             VS_AT_LOADING | VS_AT_BUSY,             2, VS_MAX_CONTROL },
    { VS_MSG_LOG,      0,             VS_AT_LOADING | VS_AT_IDLE | VS_AT_BUSY, 2, VS_MAX_CONTROL },
    { VS_MSG_BLOCKED,  0,             VS_AT_BUSY,                             4, 4 },
    { VS_MSG_COMPLETE, 0,             VS_AT_BUSY,                             2, VS_MAX_RESULT },
    { VS_MSG_REJECTED, 0,             VS_AT_BUSY,                             2, VS_MAX_CONTROL },
    { VS_MSG_ERROR,    0,             VS_AT_BUSY,                             2, VS_MAX_CONTROL },
    { VS_MSG_READY,    0,             VS_AT_LOADING,                          2, VS_MAX_CHUNK },
    { VS_MSG_FAILED,   0,             VS_AT_LOADING,                          2, VS_MAX_CONTROL },
};

const struct vs_ipc_table vs_ipc_from_client = { from_client, N_OF(from_client) };
const struct vs_ipc_table vs_ipc_to_client = { to_client, N_OF(to_client) };
const struct vs_ipc_table vs_ipc_to_worker = { to_worker, N_OF(to_worker) };
const struct vs_ipc_table vs_ipc_from_worker = { from_worker, N_OF(from_worker) };

static const struct {
    uint16_t type;
    const char *name;
} names[] = {
#define NAME_ROW(name, value, text) { value, text },
    VS_MESSAGE_MAP(NAME_ROW)
#undef NAME_ROW
};

const struct vs_ipc_rule *vs_ipc_rule_find(const struct vs_ipc_table *table, uint16_t type)
{
    for (size_t i = 0; i < table->n_rules; i++)
        if (table->rules[i].type == type)
            return &table->rules[i];
    return NULL;
}

const char *vs_message_name(uint16_t type)
{
    for (size_t i = 0; i < N_OF(names); i++)
        if (names[i].type == type)
            return names[i].name;
    return "unknown";
}

uint16_t vs_message_parse(const char *name)
{
    for (size_t i = 0; i < N_OF(names); i++)
        if (strcmp(names[i].name, name) == 0)
            return names[i].type;
    return 0;
}

bool vs_message_is_request(uint16_t type)
{
    return type >= VS_MSG_GENERATE && type <= VS_MSG_SHUTDOWN;
}

bool vs_message_is_terminal(uint16_t type)
{
    return type >= VS_MSG_COMPLETE && type <= VS_MSG_ERROR;
}
