#!/usr/bin/env python3
"""The writer of the audit log alone; what the log costs a request: bench/evidence.py.
usage: audit.py BIN [write N | verify DIR]

write N     N records through veritas-audit: records a second until the last is written, and how long the log takes to verify
"""
import array
import json
import os
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/e2e"))
from processes import place # noqa: E402

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


if __name__ == "__main__":
    BIN = os.path.abspath(sys.argv[1])
    {"write": lambda: write(int(sys.argv[3])), "verify": lambda: verify(sys.argv[3])}[sys.argv[2]]()
