#!/usr/bin/env python3
"""What the audit log meets in the world: full and read-only disks, writes that are cut at any byte, a rotation that was not
finished, checkpoints of other logs. Only root mounts the disks.
usage: audit_faults.py BIN [TEST...] (BIN holds veritas, its programs and mkmodel). VERITAS_FAULTS=all tries every byte."""
import base64
import glob
import hashlib
import json
import os
import random
import resource
import shutil
import struct
import subprocess
import sys
import threading
import unittest

import client as c
import receipt_format as r
from audit_log import BIN, VERITAS, LogTest, answers
from audit_writer import ANSWER, RECEIPT, SOURCE, Frames, Writer, frame, record
from processes import below

ALL = os.environ.get("VERITAS_FAULTS") == "all"
random.seed(17)


class Changes:
    """The verifier of a log, in one process, for a log that is changed at each byte (support/audit_changes.c)."""

    def __init__(self, folder, *options):
        self.process = subprocess.Popen([BIN + "/audit-changes", folder, "--json", *options], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def judge(self, *change):
        """Exit status and verdict of the log with this change: nothing, flip and name, offset, mask, or cut and name, bytes."""
        print(*change or ["verify"], file=self.process.stdin, flush=True)
        status, _, verdict = self.process.stdout.readline().partition(" ")
        return int(status), json.loads(verdict)


class Faults(LogTest):
    def some(self, n, few):
        """Numbers below n: all of them, or a few."""
        return range(n) if ALL else sorted(random.sample(range(n), min(few, n)))

    def serve_on(self, options, **audit):
        """A daemon whose log lies in a file system of its own."""
        if os.geteuid() != 0:
            self.skipTest("only root mounts")
        self.policy(**audit)
        os.makedirs(self.dir + "/log", exist_ok=True)
        self.socket = self.env["VERITAS_SOCKET"] = self.dir + "/s"
        mount = f'mount -t tmpfs -o {options} none "$0" && exec "$@"'
        daemon = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c", mount, self.dir + "/log", VERITAS,
                                   "serve", "--policy", self.dir + "/policy.json"], env=self.env, stderr=self.said,
                                  stdin=subprocess.DEVNULL)
        self.running.append(daemon)
        self.wait_for(lambda: answers(self.socket) or daemon.poll() is not None)
        self.log = f"/proc/{daemon.pid}/root{self.dir}/log"
        return daemon

    def test_full_disk(self):
        """Refused while it is full; what was begun is ended, what is missing is counted; then it goes on."""
        daemon = self.serve_on("size=600k,nr_inodes=100,mode=700", rotate_bytes=65536)
        self.assertEqual(self.ask().kind, c.COMPLETE)
        with open(self.log + "/filler", "wb", buffering=0) as f, self.assertRaises(OSError):
            while f.write(b"x" * 4096):
                pass
        end = self.wait_for(lambda: self.failed_ask(), 60)
        self.assertEqual((end.kind, end.name), (c.REJECTED, "SYSTEM"))
        self.assertIn("No space left", self.said_so())
        os.unlink(self.log + "/filler")
        self.wait_for(lambda: self.ask().kind == c.COMPLETE, 60)
        self.wait_for(lambda: [r for r in self.records() if r["event"] == "gap"])
        verdict = self.verify()
        self.assertTrue(verdict["ok"])
        self.assertGreater(verdict["missed"], 0)
        shutil.copytree(self.log, self.dir + "/copy")
        self.stop(daemon)

    def try_ask(self):
        try:
            self.ask()
        except (OSError, c.Closed):
            pass

    def failed_ask(self):
        end = self.ask()
        return end if end.kind != c.COMPLETE else None

    def test_read_only(self):
        daemon = self.serve_on("size=600k,nr_inodes=100,mode=700,ro")
        self.assertNotEqual(daemon.wait(30), 0)
        self.running.remove(daemon)
        self.assertIn("Read-only file system", self.said_so())

    def test_cut_anywhere(self):
        """The log ends at any byte of its last 4 KiB: verify names the place, or the records that are there are sound."""
        daemon = self.serve()
        for _ in range(3):
            self.ask()
        self.stop(daemon)
        name, saved = self.files()[-1], self.dir + "/saved"
        with open(saved, "w") as f:
            subprocess.run([VERITAS, "audit", "checkpoint", self.log], env=self.env, check=True, stdout=f)
        whole = self.read(f"{self.log}/{name}")
        last = range(max(1, len(whole) - 4096), len(whole))
        self.put(name, whole[:last[0]])
        self.verify("--checkpoint", saved, status=3)
        self.put(name, whole)
        with Changes(self.log, "--checkpoint", saved) as changes:
            for n in last:
                status, verdict = changes.judge("cut", name, n)
                self.assertEqual((status, verdict["first_bad"]), (3, whole[:n].count(b"\n") + 1), n)
        self.verify("--checkpoint", saved)

    def test_each_byte(self):
        """A bit of any byte of a log of 200 records is another: the record that it is of is named."""
        daemon = self.serve()
        x = self.client()
        for _ in range(100):
            self.ask(x, max_tokens=1)
        self.stop(daemon)
        name = self.files()[0]
        whole = self.read(f"{self.log}/{name}")
        self.assertGreater(whole.count(b"\n"), 200)
        changed = bytearray(whole)
        changed[len(whole) // 2] ^= 1
        self.put(name, bytes(changed))
        self.verify(status=3)
        self.put(name, whole)
        end = range(len(whole) - 3000, len(whole))      # the last ones, whom few or none follow
        with Changes(self.log) as changes:
            for at in sorted({*self.some(len(whole), 1000), *end}):
                status, verdict = changes.judge("flip", name, at, 1 << random.randrange(8))
                self.assertEqual((status, verdict["first_bad"]), (3, whole[:at].count(b"\n") + 1), at)
            for name in ("keys", "checkpoints"):
                n = len(self.read(f"{self.log}/{name}"))
                for at in self.some(n - 1, 50):
                    for bit in range(8):
                        status, verdict = changes.judge("flip", name, at, 1 << bit)
                        self.assertEqual((status, verdict["unreadable_checkpoints"]), (3, 0), (name, at, bit))
                status, verdict = changes.judge("flip", name, n - 1, 1)         # what a kill leaves of the last one is none
                self.assertEqual((status, verdict["unreadable_checkpoints"]), (0, 1) if name == "checkpoints" else (3, 0))
        self.verify()

    def test_writes_that_are_cut(self):
        """write(2) takes a part of a group, up to any byte of it, and the writer ends; the next one goes on behind that."""
        daemon = self.serve()
        x = self.client()
        for _ in range(400):            # so large that no other file of the daemon meets the limit
            self.assertEqual(self.ask(x, max_tokens=1).kind, c.COMPLETE)
        self.stop(daemon)
        path = f"{self.log}/{self.files()[-1]}"
        whole = {name: self.read(f"{self.log}/{name}") for name in os.listdir(self.log)}
        begin, torn = len(whole[self.files()[-1]]), 0
        for at in sorted(random.sample(range(4000), 3)):        # of the start, and of a model that is loaded and of a request
            self.put_all(whole)
            limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (begin + at, limits[1]))
            try:
                daemon = self.serve()
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            if daemon.poll() is None:   # it could write its start
                asked = threading.Thread(target=self.try_ask)
                asked.start()
                self.wait_for(lambda: os.path.getsize(path) == begin + at or not asked.is_alive())
                self.crash(daemon)
                asked.join()
            else:
                self.running.remove(daemon)
            self.stop(self.serve())
            self.assertTrue(self.verify()["closed"])
            torn += "torn" in [r for r in self.records() if r["event"] == "start"][-1]
        self.assertGreater(torn, 0)

    def test_writer_whose_writes_are_cut(self):
        """The same of the writer alone, at each byte of its start and of some records: it ends there, and the next one goes on."""
        os.mkdir(self.log, 0o700)
        self.assertEqual(Writer(BIN, self.log).stop(), 0)
        whole = {name: self.read(f"{self.log}/{name}") for name in os.listdir(self.log)}
        name = self.files()[0]
        begin, torn = len(whole[name]), 0
        records = b"".join(record(i, {**ANSWER, "event": "answer" if i % 2 == 0 else "request"}) for i in range(1, 5))
        with Changes(self.log) as changes:
            for at in self.some(4000, 20):
                self.put_all(whole)
                # The keys and checkpoints are shorter than the log, so they do not meet its limit.
                writer = Writer(BIN, self.log, most_bytes=begin + at)
                if writer.was_ready:
                    writer.broker.sendall(records)
                self.assertEqual(writer.ended(), 1, at)
                self.assertEqual(os.path.getsize(f"{self.log}/{name}"), begin + at)
                self.assertEqual(Writer(BIN, self.log).stop(), 0, at)
                self.assertEqual([verdict["closed"] for _, verdict in [changes.judge()]], [True], at)
                torn += b'"torn":' in self.read(f"{self.log}/{name}")
        self.assertGreater(torn, 10)

    def test_statement_of_another_record(self):
        """What is signed of the log is a record of that broker, and is written."""
        self.stop(self.serve())
        subprocess.run([VERITAS, "run", "-m", "one", "--raw", "-n", "3", "--receipt", self.dir + "/receipt", "a"],
                       env={**self.env, "XDG_STATE_HOME": self.dir}, check=True, capture_output=True)
        with open(self.dir + "/receipt") as f:
            statement = r.statement_of(json.load(f))
        writer = Writer(BIN, self.log)
        try:
            writer.broker.sendall(record(1, {**ANSWER, "event": "request"}) + record(2, ANSWER))
            for source, number, is_signed in ((SOURCE, 1, True), (SOURCE, 2, True), (SOURCE, 3, False), (SOURCE[::-1], 1, False),
                                              (SOURCE, 1, True)):
                statement["predicate"]["log"] = {"source": source, "record": number}
                writer.broker.sendall(frame(RECEIPT, r.spelled(statement), 1))
                frames, kind = Frames(writer.broker), 0
                while kind not in (RECEIPT, None):
                    kind, _, data = frames.next()
                self.assertEqual(kind == RECEIPT, is_signed, (source, number))
                if not is_signed:
                    writer.connect()
        finally:
            self.assertEqual(writer.stop(), 0)
        self.verify()

    def put_all(self, files):
        for name in set(os.listdir(self.log)) - set(files):
            os.unlink(f"{self.log}/{name}")
        for name, text in files.items():
            self.put(name, text)

    def go_on(self, **audit):
        """The log is gone on with, and ends in order: by a daemon, and where that is done hundreds of times by the writer alone."""
        if ALL:
            self.assertEqual(Writer(BIN, self.log, **audit).stop(), 0)
        else:
            self.stop(self.serve(**audit))

    def test_rotation_that_was_cut(self):
        """kill -9 between the new key, its signature, and the old one's end: the next start finishes it, and no old key is left."""
        daemon = self.serve(rotate_bytes=65536)
        x = self.client()
        self.ask(x)
        older = {name: self.read(f"{self.log}/{name}") for name in ("signing.key", "keys")}
        self.wait_for(lambda: self.ask(x) and len(self.files()) > 1)
        self.crash(daemon)
        newer = {name: self.read(f"{self.log}/{name}") for name in os.listdir(self.log)}
        self.assertEqual((older["keys"].count(b"\n"), newer["keys"].count(b"\n")), (1, 2))
        old_key, new_key = older["signing.key"][:4096], newer["signing.key"][4096:8192]
        self.assertEqual(newer["signing.key"][:4096], bytes(4096))
        first, second = newer["keys"].splitlines(True)
        states = [(old_key + new_key, first + second)]          # not erased; then: not signed, or only a part of that line
        states += [(old_key + new_key, first + second[:n]) for n in self.some(len(second), 2)]
        states += [(old_key + new_key[:n], first) for n in self.some(128, 2)]           # a part of the new key
        for secret, public in states:
            for name in os.listdir(self.log):
                os.unlink(f"{self.log}/{name}")
            unfinished = len(secret) < 8192 or public != first + second
            for name, text in newer.items():
                if not unfinished or name != self.latest(newer):
                    self.put(name, text)
            if unfinished:              # then there was no other file yet, and no checkpoint by the new key
                self.put("checkpoints", self.read_notes(newer, first))
            self.put("signing.key", secret)
            self.put("keys", public)
            self.go_on(rotate_bytes=65536)
            self.assertTrue(self.verify()["closed"])
            held = self.read(self.log + "/signing.key")
            self.assertEqual(sum(held[at:at + 7] == b"VSKEY1\n" for at in (0, 4096)), 1)
            if len(secret) == 8192:
                self.assertNotIn(old_key[16:48], held)

    @staticmethod
    def latest(files):
        return sorted(name for name in files if name.endswith(".jsonl"))[-1]

    def read_notes(self, files, first):
        """Those checkpoints that sign no more than the first file."""
        n = int(self.latest(files)[:16]) - 1
        notes, text = files["checkpoints"].decode().split("\n\n"), ""
        for i in range(len(notes) - 1):
            body = notes[i] if i == 0 else notes[i].split("\n", 1)[1]
            if int(body.split("\n")[1]) <= n:
                text += body + "\n\n" + notes[i + 1].split("\n", 1)[0] + "\n"
        return text.encode()

    def test_checkpoints_that_are_cut(self):
        daemon = self.serve()
        self.ask()
        self.crash(daemon)
        notes = self.read(self.log + "/checkpoints")
        whole = {name: self.read(f"{self.log}/{name}") for name in os.listdir(self.log)}
        for cut in self.some(len(notes), 3):
            self.put_all(whole)
            self.put("checkpoints", notes + notes[:cut])
            self.go_on()
            verdict = self.verify()
            self.assertEqual((verdict["closed"], verdict["signed_through"]), (True, verdict["records"]))

    def test_another_log(self):
        """A checkpoint, a key and a log of somebody else."""
        for which in ("one", "two"):
            shutil.rmtree(self.log, ignore_errors=True)
            self.stop(self.serve())
            for what in ("checkpoint", "key"):
                with open(f"{self.dir}/{which}.{what}", "w") as f:
                    subprocess.run([VERITAS, "audit", what, self.log], env=self.env, check=True, stdout=f)
        self.verify("--checkpoint", self.dir + "/two.checkpoint", "--pubkey", self.dir + "/two.key")
        done = self.try_verify("--checkpoint", self.dir + "/one.checkpoint")
        self.assertEqual(done.returncode, 3)
        self.assertIn("none of this log", done.stdout + done.stderr)
        verdict = self.verify("--pubkey", self.dir + "/one.key", status=3)
        self.assertIn("another key", verdict["reason"])
        for text in (b"", b"\0" * 100, b"x" * 3000, b"veritas-audit/0000000000000000+00000000+AAAA\n"):
            with open(self.dir + "/bad", "wb") as f:
                f.write(text)
            for option in ("--checkpoint", "--pubkey"):
                done = self.try_verify(option, self.dir + "/bad")
                self.assertIn(done.returncode, (2, 3), (option, text[:20], done.stdout, done.stderr))
                self.assertIn(option, done.stdout + done.stderr)

    # RFC 8032, 7.1, test 1
    SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")

    def pem(self, secret):
        der = base64.b64encode(bytes.fromhex("302e020100300506032b657004220420") + secret).decode()
        return f"-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n"

    def serve_key(self, where, pass_fds=(), rotate_bytes=67108864, **env):
        """A daemon whose log's first key is signed by that one: it runs, or what it said."""
        self.policy(rotate_bytes=rotate_bytes)
        with open(self.dir + "/policy.json") as f:
            policy = json.load(f)
        with open(self.dir + "/policy.json", "w") as f:
            json.dump({**policy, "signing": {"key": where}}, f)
        self.socket = self.env["VERITAS_SOCKET"] = self.dir + "/s"
        at = os.path.getsize(self.dir + "/said")
        daemon = subprocess.Popen([VERITAS, "serve", "--policy", self.dir + "/policy.json"], env={**self.env, **env},
                                  stderr=self.said, stdin=subprocess.DEVNULL, pass_fds=pass_fds)
        self.running.append(daemon)
        self.wait_for(lambda: answers(self.socket) or daemon.poll() is not None)
        if daemon.poll() is None:
            return daemon
        self.running.remove(daemon)
        return self.said_so()[at:]

    def test_key_from_outside(self):
        """It signs the first key and nothing else, whoever names it; nobody but the writer gets it, and not for long."""
        path = self.dir + "/root.pem"
        with open(path, "w") as f:
            f.write(self.pem(self.SECRET))
        self.assertIn("others may read it", self.serve_key("file:root.pem"))
        os.chmod(path, 0o600)
        daemon = self.serve_key("file:root.pem")
        self.assertEqual(self.ask().kind, c.COMPLETE)
        for pid in [daemon.pid, *below(daemon.pid)]:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                self.assertNotEqual(os.readlink(f"/proc/{pid}/fd/{fd}"), path)
        self.stop(daemon)
        self.assertTrue(self.verify()["closed"])
        with open(self.dir + "/pub", "wb") as f:
            key = subprocess.run([VERITAS, "audit", "key", self.log], env=self.env, check=True, capture_output=True).stdout
            f.write(key)
        self.assertEqual(base64.b64decode(key.strip().split(b"+", 2)[2])[1:], self.PUBLIC)
        self.assertEqual(self.read(self.log + "/keys").count(b"\n"), 2)
        self.forms()
        self.assertNotIn(self.SECRET, b"".join(self.read(f"{self.log}/{name}") for name in os.listdir(self.log)))
        # The first line alone is there, and the key that it is to sign, or not even that.
        whole, secret = self.read(self.log + "/keys"), self.read(self.log + "/signing.key")
        for held, public in ((secret, whole.split(b"\n")[0] + b"\n"), (secret, b""), (b"", b""), (secret, whole[:250])):
            shutil.rmtree(self.log)
            os.mkdir(self.log, 0o700)
            self.put("signing.key", held)
            self.put("keys", public)
            for name in ("signing.key", "keys"):
                os.chmod(f"{self.log}/{name}", 0o600)
            self.stop(self.serve_key("file:" + path))
            self.verify("--pubkey", self.dir + "/pub")
        # Another one is no good for this log; without one it goes on.
        with open(self.dir + "/other.pem", "w") as f:
            f.write(self.pem(bytes(32)))
        os.chmod(self.dir + "/other.pem", 0o600)
        self.assertIn("begun with another key", self.serve_key("file:other.pem"))
        self.stop(self.serve())
        self.verify("--pubkey", self.dir + "/pub")
        # The other ways to name it.
        for way in ("fd", "credential"):
            shutil.rmtree(self.log)
            if way == "fd":
                out, into = os.pipe()
                os.write(into, self.pem(self.SECRET).encode())
                os.close(into)
                daemon = self.serve_key(f"fd:{out}", pass_fds=[out])
                os.close(out)
            else:
                daemon = self.serve_key("credential:root.pem", CREDENTIALS_DIRECTORY=self.dir)
            self.stop(daemon)
            self.verify("--pubkey", self.dir + "/pub")

    # RFC 6979, A.2.5
    P256 = bytes.fromhex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721")
    POINT = bytes.fromhex("0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
                          "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299")
    SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")

    def pem_of_p256(self):
        der = bytes.fromhex("308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420") + self.P256 \
            + bytes.fromhex("a144034200") + self.POINT
        return "-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(der).decode() + "-----END PRIVATE KEY-----\n"

    def forms(self):
        """Of a signature no other form counts: a checkpoint or a line of keys that has one was changed."""
        self.assertTrue(self.verify()["closed"])
        checkpoints, keys = self.read(self.log + "/checkpoints"), self.read(self.log + "/keys")
        before, _, sealed = checkpoints.rstrip(b"\n").rpartition(b" ")
        sealed = base64.b64decode(sealed)
        others = r.in_other_forms(sealed[4:])
        self.assertGreater(len(others), 3)
        for other in others:
            self.put("checkpoints", before + b" " + base64.b64encode(sealed[:4] + other) + b"\n")
            self.assertIn("not signed by a key", self.verify(status=3)["reason"], other.hex())
        for cut in (20, len(checkpoints) - len(before) - 5):    # what a kill leaves is none
            self.put("checkpoints", before + checkpoints[len(before):][:cut] + b"\n")
            self.assertGreater(self.verify()["unreadable_checkpoints"], 0)
        self.put("checkpoints", checkpoints)
        for line in keys.splitlines():
            signature = line.split()[-1]
            for other in r.in_other_forms(bytes.fromhex(signature.decode())):
                self.put("keys", keys.replace(signature, other.hex().encode()))
                self.verify(status=3)
        self.put("keys", keys)
        self.verify()

    def test_key_of_p256(self):
        """A first key of P-256 makes a log that is signed by such keys, as one is in FIPS mode; receipts are too."""
        with open(self.dir + "/root.pem", "w") as f:
            f.write(self.pem_of_p256())
        os.chmod(self.dir + "/root.pem", 0o600)
        daemon = self.serve_key("file:root.pem", rotate_bytes=65536)
        subprocess.run([VERITAS, "run", "-m", "one", "--raw", "-n", "3", "--receipt", self.dir + "/receipt", "a"], env=self.env,
                       check=True, capture_output=True)
        with open(self.dir + "/receipt") as f:
            told = json.load(f)
        for _ in range(90):             # until a second file has begun, whose key the first one's signed
            self.assertEqual(self.ask().kind, c.COMPLETE)
        self.stop(daemon)
        daemon = self.serve()           # it goes on by itself
        self.assertEqual(self.ask().kind, c.COMPLETE)
        self.stop(daemon)
        vkey = subprocess.run([VERITAS, "audit", "key", self.log], env=self.env, check=True, capture_output=True).stdout
        with open(self.dir + "/pub", "wb") as f:
            f.write(vkey)
        name, number, typed = vkey.strip().split(b"+", 2)
        self.assertEqual(base64.b64decode(typed), b"\x02" + self.SPKI + self.POINT)
        self.assertEqual(number.decode(), r.sha256(self.SPKI + self.POINT)[:4].hex())
        self.assertTrue(self.verify("--pubkey", self.dir + "/pub")["closed"])
        # By the pages of the format alone: each line of keys, the last checkpoint, the receipt.
        signer, lines = self.POINT, self.read(self.log + "/keys").decode().splitlines()
        self.assertGreater(len(lines), 2)
        for line in lines:
            said, signature = line.rsplit(" ", 1)
            self.assertTrue(r.is_signed(signer, b"veritas-audit key\n" + said.encode(), bytes.fromhex(signature)), line)
            signer = bytes.fromhex(said.split()[1])
            self.assertEqual(len(signer), 65)
        text, signature = self.read(self.log + "/checkpoints").split(name + b"\n")[-1].split("\n\n\u2014 ".encode())
        sealed = base64.b64decode(signature.split()[1])
        self.assertEqual(sealed[:4], r.sha256(self.SPKI + signer)[:4])
        self.assertTrue(r.is_signed(signer, name + b"\n" + text + b"\n", sealed[4:]))
        self.forms()
        r.read(told)
        for other in r.in_other_forms(base64.b64decode(told["envelope"]["signatures"][0]["sig"])):
            with open(self.dir + "/changed", "w") as f:
                json.dump({**told, "envelope": {**told["envelope"], "signatures": [
                    {**told["envelope"]["signatures"][0], "sig": base64.b64encode(other).decode()}]}}, f)
            done = subprocess.run([VERITAS, "verify", self.dir + "/changed", "--mode", "structure"], env=self.env,
                                  capture_output=True)
            self.assertEqual(done.returncode, 3, done.stdout)
        for verdict in (0, 3):
            done = subprocess.run([VERITAS, "verify", self.dir + "/receipt", "--mode", "structure", "--pubkey", self.dir + "/pub"],
                                  env=self.env, capture_output=True, text=True)
            self.assertEqual(done.returncode, verdict, done.stdout + done.stderr)
            told["envelope"]["signatures"][0]["sig"] = base64.b64encode(sealed[4:]).decode()   # a good one, of another text
            with open(self.dir + "/receipt", "w") as f:
                json.dump(told, f)
        # A curve that is none of ours.
        with open(self.dir + "/other.pem", "w") as f:
            f.write(subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], check=True,
                                   capture_output=True, text=True).stdout)
        os.chmod(self.dir + "/other.pem", 0o600)
        shutil.rmtree(self.log)
        self.assertIn("no key of Ed25519 or P-256", self.serve_key("file:other.pem"))

    def test_key_that_is_made(self):
        """A file that is not there gets the log's first key, and loses it when the log goes on."""
        self.env["XDG_STATE_HOME"] = self.dir + "/state"
        path = self.dir + "/state/veritas/first.pem"
        daemon = self.serve_key("file:first.pem")
        self.assertEqual(self.ask().kind, c.COMPLETE)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        pem = self.read(path)
        public = subprocess.run(["openssl", "pkey", "-pubout", "-outform", "DER"], input=pem, capture_output=True)
        with open(self.dir + "/pub", "wb") as f:
            key = subprocess.run([VERITAS, "audit", "key", self.log], env=self.env, check=True, capture_output=True).stdout
            f.write(key)
        self.assertEqual(public.stdout[-32:], base64.b64decode(key.strip().split(b"+", 2)[2])[1:], public.stderr)
        holders = [pid for pid in [daemon.pid, *below(daemon.pid)] for fd in os.listdir(f"/proc/{pid}/fd")
                   if os.readlink(f"/proc/{pid}/fd/{fd}") == path]
        self.assertEqual(sorted(set(holders)), sorted([daemon.pid, self.writer(daemon)]))
        self.crash(daemon)
        # A kill that left no key in it, or a part: the next start finishes it.
        for cut in (pem.index(b"-----BEGIN"), len(pem) - 40):
            with open(path, "wb") as f:
                f.write(pem[:cut])
            self.stop(self.serve_key("file:first.pem"))
            self.assertEqual(self.read(path), pem)
        # The log goes on: the key is nowhere any more. Also where a kill came between its two places.
        seed = base64.b64decode(pem.split(b"\n")[2])[-32:]
        self.serve_key("file:first.pem", rotate_bytes=65536)
        x = self.client()
        self.wait_for(lambda: self.ask(x) and len(self.files()) > 1)
        self.assertIn(b"erased", self.read(path))
        self.assertNotIn(b"BEGIN", self.read(path))
        self.crash(self.running[-1])
        with open(path, "wb") as f:
            f.write(pem)
        self.stop(self.serve_key("file:first.pem"))
        self.assertIn(b"erased", self.read(path))
        self.assertNotIn(seed, b"".join(self.read(f"{self.log}/{name}") for name in os.listdir(self.log)))
        self.verify("--pubkey", self.dir + "/pub")
        # Another log wants another file; and where the file is gone the log goes on.
        shutil.move(self.log, self.dir + "/away")
        self.assertIn("made for another log", self.serve_key("file:first.pem"))
        shutil.rmtree(self.log)
        shutil.move(self.dir + "/away", self.log)
        os.unlink(path)
        self.stop(self.serve_key("file:first.pem"))
        self.assertFalse(os.path.exists(path))
        self.verify("--pubkey", self.dir + "/pub")

    def test_key_that_another_log_made(self):
        """The file with a log's first key is not overwritten by a log whose first key is another one, also of the other kind."""
        self.env["XDG_STATE_HOME"] = self.dir + "/state"
        path = self.dir + "/state/veritas/first.pem"
        self.stop(self.serve_key("file:first.pem"))
        pem = self.read(path)
        head = b"VSKEY2\n\0" + struct.pack("<Q", 1) + self.P256 + self.POINT
        for held in (None, (head + hashlib.sha256(head).digest()).ljust(4096, b"\0")):
            shutil.rmtree(self.log)
            os.mkdir(self.log, 0o700)
            if held:
                self.put("signing.key", held)
                os.chmod(self.log + "/signing.key", 0o600)
            self.stop(self.serve())
            self.assertIn("first key of another log", self.serve_key("file:first.pem"))
            self.assertEqual(self.read(path), pem)
            self.verify()

    def test_key_of_a_token(self):
        """It signs the log's first key and never leaves its token; afterwards the log needs none."""
        module = os.environ.get("VERITAS_PKCS11_PROVIDER") or "".join(glob.glob("/usr/lib/*/ossl-modules/pkcs11.so")[:1])
        places = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")
        token = next((p for p in places if os.path.exists(p)), None)
        if not module or not token or not shutil.which("pkcs11-tool"):
            self.skipTest("softhsm2, opensc and an OpenSSL provider for tokens (pkcs11-provider) are needed; its module may be "
                          "named by VERITAS_PKCS11_PROVIDER")
        os.mkdir(self.dir + "/tokens")
        with open(self.dir + "/softhsm.conf", "w") as f:
            f.write(f"directories.tokendir = {self.dir}/tokens\nobjectstore.backend = file\n")
        with open(self.dir + "/openssl.cnf", "w") as f:
            f.write("openssl_conf = i\n[i]\nproviders = p\n[p]\ndefault = d\npkcs11 = t\n[d]\nactivate = 1\n[t]\nactivate = 1\n"
                    f"module = {module}\npkcs11-module-path = {token}\npkcs11-module-quirks = no-deinit no-operation-state\n")
        self.env.update(SOFTHSM2_CONF=self.dir + "/softhsm.conf")
        tool = ["pkcs11-tool", "--module", token, "--login", "--pin", "1234", "--token-label", "vs", "--keypairgen"]
        subprocess.run(["softhsm2-util", "--init-token", "--free", "--label", "vs", "--pin", "1234", "--so-pin", "1234"],
                       env=self.env, check=True, capture_output=True)
        env = {"OPENSSL_CONF": self.dir + "/openssl.cnf"}
        for number, (kind, public_bytes) in enumerate((("EC:edwards25519", 32), ("EC:prime256v1", 65)), 1):
            shutil.rmtree(self.log, ignore_errors=True)
            subprocess.run([*tool, "--key-type", kind, "--label", f"root{number}", "--id", f"0{number}"], env=self.env, check=True,
                           capture_output=True)
            where = f"pkcs11:token=vs;object=root{number};type=private?pin-value=1234"
            public = subprocess.run(["openssl", "pkey", "-in", where, "-pubout", "-outform", "DER"], env={**self.env, **env},
                                    check=True, capture_output=True).stdout[-public_bytes:]
            self.stop(self.serve_key(where, **env))
            key = subprocess.run([VERITAS, "audit", "key", self.log], env=self.env, check=True, capture_output=True).stdout
            self.assertEqual(base64.b64decode(key.strip().split(b"+", 2)[2])[-public_bytes:], public)
            with open(self.dir + "/pub", "wb") as f:
                f.write(key)
            self.assertTrue(self.verify("--pubkey", self.dir + "/pub")["closed"])
            daemon = self.serve_key(where, **env)       # with the token there, and without it
            self.assertEqual(self.ask().kind, c.COMPLETE)
            self.stop(daemon)
            self.stop(self.serve())
            self.verify("--pubkey", self.dir + "/pub")
            self.assertIn("no token has", self.serve_key(where.replace("root", "other"), **env))

    def test_key_from_outside_that_is_none(self):
        for name, text in (("none.pem", "no key"), ("cut.pem", self.pem(self.SECRET)[:60]), ("large.pem", "x" * 100000)):
            with open(f"{self.dir}/{name}", "w") as f:
                f.write(text)
            os.chmod(f"{self.dir}/{name}", 0o600)
        os.symlink(self.dir + "/none.pem", self.dir + "/link.pem")
        for where, said in (("file:none.pem", "no private key in PEM"), ("file:cut.pem", "no private key in PEM"),
                            ("file:large.pem", "no private key in PEM"), ("file:/proc/nowhere", "cannot be made"),
                            ("file:link.pem", "it is a link"), ("fd:2", "a number from 3"), ("fd:x", "a number from 3"),
                            ("fd:987", "signing.key fd:987: Bad file"), ("credential:root", "CREDENTIALS_DIRECTORY"),
                            ("pkcs11:token=none;object=none", "signing.key"), ("pkcs11:", "address"), ("nothing", "begins with")):
            self.assertIn(said, self.serve_key(where), where)
            self.assertFalse(os.path.exists(self.log) and self.files(), where)

    def test_gap_that_is_counted(self):
        """Continue: more than is kept while nobody writes."""
        if not ALL:
            self.skipTest("70,000 records: VERITAS_FAULTS=all")
        daemon = self.serve(on_failure="continue")
        self.ask()
        path = f"{self.log}/{self.files()[-1]}"
        os.rename(path, path + ".away")
        os.mkdir(path)
        os.kill(self.writer(daemon), 9)
        self.assertEqual(self.ask().kind, c.COMPLETE)           # after five seconds
        for _ in range(70):
            x = self.client()
            for _ in range(500):
                try:
                    x.request(c.TOKENIZE, {"model": "none", "text": "x"})
                    x.event()
                except c.Failure:
                    pass
            x.close()
        os.rmdir(path)
        os.rename(path + ".away", path)
        self.wait_for(lambda: [r for r in self.records() if r["event"] == "gap"], 60)
        self.stop(daemon)
        verdict = self.verify()
        self.assertGreater(verdict["missed"], 70000 - 65536)
        self.assertEqual(json.loads(self.lines()[-1])["event"], "stop")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
