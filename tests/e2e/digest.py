#!/usr/bin/env python3
"""`model_digest` is of the bytes that were computed with, or there is none. usage: digest.py BIN (holds the programs and mkmodel).

Somebody writes to the model's file through a shared mapping, which on tmpfs changes no time stamp: while it is loaded, while the
digest is computed, afterwards. And files whose digest would never end: holes of a terabyte."""
import hashlib
import json
import mmap
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import client as c
from processes import below, patience

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures"))
import malformed

BIN = os.path.abspath(sys.argv[1])
VERITAS = BIN + "/veritas"
SHM = "/dev/shm"
ASK = {"prompt": "the sky is", "raw": True, "ignore_eos": True, "max_tokens": 3, "logits_hash": True,
       "sampling": {"temperature": 0}}


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


class Digest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        room = os.statvfs(SHM) if os.path.isdir(SHM) else None
        cls.dir = tempfile.mkdtemp(prefix="vsd", dir=SHM if room and room.f_bavail * room.f_frsize > 1 << 30 else None)
        os.chmod(cls.dir, 0o755)
        cls.small, cls.large = cls.dir + "/small.gguf", cls.dir + "/large.gguf"
        subprocess.run([BIN + "/mkmodel", "-o", cls.small], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([BIN + "/mkmodel", "--embd", "1024", "--ff", "4096", "--layers", "6", "--type", "F16", "--heads", "8",
                        "-o", cls.large],
                       check=True, stdout=subprocess.DEVNULL)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)

    def setUp(self):
        self.work = tempfile.mkdtemp(prefix="vsd")
        self.env = dict(os.environ, VERITAS_MODELS=self.work, VERITAS_SOCKET=self.work + "/run/s",
                        XDG_CACHE_HOME=self.work + "/cache", HOME=self.work, NO_COLOR="1")
        self.daemon = None

    def tearDown(self):
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait(30)
            self.daemon.stderr.close()
        shutil.rmtree(self.work)

    def serve(self):
        self.daemon = subprocess.Popen([VERITAS, "serve"], env=self.env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        end = time.monotonic() + 20
        while subprocess.run([VERITAS, "ps"], env=self.env, capture_output=True).returncode:
            self.assertLess(time.monotonic(), end)
        return c.Client(self.work + "/run/s")

    def copy(self, of):
        path = self.dir + "/copy.gguf"
        shutil.copyfile(of, path)
        return path

    def mapped(self, path):
        """A writable mapping whose pages are dirty already: later writes go unnoticed."""
        with open(path, "r+b") as f:
            m = mmap.mmap(f.fileno(), 0)
        for at in range(0, len(m), 4096):
            m[at] = m[at]
        return m

    def begin_load(self, x, path):
        """Sends LOAD for the file; returns the request and the worker's process, stopped in the middle of loading."""
        for _ in range(20):
            with open(path, "rb") as f:
                request = x.request(c.LOAD, {"model": path, "settings": {"threads": 1}}, fd=f.fileno())
            while x.event().kind != c.PROGRESS:
                pass
            worker, = below(self.daemon.pid, "veritas-worker")
            os.kill(worker, signal.SIGSTOP)
            time.sleep(0.1)
            if not select.select([x.sock], [], [], 0)[0] and not x.buffer:
                return request, worker
            os.kill(worker, signal.SIGCONT)             # we were late: it was loaded already, or sent something meanwhile
            x.wait(request)
            x.wait(x.request(c.UNLOAD, {"model": path}))
        self.fail("no load was caught in the middle")

    def change_while_it_is_loaded(self, x, restore):
        """True: it was noticed. False: all had been read before, and the result is that of the file as it was; or nothing of
        what changed, and it is that of the new one."""
        path = self.copy(self.large)
        was = sha256(path)
        m = self.mapped(path)
        request, worker = self.begin_load(x, path)
        at = range(1 << 20, len(m), 1 << 20)            # of the blocks some were loaded before, some will be after
        for i in at:
            m[i] ^= 1
        generate = x.request(c.GENERATE, {"model": path, **ASK})            # waits for the model
        os.kill(worker, signal.SIGCONT)
        x.wait(request)
        # the file is as it was: only the blocks that were loaded meanwhile are others
        for i in at if restore else ():
            m[i] ^= 1
        try:
            late = x.wait(generate)
        except c.Failure as failure:
            late = None
            self.assertEqual(failure.name, "MALFORMED")
            self.assertRegex(str(failure), "changed while it was loaded")
            with self.assertRaises(c.Failure) as failure:                   # and it is loaded no more
                x.wait(x.request(c.GENERATE, {"model": path, **ASK}))
            self.assertEqual(failure.exception.name, "NOT_FOUND")
            x.load_path(path)
        result = late or x.wait(x.request(c.GENERATE, {"model": path, **ASK}))
        now = sha256(path)
        if late and late["model_digest"] == now != was:
            x.wait(x.request(c.UNLOAD, {"model": path}))
            x.load_path(path)
            again = x.wait(x.request(c.GENERATE, {"model": path, **ASK}))
            self.assertEqual([again[k] for k in ("model_digest", "logits_hash")], [now, late["logits_hash"]])
        else:
            self.assertEqual(result["model_digest"], was if late else now)
        if (late and late["model_digest"] == was) or restore:
            self.assertEqual(result["logits_hash"], self.as_it_was)
        x.wait(x.request(c.UNLOAD, {"model": path}))
        m.close()
        return late is None

    def test_changed_while_it_is_loaded(self):
        x = self.serve()
        path = self.copy(self.large)
        x.load_path(path)
        self.as_it_was = x.wait(x.request(c.GENERATE, {"model": path, **ASK}))["logits_hash"]
        x.wait(x.request(c.UNLOAD, {"model": path}))
        for restore in (False, True):
            self.assertTrue(any(self.change_while_it_is_loaded(x, restore) for _ in range(10)))
        x.close()

    def test_changed_after_it_was_loaded(self):
        """Right after the load the digest is still being computed: it is that of the loaded bytes, or there is none. Once it is
        known it stays, and so do the bits."""
        x = self.serve()
        path = self.copy(self.large)
        was = sha256(path)
        m = self.mapped(path)
        x.load_path(path, settings={"threads": 1})
        m[len(m) - 5000] ^= 1                           # 200 MB further than where the digest begins
        try:
            result = x.wait(x.request(c.GENERATE, {"model": path, **ASK}))
            self.assertEqual(result["model_digest"], was)
            x.wait(x.request(c.UNLOAD, {"model": path}))
        except c.Failure as failure:
            self.assertRegex(str(failure), "changed while it was loaded|is not loaded")
        m[len(m) - 5000] ^= 1
        x.load_path(path, settings={"threads": 1})
        first = x.wait(x.request(c.GENERATE, {"model": path, **ASK}))
        self.assertEqual(first["model_digest"], was)
        for at in range(0, len(m), 4096):
            m[at] ^= 1
        second = x.wait(x.request(c.GENERATE, {"model": path, **ASK}))
        for key in ("model_digest", "logits_hash"):
            self.assertEqual(first[key], second[key])
        m.close()
        x.close()

    # ---- files that are mostly hole ----

    def refused(self, path, message, command=("run", "--raw", "-n", "1", "x")):
        begin = time.monotonic()
        done = subprocess.run([VERITAS, command[0], "-m", path, *command[1:]], env=self.env, capture_output=True,
                              text=True, timeout=60, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 3, done)
        self.assertRegex(done.stderr, r"^veritas: [^\n]*" + message + r"[^\n]*\n$")
        self.assertLess(time.monotonic() - begin, 20 * patience())

    def test_hole_behind_the_tensors(self):
        path = self.copy(self.small)
        os.truncate(path, 1 << 40)
        for command in (("run", "--raw", "-n", "1", "x"), ("run", "--json", "--raw", "-n", "1", "x"), ("inspect",)):
            self.refused(path, r"goes on for 109951\d* bytes behind its last tensor", command)

    def test_hole_in_a_tensor(self):
        with open(self.small, "rb") as f:
            model = malformed.Model(f.read())
        model.tensors.append(["extra.weight", [1 << 20, 1 << 18], 0, len(model.body)])
        path = self.dir + "/hole.gguf"
        with open(path, "wb") as f:
            f.write(model.pack())
        os.truncate(path, os.path.getsize(path) + (1 << 40))
        self.refused(path, r"(belong to its header and the model's tensors|extra\.weight)")

    def test_holes_between_tensors(self):
        with open(self.small, "rb") as f:
            model = malformed.Model(f.read())
        model.set("general.alignment", malformed.U32, 1 << 30)
        for i, tensor in enumerate(model.tensors):
            tensor[3] = i << 30
        model.body = b""
        path = self.dir + "/hole.gguf"
        with open(path, "wb") as f:
            f.write(model.pack())
        os.truncate(path, len(model.tensors) + 1 << 30)
        self.refused(path, r"(belong to its header and the model's tensors|general\.alignment)")


unittest.main(argv=sys.argv[:1], verbosity=1)
