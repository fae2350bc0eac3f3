#!/usr/bin/env python3
"""Many requests in one step: what they share, when the cache is full, who comes and goes. No byte of an answer may depend on it.

usage: batch.py BIN (holds veritas, veritas-broker, veritas-worker and mkmodel)."""
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../fixtures"))
import client as c                      # noqa: E402
import malformed as gguf                # noqa: E402
from processes import no_races, place, private_daemon   # noqa: E402

BIN = os.path.abspath(sys.argv.pop(1))
DIR = tempfile.TemporaryDirectory(prefix="vsb")
MODEL = DIR.name + "/one.gguf"
subprocess.run([BIN + "/mkmodel", "--arch", "llama", "--layers", "2", "--embd", "64", "--heads", "4", "--kv-heads", "2", "--vocab",
                "600", "--ctx", "2048", "--seed", "7", "-o", MODEL], check=True, stdout=subprocess.DEVNULL)
WORDS = "the sky is blue and sea green while one old man walks home from work in rain".split()
PAGE = 64


class Daemon:
    def __init__(self, **settings):
        self.serve, ours = private_daemon(BIN + "/veritas", 120, stderr=subprocess.DEVNULL)
        self.client = c.Client(sock=ours)
        try:
            self.client.load_path(MODEL, settings=settings)
        except c.Failure:
            self.close()
            raise

    def close(self):
        self.client.close()
        self.serve.wait(20)

    def ask(self, prompt):
        return self.client.request(c.GENERATE, {"model": MODEL, "raw": True, "logits_hash": True, **prompt})

    def collect(self, numbers):
        """Request -> (tokens of each choice, text, result), in whatever order they end."""
        left, tokens, text, results = set(numbers), {}, {}, {}
        while left:
            e = self.client.event()
            if e.kind == c.TOKEN:
                tokens.setdefault(e.request, {}).setdefault(e.index, []).append(e.token)
                text[e.request] = text.get(e.request, "") + e.text
            elif e.kind == c.COMPLETE:
                left.discard(e.request)
                results[e.request] = e.value
        return [(tokens.get(n, {}), text.get(n, ""), results[n]) for n in numbers]

    def one(self, prompt):
        return self.collect([self.ask(prompt)])[0]

    def kv(self):
        """As the worker says, a moment after it was loaded."""
        while not self.status()["kv"]["page_bytes"]:
            time.sleep(0.01)
        return self.status()["kv"]

    def status(self):
        return self.client.wait(self.client.request(c.STATUS, {}))["models"][0]

    def kv_when_idle(self):
        end = time.monotonic() + 10
        while time.monotonic() < end:
            kv = self.kv()
            if kv["used"] == 0:
                return kv
            time.sleep(0.05)
        raise AssertionError(f"pages are still used: {kv}")


