#!/usr/bin/env python3
"""The shipped programs with the real default model: every command that looks into a model answers, and answers are reproducible.

usage: answers.py PATH-OF-veritas. Exit code 77 (skipped) when the default model is not fetched (script/test fetches it).
"""
import ast
import json
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

from processes import private_daemon

VERITAS = os.path.abspath(sys.argv.pop(1))
MODEL = "smollm2-135m-instruct"
folder = tempfile.TemporaryDirectory()
ENV = dict(os.environ, VERITAS_SOCKET=folder.name + "/run/s", XDG_STATE_HOME=folder.name)
if subprocess.run([VERITAS, "models", "path", MODEL], capture_output=True, env=ENV).returncode != 0:
    print("the model", MODEL, "is not here")
    sys.exit(77)
PATH = subprocess.run([VERITAS, "models", "path", MODEL], capture_output=True, env=ENV, text=True).stdout.strip()


class Answers(unittest.TestCase):
    def run_it(self, *words, text=None, status=0):
        done = subprocess.run([VERITAS, *words], input=text if text is None else text.encode(),
                              stdin=subprocess.DEVNULL if text is None else None, capture_output=True, env=ENV, timeout=250)
        self.assertEqual(done.returncode, status, (words, done.stdout[-500:], done.stderr[-500:]))
        return done.stdout.decode(), done.stderr.decode()

    def json_of(self, *words, **more):
        return json.loads(self.run_it(*words, **more)[0])

    def test_one_answer_whatever_the_machine(self):
        words = ["run", "--temp", "0", "--seed", "1", "-n", "4", "--json", "--logits-hash", "Why is the sky blue?"]
        first = self.json_of(*words)
        self.assertEqual(first["finish_reason"], "length")
        self.assertEqual(len(first["tokens"]), 4)
        self.assertRegex(first["model_digest"], "^b179c9523d0e6a0f")
        self.assertRegex(first["logits_hash"], "^[0-9a-f]{64}$")
        self.assertTrue(first["text"].strip())
        for more in (["--threads", "1"], ["--isa", "c", "--threads", "2"], ["--prefill-chunk", "7"], ["-m", PATH]):
            again = self.json_of(*words, *more)
            for key in ("tokens", "text", "prompt_tokens", "logits_hash", "model_digest"):
                self.assertEqual(again[key], first[key], (more, key))

    def test_the_answer_that_the_readme_promises(self):
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../README.md")) as f:
            readme = f.read()
        question = re.search(r'script/run --temp 0 "(.*?)"', readme)[1]
        promised = " ".join(re.findall(r"^> (.*)$", readme, re.M)).removesuffix(" [...]")
        self.assertGreater(len(promised), 100)
        text = self.run_it("run", "--temp", "0", "-n", "60", question)[0]
        self.assertEqual(text[:len(promised)], promised)

    def test_seed(self):
        def text(seed):
            return self.run_it("run", "--temp", "1.5", "-n", "12", "--seed", str(seed), "Tell me a story.")[0]
        self.assertEqual(text(3), text(3))
        self.assertNotEqual(text(3), text(4))

    def test_template_and_raw(self):
        templated = self.json_of("run", "-n", "1", "--json", "Hi")["prompt_tokens"]
        raw = self.json_of("run", "-n", "1", "--json", "--raw", "Hi")["prompt_tokens"]
        self.assertLess(len(raw), len(templated))
        self.assertEqual(raw, self.json_of("tokenize", "--json", text="Hi"))
        control = self.json_of("run", "-n", "1", "--json", "--raw", "<|im_end|>")["prompt_tokens"]
        self.assertGreater(len(control), 1)
        self.assertEqual(len(self.json_of("run", "-n", "1", "--json", "--raw", "--special", "<|im_end|>")["prompt_tokens"]), 1)

    def test_tokens_there_and_back(self):
        text = "Grüße, 世界! 12345 \t\n\n🙂 \x01 e\u0301"
        ids = self.json_of("tokenize", "--json", text=text)
        self.assertEqual(self.run_it("detokenize", text=json.dumps(ids))[0], text)

    def test_logits(self):
        out = folder.name + "/out.npy"
        self.run_it("logits", "--tokens", "1,2,3", "-o", out)
        with open(out, "rb") as f:
            data = f.read()
        head = ast.literal_eval(data[10:10 + struct.unpack("<H", data[8:10])[0]].decode())
        self.assertEqual(head["shape"], (3, 49152))
        self.assertEqual(len(data), 128 + 3 * 49152 * 4)

    def test_perplexity_and_bench(self):
        out, _ = self.run_it("perplexity", "--ctx", "32", text="The quick brown fox jumps over the lazy dog. " * 12)
        self.assertRegex(out.splitlines()[-1], r"^perplexity [0-9.]+ over [0-9]+ tokens$")
        rows = self.json_of("bench", "--pp", "1,8", "--tg", "2", "--depth", "0,4", "--reps", "2", "--json")["results"]
        self.assertEqual(sorted((r["test"], r["depth"]) for r in rows),
                         sorted((t, d) for t in ("pp1", "pp8", "tg2") for d in (0, 4)))
        self.assertTrue(all(len(r["tokens_per_second"]) == 2 and min(r["tokens_per_second"]) > 0 for r in rows))
        rows = self.json_of("bench", "--pp", "4,0,4", "--depth", "2,2", "--reps", "1", "--json")["results"]
        self.assertEqual([(r["test"], r["depth"]) for r in rows], [("pp4", 2)])
        self.assertIn("nothing to measure", self.run_it("bench", "--pp", "0", "--tg", "0", status=2)[1])
        for too_long in (["--pp", "65"], ["--tg", "2", "--depth", "63"], ["--pp", "1000000"]):
            self.assertIn("--ctx", self.run_it("bench", "--ctx", "64", *too_long, status=5)[1])

    def test_half_a_text_from_a_pipe_is_not_sent(self):
        out, err = self.run_it("chat", text='"""one\ntwo\n', status=2)
        self.assertEqual(out, "")
        self.assertIn('another """ ends it', err)

    def test_inspect(self):
        about = self.json_of("inspect", "--json", "--ctx", "1024", MODEL)
        self.assertEqual(about["architecture"], "llama")
        self.assertEqual(about["memory"]["context"], 1024)
        # 30 layers of 3 heads of 64, f16; 8 bits with a scale for 32 of a key, for a value's token
        self.assertEqual(about["memory"]["kv"]["f16"], 1024 * 30 * 3 * 2 * 64 * 2)
        self.assertEqual(about["memory"]["kv"]["q8_0"], 1024 * 30 * 3 * (2 * 64 + 2 * 4 + 4))
        self.assertIn("chat_template", self.run_it("inspect")[0])
        short, whole = self.run_it("inspect")[0], self.run_it("inspect", "--tensors")[0]
        self.assertLess(short.count("\n"), 80)
        self.assertIn("tensors: 272; --tensors", short)
        self.assertNotIn("blk.0.attn_q.weight", short)
        self.assertEqual(whole.count("blk.0.attn_q.weight"), 1)
        self.assertEqual(whole.count("add_generation_prompt"), 1)       # the template, whole and once
        for text in (short, whole):
            self.assertRegex(text, "(?m)^model_digest: b179c9523d0e6a0f[0-9a-f]{48}$")
        self.assertRegex(about["model_digest"], "^b179c9523d0e6a0f[0-9a-f]{48}$")

    def test_inspect_program(self):
        lines = self.run_it("inspect", "--program", MODEL)[0].splitlines()
        self.assertRegex(lines[0], r"^llama on cpu, \w+, \d+ threads, .*: 249 instructions")
        self.assertEqual(len(lines), 250)
        self.assertEqual([line.split()[0] for line in lines[1:]], [str(i) for i in range(249)])
        text = "\n".join(lines)
        for i in range(30):                                             # every weight is there, in its place
            for name in "attn_norm attn_q attn_k attn_v attn_output ffn_norm ffn_gate ffn_up ffn_down".split():
                self.assertEqual(text.count(f" blk.{i}.{name}.weight"), 1)
        self.assertRegex(text,
                         r"blk\.0\.attn_q\.weight Q4_1 as Q4M \[576 x 576\].*then by heads: "
                               r"rope 0, K and V to their pages \| tasks \d+, \d+")
        self.assertEqual(self.json_of("inspect", "--json", "--program", MODEL)["program"], lines)

    def test_limits(self):
        self.run_it("run", "--ctx", "16", "-n", "2", "word " * 100, status=5)
        self.assertEqual(self.json_of("run", "--ctx", "64", "--json", "--ignore-eos", "Hello")["finish_reason"], "length")
        self.run_it("run", "--deadline", "0.001", "Hello", status=6)
        self.run_it("run", "--logit-bias", "99999999=1", "Hello", status=2)

    def test_chat_remembers(self):
        out, err = self.run_it("chat", "--temp", "0", "-n", "24", "--timings", text="My name is Ada.\nWhat is my name?\n")
        self.assertIn("Ada", out)
        read = [tuple(map(int, m)) for m in re.findall(r"prompt: (\d+) tokens \((\d+) from before\)", err)]
        self.assertEqual(len(read), 2)
        self.assertGreater(read[1][1], read[0][0])      # the second turn does not read the first again

    def test_ctrl_c(self):
        p = subprocess.Popen([VERITAS, "run", "--ignore-eos", "-n", "2000", "Tell me a long story."], env=ENV,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.assertTrue(p.stdout.read(1))
        p.send_signal(signal.SIGINT)
        begin = time.time()
        _, err = p.communicate(timeout=30)
        self.assertEqual(p.returncode, 6, err)
        self.assertLess(time.time() - begin, 5)

    def test_example_of_the_protocol(self):
        """docs/PROTOCOL.md, "An example, byte for byte": what it says is sent, and what comes back is what it says (.. is
        anything)."""
        serve, ours = private_daemon(VERITAS, 60, env=ENV)
        stream = ours.makefile("rb")
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/PROTOCOL.md"), encoding="utf-8") as f:
            example = f.read().split("## An example, byte for byte")[1].split("\n## ")[0]
        n_frames = 0
        for way, text in re.findall(r"^    (->|<-) (.*)$", example, re.M):
            head, rest = re.fullmatch(r"((?:(?:[0-9a-f]{2}|\.\.) +){16})(.*)", text + " ").groups()
            head, rest = head.split(), rest.strip()
            if way == "->":
                parts = re.fullmatch(r"((?:[0-9a-f]{2} +){4})(\{.*\}) (\{.*\})", rest)      # length of the envelope, envelope, body
                data = bytes.fromhex(parts[1]) + (parts[2] + parts[3]).encode() if parts else rest.encode()
                if head[0] == "..":
                    head[:4] = struct.pack("<I", len(data)).hex(" ").split()
                self.assertEqual(struct.unpack("<I", bytes.fromhex("".join(head[:4])))[0], len(data))
                ours.sendall(bytes.fromhex("".join(head)) + data)
            else:
                while True:
                    got = stream.read(16)
                    payload = stream.read(struct.unpack("<I", got[:4])[0])
                    if got[4:6] != b"\x42\0":      # PROGRESS may come at any time
                        break
                for want, byte in zip(head, got):
                    self.assertIn(want, ("..", f"{byte:02x}"), text)
                if "{" in rest:                     # the beginning of the JSON, up to what is left out
                    for part in rest.split(",..."):
                        for pair in re.findall(r'"\w+":(?:"\w[^".]*|\d+|\[\d+\])', part):
                            self.assertIn(pair.replace(" ", ""), payload.decode(errors="replace").replace(" ", ""))
                else:
                    numbers, word = re.fullmatch(r"((?:[0-9a-f]{2} +)+)(\w+)", rest).groups()
                    self.assertEqual(payload, bytes.fromhex(numbers) + word.encode())
            n_frames += 1
        self.assertEqual(n_frames, 5)
        stream.close()
        ours.close()
        self.assertEqual(serve.wait(5), 0)

    def test_daemon(self):
        serve = subprocess.Popen([VERITAS, "serve"], env=ENV, stderr=subprocess.PIPE)
        try:
            end = time.time() + 20
            while not os.path.exists(ENV["VERITAS_SOCKET"]) and time.time() < end:
                time.sleep(0.05)
            self.assertEqual(os.stat(ENV["VERITAS_SOCKET"]).st_mode & 0o777, 0o600)
            self.run_it("load", MODEL)
            first = self.json_of("run", "--temp", "0", "-n", "3", "--json", "Hello")
            self.assertEqual(self.json_of("run", "--private", "--temp", "0", "-n", "3", "--json", "Hello")["tokens"],
                             first["tokens"])
            self.assertIn(MODEL, self.run_it("ps")[0])
            self.run_it("unload", MODEL)
            self.run_it("run", "-m", "no-such-model", "x", status=4)
            self.run_it("stop")
            self.assertEqual(serve.wait(20), 0)
        finally:
            if serve.poll() is None:
                serve.kill()
            serve.communicate()


if __name__ == "__main__":
    unittest.main(verbosity=1)
