"""One client against the others: each attack runs for a while beside an honest client, whose STATUS must be answered within 100 ms
and whose answers must be whole. Attackers are processes of their own and go as fast as they can.

usage: attacks.py BROKER WORKER_ECHO BIN SECONDS [JOBS | unittest's words]: the broker with the echo worker; for a part BIN/veritas
with a tiny model. JOBS: so many at once. attacks.py ATTACK SOCKET MODEL is one attacker."""
import array
import itertools
import os
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
from processes import child

LOST = (Closed, Failure, OSError)
FOR_EVER = itertools.count


def connect(path, name="attacker"):
    x = Client(path, name=name)
    x.sock.settimeout(5)
    return x


def drain(sock):
    """Takes what is there."""
    sock.setblocking(False)
    try:
        while sock.recv(1 << 20):
            pass
    except OSError:
        pass
    sock.settimeout(5)


def again(attack):
    """The attack again and again: whatever the daemon does about it."""
    def run(path, model):
        for _ in FOR_EVER():
            try:
                attack(path, model)
            except LOST:
                time.sleep(0.01)
    return run


# ---- the attacks ----

def no_credit(path, model):
    """Takes nothing, and gives a byte of credit again and again, so that the stall limit never comes."""
    x = connect(path)
    number = x.request(c.LOGITS, {"model": model, "prompt": "@flood 100000000"})
    for _ in range(3000):
        x.credit(number, 1)
        time.sleep(0.005)
        drain(x.sock)
    x.close()


def lists(path, model):
    """More LISTs than the supervisor can answer."""
    x = connect(path)
    for _ in range(200):
        x.sock.sendall(b"".join(c.HEADER.pack(6, c.LIST, 0, x.last_id + i) + c.payload({}) for i in range(1, 101)))
        x.last_id += 100
        drain(x.sock)
    x.close()


def million_keys(path, model):
    """JSON that takes long to read, in a body and in an envelope."""
    x = connect(path)
    keys = b"{" + b",".join(b'"%x":0' % i for i in range(1000000)) + b"}"
    head = c.payload({"model": model})
    x.sock.sendall(c.HEADER.pack(len(head) + len(keys), c.GENERATE, 0, 1) + head + keys)
    few = b"{" + b",".join(b'"%x":0' % i for i in range(450)) + b"}"
    for i in range(2, 100):
        x.sock.sendall(c.HEADER.pack(4 + len(few), c.STATUS, 0, i) + struct.pack("<I", len(few)) + few)
    for _ in range(99):
        try:
            x.event()
        except Failure:
            pass
    x.close()


def descriptors(path, model):
    """Descriptors that no LOAD claims, on many connections, and before frames that never end."""
    held = []
    null = os.open("/dev/null", os.O_RDONLY)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null] * 1))]
    many = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null] * 200))]
    try:
        for i in range(40):
            x = connect(path)
            x.sock.sendmsg([c.HEADER.pack(100, c.LOAD, c.FLAG_FD, 1)[:1 + i % 16]], rights if i % 3 else many)
            held.append(x)
        time.sleep(0.2)
    finally:
        os.close(null)
        for x in held:
            x.close()


def half_frames(path, model):
    """16 MiB announced and all but the last byte sent, on as many connections as there are."""
    held = []
    block = bytes(1 << 20)
    try:
        for _ in range(60):
            x = connect(path)
            x.sock.settimeout(0.5)
            held.append(x)
            x.sock.sendall(c.HEADER.pack(16 << 20, c.CHAT, 0, 1) + c.payload({"model": model}) + block * 15)
        time.sleep(3)
    finally:
        for x in held:
            x.close()


def idle(path, model):
    """All places for connections, and nothing said; half of them not even HELLO."""
    held = []
    for i in FOR_EVER():
        try:
            x = Client(path, hello=i % 2 == 0)
            x.sock.settimeout(5)
            held.append(x)
        except LOST:
            time.sleep(0.001)
        if len(held) > 200:
            held.pop(0).close()


