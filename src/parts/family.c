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

#define TAGGED_FORM { "<tool_call>\n", "", "", "\n</tool_call>\n<tool_call>\n", "\n</tool_call>", NULL }
#define LLAMA_FORM { "", "", "", "; ", NULL, NULL }
#define LIQUID(word) { .name = "liquid", .sign = { word }, .section = NO_MARKS, .begin = MARKS1(LIQUID_CALL), \
    .end = MARKS1(KIMI_END_CALL), .keys = &arguments, .code = &python, \
    .form = { "<|tool_call_start|>[", "", "(", ", ", "]<|tool_call_end|>", &python_arguments } }
#define HUNYUAN(word) { .name = "keys", .sign = { word }, .section = MARKS1(HY_CALLS), .begin = MARKS1(HY_CALL), \
    .end = MARKS1(HY_END_CALLS), .tags = &hy_keys_and_values, \
    .form = { "<tool_calls:opensource>\n<tool_call:opensource>", "", "<tool_sep:opensource>\n", "\n<tool_call:opensource>", \
              "\n</tool_calls:opensource>", &hy_key_tags } }
#define PIPES(word) { .name = "pipes", .sign = { word }, .section = NO_MARKS, .begin = MARKS1(PIPE_CALL), \
    .end = MARKS1(PIPE_END_CALL), .keys = &arguments, \
    .form = { "<|tool_call|>[", "", "", ", ", "]<|/tool_call|>", NULL } }

/* Qwen3-Coder: <tool_call> <function=NAME> <parameter=KEY> VALUE </parameter> ... </function> </tool_call>; Seed-OSS */
static const struct vs_tags functions = {
    .name_end = ">", .name_tail = "", .key_open = "<parameter=", .key_close = ">", .value_open = "", .value_close = "</parameter>",
    .end = "</function>", .end_mark = NO_MARK, .has_lines = true,
};
/* MiniMax M2: <minimax:tool_call> <invoke name="NAME"> <parameter name="KEY">VALUE</parameter> ... </invoke> ...
 * </minimax:tool_call> */
static const struct vs_tags invocations = {
    .name_end = ">", .name_tail = "", .key_open = "<parameter name=\"", .key_close = ">", .value_open = "",
    .value_close = "</parameter>", .end = "</invoke>", .end_mark = NO_MARK, .has_attributes = true,
};
/* DeepSeek 3.2 and 4: the same with another prefix, and each value says whether it is text or JSON */
static const struct vs_tags dsml_invocations = {
    .name_end = ">", .name_tail = "", .key_open = "<｜DSML｜parameter name=\"", .key_close = ">", .value_open = "",
    .value_close = "</｜DSML｜parameter>", .end = "</｜DSML｜invoke>", .end_mark = NO_MARK, .has_attributes = true,
    .text_sign = "string=\"true\"",
};
/* MiniMax M3: ]<]minimax[>[ in front of each tag, <KEY>VALUE</KEY>, and values are tags in turn */
#define M3 "]<]minimax[>[<"
static const struct vs_tags nested_tags = {
    .name_end = ">", .name_tail = "", .key_open = M3, .key_close = ">", .value_open = "", .value_close = M3 "/",
    .end = M3 "/invoke>", .end_mark = NO_MARK, .has_attributes = true, .is_nested = true,
};
/* MiniCPM 5: <function name="NAME"><param name="KEY">VALUE</param> ... </function> */
static const struct vs_tags params = {
    .name_end = ">", .name_tail = "", .key_open = "<param name=\"", .key_close = ">", .value_open = "", .value_close = "</param>",
    .end = "</function>", .end_mark = NO_MARK, .has_attributes = true,
};
/* GLM 4.5 and later: <tool_call>NAME <arg_key>KEY</arg_key> <arg_value>VALUE</arg_value> ... </tool_call> */
static const struct vs_tags keys_and_values = {
    .name_end = "", .name_tail = "", .key_open = "<arg_key>", .key_close = "</arg_key>", .value_open = "<arg_value>",
    .value_close = "</arg_value>", .end = "</tool_call>", .end_mark = VS_MARK_END_CALL,
};
/* Hunyuan 3: the same, each tag with a suffix */
static const struct vs_tags hy_keys_and_values = {
    .name_end = "", .name_tail = "<tool_sep:opensource>", .key_open = "<arg_key:opensource>", .key_close = "</arg_key:opensource>",
    .value_open = "<arg_value:opensource>", .value_close = "</arg_value:opensource>", .end = "</tool_call:opensource>",
    .end_mark = VS_MARK_HY_END_CALL,
};
/* Kimi K3: <|open|>call tool="NAME" index="1"<|sep|> <|open|>argument key="KEY" type="string"<|sep|>VALUE
 * <|close|>argument<|sep|> */
