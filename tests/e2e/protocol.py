"""The protocol through the real broker and the real worker's frame loop, locked in; the model is an echo
(support/service_echo.c) and the supervisor this file, so that every fault can be made. Arguments: broker, worker."""
import array
import json
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
from client import Client, Closed, Failure
from processes import patience, place

BROKER, WORKER = sys.argv[1:3]


def digest(content):
    """What the echo says instead of its file's digest: results carry the worker's, not the supervisor's."""
    return str(content[0] % 10) * 64


FAILED, START, STOP, STARTED, EXITED, MODELS, END, DRAIN, KILL = 0x61, *range(0x70, 0x78)    # the control link
ALIAS, WAITED = 0x83, 0x84


class Supervisor(threading.Thread):
    """As much of `veritas serve` as these tests need."""

    def __init__(self, private=None, serve=None):
        super().__init__(daemon=True)
        self.dir = tempfile.TemporaryDirectory()
        self.path = self.dir.name + "/v.sock"
        self.listen = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listen.bind(self.path)
        self.listen.listen(100)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.saying = threading.Lock()
        fds = {4: theirs.fileno()}
        fds.update({5: private.fileno()} if private else {3: self.listen.fileno()})
        if serve:                               # settings of the daemon
            memory = os.memfd_create("serve")
            os.write(memory, json.dumps(serve).encode())
            fds[6] = memory
        self.log = tempfile.TemporaryFile()
        self.broker = subprocess.Popen([BROKER], preexec_fn=place(fds), close_fds=False, stderr=self.log,
                                       stdout=subprocess.DEVNULL)
        theirs.close()
        self.listen.close()
        self.workers, self.models, self.shutdowns, self.heard, self.last, self.answers = {}, {}, 0, {}, {}, True
        self.kills = True                       # at once; else the test does
        self.asked = queue.Queue()              # ALIAS: the number and the question, which the test answers
        self.say(c.HELLO, 0)
        self.start()

    def say(self, kind, number, message=b"", fds=()):
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        frame = c.HEADER.pack(len(data), kind, 1 if fds else 0, number) + data
        try:
            with self.saying:
                frame = frame[socket.send_fds(self.control, [frame], fds):]
                self.control.sendall(frame)
        except OSError:
            pass

    def launch(self, number, model, settings, file):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        memory = os.memfd_create("settings")
        os.write(memory, json.dumps(settings).encode())
        words = os.memfd_create("words")
        os.ftruncate(words, 4096)
        worker = subprocess.Popen([WORKER], preexec_fn=place({3: theirs.fileno(), 4: file, 5: words, 6: memory}),
                                  close_fds=False, stderr=self.log, stdout=subprocess.DEVNULL)
        for fd in (memory, words):
            os.close(fd)
        theirs.close()
        self.say(STARTED, number, {"pid": worker.pid, "path": model, "bytes": os.fstat(file).st_size}, [ours.fileno()])
        ours.close()
        return worker

    def keep(self, number, *what):
        """One thread for each worker, as long as that lives: a worker ends with the thread that started it."""
        self.workers[number] = worker = self.launch(number, *what)
        while True:
            code = worker.wait()
            if self.workers.get(number) is not worker:
                return
            why = "worker killed by signal %d" % -code if code < 0 else "worker ended with code %d" % code
            self.say(EXITED, number, {"error": "DIED", "code": -10, "message": why, "sigkill": code == -9})
            time.sleep(0.1)
            if self.workers.get(number) is not worker:
                return
            self.workers[number] = worker = self.launch(number, *what)

    def frames(self):
        data, waiting = b"", []
        while True:
            while len(data) < 16 or len(data) < 16 + c.HEADER.unpack(data[:16])[0]:
                try:
                    more, fds, _, _ = socket.recv_fds(self.control, 65536, 4)
                except OSError:
                    return
                if not more:
                    return
                data += more
                waiting += fds
            n, kind, flags, number = c.HEADER.unpack(data[:16])
            yield kind, number, data[16:16 + n], waiting.pop(0) if flags & 1 else None
            data = data[16 + n:]

    def run(self):
        for kind, number, payload, file in self.frames():
            self.heard[kind] = self.heard.get(kind, 0) + 1
            self.last[kind] = number
            if kind == START:
                m = json.loads(payload)
                name = m["model"]
                if file is None and name in self.models:
                    file = os.open(self.models[name], os.O_RDONLY)
                elif file is None:
                    self.say(FAILED, number, {"error": "NOT_FOUND", "code": -7, "message": "no model " + name})
                    continue
                threading.Thread(target=self.keep, args=(number, name, m["settings"], file), daemon=True).start()
            elif kind == STOP:
                worker = self.workers.pop(number, None)
                if worker:
                    worker.kill()
            elif kind == KILL and self.kills:
                self.workers[number].kill()
            elif kind == MODELS and self.answers:
                self.say(MODELS, number, {"models": [{"name": n} for n in sorted(self.models)]})
            elif kind == ALIAS:
                self.asked.put((number, json.loads(payload)))
            elif kind == WAITED:
                self.say(WAITED, number, struct.pack("<QQ", *self.waited()))
            elif kind == END:
                self.shutdowns += 1

    def waited(self):
        """For how many ns worker and guard had no processor."""
        return 0, 0

    def add(self, name, content=b"model"):
        path = "%s/%s.gguf" % (self.dir.name, name)
        with open(path, "wb") as f:
            f.write(content)
        self.models[name] = path
        return path

    def end(self):
        workers, self.workers = self.workers, {}
        for worker in workers.values():
            worker.kill()
        self.broker.kill()
        self.broker.wait()
        self.control.close()
        self.log.close()
        self.dir.cleanup()


