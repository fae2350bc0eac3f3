/* unit/parts.c - the parts of answers, family by family, cut everywhere. rooms: parts grammar ipc base */
#include "parts/parts.h"

#include "base/utf8.h"
#include "ipc/json.h"
#include "parts/literal.h"
#include "parts/scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static const char tools_text[] =
    "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"parameters\":{\"type\":\"object\","
      "\"properties\":{"
    "\"city\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\"},\"where\":{\"type\":\"object\"},\"wet\":{\"type\":\"boole"
      "an\"}}}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"add\",\"parameters\":{\"type\":\"object\"}}},{\"name\":\"flat\"}]}";

/* Words of templates, as their makers publish them. */
#define HERMES "<tools></tools> {{ '<tool_call>' }}"
#define THINKS "<tool_call> <think> </think>"
#define FUNCTIONS "<tool_call> <function=example> <parameter=x> </think>"
#define KEYS "<tool_call> <arg_key> <arg_value>"
#define DEEPSEEK "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜> </think>"
#define MISTRAL "[TOOL_CALLS] [AVAILABLE_TOOLS] [THINK]"
#define LLAMA "<|python_tag|>"
#define KIMI "<|tool_calls_section_begin|><|tool_call_begin|>"
#define CHANNELS "<|channel|> <|message|>"
#define PIPES "<|tool_call|>"
#define PLAIN "{{ messages }}"
#define MINIMAX "<minimax:tool_call> <invoke name="
#define DSML3 "｜DSML｜ <｜DSML｜function_calls> <think> </think>"
#define DSML4 "｜DSML｜ tool_calls"
#define GEMMA "<|tool_call>call:{{ name }}{ <|channel>thought <channel|>"
#define FUNCTION_GEMMA "<start_function_call>"
#define LIQUID "<|tool_list_start|>"
#define LLAMA4 "<|python_start|>"
#define PYTHONIC "in the format of [func_name1(params_name1=params_value1...)]"
#define OLMO "<function_calls>"
#define APERTUS "<|tools_prefix|> <|inner_prefix|> <|inner_suffix|>"
#define COMMAND "<|START_ACTION|> <|START_THINKING|> <|END_THINKING|> <|START_RESPONSE|>"
#define COMMAND_PLUS "Action: ```json tool_name"
#define TAG_CALLS "<tool_calls>"
#define APRIEL "<tool_calls> Here are my reasoning steps: [BEGIN FINAL RESPONSE]"
#define NEMOTRON "<TOOLCALL>"
#define FIREFUNCTION "functools"
#define GIGACHAT "'function call' <|role_sep|>"
#define SEED "<seed:tool_call> <function= <seed:think> </seed:think>"
#define SOLAR "<|tool_call:begin|> <|think|> <|content|>"
#define FUNCTIONARY1 "<function="
#define FUNCTIONARY2 ">>>all"
#define PARAMS "<function name= <param name="
#define HY "<tool_sep{}> <think{}> </think{}>"
#define ELEMENTS "<|open|> <|close|>"
#define NESTED "]<]minimax[>[ <mm:think> </mm:think>"
#define ANSWERS "<tool_call> <think> </think> <answer>"
#define M3 "]<]minimax[>[<"

