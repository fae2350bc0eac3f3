#!/usr/bin/env python3
"""What the gateway costs: the same request through the daemon's socket and over HTTP, in turns.

    bench/gateway.py [-m MODEL] [--tokens 48] [--rounds 150] [--streams 1] [--raise] [--llama-server PROGRAM --file MODEL.gguf]

Starts a daemon and a gateway of its own; and, where it is named, llama-server with the same file, whose answers over HTTP are a
third way. Each round asks --streams requests at once one way, then the other, in turning order; no two prompts begin alike, and
nothing is guessed: a text that goes in circles would be faster than another. All requests are made beforehand.

A single round says little: machines drift by tens of percent from second to second. So rounds are short and many, the ratio is the
geometric mean over rounds (neighbours in time share the drift), and beside it stands how far it may be off (95 %). Printed too:
medians of tokens a second and of the first token (from the request to its first byte of text), and what each process took of the
processors, which load does not falsify as it does time: microseconds of processor a token, how often it was scheduled, and how long
it waited for a processor, of which there should be next to nothing.

--raise gives the groups in which Linux schedules these processes a large share (sched_autogroup; wants root), for a machine on
which others work: each process of a daemon is a session, so a group of its own, and the `nice` of this program says nothing there.
Only the standard library.
"""
import argparse
import json
import math
import os
import re
import selectors
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
import client as protocol


def run(makers, finished, n_tokens):
    """Sends all requests at once; finished(bytes, at) looks at what came behind `at`: is there text, is it the end, and how far it
    has looked. What says nothing has no event over HTTP, so that tokens are those that were asked for."""
    select, streams = selectors.DefaultSelector(), []
    for connect, request in makers:
        s = connect()
        s.setblocking(True)
        streams.append([s, bytearray(), None, request])
    begin = time.perf_counter()
    for st in streams:
        st += [time.perf_counter(), 0]
        st[0].sendall(st[3])
        select.register(st[0], selectors.EVENT_READ, st)
    firsts, left = [], len(streams)
    while left:
        for key, _ in select.select():
            st = key.data
            piece = key.fileobj.recv(262144)
            st[1] += piece
            has_text, end, st[5] = finished(st[1], st[5])
            if has_text and st[2] is None:
                st[2] = time.perf_counter()
                firsts.append(st[2] - st[4])
            if end or not piece:
                left -= 1
                select.unregister(st[0])
                st[0].close()
    return n_tokens * len(makers) / (time.perf_counter() - begin), statistics.median(firsts)


def of_socket(data, at):
    has_text, header = False, protocol.HEADER
    while at + header.size <= len(data):
        length, kind, _, _ = header.unpack_from(data, at)
        if at + header.size + length > len(data):
            break
        at += header.size + length
        has_text |= kind == protocol.TOKEN
        if kind in (protocol.COMPLETE, protocol.REJECTED, protocol.ERROR):
            if kind != protocol.COMPLETE:
                sys.exit(data[-300:])
            return has_text, True, at
    return has_text, False, at


def of_http(data, at):
    if data[:12] != b"HTTP/1.1 200"[:len(data[:12])]:
        sys.exit(data[:500])
    return data.find(b'"delta":{"content"', at) >= 0, data.find(b"data: [DONE]", at) >= 0, max(len(data) - 20, 0)


def family(pid):
    """{pid: name} of a process and all under it."""
    with open(f"/proc/{pid}/cmdline") as f:
        found = {pid: os.path.basename(f.read().split("\0")[0])}
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/children") as f:
            for child in f.read().split():
                found.update(family(int(child)))
    return found


def scheduled(pid):
    """Nanoseconds that all its threads ran and waited, and how often they were given a processor."""
    sums = (0, 0, 0)
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as f:
            sums = tuple(a + int(b) for a, b in zip(sums, f.read().split()))
    return sums


