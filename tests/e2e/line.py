"""The broker's line through the real broker: many requests at a worker at once, their order, what a dead worker's requests become.
The workers and the supervisor are played (protocol.py), so that each frame between broker and worker is seen. Arguments: broker,
worker (which is not started)."""
import json
import mmap
import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import client as c
import protocol
from client import Client, Failure
from processes import SLOW, patience

SENT, STATS, BLOCKED, ALIVE, READY = 0x47, 0x48, 0x44, 0x46, 0x60
FLAG_INDEX = 4
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "cached_tokens": 0}


class Worker:
    """One end of a worker's socket: what the broker says, and what this worker says."""

    def __init__(self, sock, settings):
        self.sock, self.settings, self.code, self.ended, self.data = sock, settings, None, threading.Event(), b""
        self.sock.settimeout(5 * SLOW)

    def wait(self):
        self.ended.wait()
        return self.code

    def kill(self, code=-9):
        if self.code is None:
            self.code = code
            self.sock.shutdown(socket.SHUT_RDWR)
            self.sock.close()
            self.ended.set()

    def say(self, kind, number=0, value=b"", flags=0):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.sock.sendall(c.HEADER.pack(len(data), kind, flags, number) + data)

    def ready(self, **facts):
        self.say(READY, 0, {"sandbox": {}, "facts": facts})
        return self

    def read(self, n):
        while len(self.data) < n:
            more = self.sock.recv(1 << 20)
            if not more:
                raise EOFError
            self.data += more
        data, self.data = self.data[:n], self.data[n:]
        return data

    def frame(self):
        n, kind, flags, number = c.HEADER.unpack(self.read(16))
        return kind, number, flags, self.read(n)

    def hears_nothing(self, seconds=0.2):
        self.sock.settimeout(seconds * SLOW)
        try:
            return self.frame()[:2]
        except (TimeoutError, socket.timeout):
            return None
        finally:
            self.sock.settimeout(5 * SLOW)

    def take(self, kind=None):
        """The next request: its run, its envelope, its body; or the next frame of a kind."""
        got, number, flags, data = self.frame()
        if kind:
            assert got == kind, (hex(got), hex(kind))
            return number, flags, data
        assert 0x10 <= got <= 0x17, hex(got)
        head, body = c.split(data)
        return number, head, json.loads(body)

    def token(self, number, token, text="x", index=None, part=None):
        head = b"".join(struct.pack("<I", n) for n in (index, part) if n is not None)
        flags = (0 if index is None else FLAG_INDEX) | (0 if part is None else c.FLAG_PART)
        self.say(c.TOKEN, number, head + struct.pack("<II", token, len(text)) + text.encode(), flags)

    def complete(self, number, **more):
        self.say(c.COMPLETE, number, c.payload({"finish_reason": "stop", "usage": USAGE, **more}, {}))

    def error(self, number, name="CANCELLED", code=-8):
        self.say(c.ERROR, number, c.payload({"error": {"name": name, "code": code, "message": name}}))


class Supervisor(protocol.Supervisor):
    def __init__(self, **more):
        self.born = queue.Queue()
        super().__init__(**more)

    def launch(self, number, model, settings, file):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        worker = Worker(ours, settings)
        self.say(protocol.STARTED, number, {"pid": 1, "path": model, "bytes": os.fstat(file).st_size}, [theirs.fileno()])
        theirs.close()
        self.born.put(worker)
        return worker

    def worker(self):
        return self.born.get(timeout=10 * SLOW)

    def worker_that_lives(self):
        """The next one that nobody has ended yet."""
        worker = self.worker()
        while worker.code is not None:
            worker = self.worker()
        return worker


def connect_as_another(path):
    """A connection of another process: the kernel remembers who connected."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        try:
            s = socket.socket(socket.AF_UNIX)
            s.connect(path)
            socket.send_fds(theirs, [b"x"], [s.fileno()])
            theirs.recv(1)                  # as long as the connection lives, the number is its own
        except Exception as e:
            print(repr(e), file=sys.stderr)
        finally:
            os._exit(0)
    theirs.close()
    _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    return socket.socket(fileno=fds[0]), ours, pid

JUMP = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

int clock_gettime(clockid_t id, struct timespec *t)
{
    static int (*real)(clockid_t, struct timespec *);
    static int n;
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int r = real(id, t);
    if (id == CLOCK_REALTIME)
        t->tv_sec += n++ % 2 ? 315360000 : -315360000;
    return r;
}
"""

# The monotonic clock is ahead by as many seconds as a page of VS_AHEAD says.
AHEAD = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static volatile int *ahead;