class Protocol(unittest.TestCase):
    def setUp(self):
        self.s = Supervisor()
        self.s.add("echo")
        self.s.add("other", b"model 2")
        self.open = []

    def tearDown(self):
        for x in self.open:
            x.close()
        alive = self.s.broker.poll() is None
        self.s.end()
        self.assertTrue(alive, "the broker died")

    def client(self, **more):
        x = Client(self.s.path, **more)
        x.sock.settimeout(20)
        self.open.append(x)
        return x

    def fails(self, name, call, *args, kind=None):
        with self.assertRaises(Failure) as f:
            call(*args)
        self.assertEqual(f.exception.name, name, str(f.exception))
        if kind:
            self.assertEqual(f.exception.kind, kind)
        return str(f.exception)

    def closes(self, x, name):
        """ERROR of request 0, then the end."""
        text = self.fails(name, x.event, kind=c.ERROR)
        with self.assertRaises(Closed):
            x.event()
        return text

    def test_answer(self):
        x = self.client()
        self.assertEqual(x.server["protocol"], 2)
        text, tokens, result = x.answer(x.request(c.GENERATE, {"model": "echo", "prompt": "hello \0 world"}))
        self.assertEqual((text, tokens), ("hello \0 world", list(b"hello \0 world")))
        self.assertEqual((result["finish_reason"], result["usage"]),
                         ("stop", dict(prompt_tokens=13, completion_tokens=13, cached_tokens=0,
            drafted_tokens=0, accepted_tokens=0, recomputed_tokens=0, resumed=0)))
        self.assertNotIn("text", result)            # an answer is sent once
        self.assertEqual(result["model_digest"], digest(b"model"))

    def test_hello(self):
        x = self.client(hello=False)
        x.send(c.HELLO, 0, {"protocol": 3, "client": "future"})
        self.assertIn("protocol 2", self.closes(x, "PROTOCOL"))
        x = self.client(hello=False)                # who speaks version 1 is told in the words of version 1
        x.send(c.HELLO, 0, {"protocol": 1, "client": "past"})
        kind, _, number, data = x.frame()
        old = json.loads(data)
        self.assertEqual((kind, number, old["error"], old["code"]), (c.ERROR, 0, "PROTOCOL", -14))
        self.assertEqual(old["message"], "protocol 1 is not spoken here; protocol 2 is")
        with self.assertRaises(Closed):
            x.frame()
        x = self.client(hello=False)
        x.send(c.STATUS, 1, c.payload({}))
        self.assertIn("not allowed", self.closes(x, "PROTOCOL"))
        x = self.client()
        x.send(c.HELLO, 0, {"protocol": 2})
        self.closes(x, "PROTOCOL")
        x = self.client(hello=False)                # all of JSON is JSON, in a key that nobody reads too
        x.send(c.HELLO, 0, b'{"protocol":2,"x":1e400,"y":[18446744073709551616,"\\u0000"],"\\u0000":1}')
        self.assertEqual(x.frame()[0], c.HELLO)

    def test_bad_frames(self):
        for header, payload, name in [
            ((0, 0x7777, 0, 1), b"", "PROTOCOL"), ((0, c.TOKEN, 0, 1), b"", "PROTOCOL"),
            ((2 ** 32 - 1, c.GENERATE, 0, 1), b"", "LIMIT"), ((4 + 4096 + 16 * 2 ** 20 + 1, c.CHAT, 0, 1), b"", "LIMIT"),
            ((4101, c.STATUS, 0, 1), b"", "LIMIT"), ((6, c.STATUS, 4, 1), b"\2\0\0\0{}", "PROTOCOL"),
            ((6, c.LOAD, 1, 1), b"\2\0\0\0{}", "PROTOCOL"), ((6, c.STATUS, 0, 0), b"\2\0\0\0{}", "PROTOCOL"),
            ((6, c.GENERATE, 0, 1), b"\2\0\0\0{]", "MALFORMED"), ((6, c.GENERATE, 0, 1), b"\2\0\0\0[]", "MALFORMED"),
            ((13, c.GENERATE, 0, 1), b'\11\0\0\0{"a":"\xff"}', "MALFORMED"), ((5, c.STATUS, 0, 1), b"\1\0\0\0{", "PROTOCOL"),
            ((6, c.STATUS, 0, 1), b"\3\0\0\0{}", "PROTOCOL"), ((6, c.STATUS, 0, 1), b"\377\377\377\377{}", "PROTOCOL"),
            ((5000, c.GENERATE, 0, 1), b"\1\20\0\0" + b"{" + b" " * 4994 + b"}", "PROTOCOL"),
            ((6, c.CHAT, 0, 1), b"\0\0\0\0{}", "MALFORMED"),
            ((4, c.CREDIT, 0, 1), b"\0\0\0\0", "PROTOCOL"), ((4, c.CREDIT, 0, 0), b"\1\0\0\0", "PROTOCOL"),
        ]:
            x = self.client()
            x.sock.sendall(c.HEADER.pack(*header) + payload)
            self.closes(x, name)
        x = self.client()
        null = os.open("/dev/null", os.O_RDONLY)
        x.sock.sendmsg([c.HEADER.pack(6, c.STATUS, 0, 1) + b"\2\0\0\0{}"],
                       [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null]))])
        os.close(null)
        self.closes(x, "PROTOCOL")
        self.assertIn("models", (y := self.client()).wait(y.request(c.STATUS, {})))

    def test_half_a_frame(self):
        x, quiet = self.client(), self.client(hello=False)
        x.sock.sendall(c.HEADER.pack(100, c.GENERATE, 0, 1) + b"\2")
        start = time.monotonic()
        self.closes(x, "TIMEOUT")
        self.assertTrue(9 < time.monotonic() - start < 13)
        self.closes(quiet, "TIMEOUT")

    def test_rejections(self):
        x = self.client()
        ask = lambda kind, **v: x.wait(x.request(kind, v))
        for name, kind, value in [
            ("NOT_FOUND", c.GENERATE, {"model": "absent"}), ("NOT_FOUND", c.GENERATE, {"model": "../x"}),
            ("NOT_FOUND", c.GENERATE, {"model": "/etc/passwd"}), ("INVALID", c.GENERATE, {}),
            ("INVALID", c.GENERATE, {"model": "echo", "deadline_ms": 0}), ("INVALID", c.GENERATE, {"model": "echo", "trace": "x"}),
            ("INVALID", c.GENERATE, {"model": 3}), ("INVALID", c.GENERATE, {"model": "echo"}),
            ("INVALID", c.STATUS, {"model": "echo"}), ("INVALID", c.GENERATE, {"model": "echo", "force": True}),
            ("INVALID", c.STATUS, {"body": 1}), ("INVALID", c.GENERATE, {"model": "echo", "deadline_ms": 10 ** 30}),
            ("INVALID", c.LOAD, {"model": "echo", "settings": []}), ("INVALID", c.UNLOAD, {"model": "echo", "force": 1}),
            ("INVALID", c.LOAD, {"model": "echo", "settings": {"what": 1}}), ("NOT_FOUND", c.UNLOAD, {"model": "absent"}),
        ]:
            self.fails(name, lambda: ask(kind, **value), kind=c.REJECTED)
        def raw(kind, envelope, body=b""):
            x.last_id += 1
            x.send(kind, x.last_id, struct.pack("<I", len(envelope)) + envelope + body)
            return x.wait(x.last_id)
        for name, envelope, body in [
            ("INVALID", b'{"model":"echo","a\\u0000b":1}', b"{}"), ("INVALID", b'{"model":"echo","deadline_ms":1e400}', b"{}"),
            ("INVALID", b'{"model":"echo","priority":18446744073709551616}', b"{}"), ("LIMIT", b"{\"a\":" + b"[" * 4000, b"{}"),
            ("MALFORMED", b'{"model":"echo"}', b"{]"), ("MALFORMED", b'{"model":"echo"}', b"[]"),
            ("INVALID", b'{"model":"echo"}', b""),
            ("MALFORMED", b'{"model":"echo"}', b'{"a":"\xff"}'), ("MALFORMED", b'{"model":"echo"}', b'{"a":1,"a":2}'),
            ("LIMIT", b'{"model":"echo"}', b'{"a":' + b"[" * 100000), ("INVALID", b'{"model":"echo"}', b'{"prompt":1e400}'),
        ]:
            self.fails(name, lambda: raw(c.GENERATE, envelope, body), kind=None)
        for envelope, said in (
                (b'{"model":"echo","prioriti":"low"}', "prioriti is not a key of this request's envelope; did you mean priority?"),
                (b'{"model":"echo","flavour":1}', "flavour is not a key of this request's envelope")):
            self.assertEqual(self.fails("INVALID", lambda: raw(c.GENERATE, envelope, b"{}")), said)
        self.assertEqual(raw(c.GENERATE, b'{"model":"echo","priority":null,"deadline_ms":null,"trace":null,"receipt":null}',
                             b'{"prompt":"on","n":null}')["n"], 2)      # a null counts as absent
        self.assertEqual(raw(c.GENERATE, b'{"model":"echo"}',
                             b'{"prompt":"on","x":[1e400,-1e400,18446744073709551616],"\\u0000":"\\u0000"}')["n"], 2)
        ask(c.LOAD, model="other", settings={"threads": 2})
        ask(c.LOAD, model="other", settings={"threads": 2})
        ask(c.LOAD, model="other")
        self.assertIn("other settings", self.fails("INVALID", lambda: ask(c.LOAD, model="other", settings={"threads": 1})))
        self.s.add("broken", b"X")
        self.assertIn("echo model", self.fails("MALFORMED", lambda: ask(c.GENERATE, model="broken", prompt="a")))

    def test_load_by_descriptor(self):
        x = self.client()
        path = self.s.dir.name + "/mine"
        for content in (b"first", b"second"):       # a replaced file is another model
            with open(path + ".new", "wb") as f:
                f.write(content)
            os.rename(path + ".new", path)
            for _ in range(2):
                x.load_path(path)
            _, result = x.text(c.GENERATE, {"model": path, "prompt": "p"})
            self.assertEqual(result["model_digest"], digest(content))
        names = [m["name"] for m in x.wait(x.request(c.LIST, {}))["models"]]
        self.assertEqual(names, ["echo", "other", path])
        x.wait(x.request(c.UNLOAD, {"model": path}))
        self.fails("NOT_FOUND", lambda: x.text(c.GENERATE, {"model": path, "prompt": "p"}))

    def test_two_clients_share(self):
        x, y = self.client(), self.client()
        ids = [(z, z.request(c.GENERATE, {"model": "echo", "prompt": "p%d" % i})) for i in range(20) for z in (x, y)]
        for i, (z, number) in enumerate(ids):
            self.assertEqual(z.answer(number)[0], "p%d" % (i // 2))

    def test_queue_is_bounded(self):
        x = self.client()
        x.request(c.GENERATE, {"model": "echo", "prompt": "@slow 100"})
        while x.event().kind != c.TOKEN:        # it runs: none of the places in the queue is its own
            pass
        y, z = self.client(), self.client()
        waiting = {}
        for who, n in ((x, 127), (y, 128), (z, 2)):     # 256 wait; the connection that has most of them gives one up
            waiting[who] = [who.request(c.GENERATE, {"model": "echo", "prompt": "q"}) for _ in range(n)]
            who.wait(who.request(c.STATUS, {}))
        self.fails("BUSY", y.wait, waiting[y][-1], kind=c.REJECTED)
        for who, last in ((x, -1), (y, -2), (z, -1)):
            who.wait(waiting[who][last])

    def test_cancel(self):
        x = self.client()
        slow = x.request(c.GENERATE, {"model": "echo", "prompt": "@slow 1000"})
        while x.event().kind != c.TOKEN:
            pass
        queued = x.request(c.GENERATE, {"model": "echo", "prompt": "q"})
        x.cancel(queued)
        self.fails("CANCELLED", x.wait, queued, kind=c.REJECTED)
        x.cancel(slow)
        self.fails("CANCELLED", x.wait, slow, kind=c.ERROR)
        x.cancel(slow)
        x.cancel(999)
        self.assertEqual(x.text(c.GENERATE, {"model": "echo", "prompt": "on"})[0], "on")
        y = self.client()                           # closing cancels
        y.request(c.GENERATE, {"model": "echo", "prompt": "@slow 1000"})
        while y.event().kind != c.TOKEN:
            pass
        y.close()
        start = time.monotonic()
        x.text(c.GENERATE, {"model": "echo", "prompt": "on"})
        self.assertLess(time.monotonic() - start, 1 * patience())

    def test_deadline(self):
        x = self.client()
        start = time.monotonic()
        slow = x.request(c.GENERATE, {"model": "echo", "prompt": "@slow 1000", "deadline_ms": 600})
        queued = x.request(c.GENERATE, {"model": "echo", "prompt": "q", "deadline_ms": 200})
        self.fails("TIMEOUT", x.wait, queued, kind=c.REJECTED)
        self.fails("TIMEOUT", x.wait, slow, kind=c.ERROR)
        self.assertLess(time.monotonic() - start, 1.5 * patience())

    def test_bulk(self):
        x = self.client()
        n = 20 * 1000 * 1000
        got = sum(len(e.data) for e in x.events(x.request(c.LOGITS, {"model": "echo", "prompt": "@flood %d" % n}))
                  if e.kind == c.DATA)
        self.assertEqual(got, n)

    def test_slow_reader(self):
        bad, good = self.client(), self.client()
        bad.auto_credit = False
        number = bad.request(c.LOGITS, {"model": "echo", "prompt": "@flood 100000000"})
        while bad.event().kind != c.DATA:
            pass
        start = time.monotonic()                    # another waits: the one that takes nothing has a second
        self.assertEqual(good.text(c.GENERATE, {"model": "echo", "prompt": "on"})[0], "on")
        self.assertLess(time.monotonic() - start, 3 * patience())
        self.fails("LIMIT", bad.wait, number, kind=c.ERROR)
        with open("/proc/%d/status" % self.s.broker.pid) as f:
            rss = next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
        self.assertLess(rss, 32 * 1024)
        number = bad.request(c.GENERATE, {"model": "echo", "prompt": "@slow 500"})
        bad.credit(number, 1 << 20)
        self.closes_after_tokens(bad, "PROTOCOL")

    def closes_after_tokens(self, x, name):
        with self.assertRaises(Failure) as f:
            while True:
                x.event()
        self.assertEqual((f.exception.name, f.exception.request), (name, 0))

    def worker_of(self, x, name):
        return next(m for m in x.wait(x.request(c.STATUS, {}))["models"] if m["name"] == name)

    def test_killed_worker(self):
        x, y = self.client(), self.client()
        other = y.request(c.GENERATE, {"model": "other", "prompt": "@slow 150"})
        number = x.request(c.GENERATE, {"model": "echo", "prompt": "@slow 1000"})
        queued = x.request(c.GENERATE, {"model": "echo", "prompt": "later"})
        while x.event().kind != c.TOKEN:
            pass
        os.kill(self.worker_of(self.client(), "echo")["pid"], signal.SIGKILL)
        start = time.monotonic()
        self.assertIn("signal 9", self.fails("DIED", x.wait, number, kind=c.ERROR))
        self.assertLess(time.monotonic() - start, 1 * patience())
        self.assertEqual(x.answer(queued)[0], "later")   # it had not begun: the next worker takes it
        y.wait(other)
        self.assertEqual(self.worker_of(x, "echo")["restarts"], 1)
        self.fails("DIED", lambda: x.text(c.GENERATE, {"model": "echo", "prompt": "@crash"}), kind=c.ERROR)
        self.assertEqual(x.text(c.GENERATE, {"model": "echo", "prompt": "on"})[0], "on")

    def test_locked_in(self):
        x = self.client()
        self.fails("DIED", lambda: x.text(c.GENERATE, {"model": "echo", "prompt": "@open"}))
        self.assertGreaterEqual(self.worker_of(x, "echo")["sandbox"]["level"], 2)

    def test_hung_worker(self):
        x = self.client()
        number = x.request(c.GENERATE, {"model": "echo", "prompt": "@hang", "deadline_ms": 300})
        start = time.monotonic()
        self.fails("TIMEOUT", x.wait, number, kind=c.ERROR)
        self.assertLess(time.monotonic() - start, 7 * patience())

    def test_many_lists_are_one_question(self):
        self.s.answers = False
        x = self.client()
        numbers = [x.request(c.LIST, {}) for _ in range(100)]
        x.wait(x.request(c.STATUS, {}))                         # read after all of them
        end = time.monotonic() + 5
        while not self.s.heard.get(MODELS) and time.monotonic() < end:      # the played supervisor is a thread of its own
            time.sleep(0.01)
        self.assertEqual(self.s.heard.get(MODELS), 1)
        self.s.say(MODELS, 999999, {"models": []})              # the answer to no question
        for _ in range(2):                                      # the first question, then the one for those who came after it
            self.s.say(MODELS, self.s.last[MODELS], {"models": [{"name": "m"}]})
            time.sleep(0.2)
        for number in numbers:
            self.assertEqual([m["name"] for m in x.wait(number)["models"]], ["m"])
        self.assertLessEqual(self.s.heard[MODELS], 2)

    def test_what_a_supervisor_never_says(self):
        """An unknown type, JSON that is none, a message for the other side: the broker ends."""
        for kind, number, data in ((0x7f, 0, b""), (START, 1, b"{}"), (FAILED, 1, b"[1"), (EXITED, 1, b""), (DRAIN, 5, bytes(4))):
            s = Supervisor()
            try:
                c.Client(s.path).close()
                s.say(kind, number, data)
                self.assertEqual(s.broker.wait(5), 0, (kind, data))
            finally:
                s.end()

    def test_stopped_worker(self):
        """One that is held up and never cancelled: its request ends, those that wait go on, other models notice nothing."""
        x, y = self.client(), self.client()
        number = x.request(c.GENERATE, {"model": "echo", "prompt": "@slow 5000"})
        while x.event().kind != c.TOKEN:
            pass
        queued = x.request(c.GENERATE, {"model": "echo", "prompt": "later"})
        os.kill(self.worker_of(self.client(), "echo")["pid"], signal.SIGSTOP)
        start = time.monotonic()
        self.assertEqual(y.text(c.GENERATE, {"model": "other", "prompt": "on"})[0], "on")
        self.assertIn("no sign of life", self.fails("DIED", x.wait, number, kind=c.ERROR))
        self.assertTrue(8 < time.monotonic() - start < 13)
        self.assertEqual(x.answer(queued)[0], "later")
        self.assertEqual(self.worker_of(x, "echo")["restarts"], 1)
        number = x.request(c.GENERATE, {"model": "echo", "prompt": "@work 12"})     # no word, but it works
        self.assertEqual(x.wait(number)["n"], 12)
        os.kill(self.worker_of(self.client(), "echo")["pid"], signal.SIGSTOP)       # idle: noticed by the next request
        number = x.request(c.GENERATE, {"model": "echo", "prompt": "first"})
        queued = x.request(c.GENERATE, {"model": "echo", "prompt": "second"})
        self.assertEqual([x.answer(n)[0] for n in (number, queued)], ["first", "second"])     # nothing was lost

    def test_drain_and_shutdown(self):
        x = self.client()
        number = x.request(c.GENERATE, {"model": "echo", "prompt": "@slow 50"})
        while x.event().kind != c.TOKEN:
            pass
        x.request(c.SHUTDOWN, {})
        self.s.say(DRAIN, 0, struct.pack("<I", 60000))
        late = self.client()
        self.assertTrue(late.wait(late.request(c.STATUS, {}))["models"])
        while True:                             # the broker may not have heard of it yet
            try:
                late.text(c.GENERATE, {"model": "other", "prompt": "late"})
            except c.Failure as f:
                self.assertEqual((f.name, f.kind), ("BUSY", c.REJECTED))
                break
        late.close()
        x.wait(number)
        self.assertEqual(self.s.broker.wait(20), 0)
        self.s.join(20)                         # it has read all that the broker said
        self.assertGreaterEqual(self.s.shutdowns, 1)
        self.s.broker = subprocess.Popen(["sleep", "60"])


class Private(unittest.TestCase):
    def test_private(self):
        ours, theirs = socket.socketpair()
        s = Supervisor(private=theirs)
        theirs.close()
        s.add("echo")
        x = Client(sock=ours)
        self.assertEqual(x.text(c.GENERATE, {"model": "echo", "prompt": "a"})[0], "a")
        self.assertTrue(x.wait(x.request(c.STATUS, {}))["private"])
        x.close()
        self.assertEqual(s.broker.wait(1), 0)
        s.end()


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[3:])
