#!/usr/bin/env python3
"""Models with recurrent layers: the state of a sequence belongs to it, whatever happens. No byte of an answer may depend on who
shares a step or a prefix, how a prompt is cut, which guesses were wrong, who was parked, or on the death of a worker. The same of
one that answers a source (T5), which has no beginnings that others could go on from.

usage: states.py BIN (holds veritas, veritas-broker, veritas-worker and mkmodel)."""
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import client as c
from processes import below, no_races, private_daemon

BIN = os.path.abspath(sys.argv.pop(1))
DIR = tempfile.TemporaryDirectory(prefix="vsst")
SIZE = "--embd 64 --heads 4 --kv-heads 2 --vocab 600 --ctx 2048 --seed 7 --layers 4".split()
STATES = ("lfm2", "mamba2", "rwkv7")
MODELS = {name: ["--arch", name, "--type", "Q8_0"] for name in STATES + ("t5",)}
MODELS["t5-wide"] = MODELS["t5"] + "--heads 32 --kv-heads 32 --head-dim 16 --layers 1 --decoder-layers 1 --ctx 32768".split()
WORDS = "the sky is blue and sea green while one old man walks home from work in rain".split()
COMPARED = ("finish_reason", "logits_hash", "choices", "prompt_tokens")


def path_of(name):
    path = f"{DIR.name}/{name}.gguf"
    if not os.path.exists(path):
        subprocess.run([BIN + "/mkmodel", *SIZE, *MODELS[name], "-o", path], check=True, stdout=subprocess.DEVNULL)
    return path


def text(seed, n):
    r = random.Random(seed)
    return " ".join(r.choice(WORDS) for _ in range(n))


def prompts(n):
    """Long and short ones, with common beginnings; some are held to a few tokens by a bias, so that guesses come true."""
    r = random.Random(5)
    common = text("common", 120)
    for i in range(n):
        own = text(i, r.randrange(1, 120))
        bias = [[300 + k, 30] for k in range(i % 4)]
        yield {"prompt": common + " " + own if i % 3 else own, "max_tokens": r.choice((1, 5, 20, 90)), "ignore_eos": i % 2 == 0,
               "sampling": {"seed": i, "temperature": r.choice((0, 0.8, 1.6)), "logit_bias": bias}}


class Daemon:
    def __init__(self, path, **settings):
        self.path = path
        self.serve, ours = private_daemon(BIN + "/veritas", 120, stderr=subprocess.DEVNULL)
        self.client = c.Client(sock=ours)
        try:
            self.client.load_path(path, settings=settings)
        except c.Failure:
            self.close()
            raise

    def close(self):
        self.client.close()
        self.serve.wait(20)

    def ask(self, body):
        return self.client.request(c.GENERATE, {"model": self.path, "raw": True, "logits_hash": True, **body})

    def collect(self, numbers):
        """What came of each: (tokens by choice, result)."""
        tokens, results = {n: {} for n in numbers}, {}
        while len(results) < len(numbers):
            e = self.client.event()
            if e.kind == c.TOKEN:
                tokens[e.request].setdefault(e.index, []).append(e.token)
            elif e.kind == c.COMPLETE:
                results[e.request] = e.value
        return [(tokens[n], results[n]) for n in numbers]

    def all(self, bodies, together=True):
        if together:
            return self.collect([self.ask(b) for b in bodies])
        return [self.collect([self.ask(b)])[0] for b in bodies]

    def model(self):
        return self.client.wait(self.client.request(c.STATUS, {}))["models"][0]

    def prompt_rows(self):
        """Rows of prompts that were computed in the last eight seconds, without the present one."""
        return round(8 * self.model()["tokens_per_second"]["prompt"])