static const struct vs_tags elements = {
    .name_end = "<|sep|>", .name_tail = "", .key_open = "<|open|>argument key=\"", .key_close = "<|sep|>", .value_open = "",
    .value_close = "<|close|>argument<|sep|>", .end = "<|close|>call<|sep|>", .end_mark = NO_MARK, .has_attributes = true,
    .text_sign = "type=\"string\"",
};

/* LFM2, Llama 4: [NAME(KEY=VALUE, ...), ...]; OLMo 3: one a line */
static const struct vs_code python = { "", '(', '=', ')', NO_MARK, true };
/* Gemma 4: call:NAME{KEY:VALUE, ...}, texts between <|"|> */
static const struct vs_code gemma = { "call:", '{', ':', '}', VS_MARK_GEMMA_QUOTE, false };
/* FunctionGemma: texts between <escape> */
static const struct vs_code function_gemma = { "call:", '{', ':', '}', VS_MARK_ESCAPE, false };

static const struct vs_call_keys arguments = { NULL, "name", "arguments" };
static const struct vs_call_keys parameters = { NULL, "name", "parameters" };
static const struct vs_call_keys tool_parameters = { NULL, "tool_name", "parameters" };
static const struct vs_call_keys id_tool_parameters = { "tool_call_id", "tool_name", "parameters" };
static const struct vs_call_keys by_name = { NULL, NULL, NULL };        /* {NAME: ARGUMENTS} */

static const char *const deepseek_noise[] = { "```json", "```", "function", NULL };
static const char *const kimi_noise[] = { "functions.", NULL };
static const char *const no_noise[] = { NULL };

/* How calls are written that are held to their form: begin, open NAME close ARGUMENTS, between. */
static const struct vs_call_tags function_tags = {
    .key_open = "<parameter=", .key_close = ">\n", .value_close = "\n</parameter>\n", .end = "</function>",
};
static const struct vs_call_tags invoke_tags = {
    .key_open = "<parameter name=\"", .key_close = "\">", .value_close = "</parameter>\n", .end = "</invoke>",
};
static const struct vs_call_tags dsml_tags = {
    .key_open = "<｜DSML｜parameter name=\"", .key_close = "\" string=\"true\">", .value_close = "</｜DSML｜parameter>\n",
    .end = "</｜DSML｜invoke>", .json_close = "\" string=\"false\">", .json_end = "</｜DSML｜parameter>\n",
};
static const struct vs_call_tags param_tags = {
    .key_open = "<param name=\"", .key_close = "\">", .value_close = "</param>", .end = "</function>",
};
static const struct vs_call_tags key_tags = {
    .key_open = "<arg_key>", .key_close = "</arg_key>\n<arg_value>", .value_close = "</arg_value>\n", .end = "</tool_call>",
};
static const struct vs_call_tags hy_key_tags = {
    .key_open = "<arg_key:opensource>", .key_close = "</arg_key:opensource>\n<arg_value:opensource>",
    .value_close = "</arg_value:opensource>\n", .end = "</tool_call:opensource>",
};
static const struct vs_call_tags element_tags = {
    .key_open = "<|open|>argument key=\"", .key_close = "\" type=\"string\"<|sep|>", .value_close = "<|close|>argument<|sep|>",
    .end = "<|close|>call<|sep|>", .json_close = "\" type=\"%s\"<|sep|>", .json_end = "<|close|>argument<|sep|>",
};
static const struct vs_call_tags m3_tags = {
    .key_open = M3, .key_close = ">", .value_close = M3 "/%s>", .end = "\n" M3 "/invoke>",
};
static const struct vs_call_tags python_arguments = {
    .key_open = "", .json_close = "=", .json_end = "", .end = ")", .between = ", ",
};
static const struct vs_call_tags gemma_arguments = {
    .key_open = "", .key_close = ":<|\"|>", .value_close = "<|\"|>", .json_close = ":", .json_end = "", .end = "}", .between = ",",
};
static const struct vs_call_tags function_gemma_arguments = {
    .key_open = "", .key_close = ":<escape>", .value_close = "<escape>", .json_close = ":", .json_end = "", .end = "}"
      "", .between = ",",
};