def unread_status(path, model):
    """Asks and never reads."""
    x = connect(path)
    x.sock.settimeout(2)
    for i in range(1, 20000):
        x.sock.sendall(b"".join(c.HEADER.pack(6, c.STATUS, 0, 100 * i + k) + c.payload({}) for k in range(100)))


def unread_answers(path, model):
    """Gives credit without having read, for as many requests as may be."""
    x = connect(path)
    x.sock.settimeout(1)
    for i in range(1, 120):
        x.send(c.LOGITS, i, c.payload({"model": model}, {"prompt": "@flood 50000000"}))
        x.credit(i, 700000)
    time.sleep(3)
    x.close()


def crowd(path, model):
    """Fills the queue of the model from several connections."""
    held = [connect(path) for _ in range(4)]
    try:
        for _ in range(20):
            for x in held:
                for _ in range(30):
                    x.request(c.GENERATE, {"model": model, "prompt": "@slow 1"})
                drain(x.sock)
            time.sleep(0.1)
    finally:
        for x in held:
            x.close()


def churn(path, model):
    """Comes and goes, says nonsense, leaves in the middle."""
    for text in (b"", b"GET / HTTP/1.1\r\n\r\n", c.HEADER.pack(0xffffffff, 1, 0, 0), c.HEADER.pack(100, c.HELLO, 0, 0) + b"{",
                 bytes(16), os.urandom(64)):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(2)
            s.connect(path)
            s.sendall(text)


def names(path, model):
    """Models that are not there, and LOADs of nothing."""
    x = connect(path)
    for i in range(50):
        for k in range(10):
            x.request((c.GENERATE, c.LOAD)[k % 2], {"model": "no-%d-%d" % (i, k)})
        drain(x.sock)
    x.close()


ATTACKS = {f.__name__: f for f in (
    no_credit, lists, million_keys, descriptors, half_frames, idle, unread_status, unread_answers, crowd,
                                   churn, names)}

if __name__ == "__main__" and len(sys.argv) > 3 and sys.argv[1] in ATTACKS:
    os.nice(19)                             # it takes all that is left of the machine, not the honest client's part of it
    again(ATTACKS[sys.argv[1]])(*sys.argv[2:4])

BROKER, WORKER, BIN, SECONDS = sys.argv[1:4] + [float(sys.argv[4])] if len(sys.argv) > 4 else [None] * 4


def queued(pid):
    """Seconds that the process and this thread waited for a processor so far: others' work, of which the broker knows nothing."""
    total = 0
    for who in (str(pid), "thread-self"):
        try:
            with open("/proc/%s/schedstat" % who) as f:
                total += int(f.read().split()[1])
        except OSError:
            pass                            # it died, or the kernel does not count
    return total / 1e9


class Honest:
    """Asks for status, and for answers that it knows. What a status took is without the time that broker and client were queued."""

    def __init__(self, path, model, ask, broker):
        self.path, self.model, self.ask, self.broker = path, model, ask, broker
        self.status, self.late, self.n_answers, self.wrong = [], 0, 0, []

    def timed(self, x):
        begun = time.monotonic() - queued(self.broker)
        x.wait(x.request(c.STATUS, {}))
        self.status.append(time.monotonic() - queued(self.broker) - begun)

    def answers(self, x, end):
        """On a connection of its own: answers wait for each other, status for nobody."""
        for i in FOR_EVER():
            if time.monotonic() > end:
                return
            try:
                wrong = self.ask(x, i)
            except LOST as e:
                wrong = repr(e)
            if wrong:
                self.wrong.append(wrong)
                return
            self.n_answers += 1
            time.sleep(0.05)                # it is not an attacker itself

    def run(self, seconds, guest=True):
        end = time.monotonic() + seconds
        x, y = (connect(self.path, "honest") for _ in range(2))
        for z in (x, y):
            z.sock.settimeout(30)
        beside = threading.Thread(target=self.answers, args=(y, end))
        beside.start()
        while time.monotonic() < end:
            self.timed(x)
            time.sleep(0.02)
        beside.join(60)
        x.close()
        y.close()

    def verdict(self):
        slow = [t for t in self.status if t > 0.1]
        return "%d status, slowest %.0f ms, %d over 100 ms; %d answers; %s" % (
            len(self.status), 1000 * max(self.status), len(slow), self.n_answers, self.wrong or "all whole")


