"""Every HTTP API through the shipped programs: `veritas gateway` with a private daemon and tiny models. An answer over HTTP is that
of `veritas run --json`, a stream put together is the whole answer, and what is refused says which field. Argument: the folder of
the programs."""
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../fixtures"))
import malformed as gguf                # noqa: E402
from processes import child             # noqa: E402

BIN = os.path.abspath(sys.argv.pop(1))
# Random models say control characters, and here each byte is compared: the policy lets them stay.
os.environ["VERITAS_POLICY"] = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                            "fixtures/control-stays.json")
JSON = {"Content-Type": "application/json"}
CHAT, RESPONSES, MESSAGES, COMPLETIONS = "/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/completions"

CALLS = "{% for c in m.tool_calls or [] %}<tool_call>\n{{ c.function | tojson }}\n</tool_call>{% endfor %}"
TURNS = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}" + CALLS + "<|im_end|>\n{% endfor %}"
         "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
TEMPLATES = {                           # of which one knows no tools, as SmolLM2's; and one does, and reasons, as Qwen's
    "plain": TURNS.replace(CALLS, ""),
    "knows": "{% if tools %}<|im_start|>system\n# Tools\n{% for t in tools %}{{ t | tojson }}\n{% endfor %}"
             "Within <tool_call></tool_call><|im_end|>\n{% endif %}" + TURNS +
             "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n"
             "{% endif %}",
}


