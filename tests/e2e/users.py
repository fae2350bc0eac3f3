"""Two users of one daemon: what one's prompt left behind is nothing to the other. And values that no type of ours holds, through
the whole chain. usage: users.py BIN. Needs root, to be two users."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import client as c

BIN = os.path.abspath(sys.argv[1])
OTHER = 12345
NOBODY = 65534                          # also what a user namespace shows of everybody else


class Users(unittest.TestCase):
    def start(self, user, sandbox):
        self.user = user
        self.dir = tempfile.mkdtemp(prefix="vsu")
        d = self.dir
        for name in ("veritas", "veritas-broker", "veritas-worker", "veritas-guard", "veritas.rules"):
            shutil.copy(f"{BIN}/{name}", d)
        for folder in ("models", "run", "home"):
            os.mkdir(f"{d}/{folder}")
        subprocess.run([BIN + "/mkmodel", "--arch", "llama", "--layers", "1", "--embd", "64", "--heads", "4", "--kv-heads",
                        "2", "--vocab",
                        "600", "--seed", "7", "-o", d + "/models/one.gguf"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["chmod", "-R", "a+rX", d], check=True)
        for folder in ("run", "home"):
            os.chown(f"{d}/{folder}", user, user)
            os.chmod(f"{d}/{folder}", 0o700)
        env = dict(PATH="/usr/bin:/bin", HOME=d + "/home", VERITAS_MODELS=d + "/models", VERITAS_SOCKET=d + "/run/s",
                   VERITAS_SANDBOX=sandbox)
        self.daemon = subprocess.Popen([d + "/veritas", "serve"], env=env, stderr=subprocess.DEVNULL, user=user, group=user,
                                       extra_groups=[])
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                self.connect().close()
                return
            except OSError:                 # not there yet, or not listening
                time.sleep(0.02)

    def tearDown(self):
        self.daemon.terminate()
        self.daemon.wait(20)
        shutil.rmtree(self.dir)

    def connect(self):
        x = c.Client(self.dir + "/run/s")
        x.sock.settimeout(30)
        return x

    def as_other(self, call):
        """call(client) in a process of the other user; what it returns comes back as JSON."""
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.setgroups([])
                os.setresgid(*[self.user] * 3)
                os.setresuid(*[self.user] * 3)
                os.write(write, json.dumps(call(self.connect())).encode())
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read) as f:
            text = f.read()
        os.waitpid(pid, 0)
        return json.loads(text)

    @staticmethod
    def cached(x, text="the sky is blue "):
        prompt = {"model": "one", "prompt": text * 20, "raw": True, "max_tokens": 2, "ignore_eos": True}
        return x.text(c.GENERATE, prompt)[1]["usage"]["cached_tokens"]

    def test_nothing_is_shared(self):
        self.start(OTHER, "namespaces=off")
        x = self.connect()
        self.assertEqual(self.cached(x), 0)
        mine = self.cached(x)
        self.assertGreater(mine, 50)
        self.assertEqual(self.as_other(self.cached), 0)
        self.assertEqual(self.as_other(self.cached), mine)
        self.assertEqual(self.cached(x), mine)         # each has his own
        # Another kind of request leaves nothing behind.
        logits = {"model": "one", "text": "the moon is grey " * 20}
        self.as_other(lambda y: y.wait(y.request(c.LOGITS, logits))["n_tokens"])
        x.wait(x.request(c.LOGITS, logits))
        self.assertLess(self.cached(x, "the moon is grey "), 5)         # "the"
        x.close()

    def test_users_who_look_the_same(self):
        """In a user namespace whoever is not mapped has one number, and a daemon of nobody's has it too: then each connection is
        somebody."""
        self.start(NOBODY, "namespaces=on")
        x = self.connect()
        self.assertEqual(self.cached(x), 0)
        self.assertGreater(self.cached(x), 50)
        self.assertEqual(self.as_other(self.cached), 0)
        self.assertEqual(self.as_other(self.cached), 0)
        x.close()

    def test_numbers_beyond_our_types(self):
        self.start(OTHER, "namespaces=off")
        x = self.connect()
        tools = [{"type": "function",
                  "function": {"name": "seek", "parameters": {"maximum": 18446744073709551615, "minimum": -1e400}}}]
        for value in (18446744073709551615, 10 ** 400, 5):
            for key, good in (("max_tokens", value == 5), ("unknown", None)):
                request = {"model": "one", "messages": [{"role": "user", "content": "a\0b"}], "tools": tools,
                           "max_tokens": 1, key: value}
                text = json.dumps(request).replace("-Infinity", "-1e400").encode()
                body = text.replace(b'"model": "one", ', b"")
                x.last_id += 1
                head = c.payload({"model": "one"})
                x.send(c.CHAT, x.last_id, head + body)
                try:
                    x.wait(x.last_id)
                    self.assertIsNot(good, False)
                except c.Failure as failure:
                    self.assertEqual((failure.request, failure.name), (x.last_id, "INVALID"))
        self.assertEqual(x.wait(x.request(c.STATUS, {}))["models"][0]["name"], "one")     # the connection lives
        x.close()


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
