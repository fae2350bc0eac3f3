"""What a worker that was taken over would try (support/attempts.c), in a worker that the real supervisor and broker started: each
attempt has its end, the daemon's log names the call and its number, the worker is replaced, only the request that tried ends, and
it is refused when it comes again. As root, and as an ordinary user. Arguments: veritas, veritas-broker, worker-echo."""
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from concurrent.futures import ThreadPoolExecutor         # at once: an ordinary user may not read its files

import client as c

VERITAS, BROKER, WORKER = sys.argv[1:4]
GUARD, RULES = (os.path.join(os.path.dirname(VERITAS), name) for name in ("veritas-guard", "veritas.rules"))
MODELS = 6                              # that is how many attempts are under way
ORDINARY = 12345


class Attempts(unittest.TestCase):
    def start(self, user):
        self.dir = d = tempfile.mkdtemp(prefix="vsa")
        for folder in ("bin", "models", "run"):
            os.mkdir(f"{d}/{folder}")
        for source, name in ((VERITAS, "veritas"), (BROKER, "veritas-broker"), (WORKER, "veritas-worker"),
                             (GUARD, "veritas-guard"), (RULES, "veritas.rules")):
            shutil.copy(source, f"{d}/bin/{name}")
        for name in [f"m{i}" for i in range(MODELS)] + ["calm"]:
            with open(f"{d}/models/{name}.gguf", "w") as f:
                f.write("model")
        subprocess.run(["chmod", "-R", "a+rX", d], check=True)
        os.chmod(d + "/run", 0o700)
        os.chown(d + "/run", user, user)
        who = {"user": user, "group": user, "extra_groups": []} if user != os.geteuid() else {}
        env = dict(PATH="/usr/bin:/bin", HOME=d + "/run", VERITAS_MODELS=d + "/models", VERITAS_SOCKET=d + "/run/s")
        with open(d + "/log", "wb") as log:
            self.daemon = subprocess.Popen([d + "/bin/veritas", "serve"], env=env, stdin=subprocess.DEVNULL, stderr=log, **who)
        os.seteuid(user)                    # its clients are the daemon's own user
        end = time.monotonic() + 20
        while True:
            try:
                self.connect().close()
                return
            except OSError:                 # not there yet
                self.assertLess(time.monotonic(), end)
                time.sleep(0.02)

    def tearDown(self):
        os.seteuid(os.getuid())
        self.daemon.terminate()
        self.daemon.wait(30)
        shutil.rmtree(self.dir)

    def connect(self):
        x = c.Client(self.dir + "/run/s")
        x.sock.settimeout(60)
        return x

    def logged(self, begin, model, n):
        """What the daemon's log says of a model from `begin` on; n lines, if they come."""
        end = time.monotonic() + 5
        while True:
            with open(self.dir + "/log", errors="replace") as f:
                f.seek(begin)
                said = [line for line in f if f"model {model}: worker " in line]
            if len(said) >= n or time.monotonic() > end:
                return said
            time.sleep(0.02)

    def try_one(self, free, row):
        """In the worker of a model that nobody else uses meanwhile. Returns what is wrong, or None."""
        model, x, worked, died = free.get(), self.connect(), None, None
        begin = os.path.getsize(self.dir + "/log")
        attempt = {"model": model, "prompt": "@try " + row["name"]}
        try:
            worked = x.text(c.GENERATE, attempt)[1].get("worked")
        except c.Failure as e:
            died = e
        again = x.text(c.GENERATE, {"model": model, "prompt": "still here"})[0]
        try:
            refused = x.text(c.GENERATE, attempt) if died else None
        except c.Failure as e:
            refused = e.name
        x.wait(x.request(c.UNLOAD, {"model": model}))    # the next one gets a process without the back-off of one that died
        x.close()
        n = 0 if row["end"] == "works" else 2            # a request whose worker dies is tried in one more
        said = self.logged(begin, model, n)
        free.put(model)
        want = f"tried the system call {row['call']} ({row['number']}) while answering generate and was stopped" \
            if row["end"] == "trapped" else "killed by the kernel for a forbidden system call"
        good = [line for line in said if want in line]
        if again == "still here" and len(said) == n:
            if n == 0 and worked is True:
                return None
            if n and died and died.name == "DIED" and want in str(died) and len(good) == n and refused == "DENIED":
                return None
        return f"{row}: {worked}, {died}, {said}, then {again!r}, {refused}"

    def attempts(self, user):
        self.start(user)
        calm = self.connect()
        ps = c.Client(self.dir + "/run/s")
        slow = calm.request(c.GENERATE, {"model": "calm", "prompt": "@slow 1000"})      # a neighbour
        rows = ps.text(c.GENERATE, {"model": "m0", "prompt": "@attempts"})[1]["attempts"]
        level = next(m["sandbox"]["level"] for m in ps.wait(ps.request(c.STATUS, {}))["models"] if m["name"] == "m0")
        ps.close()
        self.assertGreaterEqual(level, 2)
        kinds = {end: sum(row["end"] == end for row in rows) for end in ("trapped", "killed", "works")}
        self.assertGreater(kinds["trapped"], 100)
        self.assertEqual(kinds["killed"], 3)                # no handler, or no call of ours: entries of 32-bit programs
        self.assertEqual(len({row["name"] for row in rows}), len(rows))
        free = queue.SimpleQueue()
        for i in range(MODELS):
            free.put(f"m{i}")
        with ThreadPoolExecutor(MODELS) as pool:
            wrong = [fault for fault in pool.map(lambda row: self.try_one(free, row), rows) if fault]
        self.assertEqual(wrong, [], "\n".join(wrong))
        self.assertEqual(len(calm.answer(slow)[0]), 1000)
        status = calm.wait(calm.request(c.STATUS, {}))
        self.assertEqual([m["restarts"] for m in status["models"] if m["name"] == "calm"], [0])
        calm.close()
        with open(self.dir + "/log", errors="replace") as f:
            text = f.read()
        self.assertFalse(re.search("broker (died|cannot)", text), text)
        print(f"uid {user}, level {level}: {len(rows)} attempts, {kinds}")

    def test_as_root(self):
        if os.geteuid():
            self.skipTest("needs root")
        self.attempts(0)

    def test_as_a_user(self):
        self.attempts(ORDINARY if os.geteuid() == 0 else os.geteuid())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