class Gateway(unittest.TestCase):
    """Two tiny models behind a gateway, and two with templates of their own."""
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="vsh")
        os.chmod(cls.dir, 0o755)
        cls.models = cls.dir + "/models"
        os.mkdir(cls.models)
        for name in ("one", "two"):
            subprocess.run([BIN + "/mkmodel", "--ctx", "2048", "--seed", str(len(name) + (name == "two")), "-o",
                            f"{cls.models}/{name}.gguf"], check=True, stdout=subprocess.DEVNULL)
        for name, template in TEMPLATES.items():
            path = f"{cls.models}/{name}.gguf"
            subprocess.run([BIN + "/mkmodel", "--ctx", "8192", "-o", path], check=True, stdout=subprocess.DEVNULL)
            with open(path, "rb") as f:
                data = gguf.edit(f.read(), lambda m, t=template: m.set("tokenizer.chat_template", gguf.STR, t))
            with open(path, "wb") as f:
                f.write(data)
        cls.env = dict(os.environ, VERITAS_MODELS=cls.models, VERITAS_SOCKET=cls.dir + "/run/s", XDG_CACHE_HOME=cls.dir + "/cache",
                       HOME=cls.dir, NO_COLOR="1")
        cls.gateway = subprocess.Popen([BIN + "/veritas", "gateway", "--private", "-m", "one", "--ollama", "--listen",
                                        "127.0.0.1:0"],
                                       env=cls.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = cls.gateway.stdout.readline()
        cls.port = int(re.fullmatch(r"listening http\S*:(\d+)\n", line)[1])

    @classmethod
    def tearDownClass(cls):
        cls.gateway.terminate()
        cls.gateway.wait(20)
        cls.gateway.stdout.close()
        shutil.rmtree(cls.dir)


class Receipts(unittest.TestCase):
    def test_always(self):
        """Where the policy gives all a receipt, that of a client who did not ask is whole, too."""
        with tempfile.TemporaryDirectory(prefix="vsh") as folder:
            subprocess.run([BIN + "/mkmodel", "--ctx", "2048", "-o", folder + "/one.gguf"], check=True, stdout=subprocess.DEVNULL)
            with open(folder + "/policy.json", "w") as f:
                json.dump({"receipts": {"mode": "always"}}, f)
            env = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")}
            env.update(VERITAS_MODELS=folder, HOME=folder, VERITAS_POLICY=folder + "/policy.json")
            gateway = subprocess.Popen([BIN + "/veritas", "gateway", "--private", "-m", "one", "--listen", "127.0.0.1:0"],
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)
            try:
                port = int(gateway.stdout.readline().rsplit(":", 1)[1])
                for stream in (False, True):
                    c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                    body = {"messages": [{"role": "user", "content": "a b c"}], "max_tokens": 6, "stream": stream}
                    c.request("POST", CHAT, json.dumps(body), JSON)
                    told = c.getresponse().read().decode()
                    c.close()
                    if stream:
                        told, = [line[6:] for line in told.splitlines() if line.startswith("data: {") and '"receipt"' in line]
                    receipt = json.dumps(json.loads(told)["receipt"])
                    done = subprocess.run([BIN + "/veritas", "verify", "--json", "-m", "one", "-"], input=receipt, env=env,
                                          capture_output=True, text=True)
                    verdict = json.loads(done.stdout)
                    self.assertEqual((verdict["verdict"], verdict["tokens"] > 0), ("MATCH", True), done.stdout + done.stderr)
            finally:
                gateway.terminate()
                gateway.wait(30)
                gateway.stdout.close()


class Keys(unittest.TestCase):
    def test_each_key_is_a_person(self):
        """What one key's prompts begin with is not found in the cache by another's: the daemon knows them apart."""
        with tempfile.TemporaryDirectory(prefix="vsh") as folder:
            subprocess.run([BIN + "/mkmodel", "--ctx", "2048", "-o", folder + "/one.gguf"], check=True, stdout=subprocess.DEVNULL)
            env = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")}
            env.update(VERITAS_MODELS=folder, HOME=folder)
            first, second = (subprocess.run([BIN + "/veritas", "keys", "add", name], env=env, check=True, capture_output=True,
                                            text=True).stdout.strip() for name in ("first", "second"))
            gateway = subprocess.Popen([BIN + "/veritas", "gateway", "--private", "-m", "one", "--listen", "127.0.0.1:0",
                                        "--require-key"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)
            try:
                port = int(gateway.stdout.readline().rsplit(":", 1)[1])

                def cached(key):
                    c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                    body = {"model": "one", "messages": [{"role": "user", "content": "a b c d " * 40}], "max_tokens": 1}
                    c.request("POST", "/v1/chat/completions", json.dumps(body), dict(JSON, Authorization="Bearer " + key))
                    usage = json.loads(c.getresponse().read())["usage"]
                    c.close()
                    return usage["prompt_tokens_details"]["cached_tokens"]
                self.assertEqual(cached(first), 0)
                self.assertGreater(cached(first), 50)
                self.assertEqual(cached(second), 0)
                self.assertGreater(cached(second), 50)
            finally:
                gateway.terminate()
                gateway.wait(20)
                gateway.stdout.close()


class Api(Gateway):
    # ---- asking ----

    def ask(self, path, body=None, status=200, more={}):
        """The body of the answer; its headers are in self.headers afterwards."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        c.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body),
                  dict({} if body is None else JSON, **more))
        r = c.getresponse()
        data = r.read()
        c.close()
        self.headers = {k.lower(): v for k, v in r.getheaders()}
        self.assertEqual(r.status, status, (path, body, data[:500]))
        return data

    def json(self, path, body=None, status=200, more={}):
        return json.loads(self.ask(path, body, status, more))

    def events(self, path, body):
        """[(event, data)] of a stream; data is JSON, or the text [DONE]."""
        found = []
        for block in self.ask(path, dict(body, stream=True)).decode().split("\n\n")[:-1]:
            lines = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
            if lines:
                found.append((lines.get("event"), lines["data"] if lines["data"] == "[DONE]" else json.loads(lines["data"])))
        return found

    def chat(self, text="Hi", **more):
        return {"model": "one", "messages": [{"role": "user", "content": text}], "max_tokens": 24, **more}

    def run_json(self, *words):
        done = subprocess.run([BIN + "/veritas", "run", "-m", "one", "--json", *words], env=self.env, capture_output=True,
                              text=True,
                              stdin=subprocess.DEVNULL, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    # ---- the same through every door ----

    def test_same_as_the_command_line(self):
        for seed in (0, 7, 2 ** 53):
            wanted = self.run_json("--seed", str(seed), "-n", "24", "--temp", "0.9", "--top-p", "0.8", "Hi")["text"]
            sampling = {"seed": seed, "temperature": 0.9, "top_p": 0.8}
            got = {
                "chat": self.json(CHAT, self.chat(**sampling))["choices"][0]["message"]["content"],
                "responses": self.json(RESPONSES, {"model": "one", "input": "Hi", "max_output_tokens": 24, **sampling})
                ["output"][0]["content"][0]["text"],
                "messages": self.json(MESSAGES, self.chat(**sampling))["content"][0]["text"],
                "ollama": self.json("/api/chat", {"model": "one:latest", "messages": self.chat()["messages"], "stream": False,
                                                  "options": {"num_predict": 24, **sampling}})["message"]["content"],
                "generate": self.json("/api/generate", {"model": "one", "prompt": "Hi", "stream": False,
                                                        "options": {"num_predict": 24, **sampling}})["response"],
            }
            self.assertEqual({k: v for k, v in got.items() if v != wanted}, {})
        wanted = self.run_json("--raw", "-n", "20", "--temp", "0", "Once")["text"]
        got = self.json(COMPLETIONS, {"model": "one", "prompt": "Once", "max_tokens": 20, "temperature": 0})
        self.assertEqual(got["choices"][0]["text"], wanted)
        self.assertNotEqual(wanted, "")

    def test_too_many_values(self):
        """Reading them would hold up everybody else."""
        refused = self.json(CHAT, self.chat(zz=[1] * 600000), 413)
        self.assertEqual(refused["error"]["code"], "too_many_values")
        self.json(CHAT, self.chat("[{," * 300000, max_tokens=1), 400)          # within a string they are text: too long a prompt

    def test_too_many_tools(self):
        """Names are compared with each other: what would take minutes, and hold up everybody, is refused at once."""
        tools = [{"type": "function", "function": {"name": f"a{i}"}} for i in range(60000)]
        flat, theirs = [dict(type="function", name=f"a{i}") for i in range(60000)], [
            {"name": f"a{i}", "input_schema": {}} for i in range(60000)]
        some = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": tools}}
        for path, body in ((CHAT, self.chat(tools=tools)), (RESPONSES, {"model": "one", "input": "x", "tools": flat}),
                           (MESSAGES, self.chat(tools=theirs)), ("/tokenize", self.chat(tools=tools)),
                           ("/api/chat", {"model": "one", "messages": [{"role": "user", "content": "x"}], "tools": tools}),
                           (CHAT, self.chat(tools=tools[:500], tool_choice=some))):
            begun = time.monotonic()
            self.json(path, body, 400)
            self.assertLess(time.monotonic() - begun, 10, path)

    def test_many_results_of_calls(self):
        """The call of each is looked up, not looked for, which would hold up everybody else."""
        def seconds():
            with open(f"/proc/{child(self.gateway.pid, 'veritas-gateway')}/stat") as f:
                return sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")
        begun = seconds()
        results = [{"type": "tool_result", "tool_use_id": "x"}] * 60000
        e = self.json(MESSAGES, self.chat(messages=[{"role": "user", "content": results}]), 400)["error"]
        self.assertIn("the prompt has", e["message"])
        self.assertLess(seconds() - begun, 5)

    def test_no_seed_is_seed_0(self):
        free = self.json(CHAT, self.chat(temperature=1))["choices"]
        self.assertEqual(free, self.json(CHAT, self.chat(temperature=1, seed=0))["choices"])
        drawn = self.json(CHAT, self.chat(temperature=1, seed=-1))["choices"]
        seed = int(self.headers["x-veritas-seed"])
        self.assertEqual(drawn, self.json(CHAT, self.chat(temperature=1, seed=seed))["choices"])
        self.json(CHAT, self.chat(seed=-1))
        self.assertNotEqual(seed, int(self.headers["x-veritas-seed"]))
        three = self.json(CHAT, self.chat(temperature=1, seed=5, n=3))["choices"]
        alone = [self.json(CHAT, self.chat(temperature=1, seed=5 + i))["choices"][0]["message"] for i in range(3)]
        self.assertEqual([c["message"] for c in three], alone)

    # ---- streams ----

    def whole_of(self, events):
        """The choices that chunks of chat tell of, in the form of a whole answer."""
        self.assertEqual(events[-1][1], "[DONE]")
        choices, usage = {}, None
        for _, chunk in events[:-1]:
            usage = chunk.get("usage") or usage
            for c in chunk["choices"]:
                mine = choices.setdefault(c["index"], {"content": "", "logprobs": [], "finish": None, "role": None})
                mine["role"] = c["delta"].get("role", mine["role"])
                mine["content"] += c["delta"].get("content") or ""
                mine["logprobs"] += (c["logprobs"] or {"content": []})["content"]
                self.assertIsNone(mine["finish"])
                mine["finish"] = c["finish_reason"]
        return [choices[i] for i in sorted(choices)], usage

    def receipts_in(self, value):
        """In what an API said, wherever they stand: one, or a list of those of several answers."""
        if isinstance(value, dict):
            yield from [value["receipt"]] if "receipt" in value else value.get("receipts", [])
            yield from self.receipts_in(value.get("response"))

    def test_receipt(self):
        """What each API is told of its answers, whole and as a stream; `veritas verify` reads it."""
        chat = self.chat(receipt=True, max_tokens=4)
        asked = {"receipt": True, "model": "one", "messages": chat["messages"], "max_tokens": 4}
        text = {"receipt": True, "model": "one", "prompt": "a b", "max_tokens": 4}
        for path, body, n in ((CHAT, chat, 1), (CHAT, dict(chat, n=2), 2), (COMPLETIONS, text, 1),
                              (COMPLETIONS, dict(text, prompt=["a b", "c d"], n=2), 4),
                              (RESPONSES, {"receipt": True, "model": "one", "input": "a b", "max_output_tokens": 16}, 1),
                              (MESSAGES, asked, 1),
                              ("/api/chat", {"receipt": True, "model": "one", "messages": chat["messages"], "stream": False}, 1)):
            whole = list(self.receipts_in(self.json(path, body)))
            streamed = [] if path == "/api/chat" else \
                [r for _, e in self.events(path, dict(body, stream=True)) for r in self.receipts_in(e)]
            self.assertEqual(len(whole), n, path)
            for receipt in whole + streamed:
                done = subprocess.run([BIN + "/veritas", "verify", "--mode", "structure", "--json", "-"], input=json.dumps(receipt),
                                      capture_output=True, text=True)
                self.assertEqual(json.loads(done.stdout)["verdict"], "WELL_FORMED", done.stdout + done.stderr)
            if streamed:
                self.assertEqual([r["opening"]["tokens"] for r in whole], [r["opening"]["tokens"] for r in streamed], path)

    def test_chat_stream_is_the_whole_answer(self):
        body = self.chat(temperature=1.2, n=2, logprobs=True, top_logprobs=2)
        whole = self.json(CHAT, body)
        events = self.events(CHAT, dict(body, stream_options={"include_usage": True}))
        self.assertEqual(len({(e["id"], e["created"], e["model"]) for _, e in events[:-1]}), 1)
        choices, usage = self.whole_of(events)
        self.assertEqual([(c["role"], c["content"], c["logprobs"], c["finish"]) for c in choices],
                         [("assistant", c["message"]["content"], c["logprobs"]["content"],
                           c["finish_reason"]) for c in whole["choices"]])
        for u in (usage, whole["usage"]):
            self.assertEqual(u["total_tokens"], u["prompt_tokens"] + u["completion_tokens"])
        self.assertEqual({k: usage[k] for k in ("prompt_tokens", "completion_tokens")},
                         {k: whole["usage"][k] for k in ("prompt_tokens", "completion_tokens")})
        self.assertGreater(usage["prompt_tokens_details"]["cached_tokens"], 0)
        for c in whole["choices"]:
            entries = c["logprobs"]["content"]
            self.assertEqual([len(e["top_logprobs"]) for e in entries], [2] * len(entries))
            text = b"".join(bytes(e["bytes"]) for e in entries).decode(errors="replace")
            self.assertTrue(text.startswith(c["message"]["content"].rstrip("\ufffd")), (text, c))
        self.assertTrue(whole["system_fingerprint"].startswith("fp_"))
        plain = self.events(CHAT, self.chat())
        self.assertTrue(all("usage" not in e for _, e in plain[:-1]))

    def test_completions(self):
        body = {"model": "one", "prompt": ["Once", "Twice"], "n": 2, "max_tokens": 12, "temperature": 1, "logprobs": 2}
        whole = self.json(COMPLETIONS, body)
        self.assertEqual([c["index"] for c in whole["choices"]], [0, 1, 2, 3])
        alone = self.json(COMPLETIONS, dict(body, prompt="Twice", n=1, seed=1))
        self.assertEqual(whole["choices"][3]["text"], alone["choices"][0]["text"])
        texts, tokens = [""] * 4, [[] for _ in range(4)]
        events = self.events(COMPLETIONS, body)
        for _, e in events[:-1]:
            c = e["choices"][0]
            texts[c["index"]] += c["text"]
            tokens[c["index"]] += (c["logprobs"] or {"tokens": []})["tokens"]
        self.assertEqual([(c["text"], c["logprobs"]["tokens"]) for c in whole["choices"]], list(zip(texts, tokens)))
        self.assertEqual(whole["usage"]["completion_tokens"], sum(map(len, tokens)))
        ids = self.json("/tokenize", {"model": "one", "prompt": "Once"})
        self.assertEqual(ids["count"], len(ids["tokens"]))
        again = self.json(COMPLETIONS, dict(body, prompt=ids["tokens"], n=1))
        self.assertEqual(again["choices"][0]["text"], whole["choices"][0]["text"])
        self.assertEqual(self.json("/detokenize", {"model": "one", "tokens": ids["tokens"]})["prompt"].strip(), "Once")
        self.assertEqual(len(self.json(COMPLETIONS, {"model": "one", "prompt": "x", "ignore_eos": True, "logprobs": 0})
                             ["choices"][0]["logprobs"]["tokens"]), 16)

    def test_responses_stream(self):
        body = {"model": "one", "input": "Hi", "max_output_tokens": 12, "temperature": 1, "instructions": "Be brief."}
        whole, events = self.json(RESPONSES, body), self.events(RESPONSES, body)
        self.assertEqual([e["sequence_number"] for _, e in events], list(range(len(events))))
        self.assertTrue(all(name == e["type"] for name, e in events))
        last = events[-1][1]
        self.assertEqual(last["type"], "response." + whole["status"])
        same = ("output_text", "status", "incomplete_details", "model", "tools")
        self.assertEqual({k: last["response"].get(k) for k in same}, {k: whole.get(k) for k in same})
        texts = [[c["text"] for i in r["output"] for c in i["content"]] for r in (whole, last["response"])]
        self.assertEqual(texts[0], texts[1])
        self.assertEqual("".join(e["delta"] for n, e in events if n == "response.output_text.delta"), texts[0][0])
        kinds = [n for n, _ in events if not n.endswith(".delta")]
        self.assertEqual(kinds[:4], ["response.created", "response.in_progress", "response.output_item.added",
                                     "response.content_part.added"])
        self.assertEqual(kinds[-4:-1], ["response.output_text.done", "response.content_part.done", "response.output_item.done"])
        more = [{"role": "user", "content": "Hi"}, *whole["output"], {"role": "user", "content": "And?"}]
        self.assertEqual(self.json(RESPONSES, dict(body, input=more))["object"], "response")
        chat = self.json(CHAT, {"model": "one", "max_tokens": 12, "temperature": 1, "messages": [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]})
        self.assertEqual(chat["choices"][0]["message"]["content"], texts[0][0])

    def test_messages_stream(self):
        body = self.chat(temperature=1, system="Be brief.")
        whole, events = self.json(MESSAGES, body), self.events(MESSAGES, body)
        self.assertTrue(all(name == e["type"] for name, e in events))
        order = [n for n, _ in events if n not in ("content_block_delta", "ping")]
        self.assertEqual(order, ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"])
        text = "".join(e["delta"]["text"] for n, e in events if n == "content_block_delta")
        self.assertEqual(text, whole["content"][0]["text"])
        delta = events[-2][1]
        self.assertEqual(delta["delta"]["stop_reason"], whole["stop_reason"])
        total = [u["input_tokens"] + u["cache_read_input_tokens"] for u in (delta["usage"], whole["usage"])]
        self.assertEqual(total[0], total[1])
        self.assertEqual(self.json(MESSAGES + "/count_tokens", {k: body[k] for k in ("model", "messages", "system")}),
                         {"input_tokens": total[0]})

    def test_stop(self):
        text = self.json(CHAT, self.chat(max_tokens=40, ignore_eos=True))["choices"][0]["message"]["content"]
        stop = next(w for w in (text[i:i + 2] for i in range(6, len(text))) if "\ufffd" not in w and w not in text[:6])
        cut = text[:text.index(stop)]
        for form in (stop, [stop], [stop, "never said"]):
            got = self.json(CHAT, self.chat(max_tokens=40, ignore_eos=True, stop=form))["choices"][0]
            self.assertEqual((got["message"]["content"], got["finish_reason"]), (cut, "stop"))
        got = self.json(MESSAGES, self.chat(max_tokens=40, ignore_eos=True, stop_sequences=["never said", stop]))
        self.assertEqual((got["content"][0]["text"], got["stop_reason"], got["stop_sequence"]), (cut, "stop_sequence", stop))
        events = self.events(MESSAGES, self.chat(max_tokens=40, ignore_eos=True, stop_sequences=[stop]))
        self.assertEqual(events[-2][1]["delta"], {"stop_reason": "stop_sequence", "stop_sequence": stop})
        got = self.json(CHAT, self.chat(max_tokens=3, ignore_eos=True))["choices"][0]
        self.assertEqual(got["finish_reason"], "length")

    def test_ollama(self):
        body = {"model": "one", "messages": self.chat()["messages"], "options": {"num_predict": 9, "num_ctx": 5}}
        lines = [json.loads(x) for x in self.ask("/api/chat", body).splitlines()]
        self.assertEqual(self.headers["content-type"], "application/x-ndjson")
        self.assertEqual(self.headers["x-veritas-ignored"], "options.num_ctx")
        whole = self.json("/api/chat", dict(body, stream=False))
        self.assertEqual("".join(x["message"]["content"] for x in lines), whole["message"]["content"])
        self.assertEqual([x["done"] for x in lines], [False] * (len(lines) - 1) + [True])
        self.assertEqual(lines[-1]["eval_count"], whole["eval_count"])
        begun = time.monotonic_ns()
        told = self.json("/api/chat", dict(body, stream=False))
        self.assertLessEqual(told["total_duration"], time.monotonic_ns() - begun)
        self.assertGreater(told["total_duration"], told["prompt_eval_duration"] + told["eval_duration"])
        self.assertLess(told["load_duration"], told["total_duration"])
        self.assertEqual(self.json("/api/generate", {"model": "two", "stream": False})["done_reason"], "load")
        self.assertEqual({m["name"] for m in self.json("/api/tags")["models"]}, {"one", "two", *TEMPLATES})
        self.assertLessEqual({m["name"] for m in self.json("/api/ps")["models"]}, {"one", "two", *TEMPLATES})
        shown = self.json("/api/show", {"model": "one"})
        self.assertEqual((shown["details"]["format"], shown["model_info"]["general.architecture"]), ("gguf",
                                                                                                     shown["details"]["family"]))
        self.assertEqual(shown["details"]["families"], [shown["details"]["family"]])
        self.assertRegex(shown["details"]["parameter_size"], r"^[0-9.]+[KM]$")
        self.assertEqual(self.json("/api/show", {"model": "knows"})["capabilities"][:2], ["completion", "tools"])
        self.assertEqual(self.json("/api/generate", {"model": "two", "stream": False, "keep_alive": 0})["done_reason"], "unload")
        self.assertNotIn("two", {m["name"] for m in self.json("/api/ps")["models"]})
        self.assertEqual(self.json("/api/generate", {"model": "two", "stream": False, "keep_alive": "0m5s"})["done_reason"], "load")
        self.json("/api/chat", dict(body, stream=False, keep_alive="5m"))
        self.assertEqual(self.headers["x-veritas-ignored"], "options.num_ctx, keep_alive")
        self.assertEqual(list(self.json("/api/version")), ["version"])
        self.assertIn("error", self.json("/api/embed", {"model": "one", "input": "x"}, 400))

    def test_constraints(self):
        grammar = 'root ::= "a" [0-9] [0-9]? "b"'
        for more, form in (({"structured_outputs": {"choice": ["red", "green tea"]}}, "red|green tea"),
                           ({"structured_outputs": {"regex": "[a-c]{3}x"}}, "[a-c]{3}x"), ({"grammar": grammar}, "a[0-9]{1,2}b")):
            more = dict(more, temperature=1.5)
            texts = [self.json(CHAT, self.chat(**more))["choices"][0]["message"]["content"],
                     "".join(e["choices"][0]["delta"].get("content", "") for _, e in self.events(CHAT, self.chat(**more))[:-1]),
                     self.json(COMPLETIONS, {"model": "one", "prompt": "x", "max_tokens": 24, **more})["choices"][0]["text"],
                     self.json(MESSAGES, self.chat(**more))["content"][0]["text"],
                     self.json(RESPONSES, {"model": "one", "input": "Hi", **more})["output"][0]["content"][0]["text"]]
            for text in texts:
                self.assertRegex(text, f"^({form})$")
            self.assertEqual(texts[0], texts[1])
        e = self.json(CHAT, self.chat(structured_outputs={"choice": [1]}), 400)["error"]
        self.assertEqual((e["param"], e["code"]), ("structured_outputs.choice", "invalid"))
        e = self.json(CHAT, self.chat(structured_outputs={"regex": "(a"}), 400)["error"]
        self.assertIn("regular expression", e["message"])
        self.assertEqual(self.json(CHAT, self.chat(grammar=grammar, stop="x"), 400)["error"]["type"], "invalid_request_error")
        self.assertEqual(self.json(CHAT, self.chat(grammar=grammar, max_tokens=1), 400)["error"]["type"], "invalid_request_error")

    CALLS = r'<tool_call>\n\{"name": "look", "arguments": \{"n": [0-9]{2}\}\}\n</tool_call>'

    def test_calls_of_tools(self):
        """Two calls of a model that is made to write them: parts of each API, and a stream that is the whole answer."""
        parameters = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        more = {"structured_outputs": {"regex": f"Well\\.\n{self.CALLS}\n{self.CALLS}"}, "temperature": 1}
        tools = [{"type": "function", "function": {"name": "look", "parameters": parameters}}]
        body = self.chat(max_tokens=200, tools=tools, **more)
        whole = self.json(CHAT, body)["choices"][0]
        self.assertEqual((whole["finish_reason"], whole["message"]["content"]), ("tool_calls", "Well."))
        calls = whole["message"]["tool_calls"]
        arguments = [json.loads(t["function"]["arguments"]) for t in calls]
        self.assertEqual([(t["type"], t["function"]["name"], list(a)) for t, a in zip(calls, arguments)],
                         [("function", "look", ["n"])] * 2)
        self.assertEqual(len({t["id"] for t in calls}), 2)
        got, content, finish = {}, "", None
        for _, e in self.events(CHAT, body)[:-1]:
            choice = e["choices"][0]
            content += choice["delta"].get("content") or ""
            finish = choice["finish_reason"] or finish
            for t in choice["delta"].get("tool_calls", []):
                mine = got.setdefault(t["index"], {"name": "", "arguments": ""})
                for key in mine:
                    mine[key] += t["function"].get(key, "")
        self.assertEqual((content, finish, list(got.values())), ("Well.", "tool_calls", [t["function"] for t in calls]))

        flat = [{"name": "look", "parameters": parameters, "type": "function"}]
        got = self.json(RESPONSES, {"model": "one", "input": "Hi", "tools": flat, **more})["output"]
        self.assertEqual([i["type"] for i in got], ["message", "function_call", "function_call"])
        self.assertEqual([json.loads(i["arguments"]) for i in got[1:]], arguments)
        last = self.events(RESPONSES, {"model": "one", "input": "Hi", "tools": flat, **more})[-1][1]
        self.assertEqual((last["type"], [i.get("arguments") for i in last["response"]["output"]]),
                         ("response.completed", [i.get("arguments") for i in got]))
        back = [{"role": "user", "content": "Hi"}, *got, *({"type": "function_call_output", "call_id": i["call_id"], "output": "5"}
                                                            for i in got[1:])]
        self.assertEqual(self.json(RESPONSES, {"model": "one", "input": back, "tools": flat, "max_output_tokens": 4})["object"],
                         "response")

        body = self.chat(max_tokens=200, tools=[{"name": "look", "input_schema": parameters}], **more)
        got = self.json(MESSAGES, body)
        self.assertEqual((got["stop_reason"], [b["type"] for b in got["content"]]), ("tool_use", ["text", "tool_use", "tool_use"]))
        self.assertEqual([b["input"] for b in got["content"][1:]], arguments)
        pieces = {}
        for name, e in self.events(MESSAGES, body):
            if name == "content_block_delta" and e["delta"]["type"] == "input_json_delta":
                pieces[e["index"]] = pieces.get(e["index"], "") + e["delta"]["partial_json"]
        self.assertEqual([json.loads(p) for p in pieces.values()], arguments)
        results = [{"type": "tool_result", "tool_use_id": b["id"], "content": "5"} for b in got["content"][1:]]
        back = [body["messages"][0], {"role": "assistant", "content": got["content"]}, {"role": "user", "content": results}]
        self.assertEqual(self.json(MESSAGES, self.chat(messages=back, tools=body["tools"]))["role"], "assistant")

        self.assertEqual(self.json(CHAT, self.chat(tools=tools, tool_choice="perhaps"), 400)["error"]["param"], "tool_choice")

    def test_calls_or_a_format(self):
        """Beside response_format a model may call a tool: text in the format, or calls that keep their schema."""
        parameters = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 5}}, "required": ["n"]}
        tools = [{"type": "function", "function": {"name": "look", "parameters": parameters}}]
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {
            "type": "object", "properties": {"b": {"type": "boolean"}}, "required": ["b"], "additionalProperties": False}}}
        more = {"tools": tools, "response_format": form, "max_tokens": 90, "temperature": 1.5}
        kinds = set()
        for seed in range(24):
            body = self.chat(seed=seed, **more)
            choice = self.json(CHAT, body)["choices"][0]
            calls = choice["message"].get("tool_calls")
            kinds.add(choice["finish_reason"])
            if calls:
                self.assertEqual((choice["finish_reason"], choice["message"]["content"]), ("tool_calls", None))
                for t in calls:
                    arguments = json.loads(t["function"]["arguments"])
                    self.assertEqual((t["function"]["name"], list(arguments)), ("look", ["n"]))
                    self.assertGreaterEqual(arguments["n"], 5)
            else:
                self.assertEqual((choice["finish_reason"], list(json.loads(choice["message"]["content"]))), ("stop", ["b"]))
            if seed < 3:
                got = [e["choices"][0] for _, e in self.events(CHAT, body)[:-1] if e["choices"]]
                self.assertEqual("".join(c["delta"].get("content") or "" for c in got), choice["message"]["content"] or "")
                pieces = [t["function"].get("arguments", "") for c in got for t in c["delta"].get("tool_calls", [])]
                self.assertEqual("".join(pieces), "".join(t["function"]["arguments"] for t in calls or []))
        self.assertEqual(kinds, {"stop", "tool_calls"})
        forced = self.json(CHAT, self.chat(tool_choice="required", **more))["choices"][0]
        self.assertEqual(forced["finish_reason"], "tool_calls")
        never = self.json(CHAT, self.chat(tool_choice="none", **more))["choices"][0]
        self.assertEqual(list(json.loads(never["message"]["content"])), ["b"])
        tools[0]["function"]["parameters"] = {"type": "object", "properties": {"n": {"type": "array", "uniqueItems": True}}}
        self.assertIn("uniqueItems", self.json(CHAT, self.chat(**more), 400)["error"]["message"])

    def test_decisions(self):
        questions = {"team": {"type": "choice", "instructions": "Who?", "criteria": {"billing": "Money", "support": None}},
                     "angry": {"type": "noul", "instructions": "Angry?"},
                     "haste": {"type": "score", "instructions": "How urgent?", "criteria": ["not", "soon", "now"]}}
        body = {"model": "one", "state": {"text": "I was charged twice."}, "questions": questions}
        got = self.json("/v1/decisions", body)
        self.assertEqual(list(got["answers"]), list(questions))
        for name in ("team", "haste"):
            answer = got["answers"][name]
            self.assertAlmostEqual(sum(answer["probabilities"].values()), 1)
            self.assertEqual(len(answer["probabilities"]), len(questions[name]["criteria"]))
        self.assertTrue(0 <= got["answers"]["haste"]["score"] <= 2 and 0 <= got["answers"]["angry"]["noul"] <= 1)
        self.assertEqual(got["answers"], self.json("/v1/systemone", body)["answers"])
        self.assertEqual(got["usage"]["output_tokens"], 3)

    # ---- counting ----

    def test_counts_are_what_an_answer_says(self):
        prompt = self.json(CHAT, self.chat(max_tokens=1))["usage"]["prompt_tokens"]
        count = {"object": "response.input_tokens", "input_tokens": prompt}
        self.assertEqual(self.json(CHAT + "/input_tokens", self.chat()), count)
        self.assertEqual(self.json(RESPONSES + "/input_tokens", {"model": "one", "input": "Hi"}), count)
        self.assertEqual(self.json(MESSAGES + "/count_tokens", self.chat()), {"input_tokens": prompt})
        text = self.json("/apply-template", {"model": "one", "messages": self.chat()["messages"]})["prompt"]
        self.assertIn("Hi", text)
        self.assertEqual(self.json("/tokenize", {"model": "one", "prompt": text, "special": True})["count"], prompt)
        self.assertEqual(self.json("/tokenize", {"model": "one", "messages": self.chat()["messages"]})["count"], prompt)

    def test_counts_with_tools(self):
        """What counts is the prompt of the answer, through each API: tools, calls and results, choices, formats, reasoning."""
        schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
        functions = [{"name": n, "description": "What it does", "parameters": schema} for n in ("system", "look")]
        tools = [{"type": "function", "function": f} for f in functions]
        flat = [{"type": "function", **f} for f in functions]
        theirs = [{"name": f["name"], "description": f["description"], "input_schema": schema} for f in functions]
        hi, call = {"role": "user", "content": "Hi"}, {"name": "look", "arguments": '{"a": 1}'}
        history = [hi, {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": call}]},
                   {"role": "tool", "tool_call_id": "c1", "content": "done"}]
        items = [hi, {"type": "function_call", "call_id": "c1", **call},
                 {"type": "function_call_output", "call_id": "c1", "output": "done"}]
        blocks = [hi, {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "look", "input": {"a": 1}}]},
                  {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "done"}]}]
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": tools[1:]}}
        look, documents = {"type": "function", "function": {"name": "look"}}, [{"title": "T", "text": "words"}]
        chats = [{}, {"tools": tools}, *({"tools": tools, "tool_choice": c} for c in ("none", "auto", "required", look, allowed)),
                 {"messages": history}, {"messages": history, "tools": tools}, {"tools": tools, "response_format": form},
                 {"messages": history, "tools": tools, "tool_choice": "none"}, {"response_format": form},
                 {"documents": documents, "tools": tools}, {"reasoning_effort": "none"},
                 {"reasoning_effort": "high", "tools": tools},
                 {"messages": [{"role": "system", "content": "Be brief."}, *history], "tools": tools},
                 {"messages": [hi, {"role": "assistant", "content": "Well"}], "continue_final_message": True, "tools": tools},
                 {"chat_template_kwargs": {"enable_thinking": False}, "tools": tools}]
        responses = [{}, {"tools": flat}, {"tools": flat, "tool_choice": "none"}, {"tools": flat, "tool_choice": "required"},
                     {"tools": flat, "tool_choice": {"type": "function", "name": "look"}}, {"input": items, "tools": flat},
                     {"instructions": "Be brief.", "tools": flat}, {"reasoning": {"effort": "none"}, "tools": flat},
                     {"text": {"format": {"type": "json_schema", "name": "x", "schema": schema}}, "tools": flat}]
        messages = [{}, {"tools": theirs}, *({"tools": theirs, "tool_choice": {"type": t}} for t in ("none", "auto", "any")),
                    {"tools": theirs, "tool_choice": {"type": "tool", "name": "look"}}, {"messages": blocks, "tools": theirs},
                    {"messages": blocks}, {"system": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}],
                                           "tools": theirs}, {"thinking": {"type": "disabled"}, "tools": theirs}]
        for model in TEMPLATES:
            seen = set()
            for more in chats:
                body = {"model": model, "messages": [hi], "max_tokens": 200, **more}
                want = self.json(CHAT, body)["usage"]["prompt_tokens"]
                text = self.json("/apply-template", body)["prompt"]
                self.assertEqual([self.json(CHAT + "/input_tokens", body)["input_tokens"],
                                  self.json("/tokenize", body)["count"],
                                  self.json("/tokenize", {"model": model, "prompt": text, "special": True})["count"]], [want] * 3,
                                 (model, more))
                seen.add(want)
            self.assertGreater(len(seen), 8)
            for more in responses:
                body = {"model": model, "input": "Hi", "max_output_tokens": 200, **more}
                want = self.json(RESPONSES, body)["usage"]["input_tokens"]
                self.assertEqual(self.json(RESPONSES + "/input_tokens", body)["input_tokens"], want, (model, more))
            for more in messages:
                body = {"model": model, "messages": [hi], "max_tokens": 200, **more}
                usage = self.json(MESSAGES, body)["usage"]
                self.assertEqual(self.json(MESSAGES + "/count_tokens", body)["input_tokens"],
                                 usage["input_tokens"] + usage["cache_read_input_tokens"], (model, more))
        for beside in ({"prompt": "x"}, {"special": True}):
            body = self.chat(**beside)
            self.assertEqual(self.json("/tokenize", body, 400)["error"]["param"], list(beside)[0])

    # ---- what is refused, and how ----

    def test_errors_in_each_form(self):
        e = self.json(CHAT, self.chat(temperature="hot"), 400)["error"]
        self.assertEqual((e["type"], e["param"], e["code"]), ("invalid_request_error", "temperature", "invalid_value"))
        self.assertEqual(self.headers["x-should-retry"], "false")
        e = self.json(CHAT, self.chat(model="none"), 404)["error"]
        self.assertEqual((e["code"], e["param"]), ("model_not_found", "model"))
        e = self.json(CHAT, self.chat("x " * 5000), 400)["error"]
        self.assertEqual(e["code"], "context_length_exceeded")
        e = self.json(CHAT, self.chat("x " * 5000, stream=True), 400)["error"]
        self.assertEqual(e["code"], "context_length_exceeded")
        e = self.json(MESSAGES, self.chat(model="none"), 404)
        self.assertEqual((e["type"], e["error"]["type"]), ("error", "not_found_error"))
        e = self.json(MESSAGES, {"model": "one", "messages": []}, 400)
        self.assertEqual(e["error"]["type"], "invalid_request_error")
        self.assertIsInstance(self.json("/api/chat", {"model": "none", "messages": self.chat()["messages"]}, 404)["error"], str)
        self.assertEqual(self.json("/v1/embeddings", {"model": "one", "input": "x"}, 400)["error"]["code"], "unsupported")
        ask = {"model": "one", "query": "x", "documents": ["x"]}
        self.assertEqual(self.json("/v1/rerank", ask, 400)["error"]["code"], "unsupported")
        image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]
        self.assertEqual(self.json(CHAT, self.chat(messages=image), 400)["error"]["param"], "messages[0].content[0]")
        self.assertEqual(self.json(RESPONSES, {"model": "one", "input": "x", "previous_response_id": "r"}, 400)["error"]["param"],
                         "previous_response_id")

        self.assertEqual(self.json("/v1/models/none", status=404)["error"]["code"], "model_not_found")
        theirs = {"anthropic-version": "2023-06-01"}        # Anthropic's clients say so, and look for their form everywhere
        for path in ("/v1/models/none", "/v1/files"):
            e = self.json(path, status=404, more=theirs)
            self.assertEqual((e["type"], e["error"]["type"], e["request_id"]),
                             ("error", "not_found_error", self.headers["request-id"]), path)
        self.assertEqual(self.json(CHAT, self.chat(model="none"), 404, more=theirs)["error"]["code"], "model_not_found")

    def test_allowed_tools(self):
        """Some of the tools: the model is told of these alone, so the prompt is that of a request which has no others."""
        names = ("look", "find", "tell")
        tools = [{"type": "function", "function": {"name": n, "parameters": {"type": "object"}}} for n in names]
        flat = [{"type": "function", **t["function"]} for t in tools]
        for mode in ("auto", "required"):
            two = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [tools[2], tools[0]]}}
            want = self.json(CHAT, self.chat(tools=[tools[0], tools[2]], tool_choice=mode, max_tokens=60))
            got = self.json(CHAT, self.chat(tools=tools, tool_choice=two, max_tokens=60))
            say = [[c["message"]["content"], [f["function"] for f in c["message"].get("tool_calls") or []]]
                   for c in want["choices"] + got["choices"]]
            self.assertEqual((say[0], want["usage"]["prompt_tokens"]), (say[1], got["usage"]["prompt_tokens"]))
            one = {"type": "allowed_tools", "mode": mode, "tools": [{"type": "function", "name": "find"}]}
            ask = {"model": "one", "input": "Hi", "max_output_tokens": 60}
            want = self.json(RESPONSES, {**ask, "tools": flat[1:2], "tool_choice": mode})["usage"]["input_tokens"]
            self.assertEqual(self.json(RESPONSES, {**ask, "tools": flat, "tool_choice": one})["usage"]["input_tokens"], want)
        for wrong in ([], [{"type": "function", "function": {"name": "none"}}], [tools[0], tools[0]], "look"):
            body = self.chat(tools=tools, tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": wrong}})
            self.assertEqual(self.json(CHAT, body, 400)["error"]["param"], "tool_choice")

    def test_a_message_without_content(self):
        for message in ({"role": "user"}, {"role": "user", "contents": "Hi"}, {"role": "developer", "content": None}):
            e = self.json(CHAT, self.chat(messages=[message]), 400)["error"]
            self.assertEqual((e["param"], e["code"]), ("messages[0]", "missing_required_parameter"))
        self.json(CHAT, self.chat(messages=[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": None},
                                            {"role": "user", "content": ""}], max_tokens=1))

    def test_errors_name_their_field(self):
        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
        flat = {"type": "function", "name": "f", "parameters": {"type": "object"}}
        for path, body, param in (
                (CHAT, self.chat(structured_outputs={"regex": "(a"}), "structured_outputs.regex"),
                (CHAT, self.chat(structured_outputs={"regex": "(.{0,50}a.{0,50}){20}"}), "structured_outputs.regex"),
                (CHAT, self.chat(grammar="root ::= x"), "grammar"),
                (CHAT, self.chat(response_format={"type": "json_schema", "json_schema": {"schema": {"type": "text"}}}),
                 "response_format"),
                (CHAT, self.chat(template="none"), "template"),
                (CHAT, self.chat(grammar='root ::= "aaaa"', max_tokens=1), "max_tokens"),
                (CHAT, self.chat(max_tokens=5, max_completion_tokens=6), "max_completion_tokens"),
                (RESPONSES, {"model": "one", "input": "x", "text": {"format": {"type": "json_schema", "name": "x", "schema": {
                    "not": {"format": "date"}}}}}, "text.format"),
                (RESPONSES, {"model": "one", "input": "x", "tool_choice": "required"}, "tool_choice"),
                (CHAT, self.chat(tool_choice="required"), "tool_choice"),
                (CHAT, self.chat(tools=[tool], tool_choice="required", stop="x"), "stop"),
                (RESPONSES, {"model": "one", "input": "x", "tools": [flat], "tool_choice": {"type": "function", "name": "g"}},
                 "tool_choice"),
                ("/tokenize", {"model": "one", "prompt": "a", "content": "b"}, "content")):
            self.assertEqual(self.json(path, body, 400)["error"]["param"], param, (path, body))
        for more in ({"stop_sequences": "x"}, {"messages": [{"role": "tool", "content": "x"}, {"role": "user", "content": "y"}]},
                     {"tool_choice": {"type": "any"}}):
            self.assertEqual(self.json(MESSAGES, self.chat(**more), 400)["error"]["type"], "invalid_request_error")
        self.assertIsInstance(self.json("/api/nothing", {}, 404)["error"], str)
        self.assertIsInstance(self.json("/api/chat", None, 405)["error"], str)
        self.assertEqual(self.json("/v1/messages/nothing", {}, 404)["error"]["type"], "not_found_error")
        self.assertEqual(self.json("/v1/nothing", {}, 404)["error"]["code"], "not_found")
        self.json("/api/generate", {"model": "one", "prompt": "x", "stream": False, "options": {"num_predict": -3, "stop": ["e"]}})

    def test_an_answer_that_has_begun(self):
        """It goes on from its text, through each API that has this, with the same bytes."""
        talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well, I"}]
        e = self.json(CHAT, self.chat(messages=talk, continue_final_message=True))
        m = self.json(MESSAGES, self.chat(messages=talk))
        self.assertEqual(e["choices"][0]["message"]["content"], m["content"][0]["text"])
        self.assertNotEqual(e["choices"][0]["message"]["content"], self.json(CHAT, self.chat())["choices"][0]["message"]["content"])
        events = self.events(MESSAGES, self.chat(messages=talk))
        streamed = [d["delta"]["text"] for name, d in events if name == "content_block_delta"]
        self.assertEqual("".join(streamed), m["content"][0]["text"])
        plain = self.json("/apply-template", {"model": "one", "messages": talk[:1]})["prompt"]
        counted = self.json("/v1/messages/count_tokens", self.chat(messages=talk))["input_tokens"]
        whole = self.json("/tokenize", {"model": "one", "prompt": plain + "Well, I", "special": True})["count"]
        self.assertLessEqual(abs(counted - whole), 1)           # a text that is read has its first token once
        for more in ({"messages": talk[1:]}, {"messages": [*talk[:1], {"role": "assistant", "content": ""}]}):
            self.json(MESSAGES, self.chat(**more), 400)
        for more in ({"continue_final_message": True}, {"messages": talk, "add_generation_prompt": False},
                     {"messages": talk, "continue_final_message": True, "add_generation_prompt": True}):
            self.json(CHAT, self.chat(**more), 400)

    def test_what_is_ignored_is_named(self):
        self.json(CHAT, self.chat(bloom=1, user="u", **{"x\r\ny: z": 1}))
        self.assertEqual(self.headers["x-veritas-ignored"], "bloom, x??y:?z")
        self.json(CHAT, self.chat())
        self.assertNotIn("x-veritas-ignored", self.headers)
        tool = {"type": "function", "flavor": 1, "function": {"name": "f", "color": 2, "parameters": {"type": "object"}}}
        other = dict(tool, function={**tool["function"], "name": "g"})
        form = {"type": "json_schema", "size": 3, "json_schema": {"name": "x", "weight": 4, "schema": {"type": "boolean"}}}
        self.json(CHAT, self.chat(tools=[tool, other], response_format=form))
        self.assertEqual(self.headers["x-veritas-ignored"], "tools.flavor, tools.function.color, response_format.size, "
                         "response_format.json_schema.weight")

    def test_what_agents_send(self):
        """Tools of other types and the editing of contexts: the answer is that of a request without them, which the header says."""
        chat = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
        flat = [{"type": "function", "name": "f", "parameters": {"type": "object"}}]
        own = [{"name": "f", "input_schema": {"type": "object"}}]
        asks = ((CHAT, self.chat(max_tokens=4), chat, [{"type": "web_search"}, {"type": "custom", "custom": {"name": "g"}}], {}),
                (RESPONSES, {"model": "one", "input": "Hi", "max_output_tokens": 4}, flat,
                 [{"type": "web_search", "external_web_access": False}, {"type": "custom", "name": "g", "format": {"type": "text"}},
                  {"type": "namespace", "name": "n", "tools": flat}, {"type": "local_shell"}], {"context_management": []}),
                (MESSAGES, self.chat(max_tokens=4), own, [{"type": "web_search_20250305", "name": "web_search"},
                                                          {"type": "bash_20250124", "name": "bash"}],
                 {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}}))
        for path, body, tools, others, more in asks:
            said = [self.json(path, {**body, **m}) for m in ({"tools": tools}, {"tools": others[:1] + tools + others[1:], **more})]
            first, second = (re.sub("[0-9a-f]{16}", "", json.dumps([r.get(k) for k in ("choices", "output", "content")]))
                             for r in said)
            self.assertEqual(first, second, path)
            named = self.headers["x-veritas-ignored"].split(", ")
            self.assertEqual(sorted(named), sorted(["tools." + t["type"] for t in others] + list(more)), path)
            self.json(path, {**body, "tools": others[:1]})
        self.assertEqual(self.json(CHAT, self.chat(tools=[{"type": "web_search"}], tool_choice="required"), 400)["error"]["param"],
                         "tool_choice")
        self.json(CHAT, self.chat(top_logprobs=0, max_tokens=1))

    def test_hints(self):
        """What asks for something else than the answer: the same answer, and the header names it."""
        for path, body, hints, named in (
                (CHAT, self.chat(max_tokens=4), {"store": True, "verbosity": "low"}, {"store", "verbosity"}),
                (RESPONSES, {"model": "one", "input": "Hi", "max_output_tokens": 4},
                 {"store": True, "truncation": "auto", "text": {"verbosity": "high"}}, {"store", "truncation", "text.verbosity"})):
            plain, hinted = (self.json(path, {**body, **more}) for more in ({}, hints))
            self.assertEqual(set(self.headers["x-veritas-ignored"].split(", ")), named)
            keys = ("choices", "output", "store", "truncation")
            first, second = (re.sub("[0-9a-f]{16}", "", json.dumps([r.get(k) for k in keys])) for r in (plain, hinted))
            self.assertEqual(first, second, path)

    def test_documents_in_messages(self):
        document = {"type": "document", "title": "Colours", "source": {"type": "text", "media_type": "text/plain", "data": "Red."},
                    "citations": {"enabled": True}}
        talk = [{"role": "user", "content": [document, {"type": "text", "text": "Which?"}]}]
        got = self.json(MESSAGES, self.chat(messages=talk))
        self.assertEqual(self.headers["x-veritas-ignored"], "document.citations")
        want = self.json(MESSAGES, self.chat(messages=[{"role": "user", "content": "Colours\nRed.\nWhich?"}]))
        self.assertEqual(got["content"], want["content"])
        document["source"] = {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}
        self.assertIn("documents", self.json(MESSAGES, self.chat(messages=talk), 400)["error"]["message"])

    def test_a_system_message_amid_others(self):
        talk = [{"role": "user", "content": "Hi"}, {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}]
        want = self.json(CHAT, self.chat(messages=[talk[0], {"role": "system", "content": "Be brief."}]))
        got = self.json(MESSAGES, self.chat(messages=talk))
        self.assertEqual(got["content"][0]["text"], want["choices"][0]["message"]["content"])

    def test_many_are_ignored(self):
        names = [f"unknown_field_{i:040d}" for i in range(60)]
        self.ask(CHAT, self.chat(max_tokens=1, **dict.fromkeys(names, 1)))
        told = self.headers["x-veritas-ignored"].split(", ")
        self.assertEqual(told, names[:len(told) - 1] + ["..."])

    def test_strict_tools(self):
        """A schema that can't be held is refused where its tool is strict; else the model's own calls are parsed alone."""
        odd = {"type": "object", "properties": {"n": {"type": "array", "uniqueItems": True}}}
        for strict, status in ((None, 200), (False, 200), (True, 400)):
            chat = {"type": "function", "function": {"name": "f", "parameters": odd, "strict": strict}}
            flat = {"type": "function", "name": "f", "parameters": odd, "strict": strict}
            self.json(CHAT, self.chat(tools=[chat]), status)
            self.json(RESPONSES, {"model": "one", "input": "x", "tools": [flat], "max_output_tokens": 3}, status)
            self.json(MESSAGES, self.chat(tools=[{"name": "f", "input_schema": odd, "strict": strict}]), status)
        self.assertEqual(self.json(CHAT, self.chat(tools=[{"type": "function", "function": {"name": "f", "strict": 1}}]),
                                   400)["error"]["param"], "tools[0].function.strict")

    def test_every_field_is_documented(self):
        top = os.path.dirname(os.path.abspath(__file__)) + "/../.."
        with open(top + "/docs/HTTP.md") as f:
            known = set(re.findall(r"`([\w.]+)`", f.read()))
        known |= {word.split(".")[-1] for word in known}
        rows = set()
        for name in os.listdir(top + "/src/prog/gateway"):
            with open(f"{top}/src/prog/gateway/{name}") as f:
                rows |= set(re.findall(r'\{ "(\w+)", GW_', f.read()))
        self.assertGreater(len(rows), 100)
        self.assertEqual(rows - known, set())


if __name__ == "__main__":
    unittest.main()
