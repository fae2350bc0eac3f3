#!/usr/bin/env python3
"""The writer of the audit log alone; what the log costs a request: bench/evidence.py.
usage: audit.py BIN [write N | verify DIR | answer N [THREADS]]

write N     N records through veritas-audit: records a second until the last is written, and how long the log takes to verify
answer N    how much slower an answer of SmolLM2 is, computed with THREADS threads (2), while N records are written at 100,000 a
            second by a writer of their own: rounds of an answer with them and one without, in an order drawn by chance
"""
import argparse
import json
import os
import random
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/e2e"))
import evidence # noqa: E402
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


def flood(writer, pieces, n):
    """The pieces, a hundred a second, until the last record is written: how many a second."""
    begin, frames = time.monotonic(), Frames(writer.broker)

    def send():
        for i, piece in enumerate(pieces):
            time.sleep(max(0, begin + i / 100 - time.monotonic()))
            writer.broker.sendall(piece)
    sender = threading.Thread(target=send)
    sender.start()
    while struct.unpack("<Q", frames.next()[2])[0] < n:
        pass
    sender.join()
    return n / (time.monotonic() - begin)


def answer(n, threads, seconds=75):
    payload = json.dumps(ANSWER, separators=(",", ":")).encode()
    pieces = [b"".join(frame(RECORD, payload, i) for i in range(at + 1, min(at + 1000, n) + 1)) for at in range(0, n, 1000)]
    rates, used, alone, beside = [], 0, [], []
    with tempfile.TemporaryDirectory(prefix="vau") as folder:
        args = argparse.Namespace(tokens=16)
        daemon = evidence.Daemon(folder, "one", BIN, {}, "smollm2-135m-instruct", "--threads", str(threads))
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end or len(rates) < 3:
                for is_beside in random.sample((False, True), 2):
                    log = f"{folder}/log{len(rates)}"
                    if not is_beside:
                        alone.append(evidence.of_tokens(daemon, 0, args))
                        continue
                    os.mkdir(log)
                    writer, found = Writer(BIN, log), []
                    writing = threading.Thread(target=lambda w=writer, f=found: f.append(flood(w, pieces, n)))
                    writing.start()
                    times = []
                    while writing.is_alive():
                        times.append(evidence.of_tokens(daemon, 0, args))
                    writing.join()
                    used += evidence.cpu(writer.process.pid) / 1e6
                    writer.stop()
                    shutil.rmtree(log)
                    rates.append(found[0])
                    times = times[:-1] or times                 # the last one ended alone
                    beside.append({what: statistics.geometric_mean([t[what] for t in times]) for what in times[0]})
        finally:
            daemon.process.terminate()
            daemon.process.wait()
    print(f"{len(rates)} rounds of {n} records, {statistics.median(rates):.0f} a second (median), "
          f"{used / len(rates) / n * 1e6:.1f} us of a processor each; load {os.getloadavg()[0]:.1f}")
    for what in alone[0]:
        print(f"{what}, {threads} threads: {statistics.median(a[what] for a in alone):.2f} alone, "
              f"{evidence.times([b[what] / a[what] for a, b in zip(alone, beside)])} beside them")


def verify(folder):
    begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([BIN + "/veritas", "audit", "verify", folder], capture_output=True, text=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    print(f"verified in {time.monotonic() - begin:.2f} s, {cpu:.2f} s of a processor: {done.stdout}{done.stderr}", end="")


if __name__ == "__main__":
    BIN = os.path.abspath(sys.argv[1])
    {"write": lambda: write(int(sys.argv[3])), "verify": lambda: verify(sys.argv[3]),
     "answer": lambda: answer(int(sys.argv[3]), int((sys.argv + ["2"])[4]))}[sys.argv[2]]()
