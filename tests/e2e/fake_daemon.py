"""A daemon that knows the protocol and no model: it lets tests look at the command line alone.

Every request is written down (self.requests) and answered by the row of `answers` for its method: a function that gets the
request and yields frames (type, payload, ...). No row: an ERROR of UNSUPPORTED.
"""
import json
import os
import socket
import struct
import threading

TYPES = dict(hello=1, credit=2, cancel=3, generate=0x10, chat=0x11, tokenize=0x12, detokenize=0x13, inspect=0x14, logits=0x15,
             perplexity=0x16, bench=0x17, constrain=0x20, scan=0x1d, load=0x18, unload=0x19, list=0x1a, status=0x1b, shutdown=0x1c,
             token=0x40, data=0x41, progress=0x42, complete=0x50, rejected=0x51, error=0x52)
NAMES = {number: name for name, number in TYPES.items()}
CODES = dict(BUSY=-4, NOT_FOUND=-7, CANCELLED=-8, TIMEOUT=-9, DIED=-10, UNSUPPORTED=-6, MALFORMED=-2, CONTEXT=-15, LIMIT=-3)


def token(number, text, index=None):
    data = text.encode()
    if index is None:
        return "token", struct.pack("<II", number, len(data)) + data
    return "token", struct.pack("<III", index, number, len(data)) + data, 4


def payload(envelope, body=None):
    head = json.dumps(envelope).encode()
    return struct.pack("<I", len(head)) + head + (b"" if body is None else json.dumps(body).encode())


def complete(**result):
    envelope = {key: result.pop(key) for key in ("finish_reason", "usage", "model_digest") if key in result}
    return "complete", payload(envelope, result)


def error(name, message, kind="error"):
    return kind, payload({"error": dict(code=CODES[name], name=name, message=message)})


class Daemon:
    def __init__(self, path, answers):
        self.path, self.answers, self.requests = path, answers, []
        self.cancelled = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(8)
        self.acceptor = threading.Thread(target=self.accept, daemon=True)
        self.acceptor.start()

    def accept(self):
        while True:
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(link,), daemon=True).start()

    def serve(self, link):
        lock = threading.Lock()

        def send(kind, data, number, flags=0):
            with lock:
                try:
                    link.sendall(struct.pack("<IHHQ", len(data), TYPES[kind], flags, number) + data)
                except OSError:
                    pass

        def exactly(n):
            data = b""
            while len(data) < n:
                more, fds, _, _ = socket.recv_fds(link, n - len(data), 4)
                for fd in fds:
                    os.close(fd)
                if not more:
                    raise EOFError
                data += more
            return data

        def work(kind, request, number):
            maker = self.answers.get(kind)
            frames = maker(request) if maker else [error("UNSUPPORTED", kind + " is not known here")]
            for frame in frames:
                send(frame[0], frame[1], number, *frame[2:])
            if kind == "shutdown" and maker:
                link.shutdown(socket.SHUT_RDWR)

        try:
            while True:
                length, kind, flags, number = struct.unpack("<IHHQ", exactly(16))
                data = exactly(length)
                kind = NAMES[kind]
                if kind == "hello":
                    send("hello", json.dumps(dict(protocol=2, server="fake", max_frame=1 << 24, credit=1 << 18)).encode(), 0)
                elif kind == "cancel":
                    self.cancelled.set()
                elif kind != "credit":
                    n, = struct.unpack_from("<I", data)
                    request = {**json.loads(data[4:4 + n]), **(json.loads(data[4 + n:]) if data[4 + n:] else {})}
                    self.requests.append((kind, request, flags))
                    threading.Thread(target=work, args=(kind, request, number), daemon=True).start()
        except (EOFError, OSError):
            link.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)    # wakes accept; closed only then, so that nobody accepts on a reused number
        self.acceptor.join()
        self.listener.close()
        os.unlink(self.path)
