"""The writer of the audit log, veritas-audit, without its daemon: whoever uses this is its supervisor and its broker."""
import array
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import threading

from processes import place

HEADER = struct.Struct("<IHHQ")
HELLO, RECEIPT, READY, STOP, BROKER, RECORD, WRITTEN, SEGMENT, NAMED = 0x01, 0x45, 0x60, 0x71, 0x7c, 0x7e, 0x7f, 0x80, 0x81
SOURCE = "0123456789abcdef"             # which broker
LOG_FD, LOCK_FD, KEY_FD, KEYS_FD, NOTES_FD = 6, 7, 8, 9, 10
ANSWER = {"event": "answer", "request": 7, "type": "generate", "number": 123456, "uid": 1000, "pid": 4242, "client": "veritas run",
          "role": "admin", "model": "smollm2-135m-instruct", "model_digest": "ab" * 32, "finish": "length", "status_id": 1,
          "duration": 812, "prompt_tokens": 36, "completion_tokens": 128, "cached_tokens": 0, "text_bytes": 512,
          "text_hmac": "cd" * 32, "policy": "ef" * 32, "sandbox": {"broker": 5, "guard": 5, "worker": 5}}


def frame(kind, payload=b"", request=0, flags=0):
    return HEADER.pack(len(payload), kind, flags, request) + payload


def record(number, event):
    return frame(RECORD, json.dumps(event, separators=(",", ":")).encode(), number)


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
            try:
                more = self.sock.recv(1 << 20)
            except OSError:
                more = b""
            if not more:
                return None, 0, b""
            self.buffer += more


def give(sock, kind, fd):
    sock.sendmsg([frame(kind, flags=1)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])


class Writer:
    """Goes on with the log in a folder, or begins it. most_bytes: what a file of it may have (RLIMIT_FSIZE); was_ready tells
    whether it could write its start."""

    def __init__(self, programs, folder, most_bytes=None, **settings):
        self.folder, self.was_ready = folder, False
        self.control, theirs = socket.socketpair()
        with open("/proc/sys/kernel/random/boot_id") as f:
            boot = f.read().replace("-", "").strip()
        last = max((name for name in os.listdir(folder) if name.endswith(".jsonl")), default=None)
        told = {"policy": "", "boot": boot, "first": int(last[:16]) if last else 0, "sync": "group", "rotate_bytes": 64 << 20,
                "checkpoint_records": 1000, "checkpoint_seconds": 60, **settings}
        fd = os.memfd_create("settings")
        os.write(fd, json.dumps(told).encode())
        words = os.memfd_create("words")
        os.ftruncate(words, 65536)
        names = {LOCK_FD: "lock", KEY_FD: "signing.key", KEYS_FD: "keys", NOTES_FD: "checkpoints"}
        if last:
            names[LOG_FD] = last
        fds = {n: os.open(f"{folder}/{name}", os.O_RDWR | os.O_CREAT | (os.O_APPEND if n not in (LOCK_FD, KEY_FD) else 0), 0o600)
               for n, name in names.items()}
        fds.update({3: theirs.fileno(), 4: words, 5: fd})
        put = place(fds)

        def prepare():
            put()
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)       # as its supervisor leaves it
            if most_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
        self.process = subprocess.Popen([programs + "/veritas-audit"], preexec_fn=prepare, close_fds=False)
        for n in fds.values():
            if n != theirs.fileno():
                os.close(n)
        theirs.close()
        self.serving = threading.Thread(target=self.serve, daemon=True)
        self.settled = threading.Event()
        self.serving.start()
        self.settled.wait(30)
        self.broker = None
        if self.was_ready:
            self.connect()

    def connect(self):
        """As a broker, again after it refused one."""
        if self.broker:
            self.broker.close()
        self.broker, theirs = socket.socketpair()
        give(self.control, BROKER, theirs.fileno())
        theirs.close()
        self.broker.sendall(frame(HELLO, json.dumps({"source": SOURCE}).encode()))

    def serve(self):
        frames, fd, part = Frames(self.control), -1, self.folder + "/next.part"
        while True:
            kind, _, data = frames.next()
            if kind is None:
                self.settled.set()
                return
            if kind == READY:
                self.was_ready = True
                self.settled.set()
            elif kind == SEGMENT:
                fd = os.open(part, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o600)
                give(self.control, SEGMENT, fd)
                os.close(fd)
            elif kind == NAMED:
                os.rename(part, f"{self.folder}/{struct.unpack('<Q', data)[0]:016d}.jsonl")
                self.control.sendall(frame(NAMED))

    def stop(self):
        """Its exit status, after an orderly end if it is there."""
        try:
            self.control.sendall(frame(STOP))
        except OSError:
            pass
        return self.ended()

    def ended(self):
        status = self.process.wait()
        self.serving.join()
        self.control.close()
        if self.broker:
            self.broker.close()
        return status