def processor_time(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def essence(answer):
    tokens, result = answer
    return tokens, {key: result.get(key) for key in COMPARED}


def for_each(names):
    def of(test):
        def run(self):
            for name in names:
                with self.subTest(name):
                    test(self, path_of(name))
        return run
    return of


class States(unittest.TestCase):
    def daemon(self, path, **settings):
        d = Daemon(path, **settings)
        self.addCleanup(d.close)
        return d

    def alone(self, path, bodies):
        """Each without anything that could be shared, guessed or cut."""
        d = Daemon(path, prefix_cache="off", parallel=1, speculation="off", isa="c", threads=1)
        answers = [essence(a) for a in d.all(bodies, together=False)]
        d.close()
        return answers

    def check(self, d, bodies, alone, together=True):
        answers = d.all(bodies, together)
        for body, answer, want in zip(bodies, answers, alone):
            self.assertEqual(essence(answer), want, body)
        return [result["usage"] for _, result in answers]

    @for_each(MODELS)
    def test_together_cut_and_guessed(self, path):
        bodies = list(prompts(16))
        alone = self.alone(path, bodies)
        drafted = accepted = 0
        for i, settings in enumerate(({}, {"prefill_chunk": 1}, {"prefill_chunk": 7, "threads": 3},
                                      {"parallel": 3, "prefix_cache": "shared"}, {"isa": "c", "itl_target_ms": 1}, {}, {}, {})):
            if i >= 5 and drafted - accepted > 10:
                break                   # how many are guessed depends on how fast the machine is
            d = self.daemon(path, **settings)
            usages = self.check(d, bodies, alone) + self.check(d, bodies[::-1], alone[::-1])
            drafted += sum(u["drafted_tokens"] for u in usages)
            accepted += sum(u["accepted_tokens"] for u in usages)
            d.close()
        self.assertGreater(accepted, 50)
        self.assertGreater(drafted - accepted, 0)

    @for_each(STATES)
    def test_prefix(self, path):
        """The same prompt again, a longer conversation, and one that parts from it: what can't be found is computed again."""
        first = {"prompt": text(1, 200), "max_tokens": 9, "ignore_eos": True, "sampling": {"temperature": 0}}
        plain = Daemon(path, prefix_cache="off", parallel=1)
        tokens, _ = plain.all([first])[0]
        plain.close()
        ids = self.prompt_of(path, first["prompt"])
        longer = {"tokens": ids + tokens[None] + ids[:30], "max_tokens": 9, "ignore_eos": True}
        other = {"tokens": ids[:150] + ids[3:60], "max_tokens": 9, "ignore_eos": True}
        bodies = [first, first, longer, longer, other, other]
        alone = self.alone(path, bodies)
        d = self.daemon(path)
        cached = [u["cached_tokens"] for u in self.check(d, bodies, alone, together=False)]
        n = len(ids)
        self.assertEqual(cached[:2], [0, n - 1])
        self.assertEqual(cached[2], n + 8)              # all that was computed of the answer before it
        self.assertEqual(cached[3], len(longer["tokens"]) - 1)
        self.assertEqual(cached[5], len(other["tokens"]) - 1)

    def prompt_of(self, path, prompt):
        d = Daemon(path, parallel=1)
        ids = d.all([{"prompt": prompt, "max_tokens": 0}])[0][1]["prompt_tokens"]
        d.close()
        return ids

    @for_each(MODELS)
    def test_choices(self, path):
        """They share what was read of their prompt."""
        ask = {"prompt": text(9, 100), "max_tokens": 20, "sampling": {"temperature": 1.5, "seed": 40}, "ignore_eos": True}
        alone = self.alone(path, [{**ask, "sampling": {"temperature": 1.5, "seed": 40 + i}} for i in range(5)])
        for settings in ({}, {"prefix_cache": "off"}, {"parallel": 2}):
            d = self.daemon(path, **settings)
            tokens, result = d.all([{**ask, "n": 5}])[0]
            self.assertEqual([(tokens[i], result["choices"][i]["logits_hash"]) for i in range(5)],
                             [(one[0][None], one[1]["logits_hash"]) for one in alone])
            d.close()

    @for_each(STATES)
    def test_full_cache(self, path):
        """Few pages and few states: some are parked and computed again, and the memory for states bounds who runs at once."""
        bodies = [{"prompt": text(i, 40), "max_tokens": 200, "ignore_eos": True, "speculation": "off"} for i in range(6)]
        alone = self.alone(path, bodies)
        d = Daemon(path)
        facts, kv = d.model()["facts"], d.model()["kv"]
        d.close()
        self.assertGreater(facts["state_bytes"], 0)
        self.assertEqual((facts["states"], facts["parallel"]), (5 * 32, 32))
        memory = 16 * (kv["page_bytes"] + facts["state_bytes"])
        d = self.daemon(path, kv_memory=memory, parallel=4)
        few = d.model()["facts"]
        self.assertLessEqual(few["states"] * few["state_bytes"], memory / 2)
        self.assertLessEqual(few["kv_memory"], memory)
        self.assertLessEqual(few["parallel"] * 2, few["states"])
        self.check(d, bodies, alone)
        with self.assertRaises(c.Failure) as f:
            Daemon(path, kv_memory=facts["state_bytes"])
        self.assertEqual(f.exception.name, "INVALID")
        self.assertIn(str(facts["state_bytes"]), str(f.exception))

    def test_source(self):
        """A source is computed again when its answer was parked; a text for which there is no room is told so."""
        path = path_of("t5")
        bodies = [{"prompt": text(i, 40), "max_tokens": 200, "ignore_eos": True} for i in range(6)]
        alone = self.alone(path, bodies)
        d = self.daemon(path, parallel=4)
        page = d.model()["kv"]["page_bytes"]
        d.close()
        d = self.daemon(path, parallel=4, kv_memory=12 * page)
        self.check(d, bodies, alone)
        self.assertGreater(d.model()["preemptions"], 0)
        with self.assertRaises(c.Failure) as f:
            d.all([{"prompt": text(1, 3000)}])
        self.assertEqual(f.exception.name, "CONTEXT")
        whole = {"tokens": [9, 8, 7, 6], "max_tokens": 5, "ignore_eos": True, "sampling": {"temperature": 0}}
        (tokens, result), (again, _) = d.all([whole, {**whole, "tokens": [9, 8, 7, 6, 0]}])     # 0 begins answers
        self.assertEqual((result["prompt_tokens"], tokens), ([9, 8, 7, 6, 0], again))
        longer, _ = d.all([{**whole, "tokens": result["prompt_tokens"] + tokens[None][:2]}])[0]
        self.assertEqual(longer[None][:3], tokens[None][2:])
        for method, body in ((c.GENERATE, {"tokens": [0, 9]}), (c.EMBED, {"tokens": [[9]]}), (c.PERPLEXITY, {"tokens": [9] * 99})):
            with self.assertRaises(c.Failure, msg=body) as f:
                d.client.wait(d.client.request(method, {"model": path, **body}))
            self.assertIn(f.exception.name, ("INVALID", "UNSUPPORTED"))

    def test_source_is_cancelled(self):
        """A source is read in one step, whose attention takes seconds; who is cancelled in it gives the worker up at once."""
        d = self.daemon(path_of("t5-wide"), parallel=1, ctx=32768, threads=1, isa="c")
        worker, = below(d.serve.pid, "veritas-worker")
        busy = processor_time(worker) + 1
        victim = d.ask({"prompt": text(4, 6000), "max_tokens": 4})
        while processor_time(worker) < busy:
            time.sleep(0.05)
        d.client.cancel(victim)
        with self.assertRaises(c.Failure) as f:
            d.collect([victim])
        self.assertEqual(f.exception.name, "CANCELLED")
        from_ns = time.monotonic()
        d.all([{"prompt": "the sky", "max_tokens": 1, "ignore_eos": True}])
        self.assertLess(time.monotonic() - from_ns, 15, "the step went on, or the worker was made anew")

    def test_source_of_choices(self):
        """It is read once for all, also where the first has ended before the next begins."""
        for parallel in (8, 1):
            d = self.daemon(path_of("t5"), parallel=parallel)
            _, result = d.all([{"prompt": text(9, 150), "max_tokens": 4, "ignore_eos": True, "n": 8}])[0]
            n, rows, end = len(result["prompt_tokens"]), 0, time.monotonic() + 6
            while rows < n and time.monotonic() < end:
                time.sleep(0.1)
                rows = d.prompt_rows()
            self.assertEqual(rows, n + 7)               # each reads the token that begins answers
            d.close()

    def test_program(self):
        """What is for a source has tasks too; keys and values of each layer make room for those of the next."""
        told = []
        for n in (1, 8):
            path = f"{DIR.name}/decoder-{n}.gguf"
            subprocess.run([BIN + "/mkmodel", *SIZE, "--arch", "t5", "--decoder-layers", str(n), "-o", path], check=True,
                           stdout=subprocess.DEVNULL)
            told.append(subprocess.run([BIN + "/veritas", "inspect", "--program", path], check=True, capture_output=True,
                                       text=True).stdout)
        lines = [line for line in told[1].splitlines() if "| for a source" in line]
        self.assertGreater(len(lines), 20)
        self.assertFalse([line for line in lines if "tasks 0, 0" in line and " merge " not in line])
        self.assertEqual(told[1].count(", of the source"), 8)
        sizes = [int(re.search(r"(\d+) bytes for what they make", text)[1]) for text in told]
        self.assertEqual(*sizes)

    def test_longest_source(self):
        """It fits into a step that others have rows in, so that who comes later does not go before it for ever."""
        path = path_of("t5")
        d = self.daemon(path, ctx=128, kv_memory=1 << 22, parallel=16)
        facts = d.model()["facts"]
        self.assertGreaterEqual(facts["prefill_chunk"], facts["context"] + facts["parallel"])

        def short(i, n):
            return d.ask({"tokens": [9, 8, 7 + i], "max_tokens": n, "ignore_eos": True, "speculation": "off"})

        waiting, longest, n_before = {short(i, 40 + 5 * i) for i in range(12)}, None, 0
        while n_before < 25:
            e = d.client.event()
            self.assertNotEqual(e.kind, c.ERROR)
            waiting.discard(e.request)
            if not waiting and not longest:
                longest = d.ask({"tokens": [9] * 126, "max_tokens": 1, "ignore_eos": True})
            elif e.request == longest:
                return
            if e.kind == c.COMPLETE:
                n_before += longest is not None
                short(9 + n_before, 100)
        self.fail(f"{n_before} answers that came later are before it")

    @for_each(MODELS)
    def test_worker_dies(self, path):
        ask = {"prompt": text(3, 60), "max_tokens": 400, "ignore_eos": True, "sampling": {"temperature": 0.8, "seed": 4}}
        alone = self.alone(path, [ask])
        d = self.daemon(path)
        number, tokens, killed = d.ask(ask), [], 0
        while True:
            e = d.client.event()
            if e.kind == c.TOKEN:
                tokens.append(e.token)
            if len(tokens) > 30 and not killed:
                killed, = below(d.serve.pid, "veritas-worker")
                os.kill(killed, signal.SIGKILL)
            if e.kind == c.COMPLETE and e.request == number:
                break
        self.assertEqual(tokens, alone[0][0][None])


def tearDownModule():
    no_races()


if __name__ == "__main__":
    unittest.main()
