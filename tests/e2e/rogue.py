#!/usr/bin/env python3
"""A worker that misbehaves, behind the shipped guard and broker (tests/support/worker_rogue.c): nothing that was not looked at gets
out, each request has one clear end, and whoever asks beside it has his whole answer.
usage: rogue.py BIN WORKER (BIN holds veritas, veritas-broker, veritas-guard; WORKER: worker-rogue)."""
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import client as c
from processes import Waiting, patience

BIN = os.path.abspath(sys.argv[1])
SECRET, CARD = "jane.doe@example.com", "4111111111111111"
STEADY = 60
BREAKS = ("half raw wrong zero data log ready receipt stats digest request progress count finish text double key error usage "
          "blocked past twice credit envelope frame").split()


class Listening(c.Client):
    """Every byte that comes is kept."""
    def read(self, n):
        data = super().read(n)
        self.heard = getattr(self, "heard", b"") + data
        return data


class Rogue(Waiting, unittest.TestCase):
    POLICY = {"version": 1, "pii": {"output": "redact", "types": ["EMAIL", "CREDIT_CARD"]}}

    def serve(self, policy):
        self.dir = tempfile.mkdtemp(prefix="vsr")
        self.addCleanup(shutil.rmtree, self.dir)
        for folder in ("bin", "models", "run"):
            os.mkdir(f"{self.dir}/{folder}")
        for name in ("veritas", "veritas-broker", "veritas-guard", "veritas.rules"):
            shutil.copy(f"{BIN}/{name}", f"{self.dir}/bin/{name}")
        shutil.copy(sys.argv[2], self.dir + "/bin/veritas-worker")
        for i in range(len(BREAKS)):
            with open(f"{self.dir}/models/m{i}.gguf", "w") as f:
                f.write("model")
        with open(self.dir + "/policy.json", "w") as f:
            json.dump(policy, f)
        env = dict(os.environ, VERITAS_MODELS=self.dir + "/models", VERITAS_SOCKET=self.dir + "/run/s")
        with open(self.dir + "/log", "w") as log:
            # with sanitizers a guard looks at the largest results for more than ten seconds, and is not hung
            words = [self.dir + "/bin/veritas", "serve", "--policy", self.dir + "/policy.json", "--hang", "60"]
            self.daemon = subprocess.Popen(words, stderr=log, stdin=subprocess.DEVNULL, env=env)
        self.addCleanup(self.end)
        end, self.clients = time.monotonic() + 10 * patience(), []
        while not self.clients:
            try:
                self.client()
            except (FileNotFoundError, ConnectionRefusedError):
                self.assertLess(time.monotonic(), end)
                time.sleep(0.01)

    def client(self):
        sock = socket.socket(socket.AF_UNIX)
        self.addCleanup(sock.close)
        sock.connect(self.dir + "/run/s")
        x = Listening(sock=sock)
        x.sock.settimeout(15 * patience())
        self.clients.append(x)
        return x

    def end(self):
        self.daemon.terminate()
        self.daemon.wait(20 * patience())

    def log(self):
        with open(self.dir + "/log") as f:
            return f.read()

    def nothing_got_out(self):
        heard = b"".join(x.heard for x in self.clients)
        for what in (SECRET, SECRET.replace("@", "\\u0040"), CARD, "jane_doe"):
            self.assertNotIn(what.encode(), heard)
            self.assertNotIn(what, self.log())

    def steady(self, x, model, n=STEADY):
        return x.request(c.GENERATE, {"model": model, "prompt": f"@steady {n}", "max_tokens": n})

    def steady_ends(self, x, number):
        text, _, result = x.answer(number)
        self.assertEqual(text, "".join(f"{i % 10} " for i in range(STEADY)))
        return result["usage"]

    def trick(self, x, name, kind=c.GENERATE):
        key = "prompt" if kind == c.GENERATE else "text"
        return x.answer(x.request(kind, {"model": "m0", **({key: name} if kind != c.INSPECT else {})}))

    def spelt(self, tokens):
        return bytes(t for t in tokens if t < 256).decode("latin-1")

    def test_what_it_may_say(self):
        """Within the rules: text, ids, what stands beside them, results, numbers, messages."""
        self.serve(self.POLICY)
        x, beside = self.clients[0], self.client()
        number = self.steady(beside, "m0")
        text, tokens, result = self.trick(x, "split")
        self.assertEqual((text, result["guard"]["action"]), ("to [REDACTED:EMAIL] now ", "redact"))
        self.assertEqual(set(tokens), {c.NO_TOKEN})
        text, tokens, _ = self.trick(x, "spell")
        self.assertEqual((text, set(tokens)), ("x " * len(SECRET), {c.NO_TOKEN}))
        text, tokens, _ = self.trick(x, "silent")
        self.assertEqual((text, tokens), ("done", [c.NO_TOKEN]))
        self.assertEqual(self.trick(x, "mute")[0], "[REDACTED:EMAIL]")
        self.assertEqual(self.trick(x, "extra")[0], "word " * 6)
        self.assertEqual(self.trick(x, "parts")[0], "to jane.d[REDACTED:EMAIL] now")
        self.assertEqual(self.trick(x, "ansi")[0], "ared bc")
        self.assertEqual(self.trick(x, "within")[0], "to [REDACTED:EMAIL] and [REDACTED:CREDIT_CARD] now")
        self.assertEqual(self.trick(x, "progress")[0], "")
        with self.assertRaises(c.Failure) as f:
            self.trick(x, "error")
        self.assertEqual((f.exception.name, str(f.exception)), ("TIMEOUT", "it is [REDACTED:EMAIL]"))
        _, _, result = self.trick(x, "key")
        self.assertEqual(result["finish_reason"], "filtered")
        _, _, result = self.trick(x, "number")
        label = "[REDACTED:CREDIT_CARD]"
        self.assertEqual((result["n"], result["of"], result["x"]), (label, [label], label))
        _, _, result = self.trick(x, "ids")
        self.assertEqual(result["prompt_tokens"], [c.NO_TOKEN] * 2)
        for how in ("one", "f"):
            with self.assertRaises(c.Failure) as f:
                self.trick(x, how, c.LOGITS)
            self.assertEqual(f.exception.name, "FILTERED")
        for kind in (c.INSPECT, c.BENCH, c.DETOKENIZE):
            asked = {"model": "m0", **({"tokens": [1]} if kind == c.DETOKENIZE else {})}
            result = x.wait(x.request(kind, asked))
            self.assertEqual((result["metadata"]["name"], result["text"]), ("by [REDACTED:EMAIL]", "[REDACTED:EMAIL]"))
        self.assertEqual(self.steady_ends(beside, number).get("resumed", 0), 0)
        self.nothing_got_out()

    def test_what_grows(self):
        """Marks are longer than what they stand for, and verdicts come on top: who asked has one clear end, the neighbour all of
        his answer, and guard and worker live on."""
        self.serve(self.POLICY)
        x, beside = self.clients[0], self.client()
        number = self.steady(beside, "m0")
        self.trick(x, "none")
        before = [(m["pid"], m["guard"]["pid"]) for m in x.wait(x.request(c.STATUS, {}))["models"]]
        text, _, result = self.trick(x, "mark")
        self.assertEqual(text, "[REDACTED:EMAIL] " * ((60000 + 6) // 7))
        for name, word in (("grow", "longer"), ("deep", "memory"), ("noisy", "")):
            with self.assertRaises(c.Failure, msg=name) as f:
                self.trick(x, name)
            self.assertEqual((f.exception.name, word in str(f.exception)), ("LIMIT" if word else "TIMEOUT", True), str(f.exception))
        self.assertEqual(self.steady_ends(beside, number).get("resumed", 0), 0)
        self.assertEqual([(m["pid"], m["guard"]["pid"]) for m in x.wait(x.request(c.STATUS, {}))["models"]], before)

    def test_names_and_calls(self):
        """What was found is told by its place, never by names that a worker made up; and a call stays JSON."""
        self.serve(self.POLICY)
        x = self.clients[0]
        _, _, result = self.trick(x, "place")
        self.assertEqual(result["finish_reason"], "filtered")
        self.assertEqual({f["in"] for f in result["guard"]["findings"]}, {"result.*.*", "result.*.*.*"})
        text, _, _ = self.trick(x, "call")
        self.assertEqual(json.loads(text.partition("\n")[2]),
                         {"to": "[REDACTED:EMAIL]", "card": "[REDACTED:CREDIT_CARD]", "x": "", "y": 1})
        self.nothing_got_out()

    def test_ids_that_may_go(self):
        """A policy may let ids go with a text that is not touched; those of what is replaced stay here."""
        self.serve({**self.POLICY, "output": {"raw_tokens": "allow"}})
        x = self.clients[0]
        text, tokens, _ = self.trick(x, "split")
        self.assertEqual((text, self.spelt(tokens)), ("to [REDACTED:EMAIL] now ", "to  now "))
        self.assertEqual(self.trick(x, "extra")[0], "word " * 6)
        self.nothing_got_out()

    def test_rules_that_it_breaks(self):
        """The worker is ended. What it broke them for, and the neighbour, go on in the next, where they were."""
        self.serve(self.POLICY)
        x, beside = self.clients[0], self.client()
        for i, name in enumerate(BREAKS):
            with self.subTest(name):
                model = f"m{i}"          # of its own: one that is started again and again waits longer each time
                number = self.steady(beside, model)
                asked = x.request(c.GENERATE, {"model": model, "prompt": "break-" + name})
                if name == "credit":     # who reads meanwhile gives more of it
                    self.wait_for(lambda: self.log().count("its worker broke the protocol") > i)
                text, _, result = x.answer(asked)
                self.assertLessEqual(set(text), set("word x"), text[:200])
                self.assertEqual(self.steady_ends(beside, number)["resumed"], 1)
                x.wait(x.request(c.UNLOAD, {"model": model}))
        self.assertEqual(self.log().count("its worker broke the protocol"), len(BREAKS))
        for kind, how in ((c.TOKENIZE, "data"), (c.TOKENIZE, "tokens")):       # who does it again and again is refused
            with self.assertRaises(c.Failure) as f:
                x.wait(x.request(kind, {"model": f"m{len(BREAKS) - 1}", "text": how}))
            self.assertEqual(f.exception.name, "DIED")
        self.nothing_got_out()

    def test_a_long_request_stops_nobody(self):
        """While a request of 16 MiB is looked at, the tokens of another's answer come as ever."""
        self.serve({"version": 1, "input": {"max_bytes": 16 << 20}, "pii": {"input": "warn"}})
        x = self.clients[0]
        text = ("All of the words of this line are harmless, and there are 12 of them. " * 240000)[:(16 << 20) - 100]
        self.trick(x, "none")

        def longest_gap(key):
            """Between two tokens, while the long one is looked at; and how long that took."""
            beside = self.client()
            number = self.steady(beside, "m0", 5000)
            beside.event()
            begin, gap = time.monotonic(), 0
            long = x.request(c.GENERATE, {"model": "m0", "prompt": "none", key: text})
            before = time.monotonic()
            while not select.select([x.sock], [], [], 0)[0]:        # until its answer is there
                beside.event()
                gap, before = max(gap, time.monotonic() - before), time.monotonic()
            x.answer(long)
            took = time.monotonic() - begin
            beside.send(c.CANCEL, number)
            beside.close()
            return gap, took
        for key in ("system", "prompt"):
            tries = [longest_gap(key)]
            while all(gap > took / 4 for gap, took in tries):  # one try of several: others use this machine, too
                self.assertLess(len(tries), 6, (key, tries))
                tries.append(longest_gap(key))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