def start_llama(a):
    """llama-server with a place for each stream; it listens when its health is good."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = os.path.dirname(os.path.abspath(a.llama_server))
    p = subprocess.Popen([a.llama_server, "-m", a.file, "-t", str(a.threads), "-np", str(a.streams), "-c", str(2048 * a.streams),
                          "-fa", "on", "--host", "127.0.0.1", "--port", str(port)], stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, env=dict(os.environ, LD_LIBRARY_PATH=folder))
    for _ in range(600):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
                s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                if b" 200 " in s.recv(64):
                    return p, port
        except OSError:
            pass
        if p.poll() is not None:
            break
        time.sleep(0.1)
    sys.exit("llama-server does not start")


def makers_of(a, way, i, path, port):
    """Requests of a round, each with what connects. As long for each way, and not alike: nothing is computed already."""
    makers = []
    for j in range(a.streams):
        body = {"messages": [{"role": "user", "content": f"{way[0].upper()} {i} {j}: write a long story about a sailor."}],
                "max_tokens": a.tokens, "ignore_eos": True, **({"speculation": "off"} if way != "llama" else {})}
        if way == "socket":
            data = protocol.payload({"model": a.model}, body)
            head = protocol.HEADER.pack(len(data), protocol.CHAT, 0, 1)
            credit = protocol.HEADER.pack(4, protocol.CREDIT, 0, 1) + struct.pack("<I", 500000)
            makers.append((lambda: protocol.Client(path).sock, head + data + credit))
        else:
            data = json.dumps({"model": a.model, **body, "stream": True}).encode()
            makers.append((lambda: connect_http(port), b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                           b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data)))
    return makers


def connect_http(port):
    s = socket.create_connection(("127.0.0.1", port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def ratio_of(one, other, value):
    """The geometric mean of the ratios of rounds, and half of its 95 % interval."""
    logs = [math.log(value(x) / value(y)) for x, y in zip(one, other)]
    ratio = math.exp(statistics.mean(logs))
    return ratio, ratio * 1.96 * statistics.stdev(logs) / math.sqrt(len(logs)) if len(logs) > 1 else math.inf


def main():
    a = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    a.add_argument("-m", "--model", default="smollm2-135m-instruct")
    a.add_argument("--bin", default=os.path.join(ROOT, "build/release/bin"))
    a.add_argument("--tokens", type=int, default=48)
    a.add_argument("--rounds", type=int, default=150)
    a.add_argument("--streams", type=int, default=1)
    a.add_argument("--raise", action="store_true", help="a large share of the processors, on a machine where others work")
    a.add_argument("--llama-server")
    a.add_argument("--file", help="the model's file, for llama-server")
    a.add_argument("--threads", type=int, default=2, help="of llama-server")
    a = a.parse_args()
    folder = tempfile.TemporaryDirectory()
    path = folder.name + "/run/v.sock"
    env = dict(os.environ, VERITAS_SOCKET=path)
    daemon = subprocess.Popen([a.bin + "/veritas", "serve"], env=env, stderr=subprocess.DEVNULL)
    while subprocess.run([a.bin + "/veritas", "load", "-q", a.model], env=env, capture_output=True).returncode:
        time.sleep(0.1)
    gateway = subprocess.Popen([a.bin + "/veritas", "gateway", "--listen", "127.0.0.1:0"], env=env, stdout=subprocess.PIPE,
                               text=True)
    port = int(re.search(r":(\d+)$", gateway.stdout.readline())[1])
    rival, rival_port = start_llama(a) if a.llama_server else (None, 0)
    if getattr(a, "raise"):
        for pid in (*family(daemon.pid), *family(gateway.pid), os.getpid(), *([rival.pid] if rival else ())):
            with open(f"/proc/{pid}/autogroup", "w") as f:
                f.write("-20")
    results = {"socket": [], "http": [], **({"llama": []} if rival else {})}
    asked = {way: [makers_of(a, way, i, path, to) for i in range(a.rounds + 1)]
             for way, to in (("socket", 0), ("http", port), ("llama", rival_port)) if way in results}
    processes = {**family(daemon.pid), **family(gateway.pid), os.getpid(): "(client)"}
    took = {way: {pid: [0, 0, 0] for pid in processes} for way in results}
    try:
        for i in range(a.rounds + 1):
            for way in list(results)[::-1 if i % 2 else 1]:
                before = {pid: scheduled(pid) for pid in processes}
                result = run(asked[way][i], of_socket if way == "socket" else of_http, a.tokens)
                if i == 0:              # it warms up
                    continue
                results[way].append(result)
                for pid in processes:
                    took[way][pid] = [t + y - x for t, x, y in zip(took[way][pid], before[pid], scheduled(pid))]
    finally:
        for p in filter(None, (rival, gateway, daemon)):
            p.terminate()
            p.wait()
    n_tokens = a.rounds * a.streams * a.tokens
    for way in results:
        print(f"{way:7} {statistics.median(r[0] for r in results[way]):8.1f} tokens/s   "
              f"first token {statistics.median(r[1] for r in results[way]) * 1e3:8.3f} ms")
    for way in ("socket", "http"):
        print(f"\n{way}: microseconds a token" + " " * (27 - len(way)) + "processor   waited   times scheduled")
        for pid, name in processes.items():
            ran, waited, times = (x / n_tokens for x in took[way][pid])
            if times > 0.1:
                print(f"    {name:44} {ran / 1e3:10.1f} {waited / 1e3:8.1f} {times:17.2f}")
    print()
    for way, other in (("http", "llama"), ("http", "socket"))[0 if rival else 1:]:
        ratio, error = ratio_of(results[way], results[other], lambda r: r[0])
        print(f"{way}/{other}: {ratio:.3f} +- {error:.3f} of the tokens/s")
    late = sorted(h[1] - s[1] for h, s in zip(results["http"], results["socket"]))
    print(f"http - socket: {statistics.median(late) * 1e6:+.0f} us to the first token")


main()
