/* parts/family.c - how families of models write calls and reasoning, a row for each.
 *
 * A template belongs to the first row whose signs stand in it; the model's name says nothing. Where the template shows no tools at
 * all, they are described in a system message, and called as the plain family does.
 */
#include "ipc/json.h"
#include "parts/internal.h"

#include <assert.h>
#include <string.h>

const char *const vs_mark_text[VS_N_MARKS] = {
#define MARK_TEXT(name, text) text,
    VS_MARK_MAP(MARK_TEXT)
};

#define MARKS1(a) { VS_MARK_##a, NO_MARK }
#define MARKS2(a, b) { VS_MARK_##a, VS_MARK_##b, NO_MARK }
#define NO_MARKS { NO_MARK }

/* Qwen3-Coder: <tool_call> <function=NAME> <parameter=KEY> VALUE </parameter> ... </function> </tool_call> */
static const struct vs_tags functions = { '>', "<parameter=", ">", "", "</parameter>", "</function>", NO_MARK, true };
/* MiniMax M2: <minimax:tool_call> <invoke name="NAME"> <parameter name="KEY">VALUE</parameter> ... </invoke> ...
 * </minimax:tool_call> */
static const struct vs_tags invocations = {
    '>', "<parameter name=\"", "\">", "", "</parameter>", "</invoke>", NO_MARK, false,
};
/* GLM 4.5 and later: <tool_call>NAME <arg_key>KEY</arg_key> <arg_value>VALUE</arg_value> ... </tool_call> */
static const struct vs_tags keys_and_values = {
    0, "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "</tool_call>", VS_MARK_END_CALL, false,
};

static const char *const deepseek_noise[] = { "```json", "```", "function", NULL };
static const char *const kimi_noise[] = { "functions.", NULL };
static const char *const no_noise[] = { NULL };

/* How calls are written that are held to their form: begin, open NAME close ARGUMENTS, between. */
static const struct vs_call_tags function_tags = { "<parameter=", ">\n", "\n</parameter>\n", "</function>" };
static const struct vs_call_tags invoke_tags = { "<parameter name=\"", "\">", "</parameter>\n", "</invoke>" };
static const struct vs_call_tags key_tags = { "<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>\n", "</tool_call>" };
#define TAGGED_FORM { "<tool_call>\n", "", "", "\n</tool_call>\n<tool_call>\n", "\n</tool_call>", NULL }
#define FUNCTIONS_FORM { "<tool_call>\n<function=", "", ">\n", "\n</tool_call>\n<tool_call>\n<function=", "\n</tool_call>", \
                         &function_tags }
#define INVOKE_FORM { "<minimax:tool_call>\n<invoke name=\"", "", "\">\n", "\n<invoke name=\"", "\n</minimax:tool_call>", \
                      &invoke_tags }
#define KEYS_FORM { "<tool_call>", "", "\n", "\n<tool_call>", NULL, &key_tags }
#define MISTRAL_FORM { "[TOOL_CALLS][", "", "", ", ", "]", NULL }
#define PIPES_FORM { "<|tool_call|>[", "", "", ", ", "]", NULL }
#define LLAMA_FORM { "", "", "", "; ", NULL, NULL }       /* its mark is for code, too: calls stand alone */
#define FENCED_FORM { "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>", "function<｜tool▁sep｜>", "\n```json\n", \
                      "\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>", "\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>", NULL }
#define DEEPSEEK_FORM { "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>", "", "<｜tool▁sep｜>", \
                        "<｜tool▁call▁end｜><｜tool▁call▁begin｜>", "<｜tool▁call▁end｜><｜tool▁calls▁end｜>", NULL }
#define KIMI_FORM { "<|tool_calls_section_begin|><|tool_call_begin|>", "functions.", ":0<|tool_call_argument_begin|>", \
                    "<|tool_call_end|><|tool_call_begin|>", "<|tool_call_end|><|tool_calls_section_end|>", NULL }
#define CHANNELS_FORM { "<|channel|>commentary to=functions.", "", " <|constrain|>json<|message|>", NULL, NULL, NULL }

