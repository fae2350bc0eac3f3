/* rooms: ipc base */
/* fuzz/frame.c - bytes from a socket. Byte 0 chooses whose table and state, byte 1 how the rest is cut into pieces. */
#include "ipc/frame.h"
#include "ipc/json.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static unsigned state_of(const void *context, uint64_t id)
{
    (void)context;
    return id & 1 ? VS_AT_BEGUN : VS_AT_FREE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct vs_ipc_table *const tables[] = { &vs_ipc_from_client, &vs_ipc_to_client, &vs_ipc_to_worker,
                                                         &vs_ipc_from_worker,
                                                         &vs_ipc_to_guard, &vs_ipc_from_guard };
    static int is_ready;
    if (!is_ready)
        vs_json_setup(64 << 20);
    is_ready = 1;
    int pair[2];
    if (n < 2 || n > 60000 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        return 0;
    struct vs_conn c;
    size_t table = ((data[0] & 3u) | (data[0] >> 1 & 4u)) % (sizeof tables / sizeof *tables);
    vs_conn_init(&c, pair[0], tables[table], data[0] & 4 ? VS_AT_OPEN : VS_AT_START);
    c.state_of = state_of;
    size_t piece = (size_t)data[1] + 1;
    int status = VS_OK;
    for (size_t at = 2; at < n && (status == VS_OK || status == VS_E_BUSY); at += piece) {
        size_t k = n - at < piece ? n - at : piece;
        if (write(pair[1], data + at, k) != (ssize_t)k || vs_conn_read(&c) != VS_OK)
            abort();
        struct vs_frame f;
        struct vs_error err;
        while ((status = vs_conn_next(&c, &f, &err)) == VS_OK) {
            const struct vs_ipc_rule *rule = vs_ipc_rule_find(c.table, f.type);
            if (!rule || f.n > rule->max || f.n < rule->min || f.fd >= 0)
                abort();
            struct vs_token_view t;
            if (f.type == VS_MSG_TOKEN && vs_token_parse(&f, &t) && 8 + (size_t)t.text_bytes + t.extra_bytes != f.n)
                abort();
            struct vs_receipt_view v;
            struct vs_kept_view kept;
            if (f.type == VS_MSG_KEPT && vs_receipt_view(&f, &v) && vs_kept_view(v.text, v.n, &kept)
                && 8 + 4 * ((size_t)kept.n_prompt + kept.n_tokens) + kept.n != v.n)
                abort();
            json_t *value = vs_json_parse(f.data, f.n, &err);
            if (value) {
                struct vs_buf out = { 0 };
                vs_json_dump(value, &out);
                vs_json_to_error(value, &err);
                vs_buf_clear(&out);
            }
            json_decref(value);
        }
    }
    close(pair[1]);
    vs_conn_clear(&c);
    return 0;
}