static const struct vs_family families[] = {
    { .name = "channels", .sign = { "<|channel|>", "<|message|>" }, .section = NO_MARKS, .begin = NO_MARKS, .end = NO_MARKS,
      .is_channels = true,
      .form = { "<|channel|>commentary to=functions.", "", " <|constrain|>json<|message|>", NULL, NULL, NULL } },
    { .name = "elements", .sign = { "<|open|>", "<|close|>" }, .section = MARKS1(K3_CALLS), .begin = MARKS1(K3_CALL),
      .end = MARKS2(K3_END_CALLS, K3_END_MESSAGE), .tags = &elements,
      .form = { "<|open|>tools<|sep|><|open|>call tool=\"", "", "\" index=\"1\"<|sep|>", NULL, NULL, &element_tags } },
    { .name = "nested", .sign = { "]<]minimax[>[" }, .section = MARKS1(M3_CALLS), .begin = MARKS1(M3_INVOKE),
      .end = MARKS1(M3_END_CALLS), .tags = &nested_tags,
      .form = { M3 "tool_call>\n" M3 "invoke name=\"", "", "\">", "\n" M3 "invoke name=\"", "\n" M3 "/tool_call>", &m3_tags } },
    { .name = "dsml", .sign = { "｜DSML｜", "function_calls>" }, .section = MARKS1(DSML_FUNCTIONS), .begin = MARKS1(DSML_INVOKE),
      .end = MARKS1(DSML_END_FUNCTIONS), .tags = &dsml_invocations,
      .form = { "\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"", "", "\">\n", "\n<｜DSML｜invoke name=\"",
                "\n</｜DSML｜function_calls>", &dsml_tags } },
    { .name = "dsml", .sign = { "｜DSML｜" }, .section = MARKS1(DSML_CALLS), .begin = MARKS1(DSML_INVOKE),
      .end = MARKS1(DSML_END_CALLS), .tags = &dsml_invocations,
      .form = { "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"", "", "\">\n", "\n<｜DSML｜invoke name=\"",
                "\n</｜DSML｜tool_calls>", &dsml_tags } },
    { .name = "gemma", .sign = { "<|tool_call>" }, .section = NO_MARKS, .begin = MARKS1(GEMMA_CALL), .end = MARKS1(GEMMA_END_CALL),
      .code = &gemma,
      .form = { "<|tool_call>", "call:", "{", "<tool_call|><|tool_call>", "<tool_call|>", &gemma_arguments } },
    { .name = "gemma", .sign = { "<start_function_call>" }, .section = NO_MARKS, .begin = MARKS1(START_CALL),
      .end = MARKS1(END_START_CALL), .code = &function_gemma,
      .form = { "<start_function_call>", "call:", "{", "<end_function_call><start_function_call>", "<end_function_call>",
                &function_gemma_arguments } },
    LIQUID("<|tool_call_start|>"), LIQUID("<|tool_list_start|>"), LIQUID("List of tools: ["),
    { .name = "olmo", .sign = { "<function_calls>" }, .section = NO_MARKS, .begin = MARKS1(OLMO_CALLS),
      .end = MARKS1(OLMO_END_CALLS), .code = &python,
      .form = { "<function_calls>\n", "", "(", "\n", "\n</function_calls>", &python_arguments } },
    { .name = "by_name", .sign = { "<|tools_prefix|>" }, .section = NO_MARKS, .begin = MARKS1(TOOLS_PREFIX),
      .end = MARKS1(TOOLS_SUFFIX), .keys = &by_name,
      .form = { "<|tools_prefix|>[", "", "", ", ", "]<|tools_suffix|>", NULL } },
    { .name = "command", .sign = { "<|START_ACTION|>" }, .section = NO_MARKS, .begin = MARKS1(START_ACTION),
      .end = MARKS1(END_ACTION), .keys = &id_tool_parameters,
      .form = { "<|START_ACTION|>[\n    ", "", "", ",\n    ", "\n]<|END_ACTION|>", NULL } },
    { .name = "command", .sign = { "Action:", "```json", "tool_name" }, .section = MARKS1(ACTION), .begin = MARKS1(FENCE_JSON),
      .end = MARKS1(FENCE), .keys = &tool_parameters,
      .form = { "Action: ```json\n[\n    ", "", "", ",\n    ", "\n]```", NULL } },
    { .name = "solar", .sign = { "<|tool_call:begin|>" }, .section = MARKS2(SOLAR_ROLE, SOLAR_CALLS), .begin = MARKS1(SOLAR_CALL),
      .end = MARKS1(SOLAR_END_CALL), .noise = no_noise,
      .form = { "<|tool_calls|><|tool_call:begin|>", "0<|tool_call:name|>", "<|tool_call:args|>", "<|tool_call:end|>"
      "<|tool_call:begin|>",
                "<|tool_call:end|>", NULL } },
    { .name = "seed", .sign = { "<seed:tool_call>" }, .section = MARKS1(SEED_CALL), .begin = MARKS1(FUNCTION),
      .end = MARKS1(SEED_END_CALL), .tags = &functions,
      .form = { "<seed:tool_call>\n<function=", "", ">\n", "\n</seed:tool_call>\n<seed:tool_call>\n<function=",
                "\n</seed:tool_call>", &function_tags } },
    { .name = "functions", .sign = { "<function=", "<parameter=" }, .section = MARKS1(CALL), .begin = MARKS1(FUNCTION),
      .end = MARKS1(END_CALL), .tags = &functions,
      .form = { "<tool_call>\n<function=", "", ">\n", "\n</tool_call>\n<tool_call>\n<function=", "\n</tool_call>",
                &function_tags } },
    { .name = "functionary", .sign = { "<function=" }, .section = NO_MARKS, .begin = MARKS1(FUNCTION), .end = NO_MARKS,
      .noise = no_noise, .tail = "</function>",
      .form = { "<function=", "", ">", "</function><function=", "</function>", NULL } },
    { .name = "functionary", .sign = { ">>>all" }, .section = NO_MARKS, .begin = MARKS1(ARROWS), .end = NO_MARKS, .noise = no_noise,
      .lead = ">>>", .form = { "", "", "\n", ">>>", NULL, NULL } },
    { .name = "params", .sign = { "<function name=", "<param name=" }, .section = NO_MARKS, .begin = MARKS1(NAMED_FUNCTION),
      .end = NO_MARKS, .tags = &params,
      .form = { "<function name=\"", "", "\">", "\n<function name=\"", NULL, &param_tags } },
    { .name = "minimax", .sign = { "<minimax:tool_call>", "<invoke name=" }, .section = MARKS1(MINIMAX_CALLS),
      .begin = MARKS1(INVOKE), .end = MARKS1(MINIMAX_END_CALLS), .tags = &invocations,
      .form = { "<minimax:tool_call>\n<invoke name=\"", "", "\">\n", "\n<invoke name=\"", "\n</minimax:tool_call>",
                &invoke_tags } },
    HUNYUAN("<tool_sep{}>"), HUNYUAN("<tool_sep:opensource>"),
    { .name = "keys", .sign = { "<arg_key>", "<arg_value>" }, .section = NO_MARKS, .begin = MARKS1(CALL), .end = NO_MARKS,
      .tags = &keys_and_values, .form = { "<tool_call>", "", "\n", "\n<tool_call>", NULL, &key_tags } },
    { .name = "deepseek", .sign = { "<｜tool▁call▁begin｜>", "```json" }, .section = MARKS1(DEEPSEEK_CALLS),
      .begin = MARKS1(DEEPSEEK_CALL), .end = MARKS2(DEEPSEEK_END_CALL, DEEPSEEK_END_CALLS), .tail = "```",
      .noise = deepseek_noise,
      .form = { "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>", "function<｜tool▁sep｜>", "\n```json\n",
                "\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>", "\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>", NULL } },
    { .name = "deepseek", .sign = { "<｜tool▁call▁begin｜>" }, .section = MARKS1(DEEPSEEK_CALLS),
      .begin = MARKS1(DEEPSEEK_CALL), .end = MARKS2(DEEPSEEK_END_CALL, DEEPSEEK_END_CALLS), .tail = "```",
      .noise = deepseek_noise,
      .form = { "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>", "", "<｜tool▁sep｜>", "<｜tool▁call▁end｜><｜tool▁call▁begin｜>",
                "<｜tool▁call▁end｜><｜tool▁calls▁end｜>", NULL } },
    { .name = "kimi", .sign = { "<|tool_call_begin|>" }, .section = MARKS1(KIMI_CALLS), .begin = MARKS1(KIMI_CALL),
      .end = MARKS2(KIMI_END_CALL, KIMI_END_CALLS), .noise = kimi_noise,
      .form = { "<|tool_calls_section_begin|><|tool_call_begin|>", "functions.", ":0<|tool_call_argument_begin|>",
                "<|tool_call_end|><|tool_call_begin|>", "<|tool_call_end|><|tool_calls_section_end|>", NULL } },
    { .name = "mistral", .sign = { "[TOOL_CALLS]" }, .section = NO_MARKS, .begin = MARKS1(TOOL_CALLS), .end = NO_MARKS,
      .noise = no_noise, .keys = &arguments, .form = { "[TOOL_CALLS][", "", "", ", ", "]", NULL } },
    { .name = "gigachat", .sign = { "<|function_call|>" }, .section = NO_MARKS, .begin = MARKS2(FUNCTION_CALL, GIGA_CALL),
      .end = NO_MARKS, .keys = &arguments, .form = { "<|function_call|>", "", "", NULL, NULL, NULL } },
    { .name = "gigachat", .sign = { "'function call'", "<|role_sep|>" }, .section = MARKS1(MESSAGE_SEP),
      .begin = MARKS2(GIGA_CALL, FUNCTION_CALL), .end = NO_MARKS, .keys = &arguments,
      .form = { "<|message_sep|>\n\nfunction call<|role_sep|>\n", "", "", NULL, NULL, NULL } },
    { .name = "tool_calls", .sign = { "<tool_calls>", "<beginning_of_sentence>" }, .section = NO_MARKS, .begin = MARKS1(TAG_CALLS),
      .end = MARKS1(TAG_END_CALLS), .keys = &arguments, .is_repeated = true,
      .form = { "<tool_calls>\n", "", "", "\n", "\n</tool_calls>", NULL } },
    { .name = "tool_calls", .sign = { "<tool_calls>" }, .section = NO_MARKS, .begin = MARKS1(TAG_CALLS),
      .end = MARKS1(TAG_END_CALLS), .keys = &arguments, .is_repeated = true,
      .form = { "<tool_calls>[", "", "", ", ", "]</tool_calls>", NULL } },
    { .name = "toolcall", .sign = { "<TOOLCALL>" }, .section = NO_MARKS, .begin = MARKS1(UPPER_CALL), .end = MARKS1(UPPER_END_CALL),
      .keys = &arguments, .form = { "<TOOLCALL>[", "", "", ", ", "]</TOOLCALL>", NULL } },
    { .name = "hermes", .sign = { "<tool_call>" }, .section = NO_MARKS, .begin = MARKS1(CALL), .end = MARKS1(END_CALL),
      .keys = &arguments, .is_bare = true, .form = TAGGED_FORM },
    PIPES("<|tool_call|>"), PIPES("<|tool|>"),
    { .name = "functools", .sign = { "functools" }, .section = NO_MARKS, .begin = MARKS1(FUNCTOOLS), .end = NO_MARKS,
      .keys = &arguments, .form = { " functools[", "", "", ", ", "]", NULL } },
    /* Their marks are for code, too: forced calls stand alone. */
    { .name = "llama", .sign = { "<|python_start|>" }, .section = NO_MARKS, .begin = MARKS2(PYTHON_START, PYTHON),
      .end = MARKS1(PYTHON_END), .keys = &parameters, .code = &python, .is_bare = true, .form = LLAMA_FORM },
    { .name = "llama", .sign = { "[func_name1(" }, .section = NO_MARKS, .begin = MARKS2(PYTHON_START, PYTHON),
      .end = MARKS1(PYTHON_END), .keys = &parameters, .code = &python, .is_bare = true,
      .form = { "[", "", "(", ", ", "]", &python_arguments } },
    { .name = "llama", .sign = { "<|python_tag|>" }, .section = NO_MARKS, .begin = MARKS1(PYTHON), .end = NO_MARKS,
      .keys = &parameters, .is_bare = true, .form = LLAMA_FORM },
    { .name = "llama", .sign = { "\"parameters\": dictionary of argument name" }, .section = NO_MARKS,
      .begin = MARKS1(PYTHON), .end = NO_MARKS, .keys = &parameters, .is_bare = true, .form = LLAMA_FORM },
    { .name = "plain", .section = NO_MARKS, .begin = MARKS2(CALL, PYTHON), .end = MARKS1(END_CALL), .keys = &arguments,
      .is_bare = true, .form = TAGGED_FORM },
};
enum { N_FAMILIES = sizeof families / sizeof *families };