static const struct {
    const char *template, *answer;
    const char *want;                    /* C content, R reasoning, 0 1 2 the calls; a | between parts */
    const char *family;
} cases[] = {
    /* no call */
    { HERMES, "Hello there", "C Hello there", "hermes" },
    { HERMES, "", "", "hermes" },
    { HERMES, " \n", "C  \n", "hermes" },
    { HERMES, " a < b <tool", "C  a < b <tool", "hermes" },
    { HERMES, "{\"a\": 1}\n", "C {\"a\": 1}\n", "hermes" },
    { HERMES, "[1] is {\"name\":", "C [1] is {\"name\":", "hermes" },
    { HERMES, "<think>no mark here</think>", "C <think>no mark here</think>", "hermes" },
    /* Hermes, Qwen */
    { HERMES, "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": [1, \"}\"]}}\n</tool_call>", "0 add\n{\"a\": [1, \"}\""
      "]}", "hermes" },
    { HERMES, "I look.\n\n<tool_call>{\"arguments\":{},\"name\":\"add\"}</tool_call>\n", "C I look.|0 add\n{}", "hermes" },
    { HERMES, "<tool_call>{\"name\":\"add\",\"arguments\":{}}</tool_call>\n<tool_call>\n{\"name\":\"get_weather\",\"argument"
      "s\":{\"city\":\"\\u00dc\"}}\n</tool_call>",
      "0 add\n{}|1 get_weather\n{\"city\":\"\\u00dc\"}", "hermes" },
    { HERMES, "<tool_call>{\"name\":\"flat\",\"arguments\":{}}</tool_call> done", "0 flat\n{}|C done", "hermes" },
    { HERMES, "<tool_call>{\"name\":\"add\",\"arguments\":\"{\\\"a\\\":1}\"}</tool_call>", "0 add\n{\"a\":1}", "hermes" },
    { HERMES, "<tool_call>{\"name\":\"add\"}</tool_call>", "0 add\n{}", "hermes" },
    { HERMES, "{\"name\": \"add\", \"arguments\": {\"a\": 1}}", "0 add\n{\"a\": 1}", "hermes" },
    { HERMES, " {\"name\": \"add\", \"parameters\": {}}\n{\"name\": \"add\", \"arguments\": {}}", "0 add\n{}|1 add\n{}"
      "", "hermes" },
    /* in a fence of Markdown or in braces, where the answer begins */
    { HERMES, "{{\"name\": \"add\", \"arguments\": {\"a\": {}}}}", "0 add\n{\"a\": {}}", "hermes" },
    { HERMES, "{{\"name\": \"add\", \"arguments\": {}}}\n{{\"name\": \"flat\", \"arguments\": {}} }\nSo",
      "0 add\n{}|1 flat\n{}|C So", "hermes" },
    { HERMES, "```json\n{{\"name\": \"add\", \"arguments\": {}}}\n```", "0 add\n{}", "hermes" },
    { HERMES, "{{\"name\": \"sub\", \"arguments\": {}}}", "C {{\"name\": \"sub\", \"arguments\": {}}}", "hermes" },
    { HERMES, "{{\"name\": \"add\", \"arguments\": {}}} }", "0 add\n{}|C }", "hermes" },
    { HERMES, "{", "C {", "hermes" },                    { HERMES, "{{", "C {{", "hermes" },
    { HERMES, "{{{", "C {{{", "hermes" },
    { HERMES, "{\"name\": \"add\", \"arguments\": {}}, {\"a\": 1}", "0 add\n{}|C , {\"a\": 1}", "hermes" },
    { HERMES, "```json\n{\n  \"name\": \"add\",\n  \"arguments\": {\"a\": 1}\n}\n```", "0 add\n{\"a\": 1}", "hermes" },
    { HERMES, "\n```\n[{\"name\": \"add\", \"arguments\": {}}, {\"name\": \"flat\", \"arguments\": {}}]\n```\nDone ```x```",
      "0 add\n{}|1 flat\n{}|C Done ```x```", "hermes" },
    { HERMES, "```json\n{\"name\": \"add\", \"arguments\": {}}\n{\"name\": \"add\", \"arguments\": {}}\n```\n\n```tool_call {"
      "\"name\": \"flat\", \"arguments\": {}}```", "0 add\n{}|1 add\n{}|2 flat\n{}", "hermes" },
    { LLAMA, "```json\n{\"name\": \"add\", \"parameters\": {\"a\": 1}}", "0 add\n{\"a\": 1}", "llama" },
    { PLAIN, "```\n{\"name\": \"add\", \"arguments\": {}}\n``", "0 add\n{}|C ``", "plain" },
    { HERMES, "```json\n{\"name\": \"sub\", \"arguments\": {}}\n```", "C ```json\n{\"name\": \"sub\", \"arguments\": {}}\n```",
      "hermes" },
    { HERMES, "```json\n{\"name\": \"add\", \"arguments\": {}, \"why\": 1}\n```",
      "C ```json\n{\"name\": \"add\", \"arguments\": {}, \"why\": 1}\n```", "hermes" },
    { HERMES, "Like so: ```json\n{\"name\": \"add\", \"arguments\": {}}\n```",
      "C Like so: ```json\n{\"name\": \"add\", \"arguments\": {}}\n```", "hermes" },
    { HERMES, "``", "C ``", "hermes" },                  { HERMES, "```", "C ```", "hermes" },
    { HERMES, " ```json", "C  ```json", "hermes" },      { HERMES, "```json \n ", "C ```json \n ", "hermes" },
    { HERMES, "```python\nadd()\n```", "C ```python\nadd()\n```", "hermes" },
    { HERMES, "```json5 {}", "C ```json5 {}", "hermes" }, { HERMES, "```{}```", "C ```{}```", "hermes" },
    /* broken: content, byte for byte */
    { HERMES, "<tool_call>{\"name\":\"sub\",\"arguments\":{}}</tool_call>", "C <tool_call>{\"name\":\"sub\",\"arguments\":{}}"
      "</tool_call>", "hermes" },
    { HERMES, "x <tool_call>{\"name\":\"add\",\"arguments\":{\"a\":}} y", "C x <tool_call>{\"name\":\"add\",\"arguments\":{\""
      "a\":}} y", "hermes" },
    { HERMES, "<tool_call>{\"name\":\"add\",\"arguments\":[1]}</tool_call>", "C <tool_call>{\"name\":\"add\",\"arguments\":[1"
      "]}</tool_call>", "hermes" },
    { HERMES, "<tool_call>{\"name\":\"add\",\"arguments\":{\"a\":1,\"a\":2}}", "C <tool_call>{\"name\":\"add\",\"arguments\":"
      "{\"a\":1,\"a\":2}}", "hermes" },
    { HERMES, "<tool_call>{\"name\":\"add\",\"arguments\":{\"a\"", "C <tool_call>{\"name\":\"add\",\"arguments\":{\"a\"", "he"
      "rmes" },
    { HERMES, "<tool_call> hm <tool_call>{\"name\":\"add\"}", "C <tool_call> hm|0 add\n{}", "hermes" },
    { HERMES, "<tool_call>{<tool_call>{\"name\":\"add\"}", "C <tool_call>{|0 add\n{}", "hermes" },
    { HERMES, "<tool_call>[]</tool_call>", "C <tool_call>[]</tool_call>", "hermes" },
    { HERMES, "{\"name\": \"add\"}", "C {\"name\": \"add\"}", "hermes" },
    { HERMES, "{\"name\": \"add\", \"arguments\": {}, \"age\": 3}", "C {\"name\": \"add\", \"arguments\": {}, \"age\": 3}", ""
      "hermes" },
    { HERMES, "<tool_call>{\"name\":7,\"arguments\":{}}", "C <tool_call>{\"name\":7,\"arguments\":{}}", "hermes" },
    /* reasoning */
    { THINKS, "<think>\nLet me see.\n</think>\n\nYes.", "R Let me see.|C Yes.", "hermes" },
    { THINKS, "\n<think>a < b</thinks></think><tool_call>{\"name\":\"add\"}</tool_call>", "R a < b</thinks>|0 add\n{}", "hermes" },
    { THINKS, "<think>I could <tool_call>{\"name\":\"add\"}</tool_call>.</think> No", "R I could <tool_call>{\"name\":\"add\""
      "}</tool_call>.|C No", "hermes" },
    { THINKS, "<think>cut of", "R cut of", "hermes" },
    { THINKS, "<think>\n\n</think>\n\nHi", "C Hi", "hermes" },
    { THINKS, "Hi <think>x</think>", "C Hi <think>x</think>", "hermes" },
    { THINKS, "<think>x</think>\n", "R x", "hermes" },
    { THINKS, "<think>x</think>{\"name\": \"add\", \"arguments\": {}}", "R x|0 add\n{}", "hermes" },
    { MISTRAL, "[THINK]so[/THINK]then", "R so|C then", "mistral" },
    /* Qwen3-Coder */
    { FUNCTIONS, "Sure.\n<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n3\n</p"
      "arameter>\n</function>\n</tool_call>",
      "C Sure.|0 get_weather\n{\"city\":\"Paris\",\"days\":3}", "functions" },
    { FUNCTIONS, "<function=get_weather><parameter=city>7</parameter><parameter=where>{\"x\": [1]}</parameter><parameter=wet>"
      "True</parameter></function>",
      "0 get_weather\n{\"city\":\"7\",\"where\":{\"x\":[1]},\"wet\":true}", "functions" },
    { FUNCTIONS, "<function=add>\n<parameter=code>\nif a < b:\n    pass\n\n</parameter>\n</function>", "0 add\n{\"code\":\"if"
      " a < b:\\n    pass\\n\"}", "functions" },
    { FUNCTIONS, "<function=add></function>", "0 add\n{}", "functions" },
    { FUNCTIONS, "<function=sub></function>", "C <function=sub></function>", "functions" },
    { FUNCTIONS, "<tool_call>\n<function=add>\n<param", "C <tool_call>\n<function=add>\n<param", "functions" },
    { FUNCTIONS, "<tool_call> x", "C <tool_call> x", "functions" },
    /* GLM */
    { KEYS, "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>New York</arg_value>\n<arg_key>days</arg_key><arg_va"
      "lue>3</arg_value>\n</tool_call>\n<tool_call>add\n</tool_call>",
      "0 get_weather\n{\"city\":\"New York\",\"days\":3}|1 add\n{}", "keys" },
    { KEYS, "<tool_call>nothing</tool_call>", "C <tool_call>nothing</tool_call>", "keys" },
    /* DeepSeek, both ways */
    { DEEPSEEK, "Ok<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{\"a\": 1}\n```<｜tool▁call▁end｜"
      ">\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>flat\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
      "C Ok|0 add\n{\"a\": 1}|1 flat\n{}", "deepseek" },
    { DEEPSEEK, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>add<｜tool▁sep｜>{\"a\": 1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>", "0 ad"
      "d\n{\"a\": 1}", "deepseek" },
    /* Mistral, three ways */
    { MISTRAL, "[TOOL_CALLS][{\"name\": \"add\", \"arguments\": {\"a\": 1}}, {\"name\": \"flat\", \"arguments\": {}, \"id\":"
      " \"123456789\"}]",
      "0 add\n{\"a\": 1}|1 flat\n{}", "mistral" },
    { MISTRAL, "[TOOL_CALLS]add[ARGS]{\"a\": 1}[TOOL_CALLS]flat[CALL_ID]123456789[ARGS]{}", "0 add\n{\"a\": 1}|1 flat\n{}", ""
      "mistral" },
    { MISTRAL, "[TOOL_CALLS]add{\"a\": 1}", "0 add\n{\"a\": 1}", "mistral" },
    { MISTRAL, "[TOOL_CALLS][{\"name\": \"add\"}, {\"name\": \"sub\"}]", "0 add\n{}|C , {\"name\": \"sub\"}]", "mistral" },
    { MISTRAL, "[TOOL_CALLS][[1]]", "C [TOOL_CALLS][[1]]", "mistral" },
    /* Llama */
    { LLAMA, "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Paris\"}}", "0 get_weather\n{\"city\": \"Paris\"}", "l"
      "lama" },
    { LLAMA, "<|python_tag|>{\"name\": \"add\", \"parameters\": {}}; {\"name\": \"add\", \"parameters\": {}}", "0 add\n{}|C ;"
      " {\"name\": \"add\", \"parameters\": {}}", "llama" },
    { LLAMA, "{\"type\": \"function\", \"name\": \"add\", \"parameters\": {}}; {\"name\": \"flat\", \"parameters\": {}};", "0"
      " add\n{}|1 flat\n{}|C ;", "llama" },
    { LLAMA, "<|python_tag|>print(1)", "C <|python_tag|>print(1)", "llama" },
    /* Kimi, Granite and Phi */
    { KIMI, "<|tool_calls_section_begin|><|tool_call_begin|>functions.add:0<|tool_call_argument_begin|>{\"a\":1}<|tool_call_e"
      "nd|><|tool_calls_section_end|>", "0 add\n{\"a\":1}", "kimi" },
    { PIPES, "<|tool_call|>[{\"name\": \"add\", \"arguments\": {}}]<|/tool_call|>", "0 add\n{}", "pipes" },
    /* messages with headers */
    { CHANNELS, "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.", "R Hm.|C Yes.",
      "channels" },
    { CHANNELS, "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.add <|constrain"
      "|>json<|message|>{\"a\": 1}<|call|>",
      "R Hm.|0 add\n{\"a\": 1}", "channels" },
    { CHANNELS, "<|channel|>commentary<|message|>First.<|end|><|start|>assistant to=functions.flat<|channel|>commentary json<"
      "|message|>{}", "C First.|0 flat\n{}", "channels" },
    { CHANNELS, "<|channel|>commentary to=functions.add<|message|>{\"a\"", "C {\"a\"", "channels" },
    { CHANNELS, "plain", "C plain", "channels" },
    { CHANNELS, " to=functions.add<|channel|>commentary json<|message|>{\"a\": 1}<|call|>", "0 add\n{\"a\": 1}", "channels" },
    /* tags that say what a value is */
    { DSML3, "<think>Hm.</think>Now.\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"get_weather\">\n<｜DSML｜parameter "
      "name=\"city\" "
      "string=\"true\">3</｜DSML｜parameter>\n<｜DSML｜parameter name=\"x\" string=\"false\">[1, {\"y\": null}]</｜DSML｜parameter>\n"
      "</｜DSML｜invoke>\n<｜DSML｜invoke name=\"flat\">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
      "R Hm.|C Now.|0 get_weather\n{\"city\":\"3\",\"x\":[1,{\"y\":null}]}|1 flat\n{}", "dsml" },
    { DSML4, "<｜DSML｜tool_calls><｜DSML｜invoke name=\"add\"><｜DSML｜parameter name=\"a\" string=\"true\">true</｜DSML｜parameter>"
      "</｜DSML｜invoke></｜DSML｜tool_calls>", "0 add\n{\"a\":\"true\"}", "dsml" },
    { DSML4, "<｜DSML｜invoke name=\"sub\"></｜DSML｜invoke>", "C <｜DSML｜invoke name=\"sub\"></｜DSML｜invoke>", "dsml" },
    { ELEMENTS, "<|open|>think<|sep|>Hm.<|close|>think<|sep|><|open|>response<|sep|>Now.<|close|>response<|sep|><|open|>"
      "tools<|sep|>"
      "<|open|>call tool=\"get_weather\" index=\"1\"<|sep|><|open|>argument key=\"city\" type=\"string\"<|sep|>7<|close|>argument"
      "<|sep|><|open|>argument key=\"days\" type=\"number\"<|sep|>3<|close|>argument<|sep|><|close|>call<|sep|><|close|>"
      "tools<|sep|>"
      "<|close|>message<|sep|>", "R Hm.|C Now.|0 get_weather\n{\"city\":\"7\",\"days\":3}", "elements" },
    { NESTED, "<mm:think>Hm.</mm:think>" M3 "tool_call>\n" M3 "invoke name=\"get_weather\">" M3 "city>Bern" M3 "/city>"
      "" M3 "where>" M3
      "lat>1.5" M3 "/lat>" M3 "/where>" M3 "t>" M3 "item>1" M3 "/item>" M3 "item>b" M3 "/item>" M3 "/t>" M3 "/invoke>\n" M3
      "/tool_call>", "R Hm.|0 get_weather\n{\"city\":\"Bern\",\"where\":{\"lat\":1.5},\"t\":[1,\"b\"]}", "nested" },
    { NESTED, M3 "tool_call>" M3 "invoke name=\"add\">" M3 "a>" M3 "a>" M3 "a>1" M3 "/a>" M3 "/a>" M3 "ab>x"
      M3 "/ab>" M3 "/a>" M3 "/invoke>" M3 "/tool_call>", "0 add\n{\"a\":{\"a\":{\"a\":1},\"ab\":\"x\"}}", "nested" },
    { NESTED, M3 "tool_call>" M3 "invoke name=\"add\">" M3 "a>" M3 "b>1" M3 "/c>" M3 "/a>" M3 "/invoke>",
      "C " M3 "tool_call>" M3 "invoke name=\"add\">" M3 "a>" M3 "b>1" M3 "/c>" M3 "/a>" M3 "/invoke>", "nested" },
    { PARAMS, "<function name=\"get_weather\"><param name=\"city\">Bern</param><param name=\"where\">{'lat': 1.5, 'on': True}"
      "</param>"
      "</function>", "0 get_weather\n{\"city\":\"Bern\",\"where\":{\"lat\":1.5,\"on\":true}}", "params" },
    { SEED, "<seed:think>Hm.</seed:think><seed:tool_call>\n<function=add>\n<parameter=a>1</parameter>\n</function>\n"
      "</seed:tool_call>", "R Hm.|0 add\n{\"a\":1}", "seed" },
    { HY, "<think:opensource>Hm.</think:opensource><tool_calls:opensource>\n<tool_call:opensource>add<tool_sep:opensource>\n"
      "<arg_key:opensource>a</arg_key:opensource>\n<arg_value:opensource>1</arg_value:opensource>\n</tool_call:opensource>\n"
      "<tool_call:opensource>flat<tool_sep:opensource>\n</tool_call:opensource>\n</tool_calls:opensource>",
      "R Hm.|0 add\n{\"a\":1}|1 flat\n{}", "keys" },
    { MINIMAX, "<minimax:tool_call>\n<invoke name=\"add\">\n<parameter name=\"a\">x</parameter>\n</invoke>\n</minimax:tool_call>",
      "0 add\n{\"a\":\"x\"}", "minimax" },
    /* source code */
    { GEMMA, "<|channel>thought\nHm.<channel|><|tool_call>call:get_weather{city:<|\"|>New \"York\"<|\"|>,days:3,where:{lat:1.5,"
      "n:<|\"|>"
      "x<|\"|>},t:[<|\"|>a<|\"|>,true]}<tool_call|><|tool_call>call:add{}<tool_call|>Done.",
      "R Hm.|0 get_weather\n{\"city\":\"New \\\"York\\\"\",\"days\":3,\"where\":{\"lat\":1.5,\"n\":\"x\"},\"t\":[\"a\",true]}"
      "|1 add\n{}"
      "|C Done.", "gemma" },
    { GEMMA, "<|tool_call>call:add{a:{\"b\":[1]}}<tool_call|>", "0 add\n{\"a\":{\"b\":[1]}}", "gemma" },
    { GEMMA, "<|tool_call>call:sub{}", "C <|tool_call>call:sub{}", "gemma" },
    { GEMMA, "<|tool_call>call:add{a:b}x", "C <|tool_call>call:add{a:b}x", "gemma" },
    { FUNCTION_GEMMA, "<start_function_call>call:get_weather{city:<escape>Bern<escape>}<end_function_call>",
      "0 get_weather\n{\"city\":\"Bern\"}", "gemma" },
    { LIQUID, "Now.<|tool_call_start|>[get_weather(city='it\\'s late', days=3, wet=True, where={\"lat\": 1.5}), add(a=[1, "
      "None], b=(1,))]"
      "<|tool_call_end|>Done.",
      "C Now.|0 get_weather\n{\"city\":\"it's late\",\"days\":3,\"wet\":true,\"where\":{\"lat\":1.5}}|1 add\n{\"a\":[1,null],"
      "\"b\":[1]}|"
      "C Done.", "liquid" },
    { LIQUID, "<|tool_call_start|>[get_weather(city='it's (late)', x=\"\\u00dc\\n\")]<|tool_call_end|>",
      "0 get_weather\n{\"city\":\"it's (late)\",\"x\":\"Ü\\n\"}", "liquid" },
    { LIQUID, "<|tool_call_start|>[{\"name\": \"add\", \"arguments\": {}}]<|tool_call_end|>", "0 add\n{}", "liquid" },
    { LIQUID, "<|tool_call_start|>[add(), sub()]<|tool_call_end|>", "0 add\n{}|C , sub()]<|tool_call_end|>", "liquid" },
    { LIQUID, "<|tool_call_start|>[functions.add(a=1)]", "C <|tool_call_start|>[functions.add(a=1)]", "liquid" },
    { LIQUID, "<|tool_call_start|>[add(a=\"\"\"print(\"hi\")\"\"\", b='''d = {\"a\": 1}''')]",
      "0 add\n{\"a\":\"print(\\\"hi\\\")\",\"b\":\"d = {\\\"a\\\": 1}\"}", "liquid" },
    { LIQUID, "<|tool_call_start|>[add(a=\"\"\"say \"hi\"\"\"\", b=\"\", c=\"\"\"f(\\\"\\\"\\\", 1)\"\"\")]",
      "0 add\n{\"a\":\"say \\\"hi\\\"\",\"b\":\"\",\"c\":\"f(\\\"\\\"\\\", 1)\"}", "liquid" },
    { LIQUID, "<|tool_call_start|>[add(a=1e_5)]", "C <|tool_call_start|>[add(a=1e_5)]", "liquid" },
    { LIQUID, "<|tool_call_start|>[add(a=0x_ff, b=-1_0.5)]", "0 add\n{\"a\":255,\"b\":-10.5}", "liquid" },
    { LIQUID, "<|tool_call_start|>[add(a=1_000, b=0x1F, c=-0b11, d=0o17)]",
      "0 add\n{\"a\":1000,\"b\":31,\"c\":-3,\"d\":15}", "liquid" },
    { LIQUID, "<|tool_call_start|>[add(a='''x y''', b=\"\"\"\"\"\", c='')]",
      "0 add\n{\"a\":\"x y\",\"b\":\"\",\"c\":\"\"}", "liquid" },
    { LIQUID, "<|tool_call_start|>[add(a=0x0x1)]", "C <|tool_call_start|>[add(a=0x0x1)]", "liquid" },
    { LIQUID, "<|tool_call_start|>[add(a=0x)]", "C <|tool_call_start|>[add(a=0x)]", "liquid" },
    { LIQUID, "<|tool_call_start|>[add(a=0xffffffffffffffff)]", "C <|tool_call_start|>[add(a=0xffffffffffffffff)]", "liquid" },
    { LIQUID, "<|tool_call_start|>[add(a=_1)]", "C <|tool_call_start|>[add(a=_1)]", "liquid" },
    { LIQUID, "<|tool_call_start|>[add(a=1", "C <|tool_call_start|>[add(a=1", "liquid" },
    { LIQUID, "<|tool_call_start|>[add(1)]", "C <|tool_call_start|>[add(1)]", "liquid" },
    { LIQUID, "<|tool_call_start|>[add(a=1, a=2)]", "C <|tool_call_start|>[add(a=1, a=2)]", "liquid" },
    { LIQUID, "<|tool_call_start|>[add(a=)]", "C <|tool_call_start|>[add(a=)]", "liquid" },
    { LLAMA4, "[get_weather(city=\"Bern\"), flat()]", "0 get_weather\n{\"city\":\"Bern\"}|1 flat\n{}", "llama" },
    { LLAMA4, "<|python_start|>add(a=1)<|python_end|>", "0 add\n{\"a\":1}", "llama" },
    { LLAMA4, "{\"name\": \"add\", \"parameters\": {}}", "0 add\n{}", "llama" },
    { LLAMA4, "[1, 2] is a list", "C [1, 2] is a list", "llama" },
    { PYTHONIC, "[add(a=-1.5e3)]", "0 add\n{\"a\":-1500.0}", "llama" },
    { OLMO, "<function_calls>\nadd(a=1)\nget_weather(city=\"B\")\n</function_calls>", "0 add\n{\"a\":1}|1 "
      "get_weather\n{\"city\":\"B\"}", "olmo" },
    /* JSON, in other words */
    { APERTUS, "<|inner_prefix|>Hm.<|inner_suffix|>Now.<|tools_prefix|>[{\"add\": {\"a\": 1}}, {\"flat\": {}}]<|tools_suffix|>",
      "R Hm.|C Now.|0 add\n{\"a\": 1}|1 flat\n{}", "by_name" },
    { APERTUS, "<|tools_prefix|>[{\"add\": {}, \"flat\": {}}]", "C <|tools_prefix|>[{\"add\": {}, \"flat\": {}}]", "by_name" },
    { COMMAND, "<|START_THINKING|>Hm.<|END_THINKING|><|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"add\", "
      "\"parameters\": "
      "{\"a\": 1}}\n]<|END_ACTION|>", "R Hm.|0 add\n{\"a\": 1}", "command" },
    { COMMAND, "<|START_RESPONSE|>Yes.<|END_RESPONSE|>", "C Yes.", "command" },
    { COMMAND_PLUS, "Action: ```json\n[\n    {\n        \"tool_name\": \"add\",\n        \"parameters\": {}\n    }\n]```", "0 "
      "add\n{}", "command" },
    { TAG_CALLS, "<tool_calls>\n{\"name\": \"add\", \"arguments\": {}}\n{\"name\": \"flat\", \"arguments\": {}}\n</tool_calls>",
      "0 add\n{}|1 flat\n{}", "tool_calls" },
    { APRIEL, "Here are my reasoning steps:\nHm.\n[BEGIN FINAL RESPONSE]\nYes.\n<tool_calls>[{\"name\": \"add\", "
      "\"arguments\": {}}]</tool_calls>\n"
      "[END FINAL RESPONSE]", "R Hm.|C Yes.|0 add\n{}", "tool_calls" },
    { NEMOTRON, "<TOOLCALL>[{\"name\": \"add\", \"arguments\": {}}]</TOOLCALL>", "0 add\n{}", "toolcall" },
    { FIREFUNCTION, "Now. functools[{\"name\": \"add\", \"arguments\": {}}]", "C Now.|0 add\n{}", "functools" },
    { GIGACHAT, "Now.<|message_sep|>\n\nfunction call<|role_sep|>\n{\"name\": \"add\", \"arguments\": {}}", "C Now.|0 add\n{}"
      "", "gigachat" },
    { GIGACHAT, "<|function_call|>{\"name\": \"add\", \"arguments\": {}}", "0 add\n{}", "gigachat" },
    /* a name in front */
    { SOLAR, "<|think|>Hm.<|end|><|begin|>assistant<|tool_calls|><|tool_call:begin|>abc1<|tool_call:name|>add<|tool_call:args|>"
      "{\"a\": 1}"
      "<|tool_call:end|><|tool_call:begin|>abc2<|tool_call:name|>flat<|tool_call:args|>{}<|tool_call:end|>",
      "R Hm.|0 add\n{\"a\": 1}|1 flat\n{}", "solar" },
    { SOLAR, "<|think|>Hm.<|end|><|begin|>assistant<|content|>Yes.<|end|>", "R Hm.|C Yes.", "solar" },
    { FUNCTIONARY1, "Now.<function=add>{\"a\": 1}</function><function=flat>{}</function>", "C Now.|0 add\n{\"a\": 1}|1 flat\n{}"
      "", "functionary" },
    { FUNCTIONARY2, ">>>all\nNow.>>>add\n{\"a\": 1}>>>flat\n{}", "C Now.|0 add\n{\"a\": 1}|1 flat\n{}", "functionary" },
    /* marks around content */
    { ANSWERS, "<think>Hm.</think>\n<answer>\nYes.\n</answer>", "R Hm.|C Yes.", "hermes" },
    { ANSWERS, "The tag </answer> ends it.", "C The tag </answer> ends it.", "hermes" },
    /* where the template shows no tools */
    { PLAIN, "Well.\n<tool_call>\n{\"name\": \"add\", \"arguments\": {}}\n</tool_call>", "C Well.|0 add\n{}", "plain" },
};
enum { N_CASES = sizeof cases / sizeof *cases };

static json_t *tools;

static int set_up(void **state)
{
    (void)state;
    json_t *o = vs_json_parse(tools_text, strlen(tools_text), NULL);
    tools = json_incref(json_object_get(o, "tools"));
    json_decref(o);
    return tools ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    json_decref(tools);
    return 0;
}

/* What was said is added as the cases write it. */
static void note(struct vs_parts *p, struct vs_buf *out, uint32_t *last)
{
    const struct vs_pieces *said = vs_parts_said(p);
    size_t at = 0;
    for (size_t i = 0; i < said->n; i++) {
        uint32_t part = said->piece[i].part;
        if (part != *last)
            vs_buf_printf(out, "%s%c ", out->n ? "|" : "", part == VS_PART_CONTENT ? 'C' : part == VS_PART_REASONING ? 'R'
                          : (int)('0' + part - VS_PART_CALL));
        *last = part;
        vs_buf_add(out, said->text.data + at, said->piece[i].n);
        at += said->piece[i].n;
    }
    assert_int_equal(at, said->text.n);
    vs_parts_reset(p);
}

/* A mark that stands at text; VS_N_MARKS: none. */
static unsigned mark_at(const char *text, size_t n)
{
    unsigned best = VS_N_MARKS;
    for (unsigned i = 0; i < VS_N_MARKS; i++)
        if (*text == *vs_mark_text[i] && strlen(vs_mark_text[i]) <= n && memcmp(text, vs_mark_text[i], strlen(vs_mark_text[i])) == 0
            && (best == VS_N_MARKS || strlen(vs_mark_text[i]) > strlen(vs_mark_text[best])))
            best = i;
    return best;
}

static void push(struct vs_parts *p, const struct vs_parts_config *config, const char *text, size_t n)
{
    bool has_control = memchr(config->is_control, 1, sizeof config->is_control) != NULL;
    for (size_t at = 0, from = 0; at <= n; at++) {
        if (at < n && !has_control)
            at = n;
        unsigned mark = at < n ? mark_at(text + at, n - at) : VS_N_MARKS;
        if (at < n && (mark == VS_N_MARKS || !config->is_control[mark]))
            continue;
        assert_int_equal(vs_parts_push(p, text + from, at - from), VS_OK);
        if (at == n)
            break;
        assert_int_equal(vs_parts_push_mark(p, mark), VS_OK);
        from = at + strlen(vs_mark_text[mark]);
        at = from - 1;
    }
}

/* The answer in pieces that end at the cuts. */
static void parse(const struct vs_parts_config *config, const char *text, size_t n, const size_t *cuts, size_t n_cuts, char *ret,
                  size_t size)
{
    struct vs_parts *p;
    struct vs_buf out = { 0 };
    uint32_t last = UINT32_MAX;
    size_t from = 0;
    assert_int_equal(vs_parts_create(config, &p), VS_OK);
    for (size_t i = 0; i < n_cuts; from = cuts[i++]) {
        push(p, config, text + from, cuts[i] - from);
        note(p, &out, &last);
    }
    push(p, config, text + from, n - from);
    assert_int_equal(vs_parts_finish(p), VS_OK);
    note(p, &out, &last);
    snprintf(ret, size, "%.*s", (int)out.n, out.n ? out.data : "");
    vs_buf_clear(&out);
    vs_parts_free(p);
}

static void config_of(const char *template, struct vs_parts_config *ret)
{
    *ret = (struct vs_parts_config){ .tools = tools };
    vs_style_detect(template, strlen(template), &ret->style);
}

static void test_families(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        struct vs_parts_config config;
        char got[2048];
        size_t n = strlen(cases[i].answer), all[2048];
        config_of(cases[i].template, &config);
        assert_string_equal(vs_style_name(&config.style), cases[i].family);
        parse(&config, cases[i].answer, n, NULL, 0, got, sizeof got);
        if (strcmp(got, cases[i].want) != 0)
            print_message("case %zu: %s\n", i, cases[i].answer);
        assert_string_equal(got, cases[i].want);
        for (size_t k = 0; k < n; k++)
            all[k] = k;
        parse(&config, cases[i].answer, n, all, n, got, sizeof got);
        assert_string_equal(got, cases[i].want);
        for (size_t a = 0; a <= n; a++)
            for (size_t b = a; b <= n; b += 1 + n / 8) {
                parse(&config, cases[i].answer, n, (size_t[]){ a, b }, 2, got, sizeof got);
                assert_string_equal(got, cases[i].want);
            }
    }
}

/* The calls that 47 templates write (tools/golden_families.py), read from what jinja2 made of them; with marks as text and as
 * tokens, and byte by byte. */
static void test_templates(void **state)
{
    (void)state;
    size_t i, n_calls = 0;
    json_t *rows = json_load_file(TEST_DIR "/golden/calls.json", 0, NULL), *row;
    assert_true(json_array_size(rows) > 40);
    json_array_foreach(rows, i, row) {
        const char *template = json_string_value(json_object_get(row, "template"));
        const char *prompt = json_string_value(json_object_get(row, "prompt"));
        const char *answer = json_string_value(json_object_get(row, "answer"));
        const char *model = json_string_value(json_object_get(row, "model"));
        const json_t *want = json_object_get(row, "calls");
        for (int v = 0; v < 3; v++) {        /* 1: marks are tokens, 2: byte by byte */
            struct vs_parts_config config = { .tools = json_object_get(row, "tools") };
            char got[4096];
            size_t n = strlen(answer), all[2048], k = 0;
            assert_true(n < sizeof all / sizeof *all);
            for (size_t at = 0; at < n; at++)
                all[at] = at;
            vs_style_detect(template, strlen(template), &config.style);
            config.is_open = vs_style_is_open(&config.style, prompt, strlen(prompt));
            memset(config.is_control, v == 1, sizeof config.is_control);
            parse(&config, answer, n, all, v == 2 ? n : 0, got, sizeof got);
            for (char *part = got, *next; part; part = next) {
                next = strchr(part, '|');
                char *line = strchr(part, '\n');
                if (next)
                    *next++ = 0;
                if (*part >= '0' && *part <= '9' && line) {
                    const json_t *call = json_array_get(want, k++);
                    json_t *arguments = vs_json_value(line + 1, strlen(line + 1));
                    *line = 0;
                    if (!call || strcmp(part + 2, json_string_value(json_object_get(call, "name"))) != 0
                        || !json_equal(arguments, json_object_get(call, "arguments")))
                        fail_msg("%s, way %d, call %zu: %s %s", model, v, k - 1, part + 2, line + 1);
                    json_decref(arguments);
                    n_calls++;
                }
            }
        }
    }
    assert_int_equal(n_calls, 3 * (2 * json_array_size(rows) - 1));      /* one of them writes but one */
    json_decref(rows);
}

static size_t without_marks(const char *text, char *ret)
{
    size_t n = 0;
    for (size_t at = 0, end = strlen(text); at < end;) {
        unsigned mark = mark_at(text + at, end - at);
        if (mark == VS_N_MARKS)
            ret[n++] = text[at++];
        else
            at += strlen(vs_mark_text[mark]);
    }
    ret[n] = 0;
    return n;
}

/* Marks that are tokens: the same parts, but for marks in content, which are no text then. And the same letters are no mark. */
static void test_control_tokens(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        struct vs_parts_config config;
        char got[2048], want[2048], plain[2048];
        size_t n = strlen(cases[i].answer);
        config_of(cases[i].template, &config);
        memset(config.is_control, 1, sizeof config.is_control);
        config.shows_control = true;
        parse(&config, cases[i].answer, n, NULL, 0, got, sizeof got);
        if (!strchr(cases[i].want, '<') || !strstr(cases[i].family, "functions"))      /* there a mark may end as a tag begins */
            assert_string_equal(got, cases[i].want);
        config.shows_control = false;
        parse(&config, cases[i].answer, n, NULL, 0, got, sizeof got);
        without_marks(cases[i].want, want);
        without_marks(got, plain);
        assert_string_equal(got, plain);
    }
    struct vs_parts_config config;
    struct vs_parts *p;
    config_of(MISTRAL, &config);
    config.is_control[VS_MARK_TOOL_CALLS] = true;
    assert_int_equal(vs_parts_create(&config, &p), VS_OK);
    static const char text[] = "[TOOL_CALLS][{\"name\": \"add\", \"arguments\": {}}]";
    assert_int_equal(vs_parts_push(p, text, sizeof text - 1), VS_OK);
    assert_int_equal(vs_parts_finish(p), VS_OK);
    assert_true(vs_parts_n_calls(p) == 0 && vs_parts_said(p)->n == 1 && vs_parts_said(p)->text.n == sizeof text - 1);
    vs_parts_free(p);
}

