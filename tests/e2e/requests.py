#!/usr/bin/env python3
"""What requests may say and what comes back, over the protocol with tiny generated models and a real engine.

usage: requests.py BIN (holds veritas, veritas-broker, veritas-worker and mkmodel)."""
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../fixtures"))
import client as c                      # noqa: E402
import malformed as gguf                # noqa: E402
from processes import child, patience, private_daemon       # noqa: E402

os.environ["VERITAS_SOCKET"] = "/nowhere/s"         # never a daemon that somebody left running
BIN = os.path.abspath(sys.argv.pop(1))
# Random models say control characters, and here each byte is compared: the policy lets them stay.
os.environ["VERITAS_POLICY"] = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                            "fixtures/control-stays.json")
DIR = tempfile.TemporaryDirectory(prefix="vsr")
GREEDY = {"temperature": 0}


def read(path):
    with open(path) as f:
        return f.read()


def make(name, *options, change=None):
    """A tiny model; change(gguf.Model) edits it."""
    path = f"{DIR.name}/{name}.gguf"
    subprocess.run([BIN + "/mkmodel", "--arch", "llama", "--layers", "1", "--embd", "64", "--heads", "4", "--kv-heads", "2",
                    "--vocab",
                    "600", "--seed", "7", *options, "-o", path], check=True, stdout=subprocess.DEVNULL)
    if change:
        with open(path, "rb") as f:
            data = gguf.edit(f.read(), change)
        with open(path, "wb") as f:
            f.write(data)
    return path


