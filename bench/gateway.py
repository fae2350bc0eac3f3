#!/usr/bin/env python3
"""What the gateway costs: the same request through the daemon's socket and over HTTP, in turns.

    bench/gateway.py [-m MODEL] [--tokens 128] [--rounds 20] [--streams 1] [--llama-server PROGRAM --file MODEL.gguf]

Starts a daemon and a gateway of its own; and, where it is named, llama-server with the same file, whose answers over HTTP are a
third way. Each round asks --streams requests at once one way, then the other, in turning order;
no two prompts begin alike, and nothing is guessed: a text that goes in circles would be faster than another. Printed are medians
over rounds: tokens a second of all streams, the first token (from the request to its first byte of text), and the difference.
Only the standard library.
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


def main():
    a = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    a.add_argument("-m", "--model", default="smollm2-135m-instruct")
    a.add_argument("--bin", default=os.path.join(ROOT, "build/release/bin"))
    a.add_argument("--tokens", type=int, default=128)
    a.add_argument("--rounds", type=int, default=20)
    a.add_argument("--streams", type=int, default=1)
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
    results = {"socket": [], "http": [], **({"llama": []} if rival else {})}
    try:
        for i in range(a.rounds + 1):
            def bodies(letter):         # as long for both, and not alike: nothing is computed already
                return [{"messages": [{"role": "user", "content": f"{letter} {i} {j}: write a long story about a sailor."}],
                         **({"speculation": "off"} if letter != "L" else {})} for j in range(a.streams)]
            ways = {}

            def connect_socket():
                return protocol.Client(path).sock

            def connect_http(to):
                s = socket.create_connection(("127.0.0.1", to))
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return s
            makers = []
            for b in bodies("S"):
                data = protocol.payload({"model": a.model}, {**b, "max_tokens": a.tokens, "ignore_eos": True})
                head = protocol.HEADER.pack(len(data), protocol.CHAT, 0, 1)
                credit = protocol.HEADER.pack(4, protocol.CREDIT, 0, 1) + struct.pack("<I", 500000)
                makers.append((connect_socket, head + data + credit))
            ways["socket"] = (makers, of_socket)
            for way, letter, to in (("http", "H", port), ("llama", "L", rival_port)):
                makers = []
                for b in bodies(letter):
                    data = json.dumps({"model": a.model, **b, "max_tokens": a.tokens, "ignore_eos": True, "stream": True}).encode()
                    makers.append((lambda to=to: connect_http(to), b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                                   b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data)))
                if way in results:
                    ways[way] = (makers, of_http)
            for way in list(ways)[::-1 if i % 2 else 1]:
                result = run(*ways[way], a.tokens)
                if i:             # the first one warms up
                    results[way].append(result)
    finally:
        for p in filter(None, (rival, gateway, daemon)):
            p.terminate()
            p.wait()
    rate = {w: statistics.median(r[0] for r in results[w]) for w in results}
    first = {w: statistics.median(r[1] for r in results[w]) for w in results}
    for w in results:
        print(f"{w:7} {rate[w]:8.1f} tokens/s   first token {first[w] * 1e3:8.3f} ms")
    if rival:
        print(f"http/llama-server: {rate['http'] / rate['llama']:.2f} of the tokens/s")
    print(f"http/socket: {rate['http'] / rate['socket']:.3f} of the tokens/s, {(first['http'] - first['socket']) * 1e6:+.0f} us")


main()
