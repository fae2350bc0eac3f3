#!/usr/bin/env python3
"""The writer of the audit log alone; what the log costs a request: bench/evidence.py.
usage: audit.py BIN [write N | verify DIR]

write N     N records through veritas-audit: records a second until the last is written, and how long the log takes to verify
"""
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/e2e"))
from audit_writer import ANSWER, RECORD, Frames, Writer, frame # noqa: E402


def write(n):
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(BIN, folder)
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
