/* fuzz/tools.c - any text as an answer with calls of tools. rooms: parts grammar ipc base
 *
 * Whole and in pieces it must say the same; each call names a tool and has an object of arguments; where there is neither a call
 * nor reasoning, the content is the answer itself.
 *
 * Input: which template, how large the pieces are, flags; then the answer. */
#include "parts/parts.h"

#include "ipc/json.h"

#include <stdlib.h>
#include <string.h>

static const char *const templates[] = {
    "<tool_call> <think>", "<tool_call> <function= <parameter= <think>", "<tool_call> <arg_key> <arg_value>", "<｜tool▁call▁begin｜>",
    "[TOOL_CALLS] [THINK]", "<|python_tag|>", "<|tool_call_begin|>", "<|channel|> <|message|>", "<|tool_call|>", "plain",
    "｜DSML｜ function_calls>", "<|open|> <|close|>", "]<]minimax[>[ <mm:think>", "<function name= <param name=",
    "<tool_sep{}> <think{}>",
    "<|tool_call> <|channel>thought", "<start_function_call>", "<|tool_call_start|>", "<function_calls>", "<|python_start|>",
    "<|tools_prefix|> <|inner_prefix|>", "<|START_ACTION|> <|START_RESPONSE|>", "<tool_calls> [BEGIN FINAL RESPONSE]",
    "<|tool_call:begin|> <|think|> <|content|>", "<function=", ">>>all", "<|function_call|>", "functools", "<seed:tool_call>",
};
enum { N_TEMPLATES = sizeof templates / sizeof *templates };

static json_t *tools(void)
{
    static json_t *list;
    if (!list) {
        vs_json_setup(0);
        list = json_pack("[{s:s, s:{s:s, s:{s:{s:{s:s}, s:{s:s}}}}}, {s:{s:s}}]", "type", "function", "function", "name", "add",
                         "parameters", "properties", "a", "type", "integer", "b", "type", "string", "function", "name", "f");
    }
    return list;
}

struct row { size_t part, n; };

struct told {                            /* parts one after the other, neighbours joined */
    struct row row[4096];                /* the last one counts all that come behind it */
    size_t n;
    struct vs_buf text;
};

static void note(struct told *t, struct vs_parts *p)
{
    const struct vs_pieces *said = vs_parts_said(p);
    for (size_t i = 0; i < said->n; i++) {
        if (!said->piece[i].n)
            abort();
        if ((!t->n || t->row[t->n - 1].part != said->piece[i].part) && t->n < sizeof t->row / sizeof *t->row)
            t->row[t->n++] = (struct row){ said->piece[i].part, 0 };
        t->row[t->n - 1].n += said->piece[i].n;
    }
    vs_buf_add(&t->text, said->text.data, said->text.n);
    vs_parts_reset(p);
}

static void check_call(const char *text, size_t n)
{
    const char *line = memchr(text, '\n', n);
    bool known = line && ((line - text == 3 && memcmp(text, "add", 3) == 0) || (line - text == 1 && *text == 'f'));
    json_t *arguments = known ? vs_json_read(line + 1, n - (size_t)(line + 1 - text), NULL, NULL) : NULL;
    if (!arguments)
        abort();
    json_decref(arguments);
}

static void parse(const struct vs_parts_config *config, const char *text, size_t n, size_t piece, struct told *ret)
{
    struct vs_parts *p;
    ret->n = 0;
    ret->text = (struct vs_buf){ 0 };
    if (vs_parts_create(config, &p) != VS_OK)
        abort();
    for (size_t at = 0, k; at < n; at += k) {
        k = n - at < piece ? n - at : piece;
        for (size_t i = at, from = at; i <= at + k; i++) {       /* 0xff is no text: here it is a mark, that the next byte names */
            bool is_mark = i < at + k && text[i] == '\xff';
            if (i < at + k && !is_mark)
                continue;
            if (vs_parts_push(p, text + from, i - from) != VS_OK)
                abort();
            if (is_mark && vs_parts_push_mark(p, i + 1 < n ? (uint8_t)text[i + 1] % VS_N_MARKS : 0) != VS_OK)
                abort();
            from = i + 1;
        }
        note(ret, p);
    }
    if (vs_parts_finish(p) != VS_OK)
        abort();
    note(ret, p);
    vs_parts_free(p);
}

static void check(const struct told *t)
{
    size_t at = 0;
    for (size_t i = 0; i < t->n; at += t->row[i++].n)
        if (t->row[i].part >= VS_PART_CALL && i + 1 < sizeof t->row / sizeof *t->row)
            check_call(t->text.data + at, t->row[i].n);
    if (at != t->text.n)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 3)
        return 0;
    const char *template = templates[data[0] % N_TEMPLATES], *text = (const char *)data + 3;
    struct vs_parts_config config = { .tools = tools(), .is_open = data[2] & 1, .is_single = data[2] & 2,
                                      .shows_control = data[2] & 4 };
    vs_style_detect(template, strlen(template), &config.style);
    if (data[2] & 8)
        config.style.think = NULL;
    memset(config.is_control, (data[2] & 16) != 0, sizeof config.is_control);
    config.is_open = config.is_open && config.style.think;
    static struct told whole, pieces;
    n -= 3;
    parse(&config, text, n, n ? n : 1, &whole);
    parse(&config, text, n, 1 + data[1] % 16, &pieces);
    if (whole.n != pieces.n || whole.text.n != pieces.text.n || memcmp(whole.row, pieces.row, whole.n * sizeof *whole.row) != 0
        || (whole.text.n && memcmp(whole.text.data, pieces.text.data, whole.text.n) != 0))
        abort();
    check(&whole);
    vs_buf_clear(&whole.text);
    vs_buf_clear(&pieces.text);
    return 0;
}
