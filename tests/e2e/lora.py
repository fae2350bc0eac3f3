#!/usr/bin/env python3
"""LoRA adapters through the shipped programs: logits against float64, the same bits by every way, a scale for each request, and
adapters that are none. usage: lora.py BIN (holds the programs and mkmodel)."""
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
import unittest

import client as c
from logits import distance, read_npy
from logits_cases import ROWS, TOKENS, mkmodel
from lora_cases import CASES, adapter_options

BIN = os.path.abspath(sys.argv.pop(1))
VERITAS = BIN + "/veritas"
GOLDEN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "golden/lora")
ASK = ["--temp", "0", "-n", "6", "--raw", "--json", "--logits-hash", "the sky is"]
MODEL = "--arch llama --type Q8_0 --layers 2 --embd 256 --heads 4 --kv-heads 2 --ff 256 --vocab 600"


class Lora(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="veritas-lora-")
        self.dir = self.folder.name
        os.mkdir(self.at("models"))
        self.env = dict(os.environ, VERITAS_MODELS=self.dir + "/models", VERITAS_SOCKET=self.dir + "/s", HOME=self.dir)
        self.env.pop("VERITAS_POLICY", None)

    def tearDown(self):
        self.folder.cleanup()

    def at(self, name):
        return os.path.join(self.dir, name)

    def make(self, name, options):
        mkmodel(BIN + "/mkmodel", options, self.at(name))

    def run_it(self, *words, status=0):
        p = subprocess.run([VERITAS, *words], env=self.env, cwd=self.dir, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        self.assertEqual(p.returncode, status, (words, p.stdout[-300:], p.stderr[-300:]))
        return p.stdout.decode(), p.stderr.decode()

    def hash(self, *words):
        return json.loads(self.run_it("run", "--private", "-m", "./m.gguf", *words, *ASK)[0])["logits_hash"]

    def test_logits(self):
        for name, (options, ranks, scales, kv, (kind, bound)) in CASES.items():
            self.make("m.gguf", options)
            words = []
            for k, rank in enumerate(ranks):
                self.make(f"a{k}.gguf", adapter_options(options, k, rank))
                words += ["--lora", f"./a{k}.gguf={scales[k]}"]
            self.run_it("logits", "--private", "-m", "./m.gguf", *words, "--kv-type", kv, "--tokens", ",".join(map(str, TOKENS)),
                        "-o", "out.npy")
            ours = [read_npy(self.at("out.npy"))[i] for i in ROWS]
            found = distance(kind, read_npy(os.path.join(GOLDEN, name + ".npy")), ours)
            self.assertLess(found, bound, name)

    def test_one_hash(self):
        self.make("m.gguf", MODEL)
        self.make("a.gguf", MODEL + " --lora 16")
        self.make("b.gguf", MODEL + " --lora 5 --lora-type F16 --seed 3")
        base, one = self.hash(), self.hash("--lora", "./a.gguf")
        self.assertEqual(self.hash("--lora", "./a.gguf=0"), base)
        self.assertEqual(self.hash("--lora", "./a.gguf=-0"), base)
        both = self.hash("--lora", "a.gguf=0.5", "--lora", self.at("b.gguf"))
        self.assertEqual(self.hash("--lora", "./a.gguf=1", "--lora", "./b.gguf=0"), one)
        self.assertEqual(len({base, one, both}), 3)
        self.assertEqual(self.hash("--lora", "./a.gguf", "--lora", "./b.gguf", "--lora-scale", "0.5", "--lora-scale", "1"), both)
        self.assertEqual(self.hash("--lora", "./a.gguf=7", "--lora-scale", "0"), base)
        for words in (["--isa", "c"], ["--isa", "avx2"], ["--threads", "3"], ["--prefill-chunk", "1"], ["--speculation", "off"]):
            self.assertEqual(self.hash("--lora", "./a.gguf", *words), one, words)
        os.rename(self.at("a.gguf"), self.at("models/a.gguf"))
        os.symlink(self.at("m.gguf"), self.at("models/m.gguf"))
        self.assertEqual(self.hash("--lora", "a"), one)
        out = json.loads(self.run_it("run", "--private", "-m", "m", "--lora", "a", "--lora", "./b.gguf=0", *ASK)[0])
        self.assertEqual(out["logits_hash"], one)

    def test_a_scale_for_each_request(self):
        self.make("m.gguf", MODEL)
        self.make("a.gguf", MODEL + " --lora 16")
        base, one, half = self.hash(), self.hash("--lora", "./a.gguf"), self.hash("--lora", "./a.gguf=0.5")
        serve = subprocess.Popen([VERITAS, "serve"], env=self.env, cwd=self.dir, stderr=subprocess.PIPE)
        try:
            while b"listening" not in serve.stderr.readline():
                self.assertIsNone(serve.poll())
            self.run_it("load", "./m.gguf", "--lora", "./a.gguf")
            client = c.Client(self.at("s"))
            ask = {"model": os.path.realpath(self.at("m.gguf")), "prompt": "the sky is", "raw": True, "max_tokens": 6,
                   "logits_hash": True, "sampling": {"temperature": 0}}
            want = {None: one, (0,): base, (1,): one, (0.5,): half}
            # one after the other: what one has computed is of no use to another; and all at once, in the same steps
            for together in (False, True):
                running = []
                for scales in list(want) * 2:
                    more = {} if scales is None else {"lora": list(scales)}
                    running.append((scales, client.request(c.GENERATE, {**ask, **more})))
                    if not together:
                        self.assertEqual(client.wait(running.pop()[1])["logits_hash"], want[scales], scales)
                ids = {request: scales for scales, request in running}
                while ids:
                    event = client.event()
                    if event.kind == c.COMPLETE:
                        scales = ids.pop(event.request)
                        self.assertEqual(event.value["logits_hash"], want[scales], scales)
            for bad in ([], [1, 1], ["x"], [1e9]):
                with self.assertRaises(c.Failure) as caught:
                    client.wait(client.request(c.GENERATE, {**ask, "lora": bad}))
                self.assertEqual(caught.exception.name, "INVALID")
            client.close()
        finally:
            serve.terminate()
            serve.wait()
            serve.stderr.close()

    def refused(self, said, *words, status=3):
        _, err = self.run_it("run", "--private", "-m", "./m.gguf", *words, *ASK, status=status)
        self.assertEqual(len(err.splitlines()), 1, err)
        self.assertIn(said, err)

    def test_adapters_that_are_none(self):
        self.make("m.gguf", MODEL)
        self.make("a.gguf", MODEL + " --lora 4")
        with open(self.at("a.gguf"), "rb") as f:
            good = f.read()

        def damaged(old, new):
            self.assertIn(old, good)
            with open(self.at("bad.gguf"), "wb") as f:
                f.write(good.replace(old, new, 1))
            return "--lora", "./bad.gguf"

        self.refused("No such file", "--lora", "./none.gguf", status=4)
        self.refused("general.type", "--lora", "./m.gguf")
        self.make("bad.gguf", MODEL.replace("llama", "qwen3") + " --lora 4")
        self.refused("architecture 'qwen3'", "--lora", "./bad.gguf")
        self.make("bad.gguf", MODEL.replace("--ff 256", "--ff 128") + " --lora 4")
        self.refused("the model's is", "--lora", "./bad.gguf")
        self.make("bad.gguf", MODEL.replace("--layers 2", "--layers 3") + " --lora 4")
        self.refused("no such matrix", "--lora", "./bad.gguf")
        self.refused("neither lora_a nor lora_b", *damaged(b"lora_a", b"lora_c"))
        self.refused("has lora_a and no lora_b", *damaged(b"blk.0.ffn_up.weight.lora_a", b"blk.0.ffn_ux.weight.lora_a"))
        self.refused("adapter.type", *damaged(b"lora", b"dora"))
        self.refused("adapter.lora.alpha", *damaged(b"adapter.lora.alpha", b"adapter.lora.alphb"))
        self.make("bad.gguf", MODEL + " --lora 4 --key adapter.alora.invocation_tokens=u32[]:1,2")
        self.refused("invocation_tokens", "--lora", "./bad.gguf")
        for value in (math.nan, math.inf):
            with open(self.at("bad.gguf"), "wb") as f:
                f.write(good[:-64] + struct.pack("<f", value) + good[-60:])
            self.refused("NaN or infinite", "--lora", "./bad.gguf")
        with open(self.at("bad.gguf"), "wb") as f:
            f.write(good[:len(good) // 2])
        self.refused("adapter", "--lora", "./bad.gguf")
        self.refused("scale", "--lora", "./a.gguf=1e9", status=2)
        self.refused("7", *(["--lora", "./a.gguf"] * 8), status=2)
        self.refused("lora: the model has 1 adapter", "--lora", "./a.gguf", "--lora-scale", "1", "--lora-scale", "1", status=2)


if __name__ == "__main__":
    unittest.main()
