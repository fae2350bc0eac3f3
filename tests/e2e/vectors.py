#!/usr/bin/env python3
"""Vectors and scores through the shipped programs: near float64 (tests/golden/vectors), the same bytes alone, among others, beside
answers, in steps of any size and for every instruction set; what can't be done is refused by name.

usage: vectors.py BIN (holds veritas, veritas-broker, veritas-worker, veritas-gateway and mkmodel)."""
import array
import ast
import base64
import http.client
import json
import math
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../fixtures"))
import client as c                      # noqa: E402
from logits_cases import mkmodel        # noqa: E402
from malformed import Model             # noqa: E402
from processes import private_daemon    # noqa: E402
from vectors_cases import BOUND, CASES, TEXTS     # noqa: E402

BIN = os.path.abspath(sys.argv.pop(1))
GOLDEN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "golden/vectors")
DIR = tempfile.TemporaryDirectory(prefix="vsv")
RANKS = "--arch qwen3 --key .pooling_type=u32:4 --labels 2 --type F32 --layers 2 --embd 64 --heads 4 --vocab 600"
FORM = "tokenizer.chat_template.rerank=str:<|im_start|>user\n{query}? {document}<|im_end|>\n"
os.environ["VERITAS_SOCKET"] = "/nowhere/s"


def floats(data):
    return array.array("f", data)


def golden(name):
    """Rows of a two-dimensional float32 .npy."""
    with open(f"{GOLDEN}/{name}.npy", "rb") as f:
        data = f.read()
    end = 10 + int.from_bytes(data[8:10], "little")
    n, width = ast.literal_eval(data[10:end].decode())["shape"]
    values = floats(data[end:])
    return [values[i * width:(i + 1) * width] for i in range(n)]


def model(name, options=None):
    path = f"{DIR.name}/{name}.gguf"
    if not os.path.exists(path):
        if name == "ranks":
            subprocess.run([BIN + "/mkmodel", *RANKS.split(), "--key", FORM, "-o", path], check=True)
        else:
            mkmodel(BIN + "/mkmodel", options or CASES[name][0], path)
    return path


class Daemon:
    def __init__(self, path, **settings):
        self.serve, ours = private_daemon(BIN + "/veritas", 120, stderr=subprocess.DEVNULL)
        self.client, self.path = c.Client(sock=ours), path
        self.client.load_path(path, settings=settings)

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.client.close()
        self.serve.wait(20)

    def embed(self, **body):
        data, result = b"", None
        for e in self.client.events(self.client.request(c.EMBED, {"model": self.path, **body})):
            data += e.data if e.kind == c.DATA else b""
            result = e.value if e.kind == c.COMPLETE else result
        return data, result


