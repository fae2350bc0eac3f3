/* rooms: ipc base */
/* Any bytes as the body of every kind of request: read, judged, and when it is refused the words are whole and fit an error. And as
 * envelopes: what is read without JSON values says the same as the general way, which a blank in front asks for. */
#include "ipc/envelope.h"
#include "ipc/json.h"
#include "ipc/keys.h"

#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static void read_head(const char *text, size_t n)
{
    struct vs_head quick, general;
    struct vs_error why;
    bool is_read = vs_head_parse(text + 1, n - 1, VS_KEYS_WORKER, &quick, &why) == VS_OK;
    if (is_read != (vs_head_parse(text, n, VS_KEYS_WORKER, &general, &why) == VS_OK))
        abort();
    if (!is_read)
        return;
    if (quick.priority != general.priority || quick.owner != general.owner || quick.client != general.client
        || quick.arrived_at != general.arrived_at || quick.deadline_at != general.deadline_at || quick.sent != general.sent
        || quick.credit != general.credit || quick.resumes != general.resumes || quick.receipt != general.receipt
        || quick.keep != general.keep || !same_text(quick.salt, general.salt) || !same_text(quick.trace, general.trace))
        abort();
    struct vs_buf out = { 0 };
    vs_head_dump(&quick, &out);
    vs_head_clear(&general);
    if (vs_head_parse(out.data, out.n, VS_KEYS_WORKER, &general, &why) != VS_OK || general.json)
        abort();
    vs_head_clear(&quick);
    vs_head_clear(&general);
    vs_buf_clear(&out);
}

static void read_outcome(const char *text, size_t n)
{
    struct vs_outcome quick, general;
    struct vs_error why;
    bool is_read = vs_outcome_parse(text + 1, n - 1, &quick, &why) == VS_OK;
    if (is_read != (vs_outcome_parse(text, n, &general, &why) == VS_OK))
        abort();
    if (is_read && (memcmp(&quick.usage, &general.usage, sizeof quick.usage) != 0 || quick.has_usage != general.has_usage
                    || !same_text(quick.finish_reason, general.finish_reason) || !same_text(quick.salt, general.salt)
                    || !same_text(quick.model_digest, general.model_digest) || !same_text(quick.guard, general.guard)
                    || quick.error.code != general.error.code || quick.is_altered != general.is_altered))
        abort();
}

static void read_envelopes(const uint8_t *data, size_t size)
{
    struct vs_buf text = { 0 };
    vs_buf_char(&text, ' ');
    vs_buf_add(&text, data, size);
    if (text.status == VS_OK && size <= VS_MAX_ENVELOPE) {
        read_head(text.data, text.n);
        read_outcome(text.data, text.n);
    }
    vs_buf_clear(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_envelopes(data, size);
    struct vs_error err = { 0 };
    struct vs_check check = { 0 };
    json_t *body = vs_json_read(data, size, &check, &err);
    if (!body)
        return 0;
    for (uint16_t type = VS_MSG_GENERATE; type <= VS_MSG_SHUTDOWN; type++) {
        int r = vs_key_check_body(type, body, &err);
        if (r != VS_OK && (r != VS_E_INVALID || strlen(err.text) >= sizeof err.text || !err.text[0]))
            abort();
        if (r != VS_OK && vs_json_is_text(err.text)) {
            struct vs_error back;
            json_t *error = vs_json_error(r, err.text);
            vs_json_to_error(error, &back);
            json_decref(error);
            if (strcmp(back.text, err.text) != 0)
                abort();
        }
    }
    struct vs_buf out = { 0 };
    vs_json_write(body, &out, &check);
    json_decref(body);
    vs_buf_clear(&out);
    return 0;
}
