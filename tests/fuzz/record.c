/* rooms: evidence ipc base */
/* Any bytes as what a broker says to the log's writer: refused, or a line that the log's check takes and any JSON reader reads. */
#include "prog/audit/audit.h"

#include "ipc/json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct vs_buf members = { 0 }, line = { 0 };
    struct vs_line_head head = { .seq = 1, .time_ms = 1, .mono_ns = 2, .boot = "00112233445566778899aabbccddeeff" }, read;
    if (n > 2 * VS_MAX_CONTROL)
        return 0;
    if (record_format((const char *)data, n, &members)) {
        vs_line_format(&head, members.data, members.n, &line);
        json_t *value = vs_json_parse(line.data, line.n, NULL);
        if (line.status != VS_OK || !json_string_value(json_object_get(value, "event")))
            abort();
        const char *wrong = vs_line_parse(line.data, line.n, &read);
        if (wrong && line.n <= VS_LINE_MOST)
            abort();
        json_decref(value);
    }
    vs_buf_clear(&members);
    vs_buf_clear(&line);
    return 0;
}
