#!/usr/bin/env python3
"""The audit log through the shipped programs: what stands in it and what never does, who may write it, what is found when somebody
changed it, and what kill -9 at any moment leaves.
usage: audit.py BIN (BIN holds veritas, its programs and mkmodel)."""
import base64
import ctypes
import hashlib
import hmac
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import unittest

import client as c
import receipt_format as r
from audit_log import ASKED, VERITAS, LogTest, answers
from processes import below

random.seed(16)


def cut(pid, fd):
    """Ends a socket of another process."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = libc.syscall(438, os.pidfd_open(pid), fd, 0)          # pidfd_getfd
    if own < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    with socket.socket(fileno=own) as s:
        s.shutdown(socket.SHUT_RDWR)


class Tree:
    """RFC 6962, of lines."""

    def __init__(self):
        self.full = []                  # (size, hash) of full subtrees, the largest first

    def add(self, line):
        size, hash_ = 1, hashlib.sha256(b"\0" + line).digest()
        while self.full and self.full[-1][0] == size:
            size, hash_ = 2 * size, hashlib.sha256(b"\1" + self.full.pop()[1] + hash_).digest()
        self.full.append((size, hash_))

    def peaks(self):
        """As the log has them: the smallest first."""
        return [hash_.hex() for _, hash_ in reversed(self.full)]

    def root(self):
        hash_ = self.full[-1][1]
        for _, left in reversed(self.full[:-1]):
            hash_ = hashlib.sha256(b"\1" + left + hash_).digest()
        return hash_


class Audit(LogTest):
    def test_what_stands_in_it(self):
        daemon = self.serve()
        self.assertEqual(self.ask(deadline_ms=100000, trace="00-" + "ab" * 16 + "-" + "cd" * 8 + "-01").kind, c.COMPLETE)
        self.assertEqual(self.ask(model="none-of-that-name").kind, c.REJECTED)
        self.stop(daemon)
        verdict = self.verify()
        self.assertTrue(verdict["ok"] and verdict["closed"] and verdict["first_bad"] is None)
        records, lines = self.records(), self.lines()
        self.assertEqual(verdict["records"], len(records))
        before = "0" * 64
        for number, (record, line) in enumerate(zip(records, lines), 1):
            self.assertEqual((record["seq"], record["prev"]), (number, before))
            before = hashlib.sha256(line).hexdigest()
            self.assertEqual(record["type_uid"], record["class_uid"] * 100 + record["activity_id"])
        events = [r["event"] for r in records]
        self.assertEqual(events[:3], ["segment", "start", "broker"])
        self.assertEqual(events[-1], "stop")
        request, answer = [r for r in records if r.get("unmapped", {}).get("number") == 1]
        self.assertEqual((request["event"], answer["event"]), ("request", "answer"))
        self.assertEqual(request["actor"]["user"]["uid"], str(os.getuid()))
        self.assertEqual(request["metadata"]["correlation_uid"], "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01")
        self.assertEqual(answer["message_context"]["completion_tokens"], 8)
        self.assertRegex(answer["ai_model"]["uid"], "^[0-9a-f]{64}$")
        self.assertGreaterEqual(answer["unmapped"]["sandbox"]["worker"], 2)
        refused = [r for r in records if r.get("unmapped", {}).get("number") == 2 and r["event"] == "answer"][0]
        self.assertEqual((refused["status_id"], refused["status_detail"]), (2, "NOT_FOUND"))
        whole = b"\n".join(lines)
        self.assertNotIn(b"private", whole)
        # Whoever has the text and the key can show that it was this one.
        with open(self.log + "/text.key", "rb") as f:
            key = f.read()
        self.assertEqual(len(key), 32)
        for path in os.listdir(self.log):
            self.assertEqual(os.stat(f"{self.log}/{path}").st_mode & 0o077, 0, path)
        shown = subprocess.run([VERITAS, "audit", "show", self.log, "--type", "answer"], env=self.env, capture_output=True,
                               text=True)
        self.assertEqual(len(shown.stdout.splitlines()), 2, shown)
        self.assertIn("finish=length", shown.stdout)
        shown = subprocess.run([VERITAS, "audit", "show", "--policy", self.dir + "/policy.json", "--until", "1h"], env=self.env,
                               capture_output=True, text=True)
        self.assertEqual((shown.returncode, shown.stdout), (0, ""))

    def test_what_else_happens(self):
        """Models come and go, keys change, processes die, a policy is refused: all of it stands there."""
        with open(self.dir + "/models/bad.gguf", "wb") as f:
            f.write(b"GGUF" + b"\xff" * 400)
        daemon = self.serve()
        self.assertEqual(self.ask().kind, c.COMPLETE)
        loaded, digest = self.event("loaded"), self.event("digest")
        with open(self.dir + "/models/one.gguf", "rb") as f:
            self.assertEqual(digest["ai_model"], {"name": "one", "uid": hashlib.sha256(f.read()).hexdigest()})
        self.assertEqual((loaded["ai_model"]["name"], loaded["status_id"], loaded["class_uid"]), ("one", 1, 6002))
        self.assertEqual(self.ask(model="bad").kind, c.REJECTED)
        failed = self.event("load_failed")
        self.assertEqual((failed["ai_model"]["name"], failed["status_id"], failed["status_detail"]), ("bad", 2, "UNSUPPORTED"))
        subprocess.run([VERITAS, "unload", "one"], env=self.env, check=True, capture_output=True)
        self.assertEqual(self.event("unloaded")["ai_model"]["name"], "one")
        key = self.keys("add", "anna", "--role", "operator")
        added = self.event("key_added")
        self.assertEqual((added["user"], added["type_uid"]), ({"name": "anna", "type": "operator"}, 300101))
        self.keys("rotate", "anna")
        self.event("key_rotated")
        self.keys("revoke", "anna")
        self.event("key_revoked")
        shown = subprocess.run([VERITAS, "audit", "show", self.log, "--type", "key_revoked"], env=self.env, capture_output=True)
        self.assertIn(b"key_revoked key=anna", shown.stdout)
        shown = subprocess.run([VERITAS, "audit", "show", self.log, "--type", "gaps"], env=self.env, capture_output=True)
        self.assertEqual((shown.returncode, shown.stdout), (0, b""))
        self.assertIn(b"'gaps'", shown.stderr)
        self.assertNotIn(key[3:].encode(), b"".join(self.lines()))
        for remote in ("", "192.0.2.7"):
            try:
                c.Client(self.socket, key=key) if not remote else self.ask(key=key, remote=remote)
            except (c.Closed, c.Failure):
                pass
        self.assertEqual(self.event("wrong_key", 1)["src_endpoint"]["ip"], "192.0.2.7")
        self.gateway_tells(key)
        good = self.read(self.dir + "/policy.json")
        with open(self.dir + "/policy.json", "w") as f:
            f.write("{")
        daemon.send_signal(signal.SIGHUP)
        self.event("policy_refused")
        with open(self.dir + "/policy.json", "wb") as f:
            f.write(good)
        held = self.event("start")["policy"]["uid"]
        self.assertEqual([r["policy"]["uid"] for r in self.records() if r["event"] == "answer"][0], held)
        n = len([r for r in self.records() if r["event"] == "broker"])
        for name in ("veritas-broker", "veritas-audit"):
            os.kill(list(below(daemon.pid, name))[0], signal.SIGKILL)
            self.wait_for(lambda: answers(self.socket))
        self.assertIn("killed by signal 9", self.event("broker_died")["message"])
        self.assertIn("killed by signal 9", self.event("start", 1)["message"])
        self.assertIn("sha256", self.event("broker", n)["unmapped"]["settings"]["keys"])
        self.stop(daemon)
        self.assertTrue(self.verify()["closed"])

    def gateway_tells(self, key):
        """What a gateway refuses by itself: words that are no key, and a place from which too many came."""
        gateway = subprocess.Popen([VERITAS, "gateway", "--listen", "127.0.0.1:0", "--require-key"], env=self.env, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            port = int(gateway.stdout.readline().rsplit(":", 1)[1])
            before = sum(r["event"] == "wrong_key" for r in self.records())
            for word, want in (("no-key", 401), (key, 401), ("no-key", 401), ("x", 401), ("y" * 5000, 401), ("z", 429)):
                asking = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                asking.request("GET", "/v1/models", headers={"X-Api-Key": word})
                self.assertEqual(asking.getresponse().status, want, word[:8])
                asking.close()
            told = self.event("locked_out")
            self.assertEqual((told["src_endpoint"]["ip"], told["status_id"]), ("127.0.0.1", 2))
            wrong = [r for r in self.records() if r["event"] == "wrong_key"][before:]
            self.assertEqual([r["src_endpoint"]["ip"] for r in wrong], ["127.0.0.1"] * 5)
        finally:
            gateway.terminate()
            gateway.wait(30)
            gateway.stdout.close()

    def test_link_that_ends(self):
        """The broker and the writer live, their link does not: they get another, and nothing is missing or said twice."""
        if os.geteuid() != 0:
            self.skipTest("only root takes other processes' sockets")
        daemon = self.serve()
        self.assertEqual(self.ask().kind, c.COMPLETE)
        writer = self.writer(daemon)
        for i in range(2):
            for fd in os.listdir(f"/proc/{writer}/fd"):
                if int(fd) > 3 and os.readlink(f"/proc/{writer}/fd/{fd}").startswith("socket:"):
                    cut(writer, int(fd))
            self.assertEqual(self.ask().kind, c.COMPLETE)
        self.assertEqual(self.writer(daemon), writer)
        self.stop(daemon)
        self.assertTrue(self.verify()["closed"])
        said = [int(r["from"].split(":")[1]) for r in self.records() if "from" in r and r["event"] != "segment"]
        self.assertEqual(said, list(range(1, len(said) + 1)))

    def test_large_bodies(self):
        """Several bodies of 4 MB are hashed while others are served; the HMAC is that of the bytes."""
        daemon = self.serve()
        self.assertEqual(self.ask().kind, c.COMPLETE)
        large = {**ASKED, "prompt": "x" * 4000000}
        clients = [self.client() for _ in range(3)]
        for x in clients:
            x.request(c.GENERATE, large)
        small = self.client()
        self.assertEqual(self.ask(small).kind, c.COMPLETE)
        for x in clients:
            with self.assertRaises(c.Failure):
                while x.event().kind != c.COMPLETE:
                    pass
        self.stop(daemon)
        sizes = [r["unmapped"]["text"] for r in self.records() if r["event"] == "request" and r["unmapped"]["text"]["bytes"] > 1e6]
        self.assertEqual(len(sizes), 3)
        body = json.dumps({k: v for k, v in large.items() if k != "model"}).encode()
        expected = {"bytes": len(body), "hmac": hmac.new(self.read(self.log + "/text.key"), body, "sha256").hexdigest()}
        self.assertEqual(sizes, [expected] * 3)
        self.assertTrue(self.verify()["closed"])

    def test_clock(self):
        """It was set back by a day while nobody wrote."""
        daemon = self.serve()
        self.ask()
        self.crash(daemon)
        name = self.files()[-1]
        lines = self.read(f"{self.log}/{name}").split(b"\n")[:-1]
        last = json.loads(lines[-1])
        lines[-1] = lines[-1].replace(b'"time":%d' % last["time"], b'"time":%d' % (last["time"] + 86400000))
        self.put(name, b"".join(line + b"\n" for line in lines))
        self.stop(self.serve())
        self.assertAlmostEqual(self.event("clock")["unmapped"]["step_ms"], -86400000, delta=60000)
        self.assertTrue(self.verify()["closed"])

    def test_without_one(self):
        """A private daemon keeps none unless it is told to."""
        self.policy()
        self.env["VERITAS_POLICY"] = self.dir + "/policy.json"
        run = [VERITAS, "run", "-m", self.dir + "/models/one.gguf", "--raw", "-n", "2", "hello"]
        subprocess.run(run, env=self.env, check=True, capture_output=True)
        self.assertFalse(os.path.exists(self.log))
        self.policy(private=True)
        subprocess.run(run, env=self.env, check=True, capture_output=True)
        self.wait_for(lambda: not self.lock_is_held())
        self.assertTrue(self.verify()["closed"])
        self.assertEqual([r["api"]["operation"] for r in self.records() if r["event"] == "answer"][-1], "generate")

    def test_who_may_write(self):
        daemon = self.serve()
        other = self.serve("t")
        self.assertNotEqual(other.wait(30), 0)
        self.assertIn("another daemon writes the log", self.said_so())
        self.running.remove(other)
        self.stop(daemon)
        with open(f"{self.log}/{self.files()[0]}", "rb") as f:
            whole = f.read()
        for name in ("signing.key", "text.key"):
            os.chmod(f"{self.log}/{name}", 0o640)
            daemon = self.serve("u")
            self.assertNotEqual(daemon.wait(30), 0)
            self.running.remove(daemon)
            self.assertIn(name + ": others may read it", self.said_so())
            os.chmod(f"{self.log}/{name}", 0o600)
        for what in ("link", "changed"):
            path = f"{self.log}/{self.files()[-1]}"
            if what == "link":
                os.rename(path, self.dir + "/elsewhere")
                os.symlink(self.dir + "/elsewhere", path)
            else:
                with open(path, "r+b") as f:
                    f.seek(len(whole) // 2)
                    f.write(b"X" if whole[len(whole) // 2:][:1] != b"X" else b"Y")
            daemon = self.serve("u")
            self.assertNotEqual(daemon.wait(30), 0)
            self.running.remove(daemon)
            self.assertIn("it is a link" if what == "link" else "not as it was written", self.said_so())
            if what == "link":
                self.assertIn("it is a link", self.verify(status=3)["reason"])
                os.unlink(path)
                os.rename(self.dir + "/elsewhere", path)
        self.verify(status=3)

    def test_history_made_anew(self):
        """Who takes the machine has the key that signs now, and all files: a log of other records, with the right hashes, signed by
        that key. The keys before it signed others."""
        daemon = self.serve(rotate_bytes=65536)
        x = self.client()
        self.wait_for(lambda: self.ask(x) and len(self.files()) > 3, 60)
        self.stop(daemon)
        n = self.read(f"{self.log}/{self.files()[0]}").count(b"\n")
        self.assertEqual(self.read(self.log + "/keys").count(b"\n"), 4)
        prev, tree, number, length, is_changed = None, Tree(), 0, b'"status_detail":"length"', False
        for name in self.files():
            lines = self.read(f"{self.log}/{name}").split(b"\n")[:-1]
            for i, line in enumerate(lines):
                number += 1
                if number >= 20 and not is_changed and length in line:
                    line, is_changed = line.replace(length, b'"status_detail":"filter"'), True
                elif is_changed:
                    line = re.sub(rb'"prev":"[0-9a-f]{64}"', b'"prev":"' + prev + b'"', line, count=1)
                    peaks = json.dumps(tree.peaks(), separators=(",", ":")).encode()
                    line = re.sub(rb'"peaks":\[[^]]*\]', b'"peaks":' + peaks, line)
                prev, lines[i] = hashlib.sha256(line).hexdigest().encode(), line
                tree.add(line)
            self.put(name, b"".join(line + b"\n" for line in lines))
        # His own signature: he has the seed of the newest key, and leaves the older checkpoints out.
        held = self.read(self.log + "/signing.key")
        at = next(at for at in (0, 4096) if held[at:at + 7] == b"VSKEY1\n")
        seed, origin = held[at + 16:at + 48], self.read(self.log + "/checkpoints").split(b"\n")[0]
        note = origin + f"\n{number}\n{base64.b64encode(tree.root()).decode()}\nhead {prev.decode()}\ntime 1\n".encode()
        key_id = hashlib.sha256(origin + b"\n\x01" + r.public(seed)).digest()[:4]
        notes = note + b"\n\xe2\x80\x94 " + origin + b" " + base64.b64encode(key_id + r.sign(seed, note)) + b"\n"
        for text in (notes, b""):
            self.put("checkpoints", text)
            verdict = self.verify(status=3)
            self.assertEqual(verdict["checkpoints"], text.count(b"head"))
            if text:
                self.assertLessEqual(verdict["first_bad"], n)
                self.assertIn("signs other records", verdict["reason"])
            daemon = self.serve()        # nor does the writer sign it
            self.assertNotEqual(daemon.wait(30), 0)
            self.running.remove(daemon)
            self.assertIn("signed other records", self.said_so())
        for name in self.files()[1:]:       # nor one whose end is gone
            os.unlink(f"{self.log}/{name}")
        self.verify(status=3)
        daemon = self.serve()
        self.assertNotEqual(daemon.wait(30), 0)
        self.running.remove(daemon)
        self.assertIn("records are signed, and", self.said_so())

    def test_tampering(self):
        daemon = self.serve(rotate_bytes=65536)
        x = self.client()
        for i in range(100):
            self.ask(x)
        self.stop(daemon)
        self.assertGreater(len(self.files()), 2)
        good = {name: self.read(f"{self.log}/{name}") for name in self.files()}
        first = self.files()[0]
        lines = good[first].split(b"\n")[:-1]
        n = len(lines)

        def expect(bad, **files):
            for name, text in {**good, **files}.items():
                path = f"{self.log}/{name}"
                if text is None:
                    os.unlink(path)
                else:
                    with open(path, "wb") as f:
                        f.write(text)
            self.assertEqual(self.verify(status=3)["first_bad"], bad)
            for name, text in good.items():
                with open(f"{self.log}/{name}", "wb") as f:
                    f.write(text)

        def joined(some):
            return b"".join(line + b"\n" for line in some)
        at = 20                         # line at is record at + 1
        expect(at + 1, **{first: joined(lines[:at] + lines[at + 1:])})
        expect(at + 1, **{first: joined(lines[:at] + [lines[at + 1], lines[at]] + lines[at + 2:])})
        expect(at + 1, **{first: joined(lines[:at + 1] + lines[at:])})
        expect(at + 1, **{first: joined(lines[:at] + [lines[at].replace(b'"seq":', b'"seq":1', 1)] + lines[at + 1:])})
        expect(at + 1, **{first: joined(lines[:at] + [b"x" * 10000000] + lines[at:])})
        expect(n + 1 - 5, **{first: joined(lines[:-5])})                        # its end is gone
        expect(n + 1, **{self.files()[1]: None})
        # What the chain alone does not tell: the end.
        final = self.files()[-1]
        expect(len(self.lines()), **{final: joined(good[final].split(b"\n")[:-2])})
        expect(int(final[:16]), **{final: None})
        ending = good[final].split(b"\n")[:-1]
        expect(len(self.lines()), **{final: joined(ending[:-1] + [ending[-1].replace(b'"seq"', b'"seq"', 1).replace(
            b'"activity_name":"Stop"', b'"activity_name":"Stap"')])})
        # A log that is made anew from some record on, each with the right hash of the one before it.
        forged, prev = [], None
        for line in lines[:at] + [lines[at].replace(b'"seq"', b'"seq"').replace(b"length", b"stop")] + lines[at + 1:]:
            if prev:
                line = line[:line.index(b'"prev":"') + 8] + prev + line[line.index(b'"prev":"') + 72:]
            forged.append(line)
            prev = hashlib.sha256(line).hexdigest().encode()
        self.put(first, joined(forged))
        self.assertGreater(self.verify(status=3)["first_bad"], at)
        self.put(first, good[first])
        # Keys and checkpoints themselves; a whole older log, or another one, in its place.
        for name in ("keys", "checkpoints"):
            text = self.read(f"{self.log}/{name}")
            os.unlink(f"{self.log}/{name}")
            self.verify(status=3)
            for i in range(20):
                where = random.randrange(len(text))
                changed = bytearray(text)
                changed[where] ^= 1
                self.put(name, bytes(changed))
                done = self.try_verify("--checkpoint", self.dir + "/saved") if os.path.exists(self.dir + "/saved") else None
                done = done or self.try_verify()
                cut = name == "checkpoints" and where == len(text) - 1          # it may have been cut there
                self.assertEqual(done.returncode, 0 if cut else 3, (name, where, done.stdout))
            self.put(name, text)
            if name == "keys":
                with open(self.dir + "/saved", "w") as f:
                    subprocess.run([VERITAS, "audit", "checkpoint", self.log], env=self.env, check=True, stdout=f)
                with open(self.dir + "/pub", "w") as f:
                    subprocess.run([VERITAS, "audit", "key", self.log], env=self.env, check=True, stdout=f)
        for i in range(40):
            which = random.randrange(n)
            line = bytearray(lines[which])
            line[random.randrange(len(line))] ^= 1 << random.randrange(8)
            if b"\n" in line:
                continue
            expect(which + 1, **{first: joined(lines[:which] + [bytes(line)] + lines[which + 1:])})
        self.assertTrue(self.verify()["ok"])

    def test_large_numbers(self):
        """A client may name its requests by any number of 64 bits: records and the daemon's own log say it as it was."""
        numbers = [2 ** 63 - 1, 2 ** 63, 2 ** 64 - 1]
        daemon = self.serve()
        x = self.client()
        for x.last_id in [n - 1 for n in numbers]:
            self.assertEqual(self.ask(x).kind, c.COMPLETE)
        self.stop(daemon)
        for event in ("request", "answer"):
            self.assertEqual([r["api"]["request"]["uid"] for r in self.records() if r["event"] == event], [str(n) for n in numbers])
        said = self.read(self.dir + "/said").decode()
        ends = [line for line in said.splitlines() if " request_end " in line]
        self.assertEqual([int(line.split("request=")[1].split()[0]) for line in ends], numbers)

    def test_signed(self):
        """What was kept elsewhere shows that the log is cut, or another one; keys that signed are gone."""
        daemon = self.serve(rotate_bytes=65536, checkpoint_records=10, checkpoint_copy=self.dir + "/copy")
        x = self.client()
        for i in range(50):
            self.ask(x)
        self.stop(daemon)
        older = {name: self.read(f"{self.log}/{name}") for name in os.listdir(self.log)}
        verdict = self.verify()
        self.assertEqual(verdict["signed_through"], verdict["records"])
        self.assertGreater(verdict["checkpoints"], 9)
        self.assertEqual(self.read(self.dir + "/copy"), older["checkpoints"])
        with open(self.dir + "/pub", "w") as f:
            subprocess.run([VERITAS, "audit", "key", self.log], env=self.env, check=True, stdout=f)
        daemon = self.serve(rotate_bytes=65536)
        self.ask()
        self.crash(daemon)              # it ends without a stop: the tail is named
        verdict = self.verify("--pubkey", self.dir + "/pub")
        self.assertFalse(verdict["closed"])
        self.assertLess(verdict["signed_through"], verdict["records"])
        self.stop(self.serve(rotate_bytes=65536))
        with open(self.dir + "/saved", "w") as f:
            subprocess.run([VERITAS, "audit", "checkpoint", self.log], env=self.env, check=True, stdout=f)
        more = ("--pubkey", self.dir + "/pub", "--checkpoint", self.dir + "/saved")
        self.assertTrue(self.verify(*more)["closed"])
        for name in os.listdir(self.log):       # the older log put back is sound in itself
            os.unlink(f"{self.log}/{name}")
        for name, text in older.items():
            self.put(name, text)
        n = self.verify()["records"]
        self.assertEqual(self.verify(*more, status=3)["first_bad"], n + 1)
        shutil.rmtree(self.log)         # and so is another one
        self.stop(self.serve())
        self.verify()
        self.verify("--pubkey", self.dir + "/pub", status=3)
        shutil.move(self.log, self.dir + "/away")
        verdict = self.verify(status=3)         # it is not there
        self.assertEqual((verdict["ok"], verdict["records"], verdict["first_bad"]), (False, 0, None))
        self.assertIn(self.log, verdict["reason"])
        shutil.move(self.dir + "/away", self.log)
        # Two epochs: the first one's key is nowhere any more.
        first_seed = older["signing.key"]
        self.assertEqual(len(older["keys"].splitlines()), len([n for n in older if n.endswith(".jsonl")]))
        self.assertIn(b"\0" * 4096, first_seed)

    def export(self, *more):
        done = subprocess.run([VERITAS, "audit", "export", self.log, *more], env=self.env, capture_output=True, check=True)
        return done.stdout.splitlines()

    def test_export(self):
        """The lines, and proofs that a stranger checks with the checkpoint alone; also when the first files are gone."""
        daemon = self.serve(rotate_bytes=65536)
        x = self.client()
        for i in range(60):
            self.ask(x)
        self.ask(x, trace="00-" + "ab" * 16 + "-" + "cd" * 8 + "-01")
        self.stop(daemon)
        self.assertEqual(self.export(), self.lines())
        self.assertEqual(self.export("--since", "1h", "--until", "2100-01-01T00:00Z"), self.lines())
        self.assertEqual(self.export("--until", "1h"), [])
        shown = subprocess.run([VERITAS, "audit", "show", self.log], env=self.env, capture_output=True, text=True, check=True)
        at = shown.stdout.splitlines()[-1].split()[1]           # as it is shown, so it is taken
        last = [line for line in self.lines() if json.loads(line)["time"] >= json.loads(self.lines()[-1])["time"]]
        self.assertEqual(self.export("--since", at), last)
        for wrong in ("2026-02-29", "2026-04-31", "2026-11-29T12:30:00.5Z", "2026-11-29T12:30.123Z", "2026-13-01", "soon"):
            done = subprocess.run([VERITAS, "audit", "show", self.log, "--since", wrong], env=self.env, capture_output=True)
            self.assertEqual((done.returncode, done.stdout), (2, b""), wrong)
        cef = self.export("--format", "cef")
        self.assertEqual(len(cef), len(self.lines()))
        self.assertRegex(cef[-1].decode(), r"^CEF:0\|Veritas\|Veritas SDR\|[0-9.]+\|600204\|stop\|1\|rt=\d+ seq=\d+ ")
        os.utime(f"{self.log}/{self.files()[0]}", (1, 1))
        self.stop(self.serve(retain_days=1, rotate_bytes=65536))
        self.assertGreater(int(self.files()[0][:16]), 1)
        found = [json.loads(line) for line in self.export("--proof")]
        self.assertEqual([f["line"].encode() for f in found], self.lines())

        def h(*pieces):
            return hashlib.sha256(b"".join(pieces)).digest()
        for f in found:
            head, _, note = f["proof"].partition("\n\n")
            kind, index, *path = head.split("\n")
            size, root = note.split("\n")[1:3]
            self.assertEqual(kind, "c2sp.org/tlog-proof@v1")
            at, last = int(index.split()[1]), int(size) - 1
            self.assertEqual(at + 1, json.loads(f["line"])["seq"])
            node = h(b"\0", f["line"].encode())
            for p in map(base64.b64decode, path):
                if at % 2 or at == last:
                    node = h(b"\1", p, node)
                    while at % 2 == 0 and at:
                        at, last = at // 2, last // 2
                else:
                    node = h(b"\1", node, p)
                at, last = at // 2, last // 2
            self.assertEqual((base64.b64encode(node).decode(), last), (root, 0))

    def test_fetch(self):
        """Who may read the log gets a copy from the daemon, whoever owns the files; nobody else does, and no secret is in it."""
        daemon = self.serve(rotate_bytes=65536)
        x = self.client()
        for i in range(40):
            self.ask(x)
        with open(self.dir + "/pub", "w") as f:
            subprocess.run([VERITAS, "audit", "key", self.log], env=self.env, check=True, stdout=f)

        def fetch(folder, key=None):
            env = dict(self.env)
            if key:
                with open(self.dir + "/key", "w") as f:
                    f.write(key)
                os.chmod(self.dir + "/key", 0o600)
                env["VERITAS_KEY_FILE"] = self.dir + "/key"
            return subprocess.run([VERITAS, "audit", "fetch", folder], env=env, capture_output=True, text=True)
        for n, role in enumerate(("user", "operator")):
            key = self.keys("add", role, "--role", role)
            self.event("key_added", n)          # the daemon knows it from now on
            done = fetch(self.dir + "/none", key)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("the scope 'audit'", done.stderr)
            self.assertFalse(os.listdir(self.dir + "/none"))
        auditor = self.keys("add", "eve", "--role", "auditor")
        self.event("key_added", 2)
        copy, own = self.dir + "/copy", self.log
        for _ in range(2):              # a second one replaces the first
            done = fetch(copy, auditor)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.log = copy
            verdict = self.verify("--pubkey", self.dir + "/pub")
            self.assertFalse(verdict["closed"])
            lines = self.lines()
            self.log = own
            self.assertEqual(lines, self.lines()[:len(lines)])
        self.assertEqual(set(os.listdir(copy)), {"keys", "checkpoints", *self.files()})
        self.assertEqual(os.stat(copy + "/keys").st_mode & 0o777, 0o600)
        asked = [r for r in self.records() if r["event"] == "request" and r["api"]["operation"] == "auditlog"]
        self.assertEqual([r["actor"]["user"].get("credential_uid") for r in asked], ["user", "operator", "eve", "eve"])
        self.assertIn("name another folder", fetch(self.log).stderr)
        self.assertEqual(fetch(self.dir + "/mine").returncode, 0)        # the daemon's own user is an admin
        self.stop(daemon)
        self.policy()
        with open(self.dir + "/policy.json", "w") as f:
            f.write("{}")
        daemon = subprocess.Popen([VERITAS, "serve", "--policy", self.dir + "/policy.json"], env=self.env, stderr=self.said)
        self.running.append(daemon)
        self.wait_for(lambda: answers(self.socket))
        self.assertIn("keeps no audit log", fetch(copy).stderr)
        self.stop(daemon)

    def test_cut_and_gone_on(self):
        """A file that ends anywhere is gone on with, and the record behind the cut names the bytes that are no record."""
        daemon = self.serve()
        self.ask()
        self.crash(daemon)
        name = f"{self.log}/{self.files()[-1]}"
        whole = self.read(name)
        signed = self.verify()["signed_through"]        # what is signed is on the disk
        begin = len(b"".join(line + b"\n" for line in whole.split(b"\n")[:signed]))
        last = whole.rindex(b"\n", 0, -1)
        kept = self.read(self.log + "/checkpoints")
        cuts = {len(whole), len(whole) - 1, last, last + 1, last + 2, begin}
        while len(cuts) < 20:
            cuts.add(random.randrange(begin, len(whole)))
        for cut in sorted(cuts):
            with open(name, "wb") as f:
                f.write(whole[:cut])
            torn = whole[:cut].rpartition(b"\n")[2]
            ended = cut < len(whole) and whole[cut:cut + 1] == b"\n"           # the newline alone is missing
            if torn:
                self.assertEqual(self.verify(status=3)["first_bad"], whole[:cut].count(b"\n") + 1)
            if cut == begin:            # less than is signed
                self.put(self.files()[-1], whole[:begin - 2])
                daemon = self.serve()
                self.assertNotEqual(daemon.wait(30), 0)
                self.running.remove(daemon)
                self.assertIn("records are signed, and", self.said_so())
                self.put(self.files()[-1], whole[:cut])
            daemon = self.serve()
            self.crash(daemon)
            verdict = self.verify()
            self.put("checkpoints", kept)
            self.assertEqual((verdict["ok"], verdict["closed"]), (True, False))
            start = [r for r in self.records() if r["event"] == "start"][-1]
            self.assertEqual(start.get("torn", {}).get("bytes"), len(torn) + 1 if torn and not ended else None)

    def test_killed(self):
        """Each process dies again and again under load: every answer that came has its records, and none is said twice."""
        daemon = self.serve(rotate_bytes=65536)
        answered, ends = [0], threading.Event()

        def load():
            while not ends.is_set():
                try:
                    answered[0] += self.ask().kind == c.COMPLETE
                except (OSError, c.Closed):
                    pass
        threads = [threading.Thread(target=load) for _ in range(3)]
        for t in threads:
            t.start()
        try:
            for i in range(int(os.environ.get("VERITAS_KILLS", 16))):
                before = answered[0]
                self.wait_for(lambda: answered[0] > before + random.randrange(6))
                names = ["veritas-audit", "veritas-audit", "veritas-broker", "veritas-guard", "veritas-worker"]
                name = names[i % len(names)]
                for p in below(daemon.pid, name):
                    os.kill(p, signal.SIGKILL)
            before = answered[0]
            self.wait_for(lambda: answered[0] > before + 3)
        finally:
            ends.set()
            for t in threads:
                t.join()
        self.stop(daemon)
        self.assertTrue(self.verify()["closed"])
        last = {}
        for r in self.records():
            if "from" in r and r["event"] != "segment":
                source, number = r["from"].split(":")
                self.assertEqual(int(number), last.get(source, 0) + 1, r)
                last[source] = int(number)
        written = [r for r in self.records() if r["event"] == "answer" and r.get("status_detail") == "length"]
        self.assertGreaterEqual(len(written), answered[0])
        self.assertIn("worker_died", {r["event"] for r in self.records()})

    def test_when_it_cannot_be_written(self):
        """Refuse: nobody is answered without a record. Continue: they are, and a record says later how many are missing."""
        for how in ("refuse", "continue"):
            shutil.rmtree(self.log, ignore_errors=True)
            daemon = self.serve(how, on_failure=how)
            self.ask()
            path = f"{self.log}/{self.files()[-1]}"
            os.rename(path, path + ".away")
            os.mkdir(path)
            os.kill(self.writer(daemon), signal.SIGKILL)
            late = self.ask()           # it waits until the writer counts as gone
            if how == "refuse":
                self.assertEqual((late.kind, late.name), (c.REJECTED, "SYSTEM"))
                self.assertEqual(self.ask().name, "SYSTEM")
            else:
                self.assertEqual((late.kind, self.ask().kind), (c.COMPLETE, c.COMPLETE))
            os.rmdir(path)
            os.rename(path + ".away", path)
            self.wait_for(lambda: self.ask().kind == c.COMPLETE if how == "refuse" else
                          len([r for r in self.records() if r["event"] == "start"]) > 1)
            self.assertEqual(self.ask().kind, c.COMPLETE)
            self.stop(daemon)
            self.assertTrue(self.verify()["ok"])
            if how == "refuse":
                self.assertGreater([r for r in self.records() if r["event"] == "gap"][0]["unmapped"]["missed"], 0)

    def test_policy_and_age(self):
        daemon = self.serve(rotate_bytes=65536)
        x = self.client()
        for i in range(45):
            self.ask(x)
        with open(self.dir + "/policy.json", "w") as f:
            json.dump({"audit": {"dir": "log", "retain_days": 1, "rotate_bytes": 65536}, "pii": {"input": "log"}}, f)
        daemon.send_signal(signal.SIGHUP)
        self.wait_for(lambda: [r for r in self.records() if r["event"] == "policy"])
        held = [r["policy"]["uid"] for r in self.records() if r["event"] in ("start", "policy")]
        self.assertNotEqual(held[0], held[1])
        self.stop(daemon)
        n = len(self.files())
        self.assertGreater(n, 1)
        os.utime(f"{self.log}/{self.files()[0]}", (1, 1))
        daemon = self.serve(retain_days=1, rotate_bytes=65536)
        self.stop(daemon)
        self.assertEqual(len(self.files()), n - 1)
        verdict = self.verify()         # a checkpoint says what the deleted ones were
        self.assertGreater(verdict["first"], 1)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
