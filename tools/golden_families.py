"""Chat templates of our own, each in the style of one well-known model: its marks, and how it writes tools, calls and results.

The words are ours; marks are facts. MODELS: {model: template}. Used by golden_template.py, which makes two files of them:
models.json (what jinja2 makes of some conversations) and calls.json (an answer with calls as the template writes it, and
the calls).
"""

ARGUMENTS = "{%- set args = c.function.arguments %}{%- if args is string %}{{- args }}{%- else %}{{- args | tojson }}{%- endif %}"
NAMED = '{"name": "{{ c.function.name }}", "arguments": ' + ARGUMENTS + "}"
PAIRS = "{%- for key, value in c.function.arguments.items() %}"
PLAIN = "{{- value if value is string else value | tojson }}"
PYTHON = ("{%- macro literal(v) %}{%- if v is string %}'{{ v }}'{%- elif v is mapping or v is true or v is false or v is none %}"
          "{{- v | tojson if v is mapping else v | string }}{%- else %}{{- v | string }}{%- endif %}{%- endmacro %}")
GEMMA = ("{%- macro literal(v) %}{%- if v is string %}<|\"|>{{ v }}<|\"|>{%- elif v is mapping %}{ {%- for k, w in v | dictsort %}"
         "{{- k }}:{{ literal(w) }}{%- if not loop.last %},{% endif %}{%- endfor %}}{%- elif v is sequence %}[{%- for w in v %}"
         "{{- literal(w) }}{{ ',' if not loop.last }}{%- endfor %}]{%- else %}{{- v | tojson }}{%- endif %}{%- endmacro %}")
NESTED = ("{%- macro nested(v) %}{%- if v is mapping %}{%- for k, w in v.items() %}"
          "]<]minimax[>[<{{ k }}>{{ nested(w) }}]<]minimax[>[</{{ k }}>"
          "{%- endfor %}{%- elif v is sequence and v is not string %}{%- for w in v %}"
          "]<]minimax[>[<item>{{ nested(w) }}]<]minimax[>[</item>"
          "{%- endfor %}{%- else %}{{- v if v is string else v | tojson }}{%- endif %}{%- endmacro %}")


def calls(one, before="", between="", after=""):
    """All calls of message m; `one` writes call c."""
    return (before + "{%- for c in m.tool_calls %}" + one + ("{%- if not loop.last %}"
            + between + "{%- endif %}" if between else "")
            + "{%- endfor %}" + after)


def lf(text):
    """What Jinja shall print as it stands, white space at its ends too."""
    return "{{- '" + text.replace("'", "\\'").replace("\n", "\\n") + "' }}"


def tags(open_, key, between, close, end, tojson=False):
    value = "{{- value | tojson }}" if tojson else PLAIN
    return lf(open_[0]) + "{{- c.function.name }}" + lf(open_[1]) + PAIRS + lf(key) + "{{- key }}" \
        + lf(between) + value + lf(close) + "{%- endfor %}" + lf(end)