/* A byte of zero opens no list of source code. */
static void test_zero_byte(void **state)
{
    (void)state;
    assert_null(vs_literal_value("\0 1)", 4));
    json_t *list = vs_literal_value("( 1)", 4);
    assert_int_equal(json_array_size(list), 1);
    json_decref(list);
}

/* Each mark there is, as a token by itself between texts, is text by its name, whoever's it is. */
static void test_marks_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++)
        for (unsigned m = 0; m < VS_N_MARKS; m++) {
            struct vs_parts_config config;
            struct vs_parts *p;
            char want[128];
            config_of(cases[i].template, &config);
            memset(config.is_control, 1, sizeof config.is_control);
            config.shows_control = true;
            assert_int_equal(vs_parts_create(&config, &p), VS_OK);
            assert_int_equal(vs_parts_push(p, "a", 1), VS_OK);
            assert_int_equal(vs_parts_push_mark(p, m), VS_OK);
            assert_int_equal(vs_parts_push(p, "\xc3\xa9", 2), VS_OK);
            assert_int_equal(vs_parts_finish(p), VS_OK);
            const struct vs_buf *said = &vs_parts_said(p)->text;
            int n = snprintf(want, sizeof want, "a%s\xc3\xa9", vs_mark_text[m]);
            assert_true(vs_utf8_valid(said->data, said->n) == said->n);
            if (strcmp(cases[i].family, "hermes") == 0 && !config.style.wrap) {
                assert_int_equal(said->n, n);
                assert_memory_equal(said->data, want, said->n);
            }
            vs_parts_free(p);
        }
}

