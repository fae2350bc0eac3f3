#!/usr/bin/env python3
"""A program that asks for others (`serve --delegate`): each person has a cache and a share of its own.

usage: delegate.py BIN (holds veritas, veritas-broker, veritas-worker and mkmodel)."""
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import client as c

BIN = os.path.abspath(sys.argv.pop(1))
PROMPT = "Once upon a time there was a very small model that had read only little. " * 4


class Delegate(unittest.TestCase):
    def serve(self, *options):
        """A client of a daemon with these options."""
        self.dir = tempfile.TemporaryDirectory(prefix="vsd")
        self.addCleanup(self.dir.cleanup)
        subprocess.run([BIN + "/mkmodel", "--arch", "llama", "--layers", "1", "--embd", "64", "--heads", "4", "--kv-heads", "2",
                        "--vocab", "600", "--seed", "7", "--ctx", "1024", "-o", self.dir.name + "/tiny.gguf"], check=True,
                       stdout=subprocess.DEVNULL)
        env = {**os.environ, "VERITAS_SOCKET": self.dir.name + "/s", "VERITAS_MODELS": self.dir.name}
        daemon = subprocess.Popen([BIN + "/veritas", "serve", *options], env=env, stderr=subprocess.DEVNULL)
        self.addCleanup(lambda: (daemon.send_signal(signal.SIGTERM), self.assertEqual(daemon.wait(20), 0)))
        end = time.monotonic() + 20
        while True:
            try:
                client = c.Client(self.dir.name + "/s")
                self.addCleanup(client.close)
                return client
            except (OSError, c.Closed):
                self.assertLess(time.monotonic(), end)
                time.sleep(0.02)

    def cached(self, client, person):
        more = {"on_behalf_of": person} if person else {}
        result = client.wait(client.request(c.GENERATE, {"model": "tiny", "prompt": PROMPT, "raw": True, "max_tokens": 2, **more}))
        return result["usage"]["cached_tokens"]

    def test_caches(self):
        client = self.serve("--delegate", "4294967294", "--delegate", str(os.getuid()))
        self.assertEqual(self.cached(client, "anna"), 0)
        self.assertGreater(self.cached(client, "anna"), 32)
        self.assertEqual(self.cached(client, "ben"), 0)         # not even by the time that an answer takes
        self.assertEqual(self.cached(client, None), 0)
        other = c.Client(self.dir.name + "/s")
        self.assertGreater(self.cached(other, "anna"), 32)      # a person is one on every connection
        other.close()
        for bad in ("", "x" * 65, 5, ["anna"]):
            with self.assertRaises(c.Failure) as e:
                client.wait(client.request(c.TOKENIZE, {"model": "tiny", "text": "x", "on_behalf_of": bad}))
            self.assertEqual((e.exception.name, "on_behalf_of" in str(e.exception)), ("INVALID", True))
        for i in range(1100):                                   # more persons than are remembered
            client.wait(client.request(c.TOKENIZE, {"model": "tiny", "text": "x", "on_behalf_of": f"p{i}"}))
        self.assertGreater(self.cached(client, "anna"), 32)

    def test_no_delegate(self):
        client = self.serve("--delegate", "4294967294")
        with self.assertRaises(c.Failure) as e:
            self.cached(client, "anna")
        self.assertEqual((e.exception.name, "--delegate" in str(e.exception)), ("DENIED", True))
        self.assertEqual(self.cached(client, None), 0)


if __name__ == "__main__":
    unittest.main(verbosity=0)