/* What has begun is the first of them that the template has both marks of; else the first with one of them. */
static const struct vs_think thinks[] = {
    { VS_MARK_THINK, VS_MARK_END_THINK, "\n\n" },
    { VS_MARK_MISTRAL_THINK, VS_MARK_MISTRAL_END_THINK, "\n\n" },
    { VS_MARK_SEED_THINK, VS_MARK_SEED_END_THINK, "\n\n" },
    { VS_MARK_GEMMA_THINK, VS_MARK_GEMMA_END_THINK, "" },
    { VS_MARK_INNER_PREFIX, VS_MARK_INNER_SUFFIX, "" },
    { VS_MARK_START_THINKING, VS_MARK_END_THINKING, "" },
    { VS_MARK_HY_THINK, VS_MARK_HY_END_THINK, "" },
    { VS_MARK_K3_THINK, VS_MARK_K3_END_THINK, "" },
    { VS_MARK_M3_THINK, VS_MARK_M3_END_THINK, "" },
    { VS_MARK_STEPS, VS_MARK_FINAL, "\n" },
    { VS_MARK_SOLAR_THINK, VS_MARK_END, "" },
};

/* Some build their marks: what stands in the template instead. */
static const struct { uint8_t mark; const char *sign; } built[] = {
    { VS_MARK_HY_THINK, "<think{}>" }, { VS_MARK_HY_END_THINK, "</think{}>" },
    { VS_MARK_K3_THINK, "<|open|>" }, { VS_MARK_K3_END_THINK, "<|close|>" },
    { VS_MARK_K3_RESPONSE, "<|open|>" },
};