static const struct vs_family families[] = {
    { .name = "channels", .form = CHANNELS_FORM, .sign = { "<|channel|>", "<|message|>" }, .section = NO_MARKS,
      .begin = NO_MARKS, .end = NO_MARKS, .is_channels = true },
    { .name = "functions", .form = FUNCTIONS_FORM, .sign = { "<function=", "<parameter=" }, .section = MARKS1(CALL),
      .begin = MARKS1(FUNCTION), .end = MARKS1(END_CALL), .tags = &functions },
    { .name = "minimax", .form = INVOKE_FORM, .sign = { "<minimax:tool_call>", "<invoke name=" }, .section = MARKS1(MINIMAX_CALLS),
      .begin = MARKS1(INVOKE), .end = MARKS1(MINIMAX_END_CALLS), .tags = &invocations },
    { .name = "keys", .form = KEYS_FORM, .sign = { "<arg_key>", "<arg_value>" }, .section = NO_MARKS, .begin = MARKS1(CALL),
      .end = NO_MARKS, .tags = &keys_and_values },
    { .name = "deepseek", .form = FENCED_FORM, .sign = { "<｜tool▁call▁begin｜>", "```json" }, .section = MARKS1(DEEPSEEK_CALLS),
      .begin = MARKS1(DEEPSEEK_CALL), .end = MARKS2(DEEPSEEK_END_CALL, DEEPSEEK_END_CALLS), .tail = "```",
      .noise = deepseek_noise },
    { .name = "deepseek", .form = DEEPSEEK_FORM, .sign = { "<｜tool▁call▁begin｜>" }, .section = MARKS1(DEEPSEEK_CALLS),
      .begin = MARKS1(DEEPSEEK_CALL), .end = MARKS2(DEEPSEEK_END_CALL, DEEPSEEK_END_CALLS), .tail = "```",
      .noise = deepseek_noise },
    { .name = "kimi", .form = KIMI_FORM, .sign = { "<|tool_call_begin|>" }, .section = MARKS1(KIMI_CALLS),
      .begin = MARKS1(KIMI_CALL), .end = MARKS2(KIMI_END_CALL, KIMI_END_CALLS), .noise = kimi_noise },
    { .name = "mistral", .form = MISTRAL_FORM, .sign = { "[TOOL_CALLS]" }, .section = NO_MARKS, .begin = MARKS1(TOOL_CALLS),
      .end = NO_MARKS, .noise = no_noise, .is_json = true },
    { .name = "hermes", .form = TAGGED_FORM, .sign = { "<tool_call>" }, .section = NO_MARKS, .begin = MARKS1(CALL),
      .end = MARKS1(END_CALL), .is_json = true, .is_bare = true },
    { .name = "pipes", .form = PIPES_FORM, .sign = { "<|tool_call|>" }, .section = NO_MARKS, .begin = MARKS1(PIPE_CALL),
      .end = MARKS1(PIPE_END_CALL), .is_json = true },
    { .name = "llama", .form = LLAMA_FORM, .sign = { "<|python_tag|>" }, .section = NO_MARKS, .begin = MARKS1(PYTHON),
      .end = NO_MARKS, .is_json = true, .is_bare = true },
    { .name = "llama", .form = LLAMA_FORM, .sign = { "\"parameters\": dictionary of argument name" }, .section = NO_MARKS,
      .begin = MARKS1(PYTHON), .end = NO_MARKS, .is_json = true, .is_bare = true },
    { .name = "plain", .form = TAGGED_FORM, .section = NO_MARKS, .begin = MARKS2(CALL, PYTHON), .end = MARKS1(END_CALL),
      .is_json = true, .is_bare = true },
};
enum { N_FAMILIES = sizeof families / sizeof *families };

static const struct vs_think thinks[] = {
    { VS_MARK_THINK, VS_MARK_END_THINK },
    { VS_MARK_MISTRAL_THINK, VS_MARK_MISTRAL_END_THINK },
    { VS_MARK_SEED_THINK, VS_MARK_SEED_END_THINK },
};

const struct vs_family *vs_family_find(const char *name)
{
    for (size_t i = 0; i < N_FAMILIES; i++)
        if (strcmp(families[i].name, name) == 0)
            return &families[i];
    return NULL;
}

static bool has(const char *text, size_t n, const char *word)
{
    return n && memmem(text, n, word, strlen(word));
}

static bool is_of(const struct vs_family *f, const char *template, size_t n)
{
    for (size_t i = 0; i < sizeof f->sign / sizeof *f->sign && f->sign[i]; i++)
        if (!has(template, n, f->sign[i]))
            return false;
    return true;
}

void vs_style_detect(const char *template, size_t n, struct vs_style *ret)
{
    *ret = (struct vs_style){ 0 };
    for (size_t i = 0; i < N_FAMILIES && !ret->family; i++)
        if (is_of(&families[i], template, n))
            ret->family = &families[i];
    for (size_t i = 0; i < sizeof thinks / sizeof *thinks && !ret->think; i++)
        if (has(template, n, vs_mark_text[thinks[i].open]) || has(template, n, vs_mark_text[thinks[i].close]))
            ret->think = &thinks[i];
}

