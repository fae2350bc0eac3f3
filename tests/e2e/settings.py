"""What `veritas serve` is told: options, its file, and what it says to who supervises it. The worker is an echo.
Arguments: veritas, veritas-broker, worker-echo."""
import json, os, shutil, signal, socket, subprocess, sys, tempfile, time, unittest

import client as c
from processes import Installed, child

PROGRAMS = [os.path.abspath(p) for p in sys.argv[1:4]]
PROGRAMS += [os.path.join(os.path.dirname(PROGRAMS[0]), name) for name in ("veritas-guard", "veritas.rules")]


class Settings(Installed, unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="vs")
        os.chmod(self.dir, 0o755)
        for source, name in zip(PROGRAMS, ("veritas", "veritas-broker", "veritas-worker", "veritas-guard", "veritas.rules")):
            shutil.copy(source, f"{self.dir}/{name}")
        os.mkdir(f"{self.dir}/models")
        for name in ("one", "two", "small"):
            with open(f"{self.dir}/models/{name}.gguf", "wb") as f:
                f.write(b"G" * 4096)
        self.env = dict(os.environ, VERITAS_MODELS=f"{self.dir}/models", VERITAS_SOCKET=f"{self.dir}/run/s.sock", HOME=self.dir)
        self.daemon = None

    def tearDown(self):
        if self.daemon and self.daemon.poll() is None:
            self.daemon.kill()
        if self.daemon:
            self.daemon.wait()
        shutil.rmtree(self.dir)

    def start(self, *options, **more):
        self.log = open(f"{self.dir}/log", "w+")
        self.addCleanup(self.log.close)
        self.daemon = subprocess.Popen([f"{self.dir}/veritas", "serve", *options], env=dict(self.env, **more), stderr=self.log)
        self.wait_for(lambda: self.call("ps").returncode == 0)

    def models(self):
        return {m["name"]: m for m in json.loads(self.call("ps", "--json").stdout)["models"]}

    def given(self, name):
        return self.models()[name]["settings"]                      # an echo says nothing of its own

    def broker(self):
        return child(self.daemon.pid, "veritas-broker")

    def lines(self):
        with open(f"{self.dir}/log") as f:
            return f.read().splitlines()

    def stop(self):
        self.assertEqual(self.call("stop").returncode, 0)
        self.assertEqual(self.daemon.wait(20), 0)

    def test_options_of_serve_are_defaults(self):
        """For a load that says nothing, for one that says something else, for a request's name, and after a broker's death."""
        self.start("--parallel", "8", "--kv-memory", "64M", "--ctx", "512", "--speculation", "off", "--idle-unload", "3600")
        defaults = {"parallel": 8, "kv_memory": 64 << 20, "ctx": 512, "speculation": "off", "idle_unload_s": 3600}
        self.assertEqual(self.call("load", "one", "--parallel", "3", "--draft", "small").returncode, 0)
        self.assertEqual(self.call("run", "-m", "two", "x").returncode, 0)
        expected = {"one": {**defaults, "parallel": 3, "draft": "small"}, "two": defaults}
        self.assertEqual({name: m["settings"] for name, m in self.models().items()}, expected)
        self.assertEqual(self.call("load", "one", "--ctx", "512").returncode, 0)
        other = self.call("load", "one", "--ctx", "256")
        self.assertEqual((other.returncode, "other settings" in other.stderr), (2, True), other)
        os.kill(self.broker(), signal.SIGKILL)
        self.wait_for(lambda: self.call("ps").returncode == 0 and len(self.models()) == 2)
        self.assertEqual({name: m["settings"] for name, m in self.models().items()}, expected)
        self.stop()

    def test_a_draft_is_a_model_of_the_directory(self):
        self.start()
        for draft, status, word in (("missing", 4, "no model is called 'missing'"),
                                    (f"{self.dir}/models/small.gguf", 2, "model directory"),
                                    ("one", 2, "the draft 'one' is the model itself")):
            refused = self.call("load", "one", "--draft", draft)
            self.assertEqual((refused.returncode, word in refused.stderr), (status, True), refused)
        self.assertEqual(self.models(), {})
        self.assertEqual(self.call("load", "one", "--draft", "small").returncode, 0)
        self.assertEqual(self.models()["one"]["settings"], {"draft": "small"})
        self.stop()

    def config(self, text):
        with open(f"{self.dir}/veritas.conf", "w") as f:
            f.write(text)
        return f"{self.dir}/veritas.conf"

    def test_a_file_of_options(self):
        """Options of serve, sections of models; the command line counts more, and what load says most."""
        path = self.config("# of the test\n\nparallel = 16\n ctx=512\nlog = json\n\n[model one]\nload = yes\nalias = uno\n"
                           "ctx = 1024\n"
                           "[model two]\nkv-memory = 1M\nload = no\n")
        checked = self.call("serve", "--config", path, "--check")
        self.assertEqual((checked.returncode, checked.stdout, checked.stderr), (0, "ok\n", ""))
        self.start("--config", path, "--parallel", "4")
        self.wait_for(lambda: self.models().get("one", {}).get("state") == "ready")
        self.assertEqual(self.models()["one"]["settings"], {"parallel": 4, "ctx": 1024, "alias": "uno"})
        self.assertEqual(list(self.models()), ["one"])
        self.assertEqual(self.call("run", "-m", "two", "x").returncode, 0)
        self.assertEqual(self.models()["two"]["settings"], {"parallel": 4, "ctx": 512, "kv_memory": 1 << 20})
        self.assertEqual(self.call("unload", "two").returncode, 0)
        self.assertEqual(self.call("load", "two", "--ctx", "256").returncode, 0)
        self.assertEqual(self.models()["two"]["settings"], {"parallel": 4, "ctx": 256, "kv_memory": 1 << 20})
        self.assertEqual(self.call("run", "-m", "uno", "x").returncode, 0)
        self.assertEqual(self.call("unload", "uno").returncode, 0)
        self.assertEqual(self.call("run", "-m", "uno", "x").returncode, 0)          # the file's names stay
        self.assertEqual(sorted(self.models()), ["one", "two"])
        self.stop()
        self.assertEqual(json.loads(self.lines()[0])["event"], "listening")

    def test_a_file_that_is_wrong(self):
        """Nothing is started, and the line is named."""
        for text, status, said in (("ctx = 1\nparalel = 2\n", 2, ":2: unknown option paralel; did you mean parallel?"),
                                   ("ctx = 0\n", 2, ":1: --ctx: '0' is not a whole number"),
                                   ("check = yes\n", 2, ":1: --check is an option of the command line only"),
                                   ("private-fd = 3\n", 2, ":1: --private-fd is an option of the command line only"),
                                   ("\n\nwords\n", 2, ":3: 'words' is neither `option = value` nor a section"),
                                   ("[models one]\n", 2, ":1: [models one] is no section"),
                                   ("[model one\n", 2, ":1: the ] of a section"),
                                   ("[model ../one]\n", 2, ":1: '../one' is not a model's name"),
                                   ("[model one]\nqueue = 1\n", 2, ":2: `veritas load` does not take --queue"),
                                   ("[model one]\nsocket = /tmp/x\n", 2, ":2: --socket is an option of the command line only"),
                                   ("[model one]\nload = perhaps\n", 2, ":2: load: 'perhaps' is neither yes nor no"),
                                   ("[model one]\n\nload = yes\n[model none]\nload = yes\n", 4, ":5: no model is called 'none'"),
                                   ("[model one]\nalias = two\n", 2, ":2: the alias 'two' is a model of the directory"),
                                   ("[model one]\nctx = 9\nalias = X\n", 2, ":3: the alias 'X' is not a name"),
                                   ("[model one]\nalias = x\n[model two]\nalias = x\n", 2,
                                    ":4: the alias 'x' is given to two models"),
                                   ("[model one]\n\ndraft = none\n", 4, ":3: the draft: no model is called 'none'"),
                                   ("[model one]\ndraft = one\n", 2, ":2: the draft 'one' is the model itself"),
                                   ("[model one]\ndraft = ../one\n", 2, ":2: the draft '../one' is not a name"),
                                   ("ctx = 9\ndraft = none\n", 4, ":2: the draft: no model is called 'none'"),
                                   ("a = \0\n", 2, ":1: there is a NUL byte")):
            path = self.config(text)
            for more in ([], ["--check"]):
                done = self.call("serve", "--config", path, *more)
                self.assertEqual((done.returncode, f"{path}{said}" in done.stderr, done.stdout), (status, True, ""), (text, done))
        self.assertEqual(self.call("serve", "--config", f"{self.dir}/nothing").returncode, 4)
        done = self.call("serve", "--check", "--draft", "none")
        self.assertEqual((done.returncode, "the draft: no model is called 'none'" in done.stderr), (4, True), done)
        self.assertFalse(os.path.exists(f"{self.dir}/run/s.sock"))

    def test_the_file_is_read_again(self):
        """At SIGHUP, for what is loaded from then on; a wrong one changes nothing."""
        path = self.config("ctx = 512\n[model one]\nparallel = 3\n")
        self.start("--config", path)
        self.assertEqual(self.call("load", "one").returncode, 0)
        self.assertEqual(self.given("one"), {"ctx": 512, "parallel": 3})
        self.config("ctx = 256\n[model one]\nparallel = 5\n[model two]\nkv-memory = 1M\n")
        self.daemon.send_signal(signal.SIGHUP)
        self.wait_for(lambda: "options were read again" in self.lines()[-1])
        self.assertEqual(self.given("one"), {"ctx": 512, "parallel": 3})
        self.assertEqual(self.call("load", "two").returncode, 0)
        self.assertEqual(self.given("two"), {"ctx": 256, "kv_memory": 1 << 20})
        self.config("ctx = 256\n\nctxx = 1\n")
        self.daemon.send_signal(signal.SIGHUP)
        self.wait_for(lambda: f"options and policy stay as they are: {path}:3: unknown option ctxx" in self.lines()[-1])
        for name in ("one", "two"):
            self.assertEqual(self.call("unload", name).returncode, 0)
            self.assertEqual(self.call("load", name).returncode, 0)
        self.assertEqual(self.given("one"), {"ctx": 256, "parallel": 5})
        self.assertEqual(self.given("two"), {"ctx": 256, "kv_memory": 1 << 20})
        self.stop()
        self.start()                                                # without a file it means the end, as ever
        self.daemon.send_signal(signal.SIGHUP)
        self.assertEqual(self.daemon.wait(20), 0)

    def test_aliases(self):
        self.start()
        self.assertEqual(self.call("load", "one", "--alias", "uno").returncode, 0)
        self.assertEqual(self.call("run", "-m", "uno", "x").returncode, 0)
        for words, said in ((["load", "two", "--alias", "uno"], "the alias 'uno' is in use: it is another name of one"),
                            (["load", "two", "--alias", "one"], "the alias 'one' is in use: a model of that name is loaded"),
                            (["load", "two", "--alias", "small"], "the alias 'small' is a model of the directory"),
                            (["load", "two", "--alias", "../x"], "the alias '../x' is not a name")):
            done = self.call(*words)
            self.assertEqual((done.returncode, said in done.stderr), (2, True), done)
        self.assertEqual({name: m["settings"] for name, m in self.models().items()}, {"one": {"alias": "uno"}})
        self.assertEqual(self.call("load", "uno", "--alias", "uno").returncode, 0)
        self.assertEqual(self.call("run", "-m", "two", "x").returncode, 0)
        for model, alias in (("one", "eins"), ("uno", "un"), ("two", "due"), ("two", "due")):      # what is loaded gets another
            self.assertEqual(self.call("load", model, "--alias", alias).returncode, 0)
        for model, alias in (("one", "due"), ("two", "small"), ("two", "Due")):
            self.assertEqual(self.call("load", model, "--alias", alias).returncode, 2)
        names = {"uno": "one", "eins": "one", "un": "one", "due": "two"}
        self.assertEqual(json.loads(self.call("ps", "--json").stdout)["aliases"], names)
        self.assertIn("\neins is another name of one\n", self.call("ps").stdout)
        x = c.Client(self.env["VERITAS_SOCKET"])
        listed = x.wait(x.request(c.LIST, {}))["models"]
        x.close()
        self.assertEqual({m["name"]: m["alias_of"] for m in listed if "alias_of" in m}, names)
        self.assertTrue(all(m["loaded"] for m in listed if "alias_of" in m))
        for alias in names:
            self.assertEqual(self.call("run", "-m", alias, "x").returncode, 0)
            self.assertEqual(self.call("run", "-m", alias, "--private", "x").returncode, 0)     # a daemon of its own, too
        self.assertEqual(self.call("run", "-m", "tre", "--private", "x").returncode, 4)
        for i in range(15):
            self.assertEqual(self.call("load", "two", "--alias", f"n{i}").returncode, 0)
        self.assertIn("got 16 other names already", self.call("load", "two", "--alias", "n15").stderr)
        x = c.Client(self.env["VERITAS_SOCKET"])                    # all at once, each twice
        numbers = [x.request(c.LOAD, {"model": "one", "settings": {"alias": f"o{i % 20}"}}) for i in range(40)]
        ends = {number: None for number in numbers}
        while None in ends.values():
            try:
                e = x.event()
                ends[e.request] = "" if e.kind == c.COMPLETE else ends[e.request]
            except c.Failure as f:
                ends[f.request] = f.name
        x.close()
        self.assertEqual([ends[number] for number in numbers], (14 * [""] + 6 * ["LIMIT"]) * 2)     # it had eins and un
        self.assertEqual(self.call("unload", "n7").returncode, 0)
        self.assertEqual(self.call("run", "-m", "due", "x").returncode, 4)
        os.kill(self.broker(), signal.SIGKILL)
        self.wait_for(lambda: self.call("ps").returncode == 0 and self.models().get("one", {}).get("state") == "ready")
        for alias in ("uno", "eins", "un"):
            self.assertEqual(self.call("run", "-m", alias, "x").returncode, 0)
        self.assertEqual(list(self.models()), ["one"])
        self.assertEqual(self.call("unload", "uno").returncode, 0)
        gone = self.call("run", "-m", "uno", "x")
        self.assertEqual((gone.returncode, "no model is called 'uno'" in gone.stderr), (4, True), gone)

    def test_names_that_nobody_waits_for(self):
        """A name whose load was cancelled is not there, not for the next broker either."""
        self.start()
        self.assertEqual(self.call("load", "one").returncode, 0)
        x = c.Client(self.env["VERITAS_SOCKET"])
        given = {}
        for name in (f"name{i}" for i in range(12)):
            number = x.request(c.LOAD, {"model": "one", "settings": {"alias": name}})
            x.cancel(number)
            try:
                x.wait(number)
                given[name] = "one"
            except c.Failure as f:
                self.assertEqual(f.name, "CANCELLED")
        x.close()
        self.assertLess(len(given), 12)
        os.kill(self.broker(), signal.SIGKILL)
        self.wait_for(lambda: self.call("ps").returncode == 0 and self.models().get("one", {}).get("state") == "ready")
        self.assertEqual(json.loads(self.call("ps", "--json").stdout)["aliases"], given)
        self.stop()

    def manager(self, name):
        """A service manager's socket, and a function that gives what has come within some seconds."""
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.bind("\0" + name[1:] if name[0] == "@" else name)
        self.addCleanup(s.close)

        def heard(seconds, until=None):
            end, all = time.monotonic() + seconds, []
            while time.monotonic() < end and not (until and until in all):
                s.settimeout(max(end - time.monotonic(), 0.01))
                try:
                    all += s.recv(4096).decode().split("\n")
                except TimeoutError:
                    pass
            return all
        return heard

    def test_the_service_manager_hears(self):
        for name in (f"{self.dir}/notify", f"@vs-test-{os.getpid()}"):
            heard = self.manager(name)
            self.start(NOTIFY_SOCKET=name)
            self.assertIn("READY=1", heard(5, "READY=1"))
            self.assertEqual(heard(0.5), [])                        # nobody asked for a watchdog
            self.stop()
            last = heard(1)
            self.assertEqual(last[0], "STOPPING=1")
            self.assertRegex(last[1], r"^EXTEND_TIMEOUT_USEC=20000000$")           # 10 to drain, 5 for receipts, 5 beyond

    def test_the_watchdog_is_fed_while_the_broker_answers(self):
        heard = self.manager(f"{self.dir}/notify")
        self.start(NOTIFY_SOCKET=f"{self.dir}/notify", WATCHDOG_USEC="600000")
        self.assertIn("WATCHDOG=1", heard(5, "WATCHDOG=1"))
        self.assertGreaterEqual(heard(2).count("WATCHDOG=1"), 4)
        broker = self.broker()
        os.kill(broker, signal.SIGSTOP)
        heard(0.3)                                                  # what was under way
        self.assertEqual(heard(1.2), [])
        os.kill(broker, signal.SIGCONT)
        self.assertIn("WATCHDOG=1", heard(5, "WATCHDOG=1"))
        os.kill(broker, signal.SIGKILL)                             # another one is started, and answers
        self.assertIn("READY=1", heard(5, "READY=1"))
        self.assertIn("WATCHDOG=1", heard(5, "WATCHDOG=1"))
        self.stop()

    def test_who_is_not_meant_says_nothing(self):
        """Another process's watchdog, a private daemon, sockets that cannot be."""
        heard = self.manager(f"{self.dir}/notify")
        self.start(NOTIFY_SOCKET=f"{self.dir}/notify", WATCHDOG_USEC="300000", WATCHDOG_PID="1")
        self.assertEqual(heard(1), ["READY=1", "STATUS=accepts clients"])
        self.stop()
        heard(0.3)
        self.env.update(NOTIFY_SOCKET=f"{self.dir}/notify", WATCHDOG_USEC="300000")
        self.assertEqual(self.call("run", "--private", "-m", "one", "x").returncode, 0)
        self.assertEqual(heard(0.5), [])
        for name in ("", "@", "relative", f"{self.dir}/nobody", "/" + "x" * 300, "vsock:2:3"):
            self.start(NOTIFY_SOCKET=name)
            self.stop()

    def test_drain(self):
        """Answers have that long, no more and no less; who asked for the end waits for it."""
        for seconds, tokens, status in ((1, 3000, 6), (4, 250, 0)):
            self.start("--drain", str(seconds))
            busy = subprocess.Popen([f"{self.dir}/veritas", "run", "-m", "one", f"@slow {tokens}"], env=self.env,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)     # communicate reads on
            self.assertEqual(busy.stdout.read(1), b"x")
            begin = time.monotonic()
            self.assertEqual(self.call("stop").returncode, 0)
            took = time.monotonic() - begin
            out, err = busy.communicate(timeout=10)
            self.assertEqual((busy.returncode, b"stopped before the answer was complete" in err), (status, status == 6), err)
            self.assertGreaterEqual(took, 0.9 if status else 2)
            self.assertLess(took, seconds + 2)
            self.assertEqual(status or len(out), status or tokens)
            self.assertEqual(self.daemon.wait(5), 0)

    def test_stop_can_be_left(self):
        heard = self.manager(f"{self.dir}/notify")
        self.start("--drain", "20", NOTIFY_SOCKET=f"{self.dir}/notify")
        busy = subprocess.Popen([f"{self.dir}/veritas", "run", "-m", "one", "@slow 3000"], env=self.env, stdout=subprocess.PIPE)
        self.assertEqual(busy.stdout.read(1), b"x")
        stop = subprocess.Popen([f"{self.dir}/veritas", "stop"], env=self.env, stderr=subprocess.PIPE, text=True)
        self.assertIn("STOPPING=1", heard(10, "STOPPING=1"))
        stop.send_signal(signal.SIGINT)
        self.assertEqual((stop.wait(5), stop.stderr.read()), (6, "veritas: the daemon has not ended yet\n"))
        stop.stderr.close()
        self.daemon.send_signal(signal.SIGTERM)                     # the second time: at once
        self.assertEqual(self.daemon.wait(10), 0)
        busy.communicate(timeout=10)

    def test_values_that_cannot_be(self):
        for words, said in ((["serve", "--parallel", "0"], "--parallel: '0' is not a whole number from 1 to 256"),
                            (["serve", "--itl-target", "0"], "--itl-target: '0' is not a whole number from 1 to 60000"),
                            (["serve", "--memory", "1G5"], "--memory: '1G5' is not a size in bytes, such as 512M or 2G"),
                            (["serve", "--kv-memory", "0"], "--kv-memory: '0' is not a size in bytes"),
                            (["serve", "--memory", "9000000T"], "--memory: '9000000T' is not"),
                            (["load", "one", "--prefix-cache", "all"], "--prefix-cache: 'all' is not owner, shared or off"),
                            (["serve", "--log", "xml"], "--log: 'xml' is not text or json"),
                            (["serve", "--hang", "0"], "--hang: '0' is not a whole number from 1 to 3600"),
                            (["run", "--choices", "17", "x"], "--choices: '17' is not a whole number from 1 to 16"),
                            (["run", "--priority", "urgent", "x"], "--priority: 'urgent' is not high, normal or low"),
                            (["run", "--cache-key", "k" * 65, "x"], "--cache-key: the text is longer than 64 bytes"),
                            (["run", "--cache-key", "", "x"], "--cache-key: the value is empty"),
                            (["chat", "--parallel", "2"], "`veritas chat` does not take --parallel")):
            done = self.call(*words)
            self.assertEqual((done.returncode, said in done.stderr), (2, True), done)

    def test_a_log_of_json(self):
        """Every line is an object, of the supervisor and of the broker."""
        self.start("--log", "json")
        self.assertEqual(self.call("load", "one").returncode, 0)
        os.kill(self.models()["one"]["pid"], signal.SIGKILL)
        self.wait_for(lambda: self.models()["one"]["restarts"] == 1)
        self.stop()
        events = [json.loads(line) for line in self.lines()]
        for e in events:
            self.assertRegex(e["time"], r"^20\d\d-[01]\d-[0-3]\dT\d\d:\d\d:\d\d\.\d\d\dZ$")
            self.assertIn(e["level"], ("info", "warning", "error"))
            self.assertIn(e["from"], ("serve", "broker"))
        self.assertEqual((events[0]["event"], events[0]["message"]), ("listening", f"listening at {self.dir}/run/s.sock"))
        self.assertTrue(any(e["event"] == "worker_died" and "killed by signal 9" in e["message"] for e in events), events)
        self.assertTrue(any(e["from"] == "broker" for e in events), events)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:])
