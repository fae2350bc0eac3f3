#!/usr/bin/env python3
"""The parts of answers through the shipped programs: reasoning and calls of every family of models, told token by token.

A tiny model says what its constraint makes it say; what comes of it is up to its template. Where the default models are there, a
real one calls a tool by itself.

usage: parts.py BIN (holds veritas, veritas-broker, veritas-worker and mkmodel)."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../fixtures"))
import client as c                      # noqa: E402
import malformed as gguf                # noqa: E402
from processes import child             # noqa: E402
from processes import private_daemon    # noqa: E402

os.environ["VERITAS_SOCKET"] = "/nowhere/s"         # never a daemon that somebody left running
BIN = os.path.abspath(sys.argv.pop(1))
# Random models say control characters, and here each byte is compared: the policy lets them stay.
os.environ["VERITAS_POLICY"] = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                            "fixtures/control-stays.json")
DIR = tempfile.TemporaryDirectory(prefix="vsp")
MODELS = os.path.expanduser(os.environ.get("VERITAS_MODELS", "~/.local/share/veritas/models"))
ADD = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {
    "a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}}}
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "The weather of a city",
           "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
TOOLS = [ADD, WEATHER]
TURNS = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
# what a template of the family has, what its model says, and the parts of that
FAMILIES = {
    "hermes": ("<tool_call> <think>", '<think>\nAdd them.</think>\n\nSure.\n<tool_call>\n'
               '{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>\n<tool_call>\n'
               '{"name": "get_weather", "arguments": {"city": "Zürich"}}\n</tool_call>',
               [(1, "Add them."), (0, "Sure."), (2, 'add\n{"a": 1, "b": 2}'), (3, 'get_weather\n{"city": "Zürich"}')]),
    "functions": ("<tool_call> <function= <parameter=", "<tool_call>\n<function=add>\n<parameter=a>\n1\n</parameter>\n"
                  "<parameter=b>\n2\n</parameter>\n</function>\n</tool_call>", [(2, 'add\n{"a":1,"b":2}')]),
    "minimax": ("<minimax:tool_call> <invoke name=", '<minimax:tool_call>\n<invoke name="add">\n<parameter name="a">1</parameter>\n'
                '<parameter name="b">2</parameter>\n</invoke>\n<invoke name="get_weather">\n'
                '<parameter name="city">Bern</parameter>\n</invoke>\n</minimax:tool_call>',
                [(2, 'add\n{"a":1,"b":2}'), (3, 'get_weather\n{"city":"Bern"}')]),
    "keys": ("<arg_key> <arg_value>", "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Bern</arg_value>\n</tool_call>",
             [(2, 'get_weather\n{"city":"Bern"}')]),
    "deepseek": ("<｜tool▁call▁begin｜>", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n"
                 '{"a": 1, "b": 2}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>', [(2, 'add\n{"a": 1, "b": 2}')]),
    "mistral": ("[TOOL_CALLS]", '[TOOL_CALLS][{"name": "add", "arguments": {"a": 1, "b": 2}}]', [(2, 'add\n{"a": 1, "b": 2}')]),
    "llama": ("<|python_tag|>", '{"name": "add", "parameters": {"a": 1, "b": 2}}', [(2, 'add\n{"a": 1, "b": 2}')]),
    "none": ("<tool_call>", 'A call is <tool_call>{"name": "sub", "arguments": {}}</tool_call>.',
             [(0, 'A call is <tool_call>{"name": "sub", "arguments": {}}</tool_call>.')]),
    "broken": ("<tool_call>", '<tool_call>{"name": "add", "arguments": {"a": 1,}}',
               [(0, '<tool_call>{"name": "add", "arguments": {"a": 1,}}')]),
}

BOOK = {"type": "function", "function": {"name": "book", "parameters": {
    "type": "object", "$defs": {"Isbn": {"type": "string", "pattern": "^[0-9]{3}-[0-9]$"}}, "required": ["title", "kind", "isbn"],
    "properties": {"title": {"type": "string", "maxLength": 12}, "kind": {"enum": ["novel", "poem", "1984"]},
                   "isbn": {"$ref": "#/$defs/Isbn"}, "note": {"anyOf": [{"type": "string", "maxLength": 9}, {"type": "null"}]},
                   "sold": {"type": "boolean"}, "tags": {"type": "array", "items": {"enum": ["old", "new"]}, "maxItems": 3},
                   "price": {"type": "number", "minimum": 0, "maximum": 99}}}}}
# families that write calls otherwise than as one object: signs in the template, marks that may be control tokens
WRITTEN = {
    "hermes": ("<tool_call>", ["<tool_call>", "</tool_call>"]),
    "functions": ("<tool_call> <function= <parameter=", ["<tool_call>", "</tool_call>"]),
    "keys": ("<arg_key> <arg_value>", ["<tool_call>", "</tool_call>"]),
    "minimax": ("<minimax:tool_call> <invoke name=", ["<minimax:tool_call>", "</minimax:tool_call>"]),
    "fenced": ("<｜tool▁call▁begin｜> ```json", ["<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>",
                                            "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"]),
    "deepseek": ("<｜tool▁call▁begin｜>", ["<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>",
                                       "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"]),
    "kimi": ("<|tool_call_begin|>", ["<|tool_calls_section_begin|>", "<|tool_call_begin|>", "<|tool_call_argument_begin|>",
                                     "<|tool_call_end|>", "<|tool_calls_section_end|>"]),
    "channels": ("<|channel|> <|message|>", ["<|channel|>", "<|message|>", "<|constrain|>"]),
    "dsml": ("｜DSML｜ <｜DSML｜function_calls>", ["｜DSML｜"]),
    "elements": ("<|open|> <|close|>", ["<|open|>", "<|close|>", "<|sep|>"]),
    "nested": ("]<]minimax[>[", ["]<]minimax[>["]),
    "params": ("<function name= <param name=", []),
    "hunyuan": ("<tool_sep{}>", ["<tool_calls:opensource>", "<tool_call:opensource>", "</tool_call:opensource>",
                                 "<tool_sep:opensource>", "<arg_key:opensource>", "</arg_key:opensource>",
                                 "<arg_value:opensource>", "</arg_value:opensource>"]),
    "gemma": ("<|tool_call>", ["<|tool_call>", "<tool_call|>", '<|"|>']),
    "liquid": ("<|tool_call_start|>", ["<|tool_call_start|>", "<|tool_call_end|>"]),
    "by_name": ("<|tools_prefix|>", ["<|tools_prefix|>", "<|tools_suffix|>"]),
    "command": ("<|START_ACTION|>", ["<|START_ACTION|>", "<|END_ACTION|>"]),
    "solar": ("<|tool_call:begin|>", ["<|tool_calls|>", "<|tool_call:begin|>", "<|tool_call:end|>", "<|tool_call:name|>",
                                      "<|tool_call:args|>"]),
}
# what a model that calls by itself says at once
HELD = {"hermes": "<tool_call>{", "functions": "<function=", "keys": "<tool_call>", "minimax": '<invoke name="',
        "fenced": "<｜tool▁call▁begin｜>",
        "deepseek": "<｜tool▁call▁begin｜>", "kimi": "<|tool_call_begin|>",
        "channels": "<|channel|>commentary to=functions.add<|message|>{",
        "dsml": '<｜DSML｜invoke name="', "elements": '<|open|>call tool="', "nested": ']<]minimax[>[<invoke name="',
        "params": '<function name="', "hunyuan": "<tool_call:opensource>", "gemma": "<|tool_call>",
        "liquid": "<|tool_call_start|>[",
        "by_name": '<|tools_prefix|>[{"', "command": "<|START_ACTION|>[{", "solar": "<|tool_call:begin|>"}


def shown(signs):
    """A template that shows its tools, of the family that has these signs."""
    return TURNS + "{{ tools }}{# " + signs + " #}"


def make(name, template, *options, change_tokens=None, control=()):
    path = f"{DIR.name}/{name}.gguf"
    subprocess.run([BIN + "/mkmodel", "--arch", "llama", "--layers", "1", "--embd", "64", "--heads", "4", "--kv-heads", "2",
                    "--vocab", "600", "--seed", "7", "--ctx", "4096", *options, "-o",
                    path], check=True, stdout=subprocess.DEVNULL)

    def change(m):
        m.drop("tokenizer.chat_template")
        m.set("tokenizer.chat_template", gguf.STR, template)
        if change_tokens:
            change_tokens(m.get("tokenizer.ggml.tokens")[1])
        for id in control:
            m.get("tokenizer.ggml.token_type")[1][id] = 3
    with open(path, "rb") as f:
        data = gguf.edit(f.read(), change)
    with open(path, "wb") as f:
        f.write(data)
    return path


def joined(events):
    """[(part, text)], neighbours of one part together."""
    parts = []
    for e in events:
        if parts and parts[-1][0] == e.part:
            parts[-1] = (e.part, parts[-1][1] + e.text)
        elif e.text:
            parts.append((e.part, e.text))
    return parts


class Parts(unittest.TestCase):
    def setUp(self):
        self.serve, ours = private_daemon(BIN + "/veritas", 120, stderr=subprocess.DEVNULL)
        self.client = c.Client(sock=ours)

    def tearDown(self):
        self.client.close()
        self.assertEqual(self.serve.wait(20), 0)

    def load(self, name, template, *options, **more):
        path = make(name, template, *options, **more)
        self.client.load_path(path)
        return path

    def begin(self, model, says=None, **more):
        value = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "parts": True, "tools": TOOLS, **more}
        if says is not None:
            value["constraint"] = {"choice": [says]}
        return self.client.request(c.CHAT, {k: v for k, v in value.items() if v is not None})

    def answer(self, model, says=None, **more):
        events = list(self.client.events(self.begin(model, says, **more)))
        return [e for e in events if e.kind == c.TOKEN], events[-1].value

    def refused(self, model, says=None, **more):
        with self.assertRaises(c.Failure) as e:
            self.client.wait(self.begin(model, says, **more))
        return e.exception.name, str(e.exception)

    def test_families(self):
        for name, (signs, says, want) in FAMILIES.items():
            model = self.load(name, shown(signs))
            tokens, result = self.answer(model, says)
            self.assertEqual(joined(tokens), want, name)
            self.assertEqual(result["finish_reason"], "tool_calls" if want[-1][0] > 1 else "stop", name)
            self.assertEqual(result["usage"]["completion_tokens"], sum(t.token != c.NO_TOKEN for t in tokens))
            self.assertNotEqual(tokens[0].token, c.NO_TOKEN)
            raw, whole = self.answer(model, says, parts=None)       # as it was said, and the same tokens
            self.assertEqual(("".join(t.text for t in raw), whole["finish_reason"]), (says, "stop"))
            self.assertEqual([t.token for t in raw], [t.token for t in tokens if t.token != c.NO_TOKEN])
            both, result = self.answer(model, says, n=2)
            for i in range(2):
                self.assertEqual(joined(e for e in both if e.index == i), want, name)
                self.assertEqual(result["choices"][i]["finish_reason"], "tool_calls" if want[-1][0] > 1 else "stop")
            self.client.wait(self.client.request(c.UNLOAD, {"model": model}))

    def test_choices(self):
        model = self.load("choices", shown("<tool_call>"))
        call = '<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>'
        tokens, result = self.answer(model, call + call)
        self.assertEqual((len(joined(tokens)), result["finish_reason"]), (2, "tool_calls"))
        tokens, result = self.answer(model, call + call, parallel_tool_calls=False)
        self.assertEqual((joined(tokens), result["finish_reason"]), ([(2, 'add\n{"a": 1, "b": 2}')], "tool_calls"))
        tokens, result = self.answer(model, call, tool_choice="none")       # the model isn't told of them either
        prompt = self.client.wait(self.client.request(c.DETOKENIZE, {"model": model, "tokens": result["prompt_tokens"]}))["text"]
        self.assertEqual((joined(tokens), result["finish_reason"], "add" in prompt), ([(0, call)], "stop", False))
        tokens, result = self.answer(model, call, tools=None)
        self.assertEqual((joined(tokens), result["finish_reason"]), ([(0, call)], "stop"))
        for choice, word in (("any", "tool_choice"), ({"type": "function"}, "tool_choice"), (3, "tool_choice"),
                             ({"type": "function", "function": {"name": "sub"}}, "none of the tools")):
            name, text = self.refused(model, tool_choice=choice)
            self.assertEqual((name, word in text), ("INVALID", True), (choice, text))
        self.assertEqual(self.refused(model, tool_choice="required", tools=None)[0], "INVALID")
        self.assertEqual(self.refused(model, tool_choice="required", parts=None)[0], "INVALID")

    def check_call(self, text, name=None):
        """A call that keeps its tool's schema."""
        is_name, arguments = text.split("\n", 1)
        arguments = json.loads(arguments)
        self.assertIn(is_name, [name] if name else ["add", "get_weather"])
        if is_name == "add":
            self.assertEqual(set(arguments), {"a", "b"})
            self.assertTrue(all(value == int(value) for value in arguments.values()), arguments)      # also of 60 digits
        else:
            self.assertIsInstance(arguments["city"], str)

    def test_forced_calls(self):
        """Whatever the model would say: the answer is a call that keeps the tool's schema, also with few tokens."""
        for name, signs in (("hermes", "<tool_call>"), ("mistral", "[TOOL_CALLS]"), ("llama", "<|python_tag|>"), ("plain", ""),
                            ("opened", "<tool_call> <think>")):
            model = self.load("forced-" + name, shown(signs) + ("<think>\n" if name == "opened" else ""))
            for seed in range(8):
                more = {"sampling": {"temperature": 1.5, "seed": seed}, "max_tokens": 90 if seed % 2 else 1000}
                named = {"type": "function", "function": {"name": TOOLS[seed % 2]["function"]["name"]}}
                for choice in ("required", named):
                    tokens, result = self.answer(model, tool_choice=choice, **more)
                    (part, text), = joined(tokens)
                    self.assertEqual((part, result["finish_reason"]), (2, "tool_calls"), (name, seed, text))
                    self.check_call(text, None if choice == "required" else named["function"]["name"])
                    self.assertEqual(result["usage"]["completion_tokens"], sum(t.token != c.NO_TOKEN for t in tokens))
                    self.assertGreater(sum(t.part == 2 and bool(t.text) for t in tokens), 2)        # as it comes
            self.client.wait(self.client.request(c.UNLOAD, {"model": model}))
        model = self.load("forced", shown("<tool_call>"))
        bare = {"type": "function", "function": {"name": "now"}}                # without parameters there are no arguments
        for seed in range(4):
            tokens, _ = self.answer(model, tools=[bare], tool_choice="required", sampling={"temperature": 1.5, "seed": seed})
            (_, text), = joined(tokens)
            self.assertEqual(json.loads(text.split("\n", 1)[1]), {}, text)
        self.assertEqual(self.refused(model, "x", tool_choice="required")[0], "INVALID")
        self.assertEqual(self.refused(model, tool_choice="required", stop=["x"])[0], "INVALID")
        self.assertEqual(self.refused(model, tool_choice="required", max_tokens=5)[0], "INVALID")

    def check_book(self, text):
        name, arguments = text.split("\n", 1)
        arguments = json.loads(arguments)
        self.assertEqual(name, "book")
        self.assertLessEqual(set(arguments), set(BOOK["function"]["parameters"]["properties"]))
        self.assertIsInstance(arguments["title"], str)
        self.assertIn(arguments["kind"], ["novel", "poem", "1984"])
        self.assertRegex(arguments["isbn"], "^[0-9]{3}-[0-9]$")
        for key, of in (("note", (str, type(None))), ("sold", (bool,)), ("tags", (list,)), ("price", (int, float))):
            if key in arguments:
                self.assertIsInstance(arguments[key], of)
        self.assertTrue(all(tag in ("old", "new") for tag in arguments.get("tags", [])))
        return arguments

    def test_calls_of_every_family(self):
        """Tags and headers are forced by the same masks, also where marks are control tokens, and several of them."""
        several = 0
        for name, (signs, marks) in WRITTEN.items():
            for control in (False, True):
                def change(tokens):
                    for i, mark in enumerate(marks):
                        tokens[300 + i] = mark.encode()
                more = {"change_tokens": change, "control": range(300, 300 + len(marks))} if control else {}
                model = self.load(f"all-{name}-{control}", shown(signs), "--tokenizer", "llama", "--pre", "default", **more)
                most = 0
                for seed in range(5):
                    sampling = {"temperature": 1.4, "seed": seed}
                    tokens, result = self.answer(model, tools=[ADD, WEATHER, BOOK], tool_choice={"type": "function", "function": {
                        "name": "book"}}, sampling=sampling, max_tokens=300 if seed % 2 else 500)
                    (part, text), = joined(tokens)
                    self.assertEqual((part, result["finish_reason"]), (2, "tool_calls"), (name, seed, text))
                    self.check_book(text)
                    tokens, result = self.answer(model, tool_choice="required", parallel_tool_calls=True, sampling=sampling,
                                                 max_tokens=(140, 900)[seed % 2])
                    parts = joined(tokens)
                    self.assertEqual(([part for part, _ in parts], result["finish_reason"]),
                                     (list(range(2, 2 + len(parts))), "tool_calls"), (name, parts))
                    for _, text in parts:
                        self.check_call(text)
                    most = max(most, len(parts))
                several += most > 1
                self.client.wait(self.client.request(c.UNLOAD, {"model": model}))
        self.assertGreater(several, 3)

    def test_held_calls_of_every_family(self):
        for name, (signs, marks) in WRITTEN.items():
            def change(tokens):
                tokens[300] = HELD[name].encode()
            model = self.load("held-" + name, shown(signs), "--tokenizer", "llama", "--pre", "default", change_tokens=change,
                              control=(300,) if HELD[name] in marks else ())
            for seed in range(4):
                tokens, result = self.answer(model, max_tokens=300, sampling={"temperature": 1.2, "seed": seed,
                                                                              "logit_bias": [[300, 30]]})
                calls = [text for part, text in joined(tokens) if part > 1]
                self.assertTrue(calls, (name, joined(tokens)))
                for text in calls:
                    self.check_call(text)
                self.assertNotIn("notice", result)
            self.client.wait(self.client.request(c.UNLOAD, {"model": model}))

    def test_held_calls(self):
        """A model that calls by itself, and would say nonsense: from the call's beginning on it keeps the schema."""
        def change(tokens):
            tokens[300] = b"<tool_call>{"
        model = self.load("held", shown("<tool_call>"), "--tokenizer", "llama", "--pre", "default", change_tokens=change)
        calls = 0
        for seed in range(6):
            more = {"sampling": {"temperature": 1.2, "seed": seed, "logit_bias": [[300, 30]]}, "max_tokens": 400}
            tokens, result = self.answer(model, **more)
            self.assertNotIn("notice", result)
            for part, text in joined(tokens):
                if part > 1:
                    self.check_call(text)
                    calls += 1
            self.assertNotEqual(result["finish_reason"], "stop")
            tokens, result = self.answer(model, **more, stop=[",", "}"])        # they don't cut a call that has begun
            self.check_call(joined(tokens)[0][1])
        self.assertGreater(calls, 6)
        odd = {"type": "function", "function": {"name": "odd", "parameters": {"type": "object", "properties": {
            "a": {"type": "string", "format": "iri"}}}}}
        _, result = self.answer(model, "x", tools=[odd], max_tokens=1)
        self.assertNotIn("notice", result)                      # beside a constraint of its own there is none for calls
        _, result = self.answer(model, tools=[odd], max_tokens=1)
        self.assertIn("schema", result["notice"])
        odd["function"]["strict"] = True
        self.assertIn(self.refused(model, tools=[odd], max_tokens=1)[0], ("UNSUPPORTED", "INVALID"))

    def test_reasoning_that_the_prompt_began(self):
        model = self.load("open", TURNS + "<think>\n")
        prompt = self.client.wait(self.client.request(c.TOKENIZE, {"model": model, "text": "<think>\n", "special": True}))["tokens"]
        begun = self.client.request(c.GENERATE, {"model": model, "tokens": prompt, "parts": True,
                                                 "constraint": {"choice": ["Well.\n</think>\n\nYes."]}})
        events = list(self.client.events(begun))
        self.assertEqual((joined(e for e in events if e.kind == c.TOKEN), events[-1].value["finish_reason"]),
                         ([(1, "Well."), (0, "Yes.")], "stop"))      # with ids of our own, the form is that of all that is said
        model = self.load("closed", TURNS + "<think>\n\n</think>\n\n")
        tokens, _ = self.answer(model, "Well. Yes.", tools=None)
        self.assertEqual(joined(tokens), [(0, "Well. Yes.")])

    def check_form(self, model, schema, seed, n, **more):
        tokens, result = self.answer(model, tools=None, constraint={"json_schema": schema}, max_tokens=n,
                                     sampling={"temperature": 1.3, "seed": seed, **more.pop("sampling", {})}, **more)
        text = "".join(t.text for t in tokens if t.part != 1)
        self.assertEqual((set(json.loads(text)), result["finish_reason"]), ({"ok"}, "stop"), text)
        self.assertTrue(all(t.part in (0, 1) for t in tokens))
        self.assertLessEqual(result["usage"]["completion_tokens"], n)
        return "".join(t.text for t in tokens if t.part == 1), tokens

    def test_a_form_behind_reasoning(self):
        """What is reasoned is free, ends in time, and then the answer keeps its form."""
        schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}

        def change(tokens):
            tokens[300], tokens[301] = b"<think>", b"</think>"
        for name, template, more in (("text", TURNS + "<think>\n", {}),
                                     ("control", TURNS + "<think>\n", {"change_tokens": change, "control": (300, 301)}),
                                     ("by-itself", TURNS + "{# <think> #}", {"change_tokens": change, "control": (300, 301)})):
            model = self.load("form-" + name, template, "--tokenizer", "llama", "--pre", "default", **more)
            begins = {"sampling": {"logit_bias": [[300, 5]]}} if name == "by-itself" else {}
            thoughts = [len(self.check_form(model, schema, seed, (40, 80, 300)[seed % 3], **begins)[0]) for seed in range(12)]
            self.assertGreater(sum(n > 20 for n in thoughts), 2 if begins else 11, (name, thoughts))
            for n in (2, 9):
                both, result = self.answer(model, tools=None, constraint={"json_schema": schema}, max_tokens=60, n=n, **begins)
                for i in range(n):
                    said = "".join(t.text for t in both if t.index == i and t.part == 0)
                    self.assertEqual(set(json.loads(said)), {"ok"})
            if name == "control":       # a model that ends by itself
                ends = {"sampling": {"logit_bias": [[301, 3]]}}
                lengths = {len(self.check_form(model, schema, seed, 300, **ends)[0]) for seed in range(8)}
                self.assertGreater(len(lengths), 3)
            got = self.check_form(model, schema, 3, 80, parts=None)[1]       # nobody could tell it apart: there is none
            self.assertTrue(got[0].text.startswith("{"), got[0].text)
            self.assertEqual(self.refused(model, tools=None, constraint={"json_schema": schema}, max_tokens=3)[0], "INVALID")
            self.assertEqual(self.refused(model, tools=None, constraint={"json_schema": schema}, stop=["x"])[0], "INVALID")
            want, _ = self.answer(model, tools=None, constraint={"json_schema": schema}, max_tokens=200, **begins)
            number, got = self.begin(model, tools=None, constraint={"json_schema": schema}, max_tokens=200, **begins), []
            for event in self.client.events(number):
                if event.kind == c.TOKEN:
                    got.append(event)
                    if len(got) == 20:
                        os.kill(child(self.serve.pid, "veritas-worker"), 9)
            self.assertEqual([(e.token, e.part, e.text) for e in got], [(e.token, e.part, e.text) for e in want])
            self.client.wait(self.client.request(c.UNLOAD, {"model": model}))

    def test_a_template_without_tools(self):
        """They are described to the model, and what was called before is told as text."""
        model = self.load("plain", TURNS)
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 2?"},
                    {"role": "assistant", "content": None, "tool_calls": [{"id": "x", "type": "function", "function": {
                        "name": "add", "arguments": '{"a": 1, "b": 2}'}}]}, {"role": "tool", "tool_call_id": "x", "content": "3"}]
        says = '<tool_call>\n{"name": "add", "arguments": {"a": 3, "b": 4}}\n</tool_call>'
        tokens, result = self.answer(model, says, messages=messages)
        self.assertEqual((joined(tokens), result["finish_reason"]), ([(2, 'add\n{"a": 3, "b": 4}')], "tool_calls"))
        prompt = self.client.wait(self.client.request(c.DETOKENIZE, {"model": model, "tokens": result["prompt_tokens"]}))["text"]
        for there in ("[system]Be brief.\n\nYou can call", '"name":"get_weather"', "[user]1 + 2?[assistant]<tool_call>\n"
                      '{"name": "add", "arguments": {"a": 1, "b": 2}}', "[user]<tool_response>\n3\n</tool_response>"):
            self.assertIn(there, prompt)
        self.assertNotIn("notice", result)

    def test_another_worker_goes_on(self):
        """Killed in the middle: the client gets the same frames as if nothing had happened."""
        model = self.load("goes-on", shown("<tool_call> <think>"))
        call = '<tool_call>{"name": "get_weather", "arguments": {"city": "%s"}}</tool_call> '
        says = "<think>" + "so and so " * 60 + "</think>" + "".join(call % name for name in "abcdefghij") + "Done."
        want, _ = self.answer(model, says)
        number, got = self.begin(model, says), []
        for event in self.client.events(number):
            if event.kind == c.TOKEN:
                got.append(event)
                if len(got) == 40:
                    os.kill(child(self.serve.pid, "veritas-worker"), 9)
        self.assertEqual([(e.token, e.part, e.text) for e in got], [(e.token, e.part, e.text) for e in want])
        self.assertEqual(event.value["finish_reason"], "tool_calls")

    def run_veritas(self, model, says, *options):
        with open(DIR.name + "/tools.json", "w") as f:
            json.dump(TOOLS, f)
        return subprocess.run([BIN + "/veritas", "run", "-m", model, "--choice", says, *options, "Hi"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True)

    def test_the_command_line(self):
        model = make("command", shown("<tool_call> <think>"))
        says = FAMILIES["hermes"][1]
        tools = ("--tools", DIR.name + "/tools.json")
        got = self.run_veritas(model, says, *tools, "--json")
        self.assertEqual(got.returncode, 0, got.stderr)
        told = json.loads(got.stdout)
        self.assertEqual((told["text"], told["reasoning"], told["finish_reason"]), ("Sure.", "Add them.", "tool_calls"))
        self.assertEqual(told["tool_calls"], [{"name": "add", "arguments": '{"a": 1, "b": 2}'},
                                              {"name": "get_weather", "arguments": '{"city": "Zürich"}'}])
        self.assertEqual(len(told["tokens"]), told["usage"]["completion_tokens"])
        calls = 'add {"a": 1, "b": 2}\nget_weather {"city": "Zürich"}\n'
        for options, want in ((tools, "Sure.\n" + calls), ((*tools, "--reasoning", "show"), "Add them.\n\nSure.\n" + calls),
                              ((*tools, "--reasoning", "hide", "--tool-choice", "auto"), "Sure.\n" + calls), ((), says + "\n"),
                              (("--reasoning", "hide"), says.split("</think>\n\n")[1] + "\n")):
            got = self.run_veritas(model, says, *options)
            self.assertEqual((got.stdout, got.returncode), (want, 0), (options, got.stderr))
        for options, status, word in ((("--tool-choice", "add"), 2, "--tools"), (("--tools", "/nowhere"), 4, "/nowhere"),
                                      ((*tools, "--tool-choice", "sub"), 2, "none of the tools")):
            got = self.run_veritas(model, says, *options)
            self.assertEqual((got.returncode, word in got.stderr), (status, True), (options, got.stderr))
        with open(DIR.name + "/chat", "w") as f:
            f.write("Hi\n")
        with open(DIR.name + "/chat") as f:
            got = subprocess.run([BIN + "/veritas", "chat", "-m", model, "--reasoning", "hide", "-n", "4"], stdin=f, text=True,
                                 capture_output=True)
        self.assertEqual(got.returncode, 0, got.stderr)

    def test_a_real_model(self):
        path = f"{MODELS}/qwen2.5-coder-0.5b-instruct.gguf"
        if not os.path.exists(path):
            self.skipTest("the model is not here")
        self.client.load_path(path)
        tokens, result = self.answer(path, messages=[{"role": "user", "content": "What is the weather in Paris?"}], tools=[WEATHER],
                                     sampling={"temperature": 0}, max_tokens=60)
        self.assertEqual(result["finish_reason"], "tool_calls")
        name, arguments = joined(tokens)[-1][1].split("\n", 1)
        self.assertEqual((name, json.loads(arguments)["city"].split(",")[0]), ("get_weather", "Paris"))
        held = json.loads(json.dumps(WEATHER))                  # a city that the question does not name
        held["function"]["parameters"]["properties"]["city"]["enum"] = ["Oslo", "Rome"]
        tokens, result = self.answer(path, messages=[{"role": "user", "content": "What is the weather in Paris?"}], tools=[held],
                                     sampling={"temperature": 0}, max_tokens=60)
        self.assertIn(json.loads(joined(tokens)[-1][1].split("\n", 1)[1])["city"], ("Oslo", "Rome"))
        self.assertEqual(result["finish_reason"], "tool_calls")


if __name__ == "__main__":
    unittest.main(verbosity=0)
