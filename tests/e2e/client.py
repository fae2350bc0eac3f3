"""A client of Veritas in Python, written from docs/PROTOCOL.md alone: standard library, no code of the project."""
import array
import json
import os
import socket
import struct

HELLO, CREDIT, CANCEL = 0x01, 0x02, 0x03
GENERATE, CHAT, TOKENIZE, DETOKENIZE, INSPECT, LOGITS, PERPLEXITY, BENCH = range(0x10, 0x18)
CONSTRAIN, EMBED, RERANK, VERIFY = 0x20, 0x21, 0x22, 0x23
LOAD, UNLOAD, LIST, STATUS, SHUTDOWN, SCAN, METRICS, TRACES = range(0x18, 0x20)
WHOAMI = 0x2c
TOKEN, DATA, PROGRESS, RECEIPT = 0x40, 0x41, 0x42, 0x45
COMPLETE, REJECTED, ERROR = 0x50, 0x51, 0x52
FLAG_FD, FLAG_EXTRA, FLAG_INDEX, FLAG_PART, FLAG_FDS = 1, 2, 4, 8, 16
NO_TOKEN = 0xffffffff
HEADER = struct.Struct("<IHHQ")
# what a request says in its envelope; the rest is its body
ENVELOPE = {"model", "deadline_ms", "trace", "settings", "force", "priority", "on_behalf_of", "key", "remote", "receipt"}


def payload(envelope, body=None):
    head = json.dumps(envelope).encode()
    return struct.pack("<I", len(head)) + head + (b"" if body is None else json.dumps(body).encode())


def split(data):
    """The envelope, and the body's bytes."""
    n, = struct.unpack_from("<I", data)
    return json.loads(data[4:4 + n]), data[4 + n:]


class Failure(Exception):
    """A request that was rejected or failed, or a connection that ended (request 0)."""

    def __init__(self, kind, request, error):
        super().__init__(error.get("message", ""))
        self.kind, self.request, self.name = kind, request, error.get("name", "?")
        self.retry_after_ms = error.get("retry_after_ms")


class Closed(Exception):
    pass


class Event:
    def __init__(self, kind, request, **more):
        self.kind, self.request = kind, request
        self.__dict__.update(more)


class Client:
    def __init__(self, path=None, sock=None, protocol=2, name="client.py", hello=True, key=None):
        if sock is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(path)
            except OSError:
                sock.close()
                raise
        self.sock, self.buffer, self.last_id, self.owed = sock, bytearray(), 0, {}
        self.auto_credit = True
        self.receipts, self.ended = {}, None            # what is signed, by request; the last envelope of an end, and the
        self.ended_body = None                          # body of an error
        if hello:
            self.send(HELLO, 0, {"protocol": protocol, "client": name, **({} if key is None else {"key": key})})
            try:
                kind, _, request, data = self.frame()
            except Closed:
                sock.close()
                raise
            if kind == ERROR:
                sock.close()
                raise Failure(kind, request, split(data)[0]["error"])
            self.server = json.loads(data)

    def close(self):
        self.sock.close()

    def send(self, kind, request, value=b"", fd=None):
        """fd: a descriptor, or a list of them."""
        value = value if isinstance(value, bytes) else json.dumps(value).encode()
        flag = 0 if fd is None else FLAG_FDS if isinstance(fd, list) else FLAG_FD
        data = HEADER.pack(len(value), kind, flag, request) + value
        if fd is not None:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fd if isinstance(fd, list) else [fd]))]
            data = data[self.sock.sendmsg([data], rights):]
        self.sock.sendall(data)

    def read(self, n):
        while len(self.buffer) < n:
            try:
                more = self.sock.recv(262144)
            except ConnectionResetError:
                more = b""
            if not more:
                raise Closed()
            self.buffer += more
        data = bytes(self.buffer[:n])
        del self.buffer[:n]
        return data

    def frame(self):
        n, kind, flags, request = HEADER.unpack(self.read(HEADER.size))
        return kind, flags, request, self.read(n)

    def request(self, kind, value, fd=None):
        """value: one object; what belongs into the envelope is put there."""
        body = {key: v for key, v in value.items() if key not in ENVELOPE}
        self.last_id += 1
        self.send(kind, self.last_id, payload({k: v for k, v in value.items() if k in ENVELOPE}, body or None), fd)
        return self.last_id

    def load_path(self, path, **more):
        """Loads a file by its descriptor: the daemon opens nothing for us. Its name is then its absolute path."""
        path = os.path.abspath(path)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return self.wait(self.request(LOAD, {"model": path, **more}, fd))
        finally:
            os.close(fd)

    def credit(self, request, n):
        self.send(CREDIT, request, struct.pack("<I", n))

    def cancel(self, request):
        self.send(CANCEL, request)

    def event(self):
        """The next event of any request. Raises Failure for a terminal frame that isn't COMPLETE."""
        kind, flags, request, data = self.frame()
        if kind in (TOKEN, DATA) and self.auto_credit:
            owed = self.owed.get(request, 0) + len(data)
            if owed >= self.server["credit"] // 4:
                try:
                    self.credit(request, owed)
                except (BrokenPipeError, ConnectionResetError):
                    pass
                owed = 0
            self.owed[request] = owed
        if kind == TOKEN:
            index, data = (struct.unpack_from("<I", data)[0], data[4:]) if flags & FLAG_INDEX else (None, data)
            part, data = (struct.unpack_from("<I", data)[0], data[4:]) if flags & FLAG_PART else (0, data)
            token, n = struct.unpack_from("<II", data)
            extra = json.loads(data[8 + n:]) if flags & FLAG_EXTRA else None
            return Event(kind, request, token=token, text=data[8:8 + n].decode(), extra=extra, index=index,
                         part=part)
        if kind == DATA:
            return Event(kind, request, data=data)
        if kind == PROGRESS:
            return Event(kind, request, value=json.loads(data))
        if kind == RECEIPT:
            if flags & FLAG_INDEX:      # of one of several answers
                self.receipts.setdefault(request, {})[struct.unpack_from("<I", data)[0]] = json.loads(data[4:])
            else:
                self.receipts[request] = json.loads(data)
            return self.event()
        self.owed.pop(request, None)
        self.ended, body = split(data)
        envelope = self.ended
        if kind in (REJECTED, ERROR):
            self.ended_body = json.loads(body) if body else None
            raise Failure(kind, request, envelope["error"])
        return Event(kind, request, value={**(json.loads(body) if body else {}), **envelope})

    def events(self, request):
        """The events of one request, its COMPLETE last; those of others are dropped."""
        while True:
            event = self.event()
            if event.request == request:
                yield event
                if event.kind == COMPLETE:
                    return

    def wait(self, request):
        for event in self.events(request):
            pass
        return event.value

    def answer(self, request):
        """The whole text of a request's answer, its tokens, and its result."""
        parts, tokens = [], []
        for event in self.events(request):
            if event.kind == TOKEN:
                parts.append(event.text)
                tokens.append(event.token)
        return "".join(parts), tokens, event.value

    def text(self, kind, value):
        text, _, result = self.answer(self.request(kind, value))
        return text, result