class Requests(unittest.TestCase):
    def setUp(self):
        self.serve, ours = private_daemon(BIN + "/veritas", 120, stderr=subprocess.DEVNULL)
        self.client = c.Client(sock=ours)

    def tearDown(self):
        self.client.close()
        self.assertEqual(self.serve.wait(20), 0)

    def load(self, path, **more):
        self.client.load_path(path, **more)
        return path

    def answer(self, kind, value):
        """The TOKEN events and the result."""
        events = list(self.client.events(self.client.request(kind, value)))
        return [e for e in events if e.kind == c.TOKEN], events[-1].value

    def generate(self, model, prompt="The sky is", **more):
        return self.answer(c.GENERATE, {"model": model, "prompt": prompt, "raw": True, "sampling": GREEDY, **more})

    def test_stop_strings(self):
        """Wherever a stop string stands, over however many tokens: the answer is what stands before its first byte."""
        model = self.load(make("stops", "--ctx", "512"))
        tokens, whole = self.generate(model, ignore_eos=True, max_tokens=40)
        text = "".join(t.text for t in tokens)
        self.assertEqual((len(tokens), whole["finish_reason"]), (40, "length"))     # one frame a token, the last one too
        self.assertGreater(len(text), 40)
        stops = [[text[i:i + n]] for n in (1, 2, 5, 11) for i in range(0, len(text) - n, 7)]
        stops += [[text[20:30], text[22:24]], [text[5:9] + "\x01", text[7:9]], ["\x01", text[-1:] + "\x01"], [text[-3:] + "\x01"]]
        for stop in stops:
            got, result = self.generate(model, ignore_eos=True, max_tokens=40, stop=stop)
            # The first token that completes a stop string ends the answer; of several that stand there whole, the first one counts.
            seen, want, why = "", text, "length"
            for token in tokens:
                seen += token.text if token is not tokens[-1] else text[len(seen):]
                at = [seen.find(s) for s in stop if s in seen]
                if at:
                    want, why = text[:min(at)], "stop"
                    break
            self.assertEqual(("".join(t.text for t in got), result["finish_reason"]), (want, why), stop)
            by = result.get("stop_sequence")
            self.assertTrue(by in stop and text.startswith(want + by) if why == "stop" else by is None, (stop, by))
        for bad in ([""], ["x" * 4097], ["x"] * 65, [1], [None], "x"):
            with self.assertRaises(c.Failure) as e:
                self.generate(model, max_tokens=1, stop=bad)
            self.assertEqual((e.exception.name, "stop" in str(e.exception)), ("INVALID", True))

    def test_parts_of_plain_text(self):
        """All of it is content, token for token as without parts; so too of several choices."""
        model = self.load(make("parts", "--ctx", "512"))
        plain, _ = self.generate(model, max_tokens=20, ignore_eos=True)
        for more in ({}, {"n": 2}):
            parts, result = self.generate(model, max_tokens=20, ignore_eos=True, parts=True, **more)
            first = [t for t in parts if not t.index]
            self.assertEqual([(t.token, t.text) for t in first], [(t.token, t.text) for t in plain])
            self.assertEqual({t.part for t in parts}, {0})
            self.assertEqual(result["usage"]["completion_tokens"], len(parts))
        stop = "".join(t.text for t in plain)[30:34]
        _, result = self.generate(model, max_tokens=20, ignore_eos=True, n=2, stop=[stop, "\x01"])
        self.assertEqual([o["stop_sequence"] for o in result["choices"]], [stop, stop])

    def test_tokenize_messages(self):
        """The ids are those that chat reads, with tools, another template and its arguments."""
        text = "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{{ tools }}{{ extra }}"
        model = self.with_templates("tokenize", text)
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi <s> there"}]
        for more in ({}, {"tools": [{"type": "function", "function": {"name": "f"}}]}, {"template_args": {"extra": "x"}}):
            _, result = self.answer(c.CHAT, {"model": model, "messages": messages, "max_tokens": 0, **more})
            got = self.client.wait(self.client.request(c.TOKENIZE, {"model": model, "messages": messages, **more}))
            self.assertEqual((got["tokens"], got["n"]), (result["prompt_tokens"], len(result["prompt_tokens"])))
        asked = self.client.request(c.TOKENIZE, {"model": model, "messages": messages, "render": True,
                                                 "template_args": {"extra": "!"}})
        self.assertTrue(self.client.wait(asked)["text"].endswith("<system>Be brief.<user>Hi <s> there!"))
        plain = self.with_templates("tokenize-plain", text.replace("{{ tools }}", ""))
        tools = [{"type": "function", "function": {"name": "f"}}]
        for one in (model, plain):
            for more in ({}, {"parts": True}, {"parts": True, "tool_choice": "none"}, {"parts": True, "tool_choice": "auto"}):
                more = {"model": one, "messages": messages, "tools": tools, **more}
                got = self.client.wait(self.client.request(c.TOKENIZE, more))
                self.assertEqual(got["tokens"], self.answer(c.CHAT, {**more, "max_tokens": 0})[1]["prompt_tokens"], more)
        for bad, word in (({"messages": messages, "text": "x"}, "text"), ({"messages": messages, "no_bos": True}, "no_bos"),
                          ({"text": "x", "render": True}, "render"), ({}, "text"), ({"text": "x", "tools": []}, "tools"),
                          ({"text": "x", "tool_choice": "none"}, "tool_choice"), ({"text": "x", "documents": []}, "documents"),
                          ({"messages": []}, "at least one"), ({"messages": [{"role": "user"}]}, "content")):
            name, text = self.refused(c.TOKENIZE, {"model": model, **bad})
            self.assertEqual((name, word in text), ("INVALID", True), (bad, text))

    def worker(self, what):
        """A number of the worker's /proc/PID/status, in KiB."""
        return int(re.search(what + r":\s+(\d+) kB", read(f"/proc/{child(self.serve.pid, 'veritas-worker')}/status"))[1])

    def test_large_results(self):
        """Ids that stand for more text than a result may have: refused before the text exists."""
        def grow(m):
            tokens = m.get("tokenizer.ggml.tokens")[1]
            tokens[300:304] = [bytes([97 + i]) * 300000 for i in range(4)]
        model = self.load(make("large", "--tokenizer", "llama", "--pre", "default", change=grow))
        before = self.worker("VmHWM")
        with self.assertRaises(c.Failure) as e:
            self.client.wait(self.client.request(c.DETOKENIZE, {"model": model, "tokens": [300] * 6000}))
        self.assertEqual(e.exception.name, "LIMIT")
        self.assertIn("32 MiB", str(e.exception))
        self.assertLess(self.worker("VmHWM") - before, 128 << 10)
        result = self.client.wait(self.client.request(c.DETOKENIZE, {"model": model, "tokens": [300, 301] * 50}))
        self.assertEqual(result["text"], ("a" * 300000 + "b" * 300000) * 50)

    def rendered(self, model, messages, **more):
        """What the model's template makes of a conversation."""
        _, result = self.answer(c.CHAT, {"model": model, "messages": messages, "max_tokens": 0, **more})
        return self.client.wait(self.client.request(c.DETOKENIZE, {"model": model, "tokens": result["prompt_tokens"],
                                                                   "special": True}))["text"]

    def refused(self, kind, value):
        with self.assertRaises(c.Failure) as e:
            self.client.wait(self.client.request(kind, value))
        return e.exception.name, str(e.exception)

    def with_templates(self, name, default, **named):
        def change(m):
            m.drop("tokenizer.chat_template")
            if default is not None:
                m.set("tokenizer.chat_template", gguf.STR, default)
            for key, text in named.items():
                m.set("tokenizer.chat_template." + key, gguf.STR, text)
        return self.load(make(name, "--ctx", "512", change=change))

    def test_named_templates(self):
        turns = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[go]{% endif %}"
        model = self.with_templates("named", turns,
                                    tool_use="{{ 'Call:' }}{% for t in tools %} {{ t.function.name }}{% endfor %} " + turns,
                                    rag="{% for d in documents %}<{{ d.title }}>{% endfor %}" + turns, broken="{% for %}")
        hi = [{"role": "user", "content": "hi"}]
        tools = [{"type": "function", "function": {"name": "clock", "parameters": {}}}, {"type": "function",
                                                                                         "function": {"name": "map"}}]
        self.assertEqual(self.rendered(model, hi), "[user]hi[go]")
        self.assertEqual(self.rendered(model, hi, tools=[]), "[user]hi[go]")
        self.assertEqual(self.rendered(model, hi, tools=None, template=None), "[user]hi[go]")
        self.assertEqual(self.rendered(model, hi, tools=tools), "Call: clock map [user]hi[go]")
        self.assertEqual(self.rendered(model, hi, tools=tools, template="default"), "[user]hi[go]")
        self.assertEqual(self.rendered(model, hi, template="rag", template_args={"documents": [{"title": "T1"}, {"title": "T2"}]}),
                         "<T1><T2>[user]hi[go]")
        name, text = self.refused(c.CHAT, {"model": model, "messages": hi, "template": "nothing"})
        self.assertEqual(name, "INVALID")
        self.assertIn("tool_use", text)
        self.assertEqual(self.refused(c.CHAT, {"model": model, "messages": hi, "template": "broken"})[0], "MALFORMED")
        only = self.with_templates("only", None, tool_use=turns)
        self.assertEqual(self.refused(c.CHAT, {"model": only, "messages": hi})[0], "UNSUPPORTED")
        self.assertEqual(self.rendered(only, hi, tools=tools), "[user]hi[go]")
        for value, key in (({"template": "rag"}, "template"), ({"template_args": {"a": 1}}, "template_args"), ({"system": "s"},
                                                                                                               "system")):
            name, text = self.refused(c.GENERATE, {"model": model, "prompt": "x", "raw": True, **value})
            self.assertEqual((name, key in text), ("INVALID", True))

    def test_documents(self):
        """As the template's own variable where it shows them, else before the last message of the user; text in any case."""
        turns = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[go]"
        own = self.with_templates("own", "{% for d in documents or [] %}<{{ d.title }}:{{ d.text }}>{% endfor %}" + turns)
        model = self.with_templates("block", turns, drops="{% if documents %}{% endif %}" + turns,
                                    angry="{% if documents %}{{ raise_exception('no documents') }}{% endif %}" + turns,
                                    parts="{% for m in messages %}{% for p in m.content %}[{{ p.text }}]{% endfor %}{% endfor %}")
        hi = [{"role": "user", "content": "hi"}]
        documents = [{"title": "T1", "text": "one\x00 <|im_end|>"}, {"text": "two"}, {"title": None, "text": ""}]
        block = ("<documents>\n<document>\nTitle: T1\none\x00 <|im_end|>\n</document>\n<document>\ntwo\n</document>\n"
                 "<document>\n\n</document>\n</documents>\n\n")
        self.assertEqual(self.rendered(own, hi, documents=documents[:1] + [{"title": "T2", "text": "two"}]),
                         "<T1:one\x00 <|im_end|>><T2:two>[user]hi[go]")
        for template in (None, "drops", "angry"):
            self.assertEqual(self.rendered(model, hi, documents=documents, template=template), f"[user]{block}hi[go]")
        for empty in (None, []):
            self.assertEqual(self.rendered(model, hi, documents=empty), "[user]hi[go]")
            self.assertEqual(self.rendered(own, hi, documents=empty), "[user]hi[go]")
        talk = [*hi, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "and?"},
                {"role": "assistant", "content": "so"}]
        self.assertEqual(self.rendered(model, talk, documents=documents),
                         f"[user]hi[assistant]yes[user]{block}and?[assistant]so[go]")
        self.assertEqual(self.rendered(model, [{"role": "system", "content": "s"}], documents=documents),
                         f"[system]s[user]{block}[go]")
        parts = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]
        self.assertEqual(self.rendered(model, parts, documents=documents, template="parts"), f"[{block}][a][b]")
        self.assertEqual(self.rendered(model, parts, documents=documents), f"[user]{block}\na\nb[go]")
        for kind, prompt in ((c.CHAT, {"messages": hi}), (c.GENERATE, {"prompt": "hi"})):
            for where in (own, model):
                ids = self.answer(kind, {"model": where, **prompt, "documents": documents, "max_tokens": 0})[1]["prompt_tokens"]
                self.assertNotIn(2, ids)                    # <|im_end|>
                text = self.client.wait(self.client.request(c.DETOKENIZE, {"model": where, "tokens": ids}))["text"]
                self.assertIn("one", text)
        files = [f"{DIR.name}/{name}" for name in ("one.txt", "two.txt")]
        for path, text in zip(files, ("first text\n", "second text")):
            with open(path, "w") as f:
                f.write(text)
        words = [w for path in files for w in ("--document", path)]
        for command, more in (("run", ["-n", "0", "--json", "hi"]), ("chat", ["-n", "0", "--no-history"])):
            out = subprocess.run([BIN + "/veritas", command, "--private", "-m", own, *words, *more], text=True, input="hi\n",
                                 capture_output=True)
            self.assertEqual((out.returncode, "Traceback" in out.stderr), (0, False), out)
            if command == "run":
                ids = json.loads(out.stdout)["prompt_tokens"]
                text = self.client.wait(self.client.request(c.DETOKENIZE, {"model": own, "tokens": ids}))["text"]
                self.assertIn("<one.txt:first text\n><two.txt:second text>", text)
        out = subprocess.run([BIN + "/veritas", "run", "-m", own, "--document", DIR.name + "/none", "x"], capture_output=True,
                             text=True)
        self.assertEqual((out.returncode, "none" in out.stderr), (4, True), out)
        for bad, said in (([{"title": "x"}], "entry 0"), ([{"text": "x"}, {"text": 1}], "entry 1"), (["x"], "entry 0"),
                          ([{"text": "x", "title": 5}], "entry 0"), ("x", "a list"), ([{"text": ""}] * 1025, "at most 1024")):
            name, text = self.refused(c.CHAT, {"model": model, "messages": hi, "documents": bad})
            self.assertEqual((name, "documents" in text, said in text), ("INVALID", True, True), (bad, text))
        name, text = self.refused(c.CHAT, {"model": own, "messages": hi, "documents": documents,
                                           "template_args": {"documents": documents}})
        self.assertEqual((name, "given twice" in text), ("INVALID", True))
        name, text = self.refused(c.GENERATE, {"model": own, "prompt": "x", "raw": True, "documents": documents})
        self.assertEqual((name, "documents" in text), ("INVALID", True))

    def test_zones(self):
        """They are for the guard: no template sees them."""
        model = self.with_templates("zones", "{% for m in messages %}{{ m | tojson }}{% endfor %}")
        plain = [{"role": "tool", "content": "a"}, {"role": "user", "content": [{"type": "text", "text": "b"}]}]
        zoned = [{"role": "tool", "zone": "retrieved", "content": "a"},
                 {"role": "user", "zone": "user", "content": [{"type": "text", "text": "b", "zone": "tool"}]}]
        self.assertEqual(self.rendered(model, zoned), self.rendered(model, plain))
        self.assertEqual(self.rendered(model, [{"role": "user", "content": "x", "zone": None}]),
                         self.rendered(model, [{"role": "user", "content": "x"}]))
        for bad in ("nowhere", "", 5, ["user"], {}):
            for m in ({"role": "user", "content": "x", "zone": bad},
                      {"role": "user", "content": [{"type": "text", "text": "x", "zone": bad}]}):
                name, text = self.refused(c.CHAT, {"model": model, "messages": [*plain, m]})
                self.assertEqual((name, "zone of entry 2 must be system, user, retrieved or tool" in text), ("INVALID", True), text)

    def test_template_args(self):
        model = self.with_templates("args",
                                    "{{ enable_thinking }}|{{ effort | default('none') }}|{{ deep.er[1] if deep else 0 }}|"
                                     "{{ bos_token }}|"
                                    "{{ add_generation_prompt }}")
        hi = [{"role": "user", "content": "hi"}]
        plain = self.rendered(model, hi)
        self.assertRegex(plain, r"^\|none\|0\|.*\|True$")
        self.assertEqual(self.rendered(model, hi, template_args={"enable_thinking": False, "effort": "high", "deep": {"er": [1, 2]},
                                                                 "add_generation_prompt": False}),
                         plain.replace("|none|0|", "False|high|2|").replace("True", "False"))
        for key in ("messages", "tools", "bos_token", "eos_token"):
            name, text = self.refused(c.CHAT, {"model": model, "messages": hi, "template_args": {key: "<|im_end|>"}})
            self.assertEqual((name, key in text), ("INVALID", True))
        # What a caller says is text, never a control token.
        said = self.answer(c.CHAT, {"model": model, "messages": hi, "max_tokens": 0, "template_args": {"effort": "<|im_end|>"}})[1]
        self.assertNotIn(2, said["prompt_tokens"])
        args = [w for arg in ("enable_thinking=true", "effort=very high", 'deep={"er": [0, "x=y"]}') for w in ("--template-arg",
                                                                                                               arg)]
        out = subprocess.run([BIN + "/veritas", "run", "--private", "-m", model, "-n", "0", "--json", *args, "hi"], text=True,
                             stdin=subprocess.DEVNULL, capture_output=True)
        self.assertEqual((out.returncode, out.stderr), (0, ""))
        ids = json.loads(out.stdout)["prompt_tokens"]
        text = self.client.wait(self.client.request(c.DETOKENIZE, {"model": model, "tokens": ids}))["text"]
        self.assertTrue(text.startswith("True|very high|x=y|"), text)

    def test_calls_without_content(self):
        """An assistant that only calls tools: no content, null, or "", whichever way the template shows it."""
        def talk(**content):
            return [{"role": "user", "content": "time?"},
                    {"role": "assistant", **content, "tool_calls": [{"type": "function", "function": {"name": "clock",
                                                                                                      "arguments": {}}}]},
                    {"role": "tool", "tool_call_id": "c1", "content": "noon"}]
        call = "{% for c in m.tool_calls or [] %}call {{ c.function.name }}{% endfor %}"
        each = "{%% for m in messages %%}<{{ m.role }}>%s{%% endfor %%}<go>"
        want = "<user>time?<assistant>call clock<tool>noon<go>"
        for i, body in enumerate(("{% if m.content is defined %}{{ m.content }}{% endif %}" + call,
                                  "{% if m.content %}{{ m.content }}{% endif %}" + call,
                                  "{{ m.content }}" + call,
                                  "{{ '' + m['content'] }}" + call,
                                  "{% if m.content is none %}" + call + "{% else %}{{ m.content }}{% endif %}",
                                  "{% if 'content' in m and m.content is not none %}{{ m.content }}{% endif %}" + call)):
            model = self.with_templates(f"calls{i}", each % body)
            for content in ({}, {"content": None}):
                self.assertEqual(self.rendered(model, talk(**content)), want, (body, content))
        self.assertEqual(self.rendered(model, talk(content="so: ")), want.replace("call", "so: call"))
        said = talk() + [{"role": "assistant", "content": "None"}]
        self.assertEqual(self.rendered(model, said), want.replace("<go>", "<assistant>None<go>"))
        ignores = self.with_templates("ignores", each % "{{ m.content or '-' }}")
        self.assertEqual(self.rendered(ignores, talk()), "<user>time?<assistant>-<tool>noon<go>")
        for message in ({"role": "user"}, {"role": "user", "content": None}, {"role": "assistant"}, {"role": "assistant",
                                                                                                     "tool_calls": []},
                        {"role": "user", "tool_calls": [{}]}, {"content": "x"}, {"role": "", "content": "x"}, {"role": "user",
                                                                                                               "content": 5},
                        {"role": "user", "content": {}}, {"role": "assistant", "tool_calls": "x", "content": "x"},
                        {"role": "assistant", "tool_calls": [1]}, {"role": "user", "content": "x", "reasoning_content": 1}, "x",
                        None):
            name, text = self.refused(c.CHAT, {"model": model, "messages": [{"role": "user", "content": "a"}, message]})
            self.assertEqual((name, "entry 1" in text), ("INVALID", True), message)
        thinks = self.with_templates("thinks",
                                     each % "{% if m.reasoning_content %}({{ m.reasoning_content }}){% endif %}{{ m.content }}")
        self.assertEqual(self.rendered(thinks, [{"role": "assistant", "content": "b", "reasoning_content": "a"}]),
                         "<assistant>(a)b<go>")

    def test_arguments_that_are_a_text(self):
        """Some clients send a call's arguments as JSON text: a template that would quote it is given what it says."""
        def talk(arguments):
            return [{"role": "user", "content": "x"},
                    {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}]
        each = "{%% for m in messages %%}{%% for c in m.tool_calls or [] %%}%s{%% endfor %%}{%% endfor %%};"
        for i, (body, want) in enumerate((("{{ c.function.arguments | tojson }}", '{"a": "b"};'),
                                          ("{{ '=' + c.function.arguments }}", '={"a": "b"};'),
                                          ("{{ c.function.arguments.items() | list | length }}", "1;"),
                                          ("{% for k, v in c.function.arguments.items() %}{{ k }}:{{ v }}{% endfor %}", "a:b;"))):
            model = self.with_templates(f"arguments{i}", each % body)
            self.assertEqual(self.rendered(model, talk('{"a": "b"}')), want)
        model = self.with_templates("arguments", each % "{{ c.function.arguments | tojson }}")
        self.assertEqual(self.rendered(model, talk({"a": "b"})), '{"a": "b"};')
        self.assertEqual(self.rendered(model, talk("no JSON")), '"no JSON";')

    def test_tools_without_a_place(self):
        tools = [{"type": "function", "function": {"name": "clock"}}]
        value = {"messages": [{"role": "user", "content": "x"}], "tools": tools, "max_tokens": 0}
        ignores = self.with_templates("no-place", "{% for m in messages %}{{ m.content }}{% endfor %}")
        self.assertIn("tools", self.answer(c.CHAT, {"model": ignores, **value})[1]["notice"])
        shows = self.with_templates("place", "{% for t in tools %}{{ t | tojson }}{% endfor %}")
        self.assertNotIn("notice", self.answer(c.CHAT, {"model": shows, **value})[1])
        # A name that the text holds as another one, or that somebody said, proves nothing.
        escapes = self.with_templates("escapes", "{% for t in tools %}{{ t | tojson | upper }}{% endfor %}")
        self.assertNotIn("notice", self.answer(c.CHAT, {"model": escapes, **value})[1])
        value["messages"] = [{"role": "user", "content": "the clock"}]
        self.assertIn("tools", self.answer(c.CHAT, {"model": ignores, **value})[1]["notice"])
        self.assertNotIn("notice", self.answer(c.CHAT, {"model": ignores, **value, "tools": []})[1])
        odd = [{"type": "function", "function": {"name": 'a<"b"> & c'}}]
        self.assertNotIn("notice", self.answer(c.CHAT, {"model": shows, **value, "tools": odd})[1])

    def test_tools_named_as_the_template_speaks(self):
        """Words of the template's own in a tool's or a call's name: the model is told of them as of any other."""
        turns = ("{%% for m in messages %%}<|im_start|>{{ m.role }}\n%s<|im_end|>\n{%% endfor %%}"
                 "<|im_start|>assistant\nmy name is helper")
        model = self.with_templates("words", turns % "{{ m.content }}")
        told = {}
        for name in ("clockx", "system", "assistant", "start", "end", "im_start", "name", "help", "helper", "f", "user"):
            tools = [{"type": "function", "function": {"name": n}} for n in (name, "other")]
            value = {"model": model, "messages": [{"role": "user", "content": "x"}], "tools": tools}
            told[name] = self.client.wait(self.client.request(c.TOKENIZE, {**value, "parts": True, "render": True}))["text"]
            self.assertIn("no place for tools", self.answer(c.CHAT, {**value, "max_tokens": 0})[1]["notice"], name)
        self.assertIn("clockx", told["clockx"])
        self.assertEqual({name: text for name, text in told.items() if text != told["clockx"].replace("clockx", name)}, {})
        calls = self.with_templates("call-words", turns % ("{% if m.content is none %}{% for c in m.tool_calls or [] %}call "
                                                           "{{ c.function.name }}{% endfor %}{% endif %}"))
        for name in ("clockx", "assistant", "start"):
            talk = [{"role": "user", "content": "x"},
                    {"role": "assistant", "tool_calls": [{"function": {"name": name, "arguments": {}}}]}]
            self.assertIn("call " + name + "<", self.rendered(calls, talk), name)

    def test_content_in_parts(self):
        parts = [{"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}, {"role": "user",
                                                                                                                   "content": "x"}]
        plain = self.with_templates("plain", "{% for m in messages %}<{{ m.content }}>{% endfor %}")
        self.assertEqual(self.rendered(plain, parts), "<one\ntwo><x>")
        takes = self.with_templates("takes", "{% for m in messages %}<{% if m.content is string %}{{ m.content }}{% else %}"
                                    "{% for p in m.content %}"
                                    "{% if p.type == 'text' %}{{ p.text }},{% endif %}{% endfor %}{% endif %}>{% endfor %}")
        self.assertEqual(self.rendered(takes, parts), "<one,two,><x>")
        for part, want in (({"type": "image_url", "image_url": {}}, "UNSUPPORTED"), ({"type": "text"}, "INVALID"), ("x", "INVALID"),
                           ({"text": "x"}, "INVALID"), ({"type": "text", "text": None}, "INVALID")):
            name, text = self.refused(c.CHAT, {"model": plain, "messages": [{"role": "user", "content": [part]}]})
            self.assertEqual((name, "part 0 of entry 0" in text), (want, True), part)

    def test_end_of_text_does_not_end_a_prompt(self):
        model = self.load(make("eos", "--ctx", "512", change=lambda m: m.set("tokenizer.ggml.add_eos_token", gguf.BOOL, 1)))
        tokenized = self.client.wait(self.client.request(c.TOKENIZE, {"model": model, "text": "The sky"}))["tokens"]
        self.assertEqual(tokenized[-1], 2)          # as their tokenizer would
        for value in ({"prompt": "The sky", "raw": True}, {"prompt": "The sky"}, {"messages": [{"role": "user",
                                                                                                "content": "The sky"}]}):
            _, result = self.answer(c.CHAT if "messages" in value else c.GENERATE, {"model": model, "max_tokens": 0, **value})
            self.assertNotEqual(result["prompt_tokens"][-1], 2)
        self.assertEqual(self.answer(c.GENERATE, {"model": model, "max_tokens": 0, "prompt": "The sky",
                                                  "raw": True})[1]["prompt_tokens"],
                         tokenized[:-1])

    def test_file_sampling(self):
        """general.sampling.*: followed or refused by name; what a request says itself counts more, and ignore_file goes without."""
        def advised(name, **keys):
            def change(m):
                for key, value in keys.items():
                    kind = gguf.STR if isinstance(value, str) else gguf.F32 if isinstance(value, float) else gguf.I32
                    m.set("general.sampling." + key, kind, value)
            return self.load(make(name, "--ctx", "512", change=change))

        def tokens(model, **sampling):
            return [t.token for t in self.answer(c.GENERATE, {"model": model, "prompt": "The sky is", "raw": True,
                                                              "ignore_eos": True,
                                                              "max_tokens": 24, "sampling": sampling})[0]]
        plain = advised("plain-sampling")
        default, own = tokens(plain), {"temperature": 3.0, "top_k": 11, "top_p": 0.7, "min_p": 0.01, "repeat_penalty": 1.5,
                                       "repeat_last_n": 4}
        wanted = tokens(plain, **own)
        self.assertNotEqual(wanted, default)
        self.assertNotEqual(wanted, tokens(plain, **{**own, "repeat_last_n": 64}))
        keys = {"temp": 3.0, "top_k": 11, "top_p": 0.7, "min_p": 0.01, "penalty_repeat": 1.5, "penalty_last_n": 4}
        model = advised("advised", **keys)
        self.assertEqual(tokens(model), wanted)
        self.assertEqual(tokens(model, ignore_file=True), default)
        self.assertEqual(tokens(model, temperature=0.8, repeat_penalty=1, top_k=40, top_p=0.95, min_p=0.05, repeat_last_n=64),
                         default)
        neutral = advised("neutral", xtc_probability=0.0, xtc_threshold=0.5, mirostat=0, mirostat_tau=5.0, mirostat_eta=0.1,
                          sequence="penalties;dry;top_n_sigma;temperature;top_k;typ_p;top_p;min_p;xtc")
        self.assertEqual(tokens(neutral), default)
        off = advised("off", sequence="top_k;temperature")
        self.assertEqual(tokens(off), tokens(plain, top_p=1, min_p=0))
        self.assertEqual(tokens(off, min_p=0.05), tokens(plain, top_p=1))
        for i, (key, value, kind) in enumerate((("xtc_probability", 0.5, "UNSUPPORTED"), ("mirostat", 2, "UNSUPPORTED"),
                                                ("mirostat", "x", "MALFORMED"),
                                                ("dry_multiplier", 0.8, "UNSUPPORTED"), ("penalty_last_n", 1.5, "MALFORMED"),
                                                ("penalty_last_n", -2, "MALFORMED"),
                                                ("sequence", "top_p;temperature", "UNSUPPORTED"), ("sequence", "top_p;magic",
                                                                                                   "UNSUPPORTED"),
                                                ("sequence", 3, "MALFORMED"), ("temp", float("nan"), "MALFORMED"))):
            model = advised(f"bad{i}", **{key: value})
            name, text = self.refused(c.GENERATE, {"model": model, "prompt": "x", "max_tokens": 1})
            self.assertEqual((name, "general.sampling" in text and key in text, "--ignore-file-sampling" in text), (kind, True,
                                                                                                                    True), text)
            self.assertEqual(tokens(model, ignore_file=True), default)

    def test_suppressed_tokens(self):
        """tokenizer.ggml.suppress_tokens: never sampled, whatever a request says; a list that is none is refused by name."""
        def made(name, kind, *ids):
            return self.load(make(name, "--ctx", "512",
                                  change=lambda m: m.set("tokenizer.ggml.suppress_tokens", gguf.ARRAY, (kind, list(ids)))))

        def tokens(model, **sampling):
            return self.answer(c.GENERATE, {"model": model, "prompt": "The sky is", "raw": True, "ignore_eos": True,
                                            "max_tokens": 24,
                                            "sampling": sampling})[0]
        plain = self.load(make("unsuppressed", "--ctx", "512"))
        first = [t.token for t in tokens(plain, **GREEDY)]
        for model in (made("one", gguf.I32, first[0], 599), made("all-made", gguf.U32, *set(first))):
            hidden = {first[0]} if "one" in model else set(first)
            for sampling in (GREEDY, {"temperature": 5, "seed": 3}, {**GREEDY, "logit_bias": [[first[0], 50]]},
                             {**GREEDY, "ignore_file": True}, {**GREEDY, "logit_bias": [[first[1], "-inf"]]}):
                got = {t.token for t in tokens(model, **sampling)}
                self.assertEqual(got & hidden, set(), (model, sampling))
        for kind, ids in ((gguf.STR, ["x"]), (gguf.I32, [3, -1]), (gguf.I32, [3, 600]), (gguf.U32, [70000]), (gguf.F32, [1.5])):
            with self.assertRaises(c.Failure) as e:
                made("bad", kind, *ids)
            self.assertIn("suppress_tokens", str(e.exception))
        name, text = self.refused(c.GENERATE, {"model": made("long", gguf.I32, *[1] * 601), "prompt": "x", "max_tokens": 1})
        self.assertEqual((name, "suppress_tokens" in text), ("MALFORMED", True), text)

    def test_keys(self):
        """A key that is not known, or is of another type than it must be, refuses the request in the same words everywhere."""
        model = self.load(make("keys", "--ctx", "512"))
        good = {c.GENERATE: {"prompt": "x", "max_tokens": 0}, c.CHAT: {"messages": [{"role": "user", "content": "x"}],
                                                                       "max_tokens": 0},
                c.TOKENIZE: {"text": "x"}, c.DETOKENIZE: {"tokens": [5]}, c.LOGITS: {"tokens": [5]}, c.INSPECT: {},
                c.PERPLEXITY: {"tokens": [5] * 64, "ctx": 16}, c.BENCH: {"pp": [1], "tg": [0], "reps": 1},
                c.CONSTRAIN: {"constraint": {"regex": "a"}}}
        any_list, any_text, any_object = [], "text", {}
        wrong = {                       # what each key can't be
            "prompt": (1, any_list, True), "system": (1, any_object), "raw": (1, "true", 0), "messages": (any_text, any_object),
            "tools": (any_text, any_object), "template": (1, any_list),
            "template_text": (1, any_object), "template_args": (any_list, any_text, 1),
            "now": (-1, 1.5, "now", True), "max_tokens": ("5", -1, 1.5, 2 ** 40, any_list),
            "stop": ("x", 1, any_object, ["a"] * 65), "stop_tokens": (1, "1", [1] * 65537), "ignore_eos": (1, "yes"),
            "logprobs": (-1, 101, True, "1"), "logits_hash": (1, "true"), "parts": (1, "x"), "tool_choice": (1, "any"),
            "parallel_tool_calls": (1, "no"), "sampling": (1, any_list, any_text),
            "text": (1, any_list), "no_bos": (1, 0), "render": (1, 0), "special": (1, "false"), "tokens": (1, "1,2", any_object),
            "ctx": (-1, "16", 1e300), "pp": (1, "512", [1] * 65), "tg": (1,), "depth": (1, any_object), "reps": (0, 1001, "3", 1.0),
            "constraint": (1, any_list, any_text),
        }
        prompt = "tools tool_choice parts constraint template template_args now "
        both = prompt + "parallel_tool_calls max_tokens stop stop_tokens ignore_eos "
        both += "logprobs logits_hash sampling special"
        reads = {c.GENERATE: "prompt system raw tokens " + both,
                 c.CHAT: "messages " + both,
                 c.TOKENIZE: "text messages render template_text no_bos special " + prompt, c.DETOKENIZE: "tokens special",
                 c.INSPECT: "ctx",
                 c.LOGITS: "text tokens no_bos special",
                 c.PERPLEXITY: "text tokens no_bos special ctx", c.BENCH: "pp tg depth reps", c.CONSTRAIN: "constraint text"}
        for kind, body in good.items():
            self.client.wait(self.client.request(kind, {"model": model, **body}))
            known = reads[kind].split()
            self.client.wait(self.client.request(kind, {"model": model, **{key: None for key in known}, **body}))     # null: absent
            for key, values in wrong.items():
                for value in values:
                    if key == "stop_tokens" and key not in known:
                        value = 1       # what is short enough for every request
                    name, text = self.refused(kind, {"model": model, **body, key: value})
                    self.assertEqual((name, text.split(":" if key in known else " ")[0]), ("INVALID", key), (kind, key,
                                                                                                             str(value)[:60], text))
                    if key in known:
                        self.assertRegex(text, " is needed, this is ")
        for body, hint in (({"temperature": 1}, "sampling.temperature"), ({"max_token": 5}, "max_tokens"),
                           ({"sampling": {"temprature": 1}}, "sampling.temperature"),
                           ({"sampling": {"Seed": 1}}, "sampling.seed"), ({"raww": True}, "raw")):
            name, text = self.refused(c.GENERATE, {"model": model, "prompt": "x", **body})
            self.assertEqual((name, text.endswith(f"did you mean {hint}?")), ("INVALID", True), text)
        for key, values in {"seed": ("1", 1.5), "temperature": ("1", -1, 101, True), "top_k": (-1, 1.5, 2 ** 31), "top_p": (-0.1,
                                                                                                                            1.1,
                                                                                                                            "1"),
                            "min_p": (2,),
                            "typical_p": (any_list,), "repeat_penalty": (0, 101), "presence_penalty": (-101,),
                            "frequency_penalty": ("0",), "repeat_last_n": (-2, 0.5),
                            "logit_bias": ({"5": 1}, 1, [5], [[5]], [[5, "inf"]], [["5", 1]], [[-1, 1]], [[5, None]]),
                            "ignore_file": (1,)}.items():
            for value in values:
                name, text = self.refused(c.GENERATE, {"model": model, "prompt": "x", "max_tokens": 1, "sampling": {key: value}})
                self.assertEqual((name, text.startswith("sampling." + key)), ("INVALID", True), (key, value, text))

    def test_keys_as_documented(self):
        """The table of docs/PROTOCOL.md has every key of the list, and what it says is needed is what an error says."""
        top = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
        listed = set(re.findall(r'^    \{ "(?!serve\.)([a-z_.]+)",.*(?:\n      .*)?\}', read(top + "/src/ipc/keys.c"), re.M))
        envelope = {"model", "deadline_ms", "trace", "on_behalf_of", "force", "owner", "priority", "client", "deadline_at",
                    "arrived_at", "sent", "credit", "resumes", "key", "remote", "refused", "receipt", "keep"}
        started = {"settings.n_cpus", "settings.free_bytes", "settings.memory_bytes"}
        table = re.findall(r"^\| `([a-z_.]+)` \| (.*) \| ([a-z, ]+) \|$",
                           read(top + "/docs/PROTOCOL.md").split("## All keys")[1].split("## ")[0], re.M)
        self.assertEqual({path for path, _, _ in table}, listed - envelope - started)
        model = self.load(make("documented", "--ctx", "512"))
        for path, needed, requests in table:
            group, _, key = path.rpartition(".")
            bad = 1 if "an object" in needed else {}
            for request in requests.split(", "):
                if request == "scan":
                    with self.assertRaises(c.Failure) as e:
                        self.client.wait(self.client.request(c.SCAN, {group: {key: bad}} if group else {key: bad}))
                    self.assertEqual(str(e.exception),
                                     f"{path}: {needed} is needed, this is {'1' if bad else 'an object'}")
                    continue
                if request == "load":
                    with self.assertRaises(c.Failure) as e:
                        self.client.load_path(model, settings={key: bad} if group else bad)
                    name, text = e.exception.name, str(e.exception)
                else:
                    name, text = self.refused(getattr(c, request.upper()), {"model": model,
                                                                            **({group: {key: bad}} if group else {key: bad})})
                self.assertEqual((name, text), ("INVALID", f"{path}: {needed} is needed, this is {'1' if bad else 'an object'}"))

    def test_settings(self):
        """A load is refused for settings that are not known or of another type, before anything happens."""
        path = make("settings")
        for settings, word in (({"threads": "2"}, "threads"), ({"threads": 257}, "threads"), ({"threads": 0}, "threads"),
                               ({"ctx": 1.5}, "ctx"), ({"ctx": True},
                                                                                                                     "ctx"),
                               ({"ctx": -1}, "ctx"),
                               ({"isa": 5}, "isa"), ({"isa": "mmx"}, "isa"), ({"isa": "avx2|c"}, "isa"), ({"kv_type": ["f16"]},
                                                                                                          "kv_type"),
                               ({"kv_type": "f8"}, "kv_type"),
                               ({"prefill_chunk": "8"}, "prefill_chunk"), ({"precision": True}, "precision"), ({"inspect_only": 1},
                                                                                                               "inspect_only"),
                               ({"thread": 1}, "did you mean settings.threads"), ({"n_cpus": 1}, "n_cpus"), ({"free_bytes": 1},
                                                                                                             "free_bytes"),
                               ({"memory_bytes": 1}, "memory_bytes")):
            with self.assertRaises(c.Failure) as e:
                self.client.load_path(path, settings=settings)
            self.assertEqual((e.exception.name, word in str(e.exception)), ("INVALID", True), (settings, str(e.exception)))
        self.assertEqual(self.client.load_path(path, settings={"threads": 1, "ctx": 128, "kv_type": "f32",
                                                               "isa": None})["settings"]["ctx"], 128)

    def test_edges(self):
        """Nothing to read, nothing to write, and the most of everything."""
        model = self.load(make("edges", "--ctx", "64"))
        one = {"model": model, "max_tokens": 1}
        def biased(*pairs):
            return {"prompt": "x", "sampling": {"logit_bias": list(pairs)}}
        for kind, value, want in (
                (c.GENERATE, {}, "no prompt"), (c.GENERATE, {"prompt": None}, "no prompt"), (c.CHAT, {}, "no messages"),
                (c.CHAT, {"messages": []}, "at least one"), (c.GENERATE, {"prompt": "", "raw": True}, "empty"),
                (c.GENERATE, {"tokens": []}, "empty"), (c.GENERATE, {"tokens": [5], "prompt": "x"}, "either tokens or prompt"),
                (c.GENERATE, {"tokens": [5], "system": "x"}, "either tokens or system"), (c.GENERATE, {"tokens": [600]}, "600"),
                                  (c.GENERATE, {"tokens": [-1]},
                                                                                                "number 1"),
                (c.GENERATE, {"tokens": [5, 1.5]}, "number 2"), (c.GENERATE, {"prompt": "x", "stop_tokens": [600]}, "600"),
                (c.GENERATE, biased([600, 1]), "600"), (c.GENERATE, biased(*([i, "-inf"] for i in range(600))), "every token")):
            name, text = self.refused(kind, {**one, **value})
            self.assertEqual((name, want in text), ("INVALID", True), (value, text))
        self.assertEqual(self.refused(c.GENERATE, {**one, "tokens": [5] * 64})[0], "CONTEXT")
        for kind in (c.LOGITS, c.PERPLEXITY):
            name, text = self.refused(kind, {"model": model, "tokens": [5] * 64, "text": "x"})
            self.assertEqual((name, "not both" in text), ("INVALID", True))
        tokens, result = self.generate(model, tokens=[5] * 63, prompt=None, max_tokens=2 ** 31 - 1, ignore_eos=True)
        self.assertEqual((len(tokens), result["finish_reason"], result["usage"]["completion_tokens"]), (2, "length", 2))
        tokens, result = self.generate(model, max_tokens=0, logprobs=3)
        self.assertEqual((tokens, result["finish_reason"]), ([], "length"))
        tokens, _ = self.generate(model, max_tokens=8, logprobs=100, ignore_eos=True)
        for t in tokens:
            top = t.extra["top"]
            self.assertEqual((len(top), top[0]["id"], top[0]["logprob"]), (100, t.token, t.extra["logprob"]))
            self.assertEqual([x["logprob"] for x in top], sorted((x["logprob"] for x in top), reverse=True))
        everything = {"seed": -2 ** 63, "temperature": 100, "top_k": 2 ** 31 - 1, "top_p": 1, "min_p": 0, "typical_p": 0,
                      "repeat_penalty": 0.01, "presence_penalty": -100, "frequency_penalty": 100.0, "repeat_last_n": -1,
                      "logit_bias": [[i, 1e9] for i in range(600)]}
        tokens, _ = self.answer(c.GENERATE, {"model": model, "prompt": "x", "raw": True, "max_tokens": 4, "ignore_eos": True,
                                             "sampling": everything})
        self.assertEqual(len(tokens), 4)

    def test_without_a_tokenizer(self):
        """Ids in, ids out; what needs text is refused."""
        model = self.load(make("ids", "--ctx", "64", change=lambda m: m.drop("tokenizer.ggml.model")))
        tokens, result = self.generate(model, tokens=[5, 6], prompt=None, max_tokens=4, logprobs=1)
        self.assertEqual([t.text for t in tokens], [""] * 4)
        again, result = self.generate(model, tokens=[5, 6], prompt=None, max_tokens=4, stop_tokens=[tokens[1].token])
        self.assertEqual(result["finish_reason"], "stop")
        for kind, value in ((c.GENERATE, {"tokens": [5], "stop": ["x"]}), (c.GENERATE, {"prompt": "x"}), (c.TOKENIZE,
                                                                                                          {"text": "x"}),
                            (c.DETOKENIZE, {"tokens": [5]}), (c.CHAT, {"messages": [{"role": "user", "content": "x"}]})):
            name, text = self.refused(kind, {"model": model, **value})
            self.assertEqual((name, "tokenizer" in text), ("UNSUPPORTED", True), (kind, text))

    def test_best_tokens_as_they_would_stand(self):
        """A best token's text has the space that it has in the answer, for both kinds of vocabulary."""
        for name, options in (("spaces-bpe", ["--tokenizer", "gpt2"]), ("spaces-spm", ["--tokenizer", "llama", "--pre",
                                                                                       "default"])):
            model = self.load(make(name, "--ctx", "512", *options))
            tokens, _ = self.generate(model, max_tokens=60, logprobs=5, ignore_eos=True)
            spaced = [t for t in tokens if t.text.startswith(" ") and t.text.strip().isascii() and t.text.strip()]
            self.assertTrue(spaced, name)
            for t in spaced:
                self.assertEqual(t.extra["top"][0]["text"], t.text)
            tokens, _ = self.generate(model, max_tokens=60, logprobs=1, ignore_eos=True, special=True, sampling={"temperature": 9})
            for x in (lambda t: t.extra, lambda t: t.extra["top"][0]):       # the sampled token too says what it is
                self.assertEqual({type(x(t)["text"]) for t in tokens}, {str})
            whole = b"".join(bytes(t.extra.get("bytes") or t.extra["text"].encode()) for t in tokens).decode(errors="replace")
            self.assertEqual(re.sub("\ufffd+", "?", whole), re.sub("\ufffd+", "?", "".join(t.text for t in tokens)))
        halves = []
        for i in range(256, 600, 8):                    # some of <0x80> to <0xFF> are among them
            tokens, _ = self.generate(model, max_tokens=1, logprobs=0, sampling={"logit_bias": [[i, 1e9]]})
            halves += [t.extra for t in tokens if "bytes" in t.extra]
        self.assertTrue(halves)
        self.assertEqual({(x["text"], len(x["bytes"]), x["bytes"][0] >= 128) for x in halves}, {("\ufffd", 1, True)})

    def test_cancel_of_input(self):
        """Whatever part of a request takes seconds to read: it ends soon after it is cancelled, and the worker serves on."""
        model = self.load(make("cancel", "--ctx", "512"))
        text = "The sky is blue because the air scatters. " * 200000
        for kind, value in ((c.TOKENIZE, {"text": text}), (c.TOKENIZE, {"text": "a" * len(text)}), (c.TOKENIZE,
                                                                                                    {"text": " " * len(text)}),
                            (c.GENERATE, {"prompt": text, "raw": True}), (c.GENERATE, {"prompt": text}), (c.PERPLEXITY,
                                                                                                          {"text": text}),
                            (c.LOGITS, {"text": text}), (c.CHAT, {"messages": [{"role": "user", "content": text}]}),
                            (c.DETOKENIZE, {"tokens": [300] * 2000000})):
            request = self.client.request(kind, {"model": model, **value})
            time.sleep(0.1)
            begin = time.monotonic()
            self.client.cancel(request)
            try:
                self.client.wait(request)   # it was quicker, which may also be that it is too long
            except c.Failure as e:
                self.assertIn(e.name, ("CANCELLED", "CONTEXT"))
            self.assertLess(time.monotonic() - begin, 0.5 * patience(), (kind, list(value)))
        self.assertEqual(len(self.generate(model, max_tokens=3, ignore_eos=True)[0]), 3)


if __name__ == "__main__":
    unittest.main(verbosity=1)