def new_client(path):
    """What `veritas ps` does: connects and asks. How long it took."""
    begun = time.monotonic()
    x = connect(path, "ps")
    x.wait(x.request(c.STATUS, {}))
    x.close()
    return time.monotonic() - begun


class Case(unittest.TestCase):
    def beside(self, attack, path, model, ask, pid, during=None):
        """The attack for SECONDS beside an honest client that was there before it."""
        honest = Honest(path, model, ask, pid)
        honest.run(0.3)                     # it works at all
        self.assertEqual(honest.wrong, [])
        honest.status.clear()
        attacker = subprocess.Popen([sys.executable, os.path.abspath(__file__), attack, path, model], stderr=subprocess.DEVNULL)
        late, problems = [], []

        def others():
            while attacker.poll() is None and not stop.wait(0.5):
                try:
                    late.append(new_client(path))
                except LOST as e:
                    problems.append(repr(e))
        stop = threading.Event()
        watcher = threading.Thread(target=others)
        try:
            watcher.start()
            if during:
                during()
            honest.run(SECONDS)
            self.assertIsNone(attacker.poll(), "the attacker gave up")
        finally:
            attacker.kill()
            attacker.wait()
            stop.set()
            watcher.join()
        with open("/proc/%d/status" % pid) as f:
            peak = next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))
        print("%-15s %s; new clients: %d, slowest %.0f ms, %d turned away; broker %d MiB" % (
            attack, honest.verdict(), len(late), 1000 * max(late, default=0), len(problems), peak >> 10), file=sys.stderr)
        self.assertEqual(honest.wrong, [])
        self.assertGreater(honest.n_answers, 0)
        # The machine may be crowded, too: a hundredth may be late, none by much.
        self.assertLess(sum(t > 0.1 for t in honest.status), 1 + len(honest.status) / 100)
        self.assertLess(max(honest.status), 1)
        self.assertEqual(problems, [])
        self.assertLess(sum(t > 0.5 for t in late), 1 + len(late) / 20)
        self.assertLess(peak, 400 << 10)
        time.sleep(0.2)
        new_client(path)
        x = connect(path)
        self.assertEqual(ask(x, 0), None)
        x.close()


def echo(x, i):
    """Small prompts and large ones; an answer is whole or it is nothing."""
    prompt = "abcdefgh" * (4000 if i % 10 == 9 else 10) + str(i)
    text, tokens, result = x.answer(x.request(c.GENERATE, {"model": "echo", "prompt": prompt}))
    good = text == prompt and len(tokens) == len(prompt) == result["usage"]["completion_tokens"]
    return None if good else "%d of %d bytes" % (len(text), len(prompt))


class Echo(Case):
    """The real broker, the real worker's frame loop, an echo as model; protocol.py plays the supervisor."""

    def setUp(self):
        import protocol
        self.s = protocol.Supervisor()
        for name in ("echo", "other"):
            self.s.add(name)

    def tearDown(self):
        alive = self.s.broker.poll() is None
        self.s.end()
        self.assertTrue(alive, "the broker died")


def add(attack):
    model = "echo" if attack in ("no_credit", "crowd", "unread_answers") else "other"
    setattr(Echo, "test_" + attack, lambda self: self.beside(attack, self.s.path, model, echo, self.s.broker.pid))


for each in ATTACKS:
    add(each)