class Shared(Daemon):
    """One that others may use, too: a worker that dies is followed by another, which goes on."""

    def __init__(self, **settings):
        self.dir = tempfile.TemporaryDirectory(prefix="vss")
        path = self.dir.name + "/run/v.sock"
        self.serve = subprocess.Popen([BIN + "/veritas", "serve"], env=dict(os.environ, VERITAS_SOCKET=path),
                                      stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not os.path.exists(path):
            time.sleep(0.01)
        self.client = c.Client(path)
        self.client.load_path(MODEL, settings=settings)

    def close(self):
        self.client.close()
        self.serve.terminate()
        self.serve.wait(20)
        self.dir.cleanup()

    def worker(self, dead=0):
        """The one that is there, when it is not that which was killed."""
        while (pid := self.status().get("pid") or dead) == dead:
            time.sleep(0.01)
        return pid

    def prompt_rows(self):
        """Rows of prompts that were computed in the last eight seconds, without the present one."""
        return round(8 * self.status()["tokens_per_second"]["prompt"])


def text(seed, n):
    r = random.Random(seed)
    return " ".join(r.choice(WORDS) for _ in range(n))


def prompts(n, longest):
    """All kinds together: long and short, with common beginnings, greedy and drawn, with stops and penalties."""
    r = random.Random(5)
    common = text("common", longest // 2)
    for i in range(n):
        own = text(i, r.randrange(1, longest // 2))
        yield {"prompt": common + " " + own if i % 3 else own, "max_tokens": r.choice((0, 1, 5, 20, 60)), "ignore_eos": i % 2 == 0,
               "sampling": {"seed": i, "temperature": r.choice((0, 0.8, 1.5)), "repeat_penalty": r.choice((1, 1.2))},
               "stop": ["the"] if i % 5 == 0 else []}


def essence(answer):
    tokens, said, result = answer
    return tokens, said, result["finish_reason"], result["logits_hash"], result["prompt_tokens"]


class Batch(unittest.TestCase):
    def daemon(self, **settings):
        d = Daemon(**settings)
        self.addCleanup(d.close)
        return d

    @classmethod
    def setUpClass(cls):
        """What each prompt alone gives, without anything that could be shared."""
        cls.prompts = list(prompts(40, 400))
        d = Daemon(prefix_cache="off", parallel=1)
        cls.alone = [essence(d.one(p)) for p in cls.prompts]
        d.close()

    def check(self, d, order=None):
        order = order or list(range(len(self.prompts)))
        answers = d.collect([d.ask(self.prompts[i]) for i in order])
        for i, answer in zip(order, answers):
            self.assertEqual(essence(answer), self.alone[i], self.prompts[i])
        return [result for _, _, result in answers]

    def test_together_as_alone(self):
        for settings in ({}, {"parallel": 3}, {"parallel": 256, "itl_target_ms": 1}, {"prefill_chunk": 5}, {"prefix_cache": "off"},
                         {"prefix_cache": "shared", "threads": 3}):
            with self.subTest(settings):
                d = self.daemon(**settings)
                first = self.check(d)
                order = list(range(len(self.prompts)))
                random.Random(3).shuffle(order)
                again = self.check(d, order)
                cached = [sum(r["usage"]["cached_tokens"] for r in results) for results in (first, again)]
                if settings.get("prefix_cache") == "off":
                    self.assertEqual(cached, [0, 0])
                else:                           # the second time all but the last token of each
                    self.assertGreater(cached[0], 1000)
                    self.assertEqual(cached[1], sum(len(r["prompt_tokens"]) - 1 for r in again))
                kv = d.kv_when_idle()
                self.assertEqual(kv["cached"] == 0, settings.get("prefix_cache") == "off")

    def test_full_cache(self):
        """Ten pages for all: some are parked, and computed again; who asks for more than there is hears it at once."""
        page = self.daemon().kv()["page_bytes"]
        d = self.daemon(kv_memory=10 * page)
        self.assertEqual(d.kv()["pages"], 10)
        short = [i for i, a in enumerate(self.alone) if len(a[4]) + 61 < 10 * PAGE]
        self.assertGreater(len(short), 15)
        self.check(d, short)
        long = [{"prompt": text(i, 30), "max_tokens": 400, "ignore_eos": True, "speculation": "off"} for i in range(4)]
        alone = [essence(d.one(ask)) for ask in long]
        together = d.collect([d.ask(ask) for ask in long])      # more than seven pages each
        self.assertEqual([essence(a) for a in together], alone)
        self.assertGreater(sum(r["usage"]["recomputed_tokens"] for _, _, r in together), 0)
        self.assertGreater(d.status()["preemptions"], 0)
        d.kv_when_idle()
        with self.assertRaises(c.Failure) as f:
            d.client.wait(d.ask({"prompt": text(1, 900), "max_tokens": 1}))
        self.assertEqual(f.exception.name, "CONTEXT")
        self.assertRegex(str(f.exception), r"[0-9]+ tokens.*640")
        with self.assertRaises(c.Failure) as f:
            self.daemon(kv_memory=page - 1)
        self.assertEqual(f.exception.name, "INVALID")
        self.assertIn(str(page), str(f.exception))

    def test_choices(self):
        for settings in ({}, {"prefix_cache": "off"}, {"parallel": 2}, {"kv_memory": 12 * self.daemon().kv()["page_bytes"]}):
            with self.subTest(settings):
                d = self.daemon(**settings)
                ask = {"prompt": text(9, 150), "max_tokens": 30, "sampling": {"temperature": 1.5, "seed": 40}, "ignore_eos": True}
                tokens, _, result = d.one({**ask, "n": 16})
                self.assertNotIn("logits_hash", result)
                self.assertNotIn("finish_reason", result)
                self.assertEqual([x["index"] for x in result["choices"]], list(range(16)))
                self.assertEqual(result["usage"]["completion_tokens"], 16 * 30)
                self.assertEqual(result["usage"]["prompt_tokens"], len(result["prompt_tokens"]))
                for i, choice in enumerate(result["choices"]):
                    alone, _, one = d.one({**ask, "sampling": {"temperature": 1.5, "seed": 40 + i}})
                    self.assertEqual((tokens[i], choice["logits_hash"], choice["finish_reason"], choice["completion_tokens"]),
                                     (alone[None], one["logits_hash"], one["finish_reason"], 30))
                self.assertGreater(len({tuple(t) for t in tokens.values()}), 1)
                d.kv_when_idle()

    def test_choices_read_one_prompt(self):
        """Once for all of them, also where nothing is kept and the first has ended before the next begins."""
        for settings, ask in (({}, {}), ({}, {"max_tokens": 1}), ({"parallel": 2}, {}), ({"parallel": 1}, {"max_tokens": 1})):
            with self.subTest((settings, ask)):
                d = Shared(prefix_cache="off", **settings)
                self.addCleanup(d.close)
                _, _, result = d.one({"prompt": text(9, 150), "max_tokens": 4, "ignore_eos": True, "n": 8, **ask})
                n, rows, end = len(result["prompt_tokens"]), 0, time.monotonic() + 6
                self.assertGreater(n, 2 * PAGE)
                while rows < n and time.monotonic() < end:
                    time.sleep(0.1)
                    rows = d.prompt_rows()
                self.assertEqual(rows, n + 7)                   # each reads the last token
                self.assertEqual(d.kv_when_idle()["cached"], 0)

    def test_choices_go_on_one_after_the_other(self):
        """After a worker's death the second choice gets its place late: it has other tokens than the first."""
        ask = {"prompt": text(3, 40), "max_tokens": 1000, "ignore_eos": True, "n": 2, "logits_hash": False,
               "sampling": {"temperature": 1.5, "seed": 3}}
        for settings in ({}, {"prefix_cache": "off"}):
            d = Shared(parallel=2, **settings)
            self.addCleanup(d.close)
            whole = d.one(ask)[0]
            self.assertNotEqual(whole[0], whole[1])
            worker, resumed = 0, 0
            for at in (100, 400, 100, 400):             # again when who reads late finds that it has ended
                worker, said, high = d.worker(worker), {0: [], 1: []}, None
                number = d.ask(ask)
                while number is not None:
                    e = d.client.event()
                    if e.request == number and e.kind == c.TOKEN:
                        said[e.index].append(e.token)
                    if e.request == number and e.kind == c.COMPLETE:
                        number = None
                        resumed += e.value["usage"]["resumed"]
                    if high is None and sum(map(len, said.values())) >= at:
                        high = d.ask({"prompt": text(4, 30), "max_tokens": 100, "ignore_eos": True, "priority": "high"})
                        os.kill(worker, 9)
                self.assertEqual(said, whole)
                d.kv_when_idle()
                if resumed:
                    break
            self.assertGreater(resumed, 0)

    def test_choices_that_wait_hold_one_prompt(self):
        """However many have ended: another request of many choices, which goes before them, finds room for its own."""
        d = self.daemon(prefix_cache="off", parallel=2)
        asks = [{"prompt": text(i, 100), "max_tokens": 150, "ignore_eos": True, "n": 16, "sampling": {"seed": i}} for i in (1, 2)]
        alone = [d.one(ask)[0] for ask in asks]
        first, second, said = d.ask({**asks[0], "priority": "low"}), None, {}
        ended = set()
        while len(ended) < 2:
            e = d.client.event()
            if e.kind == c.TOKEN:
                said.setdefault(e.request, {}).setdefault(e.index, []).append(e.token)
            elif e.kind == c.COMPLETE:
                ended.add(e.request)
            if second is None and len(said.get(first, {})) == 13:       # twelve have ended, and two have not begun
                second = d.ask(asks[1])
        self.assertEqual([said[first], said[second]], alone)
        d.kv_when_idle()

    def test_one_prompt_twice_at_once(self):
        d = self.daemon(itl_target_ms=1)
        ask = {"prompt": text(2, 600), "max_tokens": 4, "sampling": {"temperature": 0}}
        a, b = d.collect([d.ask(ask), d.ask(ask)])
        self.assertEqual(essence(a), essence(b))
        n = len(a[2]["prompt_tokens"])
        self.assertEqual(sorted(r["usage"]["cached_tokens"] for _, _, r in (a, b)), [0, n - 1])

    def test_circles(self):
        """A prefix is found by requests of one user with the same cache_key; another conversation between does not matter."""
        d = self.daemon()
        def cached(key, seed=1, n=600):
            ask = {"prompt": text(seed, n), "max_tokens": 2}
            return d.one(ask if key is None else {**ask, "cache_key": key})[2]["usage"]["cached_tokens"]
        self.assertEqual([cached("a"), cached("b"), cached(None)], [0, 0, 0])
        cached("a", seed=2)
        for key in ("a", "b", None):
            self.assertGreater(cached(key), 500)

    def test_one_is_cancelled(self):
        d = self.daemon()
        victims = [d.ask({"prompt": text(i, 50), "max_tokens": 1500, "ignore_eos": True}) for i in range(4)]
        rest = [d.ask(self.prompts[i]) for i in range(12)]
        ended, begun = {}, set()
        while len(begun) < 4:
            e = d.client.event()
            if e.kind == c.TOKEN:
                begun |= {e.request} & set(victims)
            elif e.kind == c.COMPLETE:
                ended[e.request] = e.value
        for v in victims:
            d.client.cancel(v)
        while len(ended) < 16:
            try:
                e = d.client.event()
            except c.Failure as f:
                self.assertEqual((f.name, f.request in victims, f.request in ended), ("CANCELLED", True, False))
                ended[f.request] = f
                continue
            if e.kind == c.COMPLETE:
                self.assertIn(e.request, rest)
                ended[e.request] = e.value
        for i, n in enumerate(rest):
            self.assertEqual((ended[n]["logits_hash"], ended[n]["finish_reason"]), (self.alone[i][3], self.alone[i][2]))
        d.kv_when_idle()

    def test_one_has_a_nan(self):
        """A damaged weight that only one prompt meets ends that request alone, in whatever company."""
        path, bad = DIR.name + "/nan.gguf", 77
        subprocess.run([BIN + "/mkmodel", "--arch", "llama", "--type", "F32", "--layers", "1", "--embd", "64", "--heads", "4",
                        "--vocab", "600", "--seed", "7", "-o", path], check=True, stdout=subprocess.DEVNULL)
        with open(path, "rb") as f:
            m = gguf.Model(f.read())
        row = m.tensor("token_embd.weight")[3] + bad * 64 * 4
        m.body = m.body[:row] + struct.pack("<f", float("nan")) * 64 + m.body[row + 256:]
        with open(path, "wb") as f:
            f.write(m.pack())
        d = self.daemon()
        d.client.load_path(path)
        never = {"temperature": 0, "logit_bias": [[bad, "-inf"]]}
        def ask(ids, n):
            return d.client.request(c.GENERATE, {"model": path, "tokens": ids, "max_tokens": n, "ignore_eos": True,
                                                 "logits_hash": True, "sampling": never})
        alone = d.collect([ask([1, 2, 3], 200)])[0][2]["logits_hash"]
        good = [ask([1, 2, 3], 200) for _ in range(4)]
        while d.client.event().kind != c.TOKEN:
            pass
        ill = [ask([4, bad], 5), ask([bad], 5), ask(list(range(100, 300)) + [bad, 5], 5)]
        ended = {}
        while len(ended) < 7:
            try:
                e = d.client.event()
            except c.Failure as f:
                self.assertEqual((f.kind, f.name), (c.ERROR, "FAULT"))
                ended[f.request] = None
                continue
            if e.kind == c.COMPLETE:
                ended[e.request] = e.value["logits_hash"]
        self.assertEqual([ended[n] for n in good + ill], [alone] * 4 + [None] * 3)

    def test_measuring_beside_others(self):
        """LOGITS and PERPLEXITY are prompts like others; BENCH waits until nothing runs, and others for it."""
        d, quiet = self.daemon(), self.daemon()
        def measure(x):
            return [x.client.request(c.LOGITS, {"model": MODEL, "text": text(1, 100)}),
                    x.client.request(c.PERPLEXITY, {"model": MODEL, "text": text(2, 900), "ctx": 128})]
        def rows(x, numbers):
            data, results = {n: b"" for n in numbers}, {}
            while len(results) < len(numbers):
                e = x.client.event()
                if e.request in data and e.kind == c.DATA:
                    data[e.request] += e.data
                if e.kind == c.COMPLETE and e.request in data:
                    results[e.request] = e.value
            return [(data[n], {k: v for k, v in results[n].items() if k != "timings"}) for n in numbers]
        alone = rows(quiet, measure(quiet))
        others = [d.ask({"prompt": text(i, 40), "max_tokens": 300, "ignore_eos": True}) for i in range(3)]
        self.assertEqual(rows(d, measure(d)), alone)
        bench = d.client.request(c.BENCH, {"model": MODEL, "pp": [8], "tg": [4], "reps": 1})
        late = d.ask(self.prompts[0])
        order = []
        while len(order) < 2:
            e = d.client.event()
            if e.kind == c.COMPLETE and e.request in (bench, late):
                order.append(e.request)
        self.assertEqual(order, [bench, late])
        self.assertTrue(others)

    def test_measuring_while_parked(self):
        """An answer that grows takes the pages of who reads rows of a text: rows that were read are not read again."""
        asks = [(c.LOGITS, {"text": text(1, 70)}), (c.PERPLEXITY, {"text": text(2, 300), "ctx": 250}),
                *((c.EMBED, {"input": [text(3, 70)], "pooling": how}) for how in ("mean", "none", "last"))]

        def measured(d, kind, ask, *others):
            number, data, results = d.client.request(kind, {"model": MODEL, **ask}), b"", {}
            while len(results) <= len(others):
                e = d.client.event()
                data += e.data if e.kind == c.DATA else b""
                results.update({e.request: e.value} if e.kind == c.COMPLETE else {})
            return data, {k: v for k, v in results[number].items() if k not in ("timings", "usage")}
        quiet = self.daemon(prefill_chunk=3)
        wanted = [measured(quiet, *ask) for ask in asks]
        self.assertTrue(all(data or "perplexity" in result for data, result in wanted))
        page = quiet.kv()["page_bytes"]
        for ask, want in zip(asks, wanted):
            d = self.daemon(kv_memory=9 * page, prefill_chunk=3, speculation="off")
            for i in range(30):                                 # until the answer takes a page in time
                n = 260 + 17 * i % 100
                number = d.ask({"tokens": [1] * n, "max_tokens": 200, "ignore_eos": True})
                while d.client.event().kind != c.TOKEN:
                    pass
                self.assertEqual(measured(d, *ask, number), want, ask)
                d.kv_when_idle()
                if d.status()["preemptions"]:
                    break
            else:
                self.fail("nobody was parked")

    def test_what_an_earlier_worker_sent_is_checked(self):
        """The broker hands on the ids that a dead worker sent. One beyond the vocabulary ends its request, and only that."""
        ready, failed, sent_ids, n = 0x60, 0x61, 0x47, 8
        ours, theirs = socket.socketpair()
        settings, words = os.memfd_create("settings"), os.memfd_create("words")
        os.ftruncate(words, 4096)
        os.write(settings, b'{"threads": 1, "free_bytes": 1000000000}')
        with open(MODEL, "rb") as f:
            worker = subprocess.Popen([BIN + "/veritas-worker"], close_fds=False, stderr=subprocess.DEVNULL,
                                      preexec_fn=place({3: theirs.fileno(), 4: f.fileno(), 5: words, 6: settings}))
        for fd in (settings, words):
            os.close(fd)
        theirs.close()
        ours.settimeout(60)
        x = c.Client(sock=ours, hello=False)                # we are the broker
        self.addCleanup(worker.wait, 20)
        self.addCleanup(x.close)
        kind = None
        while kind not in (ready, failed):
            kind = x.frame()[0]
        self.assertEqual(kind, ready)

        def answer(number, sent):
            envelope = {"owner": 0, "client": 1, "priority": "normal", "arrived_at": 1, "sent": len(sent)}
            if sent:
                x.send(sent_ids, number, struct.pack(f"<{len(sent)}I", *sent))
            x.send(c.GENERATE, number, c.payload(envelope, {"prompt": "the sky", "raw": True, "max_tokens": n, "ignore_eos": True}))
            tokens = []
            while True:
                kind, _, of, data = x.frame()
                if of == number and kind == c.TOKEN:
                    tokens.append(struct.unpack_from("<I", data)[0])
                elif of == number and kind in (c.COMPLETE, c.REJECTED, c.ERROR):
                    return kind, tokens, c.split(data)[0]
        kind, tokens, _ = answer(1, [])
        self.assertEqual((kind, len(tokens)), (c.COMPLETE, n))
        for number, bad in enumerate(([600], tokens[:3] + [0xfffffffe], [0x80000000]), 2):
            kind, more, envelope = answer(number, bad)
            self.assertEqual((kind, more, envelope["error"]["name"]), (c.REJECTED, [], "INVALID"))
            self.assertIn(f"token {bad[-1]}, which was sent, is beyond the vocabulary", envelope["error"]["message"])
        self.assertEqual(answer(5, tokens[:3])[:2], (c.COMPLETE, tokens[3:]))
        self.assertIsNone(worker.poll())

    def test_bad_input(self):
        d = self.daemon()
        for change, word in (({"n": 0}, "n: "), ({"n": 17}, "n: "), ({"cache_key": ""}, "cache_key"),
                             ({"cache_key": "x" * 65}, "cache_key"),
                             ({"priority": "urgent"}, "priority"), ({"speculation": "on"}, "speculation")):
            with self.assertRaises(c.Failure) as f:
                d.client.wait(d.ask({"prompt": "x", **change}))
            self.assertEqual(f.exception.name, "INVALID")
            self.assertIn(word, str(f.exception))
        for settings, word in (({"parallel": 0}, "parallel"), ({"itl_target_ms": 0}, "itl_target_ms"),
                               ({"kv_memory": 0}, "kv_memory"),
                               ({"kv_memory": 1}, "takes"), ({"prefix_cache": "on"}, "prefix_cache")):
            with self.assertRaises(c.Failure) as f:
                self.daemon(**settings)
            self.assertEqual(f.exception.name, "INVALID", settings)
            self.assertIn(word, str(f.exception))


def tearDownModule():
    no_races()


if __name__ == "__main__":
    unittest.main()
