"""Daemons as users have them, shared and private, with an echo as model: `veritas serve`, the real broker, the worker's
frame loop. What starts, what ends, and what is left behind. Arguments: veritas, veritas-broker, worker-echo."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import client as c
from processes import patience

VERITAS, BROKER, WORKER = sys.argv[1:4]
GUARD, RULES = (os.path.join(os.path.dirname(VERITAS), name) for name in ("veritas-guard", "veritas.rules"))


class Daemon(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        d = self.dir.name
        os.chmod(d, 0o755)
        os.makedirs(d + "/bin")
        os.makedirs(d + "/models")
        for source, name in ((VERITAS, "veritas"), (BROKER, "veritas-broker"), (WORKER, "veritas-worker"),
                             (GUARD, "veritas-guard"), (RULES, "veritas.rules")):
            shutil.copy(source, d + "/bin/" + name)
        with open(d + "/models/echo.gguf", "w") as f:
            f.write("model")
        self.socket = d + "/run/v.sock"
        self.env = dict(os.environ, VERITAS_MODELS=d + "/models", VERITAS_SOCKET=self.socket, XDG_CACHE_HOME=d + "/cache")
        self.started = []

    def tearDown(self):
        for p in self.started:
            if p.poll() is None:
                p.kill()
            p.wait()
            if p.stdout:
                p.stdout.close()
        self.assertTrue(self.gone_within(3), "processes were left behind: %s" % self.processes())
        self.dir.cleanup()

    def start(self, *args):
        p = subprocess.Popen([self.dir.name + "/bin/veritas", *args], env=self.env, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        self.started.append(p)
        return p

    def processes(self):
        """Pids of what runs from our folder, zombies left out."""
        found = {}
        for pid in os.listdir("/proc"):
            try:
                exe = os.readlink("/proc/%s/exe" % pid)
            except OSError:
                continue
            if exe.startswith(self.dir.name):
                found[int(pid)] = os.path.basename(exe)
        return found

    def gone_within(self, seconds):
        end = time.monotonic() + seconds * patience()
        while self.processes():
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def serve(self):
        p = self.start("serve")
        end = time.monotonic() + 5
        while time.monotonic() < end:
            try:
                c.Client(self.socket).close()
                break
            except OSError:
                time.sleep(0.01)
        return p

    def test_private_daemon_dies_with_its_client(self):
        for victim in ("client", "supervisor"):
            p = self.start("run", "-m", "echo", "@slow 3000")
            self.assertEqual(p.stdout.read(1), b"x")
            ours, end = ["veritas", "veritas", "veritas-broker", "veritas-guard", "veritas-worker"], time.monotonic() + 3
            while sorted(self.processes().values()) != ours and time.monotonic() < end:
                time.sleep(0.01)                # the child that reads the file's digest may still be there
            self.assertEqual(sorted(self.processes().values()), ours)
            pid = p.pid if victim == "client" else next(i for i, n in self.processes().items() if n == "veritas" and i != p.pid)
            os.kill(pid, signal.SIGKILL)
            if victim == "supervisor":
                self.assertEqual(p.wait(3), 70)
            else:
                p.wait()
            self.assertTrue(self.gone_within(1), "%s killed; left: %s" % (victim, self.processes()))

    def test_private_socket(self):
        self.serve()
        self.assertEqual(os.stat(self.socket).st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(os.path.dirname(self.socket)).st_mode & 0o777, 0o700)

    def test_shared_daemon(self):
        daemon = self.serve()
        x, y = c.Client(self.socket), c.Client(self.socket)
        text, result = x.text(c.GENERATE, {"model": "echo", "prompt": "hello"})
        self.assertEqual((text, len(result["model_digest"])), ("hello", 64))
        slow = y.request(c.GENERATE, {"model": "echo", "prompt": "@slow 1000"})
        while y.event().kind != c.TOKEN:
            pass
        pid = next(i for i, n in self.processes().items() if n == "veritas-worker")
        os.kill(pid, signal.SIGKILL)
        start = time.monotonic()
        with self.assertRaises(c.Failure) as f:
            y.wait(slow)
        self.assertEqual(f.exception.name, "DIED")
        self.assertLess(time.monotonic() - start, 1 * patience())
        self.assertEqual(x.text(c.GENERATE, {"model": "echo", "prompt": "again"})[0], "again")
        self.assertEqual(x.wait(x.request(c.LIST, {}))["models"][0]["name"], "echo")
        path = self.dir.name + "/other.gguf"
        shutil.copy(self.dir.name + "/models/echo.gguf", path)
        x.load_path(path)
        self.assertEqual(x.text(c.GENERATE, {"model": path, "prompt": "by path"})[0], "by path")
        x.wait(x.request(c.SHUTDOWN, {}))
        self.assertEqual(daemon.wait(10), 0)
        self.assertTrue(self.gone_within(2))
        x.close()
        y.close()

    def test_stopped_worker(self):
        """A hung worker is noticed though nobody cancels, and its supervisor replaces it; who waited the next one answers."""
        self.serve()
        x = c.Client(self.socket)
        path = self.dir.name + "/other.gguf"
        shutil.copy(self.dir.name + "/models/echo.gguf", path)
        x.load_path(path)                   # the one that only its supervisor can open again
        slow = x.request(c.GENERATE, {"model": path, "prompt": "@slow 5000"})
        while x.event().kind != c.TOKEN:
            pass
        waiting = x.request(c.GENERATE, {"model": path, "prompt": "later"})
        os.kill(next(i for i, n in self.processes().items() if n == "veritas-worker"), signal.SIGSTOP)
        start = time.monotonic()
        with self.assertRaises(c.Failure) as f:
            x.wait(slow)
        self.assertEqual((f.exception.name, f.exception.request), ("DIED", slow))
        self.assertEqual(x.answer(waiting)[0], "later")
        self.assertTrue(8 < time.monotonic() - start < 14)
        x.close()


if __name__ == "__main__":
    probe = subprocess.run([VERITAS, "serve", "--private-fd", "3"], capture_output=True, stdin=subprocess.DEVNULL)
    if b"not built" in probe.stderr or b"not part" in probe.stderr:
        print("this build has no `veritas serve`")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0]] + sys.argv[4:])
