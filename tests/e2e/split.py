#!/usr/bin/env python3
"""Models that were split over several files are the model that they were made of, by every way to name one; sets that are none are
refused with one line. usage: split.py BIN (holds the programs and mkmodel)."""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import client as c

BIN = os.path.abspath(sys.argv.pop(1))
VERITAS = BIN + "/veritas"
ASK = ["--temp", "0", "-n", "6", "--raw", "--json", "--logits-hash", "the sky is"]


def sha(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def part(i, n=3, stem="x"):
    return f"{stem}-{i:05}-of-{n:05}.gguf"


class Split(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="veritas-split-")
        self.dir = self.folder.name
        self.env = dict(os.environ, VERITAS_MODELS=self.dir + "/models", VERITAS_SOCKET=self.dir + "/s", HOME=self.dir)
        self.env.pop("VERITAS_POLICY", None)
        self.make("x")
        self.make("x", "--split", "3")
        self.digest = hashlib.sha256("".join(sha(self.at(part(i))) + "\n" for i in (1, 2, 3)).encode()).hexdigest()

    def tearDown(self):
        self.folder.cleanup()

    def at(self, name):
        return os.path.join(self.dir, name)

    def make(self, stem, *options):
        subprocess.run([BIN + "/mkmodel", "--type", "F32", *options, "-o", self.at(stem + ".gguf")], check=True)

    def run_it(self, *words, status=0, **more):
        p = subprocess.run([VERITAS, *words], env=self.env, cwd=self.dir, stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
                           **more)
        self.assertEqual(p.returncode, status, (words, p.stdout[-300:], p.stderr[-300:]))
        return p.stdout.decode(), p.stderr.decode()

    def answer(self, model):
        return json.loads(self.run_it("run", "--private", "-m", model, *ASK)[0])

    def test_it_is_the_same_model(self):
        whole = self.answer("./x.gguf")
        for name in ("./" + part(1), part(1), self.at(part(1))):
            parts = self.answer(name)
            self.assertEqual([parts[k] for k in ("tokens", "logits_hash")], [whole[k] for k in ("tokens", "logits_hash")])
            self.assertEqual(parts["model_digest"], self.digest)
        os.mkdir(self.at("hub"))                 # as a cache of downloads has it: links to files that are named by their digest
        for i in (1, 2, 3):
            os.rename(self.at(part(i)), self.at(f"hub/{i}"))
            os.symlink(f"hub/{i}", self.at(part(i)))
        self.assertEqual(self.answer("./" + part(1))["logits_hash"], whole["logits_hash"])
        for n in (2, 5, 48):
            self.make("y", "--split", str(n))
            self.assertEqual(self.answer("./" + part(1, n, "y"))["logits_hash"], whole["logits_hash"])

    def test_inspect(self):
        whole, parts = (json.loads(self.run_it("inspect", "--json", m)[0]) for m in ("./x.gguf", "./" + part(1)))
        self.assertEqual(parts["model_digest"], self.digest)
        self.assertEqual([(t["name"], t["dims"], t["type"]) for t in parts["tensors"]],
                         [(t["name"], t["dims"], t["type"]) for t in whole["tensors"]])
        self.assertEqual(parts["memory"], whole["memory"])

    def test_quantize(self):
        """All parts become one file: that which the whole file becomes."""
        for words in (["--type", "Q4_0"], ["--type", "F16", "--tensor", "*ffn*=Q8_0"]):
            self.run_it("quantize", "./x.gguf", "./whole.gguf", *words)
            self.run_it("quantize", "./" + part(1), "./joined.gguf", *words)
            self.assertEqual(sha(self.at("joined.gguf")), sha(self.at("whole.gguf")))
        self.run_it("quantize", "./" + part(2), "./no.gguf", "--type", "Q4_0", status=2)
        self.run_it("quantize", "./" + part(1), "./" + part(3), "--type", "Q4_0", status=2)      # a part that is read
        os.rename(self.at(part(3)), self.at("away"))
        self.run_it("quantize", "./" + part(1), "./no.gguf", "--type", "Q4_0", status=3)
        os.rename(self.at("away"), self.at(part(3)))
        self.assertFalse(os.path.exists(self.at("no.gguf")))

    def test_the_model_directory(self):
        whole = self.answer("./x.gguf")
        _, said = self.run_it("models", "add", "./" + part(1))
        self.assertIn(f"x is there, SHA-256 {self.digest}", said)
        self.assertEqual(sorted(f for f in os.listdir(self.at("models")) if not f.startswith(".")), [part(i) for i in (1, 2, 3)])
        row, = [m for m in json.loads(self.run_it("models", "list", "--json")[0])["models"] if m["present"]]
        self.assertEqual((row["name"], row["sha256"]), ("x", self.digest))
        self.assertEqual(row["bytes"], sum(os.path.getsize(self.at(part(i))) for i in (1, 2, 3)))
        self.assertEqual(self.answer("x")["logits_hash"], whole["logits_hash"])
        self.assertEqual(json.loads(self.run_it("inspect", "--json", "x")[0])["model_digest"], self.digest)
        self.assertIn(f"x: as recorded, SHA-256 {self.digest}", self.run_it("models", "verify", "x")[0])
        self.assertIn(part(1), self.run_it("models", "path", "x")[0])
        self.run_it("models", "add", "./" + part(1), status=5)
        with open(self.at("models/" + part(2)), "ab") as f:
            f.write(b"more")
        row, = [m for m in json.loads(self.run_it("models", "list", "--json")[0])["models"] if m["present"]]
        self.assertIsNone(row["sha256"])
        self.assertIn("x-00002-of-00003", self.run_it("models", "verify", "x", status=3)[1])
        self.run_it("models", "add", "./" + part(1), "other")
        self.run_it("models", "add", "./x.gguf", "x", "--force")             # beside its parts: the file has the name
        self.assertEqual(self.answer("x")["model_digest"], sha(self.at("x.gguf")))
        self.run_it("models", "rm", "x")
        self.run_it("models", "rm", "x")
        self.assertEqual(len([f for f in os.listdir(self.at("models")) if f.startswith(("x", ".x"))]), 0)
        self.assertEqual(self.answer("other")["model_digest"], self.digest)

    def test_a_daemon(self):
        serve = subprocess.Popen([VERITAS, "serve"], env=self.env, cwd=self.dir, stderr=subprocess.PIPE)
        try:
            while b"accepts clients" not in (line := serve.stderr.readline()) and b"listening" not in line:
                self.assertTrue(line)
            self.run_it("load", "./" + part(1))
            first = json.loads(self.run_it("run", "-m", self.at(part(1)), *ASK)[0])
            self.assertEqual(first["model_digest"], self.digest)
            self.run_it("models", "add", "./" + part(1))
            self.assertEqual(json.loads(self.run_it("run", "-m", "x", *ASK)[0])["logits_hash"], first["logits_hash"])
            client = c.Client(self.at("s"))
            names = [m["name"] for m in client.wait(client.request(c.LIST, {}))["models"]]
            self.assertIn("x", names)
            fds = [os.open(self.at(part(i)), os.O_RDONLY) for i in (1, 2, 3)]
            path = os.path.realpath(self.at(part(1)))
            for name, given in ((path, fds[:2]), (path, [fds[0], fds[2], fds[1]]), (path, fds + fds[:1]),
                                (os.path.realpath(self.at("x.gguf")), fds), (os.path.realpath(self.at(part(2))), fds[1:2])):
                self.run_it("unload", self.at(part(1))) if name == path and given == fds[:2] else None
                with self.assertRaises(c.Failure) as caught:
                    client.wait(client.request(c.LOAD, {"model": name}, given))
                self.assertEqual(caught.exception.name, "INVALID")
            client.wait(client.request(c.LOAD, {"model": path}, fds))
            for fd in fds:
                os.close(fd)
            client.close()
        finally:
            serve.terminate()
            serve.wait()
            serve.stderr.close()

    def refused(self, said, status=3):
        for words in (["run", "--private", "-m", "./" + part(1), *ASK], ["inspect", "./" + part(1)]):
            _, err = self.run_it(*words, status=status)
            self.assertEqual(len(err.splitlines()), 1, err)
            self.assertIn(said, err)

    def test_sets_that_are_none(self):
        def keep(name):
            with open(self.at(name), "rb") as f:
                return f.read()

        def put(name, data):
            with open(self.at(name), "wb") as f:
                f.write(data)
        second, third = keep(part(2)), keep(part(3))
        put(part(3), second)
        self.refused("split.no")
        put(part(3), third[:-4000])
        self.refused("file 3 of 3")
        put(part(3), third[:40])
        self.refused("file 3 of 3")
        put(part(3), b"")
        self.refused("file 3 of 3 is empty")
        put(part(3), b"no model" * 100)
        self.refused("file 3 of 3")
        put(part(3), keep("x.gguf"))
        self.refused("split.count")
        self.make("z", "--split", "4")
        put(part(3), keep(part(3, 4, "z")))
        self.refused("4 parts")
        self.make("z", "--split", "3", "--layers", "3")
        put(part(3), keep(part(3, 3, "z")))
        self.refused("split.tensors.count")
        self.make("z", "--split", "3", "--embd", "128")
        put(part(3), keep(part(3, 3, "z")))
        self.assertIn("must be", self.run_it("run", "--private", "-m", "./" + part(1), *ASK, status=3)[1])
        os.unlink(self.at(part(3)))
        self.refused("part 3 of 3 is missing")
        put(part(3), third)
        _, err = self.run_it("run", "--private", "-m", "./" + part(2), *ASK, status=2)
        self.assertIn("opened by its first one", err)
        shutil.copy(self.at(part(1)), self.at("alone.gguf"))
        _, err = self.run_it("run", "--private", "-m", "./alone.gguf", *ASK, status=3)
        self.assertIn("one of 3 parts", err)
        os.rename(self.at(part(1)), self.at(part(1, 49)))
        _, err = self.run_it("run", "--private", "-m", "./" + part(1, 49), *ASK, status=5)
        self.assertIn("may have 48", err)


if __name__ == "__main__":
    unittest.main()
