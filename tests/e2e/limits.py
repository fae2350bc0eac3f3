"""Limits of the daemon through the shipped programs, with generated models: memory of all models, places for clients, open files,
models that nobody uses. Argument: the folder of the programs and of mkmodel."""
import fcntl
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import client as c
import processes

BIN = os.path.abspath(sys.argv[1])
VERITAS = BIN + "/veritas"
MANY = 1024


class Limits(processes.Waiting, unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="vsl")
        self.path = self.dir + "/run/s"
        os.mkdir(self.dir + "/models")
        for name in ("a", "b", "c", "d"):
            subprocess.run([BIN + "/mkmodel", "--ctx", "512", "-o", f"{self.dir}/models/{name}.gguf"], check=True,
                           stdout=subprocess.DEVNULL)
        self.env = dict(os.environ, VERITAS_MODELS=self.dir + "/models", VERITAS_SOCKET=self.path,
                        XDG_CACHE_HOME=self.dir + "/cache", HOME=self.dir, NO_COLOR="1")
        self.daemon, self.open = None, []

    def tearDown(self):
        for x in self.open:
            x.close()
        if self.daemon:
            self.daemon.kill()
            self.daemon.communicate()
        shutil.rmtree(self.dir)

    def call(self, *words):
        return subprocess.run([VERITAS, *words], env=self.env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)

    def serve(self, *words, before=None):
        self.daemon = subprocess.Popen([VERITAS, "serve", *words], env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                       stdin=subprocess.DEVNULL, preexec_fn=before)
        end = time.monotonic() + 20
        while self.call("ps").returncode != 0:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)

    def client(self, **more):
        x = c.Client(self.path, **more)
        x.sock.settimeout(30 * processes.patience())
        self.open.append(x)
        return x

    def ps(self):
        return json.loads(self.call("ps", "--json").stdout)

    def models(self):
        return {m["name"]: m for m in self.ps()["models"]}

    def run_it(self, name, status=0):
        done = self.call("run", "-m", name, "--raw", "-n", "2", "x")
        self.assertEqual(done.returncode, status, done)
        return done

    # ---- memory ----

    def test_a_pool_smaller_than_the_context(self):
        """What does not fit into it says which option makes room."""
        self.serve("--kv-memory", "96K")
        done = self.call("run", "-m", "a", "--raw", "-n", "2", "x " * 200)
        self.assertEqual(done.returncode, 5, done)
        pool = self.models()["a"]["settings"]["kv_memory"]
        self.assertTrue(0 < pool <= 96 << 10)
        self.assertRegex(done.stderr, r"the context holds 192, one of them for the answer; a larger --kv-memory of "
                                      r"`veritas serve` or `load` makes room \([0-9]+ MiB hold a context of 512\)")
        self.run_it("a")

    def test_defaults_leave_room(self):
        """The pool of a model of which nothing was said is a quarter of what is left: eight find room one after the other."""
        self.serve("--memory", "400M")
        for i in range(8):
            os.link(self.dir + "/models/a.gguf", f"{self.dir}/models/m{i}.gguf")
            self.assertEqual(self.call("load", f"m{i}").returncode, 0)
        pools = [m["settings"]["kv_memory"] for _, m in sorted(self.models().items())]
        self.assertEqual(pools, sorted(pools, reverse=True))
        self.assertTrue(90 << 20 < pools[0] <= 100 << 20 and pools[-1] > 8 << 20, pools)

    def test_memory_of_all_models(self):
        """Who came by a request's name and is idle makes room, the idlest first; who was loaded or answers never; else NOMEM."""
        self.serve("--memory", "600M")
        self.assertEqual(self.call("load", "a", "--kv-memory", "150M").returncode, 0)
        self.run_it("b")
        self.run_it("c")
        self.run_it("b")                                    # so c is the one that is idle for longest
        memory = self.ps()["memory"]
        self.assertEqual(memory["limit"], 600 << 20)
        self.assertTrue(300 << 20 < memory["used"] < 600 << 20, memory)
        self.assertEqual(memory["used"], sum(m["memory_bytes"] for m in self.models().values()))
        free = memory["limit"] - memory["used"]
        more = str((free >> 20) + 20) + "M"                 # a little more than there is
        self.assertEqual(self.call("load", "d", "--kv-memory", more).returncode, 0)
        self.assertEqual(set(self.models()), {"a", "b", "d"})
        x = self.client()
        slow = x.request(c.GENERATE, {"model": "b", "prompt": "x", "raw": True, "max_tokens": 400, "ignore_eos": True})
        while x.event().kind != c.TOKEN:
            pass
        y = self.client()
        with self.assertRaises(c.Failure) as f:             # b answers, a and d were loaded
            y.wait(y.request(c.LOAD, {"model": "c", "settings": {"kv_memory": 200 << 20}}))
        self.assertEqual((f.exception.name, f.exception.kind), ("NOMEM", c.REJECTED))
        done = self.call("load", "c", "--kv-memory", "200M")
        self.assertEqual(done.returncode, 5, done)
        self.assertIn("there is no room for the model c", done.stderr)
        y.request(c.LOAD, {"model": "c", "settings": {"kv_memory": 200 << 20}})
        error = c.split(y.frame()[3])[0]["error"]
        memory = self.ps()["memory"]
        self.assertEqual((error["free"], error["held"]), (memory["limit"] - memory["used"], memory["used"]))
        self.assertTrue(200 << 20 <= error["needed"] < 210 << 20, error)
        self.assertEqual(len(x.answer(slow)[1]), 399)       # the neighbour noticed nothing
        self.assertEqual(set(self.models()), {"a", "b", "d"})
        self.assertEqual(self.call("unload", "a").returncode, 0)
        self.assertEqual(self.call("load", "c", "--kv-memory", "150M").returncode, 0)

    def test_who_does_not_fit_at_all(self):
        self.serve("--memory", "600M")
        self.run_it("a")
        self.assertEqual(self.call("load", "b", "--kv-memory", "2G").returncode, 5)
        self.assertEqual(set(self.models()), {"a"})         # nobody was given up in vain
        self.assertEqual(self.call("load", "b", "--kv-memory", "590M").returncode, 0)   # threads come beside what is counted
        self.assertEqual(set(self.models()), {"b"})

    def test_idle_unload(self):
        self.serve("--idle-unload", "4")
        self.assertEqual(self.call("load", "b", "--idle-unload", "60").returncode, 0)
        self.run_it("a")
        self.assertEqual(set(self.models()), {"a", "b"})
        end = time.monotonic() + 20
        while "a" in self.models():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.1)
        self.assertEqual(set(self.models()), {"b"})
        self.run_it("a")                                    # it comes again when it is wanted

    # ---- clients ----

    def test_a_thousand_clients(self):
        """All have a place and are answered; number 1,025 may ask for status, and has a place as soon as one is free."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < MANY + 200:
            self.skipTest("so many files can't be opened here")
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * MANY), hard))
        self.serve()
        self.run_it("a")
        ours, theirs = socket.socketpair()
        pid = os.fork()                                     # a process may have three quarters of the places
        if pid == 0:
            try:
                held = [c.Client(self.path) for _ in range(MANY // 4)]
                theirs.send(b"x")
                ours.close()
                theirs.recv(1)
                held.clear()
            finally:
                os._exit(0)
        theirs.close()
        self.assertEqual(ours.recv(1), b"x")
        clients = [self.client() for _ in range(MANY * 3 // 4)]
        try:
            numbers = [x.request(c.GENERATE, {"model": "a", "prompt": "x", "raw": True, "max_tokens": 2, "ignore_eos": True})
                       for x in clients[:250]]
            for x, number in zip(clients, numbers):
                self.assertEqual(len(x.answer(number)[1]), 2)
            guest = self.client()
            begun = time.monotonic()
            state = guest.wait(guest.request(c.STATUS, {}))
            self.assertLess(time.monotonic() - begun, 1 * processes.patience())
            self.assertEqual(len(state["clients"]), MANY + 1)
            guest.request(c.TOKENIZE, {"model": "a", "text": "x"})
            error = c.split(guest.frame()[3])[0]["error"]
            self.assertEqual((error["name"], error["retry_after_ms"]), ("BUSY", 1000))
            clients.pop().close()
            self.wait_for(lambda: len(guest.wait(guest.request(c.STATUS, {}))["clients"]) == MANY)
            guest.wait(guest.request(c.TOKENIZE, {"model": "a", "text": "x"}))
        finally:
            ours.close()
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def in_another_process(self, work):
        """What work(a connection of a process of its own) returns: as text, later."""
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            try:
                x = c.Client(self.path)
                theirs.sendall(json.dumps(work(x)).encode())
            finally:
                os._exit(0)
        theirs.close()

        def result():
            parts = iter(lambda: ours.recv(1 << 16), b"")
            text = b"".join(parts)
            os.waitpid(pid, 0)
            ours.close()
            return json.loads(text)
        return result

    def test_a_place_too_many_is_given_up(self):
        """Four places, two in a step: who comes when all are taken gets the place of one that has sent nothing, which is answered
        later as if nothing had been."""
        subprocess.run([BIN + "/mkmodel", "--ctx", "16384", "-o", self.dir + "/models/long.gguf"], check=True,
                       stdout=subprocess.DEVNULL)
        self.serve()
        self.assertEqual(self.call("load", "long", "--parallel", "2").returncode, 0)

        def ask(x, prompt, n):
            return x.request(c.GENERATE, {"model": "long", "prompt": prompt, "raw": True, "max_tokens": n, "ignore_eos": True,
                                          "logits_hash": True, "sampling": {"temperature": 0}})

        def two(x):
            numbers = [ask(x, prompt, 1500) for prompt in ("b", "c")]
            ends = {}
            while len(ends) < 2:
                e = x.event()
                if e.kind == c.COMPLETE:
                    ends[e.request] = e.value["logits_hash"]
            return [ends[number] for number in numbers]
        alone = self.in_another_process(two)()

        def attempt():
            """Was the place given up before one of the four was through? An answer may be quicker than we look."""
            x = self.client()
            numbers = [ask(x, "a", 3000) for _ in range(2)]
            seen = set()
            while len(seen) < 2:                            # both have sent something
                e = x.event()
                seen |= {e.request} if e.kind == c.TOKEN else set()
            both = self.in_another_process(two)
            for _ in range(200):                                # or until it is clear that an answer was quicker
                if self.models()["long"]["running"] == 4:
                    break
                time.sleep(0.005)
            ids = self.in_another_process(lambda z: z.wait(z.request(c.TOKENIZE, {"model": "long", "text": "word"}))["tokens"])()
            m = self.models()["long"]
            left, ended = set(numbers), 0
            for number in numbers:
                x.cancel(number)
            while left:
                try:
                    e = x.event()
                    if e.kind == c.COMPLETE:                    # on a fast machine it was through already
                        left.discard(e.request)
                        ended += 1
                except c.Failure as f:
                    left.discard(f.request)
            self.assertTrue(ids)
            self.assertEqual(both(), alone)
            return ended or m["running"] + m["queued"] == 4
        self.assertTrue(any(attempt() for _ in range(5)), "it waited until one of the four was through")

    def test_what_is_urgent_does_not_wait_for_ones_own(self):
        """Two long answers of low priority have both places of the step: the same client's urgent question is answered at once."""
        subprocess.run([BIN + "/mkmodel", "--ctx", "16384", "-o", self.dir + "/models/long.gguf"], check=True,
                       stdout=subprocess.DEVNULL)
        self.serve("--parallel", "2")
        x = self.client()

        def ask(n, priority):
            return x.request(c.GENERATE, {"model": "long", "tokens": [5], "max_tokens": n, "ignore_eos": True, "priority": priority,
                                          "speculation": "off", "logits_hash": True, "sampling": {"temperature": 1}})
        low, seen, ends = [ask(4000, "low") for _ in range(2)], set(), {}
        while len(seen) < 2:
            e = x.event()
            seen |= {e.request} if e.kind == c.TOKEN else set()
        high = ask(5, "high")
        while len(ends) < 3:
            e = x.event()
            ends.update({e.request: e.value} if e.kind == c.COMPLETE else {})
        self.assertEqual(list(ends)[0], high)
        self.assertEqual(len({ends[number]["logits_hash"] for number in low}), 1)       # to one of them it was a pause
        self.assertEqual(self.models()["long"]["preemptions"], 1)

    def test_places_are_given_up_at_any_moment(self):
        """Also when an answer just begins: nobody is told twice, and nobody less."""
        self.serve("--parallel", "2")
        rows = {"model": "a", "tokens": list(range(300))}

        def ask(x, i):
            return x.request(c.GENERATE, {"model": "a", "tokens": [i] * (1 + i % 90), "max_tokens": 1 + i % 7, "ignore_eos": True})

        def work(x):
            wrong, end, i = [], time.monotonic() + 4, os.getpid()
            while time.monotonic() < end:
                i = i * 1103515245 + 12345 & 0x7fffffff
                said = dict.fromkeys((x.request(c.LOGITS, rows), ask(x, i % 500)), 0)
                left = set(said)
                while left:
                    try:
                        e = x.event()
                    except c.Failure as f:
                        wrong.append(repr((f.name, str(f))))
                        left.discard(f.request)
                        continue
                    said[e.request] += len(e.data) if e.kind == c.DATA else e.kind == c.TOKEN
                    left -= {e.request} if e.kind == c.COMPLETE else set()
                if list(said.values()) != [300 * 4 * n_vocab, 1 + i % 500 % 7]:
                    wrong.append(repr(said))
            return wrong
        x = self.client()
        n_vocab = x.wait(x.request(c.LOGITS, rows))["n_vocab"]
        for wrong in [self.in_another_process(work) for _ in range(4)]:
            self.assertEqual(wrong(), [])

    def test_as_many_clients_as_told(self):
        self.serve("--clients", "4")
        clients = [self.client() for _ in range(3)]
        guest = self.client()
        with self.assertRaises(c.Failure) as f:
            guest.wait(guest.request(c.TOKENIZE, {"model": "a", "text": "x"}))
        self.assertEqual(f.exception.name, "BUSY")
        clients[0].wait(clients[0].request(c.TOKENIZE, {"model": "a", "text": "x"}))

    def test_bad_input_beside_a_stream(self):
        """32 prompts of 16 MiB at once, a cancel of nothing, an unload while it loads: a neighbour's stream goes on as if it were
        alone, and nothing is left."""
        self.serve()
        self.run_it("a")
        x, bad = self.client(), [self.client() for _ in range(16)]
        long = {"model": "a", "prompt": "x", "raw": True, "max_tokens": 480, "ignore_eos": True, "logits_hash": True,
                "sampling": {"temperature": 0}}
        alone = x.answer(x.request(c.GENERATE, long))
        stream = x.request(c.GENERATE, long)
        while x.event().kind != c.TOKEN:
            pass
        threads = [threading.Thread(target=self.huge, args=(y,)) for y in bad]
        for t in threads:
            t.start()
        y = self.client()
        for number in (1, 7, 2 ** 64 - 1):
            y.cancel(number)
        for name in ("b", "c", "d"):
            number = y.request(c.LOAD, {"model": name})
            y.request(c.UNLOAD, {"model": name, "force": True})
            ends = []
            while len(ends) < 2:
                try:
                    event = y.event()
                    ends += [event.kind] if event.kind == c.COMPLETE else []
                except c.Failure as e:
                    self.assertEqual((e.request, e.name), (number, "CANCELLED"))
                    ends.append(e.kind)
        text, tokens, result = x.answer(stream)
        self.assertEqual(([*alone[1]][1:], alone[2]["logits_hash"]), (tokens, result["logits_hash"]))
        for t in threads:
            t.join()                    # each ends, and soon: this one waits for its answer
        self.assertEqual(set(self.models()), {"a"})
        m = self.models()["a"]
        self.assertEqual((m["requests"], m["kv"]["used"]), ({"running": 0, "waiting": 0, "parked": 0}, 0))
        self.run_it("a")

    def huge(self, x):
        """Two prompts of 16 MiB: each is refused for want of room, or because it is longer than the context."""
        body = b'{"prompt":"' + b"a" * ((16 << 20) - 40) + b'"}'
        head = c.payload({"model": "a"})
        for number in (1000, 1001):
            x.sock.sendall(c.HEADER.pack(len(head) + len(body), c.GENERATE, 0, number) + head + body)
        for _ in range(2):
            try:
                while True:
                    x.event()
            except c.Failure as e:
                assert e.name in ("CONTEXT", "BUSY"), e.name

    # ---- what is around it ----

    def test_check_looks_into_the_models(self):
        """`serve --check` says what a start would find wrong with each model of the file, at the line that did it; it listens
        nowhere."""
        for name, *options in (("other", "--vocab", "300"), ("small", "--layers", "1")):
            subprocess.run([BIN + "/mkmodel", "--ctx", "512", *options, "-o", f"{self.dir}/models/{name}.gguf"], check=True,
                           stdout=subprocess.DEVNULL)
        with open(self.dir + "/models/a.gguf", "rb") as f:
            whole = f.read()
        for name, data in (("cut", whole[:-1000]), ("strange", b"hello, world" * 100)):
            with open(f"{self.dir}/models/{name}.gguf", "wb") as f:
                f.write(data)
        path = self.dir + "/conf"
        for text, status, said in (("[model a]\nload = yes\nctx = 512\ndraft = small\n[model b]\nkv-memory = 1M\n", 0, "ok\n"),
                                   ("[model later]\nctx = 9\n", 0, "ok\n"),
                                   ("[model a]\n\nctx = 513\n", 2, ":3: model a: --ctx 513: the model was made for at most 512"),
                                   ("ctx = 513\n[model b]\nload = yes\n[model a]\nctx = 9\n", 2, ":1: model b: --ctx 513"),
                                   ("[model a]\nkv-memory = 9\n", 2, ":2: model a: --kv-memory: a cache of 9 bytes has no page"),
                                   ("[model b]\n[model a]\nload = yes\ndraft = other\n", 2,
                                    ":4: model a: draft: the draft's vocabulary is not the model's: token "),
                                   ("\ndraft = strange\n[model a]\nload = yes\n", 3, ":2: model a: draft: GGUF"),
                                   ("\n[model cut]\nctx = 9\n", 3, ":2: model cut: "),
                                   ("[model a]\n\n[model cut]\n[model b]\n", 3, ":3: model cut: "),     # that has no options
                                   ("[model strange]\nctx = 9\nload = yes\n", 3, ":3: model strange: GGUF"),
                                   ("[model a]\nlora = none=1\n", 4, ":2: model a: "),
                                   ("".join(f"[model e{i}]\n" for i in range(60)) + "[model a]\nctx = 9\n", 0, "ok\n"),
                                   ("".join(f"[model e{i}]\nctx = 9\n" for i in range(33)), 5,
                                    ":66: there are more than 32 models")):
            with open(path, "w") as f:
                f.write(text)
            done = self.call("serve", "--config", path, "--check")
            self.assertEqual(done.returncode, status, (text, done))
            if status == 0:
                self.assertEqual(done.stdout, said, text)
            else:
                self.assertIn(path + said, done.stderr, text)
        self.assertFalse(os.path.exists(self.path))
        # nor does it begin a log, or need that of the daemon that runs, or its key
        policy = self.dir + "/policy.json"
        with open(path, "w") as f:
            f.write("[model a]\nctx = 512\n")
        for more in ({}, {"signing": {"key": "fd:9"}}):
            with open(policy, "w") as f:
                json.dump({"audit": {"dir": self.dir + "/log", "private": True}, **more}, f)
            done = self.call("serve", "--config", path, "--policy", policy, "--check")
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "ok\n", ""), more)
            self.assertFalse(os.path.exists(self.dir + "/log"))

    def test_what_was_only_looked_at_is_loaded(self):
        """A load takes the place of one that read no weights, and so does a request that needs them; a second look does not, nor
        what is asked of it that needs none."""
        self.serve()
        x = self.client()

        def load(**settings):
            return x.wait(x.request(c.LOAD, {"model": "a", "settings": settings}))["pid"]

        def generate():
            return x.wait(x.request(c.GENERATE, {"model": "a", "prompt": "x", "raw": True, "max_tokens": 2}))
        for look in ("check_only", "inspect_only"):
            looked = load(**{look: True})
            self.assertEqual(load(**{look: True}), looked)
            loaded = load()
            self.assertNotEqual(loaded, looked)
            generate()
            self.assertEqual(load(), loaded)
            x.wait(x.request(c.UNLOAD, {"model": "a"}))
            looked = load(**{look: True})
            self.assertTrue(x.wait(x.request(c.TOKENIZE, {"model": "a", "text": "x"}))["tokens"])
            self.assertEqual(self.models()["a"]["pid"] == looked, look == "inspect_only")       # that has read the vocabulary
            x.wait(x.request(c.UNLOAD, {"model": "a"}))
            looked = load(**{look: True})
            self.assertEqual(generate()["finish_reason"], "length")
            loaded = self.models()["a"]["pid"]
            self.assertNotEqual(loaded, looked)
            self.assertEqual(load(), loaded)
            x.wait(x.request(c.UNLOAD, {"model": "a"}))

    def test_a_private_daemon_without_a_log_needs_no_key(self):
        """The key of the daemon's log is nothing for who asks a daemon of his own under the same policy."""
        self.env["VERITAS_POLICY"] = self.dir + "/policy.json"
        for is_private, status in ((False, 0), (True, 70)):
            with open(self.env["VERITAS_POLICY"], "w") as f:
                json.dump({"audit": {"dir": self.dir + "/log", "private": is_private}, "signing": {"key": "fd:9"}}, f)
            done = self.call("run", "--private", "-m", "a", "--raw", "-n", "2", "x")
            self.assertEqual(done.returncode, status, done)

    def test_back_off(self):
        """A worker that dies again and again is started again after 0.1 s, 0.2 s, 0.4 s, ...; what waits for it is answered."""
        self.serve()
        self.run_it("a")
        for pause in (0.1, 0.2, 0.4, 0.8):
            worker = self.models()["a"]["pid"]
            begun = time.monotonic()
            os.kill(worker, 9)
            self.run_it("a")
            self.assertGreater(time.monotonic() - begun, pause)
            self.assertLess(time.monotonic() - begun, (pause + 2) * processes.patience())
        self.assertEqual(self.models()["a"]["restarts"], 4)

    def test_hang(self):
        """A worker that is held up in the middle of answers is replaced after --hang; they go on with the same bytes."""
        subprocess.run([BIN + "/mkmodel", "--ctx", "8192", "-o", self.dir + "/models/a.gguf"], check=True,
                       stdout=subprocess.DEVNULL)
        self.serve("--hang", "2")
        prompts = ["one", "two", "three"]
        ask = lambda x, prompt: x.request(c.GENERATE, {"model": "a", "prompt": prompt, "raw": True, "max_tokens": 3000,
                                                       "ignore_eos": True, "logits_hash": True, "sampling": {"temperature": 1}})
        alone = [x.answer(ask(x, prompt)) for prompt in prompts for x in [self.client()]]
        clients = [self.client() for _ in prompts]
        worker = self.models()["a"]["pid"]
        numbers = [ask(x, prompt) for x, prompt in zip(clients, prompts)]
        while clients[0].event().kind != c.TOKEN:
            pass
        os.kill(worker, signal.SIGSTOP)
        begun = time.monotonic()
        for i, (x, number, whole) in enumerate(zip(clients, numbers, alone)):
            text, tokens, result = x.answer(number)
            self.assertEqual((tokens, result["logits_hash"]), (whole[1][i == 0:], whole[2]["logits_hash"]))
        self.assertGreater(time.monotonic() - begun, 1.5)
        self.assertEqual((result["usage"]["resumed"], self.models()["a"]["restarts"]), (1, 1))

    def test_every_fault_has_its_test(self):
        """docs/FAULTS.md names for each row the tests that make it happen."""
        here = os.path.dirname(os.path.abspath(__file__))
        with open(here + "/../../docs/FAULTS.md") as f:
            rows = [line.rstrip().strip("|").split("|")[-1] for line in f if line.startswith("|") and "---" not in line]
        n = 0
        for row in rows:
            if row.strip() == "test":
                continue
            named = re.findall(r"`([a-z]+)`([a-z0-9_, ]*)", row)
            self.assertTrue(named, row)
            for name, tests in named:
                with open(f"{here}/{name}.py") as f:
                    text = f.read()
                for test in filter(None, (t.strip() for t in tests.split(","))):
                    self.assertRegex(text, "def test_[a-z_]*" + test, name)
                    n += 1
        self.assertGreater(n, 25)

    def test_a_log_that_nobody_reads(self):
        """A pipe that is full holds nobody up; what was left out is counted."""
        self.serve()                                        # its log is a pipe of ours
        x = self.client()
        for i in range(40):                                 # the log takes 20 lines in a second
            for _ in range(50):
                y = c.Client(self.path, hello=False)
                y.send(0x7fff, 1, b"")
                y.close()
            begun = time.monotonic()
            x.wait(x.request(c.STATUS, {}))
            self.assertLess(time.monotonic() - begun, 2 * processes.patience())
            if i % 4 == 3:
                time.sleep(0.9)
        fcntl.fcntl(self.daemon.stderr, fcntl.F_SETFL, os.O_NONBLOCK)
        said, end = self.daemon.stderr.read(), time.monotonic() + 20
        self.assertGreater(len(said), 1000)
        while not re.search(b"[0-9]+ lines were left out", said):
            self.assertLess(time.monotonic(), end, said[-300:])
            time.sleep(1.1)
            y = c.Client(self.path, hello=False)
            y.send(0x7fff, 1, b"")
            y.close()
            said += self.daemon.stderr.read() or b""

    def test_requests_that_were_left_out_of_the_log(self):
        """Of many requests in a second every one is in the log, by a line or by number, though nobody says anything afterwards."""
        self.serve("--log", "json")
        x, n = self.client(), 300
        for _ in range(n):
            try:
                x.wait(x.request(c.TOKENIZE, {"model": "a", "text": "x", "nothing": 1}))
            except c.Failure as e:
                self.assertEqual(e.name, "INVALID")
        time.sleep(2.5)
        fcntl.fcntl(self.daemon.stderr, fcntl.F_SETFL, os.O_NONBLOCK)
        events = [json.loads(line) for line in self.daemon.stderr.read().splitlines()]
        ends = sum(e["event"] == "request_end" for e in events)
        left = sum(e["requests"] for e in events if e["event"] == "left_out")
        self.assertGreater(left, 0)
        self.assertEqual(ends + left, n)

    def test_a_log_that_is_full(self):
        """Neither the broker nor the supervisor waits for who does not read: workers that die are replaced, models loaded."""
        self.serve()
        x = self.client()
        x.wait(x.request(c.LOAD, {"model": "a"}))
        pipe = os.open(f"/proc/self/fd/{self.daemon.stderr.fileno()}", os.O_WRONLY | os.O_NONBLOCK)
        try:
            while True:
                os.write(pipe, b"#" * 64)
        except BlockingIOError:
            pass
        os.close(pipe)
        for _ in range(3):
            before = x.wait(x.request(c.STATUS, {}))["models"][0]
            os.kill(before["pid"], signal.SIGKILL)
            self.wait_for(lambda: (m := x.wait(x.request(c.STATUS, {}))["models"][0])["state"] == "ready"
                          and m["restarts"] > before["restarts"])
        fcntl.fcntl(self.daemon.stderr, fcntl.F_SETFL, os.O_NONBLOCK)
        self.daemon.stderr.read()
        os.kill(x.wait(x.request(c.STATUS, {}))["models"][0]["pid"], signal.SIGKILL)
        said = []
        self.wait_for(lambda: said.append(self.daemon.stderr.read() or b"")
                      or re.search(b"serve: [0-9]+ lines? (was|were) left out", b"".join(said)))

    def test_long_names_in_the_log(self):
        """A path of 500 bytes, each of which is escaped: the lines are there, cut, and one line each."""
        folder = self.dir + ("/" + "\x1b" * 170) * 3
        os.makedirs(folder)
        shutil.copy(self.dir + "/models/a.gguf", folder + "/m.gguf")
        for form in ("text", "json"):
            self.serve("--log", form)
            x = self.client()
            x.load_path(folder + "/m.gguf")
            os.kill(next(iter(self.models().values()))["pid"], 9)
            x.wait(x.request(c.TOKENIZE, {"model": folder + "/m.gguf", "text": "x"}))
            self.call("stop")
            log = self.daemon.communicate(timeout=20)[1].decode()
            self.assertNotIn("\x1b", log)
            for event in ("request_end", "killed by signal 9"):
                self.assertTrue([line for line in log.splitlines() if "broker" in line and event in line], (form, event, log))

    def test_unwritable_folder(self):
        """Where nothing can be written: one line, and an exit status."""
        for path, said in (("/proc/veritas/s", "/proc"), (self.dir + "/models/a.gguf/s", "a.gguf")):
            done = subprocess.run([VERITAS, "serve"], env=dict(self.env, VERITAS_SOCKET=path), capture_output=True, text=True,
                                  timeout=20, stdin=subprocess.DEVNULL)
            self.assertNotEqual(done.returncode, 0, done)
            self.assertEqual(done.stderr.count("\n"), 1, done)
            self.assertIn(said, done.stderr)

    def test_few_open_files(self):
        """Fewer places than were asked for, and the log says so; nothing else changes."""
        self.serve(before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200)))
        clients = []
        for _ in range(60):
            clients.append(self.client())
            clients[-1].wait(clients[-1].request(c.TOKENIZE, {"model": "a", "text": "x"}))
        self.call("stop")
        self.assertRegex(self.daemon.communicate(timeout=20)[1].decode(),
                         "200 open files are allowed, so [0-9]+ clients have a place")
        self.daemon = None

    def test_no_descriptors_left(self):
        """The fewest that a daemon starts with, and every place taken: who is there is answered, a model is loaded, a worker that
        dies comes back; nothing spins, and the next client has the place of one that goes."""
        self.serve(before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128)))
        self.run_it("a")
        x = self.client()
        held = [self.client() for _ in range(128)]          # those for whom there is no place are told so, and closed
        self.assertTrue(16 < len(x.wait(x.request(c.STATUS, {}))["clients"]) < 100)

        def work():
            with open(f"/proc/{processes.child(self.daemon.pid, 'veritas-broker')}/stat") as f:
                return sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))

        def generate(model):
            return x.answer(x.request(c.GENERATE, {"model": model, "prompt": "x", "raw": True, "max_tokens": 4, "ignore_eos": True,
                                                   "logits_hash": True}))[2]["logits_hash"]
        first, before = generate("a"), work()
        time.sleep(1)
        self.assertLess(work() - before, 20, "hundredths of a second")
        for model in "bcd":
            self.assertEqual(generate(model), first, "the models are the same")
        for worker in processes.below(self.daemon.pid, "veritas-worker"):
            os.kill(worker, signal.SIGKILL)
        for model in "abcd":
            self.assertEqual(generate(model), first)
        for y in held:
            y.close()
        self.run_it("a")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[2:])