__attribute__((constructor)) static void begin(void)
{
    void *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, open(getenv("VS_AHEAD"), O_RDONLY), 0);
    ahead = page == MAP_FAILED ? NULL : page;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int r = real(id, t);
    if (id == CLOCK_MONOTONIC && ahead)
        t->tv_sec += *ahead;
    return r;
}
"""


class Line(unittest.TestCase):
    def start_with(self, source, check=None, **env):
        """A new broker, with a library of this source before all others."""
        if SLOW > 1:
            self.skipTest("a sanitizer's library must be the first")
        self.s.end()
        with tempfile.TemporaryDirectory() as folder:
            with open(folder + "/first.c", "w") as f:
                f.write(source)
            subprocess.run(["cc", "-shared", "-fPIC", "-o", folder + "/first.so", folder + "/first.c", "-ldl"], check=True)
            os.environ.update(env, LD_PRELOAD=folder + "/first.so")
            try:
                self.setUp()
                if check:
                    check()
                return self.client()        # it runs, so it has read the library
            finally:
                for name in ["LD_PRELOAD", *env]:
                    del os.environ[name]

    def setUp(self):
        self.s = Supervisor()
        for name in ("m", "other"):
            self.s.add(name)
        self.open, self.others = [], []

    def tearDown(self):
        for x in self.open:
            x.close()
        for keeper, pid in self.others:
            keeper.close()
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        alive = self.s.broker.poll() is None
        self.s.end()
        self.assertTrue(alive, "the broker died")

    def client(self, another=False, **more):
        sock = None
        if another:
            sock, keeper, pid = connect_as_another(self.s.path)
            self.others.append((keeper, pid))
        x = Client(self.s.path, sock=sock, **more)
        x.sock.settimeout(10 * SLOW)
        self.open.append(x)
        return x

    def ask(self, x, prompt="p", kind=c.GENERATE, **more):
        return x.request(kind, {"model": "m", "prompt": prompt, **more})

    def loaded(self, x, parallel=4, model="m", **settings):
        """A worker that has the model and takes so many requests in a step."""
        number = x.request(c.LOAD, {"model": model, "settings": settings})
        worker = self.s.worker().ready(parallel=parallel)
        x.wait(number)
        return worker

    def fails(self, name, x, number):
        with self.assertRaises(Failure) as f:
            x.wait(number)
        self.assertEqual((f.exception.name, f.exception.request), (name, number), str(f.exception))
        return f.exception

    def status(self, name="m"):
        x = self.client()
        return next(m for m in x.wait(x.request(c.STATUS, {}))["models"] if m["name"] == name)

    # ---- other names ----

    def test_two_models_want_one_name(self):
        """One of them is loaded when it is asked for that name, too; the other has it when that is done."""
        x = self.client()
        x.request(c.LOAD, {"model": "m"})
        worker = self.s.worker()
        late = x.request(c.LOAD, {"model": "m", "settings": {"alias": "name"}})
        number = x.request(c.LOAD, {"model": "other", "settings": {"alias": "name"}})
        other = self.s.worker().ready(parallel=1)
        x.wait(number)
        worker.ready(parallel=1)
        self.assertIn("it is another name of other", str(self.fails("INVALID", x, late)))
        self.assertEqual(x.wait(x.request(c.STATUS, {}))["aliases"], {"name": "other"})
        run = x.request(c.GENERATE, {"model": "name", "prompt": "p"})
        other.complete(other.take()[0])
        x.wait(run)

    def test_a_name_that_nobody_waits_for(self):
        """The supervisor is told when who asked it for a name is gone, unless the model has the name or another one asks for it."""
        x = self.client()
        worker = self.loaded(x)
        ask = {"model": "m", "settings": {"alias": "name"}}
        first, second = x.request(c.LOAD, ask), x.request(c.LOAD, ask)
        self.assertEqual([self.s.asked.get(timeout=10 * SLOW)[1] for _ in range(2)], 2 * [{"model": 1, "alias": "name"}])
        x.cancel(first)
        self.fails("CANCELLED", x, first)
        y = self.client()
        y.request(c.LOAD, {"model": "m", "settings": {"alias": "other-name"}})
        number, asked = self.s.asked.get(timeout=10 * SLOW)
        self.assertEqual(asked, {"model": 1, "alias": "other-name"})           # of the first name nothing was said
        y.close()
        self.assertEqual(self.s.asked.get(timeout=10 * SLOW), (number, {**asked, "withdrawn": True}))
        x.cancel(second)
        self.fails("CANCELLED", x, second)
        withdrawn = self.s.asked.get(timeout=10 * SLOW)[1]
        self.assertEqual(withdrawn, {"model": 1, "alias": "name", "withdrawn": True})
        third, fourth = x.request(c.LOAD, ask), x.request(c.LOAD, ask)
        numbers = [self.s.asked.get(timeout=10 * SLOW)[0] for _ in range(2)]
        self.s.say(protocol.ALIAS, numbers[0], {})
        x.wait(third)
        x.cancel(fourth)                        # the model has it
        self.fails("CANCELLED", x, fourth)
        self.s.say(protocol.ALIAS, numbers[1], {})
        self.assertEqual(x.wait(x.request(c.STATUS, {}))["aliases"], {"name": "m"})
        self.assertTrue(self.s.asked.empty())
        worker.kill()

    # ---- many at once ----

    def test_many_runs_on_one_worker(self):
        """Twice as many as fit into a step; each with its own tokens, credit and end, in whatever order."""
        x, y = self.client(), self.client(another=True)
        worker = self.loaded(x)
        mine = [self.ask(x, "x%d" % i) for i in range(4)]
        runs = {body["prompt"]: (run, head) for run, head, body in (worker.take() for _ in range(4))}
        theirs = [self.ask(y, "y%d" % i) for i in range(5)]
        runs.update({body["prompt"]: (run, head) for run, head, body in (worker.take() for _ in range(4))})
        self.assertEqual(worker.hears_nothing(), None)
        self.assertEqual(len({head["client"] for _, head in runs.values()}), 2)
        for _, head in runs.values():
            self.assertEqual(head["priority"], "normal")
            self.assertLess(abs(head["arrived_at"] - time.monotonic() * 1000), 5000 * SLOW)
        for i in range(3):
            for name, (run, _) in runs.items():
                worker.token(run, i, name)
        for name in ("y3", "x2", "x0", "x3", "x1", "y0", "y1", "y2"):
            worker.complete(runs[name][0])
        run, _, body = worker.take()
        self.assertEqual(body["prompt"], "y4")
        worker.complete(run)
        self.assertEqual(self.collect(x, mine), ["x%d" % i * 3 for i in range(4)])
        self.assertEqual(self.collect(y, theirs), ["y%d" % i * 3 for i in range(4)] + [""])

    def collect(self, x, numbers):
        """The texts of several answers that come mixed."""
        texts = dict.fromkeys(numbers, "")
        left = set(numbers)
        while left:
            e = x.event()
            if e.kind == c.TOKEN:
                texts[e.request] += e.text
            elif e.kind == c.COMPLETE:
                left.remove(e.request)
        return [texts[n] for n in numbers]

    def test_one_client_does_not_have_all_places(self):
        x, y = self.client(), self.client(another=True)
        worker = self.loaded(x)
        for i in range(20):
            self.ask(x, str(i))
        for _ in range(4):
            worker.take()
        self.assertEqual(worker.hears_nothing(), None)      # the other places are for others
        self.ask(y, "late")
        self.assertEqual(worker.take()[2]["prompt"], "late")

    def test_urgent_ones_of_one_client_do_not_wait_for_its_own(self):
        """All that a process may have is of low priority: the next ones of a higher class are given all the same, half as many."""
        x, y = self.client(), self.client(another=True)
        worker = self.loaded(x)
        for i in range(6):
            self.ask(x, "low", priority="low")
        self.assertEqual([worker.take()[2]["prompt"] for _ in range(4)], ["low"] * 4)
        self.assertEqual(worker.hears_nothing(), None)
        for i in range(3):
            self.ask(x, "high %d" % i, priority="high")
        self.assertEqual([worker.take()[2]["prompt"] for _ in range(2)], ["high 0", "high 1"])
        self.assertEqual(worker.hears_nothing(), None)
        for i in range(2):                                  # the last quarter of the places is for others
            self.ask(y, "y")
            self.assertEqual(worker.take()[2]["prompt"], "y")

    def test_what_runs_for_long_is_not_urgent(self):
        """What answers for a minute is of low priority still, and does not stand in the way of a normal request."""
        with tempfile.NamedTemporaryFile() as f:
            f.truncate(4096)
            x = self.start_with(AHEAD, VS_AHEAD=f.name)
            with mmap.mmap(f.fileno(), 4096) as page:
                worker = self.loaded(x)
                for i in range(4):
                    self.ask(x, "low", priority="low")
                    worker.take()
                for seconds in range(5, 71, 5):             # a worker that is not heard for ten seconds hangs
                    page[:4] = struct.pack("<i", seconds)
                    worker.say(ALIVE)
                    self.status()
                self.ask(x, "normal")
                self.assertEqual(worker.take()[2]["prompt"], "normal")

    def test_who_has_too_many_places_gives_one_up(self):
        """Two processes have all; a third comes: one that has sent nothing goes back into the line, its last, and waits there."""
        x, y, z = self.client(), self.client(another=True), self.client(another=True)
        worker = self.loaded(x)
        mine = [self.ask(x, "x%d" % i) for i in range(4)]
        runs = {body["prompt"]: run for run, _, body in (worker.take() for _ in range(4))}
        theirs = [self.ask(y, "y%d" % i) for i in range(4)]
        runs.update({body["prompt"]: run for run, _, body in (worker.take() for _ in range(4))})
        worker.token(runs["y3"], 1)
        while y.event().kind != c.TOKEN:
            pass
        number = self.ask(z, "z")
        run, _, data = worker.take(c.CANCEL)
        self.assertEqual((run, data), (runs["y2"], struct.pack("<I", 4)))       # y3 has sent something
        self.assertEqual(worker.hears_nothing(), None)      # one at a time
        worker.error(run, "BUSY", -4)
        got = worker.take()
        self.assertEqual(got[2]["prompt"], "z")
        worker.complete(got[0])
        z.wait(number)
        again = worker.take()                               # y2 has its turn again
        self.assertEqual((again[2]["prompt"], again[1].get("sent")), ("y2", None))
        runs["y2"] = again[0]
        number = self.ask(z, "z2")                          # taken back, and cancelled meanwhile: it ends as cancelled
        run, _, _ = worker.take(c.CANCEL)
        name = next(name for name, of in runs.items() if of == run)
        who, numbers = (x, mine) if name[0] == "x" else (y, theirs)
        who.cancel(numbers[int(name[1])])
        self.assertEqual(worker.take(c.CANCEL), (run, 0, struct.pack("<I", 8)))
        worker.error(run, "BUSY", -4)
        self.fails("CANCELLED", who, numbers[int(name[1])])
        got = worker.take()
        self.assertEqual((got[2]["prompt"], worker.hears_nothing()), ("z2", None))
        for each in [got[0]] + [of for other, of in runs.items() if other != name]:
            worker.complete(each)
        z.wait(number)
        for who, numbers, letter in ((x, mine, "x"), (y, theirs, "y")):
            self.collect(who, [n for i, n in enumerate(numbers) if letter + str(i) != name])

    def test_a_place_given_up_is_not_taken_again(self):
        """Also where who gives it up was served less, and would be next: who comes has fewer places, and gets this one."""
        x, y, z = self.client(), self.client(another=True), self.client(another=True)
        worker = self.loaded(x)
        number = self.ask(z, "z")
        run = worker.take()[0]
        worker.token(run, 1)
        worker.complete(run)
        z.wait(number)
        mine, theirs = ([self.ask(who, name + str(i)) for i in range(4)] for who, name in ((x, "x"), (y, "y")))
        runs = {body["prompt"]: run for run, _, body in (worker.take() for _ in range(8))}
        number = self.ask(z, "z")
        run, _, _ = worker.take(c.CANCEL)
        name = next(name for name, of in runs.items() if of == run)
        worker.error(run, "BUSY", -4)
        got = worker.take()
        self.assertEqual((got[2]["prompt"], worker.hears_nothing()), ("z", None))
        worker.complete(got[0])
        z.wait(number)
        got = worker.take()
        self.assertEqual(got[2]["prompt"], name)
        runs[name] = got[0]
        for run in runs.values():
            worker.complete(run)
        self.collect(x, mine)
        self.collect(y, theirs)

    def test_a_place_that_is_not_given_up(self):
        """What is taken back may just have begun to answer: then it goes on, once, and the next one is asked."""
        x, y = self.client(), self.client(another=True)
        worker = self.loaded(x, parallel=2)
        mine = [self.ask(x, "x"), self.ask(x, "@", kind=c.LOGITS)]
        text, rows = (worker.take()[0] for _ in mine)
        z = self.client(another=True)
        theirs = [self.ask(z, "z%d" % i) for i in range(2)]
        others = [worker.take()[0] for _ in theirs]
        worker.token(others[0], 1)
        worker.token(others[1], 1)
        while z.event().request != theirs[1]:
            pass
        self.ask(y, "y")
        self.assertEqual(worker.take(c.CANCEL), (rows, 0, struct.pack("<I", 4)))
        worker.say(c.DATA, rows, b"12345678")
        self.assertEqual(x.event().data, b"12345678")
        self.assertEqual(worker.take(c.CANCEL), (text, 0, struct.pack("<I", 4)))
        self.ask(y, "y2")
        worker.token(text, 7)
        self.assertEqual(x.event().token, 7)
        x.cancel(mine[0])
        self.assertEqual(worker.take(c.CANCEL), (text, 0, struct.pack("<I", 8)))
        worker.error(text)
        self.fails("CANCELLED", x, mine[0])
        self.assertEqual(worker.take()[2]["prompt"], "y")
        worker.complete(rows)
        self.assertEqual(x.wait(mine[1])["finish_reason"], "stop")
        self.assertEqual(worker.take()[2]["prompt"], "y2")

    def test_a_worker_that_says_nothing_of_parallel_has_one(self):
        x = self.client()
        number = self.ask(x, "first")
        self.ask(x, "second")
        worker = self.s.worker().ready()
        run, _, body = worker.take()
        self.assertEqual((body["prompt"], worker.hears_nothing()), ("first", None))
        worker.complete(run)
        x.wait(number)
        self.assertEqual(worker.take()[2]["prompt"], "second")

    def test_cancel_and_deadline_are_of_one_run(self):
        x = self.client()
        worker = self.loaded(x)
        first, second, third = self.ask(x, "a"), self.ask(x, "b", deadline_ms=300 * SLOW), self.ask(x, "c")
        runs = [worker.take() for _ in range(3)]
        self.assertLess(abs(runs[1][1]["deadline_at"] - runs[1][1]["arrived_at"] - 300 * SLOW), 3)
        x.cancel(first)
        number, _, data = worker.take(c.CANCEL)
        self.assertEqual((number, data), (runs[0][0], struct.pack("<I", 8)))
        worker.error(number)
        self.fails("CANCELLED", x, first)
        number, _, data = worker.take(c.CANCEL)
        self.assertEqual((number, data), (runs[1][0], struct.pack("<I", 9)))
        worker.error(number, "TIMEOUT", -9)
        self.fails("TIMEOUT", x, second)
        worker.complete(runs[2][0])
        x.wait(third)
        y = self.client()
        self.ask(y, "d")
        number = worker.take()[0]
        y.close()
        told = [worker.take(c.CANCEL) for _ in range(2)]    # and that nobody hears its end
        self.assertEqual([(of, data) for of, _, data in told], [(number, struct.pack("<I", why)) for why in (8, 0)])

    def test_who_waits_for_credit_holds_nobody_up(self):
        """Its ten seconds are its own; the worker gives signs of life only for the others."""
        x, y = self.client(), self.client(another=True)
        x.auto_credit = False
        worker = self.loaded(x)
        first = self.ask(x, "@", kind=c.LOGITS)
        run = worker.take()[0]
        for _ in range(4):
            worker.say(c.DATA, run, bytes(60000))
        worker.say(BLOCKED, run, struct.pack("<I", 60000))
        begun = time.monotonic()
        while time.monotonic() - begun < 2:
            number = self.ask(y, "y")
            other = worker.take()[0]
            worker.complete(other)
            y.wait(number)
        x.credit(first, 60000)
        self.assertEqual(worker.take(c.CREDIT), (run, 0, struct.pack("<I", 60000)))
        worker.say(c.DATA, run, bytes(60000))
        worker.complete(run)
        x.wait(first)

    def test_credit_given_while_it_waits(self):
        x = self.client()
        number = self.ask(x)
        x.credit(number, 1000)
        x.wait(x.request(c.STATUS, {}))
        self.assertEqual(self.s.worker().ready(parallel=4).take()[1]["credit"], x.server["credit"] + 1000)

    def test_a_worker_that_breaks_a_rule_is_replaced(self):
        """Wrong ids, too many bytes, choices that are none: the streams of the neighbours go on in the next one."""
        x = self.client()
        worker = self.loaded(x)
        crimes = [
            lambda w, run: w.token(run + 1000, 1), lambda w, run: w.say(c.COMPLETE, run + 1000, c.payload({}, {})),
            lambda w, run: w.token(run, 1, index=16), lambda w, run: w.say(c.TOKEN, run, b"\1\0\0\0\377\0\0\0"),
            lambda w, run: w.say(STATS, 0, {"pages": 1}), lambda w, run: w.say(0x7777, 0),
            lambda w, run: [w.say(c.DATA, run, bytes(60000)) for _ in range(5)],
        ]
        for i, crime in enumerate(crimes):
            number = self.ask(x, "n%d" % i)
            run = worker.take()[0]
            worker.token(run, 7, "a")
            crime(worker, run)
            self.assertEqual(worker.wait(), -9)             # the supervisor was told
            worker = self.s.worker().ready(parallel=4)
            if i == len(crimes) - 1:                        # bytes went out that nobody could go on behind
                self.fails("DIED", x, number)
                break
            self.assertEqual(worker.take(SENT)[2], struct.pack("<I", 7))
            run = worker.take()[0]
            worker.token(run, 8, "b")
            worker.complete(run)
            self.assertEqual(x.answer(number)[0], "ab")
        self.assertEqual(self.status()["restarts"], len(crimes))

    # ---- whose turn it is ----

    def held(self, x, worker):
        """Takes the one place of a worker, so that others wait."""
        number = self.ask(x, "held")
        return number, worker.take()[0]

    def order(self, worker, run, n):
        """In which order the waiting ones are begun, one at a time."""
        prompts = []
        worker.complete(run)
        for _ in range(n):
            run, _, body = worker.take()
            prompts.append(body["prompt"])
            worker.complete(run)
        return prompts

    def test_priority(self):
        x = self.client()
        worker = self.loaded(x, parallel=1)
        _, run = self.held(x, worker)
        for priority in ("low", "normal", "high", "low", "high"):
            self.ask(x, priority, priority=priority)
        self.ask(x, "normal")
        x.wait(x.request(c.STATUS, {}))
        self.assertEqual(self.order(worker, run, 6), ["high", "high", "normal", "normal", "low", "low"])

    def test_fewest_tokens_first(self):
        """Who was served fewer tokens comes first, whatever was asked first; who was away has saved up nothing."""
        x, y = self.client(), self.client(another=True)
        worker = self.loaded(x, parallel=1)
        number, run = self.held(x, worker)
        for i in range(50):
            worker.token(run, i)
        for i in range(3):
            self.ask(x, "x%d" % i)
        x.wait(x.request(c.STATUS, {}))
        for i in range(2):
            self.ask(y, "y%d" % i)
        y.wait(y.request(c.STATUS, {}))
        self.assertEqual(self.order(worker, run, 5), ["y0", "y1", "x0", "x1", "x2"])
        z = self.client(another=True)                       # new: as if it had been there all the time
        number, run = self.held(x, worker)
        for name, who in (("x", x), ("z0", z), ("z1", z), ("z2", z)):
            self.ask(who, name)
            who.wait(who.request(c.STATUS, {}))
        first = self.order(worker, run, 4)
        self.assertLess(first.index("x"), 3, first)

    def test_connections_of_a_process_share_its_turn(self):
        x, y, z = self.client(), self.client(), self.client(another=True)
        worker = self.loaded(x, parallel=1)
        _, run = self.held(z, worker)
        for who, name in ((x, "x0"), (x, "x1"), (x, "x2"), (y, "y0"), (z, "z0"), (z, "z1")):
            self.ask(who, name)
            who.wait(who.request(c.STATUS, {}))
        order = self.order(worker, run, 6)
        self.assertEqual([name[0] for name in order if name[0] != "z"], ["x", "y", "x", "x"], order)
        self.assertLess(order.index("z1"), 4, order)

    def test_measuring_runs_alone(self):
        """BENCH is handed over in its turn; after it nothing is begun until it has ended."""
        x = self.client()
        worker = self.loaded(x)
        first = self.ask(x, "a")
        run = worker.take()[0]
        bench = x.request(c.BENCH, {"model": "m", "pp": [1]})
        second = self.ask(x, "b")
        measured = worker.take()[0]
        self.assertEqual(worker.hears_nothing(), None)
        worker.complete(run)
        x.wait(first)
        self.assertEqual(worker.hears_nothing(), None)
        worker.complete(measured)
        x.wait(bench)
        worker.complete(worker.take()[0])
        x.wait(second)

    # ---- when a worker dies ----

    def test_answers_go_on_in_the_next_worker(self):
        """Killed: all of them at once, with the ids that their clients have; text that was held back is the worker's matter."""
        x, y = self.client(), self.client(another=True)
        worker = self.loaded(x)
        a, b, fresh = self.ask(x, "a", max_tokens=9), self.ask(y, "b", n=2), self.ask(x, "c")
        runs = {body["prompt"]: run for run, _, body in (worker.take() for _ in range(3))}
        for token in range(5):
            worker.token(runs["a"], 100 + token, str(token))
            if token == 2:
                worker.token(runs["a"], c.NO_TOKEN, "two", part=2)       # more text of it; no token
        for token, index in ((1, 0), (2, 1), (3, 1), (c.NO_TOKEN, 1)):
            worker.token(runs["b"], token, "t", index, part=1)
        waiting = self.ask(x, "later", kind=c.TOKENIZE)
        worker.take()
        worker.kill()
        worker = self.s.worker().ready(parallel=4)
        seen = {}
        for _ in range(4):
            sent = {}
            number, flags, data = self.next_sent(worker)
            while number is not None:
                index, ids = (struct.unpack_from("<I", data)[0], data[4:]) if flags & FLAG_INDEX else (None, data)
                sent[index] = list(struct.unpack("<%dI" % (len(ids) // 4), ids))
                last = number
                number, flags, data = self.next_sent(worker)
            run, head, body = self.request_seen
            seen[body["prompt"]] = run
            self.assertEqual(head.get("sent", 0), sum(map(len, sent.values())))
            if sent:
                self.assertEqual(last, run)
            want = {"a": {None: [100, 101, 102, c.NO_TOKEN, 103, 104]}, "b": {0: [1], 1: [2, 3, c.NO_TOKEN]}}
            self.assertEqual(sent, want.get(body["prompt"], {}))
        worker.token(seen["a"], 105, "5")
        for run in seen.values():
            worker.complete(run)
        events = {}
        for who, numbers in ((x, {a, fresh, waiting}), (y, {b})):
            while numbers:
                e = who.event()
                events.setdefault((who, e.request), []).append(e)
                if e.kind == c.COMPLETE:
                    numbers.remove(e.request)
        mine = events[(x, a)]
        self.assertEqual("".join(e.text for e in mine if e.kind == c.TOKEN), "012two345")
        self.assertEqual([e.part for e in mine if e.kind == c.TOKEN], [0, 0, 0, 2, 0, 0, 0])
        self.assertIn({"what": "resumed", "done": 5, "total": 0}, [e.value for e in mine if e.kind == c.PROGRESS])
        self.assertEqual([e[-1].value["usage"]["resumed"] for e in events.values()], [1] * 4)
        self.assertEqual(self.status()["restarts"], 1)

    def next_sent(self, worker):
        kind, number, flags, data = worker.frame()
        if kind == SENT:
            return number, flags, data
        head, body = c.split(data)
        self.request_seen = (number, head, json.loads(body))
        return None, 0, b""

    def test_two_deaths(self):
        x = self.client()
        worker = self.loaded(x)
        number = self.ask(x)
        for _ in range(2):
            worker.take()
            worker.kill()
            worker = self.s.worker().ready(parallel=4)
        self.assertIn("signal 9", str(self.fails("DIED", x, number)))
        self.assertEqual(worker.hears_nothing(), None)

    def test_cancel_and_deadline_between_two_workers(self):
        """Whoever waits for the next worker may leave, or be too late; the line goes on."""
        x = self.client()
        worker = self.loaded(x)
        left, late, stays = self.ask(x, "left"), self.ask(x, "late", deadline_ms=600 * SLOW), self.ask(x, "stays")
        for _ in range(3):
            worker.token(worker.take()[0], 1)
        worker.kill()
        worker = self.s.worker()                            # it loads
        x.cancel(left)
        self.assertEqual(self.fails("CANCELLED", x, left).kind, c.ERROR)
        self.assertEqual(self.fails("TIMEOUT", x, late).kind, c.ERROR)
        worker.ready(parallel=4)
        worker.take(SENT)
        run, _, body = worker.take()
        self.assertEqual(body["prompt"], "stays")
        worker.complete(run)
        x.wait(stays)

    def test_why_it_was_stopped_stays(self):
        """Also when its model goes before the worker has said that it stopped."""
        x = self.client()
        worker = self.loaded(x)
        late = self.ask(x, deadline_ms=200 * SLOW)
        worker.token(worker.take()[0], 1)
        worker.take(c.CANCEL)
        unload = x.request(c.UNLOAD, {"model": "m", "force": True})
        self.assertEqual(self.fails("TIMEOUT", x, late).kind, c.ERROR)
        x.wait(unload)

    def test_credit_left_goes_with_it(self):
        x = self.client()
        x.auto_credit = False
        worker = self.loaded(x)
        number = self.ask(x)
        run = worker.take()[0]
        worker.token(run, 1, "t" * 50000)
        while x.event().kind != c.TOKEN:
            pass
        worker.kill()
        worker = self.s.worker().ready(parallel=4)
        worker.take(SENT)
        run, head, _ = worker.take()
        self.assertEqual(head["credit"], x.server["credit"] - 50008)
        worker.complete(run)
        x.wait(number)

    def test_after_a_crash_one_at_a_time(self):
        """Nobody knows which one it was. Who gets further than before, or ends, is cleared; the one that ends the next worker too
        is the one."""
        x = self.client()
        worker = self.loaded(x)
        numbers = {name: self.ask(x, name) for name in ("good", "bad", "long")}
        for _ in range(3):
            worker.take()
        worker.kill(70)
        worker = self.s.worker().ready(parallel=4)
        run, _, body = worker.take()
        self.assertEqual((body["prompt"], worker.hears_nothing()), ("good", None))
        worker.complete(run)
        self.assertEqual(worker.take()[2]["prompt"], "bad")
        self.assertEqual(worker.hears_nothing(), None)
        worker.kill(70)
        self.assertIn("code 70", str(self.fails("DIED", x, numbers["bad"])))
        worker = self.s.worker().ready(parallel=4)
        run, _, body = worker.take()
        self.assertEqual(body["prompt"], "long")
        other = self.ask(x, "new")
        for i in range(16):
            self.assertEqual(worker.hears_nothing(0.01), None)
            worker.token(run, i)
        fresh, _, body = worker.take()                      # it has come far enough
        self.assertEqual(body["prompt"], "new")
        for number in (run, fresh):
            worker.complete(number)
        self.assertEqual(len(self.collect(x, [numbers["long"], other])[0]), 16)

    def test_a_worker_that_hangs(self):
        """No sign of life for ten seconds: it is ended, and what it had goes on, one at a time."""
        x = self.client()
        worker = self.loaded(x)
        a, b = self.ask(x, "a"), self.ask(x, "b")
        runs = [worker.take()[0] for _ in range(2)]
        begun = time.monotonic()
        worker.token(runs[0], 1)
        self.assertEqual(worker.wait(), -9)
        self.assertTrue(9 < time.monotonic() - begun < 13 * patience())
        worker = self.s.worker().ready(parallel=4)
        worker.take(SENT)
        run, _, body = worker.take()
        self.assertEqual((body["prompt"], worker.hears_nothing()), ("a", None))
        worker.complete(run)
        worker.complete(worker.take()[0])
        self.assertEqual(self.collect(x, [a, b]), ["x", ""])

    def test_a_machine_that_has_too_much_to_do(self):
        """Who gets no processor is not silent: the time that worker or guard waits for one does not count, and other time does."""
        x = self.client()
        worker = self.loaded(x)
        waited = {}
        self.s.waited = lambda: tuple(int(1e9 * waited.get(who, lambda: 0)()) for who in ("worker", "guard"))
        number = self.ask(x, "a")
        run = worker.take()[0]
        for who in ("worker", "guard"):
            waited = {who: time.monotonic}
            worker.token(run, 1)
            time.sleep(11.5)
            self.assertEqual(worker.code, None, who)
        waited = {}
        begun = time.monotonic()
        worker.token(run, 2)
        self.assertEqual(worker.wait(), -9)
        self.assertTrue(9 < time.monotonic() - begun < 13 * patience())
        worker = self.s.worker().ready(parallel=4)
        worker.take(SENT)
        worker.complete(worker.take()[0])
        self.assertEqual(self.collect(x, [number]), ["xxx"])

    def test_a_guard_without_a_processor_when_its_worker_is_stopped(self):
        """The supervisor asks it first, so nobody says for long that the worker ended: the model stays, and the answer goes on."""
        x = self.client()
        worker = self.loaded(x)
        number = self.ask(x, "a")
        run = worker.take()[0]
        worker.token(run, 1)
        self.s.kills = False
        while not self.s.heard.get(protocol.KILL):
            time.sleep(0.1)
        self.s.waited = lambda: (0, int(1e9 * time.monotonic()))
        time.sleep(25)
        self.assertEqual(self.status()["state"], "busy")
        worker.kill()
        worker = self.s.worker().ready(parallel=4)
        worker.take(SENT)
        worker.complete(worker.take()[0])
        self.assertEqual(self.collect(x, [number]), ["x"])

    def test_one_that_nobody_can_end(self):
        """It was stopped and stays, though all have a processor: who waits for it hears of it."""
        x = self.client()
        x.sock.settimeout(60 * SLOW)
        worker = self.loaded(x)
        number = self.ask(x, "a")
        worker.take()
        self.s.kills = False
        begun = time.monotonic()
        self.fails("DIED", x, number)
        self.assertTrue(28 < time.monotonic() - begun < 36 * patience())

    def test_a_pause_of_everything(self):
        """A container that is paused for longer than a worker may be silent, and goes on: nothing has happened."""
        x = self.client()
        worker = self.loaded(x)
        number = self.ask(x, "a")
        run = worker.take()[0]
        worker.token(run, 1)
        os.kill(self.s.broker.pid, signal.SIGSTOP)
        time.sleep(11)
        os.kill(self.s.broker.pid, signal.SIGCONT)
        time.sleep(2)
        worker.token(run, 2)
        worker.complete(run)
        self.assertEqual(self.collect(x, [number]), ["xx"])

    def test_a_worker_that_hangs_while_it_loads(self):
        x = self.client()
        number = self.ask(x)
        worker = self.s.worker()
        worker.say(c.PROGRESS, 0, {"what": "load", "done": 1, "total": 9})
        begun = time.monotonic()
        self.assertEqual(worker.wait(), -9)
        self.assertTrue(9 < time.monotonic() - begun < 13 * patience())
        self.assertIn("hung", str(self.fails("DIED", x, number)))
        number = self.ask(x)                                # the next one is tried again
        worker = self.s.worker_that_lives().ready(parallel=4)
        worker.complete(worker.take()[0])
        x.wait(number)

    def test_killed_while_it_loads_again(self):
        """From outside, so its file is not to blame: a model that was loaded comes back, and with its settings. Who would ask for
        it by its name got another one, with the daemon's."""
        x = self.client()
        self.loaded(x, ctx=77).kill()
        number = self.ask(x)
        for _ in range(3):
            again = self.s.worker()
            self.assertEqual(again.settings["ctx"], 77)
            again.say(c.PROGRESS, 0, {"what": "load", "done": 1, "total": 9})
            again.kill()
        last = self.s.worker().ready(parallel=4)
        last.complete(last.take()[0])
        x.wait(number)
        m = self.status()
        self.assertEqual((m["settings"]["ctx"], m["restarts"]), (77, 4))
        last.kill()
        self.s.worker().kill(-11)                           # but this its file may have done
        y = self.client()
        while y.wait(y.request(c.STATUS, {}))["models"]:
            time.sleep(0.01)
        number = self.ask(x)
        fresh = self.s.worker_that_lives().ready(parallel=4)
        self.assertNotIn("ctx", fresh.settings)
        fresh.complete(fresh.take()[0])
        x.wait(number)

    def test_the_clock_jumps(self):
        """By ten years, forth and back, at every look: deadlines and times are as before."""
        def check():
            year = subprocess.run(["date", "+%Y"], capture_output=True, text=True).stdout
            self.assertGreater(abs(int(year) - time.gmtime().tm_year), 8)
        x = self.start_with(JUMP, check)
        worker = self.loaded(x)
        late, good = self.ask(x, "late", deadline_ms=500), self.ask(x, "good")
        runs = [worker.take() for _ in range(2)]
        begun = time.monotonic()
        worker.take(c.CANCEL)
        self.assertTrue(0.3 < time.monotonic() - begun < 0.7 * SLOW)
        worker.error(runs[0][0], "TIMEOUT", -9)
        self.fails("TIMEOUT", x, late)
        for i in range(5):
            worker.token(runs[1][0], i)
            time.sleep(0.1)
        worker.complete(runs[1][0])
        self.assertEqual(len(x.answer(good)[1]), 5)
        self.assertTrue(0 < self.status()["latency_ms"]["inter_token"]["p99"] < 400 * SLOW)

    def test_who_waits_rises(self):
        """A low request comes after a normal one of another process, but after 30 seconds before the next one."""
        with tempfile.NamedTemporaryFile() as f:
            f.truncate(4096)
            x = self.start_with(AHEAD, VS_AHEAD=f.name)
            with mmap.mmap(f.fileno(), 4096) as page:
                y = self.client(another=True)
                worker = self.loaded(x, parallel=1)
                numbers = [self.ask(x, "first")]
                run, _, body = worker.take()
                self.assertEqual(body["prompt"], "first")
                numbers.append(self.ask(x, "low", priority="low"))
                theirs = [self.ask(y, "normal")]
                self.status()                               # all of it has been read
                worker.complete(run)
                run, head, body = worker.take()
                self.assertEqual((body["prompt"], head["priority"]), ("normal", "normal"))
                for seconds in range(5, 36, 5):             # a worker that is not heard for ten seconds hangs
                    page[:4] = struct.pack("<i", seconds)
                    worker.say(ALIVE)
                    self.status()
                theirs.append(self.ask(y, "later"))
                self.status()
                worker.complete(run)
                for prompt, priority in (("low", "low"), ("later", "normal")):     # the worker counts the wait from its arrival
                    run, head, body = worker.take()
                    self.assertEqual((body["prompt"], head["priority"]), (prompt, priority))
                    worker.complete(run)
                self.collect(x, numbers)
                self.collect(y, theirs)

    def test_the_last_worker(self):
        """The supervisor says that there will be no other: nobody waits for one."""
        x = self.client()
        worker = self.loaded(x)
        number, bench = self.ask(x), x.request(c.BENCH, {"model": "m", "pp": [1]})
        for _ in range(2):
            worker.take()
        model = next(iter(self.s.workers))
        self.s.workers.clear()
        worker.kill(3)
        self.s.say(protocol.EXITED, model, {"error": "DENIED", "code": -12, "message": "no sandbox here", "last": True})
        failed = set()
        for _ in range(2):
            with self.assertRaises(Failure) as f:
                x.event()
            self.assertEqual(f.exception.name, "DENIED")
            failed.add(f.exception.request)
        self.assertEqual(failed, {number, bench})

    def test_the_one_that_ends_two_workers_is_refused(self):
        """By its bytes, until the daemon ends; whatever else is asked is answered."""
        x = self.client()
        worker = self.loaded(x)
        number = self.ask(x, "bad", max_tokens=3)
        for _ in range(2):
            worker.take()
            worker.kill(70)
            worker = self.s.worker().ready(parallel=4)
        self.fails("DIED", x, number)
        y = self.client(another=True)
        self.assertEqual(self.fails("DENIED", y, self.ask(y, "bad", max_tokens=3)).kind, c.REJECTED)
        for other in (self.ask(y, "bad", max_tokens=4), self.ask(y, "bax", max_tokens=3),
                      self.ask(y, "bad", max_tokens=3, kind=c.CHAT)):
            worker.complete(worker.take()[0])
            y.wait(other)
        number = self.ask(x, "killed")                      # two deaths from outside: nobody's fault
        for _ in range(2):
            worker.take()
            worker.kill(-9)
            worker = self.s.worker().ready(parallel=4)
        self.fails("DIED", x, number)
        number = self.ask(x, "killed")
        worker.complete(worker.take()[0])
        x.wait(number)

    def test_a_request_that_crashes_far_from_where_it_was(self):
        """It came further than before, and nobody else was there: so it was the one both times."""
        x = self.client()
        worker = self.loaded(x)
        number = self.ask(x, "bad")
        run = worker.take()[0]
        worker.token(run, 1)
        worker.kill(-11)
        worker = self.s.worker().ready(parallel=4)
        worker.take(SENT)
        run = worker.take()[0]
        for i in range(200):
            worker.token(run, i)
        self.wait_for_tokens(x, 201)
        worker.kill(-11)
        self.fails("DIED", x, number)
        self.fails("DENIED", x, self.ask(x, "bad"))

    def wait_for_tokens(self, x, n):
        while n:
            n -= x.event().kind == c.TOKEN

    def test_nobody_is_blamed_for_another(self):
        """Far behind where the first worker died a second one dies, and others were there: all go on, the one that was there before
        alone until it ends. Ends a third one then, it is known."""
        x = self.client()
        for ends_well in (True, False):
            worker = self.loaded(x, model="m") if ends_well else worker
            old = self.ask(x, "old")
            worker.take()
            worker.kill(-11)
            worker = self.s.worker().ready(parallel=4)
            run = worker.take()[0]
            for i in range(16):
                worker.token(run, i)
            new = self.ask(x, "new")                        # beside one that is cleared
            self.assertEqual(worker.take()[2]["prompt"], "new")
            self.wait_for_tokens(x, 16)
            worker.kill(-11)
            worker = self.s.worker().ready(parallel=4)
            worker.take(SENT)
            run, _, body = worker.take()
            self.assertEqual(body["prompt"], "old")
            for i in range(40):
                worker.token(run, i)
            self.wait_for_tokens(x, 40)
            self.assertEqual(worker.hears_nothing(), None)  # not cleared a second time
            if ends_well:
                worker.complete(run)
                x.wait(old)
            else:
                worker.kill(-11)
                worker = self.s.worker().ready(parallel=4)
                self.fails("DIED", x, old)
            run, _, body = worker.take()
            self.assertEqual(body["prompt"], "new")
            worker.complete(run)
            x.wait(new)
        self.fails("DENIED", x, self.ask(x, "old"))

    # ---- what is measured ----

    def test_what_status_says(self):
        """Numbers of this minute: who runs, waits, is parked; tokens in a second; how long 50, 95 and 99 of 100 waited at most."""
        x = self.client()
        worker = self.loaded(x, parallel=2, threads=3)
        m = self.status()
        self.assertEqual(m["requests"], {"running": 0, "waiting": 0, "parked": 0})
        nothing = {"p50": None, "p95": None, "p99": None}
        self.assertEqual(m["latency_ms"], {"queue": nothing, "first_token": nothing, "inter_token": nothing})
        self.assertEqual((m["tokens_per_second"], m["preemptions"], m["restarts"]), ({"prompt": 0, "generated": 0}, 0, 0))
        self.assertEqual(m["settings"], {"threads": 3, "parallel": 2})      # what was given, and what the worker says
        y = self.client(another=True)
        numbers = [self.ask(x) for _ in range(3)]
        runs = [worker.take()[0] for _ in range(2)]
        self.ask(y)
        runs.append(worker.take()[0])
        worker.say(STATS, 0, {"pages": 100, "used": 9, "cached": 30, "page_bytes": 4096, "parked": 1, "preemptions": 2,
                              "prompt_tokens": 12})
        worker.token(runs[0], 1)
        while x.event().kind != c.TOKEN:
            pass
        m = self.status()
        self.assertEqual(m["requests"], {"running": 2, "waiting": 1, "parked": 1})
        self.assertEqual(m["kv"], {"pages": 100, "used": 9, "cached": 30, "page_bytes": 4096})
        self.assertEqual(m["preemptions"], 2)
        for i in range(20):
            time.sleep(0.05)
            worker.token(runs[0], i)
        for run in runs:
            worker.complete(run)
        worker.complete(worker.take()[0])
        self.collect(x, numbers)
        time.sleep(1.1)                                     # seconds that are over count
        m = self.status()
        self.assertAlmostEqual(m["tokens_per_second"]["generated"], 21 / 8)
        self.assertAlmostEqual(m["tokens_per_second"]["prompt"], 12 / 8)
        gap = m["latency_ms"]["inter_token"]
        self.assertTrue(40 < gap["p50"] < 80 * SLOW and gap["p50"] <= gap["p95"] <= gap["p99"], gap)
        self.assertTrue(all(0 <= m["latency_ms"][k]["p50"] < 500 * SLOW for k in ("queue", "first_token")), m["latency_ms"])

    def test_those_that_the_worker_has_wait_too(self):
        """--queue counts all that wait: here and in the worker, which has more than it answers at a time so that it can choose."""
        for queue, in_worker in ((1, 2), (3, 3), (4, 4), (9, 4)):
            self.s.end()
            self.s = Supervisor(serve={"queue": queue})
            self.s.add("m")
            x, y = self.client(), self.client(another=True)
            worker = self.loaded(x, parallel=2)
            for _ in range(2):
                self.ask(x)
            x.wait(x.request(c.STATUS, {}))
            numbers = [self.ask(y) for _ in range(queue)]
            y.wait(y.request(c.STATUS, {}))
            runs = [worker.take()[0] for _ in range(in_worker)]
            self.assertEqual((self.status()["requests"], self.status()["queued"]),
                             ({"running": 2, "waiting": queue, "parked": 0}, 2 + queue - in_worker), queue)
            self.fails("BUSY", y, self.ask(y))
            if queue > 3:                                   # y has most of those that wait here, and gives one up
                self.ask(x)
                self.fails("BUSY", y, numbers[-1])
                self.assertEqual(self.status()["requests"]["waiting"], queue)
            worker.complete(runs[0])
            self.assertEqual(self.status()["requests"]["waiting"], queue - 1)

    def test_busy_says_when_to_come_again(self):
        """From how many wait and how fast they are served; nothing known: a second."""
        x = self.client()
        worker = self.loaded(x, parallel=1)
        _, run = self.held(x, worker)

        def fill(who, n):
            for _ in range(n):
                self.ask(who)
            who.wait(who.request(c.STATUS, {}))
        y, z = self.client(), self.client()
        fill(x, 127)
        fill(y, 128)
        fill(z, 1)
        number = self.ask(z)                                # y has most of them: it gives one up
        kind, _, _, data = y.frame()
        error = c.split(data)[0]["error"]
        self.assertEqual((kind, error["name"], error["retry_after_ms"]), (c.REJECTED, "BUSY", 1000))
        begun = time.monotonic()
        for _ in range(100):
            worker.complete(run)
            run, _, _ = worker.take()
        w = self.client()
        for _ in range(128):
            self.ask(w)
        took = time.monotonic() - begun
        found = []
        for who in (x, y, z, w):
            who.sock.settimeout(0.5 * SLOW)
            try:
                while True:
                    kind, _, _, data = who.frame()
                    if kind == c.REJECTED:
                        found.append(c.split(data)[0]["error"]["retry_after_ms"])
            except TimeoutError:
                pass
        self.assertEqual(len(found), 156 + 128 - 256)
        for ms in found:                                    # 257 wait, a hundred were served since it began
            self.assertTrue(0.9 * 2570 <= ms <= 257 * max(10, 10 * took) * 1.1, (ms, took))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[3:])
