/* rooms: ipc base */
/* Any bytes as the body of every kind of request: read, judged, and when it is refused the words are whole and fit an error. */
#include "ipc/json.h"
#include "ipc/keys.h"

#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
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
