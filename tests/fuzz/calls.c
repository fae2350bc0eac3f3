/* rooms: grammar base */
/* Schemas of a tool's arguments, as calls of a family that writes tags and of one that writes a header: input is JSON. See
 * support/constraint.h. */
#include "../support/constraint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void try_form(const struct vs_call_form *form, const json_t *parameters, const uint8_t *data, size_t n)
{
    struct vs_grammar *g = NULL;
    struct vs_error err = { 0 };
    json_t *any = json_pack("{s:s}", "type", "object");
    const struct vs_callable f[] = { { "f", parameters }, { "other", any } };
    if (vs_grammar_calls(form, f, 2, NULL, false, fuzz_vocabulary(), NULL, &g, &err) == VS_OK)
        fuzz_follow(g, data, n);
    json_t *beside = json_pack("{s:O, s:b}", "json_schema", parameters, VS_OR_CALLS, 1);
    g = NULL;
    if (vs_grammar_calls(form, f, 2, beside, true, fuzz_vocabulary(), NULL, &g, &err) == VS_OK)
        fuzz_follow(g, data, n);
    json_decref(beside);
    json_decref(any);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct vs_call_tags tags = { .key_open = "<k=", .key_close = ">\n", .value_close = "\n</k>\n", .end = "</f>" };
    static const struct vs_call_tags typed = {
        .key_open = "<k=", .key_close = " s>", .value_close = "</%s>", .end = "</f>", .json_close = " %s>", .json_end = "</k>",
    };
    static const struct vs_call_tags code = { .key_open = "", .json_close = "=", .json_end = "", .end = ")", .between = ", " };
    static const struct vs_call_form in_tags = { "", "<f=", ">\n", "\n<f=", NULL, &tags };
    static const struct vs_call_form in_typed_tags = { "", "<f=", ">", NULL, NULL, &typed };
    static const struct vs_call_form as_code = { "", "", "(", ", ", "]", &code };
    static const struct vs_call_form in_header = { "", "", "\xff\xf8\xf8\xf9", NULL, NULL, NULL };
    json_t *value = json_loadb((const char *)data, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (json_is_object(value)) {
        try_form(&in_tags, value, data, n);
        try_form(&in_typed_tags, value, data, n);
        try_form(&as_code, value, data, n);
        try_form(&in_header, value, data, n);
    }
    json_decref(value);
    return 0;
}