static const struct vs_wrap wraps[] = {
    { VS_MARK_START_RESPONSE, MARKS1(START_RESPONSE), MARKS1(END_RESPONSE) },
    { VS_MARK_START_TEXT, MARKS1(START_TEXT), MARKS1(END_TEXT) },
    { VS_MARK_SOLAR_CONTENT, MARKS2(SOLAR_ROLE, SOLAR_CONTENT), MARKS1(END) },
    { VS_MARK_K3_RESPONSE, MARKS1(K3_RESPONSE), MARKS2(K3_END_RESPONSE, K3_END_MESSAGE) },
    { VS_MARK_FINAL, NO_MARKS, MARKS1(END_FINAL) },
    { VS_MARK_RESPONSE, MARKS1(RESPONSE), MARKS1(TAG_END_RESPONSE) },
    { VS_MARK_ANSWER, MARKS1(ANSWER), MARKS1(END_ANSWER) },
    { VS_MARK_ARROWS_ALL, MARKS1(ARROWS_ALL), NO_MARKS },
};

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

static bool shows(unsigned mark, const char *template, size_t n)
{
    for (size_t i = 0; i < sizeof built / sizeof *built; i++)
        if (built[i].mark == mark && has(template, n, built[i].sign))
            return true;
    return has(template, n, vs_mark_text[mark]);
}

