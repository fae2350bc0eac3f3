"""A daemon that keeps a log, for the tests of the log: starting it, asking it, reading what it wrote."""
import json
import os
import socket
import subprocess
import sys
import tempfile
import unittest

import client as c
from processes import Daemons, below

BIN = os.path.abspath(sys.argv[1])
VERITAS = BIN + "/veritas"
ASKED = {"model": "one", "prompt": "a very private question", "raw": True, "ignore_eos": True, "max_tokens": 8,
         "sampling": {"temperature": 0}}


def listens(path):
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(path) == 0


def answers(path):
    """Does anybody say HELLO?"""
    if not listens(path):
        return False
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(path)
            c.Client(sock=s)
        except (OSError, c.Closed):
            return False
    return True


class LogTest(Daemons, unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="vsa")
        os.mkdir(self.dir + "/models")
        subprocess.run([BIN + "/mkmodel", "--ctx", "8192", "-o", self.dir + "/models/one.gguf"], check=True,
                       stdout=subprocess.DEVNULL)
        self.env = dict(os.environ, VERITAS_MODELS=self.dir + "/models", HOME=self.dir, NO_COLOR="1")
        self.said = open(self.dir + "/said", "w+b")
        self.log = self.dir + "/log"
        self.running = []

    def policy(self, **audit):
        with open(self.dir + "/policy.json", "w") as f:
            json.dump({"audit": dict({"dir": "log"}, **audit)}, f)

    def serve(self, name="s", **audit):
        self.policy(**audit)
        self.socket = f"{self.dir}/{name}"
        self.env["VERITAS_SOCKET"] = self.socket
        daemon = subprocess.Popen([VERITAS, "serve", "--policy", self.dir + "/policy.json"], env=self.env, stderr=self.said,
                                  stdin=subprocess.DEVNULL)
        self.running.append(daemon)
        self.wait_for(lambda: answers(self.socket) or daemon.poll() is not None)
        return daemon

    def stop(self, daemon):
        daemon.terminate()
        self.assertEqual(daemon.wait(30), 0)
        self.running.remove(daemon)

    def crash(self, daemon):
        daemon.kill()
        daemon.wait(30)
        self.running.remove(daemon)
        self.wait_for(lambda: not self.lock_is_held() and not listens(self.socket))

    def lock_is_held(self):
        return subprocess.run(["flock", "-n", self.log + "/lock", "true"]).returncode != 0

    def wait_for(self, what, seconds=30):           # logs are synced before anything is seen
        return super().wait_for(what, seconds)

    def client(self):
        x = c.Client(self.socket)
        x.sock.settimeout(60)
        self.addCleanup(x.close)
        return x

    def ask(self, x=None, **more):
        own = x is None
        x = x or c.Client(self.socket)
        x.sock.settimeout(60)
        try:
            x.request(c.GENERATE, {**ASKED, **more})
            while True:
                event = x.event()
                if event.kind == c.COMPLETE:
                    return event
        except c.Failure as f:
            return f
        finally:
            if own:
                x.close()

    def try_verify(self, *more):
        return subprocess.run([VERITAS, "audit", "verify", "--json", self.log, *more], env=self.env, capture_output=True, text=True)

    def verify(self, *more, status=0):
        done = self.try_verify(*more)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return json.loads(done.stdout)

    @staticmethod
    def read(path):
        with open(path, "rb") as f:
            return f.read()

    def put(self, name, text):
        with open(f"{self.log}/{name}", "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as f:
            f.write(text)

    def files(self):
        return sorted(f for f in os.listdir(self.log) if f.endswith(".jsonl"))

    def lines(self):
        return [line for name in self.files() for line in self.read(f"{self.log}/{name}").split(b"\n")[:-1]]

    def records(self):
        found = []
        for line in self.lines():
            try:
                found.append(json.loads(line))
            except ValueError:
                pass                    # torn; its successor names it
        return found

    def said_so(self):
        with open(self.dir + "/said") as f:
            return f.read()

    def writer(self, daemon):
        return list(below(daemon.pid, "veritas-audit"))[0]

    def event(self, name, n=0):
        """Waits for the n-th record of this event."""
        return self.wait_for(lambda: [r for r in self.records() if r["event"] == name][n:n + 1])[0]

    def keys(self, *args):
        return subprocess.run([VERITAS, "keys", *args, "--policy", self.dir + "/policy.json"], env=self.env, check=True,
                              capture_output=True, text=True).stdout.strip()