def chat(bos="", role=("<|im_start|>", "\n", "<|im_end|>\n"), names=None, tools="Tools:", think=None, call="", result=("tool", ""),
         begin=None, head="", wrap=("", ""), system="system"):
    """role: what stands in front of a role's name, behind it, and behind the message."""
    name = names or {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
    front, behind, end = role
    out = head + (lf(bos) if bos else "")
    out += "{%- set ns = namespace(last=-1) %}{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}"
    out += "{%- endif %}{%- endfor %}"
    out += "{%- if tools %}" + lf(front + name[system] + behind) + lf(tools + "\n") + "{%- for tool in tools %}{{- tool | tojson }}"
    out += lf("\n") + "{%- endfor %}" + lf(end) + "{%- endif %}"
    out += "{%- for m in messages %}"
    out += "{%- if m.role == 'system' %}" + lf(front + name["system"] + behind) + "{{- m.content }}" + lf(end)
    out += "{%- elif m.role == 'user' %}" + lf(front + name["user"] + behind)
    out += "{%- if m.content is string %}{{- m.content }}{%- else %}{%- for part in m.content %}"
    out += "{{- part.text }}{%- endfor %}{%- endif %}"
    out += lf(end) + "{%- elif m.role == 'assistant' %}" + lf(front + name["assistant"] + behind)
    if think:
        out += "{%- if m.reasoning_content and loop.index0 > ns.last %}" + lf(think[0]) + "{{- m.reasoning_content | trim }}" \
            + lf(think[1]) + "{%- endif %}"
    out += "{%- if m.content %}" + lf(wrap[0]) + "{{- m.content }}" + lf(wrap[1]) + "{%- endif %}"
    out += "{%- if m.tool_calls %}" + call + "{%- endif %}" + lf(end)
    out += "{%- elif m.role == 'tool' %}" + lf(front + name["tool"] + behind + result[1]) + "{{- m.content }}" + lf(end)
    out += "{%- else %}{{- raise_exception('no such role: ' ~ m.role) }}{%- endif %}{%- endfor %}"
    return out + "{%- if add_generation_prompt %}" + lf(front + name["assistant"] + behind + (begin or "")) + "{%- endif %}"


HERMES = calls(lf("<tool_call>\n") + NAMED + lf("\n</tool_call>"), "", lf("\n"))
HEADERS = ("<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>")
THINK = ("<think>\n", "\n</think>\n\n")
INST = ("[", "]", "[/]")
XML = tags(("<tool_call>\n<function=", ">\n"), "<parameter=", ">\n", "\n</parameter>\n", "</function>\n</tool_call>")
KEYS = tags(("<tool_call>", "\n"), "<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>\n", "</tool_call>")
DSML = (lf('<｜DSML｜invoke name="') + "{{- c.function.name }}" + lf('">\n') + PAIRS + lf('<｜DSML｜parameter name="') + "{{- key }}"
        + lf('" string="') + "{{- 'true' if value is string else 'false' }}" + lf('">') + PLAIN + lf("</｜DSML｜parameter>\n")
        + "{%- endfor %}" + lf("</｜DSML｜invoke>\n"))
K3 = (lf('<|open|>call tool="') + "{{- c.function.name }}" + lf('" index="') + "{{- loop.index }}" + lf('"<|sep|>') + PAIRS
      + lf('<|open|>argument key="') + "{{- key }}" + lf('" type="')
      + "{{- 'string' if value is string else 'boolean' if value is boolean else 'number' if value is number else "
      "'object' if value is "
      "mapping else 'null' if value is none else 'array' }}" + lf('"<|sep|>')
      + PLAIN + lf("<|close|>argument<|sep|>") + "{%- endfor %}"
      + lf("<|close|>call<|sep|>"))
HY = tags(("<tool_call:opensource>", "<tool_sep:opensource>\n"), "<arg_key:opensource>",
        "</arg_key:opensource>\n<arg_value:opensource>",
          "</arg_value:opensource>\n", "</tool_call:opensource>\n")
PYTHONIC = "{{- c.function.name }}({%- for key, value in c.function.arguments.items() %}{{- key }}={{ literal(value) }}" \
    "{{- ', ' if not loop.last }}{%- endfor %})"
COMMAND = ('{"tool_call_id": "{{ loop.index0 }}", "tool_name": "{{ c.function.name }}", "parameters": ' + ARGUMENTS + "}")
FENCED = (lf("<｜tool▁call▁begin｜>function<｜tool▁sep｜>") + "{{- c.function.name }}" + lf("\n```json\n") + ARGUMENTS
          + lf("\n```<｜tool▁call▁end｜>"))
SEPARATED = lf("<｜tool▁call▁begin｜>") + "{{- c.function.name }}" + lf("<｜tool▁sep｜>") + ARGUMENTS + lf("<｜tool▁call▁end｜>")
DEEPSEEK = ("<｜", "｜>", "<｜end▁of▁sentence｜>")
KIMI = (lf("<|tool_call_begin|>functions.") + "{{- c.function.name }}:{{ loop.index0 }}"
        + lf("<|tool_call_argument_begin|>") + ARGUMENTS
        + lf("<|tool_call_end|>"))
SOLAR = (lf("<|tool_call:begin|>") + "{{- c.id }}" + lf("<|tool_call:name|>") + "{{- c.function.name }}" + lf("<|tool_call:args|>")
         + ARGUMENTS + lf("<|tool_call:end|>"))
GRANITE = ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>\n")
PHI = ("<|", "|>", "<|end|>")
INVOKE = tags(('<invoke name="', '">\n'), '<parameter name="', '">', "</parameter>\n", "</invoke>\n")

MODELS = {
    "Qwen2.5": chat(call=HERMES), "Qwen3": chat(call=HERMES, think=THINK), "QwQ": chat(call=HERMES, begin="<think>\n", think=THINK),
    "Qwen3-Coder": chat(call=calls(XML, "", lf("\n"))), "Qwen3.5": chat(call=calls(XML, "", lf("\n")), think=THINK,
            begin="<think>\n"),
    "Nemotron-3": chat(call=calls(XML + lf("\n")), think=("<think>\n", "\n</think>\n")),
    "Step-3.5": chat(bos="<s>", call=calls(XML), think=THINK),
    "Hermes-2-Pro": chat(bos="<s>", call=HERMES), "Hermes-3": chat(bos="<s>", call=HERMES, role=HEADERS),
    "SmolLM3": chat(call=HERMES, think=THINK, tools="You may use:"), "MiMo": chat(call=HERMES, think=THINK),
    "Bielik-3": chat(bos="<s>", call=HERMES, think=("<think>\n", "\n</think>\n")),
    "Llama-3.1": chat(bos="<s>", role=HEADERS, call=calls(NAMED.replace("arguments", "parameters", 1), "", lf("; ")),
                      tools='Answer with {"name": the function, "parameters": dictionary of argument name and its value}.'),
    "Llama-4": chat(bos="<s>", head=PYTHON, role=("<|header_start|>", "<|header_end|>\n\n", "<|eot|>"), call=calls(
        PYTHONIC, lf("<|python_start|>["), ", ", "]" + lf("<|python_end|>"))),
    "Mistral-Nemo": chat(bos="<s>", role=INST, call=calls(NAMED, lf("[TOOL_CALLS]["), ", ", "]")),
    "Mistral-Small-3.2": chat(bos="<s>", role=INST, call=calls(
        lf("[TOOL_CALLS]") + "{{- c.function.name }}" + lf("[CALL_ID]") + "{{- c.id }}" + lf("[ARGS]") + ARGUMENTS)),
    "Ministral-3-Reasoning": chat(bos="<s>", role=INST, think=("[THINK]", "[/THINK]"), call=calls(
        lf("[TOOL_CALLS]") + "{{- c.function.name }}" + lf("[ARGS]") + ARGUMENTS)),
    "DeepSeek-R1": chat(role=DEEPSEEK, call=calls(FENCED, lf("<｜tool▁calls▁begin｜>"), lf("\n"), lf("<｜tool▁calls▁end｜>")),
                        think=("<think>\n", "\n</think>\n\n"), begin="<think>\n"),
    "DeepSeek-V3.1": chat(role=DEEPSEEK, call=calls(SEPARATED, lf("<｜tool▁calls▁begin｜>"), "", lf("<｜tool▁calls▁end｜>")),
                          think=("<think>", "</think>")),
    "DeepSeek-V3.2": chat(role=DEEPSEEK, call=calls(DSML, lf("\n\n<｜DSML｜function_calls>\n"), "", lf("</｜DSML｜function_calls>")),
                          think=("<think>", "</think>")),
    "DeepSeek-V4": chat(role=DEEPSEEK, call=calls(DSML, lf("\n\n<｜DSML｜tool_calls>\n"), "", lf("</｜DSML｜tool_calls>")),
                        think=("<think>", "</think>"), begin="<think>"),
    "GLM-4.6": chat(role=("<|", "|>\n", ""), call=calls(KEYS, "", lf("\n")), think=("<think>", "</think>\n")),
    "Laguna": chat(role=("<", ">\n", "</>\n"), call=calls(KEYS, "", lf("\n")), think=("<think>\n", "\n</think>\n")),
    "Ling-3": chat(role=("<role>", "</role>\n", "<|role_end|>"), call=calls(KEYS, "", lf("\n")), think=("<think>", "</think>")),
    "Hunyuan-3": chat(role=("<｜hy_", "｜>", ""), call=calls(HY, lf("<tool_calls:opensource>\n"), "", lf("</tool_calls:opensource>")),
                      think=("<think:opensource>", "</think:opensource>"), head="{#- <tool_sep{}> -#}"),
    "MiniMax-M1": chat(role=("<beginning_of_sentence>", "\n", "<end_of_sentence>\n"), call=calls(
        NAMED, lf("<tool_calls>\n"), lf("\n"), lf("\n</tool_calls>"))),
    "MiniMax-M2": chat(role=("]~b]", "\n", "[e~[\n"), think=("<think>\n", "\n</think>\n\n"), begin="<think>\n", call=calls(
        INVOKE, lf("<minimax:tool_call>\n"), "", lf("</minimax:tool_call>"))),
    "MiniMax-M3": chat(head=NESTED, role=("]~b]", "\n", "[e~[\n"), think=("<mm:think>", "</mm:think>"), call=calls(
        lf(']<]minimax[>[<invoke name="') + "{{- c.function.name }}" + lf('">') + "{{- nested(c.function.arguments) }}"
        + lf("]<]minimax[>[</invoke>\n"), lf("]<]minimax[>[<tool_call>\n"), "", lf("]<]minimax[>[</tool_call>"))),
    "MiniCPM-5": chat(think=THINK, call=calls(tags(('<function name="', '">'), '<param name="', '">', "</param>", "</function>"),
            "",
                                              lf("\n"))),
    "Kimi-K2": chat(role=("<|im_", "|>", "<|im_end|>"), call=calls(KIMI, lf("<|tool_calls_section_begin|>"), "",
                                                                  lf("<|tool_calls_section_end|>"))),
    "Kimi-K3": chat(role=("<|open|>message ", "<|sep|>", "<|close|>message<|sep|>"), think=("<|open|>think<|sep|>",
            "<|close|>think<|sep|>"),
                    wrap=("<|open|>response<|sep|>", "<|close|>response<|sep|>"),
                    call=calls(K3, lf("<|open|>tools<|sep|>"), "", lf("<|close|>tools<|sep|>"))),
    "Gemma-4": chat(head=GEMMA, bos="<s>", role=("<|turn>", "\n", "<turn|>\n"), think=("<|channel>thought\n", "<channel|>"),
            call=calls(
        lf("<|tool_call>call:") + "{{- c.function.name }}{{ literal(c.function.arguments) }}" + lf("<tool_call|>"))),
    "LFM2": chat(head=PYTHON, bos="<s>", call=calls(PYTHONIC, lf("<|tool_call_start|>["), ", ", "]" + lf("<|tool_call_end|>"))),
    "OLMo-3": chat(head=PYTHON, call=calls(PYTHONIC, lf("<function_calls>\n"), lf("\n"), lf("\n</function_calls>"))),
    "Command-A": chat(bos="<s>", role=("<|START_OF_TURN_TOKEN|><|", "_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
                      think=("<|START_THINKING|>", "<|END_THINKING|>"), wrap=("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
                      call=calls(COMMAND, lf("<|START_ACTION|>[\n"), "," + lf("\n"), lf("\n]<|END_ACTION|>"))),
    "Apertus": chat(bos="<s>", role=("<|", "_start|>", "<|end|>"), think=("<|inner_prefix|>", "<|inner_suffix|>"), call=calls(
        '{"{{ c.function.name }}": ' + ARGUMENTS + "}", lf("<|tools_prefix|>["), ", ", "]" + lf("<|tools_suffix|>"))),
    "GigaChat-3.1": chat(bos="<s>", role=("", "<|role_sep|>\n", "<|message_sep|>\n\n"), call=lf("<|function_call|>")
                         + "{%- set c = m.tool_calls[0] %}" + NAMED),
    "Solar-Open": chat(role=("<|begin|>", "", "<|end|>"), wrap=("<|content|>", ""), call=calls(SOLAR, lf("<|tool_calls|>"))),
    "Seed-OSS": chat(bos="<s>", role=("<seed:bos>", "\n", "<seed:eos>"), think=("<seed:think>", "</seed:think>\n"), call=calls(
        tags(("<seed:tool_call>\n<function=", ">\n"), "<parameter=", ">", "</parameter>\n", "</function>\n</seed:tool_call>"), "",
                lf("\n"))),
    "Granite-3.3": chat(role=GRANITE, call=calls(NAMED, lf("<|tool_call|>["), ", ", "]")),
    "Granite-4": chat(role=GRANITE, call=HERMES),
    "Phi-4-mini": chat(role=PHI, call=calls(NAMED, lf("<|tool_call|>["), ", ", "]" + lf("<|/tool_call|>"))),
    "Nemotron-Nano-2": chat(role=("<SPECIAL_11>", "\n", "<SPECIAL_12>\n"), think=("<think>\n", "\n</think>\n\n"), call=calls(
        NAMED, lf("<TOOLCALL>["), ", ", "]" + lf("</TOOLCALL>"))),
    "Apriel-1.6": chat(role=("<|begin_", "|>\n", "<|end|>\n"), think=("Here are my reasoning steps:\n",
            "\n[BEGIN FINAL RESPONSE]\n"),
                       call=calls(NAMED, lf("<tool_calls>["), ", ", "]" + lf("</tool_calls>"))),
    "Functionary-3.1": chat(bos="<s>", role=HEADERS, call=calls(lf("<function=") + "{{- c.function.name }}>" + ARGUMENTS
                                                                + lf("</function>"))),
    "Firefunction-2": chat(bos="<s>", role=HEADERS, call=calls(NAMED, lf(" functools["), ", ", "]")),
    "gpt-oss": chat(role=("<|start|>", "<|channel|>final<|message|>", "<|end|>"), call=calls(
        lf("<|end|><|start|>assistant<|channel|>commentary to=functions.") + "{{- c.function.name }}"
                + lf(" <|constrain|>json<|message|>")
        + ARGUMENTS + lf("<|call|>"))),
}

ADD = {"type": "function", "function": {"name": "add", "description": "Adds two numbers", "parameters": {"type": "object",
        "properties": {
    "a": {"type": "number"}, "b": {"type": "number"}}}}}
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {
    "city": {"type": "string"}, "days": {"type": "integer"}, "wet": {"type": "boolean"}, "where": {"type": "object"},
    "tags": {"type": "array", "items": {"type": "string"}}}, "required": ["city"]}}}