static void test_open_reasoning(void **state)
{
    (void)state;
    struct vs_parts_config config;
    char got[256];
    config_of(THINKS, &config);
    static const struct { const char *prompt; bool is_open; } prompts[] = {
        { "<|im_start|>assistant\n<think>\n", true }, { "<think>", true }, { "<think>\n\n</think>\n\n", false }, { "assistan"
      "t\n", false },
        { "", false }, { "think>", false }, { "<think> x", false },
    };
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++)
        assert_int_equal(vs_style_is_open(&config.style, prompts[i].prompt, strlen(prompts[i].prompt)), prompts[i].is_open);
    config.is_open = true;
    parse(&config, "hm</think>ok", 12, NULL, 0, got, sizeof got);
    assert_string_equal(got, "R hm|C ok");
    parse(&config, "\n\nhm", 4, NULL, 0, got, sizeof got);
    assert_string_equal(got, "R hm");
    config_of(HERMES, &config);
    assert_false(vs_style_is_open(&config.style, "<think>", 7));
}

static void test_one_call(void **state)
{
    (void)state;
    struct vs_parts_config config;
    static const char text[] = "a<tool_call>{\"name\":\"add\"}</tool_call><tool_call>{\"name\":\"add\"}</tool_call>b";
    char got[256];
    struct vs_parts *p;
    config_of(HERMES, &config);
    config.is_single = true;
    parse(&config, text, sizeof text - 1, NULL, 0, got, sizeof got);
    assert_string_equal(got, "C a|0 add\n{}");
    assert_int_equal(vs_parts_create(&config, &p), VS_OK);
    assert_int_equal(vs_parts_push(p, text, 20), VS_OK);
    assert_false(vs_parts_is_over(p));
    assert_int_equal(vs_parts_push(p, text + 20, 20), VS_OK);
    assert_true(vs_parts_is_over(p) && vs_parts_n_calls(p) == 1);
    vs_parts_free(p);
    config_of(MISTRAL, &config);
    config.is_single = true;
    static const char list[] = "[TOOL_CALLS][{\"name\":\"add\"},{\"name\":\"add\"}]";
    parse(&config, list, sizeof list - 1, NULL, 0, got, sizeof got);
    assert_string_equal(got, "0 add\n{}");
    config.tools = NULL;                 /* nobody can be called */
    parse(&config, list, sizeof list - 1, NULL, 0, got, sizeof got);
    assert_string_equal(got, "C [TOOL_CALLS][{\"name\":\"add\"},{\"name\":\"add\"}]");
}

