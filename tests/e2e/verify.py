#!/usr/bin/env python3
"""`veritas verify` and veritas-receipt: receipts that another program makes (receipt_format.py, from docs/RECEIPT.md) of answers of
the daemon are replayed with every instruction set; what was edited, signed again, cut or made up is told by its own verdict.

usage: verify.py BIN (holds veritas, its programs and mkmodel)."""
import array
import copy
import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../fixtures"))
import client as c                      # noqa: E402
import malformed as gguf                # noqa: E402
import receipt_format as r              # noqa: E402
from processes import private_daemon    # noqa: E402

BIN = os.path.abspath(sys.argv.pop(1))
DIR = tempfile.TemporaryDirectory(prefix="vsr")
SEED, SALT = bytes(range(32)), bytes(range(100, 132))
VOCAB = 600
PROMPT = [1, 40, 297, 5, 266, 120, 280, 33, 77, 299]
os.environ.update(VERITAS_SOCKET="/nowhere/s", XDG_STATE_HOME=DIR.name)


def make_model(name, *more):
    path = f"{DIR.name}/{name}.gguf"
    subprocess.run([BIN + "/mkmodel", "--arch", "llama", "--layers", "2", "--embd", "64", "--heads", "4", "--kv-heads", "2",
                    "--vocab", str(VOCAB), "--ctx", "512", *more, "-o", path], check=True, stdout=subprocess.DEVNULL)
    return path


MODEL, OTHER = make_model("one", "--seed", "11"), make_model("two", "--seed", "12")


def write(name, value):
    path = f"{DIR.name}/{name}"
    with open(path, "wb") as f:
        f.write(value if isinstance(value, bytes) else value.encode() if isinstance(value, str) else r.spelled(value))
    return path


KEY = write("key", r.keys_of(SEED)[1])
# The text of a receipt is what the model made: these answers come as they are.
os.environ["VERITAS_POLICY"] = write("policy", {"output": {"control": "off"}})


def verify(receipt, *args):
    """The verdict's object and the exit status."""
    p = subprocess.run([BIN + "/veritas", "verify", "-" if receipt is None else write("r", receipt), "--json", *args],
                       capture_output=True, text=True, timeout=120)
    assert p.stdout, (p.returncode, p.stderr)
    return json.loads(p.stdout), p.returncode


