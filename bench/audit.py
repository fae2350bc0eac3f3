#!/usr/bin/env python3
"""What the audit log costs.
usage: audit.py BIN [write N | verify DIR | cost ROUNDS [TOKENS]]

write N     N records through veritas-audit alone: records a second until the last is written, and how long the log takes to verify
cost        short requests to a daemon that keeps a log and to one that keeps none, in turns, on the smallest model: time by the
            clock and of the processors, of a request that ends at once; and of a token, four streams. The worker, which does not
            know of the log and whose threads spin while they wait, is left out of the processors' time
"""
import array
import json
import os
import resource
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/e2e"))
import client as c              # noqa: E402
from processes import below, place      # noqa: E402

HEADER = struct.Struct("<IHHQ")
HELLO, READY, STOP, BROKER, RECORD, WRITTEN, SEGMENT, NAMED = 0x01, 0x60, 0x71, 0x7c, 0x7e, 0x7f, 0x80, 0x81
ANSWER = {"event": "answer", "request": 7, "type": "generate", "number": 123456, "uid": 1000, "pid": 4242, "client": "veritas run",
          "role": "admin", "model": "smollm2-135m-instruct", "model_digest": "ab" * 32, "finish": "length", "status_id": 1,
          "duration": 812, "prompt_tokens": 36, "completion_tokens": 128, "cached_tokens": 0, "text_bytes": 512,
          "text_hmac": "cd" * 32, "policy": "ef" * 32, "sandbox": {"broker": 5, "guard": 5, "worker": 5}}


def frame(kind, payload=b"", request=0, flags=0):
    return HEADER.pack(len(payload), kind, flags, request) + payload


class Frames:
    def __init__(self, sock):
        self.sock, self.buffer = sock, bytearray()

    def next(self):
        while True:
            if len(self.buffer) >= 16:
                n, kind, _, request = HEADER.unpack_from(self.buffer)
                if len(self.buffer) >= 16 + n:
                    data = bytes(self.buffer[16:16 + n])
                    del self.buffer[:16 + n]
                    return kind, request, data
            more = self.sock.recv(1 << 20)
            if not more:
                return None, 0, b""
            self.buffer += more


def give(sock, kind, fd):
    sock.sendmsg([frame(kind, flags=1)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])


