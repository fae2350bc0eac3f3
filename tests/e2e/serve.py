"""The supervisor and its children, with a worker whose service misbehaves on demand: deaths, restarts, what is left behind, and
what a locked-in worker asks of the kernel. Arguments: veritas, veritas-broker, worker-echo."""
import json, os, re, shutil, signal, stat, subprocess, sys, tempfile, time, unittest

import client as c
from processes import Installed, below, child, patience

PROGRAMS = [os.path.abspath(p) for p in sys.argv[1:4]]
PROGRAMS += [os.path.join(os.path.dirname(PROGRAMS[0]), name) for name in ("veritas-guard", "veritas.rules")]


class Serve(Installed, unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="vs")
        os.chmod(self.dir, 0o755)
        for source, name in zip(PROGRAMS, ("veritas", "veritas-broker", "veritas-worker", "veritas-guard", "veritas.rules")):
            shutil.copy(source, f"{self.dir}/{name}")
        os.mkdir(f"{self.dir}/models")
        for name, first in (("good", b"G"), ("bad", b"X")):
            with open(f"{self.dir}/models/{name}.gguf", "wb") as f:
                f.write(first * 4096)
        self.env = dict(os.environ, VERITAS_MODELS=f"{self.dir}/models", VERITAS_SOCKET=f"{self.dir}/run/s.sock",
                        XDG_CACHE_HOME=f"{self.dir}/cache", HOME=self.dir)
        self.daemon = None

    def tearDown(self):
        if self.daemon and self.daemon.poll() is None:
            self.daemon.kill()
        if self.daemon:
            self.daemon.wait()
            self.daemon.stderr.close()
        shutil.rmtree(self.dir)

    def start(self, *before):
        self.daemon = subprocess.Popen([*before, f"{self.dir}/veritas", "serve"], env=self.env, stderr=subprocess.PIPE)
        self.wait_for(lambda: self.call("ps").returncode == 0)

    def ps(self):
        return json.loads(self.call("ps", "--json").stdout)

    def worker(self):
        models = self.ps()["models"]
        return models[0].get("pid") if models and models[0].get("state") == "ready" else None

    def test_broker_that_cannot_start(self):
        env = dict(self.env, VERITAS_SANDBOX="min=5,landlock=1")
        done = subprocess.run([f"{self.dir}/veritas", "serve"], env=env, capture_output=True, text=True, timeout=10)
        self.assertEqual(done.returncode, 70, done)
        # the supervisor may say where it listens before or after the broker, another process, refuses
        self.assertRegex(done.stderr,
                         r"below the configured minimum 5[^\n]*\n(.*listening at.*\n)?[^\n]*the broker cannot start[^\n]*\n$")
        self.assertFalse(os.path.exists(f"{self.dir}/run/s.sock"))

    def test_a_file_replaced_or_removed_under_the_daemon(self):
        self.env["VERITAS_MODELS"] = "models"               # a relative directory, too
        path = f"{self.dir}/models/good.gguf"
        here = os.getcwd()
        os.chdir(self.dir)
        self.addCleanup(os.chdir, here)
        self.start()
        self.assertNotIn("since", self.call("load", "good").stderr)

        def said(what):
            self.assertEqual([m["file_changed"] for m in self.ps()["models"]], [what])
            for command in (("ps",), ("load", "good")):
                done = self.call(*command)
                self.assertEqual(done.returncode, 0, done)
                (self.assertIn if what else self.assertNotIn)(f"which was {what} since", done.stderr)
        said(None)
        os.chmod(path, 0o600)
        said(None)
        os.rename(path, path + ".old")
        said("removed")
        shutil.copy2(path + ".old", path)                   # the same bytes and times, another file
        said("replaced")
        os.unlink(path)
        os.rename(path + ".old", path)
        said(None)
        with open(path, "r+b") as f:
            f.write(b"G")
        said("written to")
        self.call("unload", "good")
        self.assertNotIn("since", self.call("load", "good").stderr)
        self.call("stop")

    def test_few_descriptors(self):
        for limit, status in (("-n 20", 70), ("-Sn 20", 0)):        # a soft limit is raised
            done = subprocess.run(["sh", "-c", f'ulimit {limit}; exec "$0" run -m good hello', f"{self.dir}/veritas"], env=self.env,
                                  capture_output=True, text=True, timeout=20)
            self.assertEqual(done.returncode, status, done)
            self.assertEqual("20 open files are too few" in done.stderr, status == 70, done)

    def test_load_waits_for_a_daemon_that_starts(self):
        done = subprocess.run(["sh", "-c", '"$0" serve 2>/dev/null & "$0" load good && "$0" ps && "$0" stop; status=$?; wait; '
                               'exit $status', f"{self.dir}/veritas"], env=self.env, capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("good", done.stdout)
        self.assertEqual(self.call("load", "good").returncode, 4)

    def test_killed_worker_comes_back(self):
        self.start()
        self.assertEqual(self.call("load", "good").returncode, 0)
        first = self.worker()
        self.assertTrue(first)
        os.kill(first, signal.SIGKILL)
        self.wait_for(lambda: self.worker() not in (None, first))

    def test_bad_model_is_not_tried_again(self):
        self.start()
        answer = self.call("load", "bad")
        self.assertEqual(answer.returncode, 3, answer.stderr)
        self.assertIn("not an echo model", answer.stderr)
        self.assertEqual(self.ps()["models"], [])

    def test_nothing_is_left_after_kill(self):
        self.start()
        self.call("load", "good")
        pids = list(below(self.daemon.pid))
        self.assertGreaterEqual(len(pids), 2)
        self.daemon.kill()
        self.daemon.wait()
        self.wait_for(lambda: not any(os.path.exists(f"/proc/{p}/exe") and open(f"/proc/{p}/stat").read().split(")")[1][1] != "Z"
                                      for p in pids), 1)

    def test_socket(self):
        self.start()
        self.assertEqual(stat.S_IMODE(os.stat(f"{self.dir}/run").st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(os.stat(f"{self.dir}/run/s.sock").st_mode), 0o600)
        second = self.call("serve")
        self.assertEqual(second.returncode, 5, second.stderr)
        self.daemon.kill()              # leaves its socket behind
        self.daemon.wait()
        self.daemon.stderr.close()
        self.wait_for(lambda: self.call("ps").returncode != 0)      # its broker ends a moment later
        self.start()
        self.assertEqual(self.call("stop").returncode, 0)
        self.assertEqual(self.daemon.wait(10), 0)
        self.assertFalse(os.path.exists(f"{self.dir}/run/s.sock"))

    def test_two_daemons_at_once(self):
        self.start()
        self.daemon.kill()              # its socket stays
        self.daemon.wait()
        self.daemon.stderr.close()
        self.daemon = None
        both = [subprocess.Popen([f"{self.dir}/veritas", "serve"], env=self.env, stderr=subprocess.DEVNULL) for _ in range(2)]
        try:
            self.wait_for(lambda: any(p.poll() is not None for p in both))
            self.assertEqual(sorted(str(p.poll()) for p in both), ["5", "None"])     # the second says that one is there
            self.assertEqual(self.call("stop").returncode, 0)
            self.wait_for(lambda: all(p.poll() is not None for p in both))
        finally:
            for p in both:
                if p.poll() is None:
                    p.kill()
                p.wait()

    def test_stop_waits_for_the_end(self):
        self.start()
        first = self.daemon
        busy = subprocess.Popen([f"{self.dir}/veritas", "run", "-m", "good", "@slow 60"], env=self.env, stdout=subprocess.PIPE)
        self.assertEqual(busy.stdout.read(1), b"x")
        self.assertEqual(self.call("stop").returncode, 0)
        # the answer was finished first: 59 more and a newline
        self.assertEqual((busy.wait(5), len(busy.stdout.read())), (0, 60))
        busy.stdout.close()
        self.start()                    # at once, on the same socket
        self.assertEqual(first.wait(5), 0)
        first.stderr.close()
        self.assertEqual(self.call("ps").returncode, 0)     # the first one did not take the second one's socket away

    @unittest.skipUnless(shutil.which("strace"), "no strace")
    def test_socket_of_a_successor_stays(self):
        """The first one is held up between closing its socket and removing it; the second one's socket may have the same inode
        number."""
        self.start("strace", "-o", "/dev/null", "-e", "trace=flock", "-e", "inject=flock:delay_enter=700000:when=2")
        first = self.daemon
        self.assertEqual(self.call("stop").returncode, 0)
        self.start()
        self.assertEqual(first.wait(5), 0)
        first.stderr.close()
        self.assertEqual(self.call("ps").returncode, 0)

    def test_digest_is_shown(self):
        self.start()
        self.call("load", "good")           # nobody asks: the worker says by itself what it loaded
        self.wait_for(lambda: re.fullmatch("[0-9a-f]{64}", self.ps()["models"][0]["model_digest"] or ""))

    def test_killed_broker_and_its_models(self):
        """After a broker's death models come back with the settings that they had, those loaded by path too."""
        self.start()
        path = f"{self.dir}/other.gguf"
        shutil.copy(f"{self.dir}/models/good.gguf", path)
        self.assertEqual(self.call("load", "good", "--kv-type", "q8_0", "--ctx", "64").returncode, 0)
        self.assertEqual(self.call("load", path, "--ctx", "32").returncode, 0)
        before = {m["name"]: m["settings"] for m in self.ps()["models"]}
        self.assertEqual(before, {"good": {"kv_type": "q8_0", "ctx": 64}, path: {"ctx": 32}})
        broker = child(self.daemon.pid, "veritas-broker")
        os.kill(broker, signal.SIGKILL)
        self.wait_for(lambda: self.call("ps").returncode == 0 and all(m["state"] == "ready" for m in self.ps()["models"]))
        self.assertEqual({m["name"]: m["settings"] for m in self.ps()["models"]}, before)
        self.assertEqual(self.call("load", "good").returncode, 0)
        self.assertIn("other settings", self.call("load", "good", "--kv-type", "f16").stderr)
        self.assertEqual(self.call("run", "-m", path, "again").stdout, "again\n")
        # one that was changed meanwhile does not come back as what it was
        with open(path, "ab") as f:
            f.write(b"G")
        os.kill(child(self.daemon.pid, "veritas-broker"), signal.SIGKILL)
        self.wait_for(lambda: self.call("ps").returncode == 0 and [m["name"] for m in self.ps()["models"]] == ["good"])

    def test_a_refused_request_after_the_broker_died(self):
        """What ended two workers is refused until the daemon ends, by every broker of it."""
        self.start()
        bad = {"model": "good", "prompt": "@crash"}

        def asked(request):
            x = c.Client(f"{self.dir}/run/s.sock")
            x.sock.settimeout(20)
            try:
                return x.text(c.GENERATE, request)[0]
            except c.Failure as e:
                return e.name
            finally:
                x.close()
        self.assertEqual([asked(bad), asked(bad)], ["DIED", "DENIED"])
        for _ in range(2):
            os.kill(child(self.daemon.pid, "veritas-broker"), signal.SIGKILL)
            self.wait_for(lambda: self.call("ps").returncode == 0)
            self.assertEqual(asked(bad), "DENIED")
            self.assertEqual(asked({"model": "good", "prompt": "@crasx"}), "@crasx")
        self.assertEqual(asked({**bad, "max_tokens": 1}), "DIED")    # other bytes: another request

    def test_kills_in_turn(self):
        """Worker, broker, supervisor, by kill -9, each while an answer runs: it ends with a reason, and the next request is
        answered."""
        def kill_of(name):
            return child(self.daemon.pid, name)
        for name, status in (("veritas-worker", 70), ("veritas-broker", 70), ("veritas", 70), ("veritas-broker", 70)):
            if not self.daemon or self.daemon.poll() is not None:
                self.start()
            busy = subprocess.Popen([f"{self.dir}/veritas", "run", "-m", "good", "@slow 3000"], env=self.env,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertEqual(busy.stdout.read(1), b"x")
            begin = time.monotonic()
            os.kill(self.daemon.pid if name == "veritas" else kill_of(name), signal.SIGKILL)
            _, err = busy.communicate(timeout=5)
            self.assertEqual((busy.returncode, time.monotonic() - begin < 2, err.count(b"\n")), (status, True, 1), err)
            if name == "veritas":
                self.daemon.wait()
                self.daemon.stderr.close()
                self.wait_for(lambda: self.call("ps").returncode == 4)
                continue
            self.wait_for(lambda: self.call("run", "-m", "good", "again").stdout == "again\n")

    def test_missing_program(self):
        """A worker's program that is gone is told once and not tried again; so too when its worker has died."""
        self.start()
        worker = f"{self.dir}/veritas-worker"
        os.rename(worker, worker + ".away")
        done = self.call("load", "good")
        self.assertEqual((done.returncode, "cannot start " + worker in done.stderr), (1, True), done)
        self.assertEqual(self.ps()["models"], [])
        os.rename(worker + ".away", worker)
        self.assertEqual(self.call("load", "good").returncode, 0)
        os.unlink(worker)
        os.kill(self.worker(), signal.SIGKILL)
        self.wait_for(lambda: self.ps()["models"] == [])
        with open(worker, "w") as f:
            f.write("no program")
        os.chmod(worker, 0o755)
        self.assertIn("Exec format error", self.call("load", "good").stderr)
        os.unlink(f"{self.dir}/veritas-broker")
        os.kill(child(self.daemon.pid, "veritas-broker"), signal.SIGKILL)
        self.assertEqual(self.daemon.wait(10), 70)
        self.assertIn(b"veritas-broker: No such file", self.daemon.stderr.read())

    def test_worker_that_cannot_begin(self):
        """It ends before it has locked itself in: it would do so again."""
        self.start()
        with open(f"{self.dir}/veritas-worker", "w") as f:
            f.write("#!/bin/sh\nexit 127\n")
        done = self.call("load", "good")
        self.assertEqual((done.returncode, "ended with exit code 127" in done.stderr), (70, True), done)
        self.assertEqual(self.ps()["models"], [])

    def test_a_directory_of_any_bytes(self):
        folder = os.fsencode(self.dir) + b"/m\xff\x1b[31m"
        os.rename(f"{self.dir}/models", folder)
        self.env["VERITAS_MODELS"] = os.fsdecode(folder)
        self.start()
        x = c.Client(f"{self.dir}/run/s.sock")
        self.assertEqual(sorted(m["name"] for m in x.wait(x.request(c.LIST, {}))["models"]), ["bad", "good"])
        x.close()
        self.assertEqual(self.call("load", "good").returncode, 0)
        self.assertEqual(self.ps()["models"][0]["path"], self.dir + "/m\ufffd\x1b[31m/good.gguf")

    def test_many_models_in_the_directory(self):
        """LIST reads so many entries and tells so many, and not each time anew."""
        for i in range(6000):
            os.mknod(f"{self.dir}/models/m{i}.gguf")
        self.start()
        x = c.Client(f"{self.dir}/run/s.sock")
        begin = time.monotonic()
        numbers = [x.request(c.LIST, {}) for _ in range(100)]
        self.assertEqual({len(x.wait(number)["models"]) for number in numbers}, {200})
        self.assertLess(time.monotonic() - begin, 3 * patience())
        x.close()

    def test_signals(self):
        """The first SIGTERM waits for answers, a second does not."""
        self.start()
        busy = subprocess.Popen([f"{self.dir}/veritas", "run", "-m", "good", "@slow 3000"], env=self.env, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)
        self.assertEqual(busy.stdout.read(1), b"x")
        self.daemon.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        self.assertIsNone(self.daemon.poll())
        self.daemon.send_signal(signal.SIGTERM)
        self.assertEqual(self.daemon.wait(5), 0)
        self.assertIn(b"was stopped before the answer was complete", busy.communicate(timeout=5)[1])
        self.assertEqual(busy.returncode, 6)
        self.daemon.stderr.close()
        self.assertFalse(os.path.exists(f"{self.dir}/run/s.sock"))

    def test_what_a_worker_must_not_do(self):
        self.start()
        self.call("load", "good")
        level = self.ps()["models"][0]["sandbox"]["level"]
        self.assertGreaterEqual(level, 2)
        for name, said in (("open a file", "openat"), ("fork", "clone"), ("exec", "execve")):         # all of them: attempts.py
            done = self.call("run", "-m", "good", "@try " + name)
            self.assertEqual(done.returncode, 70, done)
            self.assertRegex(done.stderr, rf"tried the system call {said} \([0-9]+\) while answering generate and was stopped")
            self.call("unload", "good")     # a new worker, without the back-off of one that died
        self.assertEqual(self.call("run", "-m", "good", "still here").stdout, "still here\n")

    def test_calls_after_lock_in(self):
        if not shutil.which("strace"):
            self.skipTest("strace is not installed")
        trace = f"{self.dir}/trace"
        self.start("strace", "-f", "-ff", "-o", trace)
        self.assertEqual(self.call("load", "good").returncode, 0)
        self.call("stop")
        self.daemon.wait(20)
        checked = 0
        for name in os.listdir(self.dir):
            if not name.startswith("trace."):
                continue
            with open(f"{self.dir}/{name}", errors="replace") as f:
                text = f.read()
            if not re.search(r'^execve\("[^"]*/veritas-worker"', text, re.M):
                continue
            self.assertTrue("seccomp(SECCOMP_SET_MODE_FILTER" in text, "the worker was never locked in")
            after = text[text.rindex("seccomp(SECCOMP_SET_MODE_FILTER"):]
            self.assertIsNone(re.search(r"^(open|openat|socket|connect|execve|fork|vfork|ptrace)\(", after, re.M), after)
            self.assertNotIn("pread64(4", text[:text.rindex("seccomp(SECCOMP_SET_MODE_FILTER")])
            checked += 1
        self.assertGreaterEqual(checked, 1)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:])
