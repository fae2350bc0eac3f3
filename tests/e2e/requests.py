#!/usr/bin/env python3
"""What requests may say and what comes back, over the protocol with tiny generated models and a real engine.

usage: requests.py BIN (holds veritas, veritas-broker, veritas-worker and mkmodel)."""
import os
import re
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../fixtures"))
import client as c                      # noqa: E402
import malformed as gguf                # noqa: E402

BIN = os.path.abspath(sys.argv.pop(1))
DIR = tempfile.TemporaryDirectory(prefix="vsr")
GREEDY = {"temperature": 0}


def read(path):
    with open(path) as f:
        return f.read()


def make(name, *options, change=None):
    """A tiny model; change(gguf.Model) edits it."""
    path = f"{DIR.name}/{name}.gguf"
    subprocess.run([BIN + "/mkmodel", "--arch", "llama", "--layers", "1", "--embd", "64", "--heads", "4", "--kv-heads", "2", "--vocab",
                    "600", "--seed", "7", *options, "-o", path], check=True, stdout=subprocess.DEVNULL)
    if change:
        with open(path, "rb") as f:
            data = gguf.edit(f.read(), change)
        with open(path, "wb") as f:
            f.write(data)
    return path


class Requests(unittest.TestCase):
    def setUp(self):
        ours, theirs = socket.socketpair()
        self.serve = subprocess.Popen([BIN + "/veritas", "serve", "--private-fd", str(theirs.fileno())], pass_fds=[theirs.fileno()],
                                      stderr=subprocess.DEVNULL)
        theirs.close()
        ours.settimeout(120)
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
        for bad in ([""], ["x" * 4097], ["x"] * 65, [1], [None], "x"):
            with self.assertRaises(c.Failure) as e:
                self.generate(model, max_tokens=1, stop=bad)
            self.assertEqual((e.exception.name, "stop" in str(e.exception)), ("INVALID", True))

    def worker(self, what):
        """A number of the worker's /proc/PID/status, in KiB."""
        for pid in read(f"/proc/{self.serve.pid}/task/{self.serve.pid}/children").split():
            if read(f"/proc/{pid}/comm").startswith("veritas-worker"):
                return int(re.search(what + r":\s+(\d+) kB", read(f"/proc/{pid}/status"))[1])
        self.fail("no worker")

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


if __name__ == "__main__":
    unittest.main(verbosity=1)