TOOLS = [WEATHER, ADD]
CALLS = [{"id": "abc123456", "type": "function", "function": {"name": "get_weather", "arguments": {
              "city": "Z\u00fcrich \"x\"", "days": 3, "wet": True, "where": {"lat": 1.5}, "tags": ["a", "b"]}}},
         {"id": "abc123457", "type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": -2.5}}}]
ASKED = {"role": "user", "content": "What now?"}


def answer(content, reasoning, calls):
    return {"role": "assistant", "content": content, **({"reasoning_content": reasoning} if reasoning else {}),
            **({"tool_calls": calls} if calls else {})}


CONVERSATIONS = [
    {"messages": [{"role": "system", "content": "Be brief."}, ASKED], "add_generation_prompt": True},
    {"messages": [ASKED, answer("Let me see.", "Hm.", CALLS)]
     + [{"role": "tool", "tool_call_id": c["id"], "content": "7"} for c in CALLS] + [answer("Done.", "So.", None)], "tools": TOOLS},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "two"}]},
                  answer(None, None, CALLS[1:])], "tools": TOOLS, "add_generation_prompt": True},
    {"messages": [ASKED, {"role": "critic", "content": "No."}]},
]


def called(render):
    """[{model, template, tools, answer, calls}]; render(template, context) gives (text, error)."""
    for model, template in MODELS.items():
        content = None if model == "Llama-3.1" else "Let me see."        # its calls are the whole answer
        made = CALLS[:1] if model == "GigaChat-3.1" else CALLS           # it writes one
        whole, prompt = (render(template, {"messages": messages, "tools": TOOLS, "add_generation_prompt": begins})[0]
                         for messages, begins in (([ASKED, answer(content, "Hm.", made)], False), ([ASKED], True)))
        n = next((i for i, (a, b) in enumerate(zip(whole, prompt)) if a != b), min(len(whole), len(prompt)))
        yield {"model": model, "template": template, "tools": TOOLS, "prompt": prompt, "answer": whole[n:],
               "calls": [c["function"] for c in made]}