def run(*args, status=0, text=None):
    p = subprocess.run([BIN + "/veritas", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, input=text)
    assert p.returncode == status, (args, p.returncode, p.stdout, p.stderr)
    return p.stdout if status == 0 else p.stderr


class Vectors(unittest.TestCase):
    def test_near_float64(self):
        for name, (_, poolings) in CASES.items():
            exact, ours = golden(name), []
            with Daemon(model(name), kv_type="f32") as d:
                for pooling in poolings:
                    texts = [t for t in TEXTS if pooling != "none" or len(t) < 100]
                    data, result = d.embed(tokens=texts, pooling=pooling)
                    width = result["dim"]
                    self.assertEqual(result["tokens"], [len(t) for t in texts])
                    ours += [floats(data[i:i + 4 * width]) for i in range(0, len(data), 4 * width)]
            self.assertEqual([len(r) for r in exact], [len(r) for r in ours], name)
            most = max(abs(x) for r in exact for x in r)
            got = max(abs(a - b) for r, o in zip(exact, ours) for a, b in zip(r, o)) / most
            print(f"{name}: {got:.1e}")
            self.assertLessEqual(got, BOUND, name)

    def test_same_bytes_in_any_company(self):
        for name, (_, poolings) in CASES.items():
            with Daemon(model(name)) as d:
                pooling = poolings[0]
                together, result = d.embed(tokens=TEXTS, pooling=pooling)
                alone = b"".join(d.embed(tokens=[t], pooling=pooling)[0] for t in TEXTS)
                self.assertEqual(together, alone, name)
                many, _ = d.embed(tokens=TEXTS * 12, pooling=pooling)
                self.assertEqual(many, together * 12, name)
            for settings in ({"prefill_chunk": 7}, {"isa": "c", "threads": 1}, {"parallel": 1, "threads": 3}):
                with Daemon(model(name), **settings) as d:
                    self.assertEqual(d.embed(tokens=TEXTS, pooling=pooling)[0], together, (name, settings))

    def test_biases_by_distance_of_any_type(self):
        """Those of T5: a file whose biases are the same numbers as F32 gives the same bytes."""
        name = "enc.blk.0.attn_rel_b.weight"
        decoders = {"BF16": lambda b: [struct.unpack("<f", bytes(2) + b[i:i + 2])[0] for i in range(0, len(b), 2)],
                    "F16": lambda b: list(struct.unpack(f"<{len(b) // 2}e", b)),
                    "Q8_0": lambda b: [struct.unpack_from("<e", b, i)[0] * q for i in range(0, len(b), 34)
                                       for q in struct.unpack_from("<32b", b, i + 2)]}
        for kind, n_bytes in (("BF16", 2048), ("F16", 2048), ("Q8_0", 1088)):
            path = model("t5-" + kind, f"--arch t5encoder --key .pooling_type=u32:1 --type {kind} --layers 2 --embd 128 --heads 32 "
                                       "--head-dim 8 --vocab 400")
            with open(path, "rb") as f:
                m = Model(f.read())
            row = m.tensor(name)
            self.assertEqual((row[1], row[2]), ([32, 32], {"BF16": 30, "F16": 1, "Q8_0": 8}[kind]))
            at, end = row[3], row[3] + n_bytes
            m.body = m.body[:at] + struct.pack("<1024f", *decoders[kind](m.body[at:end])) + m.body[end:]
            row[2] = 0
            for other in m.tensors:
                other[3] += 4096 - n_bytes if other[3] > at else 0
            with open(path + ".f32", "wb") as f:
                f.write(m.pack())
            with Daemon(path) as a, Daemon(path + ".f32") as b, Daemon(path, isa="c") as plain:
                wanted = b.embed(tokens=TEXTS)[0]
                self.assertEqual(a.embed(tokens=TEXTS)[0], wanted, kind)
                self.assertEqual(plain.embed(tokens=TEXTS)[0], wanted, kind)

    def test_beside_answers(self):
        """Requests of both kinds in the same steps."""
        with Daemon(model("qwen3")) as d:
            wanted, _ = d.embed(tokens=TEXTS)
            ask = {"model": d.path, "tokens": TEXTS[0], "max_tokens": 40, "ignore_eos": True, "logits_hash": True}
            answer = d.client.wait(d.client.request(c.GENERATE, ask))["logits_hash"]
            numbers = [d.client.request(c.GENERATE, ask), d.client.request(c.EMBED, {"model": d.path, "tokens": TEXTS * 4}),
                       d.client.request(c.GENERATE, ask)]
            data, results = b"", {}
            while len(results) < 3:
                e = d.client.event()
                data += e.data if e.kind == c.DATA else b""
                if e.kind == c.COMPLETE:
                    results[e.request] = e.value
            self.assertEqual(data, wanted * 4)
            self.assertEqual([results[numbers[i]]["logits_hash"] for i in (0, 2)], [answer] * 2)

    def test_command(self):
        path = model("qwen3")
        lines = run("embed", "-m", path, "hello there", "b").splitlines()
        self.assertEqual([len(x.split()) for x in lines], [64, 64])
        vectors = [[float(x) for x in line.split()] for line in lines]
        for v in vectors:
            self.assertAlmostEqual(math.fsum(x * x for x in v), 1, 5)
        got = json.loads(run("embed", "-m", path, "--json", "hello there", "b"))
        self.assertEqual(got["embeddings"], vectors)
        self.assertEqual((got["n"], got["dim"], got["pooling"], got["normalize"]), (2, 64, "last", "l2"))
        self.assertEqual(got["usage"]["prompt_tokens"], sum(got["tokens"]))
        with open(DIR.name + "/t", "w") as f:
            f.write("b\n")
        self.assertEqual(run("embed", "-m", path, "-f", DIR.name + "/t"), lines[1] + "\n")
        self.assertEqual(run("embed", "-m", path, text="b\n"), lines[1] + "\n")
        run("embed", "-m", path, "hello there", "b", "-o", DIR.name + "/v.npy")
        with open(DIR.name + "/v.npy", "rb") as f:
            data = f.read()
        self.assertIn(b"'shape': (2, 64)", data[:128])
        self.assertEqual([float(f"{x:.9g}") for x in floats(data[128:])], [x for v in vectors for x in v])
        short = [float(x) for x in run("embed", "-m", path, "--dimensions", "8", "b").split()]
        norm = math.sqrt(math.fsum(x * x for x in vectors[1][:8]))
        self.assertTrue(all(abs(a - b / norm) < 1e-6 for a, b in zip(short, vectors[1])))
        raw = [float(x) for x in run("embed", "-m", path, "--normalize", "none", "b").split()]
        self.assertGreater(math.fsum(x * x for x in raw), 2)

    def test_refused(self):
        plain = model("plain", "--arch qwen3 --layers 1 --ctx 64")
        self.assertIn("does not say how one vector is made", run("embed", "-m", plain, "x", status=3))
        self.assertEqual(len(run("embed", "-m", plain, "--pooling", "mean", "x").split()), 64)
        for words in (["embed", "--pooling", "mean"], ["logits"]):
            self.assertIn("which is read", run(*words, "-m", plain, "-o", plain, text="x", status=2))
        self.assertEqual(len(run("embed", "-m", plain, "--pooling", "mean", "x").split()), 64)
        self.assertIn("no output that ranks", run("embed", "-m", plain, "--pooling", "rank", "x", status=3))
        self.assertIn("input[1] has", run("embed", "-m", plain, "--pooling", "mean", "x", "word " * 100, status=5))
        self.assertIn("the context holds 64", run("embed", "-m", plain, "--pooling", "mean", "word " * 100, status=5))
        self.assertIn("dimensions", run("embed", "-m", plain, "--pooling", "mean", "--dimensions", "65", "x", status=2))
        self.assertIn("is empty", run("embed", "-m", plain, "--pooling", "mean", "", status=2))
        self.assertIn("not a token id", run("embed", "-m", plain, "--pooling", "mean", "--tokens", "99999", status=2))
        self.assertIn("either --tokens or texts", run("embed", "-m", plain, "--tokens", "1", "x", status=2))
        self.assertIn("not made to rank", run("rerank", "-m", plain, "--query", "q", "d", status=3))
        self.assertIn("which question", run("rerank", "-m", plain, "d", status=2))
        self.assertIn("which documents", run("rerank", "-m", plain, "--query", "q", status=2))
        options = CASES["modern-bert"][0] + " --key .hidden_activation=str:"
        refused = run("embed", "-m", model("relu", options + "relu"), "x", status=3)
        self.assertIn("hidden_activation: is neither gelu nor silu", refused)
        options = CASES["modern-bert-ranks"][0] + " --key .classifier.pooling_type=u32:3"
        refused = run("embed", "-m", model("last", options), "x", status=3)
        self.assertIn("classifier.pooling_type: is 3, must be 1 to 2", refused)
        options = CASES["modern-bert"][0] + " --key .hidden_activation=str:"
        self.assertEqual(len(run("embed", "-m", model("gelu", options + "gelu"), "x").split()), 64)
        with Daemon(plain) as d:
            for body, why in (({}, "must be given"), ({"input": []}, "is empty"), ({"input": [1]}, "no string"),
                              ({"input": ["x"], "tokens": [[1]]}, "not both"), ({"tokens": [1]}, "list of token ids"),
                              ({"input": ["x"] * 2049}, "at most 2048")):
                with self.assertRaises(c.Failure) as e:
                    d.embed(pooling="mean", **body)
                self.assertIn(why, str(e.exception))

    def test_rerank(self):
        path, query, documents = model("ranks"), "which one", ["one thing", "quite another", "one", "a thing of another kind"]
        got = json.loads(run("rerank", "-m", path, "--json", "--query", query, *documents))["results"]
        self.assertEqual(sorted(r["index"] for r in got), [0, 1, 2, 3])
        self.assertEqual(got, sorted(got, key=lambda r: -r["score"]))
        for r in got:
            yes, no = r["logits"]
            self.assertAlmostEqual(r["score"], 1 / (1 + math.exp(no - yes)), 6)
            alone = json.loads(run("rerank", "-m", path, "--json", "--query", query, documents[r["index"]]))["results"][0]
            self.assertEqual((alone["score"], alone["logits"]), (r["score"], r["logits"]))
        lines = run("rerank", "-m", path, "--query", query, *documents).splitlines()
        self.assertEqual([int(x.split("\t")[1]) for x in lines], [r["index"] for r in got])
        self.assertEqual([x.split("\t")[2] for x in lines], [documents[r["index"]] for r in got])
        # what comes from outside is text: a control token's name in it is no control token
        counts = json.loads(run("rerank", "-m", path, "--json", "--query", "<|im_end|>", "x"))["tokens"][0]
        self.assertGreater(counts, json.loads(run("rerank", "-m", path, "--json", "--query", "e", "x"))["tokens"][0] + 2)


class Guard(unittest.TestCase):
    def test_all_text_is_looked_at(self):
        policy = DIR.name + "/policy.json"
        with open(policy, "w") as f:
            json.dump({"pii": {"input": "block"}}, f)
        secret = "write to ann.smith@example.org"
        for args in (["embed", "-m", model("qwen3"), "fine", secret], ["rerank", "-m", model("ranks"), "--query", secret, "x"],
                     ["rerank", "-m", model("ranks"), "--query", "x", "fine", secret]):
            os.environ["VERITAS_POLICY"] = policy
            try:
                self.assertIn("ilter", run(*args, status=7))
            finally:
                del os.environ["VERITAS_POLICY"]
            run(*args)


@unittest.skipUnless(os.path.exists(BIN + "/veritas-gateway"), "there is no gateway")
class Http(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        model("qwen3"), model("ranks")
        cls.env = dict(os.environ, VERITAS_MODELS=DIR.name, HOME=DIR.name, XDG_CACHE_HOME=DIR.name + "/cache")
        cls.gateway = subprocess.Popen([BIN + "/veritas", "gateway", "--private", "-m", "qwen3", "--ollama", "--listen",
                                        "127.0.0.1:0"], env=cls.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        cls.port = int(re.fullmatch(r"listening http\S*:(\d+)\n", cls.gateway.stdout.readline())[1])

    @classmethod
    def tearDownClass(cls):
        cls.gateway.terminate()
        cls.gateway.wait(20)
        cls.gateway.stdout.close()

    def post(self, path, body, status=200):
        http_ = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        http_.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = http_.getresponse()
        text = answer.read()
        http_.close()
        self.assertEqual(answer.status, status, text)
        return json.loads(text)

    def test_embeddings(self):
        texts = ["hello there", "b"]
        wanted = json.loads(run("embed", "-m", model("qwen3"), "--json", *texts))
        got = self.post("/v1/embeddings", {"model": "qwen3", "input": texts})
        self.assertEqual([d["embedding"] for d in got["data"]], wanted["embeddings"])
        self.assertEqual([(d["index"], d["object"]) for d in got["data"]], [(0, "embedding"), (1, "embedding")])
        self.assertEqual(got["usage"], {"prompt_tokens": sum(wanted["tokens"]), "total_tokens": sum(wanted["tokens"])})
        self.assertEqual(got["model"], "qwen3")
        packed = self.post("/v1/embeddings", {"model": "qwen3", "input": texts, "encoding_format": "base64"})["data"]
        for d, vector in zip(packed, wanted["embeddings"]):
            data = base64.b64decode(d["embedding"], validate=True)
            self.assertEqual([float(f"{x:.9g}") for x in struct.unpack("<64f", data)], vector)
        ids = [[1, 263, 40], [7]]
        several = self.post("/v1/embeddings", {"model": "qwen3", "input": ids})["data"]
        self.assertEqual(self.post("/v1/embeddings", {"model": "qwen3", "input": ids[0]})["data"][0], several[0])
        short = self.post("/v1/embeddings", {"model": "qwen3", "input": "b", "dimensions": 5})["data"][0]
        self.assertEqual(len(short["embedding"]), 5)
        e = self.post("/v1/embeddings", {"model": "qwen3", "input": "b", "dimensions": 500}, 400)["error"]
        self.assertEqual(e["param"], "dimensions")
        e = self.post("/v1/embeddings", {"model": "qwen3", "input": ["b", "word " * 3000]}, 400)["error"]
        self.assertEqual((e["code"], e["param"]), ("context_length_exceeded", "input"))
        self.assertEqual(self.post("/api/embed", {"model": "qwen3:latest", "input": texts})["embeddings"], wanted["embeddings"])
        self.assertEqual(self.post("/api/embeddings", {"model": "qwen3", "prompt": "b"})["embedding"], wanted["embeddings"][1])

    def test_rerank(self):
        documents = ["one thing", {"text": "quite another"}, "one"]
        wanted = json.loads(run("rerank", "-m", model("ranks"), "--json", "--query", "which", "one thing", "quite another", "one"))
        got = self.post("/v1/rerank", {"model": "ranks", "query": "which", "documents": documents, "return_documents": True})
        self.assertEqual([r["index"] for r in got["results"]], [r["index"] for r in wanted["results"]])
        for r, w in zip(got["results"], wanted["results"]):
            self.assertAlmostEqual(r["relevance_score"], w["score"], 9)
            self.assertEqual(r["document"]["text"], ["one thing", "quite another", "one"][r["index"]])
        self.assertEqual(got["usage"]["total_tokens"], sum(wanted["tokens"]))
        top = self.post("/v1/rerank", {"model": "ranks", "query": "which", "documents": documents, "top_n": 1})["results"]
        self.assertEqual([set(r) for r in top], [{"index", "relevance_score"}])
        self.assertEqual(self.post("/v1/rerank", {"model": "qwen3", "query": "q", "documents": ["x"]}, 400)["error"]["code"],
                         "unsupported")


if __name__ == "__main__":
    unittest.main()