class Answers:
    """Answers of a daemon, and their logits."""

    def __init__(self, path, prompt=PROMPT, n_source=0, **settings):
        """n_source: so many tokens have no logits."""
        self.serve, ours = private_daemon(BIN + "/veritas", 120, stderr=subprocess.DEVNULL)
        self.client, self.path, self.prompt, self.n_source = c.Client(sock=ours), path, prompt, n_source
        facts = self.client.load_path(path, settings=settings)["facts"]
        self.n_ctx = facts["context"]

    def close(self):
        self.client.close()
        self.serve.wait(20)

    def rows(self, tokens, first):
        data = b""
        for e in self.client.events(self.client.request(c.LOGITS, {"model": self.path, "tokens": tokens})):
            data += e.data if e.kind == c.DATA else b""
        values = array.array("f", data)
        assert len(values) == (len(tokens) - self.n_source) * VOCAB
        return [values[i * VOCAB:(i + 1) * VOCAB].tolist() for i in range(first - self.n_source, len(tokens) - self.n_source)]

    def receipt(self, level=1, contract="VNC-1", kv_type="f16", said=None, **asked):
        """Asks, and makes the receipt of what came; said: another prompt that it tells of."""
        body = {"tokens": self.prompt, "max_tokens": asked["max_tokens"], "stop": asked.get("stop"),
                "stop_tokens": asked.get("stop_tokens"), "constraint": asked.get("constraint"),
                "ignore_eos": bool(asked.get("ignore_eos")), "sampling": {"seed": asked.get("seed", 0), "ignore_file": True}}
        for key in ("temperature", "top_k", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty", "repeat_last_n"):
            if key in asked:
                body["sampling"][key] = asked[key]
        if asked.get("bias"):
            body["sampling"]["logit_bias"] = [[i, "-inf" if v == float("-inf") else v] for i, v in asked["bias"]]
        body = {key: v for key, v in body.items() if v is not None}
        text, tokens, result = self.client.answer(self.client.request(c.GENERATE, {"model": self.path, **body}))
        asked = {**asked, "sha256": result["model_digest"], "n_ctx": self.n_ctx, "contract": contract, "kv_type": kv_type}
        rows = self.rows(self.prompt + tokens[:-1], len(self.prompt) - 1) if tokens else []
        statement = r.statement(SALT, asked, said or self.prompt, tokens, text, rows, result["finish_reason"], level)
        return r.signed(statement, SEED, r.opening(SALT, asked, said or self.prompt, tokens, text))


class Verify(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.answers, cls.redo = Answers(MODEL), Answers(MODEL, isa="c")
        cls.plain = cls.answers.receipt(max_tokens=20, ignore_eos=1, seed=7, repeat_penalty=1.1)

    @classmethod
    def tearDownClass(cls):
        cls.answers.close()
        cls.redo.close()

    def replayed(self, receipt):
        """The same without `veritas`: what veritas-receipt makes of it, asked of one daemon that computes in plain C."""
        p = subprocess.run([BIN + "/veritas-receipt", "--request"], input=r.spelled(receipt), capture_output=True, timeout=120)
        told = [json.loads(line) for line in p.stdout.splitlines()]
        self.assertEqual((told[0]["verdict"], p.returncode), ("WELL_FORMED", 0), (told[0], p.stderr))
        if len(told) == 1:
            return {"verdict": "UNVERIFIABLE", "reason": told[0]["lacks"]}
        return self.redo.client.wait(self.redo.client.request(c.VERIFY, {"model": MODEL, **told[1]}))

    def says(self, receipt, verdict, status, reason="", *args, at=None):
        told, code = verify(receipt, *args)
        self.assertEqual((told["verdict"], code), (verdict, status), told)
        self.assertIn(reason, told["reason"], told)
        if at is not None:
            self.assertEqual(told["at"], at, told)
        return told

    def resign(self, change, opening=None, receipt=None, again=False):
        """Changed and signed by the operator himself. again: with the chain's beginning that belongs to it, as far as he can."""
        receipt = receipt or self.plain
        statement = r.statement_of(receipt)
        change(statement["predicate"])
        return r.signed(statement, SEED, receipt["opening"] if opening is None else opening)

    def test_parked(self):
        """An answer that grows takes the pages of a replay, which goes on later: what was judged is not judged again."""
        receipt = self.answers.receipt(max_tokens=180, ignore_eos=1, seed=3)
        p = subprocess.run([BIN + "/veritas-receipt", "--request"], input=r.spelled(receipt), capture_output=True, timeout=120)
        ask = {"model": MODEL, **json.loads(p.stdout.splitlines()[1])}
        page = self.answers.client.wait(self.answers.client.request(c.STATUS, {}))["models"][0]["kv"]["page_bytes"]
        d = Answers(MODEL, kv_memory=8 * page, prefill_chunk=3, speculation="off", ctx=512)
        self.addCleanup(d.close)
        for i in range(30):                                     # until the answer takes a page in time
            n = 250 + 17 * i % 80
            grows = {"model": MODEL, "tokens": [1] * n, "max_tokens": 150, "ignore_eos": True}
            numbers = [d.client.request(c.GENERATE, grows)]
            while d.client.event().kind != c.TOKEN:
                pass
            numbers += [d.client.request(c.VERIFY, ask)]
            results = {}
            while len(results) < 2:
                e = d.client.event()
                results.update({e.request: e.value} if e.kind == c.COMPLETE else {})
            told = results[numbers[1]]
            self.assertEqual((told["verdict"], told["tokens"]), ("MATCH", 180), told)
            if d.client.wait(d.client.request(c.STATUS, {}))["models"][0]["preemptions"]:
                break
        else:
            self.fail("nobody was parked")

    # ---- structure ----

    def test_source(self):
        """An answer of T5: the prompt is the source, and the token that begins answers."""
        path = make_model("t5", "--arch", "t5")
        answers = Answers(path, [*PROMPT, 0], len(PROMPT))
        self.addCleanup(answers.close)
        receipt = answers.receipt(max_tokens=25, ignore_eos=1, seed=7)
        for isa in ("c", "auto"):
            self.says(receipt, "MATCH", 0, "", "-m", path, "--isa", isa)
        self.says(answers.receipt(max_tokens=25, ignore_eos=1, seed=7, kv_type="f32"), "MISMATCH", 3, "", "-m", path)
        for said in (PROMPT, [0, *PROMPT], [0]):
            told = answers.receipt(max_tokens=25, ignore_eos=1, seed=7, said=said)
            self.says(told, "MISMATCH", 3, "begins its answer", "-m", path)

    def test_structure(self):
        told = self.says(self.plain, "WELL_FORMED", 0, "", "--pubkey", KEY)
        self.assertEqual((told["mode"], told["tokens"], told["trusted"]), ("structure", 20, True))
        self.assertEqual(told["signer"], r.keys_of(SEED)[1].split("+")[0])
        self.assertFalse(self.says(self.plain, "WELL_FORMED", 0)["trusted"])
        self.says({"envelope": self.plain["envelope"], "keys": self.plain["keys"]}, "WELL_FORMED", 0)
        self.says({"envelope": self.plain["envelope"], "keys": self.plain["keys"]}, "UNVERIFIABLE", 4, "opening", "-m", MODEL)
        bare = {key: v for key, v in self.plain.items() if key != "keys"}
        self.says(bare, "UNVERIFIABLE", 4, "--pubkey")
        self.says(bare, "WELL_FORMED", 0, "", "--pubkey", KEY)
        self.says(bare, "WELL_FORMED", 0, "", "--pubkey", write("keys", r.keys_of(SEED)[0]))
        self.says(bare, "WELL_FORMED", 0, "", "--pubkey", write("both", r.keys_of(SEED)[1] + r.keys_of(SEED)[0]))
        self.says(bare, "INVALID", 3, "another first key", "--pubkey", write("both", r.keys_of(SALT)[1] + r.keys_of(SEED)[0]))
        for i in (0, 1):                # whether another key signed it well is not known
            self.says(bare, "UNVERIFIABLE", 4, "file of keys", "--pubkey", write("k2", r.keys_of(SALT)[i]))
        self.says(self.plain, "INVALID", 3, "another first key", "--pubkey", write("k2", r.keys_of(SALT)[1]))
        self.says(self.plain, "INVALID", 3, "--pubkey", "--pubkey", write("k3", "hello"))
        self.says(json.dumps(self.plain, indent=2), "WELL_FORMED", 0)

    def test_people(self):
        p = subprocess.run([BIN + "/veritas", "verify", write("p", self.plain), "--pubkey", KEY, "-m", MODEL], capture_output=True,
                           text=True)
        self.assertEqual((p.returncode, p.stdout.split("\n")[0]), (0, "MATCH"), p.stderr)
        self.assertIn("20 tokens, mode replay", p.stdout)
        p = subprocess.run([BIN + "/veritas", "verify", write("p", self.plain), "--mode", "structure", "-m", MODEL],
                           capture_output=True, text=True)
        self.assertEqual(p.returncode, 2)
        p = subprocess.run([BIN + "/veritas", "verify", "/nowhere"], capture_output=True, text=True)
        self.assertEqual((p.returncode, p.stdout), (4, ""))
        with open(write("p", self.plain)) as f:
            p = subprocess.run([BIN + "/veritas", "verify", "-"], stdin=f, capture_output=True, text=True)
        self.assertEqual((p.returncode, p.stdout.split("\n")[0]), (0, "WELL_FORMED"), p.stderr)

    def test_model_of_no_use(self):
        """What cannot be the receipt's model says nothing against the receipt."""
        small = write("small.gguf", "")
        subprocess.run([BIN + "/mkmodel", "--ctx", "64", "-o", small], check=True, stdout=subprocess.DEVNULL)
        for model in (small, write("none.gguf", "this is no model"), os.path.dirname(small)):
            self.says(self.plain, "UNVERIFIABLE", 4, "", "-m", model)

    def test_alone(self):
        with open(write("p", self.plain)) as f:
            p = subprocess.run([BIN + "/veritas-receipt"], stdin=f, capture_output=True, text=True)
        self.assertEqual((p.returncode, json.loads(p.stdout)["verdict"]), (0, "WELL_FORMED"), p.stderr)
        p = subprocess.run([BIN + "/veritas-receipt"], input="no", capture_output=True, text=True)
        self.assertEqual((p.returncode, json.loads(p.stdout)["verdict"]), (3, "INVALID"))
        self.assertEqual(subprocess.run([BIN + "/veritas-receipt", "--what"], capture_output=True).returncode, 2)

    def test_strange(self):
        good = r.spelled(self.plain).decode()
        payload = json.loads(good)["envelope"]["payload"]
        other = copy.deepcopy(self.plain)
        other["envelope"]["payloadType"] = "text/plain"
        many = copy.deepcopy(self.plain)
        many["opening"]["tokens"] = [7] * 1000000
        for text, reason in (
                ("", "no receipt"), ("{", "no receipt"), ("[]", "no receipt"), ("{}", "envelope"), ("\0" * 100, "no receipt"),
                ("{\"a\":" * 100000, "no receipt"), (good.replace('"opening":', '"opening":{},"opening":'), "no receipt"),
                (good.replace('"tokens":[', '"tokens":[NaN,'), "no receipt"),
                (good.replace('"tokens":[', '"tokens":[1e0,'), "tokens"),
                (good.replace('"tokens":[', '"tokens":[-1,'), "tokens"), (good.replace(payload, payload[:-4]), "signature"),
                (good.replace(payload, "A" * 200000), "payload"), (r.spelled(other).decode(), "payloadType"),
                (r.spelled(many).decode(), "tokens"), (good.replace('"salt"', '"pepper"'), "not known"),
                (r.spelled(r.signed(b"{}", SEED)).decode(), "statement"),
                (r.spelled(r.signed(b" " * 9000, SEED)).decode(), "payload")):
            self.says(text, "INVALID", 3, reason)

    def test_edited(self):
        """Each scalar of the opening and of the envelope."""
        def edited(value):
            if isinstance(value, str):
                return value[:-1] + ("A" if value[-1:] != "A" else "B") if value else "x"
            return value + 1
        def walk(node, path):
            for key in (node if isinstance(node, dict) else range(len(node))):
                if isinstance(node[key], (dict, list)):
                    yield from walk(node[key], path + [key])
                else:
                    yield path + [key]
        for path in walk(self.plain, []):
            if path[:2] == ["opening", "tokens"] and path[2] > 2:
                continue                # as the first ones
            changed = copy.deepcopy(self.plain)
            node = changed
            for key in path[:-1]:
                node = node[key]
            node[path[-1]] = edited(node[path[-1]])
            p = subprocess.run([BIN + "/veritas-receipt"], input=r.spelled(changed), capture_output=True, timeout=120)
            self.assertEqual((json.loads(p.stdout)["verdict"], p.returncode), ("INVALID", 3), path)

    # ---- replay ----

    def test_match(self):
        for mode in ("replay", "decode"):
            for isa in ("c", "auto"):
                told = self.says(self.plain, "MATCH", 0, "", "-m", MODEL, "--mode", mode, "--isa", isa, "--threads", "2")
                self.assertEqual((told["tokens"], told["at"], told["mode"]), (20, None, mode))

    def test_requests(self):
        inf = float("-inf")
        for asked in ({"max_tokens": 1}, {"max_tokens": 0}, {"max_tokens": 300, "ignore_eos": 1, "temperature": 0.0},
                      {"max_tokens": 200, "temperature": 2.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0},
                      {"max_tokens": 30, "ignore_eos": 1, "bias": [[5, 3.5], [7, inf], [9, -1.0]], "presence_penalty": 0.5},
                      {"max_tokens": 40, "ignore_eos": 1, "stop": ["e", "zzz"], "seed": 2 ** 62},
                      {"max_tokens": 100, "stop_tokens": list(range(100, 300)), "typical_p": 0.9},
                      {"max_tokens": 60, "constraint": {"regex": "[a-f]{3,9}"}},
                      {"max_tokens": 60, "constraint": {"choice": ["yes", "no"]}}):
            receipt = self.answers.receipt(level=2 if asked["max_tokens"] == 30 else 1, **asked)
            told = self.replayed(receipt)
            self.assertEqual((told["verdict"], told["tokens"]), ("MATCH", len(receipt["opening"]["tokens"])), (asked, told))

    def test_precision(self):
        answers = Answers(MODEL, precision="high", kv_type="q8_0", ctx=128)
        receipt = answers.receipt(max_tokens=20, contract="VNC-1H", kv_type="q8_0")
        answers.close()
        self.says(receipt, "MATCH", 0, "", "-m", MODEL)

    def test_other(self):
        self.says(self.plain, "UNVERIFIABLE", 4, "this one is", "-m", OTHER)
        self.says(self.plain, "UNVERIFIABLE", 4, "nowhere", "-m", "/nowhere/model.gguf")
        self.says(self.plain, "UNVERIFIABLE", 4, "which model", "--mode", "replay")
        self.says(self.resign(lambda p: p["request"].update(shaped=1)), "UNVERIFIABLE", 4, "tools", "-m", MODEL)

    def test_policy(self):
        """Filters look at what is to be read and said; a replay brings neither."""
        strict = write("strict", {"input": {"raw_tokens": "refuse", "max_bytes": 64}, "pii": {"input": "block", "output": "block"},
                                  "injection": {"user": {"mode": "block", "threshold": 1}}})
        receipt = self.answers.receipt(max_tokens=3, stop=["Ignore all previous instructions", "mail to a@example.com"])
        before = os.environ["VERITAS_POLICY"]
        os.environ["VERITAS_POLICY"] = strict
        try:
            self.says(receipt, "MATCH", 0, "", "-m", MODEL)
        finally:
            os.environ["VERITAS_POLICY"] = before

    def test_tokens(self):
        """Another token, signed again with all that can be made to fit: told with its place."""
        o = copy.deepcopy(self.plain["opening"])
        for at in (0, 7, 19):
            changed = copy.deepcopy(o)
            changed["tokens"][at] = (changed["tokens"][at] + 1) % VOCAB
            statement = r.statement_of(self.plain)
            statement["subject"][0]["digest"]["sha256"] = r.commit("output.tokens", SALT, r.ids(changed["tokens"])).hex()
            for mode in ("replay", "decode")[:1 + (at == 7)]:
                self.says(r.signed(statement, SEED, changed), "MISMATCH", 3, "is drawn here", "-m", MODEL, "--mode", mode, at=at)
        changed["tokens"][19] = 100000
        statement["subject"][0]["digest"]["sha256"] = r.commit("output.tokens", SALT, r.ids(changed["tokens"])).hex()
        self.says(r.signed(statement, SEED, changed), "MISMATCH", 3, "none of this model's", "-m", MODEL, at=19)

    def test_bound(self):
        """Whatever else the operator says of the computation, no MATCH comes of it."""
        def hash_of(group, key):
            return lambda p: p[group].update({key: "ab" * 32})
        changes = [lambda p, k=k, v=v: p["request"].update({k: v}) for k, v in (
            ("seed", f"{8:016x}"), ("temperature", r.bits(0.79)), ("top_k", 39), ("top_p", r.bits(0.94)), ("min_p", r.bits(0.04)),
            ("typical_p", r.bits(0.9)), ("repeat_penalty", r.bits(1.2)), ("presence_penalty", r.bits(0.1)),
            ("frequency_penalty", r.bits(0.1)), ("repeat_last_n", 63), ("max_tokens", 21), ("max_tokens", -1), ("ignore_eos", 0),
            ("special", 1), ("parts", 1), ("temperature", r.bits(-1.0)))]
        changes += [lambda p: p["contract"].update(id="VNC-1H"), hash_of("model", "sha256"),
                    lambda p: p["numeric"].update(kv_type="f32"), lambda p: p["numeric"].update(n_ctx=256),
                    lambda p: p["trace"].update(level=2), hash_of("trace", "chain"), lambda p: p["result"].update(finish="stop")]
        for number, change in enumerate(changes):
            self.assertIn(self.replayed(self.resign(change))["verdict"], ("MISMATCH", "UNVERIFIABLE"), number)
        # The settings of the receipt are what is loaded: another one is no excuse.
        for change in (lambda p: p["contract"].update(id="VNC-1H"), lambda p: p["numeric"].update(kv_type="f32")):
            self.says(self.resign(change), "MISMATCH", 3, "", "-m", MODEL)
        # Nor of another end, or other text.
        statement, o = r.statement_of(self.plain), copy.deepcopy(self.plain["opening"])
        o["text"] += "!"
        statement["subject"][1]["digest"]["sha256"] = r.commit("output.text", SALT, o["text"].encode()).hex()
        self.says(r.signed(statement, SEED, o), "MISMATCH", 3, "text", "-m", MODEL)
        self.assertEqual(self.replayed(self.resign(lambda p: p["result"].update(finish="cancelled")))["verdict"], "UNVERIFIABLE")
        # What must not matter.
        self.assertEqual(self.replayed(self.resign(lambda p: p["observed"].update(isa="c", threads=64)))["verdict"], "MATCH")

    def test_refused(self):
        """Nothing was computed: there is a receipt, and nothing to redo."""
        statement = r.statement_of(self.plain)
        for group in ("contract", "model", "numeric", "request", "trace", "observed"):
            del statement["predicate"][group]
        statement["predicate"]["result"] = {"finish": "refused", "error": "FILTERED"}
        statement["subject"] = [{"name": "request.body", "digest": {"sha256": r.commit("request.body", SALT, b"{}").hex()}}]
        receipt = r.signed(statement, SEED, {"salt": SALT.hex()})
        self.says(receipt, "WELL_FORMED", 0)
        self.says(receipt, "UNVERIFIABLE", 4, "nothing was computed", "-m", MODEL)


class Made(unittest.TestCase):
    """Receipts that the program makes itself."""

    def made(self, *words):
        path = f"{DIR.name}/made"
        subprocess.run([BIN + "/veritas", "run", "-m", MODEL, "--raw", "--receipt", path, *words], check=True, capture_output=True,
                       timeout=120)
        with open(path) as f:
            return json.load(f)

    def key(self):
        p = subprocess.run([BIN + "/veritas", "audit", "key", DIR.name + "/veritas/receipts"], check=True, capture_output=True)
        return write("own", p.stdout)

    def seed(self):
        """Of the key with which receipts are signed: who has it can sign what he likes."""
        with open(DIR.name + "/veritas/receipts/signing.key", "rb") as f:
            data = f.read()
        at = 0 if data.startswith(b"VSKEY1") else 4096
        return data[at + 16:at + 48]

    def test_stranger(self):
        """Made as fast as this machine can, and done again by a stranger in plain C, with the key that he was given."""
        for words in (["-n", "20", "--seed", "7", "the cat sat on"], ["-n", "40", "--temp", "0", "a b c a b c a b c a"],
                      ["--regex", "[a-f]{3,9}", "x"], ["-n", "9", "--receipt-level", "2", "--logit-bias", "5=-inf", "y"]):
            receipt = self.made(*words)
            told, code = verify(receipt, "--pubkey", self.key(), "-m", MODEL, "--isa", "c", "--threads", "1")
            self.assertEqual((told["verdict"], told["trusted"], code), ("MATCH", True, 0), (words, told))

    def test_edited(self):
        receipt = self.made("-n", "12", "--ignore-eos", "the cat")
        changed = copy.deepcopy(receipt)
        changed["opening"]["tokens"][5] ^= 1
        told, code = verify(changed, "--pubkey", self.key(), "-m", MODEL)
        self.assertEqual((told["verdict"], code), ("INVALID", 3))
        self.assertIn("tokens", told["reason"])
        # The operator himself, who signs what he changed: the replay finds the token.
        statement, salt = r.statement_of(receipt), bytes.fromhex(receipt["opening"]["salt"])
        statement["subject"][0]["digest"]["sha256"] = r.commit("output.tokens", salt, r.ids(changed["opening"]["tokens"])).hex()
        told, code = verify(r.signed(statement, self.seed(), changed["opening"]), "--pubkey", self.key(), "-m", MODEL)
        self.assertEqual((told["verdict"], told["at"], told["trusted"], code), ("MISMATCH", 5, True, 3), told)
        told, code = verify(receipt, "-m", OTHER)
        self.assertEqual((told["verdict"], code), ("UNVERIFIABLE", 4), told)


class Shaped(unittest.TestCase):
    """Forms of answers, calls of tools, reasoning: what bent the draws stands in the receipt, and is redone."""
    TOOL = {"type": "function", "function": {"name": "add", "parameters": {
        "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}}}
    SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}, "n": {"type": "integer"}}, "required": ["ok", "n"],
              "additionalProperties": False}

    @classmethod
    def setUpClass(cls):
        cls.model = make_model("tools", "--tokenizer", "llama", "--pre", "default", "--ctx", "4096", "--seed", "7")

        def change(m):
            m.drop("tokenizer.chat_template")
            m.set("tokenizer.chat_template", gguf.STR,
                  "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{{ tools }}{# <tool_call> #}")
            m.get("tokenizer.ggml.tokens")[1][300] = b"<tool_call>{"
        with open(cls.model, "rb") as f:
            data = gguf.edit(f.read(), change)
        with open(cls.model, "wb") as f:
            f.write(data)
        cls.answers = Answers(cls.model)

    @classmethod
    def tearDownClass(cls):
        cls.answers.close()

    def receipt(self, **more):
        x = self.answers.client
        number = x.request(c.CHAT, {"model": self.model, "messages": [{"role": "user", "content": "Hi"}], "parts": True,
                                    "max_tokens": 120, "receipt": 1, **more})
        events = list(x.events(number))
        tokens, result = [e for e in events if e.kind == c.TOKEN], events[-1].value
        opening = {"salt": result["salt"], "prompt_tokens": result["prompt_tokens"],
                   "tokens": [t.token for t in tokens if t.token != c.NO_TOKEN],
                   "delivered" if result.get("altered") else "text": "".join(t.text for t in tokens), **result.get("opening", {})}
        return {**x.receipts[number], "opening": opening}, result["finish_reason"]

    def says(self, receipt, verdict, reason="", *args):
        told, code = verify(receipt, "-m", self.model, "--isa", "c", *args)
        codes = {"MATCH": 0, "UNVERIFIABLE": 4, "INVALID": 3, "MISMATCH": 3}
        self.assertEqual((told["verdict"], code), (verdict, codes[verdict]), told)
        self.assertIn(reason, told["reason"])

    def test_forms(self):
        for seed in range(3):
            sampling = {"temperature": 1.2, "seed": seed}
            receipt, finish = self.receipt(constraint={"json_schema": self.SCHEMA}, sampling=sampling)
            self.assertEqual((set(json.loads(receipt["opening"]["text"])), finish), ({"ok", "n"}, "stop"))
            self.says(receipt, "MATCH")

    def test_tools_that_are_not_called(self):
        for seed in range(3):
            receipt, _ = self.receipt(tools=[self.TOOL], sampling={"temperature": 1.2, "seed": seed, "logit_bias": [[300, -100]]})
            self.assertEqual(r.statement_of(receipt)["predicate"]["request"]["shaped"], 0)
            self.says(receipt, "MATCH")

    CALLED = ({"sampling": {"temperature": 1.2, "logit_bias": [[300, 30]]}}, {"tool_choice": "required"},
              {"tool_choice": {"type": "function", "function": {"name": "add"}}, "parallel_tool_calls": False, "max_tokens": 60},
              {"sampling": {"temperature": 1.5, "seed": 4, "logit_bias": [[300, 8]]}, "max_tokens": 200, "stop": ["zz"]},
              {"tool_choice": "required", "sampling": {"temperature": 1.5, "seed": 9}, "max_tokens": 34})

    def test_tools_that_are_called(self):
        for more in self.CALLED:
            receipt, finish = self.receipt(tools=[self.TOOL], **more)
            self.assertEqual(r.statement_of(receipt)["predicate"]["request"]["shaped"], 1, more)
            self.assertIn(finish, ("tool_calls", "stop", "length"))
            self.says(receipt, "MATCH")
            self.says(receipt, "MATCH", "", "--mode", "decode")
            self.says(receipt, "MATCH", "", "--threads", "2")

    def resigned(self, receipt, change):
        """What was asked is changed, and signed by another."""
        statement, opening = r.statement_of(receipt), dict(receipt["opening"])
        asked = json.loads(opening["asked"])
        change(asked)
        opening["asked"] = r.spelled(asked).decode()
        salt = bytes.fromhex(opening["salt"])
        statement["predicate"]["request"]["asked"] = r.commit("asked", salt, opening["asked"].encode()).hex()
        return r.signed(statement, SEED, opening)

    def test_what_was_asked_counts(self):
        """It must be what is committed to, and lead to these draws."""
        receipt, finish = self.receipt(tools=[self.TOOL], tool_choice="required")
        self.assertEqual(finish, "tool_calls")
        opening = dict(receipt["opening"])
        asked = opening.pop("asked")
        self.assertEqual(json.loads(asked)["tools"], [self.TOOL])
        self.says({**receipt, "opening": opening}, "UNVERIFIABLE", "calls of tools")
        for text in (asked.replace("integer", "boolean"), asked[:-1], "", "x"):
            self.says({**receipt, "opening": {**opening, "asked": text}}, "INVALID", "asked")

        def boolean(o):
            o["tools"][0]["function"]["parameters"]["properties"]["a"]["type"] = "boolean"
        for change, why in ((boolean, ""), (lambda o: o.pop("tool_choice"), ""), (lambda o: o.update(parts=False), ""),
                            (lambda o: o["messages"].append({"role": "user", "content": "x"}), "another prompt"),
                            (lambda o: o.update(tools="add"), "refused"), (lambda o: o.update(no_such_key=1), "refused"),
                            (lambda o: o.update(constraint={"regex": "a"}), ""), (lambda o: o.clear(), "refused")):
            self.says(self.resigned(receipt, change), "MISMATCH", why)

    def test_reasoning_before_a_form(self):
        """The form begins behind the end of reasoning, which comes as text, or as the model's own token."""
        model = make_model("thinks", "--tokenizer", "llama", "--pre", "default", "--ctx", "4096", "--seed", "7")

        def change(m):
            m.drop("tokenizer.chat_template")
            m.set("tokenizer.chat_template", gguf.STR,
                  "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}<think>{# </think> #}")
            m.get("tokenizer.ggml.tokens")[1][300] = b"</think>"
        with open(model, "rb") as f:
            data = gguf.edit(f.read(), change)
        with open(model, "wb") as f:
            f.write(data)
        self.model, own = model, self.answers
        try:
            self.answers = Answers(model)
            self.addCleanup(self.answers.close)
            for seed in range(4):
                receipt, finish = self.receipt(constraint={"json_schema": self.SCHEMA}, max_tokens=200,
                                               sampling={"temperature": 1.2, "seed": seed, "logit_bias": [[300, 4 * seed]]})
                request = r.statement_of(receipt)["predicate"]["request"]
                self.assertEqual((request["shaped"], finish), (1, "stop"))
                self.says(receipt, "MATCH")
                self.says(receipt, "MATCH", "", "--mode", "decode")
        finally:
            self.answers = own


if __name__ == "__main__":
    unittest.main()