void vs_style_detect(const char *template, size_t n, struct vs_style *ret)
{
    *ret = (struct vs_style){ 0 };
    for (size_t i = 0; i < N_FAMILIES && !ret->family; i++)
        if (is_of(&families[i], template, n))
            ret->family = &families[i];
    for (int least = 2; least > 0 && !ret->think; least--)
        for (size_t i = 0; i < sizeof thinks / sizeof *thinks && !ret->think; i++)
            if (shows(thinks[i].open, template, n) + shows(thinks[i].close, template, n) >= least)
                ret->think = &thinks[i];
    for (size_t i = 0; i < sizeof wraps / sizeof *wraps && !ret->wrap; i++)
        if (shows(wraps[i].sign, template, n))
            ret->wrap = &wraps[i];
}

static void close_reasoning(const struct vs_style *style, bool is_open, struct vs_buf *out)
{
    if (!is_open)
        return;
    vs_buf_str(out, vs_mark_text[style->think->close]);
    vs_buf_str(out, style->think->gap);
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

const struct vs_call_keys *vs_style_keys(const struct vs_style *style)
{
    return style->family->form.tags ? NULL : style->family->keys;
}

bool vs_style_is_bare(const struct vs_style *style)
{
    return style->family->is_bare && vs_style_keys(style);
}

bool vs_style_names_first(const struct vs_style *style)
{
    return style->family->is_channels;
}

/* No text of UTF-8 has such bytes. */
void vs_mark_code(enum vs_mark mark, char ret[VS_MARK_CODE])
{
    static_assert(VS_N_MARKS <= 343, "a mark is three digits of 7");
    unsigned m = mark;
    ret[0] = '\xff';
    for (int i = VS_MARK_CODE - 1; i > 0; m /= 7)
        ret[i--] = (char)(0xf8 + m % 7);
}

enum vs_mark vs_mark_of_code(const char code[VS_MARK_CODE])
{
    unsigned m = 0;
    for (int i = 1; i < VS_MARK_CODE; i++)
        m = 7 * m + (uint8_t)code[i] - 0xf8;
    return (enum vs_mark)m;
}

unsigned vs_mark_at(const char *text, const bool is_control[VS_N_MARKS])
{
    unsigned best = VS_N_MARKS;
    size_t longest = 0;
    for (unsigned m = 0; m < VS_N_MARKS; m++) {
        if (!is_control[m] || *text != *vs_mark_text[m])
            continue;
        size_t n = strlen(vs_mark_text[m]);
        if (n > longest && strncmp(text, vs_mark_text[m], n) == 0) {
            best = m;
            longest = n;
        }
    }
    return best;
}

void vs_style_spell(const char *text, const bool is_control[VS_N_MARKS], struct vs_buf *out)
{
    for (size_t n; *text; text += n) {
        unsigned m = vs_mark_at(text, is_control);
        char code[VS_MARK_CODE];
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

bool vs_style_leads(const struct vs_style *style, const char *prompt, size_t n)
{
    return style->family->lead && ends_with(prompt, n, style->family->begin[0]);
}

const char *vs_style_lead(const struct vs_style *style)
{
    return style->family->lead;
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
