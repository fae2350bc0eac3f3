#!/usr/bin/env python3
"""What the gateway costs: the same request through the daemon's socket and over HTTP, in turns.

    bench/gateway.py [-m MODEL] [--tokens 128] [--rounds 20] [--streams 1]

Starts a daemon and a gateway of its own. Each round asks --streams requests at once one way, then the other, in turning order;
no two prompts begin alike. Printed are medians over rounds: tokens a second of all streams, the first token (from the request to
its first byte of text), and the difference. Only the standard library.
"""
import argparse
import json
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
    """Sends all requests at once; finished(bytes) tells how many events came so far and whether it is the end. What says nothing
    has no event over HTTP, so that tokens are those that were asked for."""
    select, streams = selectors.DefaultSelector(), []
    for connect, request in makers:
        s = connect()
        s.setblocking(True)
        streams.append([s, b"", None, request])
    begin = time.perf_counter()
    for st in streams:
        st.append(time.perf_counter())
        st[0].sendall(st[3])
        select.register(st[0], selectors.EVENT_READ, st)
    firsts, left = [], len(streams)
    while left:
        for key, _ in select.select():
            st = key.data
            piece = key.fileobj.recv(262144)
            st[1] += piece
            n, end = finished(st[1])
            if n and st[2] is None:
                st[2] = time.perf_counter()
                firsts.append(st[2] - st[4])
            if end or not piece:
                left -= 1
                select.unregister(st[0])
                st[0].close()
    return n_tokens * len(makers) / (time.perf_counter() - begin), statistics.median(firsts)


def of_socket(data):
    at, n, header = 0, 0, protocol.HEADER
    while at + header.size <= len(data):
        length, kind, _, _ = header.unpack_from(data, at)
        if at + header.size + length > len(data):
            break
        at += header.size + length
        n += kind == protocol.TOKEN
        if kind in (protocol.COMPLETE, protocol.REJECTED, protocol.ERROR):
            if kind != protocol.COMPLETE:
                sys.exit(data[-300:])
            return n, True
    return n, False


def of_http(data):
    end = b"data: [DONE]" in data
    if data[:12] != b"HTTP/1.1 200"[:len(data[:12])]:
        sys.exit(data[:500])
    return data.count(b'"delta":{"content"'), end


def main():
    a = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    a.add_argument("-m", "--model", default="smollm2-135m-instruct")
    a.add_argument("--bin", default=os.path.join(ROOT, "build/release/bin"))
    a.add_argument("--tokens", type=int, default=128)
    a.add_argument("--rounds", type=int, default=20)
    a.add_argument("--streams", type=int, default=1)
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
    results = {"socket": [], "http": []}
    try:
        for i in range(a.rounds + 2):
            def bodies(letter):         # as long for both, and not alike: nothing is computed already
                return [{"messages": [{"role": "user", "content": f"{letter} {i} {j}: write a long story about a sailor."}]}
                        for j in range(a.streams)]
            ways = {}

            def connect_socket():
                return protocol.Client(path).sock

            def connect_http():
                s = socket.create_connection(("127.0.0.1", port))
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return s
            makers = []
            for b in bodies("S"):
                data = protocol.payload({"model": a.model}, {**b, "max_tokens": a.tokens, "ignore_eos": True})
                head = protocol.HEADER.pack(len(data), protocol.CHAT, 0, 1)
                credit = protocol.HEADER.pack(4, protocol.CREDIT, 0, 1) + struct.pack("<I", 500000)
                makers.append((connect_socket, head + data + credit))
            ways["socket"] = (makers, of_socket)
            makers = []
            for b in bodies("H"):
                data = json.dumps({"model": a.model, **b, "max_tokens": a.tokens, "ignore_eos": True, "stream": True}).encode()
                makers.append((connect_http, b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                               b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data)))
            ways["http"] = (makers, of_http)
            for way in list(ways)[::-1 if i % 2 else 1]:
                result = run(*ways[way], a.tokens)
                if i >= 2:
                    results[way].append(result)
    finally:
        for p in (gateway, daemon):
            p.terminate()
            p.wait()
    rate = {w: statistics.median(r[0] for r in results[w]) for w in results}
    first = {w: statistics.median(r[1] for r in results[w]) for w in results}
    for w in results:
        print(f"{w:7} {rate[w]:8.1f} tokens/s   first token {first[w] * 1e3:8.3f} ms")
    print(f"http/socket: {rate['http'] / rate['socket']:.3f} of the tokens/s, {(first['http'] - first['socket']) * 1e6:+.0f} us")


main()