static void close_reasoning(const struct vs_style *style, bool is_open, struct vs_buf *out)
{
    if (!is_open)
        return;
    vs_buf_str(out, vs_mark_text[style->think->close]);
    vs_buf_str(out, "\n\n");
}

void vs_style_begin_content(const struct vs_style *style, bool is_open, struct vs_buf *out)
{
    close_reasoning(style, is_open, out);
    if (style->family->is_channels)
        vs_buf_str(out, "<|channel|>final<|message|>");
}

bool vs_style_thinks(const struct vs_style *style, enum vs_mark *ret_open, enum vs_mark *ret_close)
{
    if (!style->think)
        return false;
    *ret_open = style->think->open;
    *ret_close = style->think->close;
    return true;
}

void vs_style_begin_call(const struct vs_style *style, bool is_open, struct vs_buf *out)
{
    close_reasoning(style, is_open, out);
    vs_buf_str(out, style->family->form.begin);
}

const struct vs_call_form *vs_style_form(const struct vs_style *style)
{
    return &style->family->form;
}

const char *vs_style_arguments(const struct vs_style *style)
{
    const struct vs_family *f = style->family;
    return !f->is_json ? NULL : f->begin[0] == VS_MARK_PYTHON ? "parameters" : "arguments";
}

bool vs_style_is_bare(const struct vs_style *style)
{
    return style->family->is_bare;
}

bool vs_style_names_first(const struct vs_style *style)
{
    return style->family->is_channels;
}

/* No text of UTF-8 has such bytes. */
void vs_mark_code(enum vs_mark mark, char ret[VS_MARK_CODE])
{
    static_assert(VS_N_MARKS <= 49, "a mark is two digits of 7");
    ret[0] = '\xff';
    ret[1] = (char)(0xf8 + (unsigned)mark / 7);
    ret[2] = (char)(0xf8 + (unsigned)mark % 7);
}

void vs_style_spell(const char *text, const bool is_control[VS_N_MARKS], struct vs_buf *out)
{
    for (size_t n; *text; text += n) {
        unsigned m = 0;
        char code[VS_MARK_CODE];
        while (m < VS_N_MARKS && !(is_control[m] && strncmp(text, vs_mark_text[m], strlen(vs_mark_text[m])) == 0))
            m++;
        n = m < VS_N_MARKS ? strlen(vs_mark_text[m]) : 1;
        if (m < VS_N_MARKS)
            vs_mark_code((enum vs_mark)m, code);
        vs_buf_add(out, m < VS_N_MARKS ? code : text, m < VS_N_MARKS ? VS_MARK_CODE : 1);
    }
    vs_buf_char(out, '\0');
}

json_t *vs_tool_function(const json_t *tool)
{
    json_t *inner = json_object_get(tool, "function");
    return inner ? inner : (json_t *)(uintptr_t)tool;
}

void vs_style_set_plain(struct vs_style *style)
{
    style->family = &families[N_FAMILIES - 1];
}

const char *vs_style_name(const struct vs_style *style)
{
    return style->family->name;
}

/* But for white space behind it. */
static bool ends_with(const char *text, size_t n, unsigned mark)
{
    size_t n_mark = strlen(vs_mark_text[mark]);
    while (n && (text[n - 1] == '\n' || text[n - 1] == ' '))
        n--;
    return n >= n_mark && memcmp(text + n - n_mark, vs_mark_text[mark], n_mark) == 0;
}

bool vs_style_is_open(const struct vs_style *style, const char *prompt, size_t n)
{
    return style->think && ends_with(prompt, n, style->think->open);
}

bool vs_style_is_closed(const struct vs_style *style, const char *prompt, size_t n)
{
    return style->think && ends_with(prompt, n, style->think->close);
}

void vs_style_describe(const json_t *tools, struct vs_buf *out)
{
    size_t i;
    const json_t *tool;
    vs_buf_str(out, "You can call functions. Here they are, a JSON object a line:\n");
    json_array_foreach(tools, i, tool) {
        vs_json_dump(tool, out);
        vs_buf_str(out, "\n");
    }
    vs_buf_str(out, "To call one, answer with a JSON object that has its name and its arguments, within <tool_call></tool_call>:\n"
                    "<tool_call>\n{\"name\": \"NAME\", \"arguments\": {...}}\n</tool_call>\n"
                    "What it returns comes within <tool_response></tool_response>. When no function is needed, just answer.");
}