/* Who makes sure that a call becomes one hears its arguments as they come: the same text at the end, wherever it is cut. */
static void test_early_arguments(void **state)
{
    (void)state;
    static const struct { const char *template, *text, *want; } sure[] = {
        { HERMES, "a <tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": {\"b\": \"}\"}} }\n</tool_call>{\"b\"}",
          "C a|0 add\n{\"a\": {\"b\": \"}\"}}|C {\"b\"}" },
        { MISTRAL, "[TOOL_CALLS][{\"name\":\"add\",\"arguments\":{\"a\":1}}, {\"name\":\"flat\",\"arguments\":{}}]",
          "0 add\n{\"a\":1}|1 flat\n{}" },
        { LLAMA, "{\"name\":\"add\",\"parameters\":{\"a\":[1,{}]}}", "0 add\n{\"a\":[1,{}]}" },
        { HERMES, "<tool_call>{\"name\":\"add\",\"arguments\":{\"a\": \"cut o", "0 add\n{\"a\": \"cut o" },
    };
    for (size_t i = 0; i < sizeof sure / sizeof *sure; i++)
        for (size_t piece = 1; piece < 40; piece++) {
            struct vs_parts_config config;
            struct vs_parts *p;
            struct vs_buf out = { 0 };
            uint32_t last = UINT32_MAX;
            size_t n = strlen(sure[i].text), n_object, n_before = 0, most = 0;
            config_of(sure[i].template, &config);
            config.is_single = i == 2;
            assert_int_equal(vs_parts_create(&config, &p), VS_OK);
            for (size_t at = 0; at < n; at += piece) {
                assert_int_equal(vs_parts_push(p, sure[i].text + at, n - at < piece ? n - at : piece), VS_OK);
                const char *object = vs_parts_call(p, &n_object);
                if (object) {
                    assert_true(*object == '{');
                    vs_parts_trust(p);
                }
                note(p, &out, &last);
                most = out.n - n_before > most ? out.n - n_before : most;
                n_before = out.n;
            }
            assert_int_equal(vs_parts_finish(p), VS_OK);
            note(p, &out, &last);
            assert_int_equal(out.n, strlen(sure[i].want));
            assert_memory_equal(out.data, sure[i].want, out.n);
            if (piece == 1)
                assert_true(most <= 14);     /* the name and the first byte of the arguments come at once */
            vs_buf_clear(&out);
            vs_parts_free(p);
        }
}

static void test_forced_beginnings(void **state)
{
    (void)state;
    static const struct { const char *template, *begin, *open, *arguments; } styles[] = {
        { THINKS, "<tool_call>\n", "</think>\n\n<tool_call>\n", "arguments" }, { MISTRAL, "[TOOL_CALLS][", NULL, "arguments" },
        { LLAMA, "", NULL, "parameters" }, { PLAIN, "<tool_call>\n", NULL, "arguments" }, { KEYS, "<tool_call>", NULL, NULL },
        { FUNCTIONS, "<tool_call>\n<function=", NULL, NULL },
        { DEEPSEEK, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>", NULL, NULL },
        { CHANNELS, "<|channel|>commentary to=functions.", NULL, NULL },
    };
    for (size_t i = 0; i < sizeof styles / sizeof *styles; i++) {
        struct vs_style style;
        struct vs_buf out = { 0 };
        vs_style_detect(styles[i].template, strlen(styles[i].template), &style);
        vs_style_begin_call(&style, false, &out);
        assert_true(out.n == strlen(styles[i].begin) && (!out.n || memcmp(out.data, styles[i].begin, out.n) == 0));
        vs_buf_clear(&out);
        if (styles[i].open) {
            vs_style_begin_call(&style, true, &out);
            assert_memory_equal(out.data, styles[i].open, strlen(styles[i].open));
            vs_buf_clear(&out);
        }
        const struct vs_call_keys *keys = vs_style_keys(&style);
        assert_true(!keys == !styles[i].arguments);
        if (keys)
            assert_string_equal(keys->arguments, styles[i].arguments);
    }
}

/* Long and hostile answers take a time that grows with their length alone, and lose nothing. */
static void test_hostile(void **state)
{
    (void)state;
    static const struct { const char *template, *head, *again; } bad[] = {
        { HERMES, "", "<tool_call>" }, { HERMES, "", "<tool_call>{" }, { HERMES, "<tool_call>", "[" }, { HERMES, "", " " },
        { HERMES, "<tool_call>", " " }, { HERMES, "<tool_call>{\"name\":\"add\",\"arguments\":{\"a\":\"", "x" },
        { HERMES, "{\"name\":\"add\",\"arguments\":", "{\"a\":" }, { THINKS, "<think>", "</think" }, { THINKS, "<think>x", "\n" },
        { GEMMA, "", "<|tool_call>call:" }, { GEMMA, "<|tool_call>call:add{a:", "[" }, { GEMMA, "<|tool_call>call:add{a:<|\"|>"
      "", "<|" },
        { LIQUID, "<|tool_call_start|>[", "add(a='x'), " }, { LIQUID, "<|tool_call_start|>[add(a='", "' "
      "" }, { LLAMA4, "", "[add(" },
        { LIQUID, "<|tool_call_start|>[add(a='", "x\\" }, { OLMO, "<function_calls>", "add()\n" }, { OLMO, "<function_calls>"
      "", "add\n" },
        { NESTED, M3 "invoke name=\"add\">" M3 "a>", M3 "b>" }, { NESTED, M3 "invoke name=\"add\">" M3 "a>", M3 "b>x" M3 "/b>" },
        { ELEMENTS, "<|open|>call tool=\"add\"<|sep|>", "<|open|>argument key=\"a\"" }, { SOLAR, "<|tool_call:begin|>"
      "", "add<|tool_call:name|>" },
        { TAG_CALLS, "<tool_calls>", "{\"name\":\"add\"}\n" }, { FUNCTIONARY2, "", ">>>" },
        { FUNCTIONS, "", "<tool_call>" }, { FUNCTIONS, "<function=add>", "<parameter=a>x</parameter>" }, { FUNCTIONS, "<funct"
      "ion=add><parameter=a>", "<" },
        { FUNCTIONS, "<function=add><parameter=", "a" }, { KEYS, "<tool_call>", "a" }, { MISTRAL, "[TOOL_CALLS]", "[CALL_ID] " },
        { MISTRAL, "[TOOL_CALLS]", "[{\"name\":\"add\"}," }, { DEEPSEEK, "", "<｜tool▁calls▁begin｜>" }, { LLAMA, "{\"name\":\""
      "add\",\"parameters\":{}}", ";" },
        { LIQUID, "<|tool_call_start|>[", " " }, { LIQUID, "<|tool_call_start|>[add", " " },
        { OLMO, "<function_calls>add()", "\n" },
        { GEMMA, "<|tool_call>call:add{}", " " }, { KEYS, "<tool_call>add<arg_key>a</arg_key>", " " }, { COMMAND, "", " " },
        { HY, "<tool_call:opensource>add<arg_key:opensource>a</arg_key:opensource>", " " },
        { TAG_CALLS, "<tool_calls>{\"name\":\"add\"};", " " },
        { CHANNELS, "<|channel|>", "x" }, { CHANNELS, "", "<|start|>" }, { CHANNELS, "", "<|channel|>final<|message|>" },
    };
    enum { LENGTH = 400000 };
    char *text = malloc(LENGTH);
    clock_t begun = clock();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct vs_parts_config config;
        struct vs_parts *p;
        size_t n = strlen(bad[i].head), n_again = strlen(bad[i].again), said = 0;
        memcpy(text, bad[i].head, n);
        for (; n + n_again <= LENGTH; n += n_again)
            memcpy(text + n, bad[i].again, n_again);
        config_of(bad[i].template, &config);
        assert_int_equal(vs_parts_create(&config, &p), VS_OK);
        for (size_t at = 0, k; at < n; at += k) {
            k = n - at < 7 ? n - at : 7;
            assert_int_equal(vs_parts_push(p, text + at, k), VS_OK);
            said += vs_parts_said(p)->text.n;
            vs_parts_reset(p);
        }
        assert_int_equal(vs_parts_finish(p), VS_OK);
        said += vs_parts_said(p)->text.n;
        if (!strstr(bad[i].template, "<|channel|>") && !vs_parts_n_calls(p) && !strstr(bad[i].template, "think"))
            assert_int_equal(said, n);
        vs_parts_free(p);
    }
    free(text);
    assert_true((double)(clock() - begun) / CLOCKS_PER_SEC < 30);
}

static void test_scan(void **state)
{
    (void)state;
    static const char *const good[] = {
        "{}", "[]", "{\"a\":1}", "[-0, 0.5, 1e9, -1.25E+3, 10]", "{\"\\u00e9\\n\\\"\":[true,false,null,{\"b\":[[]]}]}",
        " [ 1 , 2 ] ",
    };
    static const char *const bad[] = {
        "}", "{]", "[}", "[1,]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "[01]", "[1.]", "[.5]", "[+1]", "[1e]",
        "[tru]", "[nul ]", "[\"\\x\"]",
        "[\"\\u12g4\"]", "[\"\n\"]", "{} x", "[1 2]", "{\"a\" 1}", "[--1]", "[-]", "[1e+]", "{1:2}", ",", "[,1]",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct vs_scan s = { 0 };
        for (const char *c = good[i]; *c; c++)
            assert_int_not_equal(vs_scan_push(&s, *c), VS_SCAN_BROKEN);
        assert_int_equal(s.state, VS_SCAN_AT_END);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct vs_scan s = { 0 };
        bool broken = false;
        for (const char *c = bad[i]; *c && !broken; c++)
            broken = vs_scan_push(&s, *c) == VS_SCAN_BROKEN;
        if (!broken)
            print_message("%s\n", bad[i]);
        assert_true(broken);
        assert_int_equal(vs_scan_push(&s, '{'), VS_SCAN_BROKEN);
    }
    struct vs_scan deep = { 0 };
    for (int i = 0; i < VS_SCAN_DEPTH; i++)
        assert_int_equal(vs_scan_push(&deep, '['), VS_SCAN_OPEN);
    assert_int_equal(vs_scan_push(&deep, '['), VS_SCAN_BROKEN);
}

static void test_description(void **state)
{
    (void)state;
    struct vs_buf out = { 0 };
    struct vs_style style;
    vs_style_describe(tools, &out);
    assert_true(out.status == VS_OK && memmem(out.data, out.n, "get_weather", 11) && memmem(out.data, out.n, "<tool_call>", 11));
    vs_buf_clear(&out);
    vs_style_detect(LLAMA, strlen(LLAMA), &style);
    vs_style_set_plain(&style);
    assert_string_equal(vs_style_name(&style), "plain");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families),     cmocka_unit_test(test_control_tokens), cmocka_unit_test(test_open_reasoning),
        cmocka_unit_test(test_templates),    cmocka_unit_test(test_marks_alone),    cmocka_unit_test(test_zero_byte),
        cmocka_unit_test(test_one_call),     cmocka_unit_test(test_hostile),        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_description),  cmocka_unit_test(test_early_arguments), cmocka_unit_test(test_forced_beginnings),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