class Writer:
    """veritas-audit with this script as its supervisor and its broker."""

    def __init__(self, folder, **settings):
        self.folder = folder
        self.control, theirs = socket.socketpair()
        boot = open("/proc/sys/kernel/random/boot_id").read().replace("-", "").strip()
        told = {"policy": "", "boot": boot, "first": 0, "sync": "group", "rotate_bytes": 64 << 20, "checkpoint_records": 1000,
                "checkpoint_seconds": 60, **settings}
        fd = os.memfd_create("settings")
        os.write(fd, json.dumps(told).encode())
        words = os.memfd_create("words")
        os.ftruncate(words, 65536)
        names = {7: "lock", 8: "signing.key", 9: "keys", 10: "checkpoints"}
        flags = os.O_RDWR | os.O_CREAT
        fds = {n: os.open(f"{folder}/{name}", flags | (os.O_APPEND if n > 8 else 0), 0o600) for n, name in names.items()}
        fds.update({3: theirs.fileno(), 4: words, 5: fd})
        self.process = subprocess.Popen([BIN + "/veritas-audit"], preexec_fn=place(fds), close_fds=False)
        theirs.close()
        self.serving = threading.Thread(target=self.serve, daemon=True)
        self.ready = threading.Event()
        self.serving.start()
        self.ready.wait(30)
        self.broker, theirs = socket.socketpair()
        give(self.control, BROKER, theirs.fileno())
        theirs.close()
        self.broker.sendall(frame(HELLO, b'{"source":"0123456789abcdef"}'))

    def serve(self):
        frames, fd, part = Frames(self.control), -1, self.folder + "/next.part"
        while True:
            kind, _, data = frames.next()
            if kind is None:
                return
            if kind == READY:
                self.ready.set()
            elif kind == SEGMENT:
                fd = os.open(part, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
                give(self.control, SEGMENT, fd)
                os.close(fd)
            elif kind == NAMED:
                os.rename(part, f"{self.folder}/{struct.unpack('<Q', data)[0]:016d}.jsonl")
                self.control.sendall(frame(NAMED))

    def stop(self):
        self.control.sendall(frame(STOP))
        self.process.wait()


def write(n):
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(folder)
        payload = json.dumps(ANSWER, separators=(",", ":")).encode()
        pieces = [b"".join(frame(RECORD, payload, i) for i in range(at + 1, min(at + 1000, n) + 1)) for at in range(0, n, 1000)]
        begin, frames = time.monotonic(), Frames(writer.broker)
        sender = threading.Thread(target=lambda: [writer.broker.sendall(p) for p in pieces])
        sender.start()
        while struct.unpack("<Q", frames.next()[2])[0] < n:
            pass
        seconds = time.monotonic() - begin
        sender.join()
        writer.stop()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = used.ru_utime + used.ru_stime
        print(f"written: {n} records in {seconds:.2f} s, {n / seconds:.0f} a second; {cpu:.2f} s of a processor")
        verify(folder)


def verify(folder):
    begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([BIN + "/veritas", "audit", "verify", folder], capture_output=True, text=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    print(f"verified in {time.monotonic() - begin:.2f} s, {cpu:.2f} s of a processor: {done.stdout}{done.stderr}", end="")


ASKED = {"model": "one", "prompt": "a", "raw": True, "ignore_eos": True, "sampling": {"temperature": 0}}


class Daemon:
    def __init__(self, folder, name, policy):
        self.policy, self.socket = f"{folder}/{name}.json", f"{folder}/{name}"
        with open(self.policy, "w") as f:
            json.dump(policy, f)
        env = dict(os.environ, VERITAS_MODELS=folder, HOME=folder, VERITAS_SOCKET=self.socket)
        self.process = subprocess.Popen([BIN + "/veritas", "serve", "--policy", self.policy], env=env, stderr=subprocess.DEVNULL)
        while True:
            try:
                self.client = c.Client(self.socket)
                break
            except OSError:
                time.sleep(0.01)
        self.ask(self.client, 1)

    @staticmethod
    def ask(client, tokens):
        client.request(c.GENERATE, {**ASKED, "max_tokens": tokens})
        while client.event().kind != c.COMPLETE:
            pass

    def used(self):
        """Microseconds of processors, as the scheduler counts them."""
        ns = 0
        for pid in [self.process.pid, *(p for p, name in below(self.process.pid).items() if name != "veritas-worker")]:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                    ns += int(f.read().split()[0])
        return ns / 1e3

    def requests(self, n):
        """Microseconds of a request, one after the other: by the clock, of processors."""
        begin, used = time.monotonic(), self.used()
        for _ in range(n):
            self.ask(self.client, 1)
        return (time.monotonic() - begin) / n * 1e6, (self.used() - used) / n

    def tokens(self, n):
        """Microseconds of a token, four answers at a time: by the clock, of processors."""
        clients = [c.Client(self.socket) for _ in range(4)]
        used = self.used()
        threads = [threading.Thread(target=self.ask, args=(x, n)) for x in clients]
        begin = time.monotonic()
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        seconds = time.monotonic() - begin
        for x in clients:
            x.close()
        return seconds / (4 * n) * 1e6, (self.used() - used) / (4 * n)


def cost(rounds, tokens=400):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([BIN + "/mkmodel", "--ctx", "8192", "-o", folder + "/one.gguf"], check=True, stdout=subprocess.DEVNULL)
        daemons = {"without": Daemon(folder, "without", {}), "with": Daemon(folder, "with", {"audit": {"dir": "log"}})}
        found = {(what, name): [] for what in ("request", "token") for name in daemons}
        for i in range(rounds):
            for name in sorted(daemons, reverse=i % 2):         # in turns, so that both meet the same neighbours
                found["request", name].append(daemons[name].requests(50))
                found["token", name].append(daemons[name].tokens(tokens))
        for d in daemons.values():
            d.process.terminate()
            d.process.wait()
    for what in ("request", "token"):
        for k, of in enumerate(("clock", "processors")):
            without, more = ([x[k] for x in found[what, name]] for name in ("without", "with"))
            a, b = statistics.median(without), statistics.median(more)
            print(f"{what}, {of}: {a:.1f} us without, {b:.1f} with the log: {b - a:+.1f} us, {100 * (b / a - 1):+.2f} %; "
                  f"least {min(without):.1f} and {min(more):.1f}")


if __name__ == "__main__":
    BIN = os.path.abspath(sys.argv[1])
    {"write": lambda: write(int(sys.argv[3])), "verify": lambda: verify(sys.argv[3]),
     "cost": lambda: cost(*map(int, sys.argv[3:]))}[sys.argv[2]]()
