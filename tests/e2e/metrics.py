#!/usr/bin/env python3
"""What the daemon counts and traces, through the shipped programs: METRICS, TRACES, `veritas metrics`.

usage: metrics.py BIN (holds veritas, veritas-broker, veritas-worker and mkmodel)."""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import client as c
from processes import child

BIN = os.path.abspath(sys.argv.pop(1))
GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../golden/metrics.names")
TRACE = "00-%032x-%016x-01"
METRICS, TRACES = 0x1e, 0x1f


class Metrics(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory(prefix="vsm")
        self.env = {**os.environ, "VERITAS_SOCKET": self.dir.name + "/s", "VERITAS_MODELS": self.dir.name}
        subprocess.run([BIN + "/mkmodel", "--arch", "llama", "--layers", "1", "--embd", "64", "--heads", "4", "--kv-heads", "2",
                        "--vocab", "600", "--seed", "7", "--ctx", "512", "-o", self.dir.name + "/tiny.gguf"], check=True,
                       stdout=subprocess.DEVNULL)
        self.serve = subprocess.Popen([BIN + "/veritas", "serve"], env=self.env, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while True:
            try:
                self.client = c.Client(self.dir.name + "/s")
                break
            except (OSError, c.Closed):
                self.assertLess(time.monotonic(), end)
                time.sleep(0.02)

    def tearDown(self):
        self.client.close()
        self.serve.send_signal(signal.SIGTERM)
        self.assertEqual(self.serve.wait(20), 0)
        self.dir.cleanup()

    def ask(self, kind):
        return self.client.wait(self.client.request(kind, {}))

    def generate(self, **more):
        return self.client.wait(self.client.request(c.GENERATE, {"model": "tiny", "prompt": "Once upon a time", "raw": True,
                                                                 "max_tokens": 12, "ignore_eos": True, **more}))

    def text(self):
        """`veritas metrics`: {series: value}, {name: type}."""
        out = subprocess.run([BIN + "/veritas", "metrics"], env=self.env, check=True, capture_output=True, text=True).stdout
        if shutil.which("promtool"):
            self.assertEqual(subprocess.run(["promtool", "check", "metrics"], input=out, text=True).returncode, 0)
        series, types = {}, {}
        for line in out.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split()
                self.assertNotIn(name, types)       # all of one name stand together
                types[name] = kind
            elif not line.startswith("# HELP "):
                name, value = re.fullmatch(r'([a-z_]+(?:\{(?:[a-z]+="[^"\\]*",?)+\})?) (-?[0-9.e+-]+)', line).groups()
                self.assertNotIn(name, series)
                series[name] = float(value)
        return series, types

    def test_counts(self):
        results = [self.generate() for _ in range(3)]
        for cancelled in (False, True):
            number = self.client.request(c.GENERATE, {"model": "tiny", "prompt": "x", "raw": True, "max_tokens": 400,
                                                      "ignore_eos": True})
            if cancelled:
                self.client.cancel(number)
            try:
                results.append(self.client.wait(number))
            except c.Failure as e:
                self.assertEqual(e.name, "CANCELLED")
                results += [self.client.ended] if "usage" in self.client.ended else []       # it had begun to answer
        with self.assertRaises(c.Failure):
            self.client.wait(self.client.request(c.GENERATE, {"model": "nosuch", "prompt": "x"}))
        series, types = self.text()
        with open(GOLDEN) as f:
            self.assertEqual(sorted(f"{name} {kind}" for name, kind in types.items()), f.read().splitlines())
        usage = [r["usage"] for r in results]
        self.assertEqual(series['veritas_prompt_tokens_total{model="tiny"}'], sum(u["prompt_tokens"] for u in usage))
        self.assertEqual(series['veritas_cached_prompt_tokens_total{model="tiny"}'], sum(u["cached_tokens"] for u in usage))
        generated, told = series['veritas_generated_tokens_total{model="tiny"}'], sum(u["completion_tokens"] for u in usage)
        self.assertTrue(told <= generated <= told + 400)        # what the cancelled one had got
        drafted = sum(u["drafted_tokens"] for u in usage)
        self.assertGreaterEqual(series['veritas_draft_tokens_total{model="tiny",result="accepted"}'] +
                                series['veritas_draft_tokens_total{model="tiny",result="rejected"}'], drafted)
        self.assertIn(series['veritas_request_duration_seconds_count{model="tiny"}'], (4, 5))
        self.assertEqual(series['veritas_request_duration_seconds_bucket{model="tiny",le="+Inf"}'],
                         series['veritas_request_duration_seconds_count{model="tiny"}'])
        self.assertGreater(series['veritas_inter_token_seconds_count{model="tiny"}'], 30)
        self.assertGreater(series['veritas_time_to_first_token_seconds_sum{model="tiny"}'], 0)
        for name in ("queue_seconds", "inter_token_seconds"):
            bounds = [v for key, v in series.items() if key.startswith(f"veritas_{name}_bucket")]
            self.assertEqual(bounds, sorted(bounds))
        self.assertEqual((series["veritas_models_loaded"], series['veritas_requests_running{model="tiny"}'],
                          series['veritas_worker_restarts_total{model="tiny"}']), (1, 0, 0))
        self.assertFalse([s for s in series if "nosuch" in s])
        broker = child(self.serve.pid, "veritas-broker")
        os.kill(child(self.serve.pid, "veritas-worker"), 9)
        self.generate()
        self.assertEqual(child(self.serve.pid, "veritas-broker"), broker)
        self.assertEqual(self.text()[0]['veritas_worker_restarts_total{model="tiny"}'], 1)
        self.client.wait(self.client.request(c.UNLOAD, {"model": "tiny"}))
        series, _ = self.text()                                 # counts outlive the model
        self.assertGreater(series['veritas_generated_tokens_total{model="tiny"}'], generated)
        self.assertEqual(series["veritas_models_loaded"], 0)

    def test_traces(self):
        before = time.time_ns()
        result = self.generate(trace=TRACE % (1, 2))
        self.generate()
        with self.assertRaises(c.Failure):
            self.generate(trace=TRACE % (3, 4), max_tokens=-1)
        told = self.ask(TRACES)
        self.assertEqual([(t["trace"], t["finish"]) for t in told["requests"]],
                         [(TRACE % (1, 2), "length"), (TRACE % (3, 4), "INVALID")])
        one = told["requests"][0]
        self.assertEqual((one["model"], one["type"], one["completion_tokens"]), ("tiny", "generate", 12))
        self.assertEqual(one["prompt_tokens"], result["usage"]["prompt_tokens"])
        times = [one[k] for k in ("arrived_ns", "begun_ns", "first_token_ns", "ended_ns")]
        self.assertEqual(times, sorted(times))
        self.assertTrue(before - 10 ** 7 <= times[0] and times[3] <= time.time_ns() + 10 ** 7)
        self.assertEqual(told["requests"][1]["first_token_ns"], None)
        self.assertEqual(self.ask(TRACES), {"requests": [], "lost": 0, "more": False})      # each is told once
        for i in range(600):
            self.client.request(c.TOKENIZE, {"model": "tiny", "text": "x", "trace": TRACE % (5, i + 1)})
            if i % 100 == 99:
                done = 0
                while done < 100:
                    done += self.client.event().kind == c.COMPLETE
        told = self.ask(TRACES)
        self.assertEqual((len(told["requests"]), told["lost"], told["more"]), (64, 88, True))
        self.assertEqual(told["requests"][0]["type"], "tokenize")


if __name__ == "__main__":
    unittest.main(verbosity=0)