def killed_worker(self):
    """A worker dies while descriptors are hoarded: the next one is there in time."""
    x = connect(self.s.path)

    def during():
        pid = next(m["pid"] for m in x.wait(x.request(c.STATUS, {}))["models"] if m["name"] == "other")
        time.sleep(1)
        os.kill(pid, signal.SIGKILL)
    x.text(c.GENERATE, {"model": "other", "prompt": "x"})
    self.beside("descriptors", self.s.path, "other", echo, self.s.broker.pid, during)
    state = next(m for m in x.wait(x.request(c.STATUS, {}))["models"] if m["name"] == "other")
    self.assertEqual((state["state"], state["restarts"]), ("ready", 1))
    x.close()


Echo.test_killed_worker = killed_worker


class Shipped(Case):
    """`veritas serve` with a tiny model."""

    def setUp(self):
        self.dir = tempfile.TemporaryDirectory(prefix="vsa")
        d = self.dir.name
        os.mkdir(d + "/models")
        subprocess.run([BIN + "/mkmodel", "--arch", "llama", "--layers", "1", "--embd", "64", "--heads", "4", "--kv-heads",
                        "2", "--vocab",
                        "600", "--seed", "7", "-o", d + "/models/one.gguf"], check=True, stdout=subprocess.DEVNULL)
        self.env = dict(os.environ, VERITAS_MODELS=d + "/models", VERITAS_SOCKET=d + "/run/s", XDG_CACHE_HOME=d + "/cache", HOME=d)
        self.daemon = subprocess.Popen([BIN + "/veritas", "serve"], env=self.env, stderr=subprocess.DEVNULL)
        self.path = d + "/run/s"
        end = time.monotonic() + 10
        while self.call("ps").returncode != 0 and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(self.call("load", "one").returncode, 0)
        self.broker = child(self.daemon.pid, "veritas-broker")
        x = connect(self.path)
        self.right = self.say(x)
        x.close()

    def tearDown(self):
        alive = self.daemon.poll() is None
        done = self.call("stop")
        self.daemon.kill()
        self.daemon.wait()
        self.dir.cleanup()
        self.assertTrue(alive, "the daemon died")
        self.assertEqual(done.returncode, 0)

    def call(self, *words):
        return subprocess.run([BIN + "/veritas", *words], env=self.env, capture_output=True, timeout=30)

    def say(self, x):
        return x.answer(x.request(c.GENERATE,
                                  {"model": "one", "prompt": "the sky", "raw": True, "ignore_eos": True, "max_tokens": 20,
                                               "sampling": {"temperature": 0}, "logits_hash": True}))

    def ask(self, x, i):
        text, tokens, result = self.say(x)
        good = (text, tokens, result["logits_hash"]) == (self.right[0], self.right[1], self.right[2]["logits_hash"])
        return None if good else "another answer: %r" % text

    def ps(self):
        for _ in range(3):
            self.assertEqual(self.call("ps").returncode, 0)
            time.sleep(0.2)

    def test_lists(self):
        self.beside("lists", self.path, "one", self.ask, self.broker, self.ps)

    def test_idle(self):
        self.beside("idle", self.path, "one", self.ask, self.broker, self.ps)

    def test_half_frames(self):
        self.beside("half_frames", self.path, "one", self.ask, self.broker, self.ps)


def run_all(jobs):
    """Every case in a process of its own, so many at once."""
    waiting = ["%s.%s" % (case.__name__, name) for case in (Echo, Shipped) for name in unittest.TestLoader().getTestCaseNames(case)]
    running, failed = [], []
    while waiting or running:
        while waiting and len(running) < jobs:
            name = waiting.pop(0)
            running.append((name, subprocess.Popen([sys.executable, os.path.abspath(__file__), *sys.argv[1:5], name],
                                                   stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True)))
        name, process = running.pop(0)
        out = process.communicate()[0]
        print("== %s\n%s" % (name, out), flush=True)
        if process.returncode:
            failed.append(name)
    print("failed: %s" % failed if failed else "all held")
    return bool(failed)


if __name__ == "__main__":
    if len(sys.argv) == 6 and sys.argv[5].isdigit():
        sys.exit(run_all(int(sys.argv[5])))
    unittest.main(argv=[sys.argv[0]] + sys.argv[5:])
