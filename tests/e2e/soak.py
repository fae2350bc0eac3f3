#!/usr/bin/env python3
"""Everything at once, for a while: random arrivals of several processes, cancels, clients that leave, full caches, texts that are
measured, deaths of every process: workers (also by a crash), guards, the broker, and the supervisor, after which the daemon is
started again.
Each answer that comes must be the one that its prompt alone gets, and nothing may grow or be left over.

usage: soak.py BIN SECONDS [SEED]"""
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import client as c

BIN, SECONDS, SEED = os.path.abspath(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1
CLIENTS, PROMPTS, PROCESSES = 12, 50, 4
DIR = tempfile.TemporaryDirectory(prefix="vsk")
WORDS = "the sky is blue and sea green while one old man walks home from work in rain".split()
# A small cache, so that it is full; a target that is missed; the defaults.
MODELS = {"one": ("llama", ["--kv-memory", "192K", "--parallel", "8"]), "two": ("qwen2", ["--itl-target", "1"]),
          "three": ("gemma3", [])}
LOST = ("DIED", "BUSY", "CANCELLED", "DENIED")      # what may come in place of an answer when processes are killed
# Whom the killer takes, and how; a crash makes the requests suspects.
DEATHS = [("veritas-worker", signal.SIGKILL)] * 8 + [("veritas-worker", signal.SIGSEGV)] * 2 + \
         [("veritas-broker", signal.SIGKILL)] * 2 + [("veritas-guard", signal.SIGKILL)] * 2 + [("veritas", signal.SIGKILL)]


def text(seed, n):
    r = random.Random(seed)
    return " ".join(r.choice(WORDS) for _ in range(n))


def prompts():
    r = random.Random(SEED)
    common = text("common", 60)
    for i in range(PROMPTS):
        own = text(f"{SEED} {i}", r.randrange(1, 80))
        yield {"prompt": common + " " + own if i % 3 else own + " " + own, "raw": True, "max_tokens": r.choice((1, 8, 40, 120)),
               "ignore_eos": i % 2 == 0, "logits_hash": True, "stop": ["the"] if i % 7 == 0 else [],
               "sampling": {"seed": i, "temperature": r.choice((0, 0.8, 1.5)), "repeat_penalty": r.choice((1, 1.1))}}


MEASURED = [(kind, body) for i in range(3) for kind, body in (
    (c.LOGITS, {"text": text(f"logits {i}", 90)}), (c.PERPLEXITY, {"text": text(f"perplexity {i}", 200), "ctx": 64}),
    (c.EMBED, {"input": [text(f"embed {i} {k}", 70) for k in range(2)], "pooling": "mean"}))]


class Process:
    """A process of its own, which connects for us: places are shared by processes."""

    def __init__(self):
        self.lock = threading.Lock()
        self.ours, theirs = socket.socketpair()
        if os.fork() == 0:
            self.ours.close()
            while theirs.recv(1):       # as long as we live
                try:
                    s = socket.socket(socket.AF_UNIX)
                    s.connect(DIR.name + "/run/s")
                    socket.send_fds(theirs, [b"x"], [s.fileno()])
                except OSError:
                    theirs.send(b"x")
                s.close()
            os._exit(0)
        theirs.close()

    def connect(self):
        with self.lock:
            self.ours.send(b"x")
            fds = socket.recv_fds(self.ours, 1, 1)[1]
        if not fds:
            raise ConnectionRefusedError
        return c.Client(sock=socket.socket(fileno=fds[0]))


class Soak:
    def __init__(self):
        self.others = [Process() for _ in range(PROCESSES)]
        for folder in ("models", "run"):
            os.mkdir(f"{DIR.name}/{folder}", 0o700)
        for name, (arch, _) in MODELS.items():
            subprocess.run([BIN + "/mkmodel", "--arch", arch, "--layers", "2", "--embd", "64", "--heads", "4", "--kv-heads",
                            "2", "--vocab", "600", "--ctx", "1024", "--seed", "7", "-o",
                            f"{DIR.name}/models/{name}.gguf"], check=True, stdout=subprocess.DEVNULL)
        self.env = dict(os.environ, VERITAS_MODELS=DIR.name + "/models", VERITAS_SOCKET=DIR.name + "/run/s")
        self.log = open(DIR.name + "/log", "wb")
        self.daemon = None
        self.serve()
        with open(DIR.name + "/conf", "w") as f:
            for name, (_, options) in MODELS.items():
                f.write(f"[model {name}]\nload = yes\n")
                f.writelines(f"{option[2:]} = {value}\n" for option, value in zip(options[::2], options[1::2]))
        self.prompts = list(prompts())
        self.lock = threading.Lock()
        self.counts = dict.fromkeys(("answers", "measured", "resumed", "cached", "recomputed", "accepted", "cancelled", "left",
                                     "lost", "denied", "kills", "starts"), 0)
        self.faults, self.asked = [], {}
        self.over = self.ended = False
        self.starts = threading.Lock()

    def end(self):
        """Nothing is left alive, whoever ends us and when."""
        with self.starts:
            self.ended = self.over = True
            self.daemon.kill()
        self.daemon.wait()

    def serve(self, *words):
        self.daemon = subprocess.Popen([BIN + "/veritas", "serve", *words], env=self.env, stdout=subprocess.DEVNULL,
                                       stderr=self.log)

    def veritas(self, *words):
        return subprocess.run([BIN + "/veritas", *words], env=self.env, check=True, capture_output=True, text=True).stdout

    def connect(self, process=None):
        end = time.monotonic() + 30
        while True:
            try:
                x = process.connect() if process else c.Client(DIR.name + "/run/s")
                x.sock.settimeout(60)
                return x
            except (OSError, c.Failure, c.Closed):
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def serve_models(self):
        """Again, with the models of the file; their names are asked for while they load."""
        self.serve("--config", DIR.name + "/conf")

    def count(self, **what):
        with self.lock:
            for key, n in what.items():
                self.counts[key] += n

    def fault(self, what):
        with self.lock:
            self.faults.append(what)

    def alone(self):
        """What each prompt gives by itself, where nothing is shared."""
        self.truth = {}
        for name in MODELS:
            self.veritas("load", name, "--prefix-cache", "off", "--parallel", "1", "--speculation", "off")
            x = self.connect()
            for i, p in enumerate(self.prompts):
                said, tokens, result = x.answer(x.request(c.GENERATE, {"model": name, **p}))
                self.truth[name, i] = said, tokens, result["finish_reason"], result["logits_hash"]
            for i in range(len(MEASURED)):
                self.truth[name, "measured", i] = self.measured(x, name, i)
            x.close()
            self.veritas("unload", name)
        self.veritas("stop")
        if self.daemon.wait(30) != 0:
            self.fault("the first daemon ended with an error")

    # ---- one client ----

    @staticmethod
    def measured(x, name, i):
        kind, body = MEASURED[i]
        rows = hashlib.sha256()
        for e in x.events(x.request(kind, {"model": name, **body})):
            rows.update(e.data if e.kind == c.DATA else b"")
        return rows.hexdigest(), {k: v for k, v in e.value.items() if k not in ("timings", "usage")}

    def measure(self, x, r):
        name, i = r.choice(list(MODELS)), r.randrange(len(MEASURED))
        self.asked[threading.get_ident()] = name, "measured", i
        if self.measured(x, name, i) != self.truth[name, "measured", i]:
            self.fault(f"{name}: {MEASURED[i]} gives others")
        self.count(measured=1)
        return True

    def ask(self, x, r):
        if r.randrange(6) == 0:
            return self.measure(x, r)
        name, i = self.asked[threading.get_ident()] = r.choice(list(MODELS)), r.randrange(PROMPTS)
        what = r.choice(("answer",) * 16 + ("cancel",) * 3 + ("leave",))
        number = x.request(c.GENERATE, {"model": name, **self.prompts[i], "priority": r.choice(("high", "normal", "low")),
                                        "speculation": r.choice(("auto", "off"))})
        after, n = r.randrange(1, 20), 0
        said, tokens = "", []
        while True:
            e = x.event()
            if e.kind == c.TOKEN:
                said += e.text
                tokens.append(e.token)
            if e.kind == c.COMPLETE:
                break
            n += e.kind == c.TOKEN
            if what == "cancel" and n == after:
                x.cancel(number)
            if what == "leave" and n == after:
                self.count(left=1)
                return False
        result = e.value
        if (said, tokens, result["finish_reason"], result["logits_hash"]) != self.truth[name, i]:
            self.fault(f"{name}, prompt {i}: {said!r} is not {self.truth[name, i][0]!r}; {result['usage']}")
        usage = result["usage"]
        self.count(answers=1, resumed=usage["resumed"], cached=usage["cached_tokens"] > 0,
                   recomputed=usage["recomputed_tokens"] > 0, accepted=usage["accepted_tokens"])
        return True

    def run_client(self, number):
        r = random.Random(f"{SEED} {number}")
        x = None
        while not self.over:
            try:
                x = x or self.connect(self.others[number % PROCESSES])
                if not self.ask(x, r):
                    x.close()
                    x = None
                time.sleep(r.random() * 0.05)
            except c.Failure as f:
                if f.request == 0:
                    x = None
                elif f.name not in LOST:
                    self.fault(f"{self.asked[threading.get_ident()]}: {f.name}: {f}")
                self.count(**{{"CANCELLED": "cancelled", "DENIED": "denied"}.get(f.name, "lost"): 1})
            except (OSError, c.Closed):
                x = None
                self.count(lost=1)
        if x:
            x.close()

    # ---- deaths ----

    def processes(self):
        """name -> pids of the daemon's children."""
        found = {}
        for pid in os.listdir("/proc"):
            try:
                with open(f"/proc/{pid}/stat") as f:
                    name, rest = f.read().split(" (", 1)[1].rsplit(") ", 1)
            except (OSError, IndexError):
                continue
            if rest.split()[1] == str(self.daemon.pid) and rest[0] != "Z":
                found.setdefault(name, []).append(int(pid))
        return found

    def run_killer(self):
        r = random.Random(f"{SEED} killer")
        deaths = []
        while not self.over:
            time.sleep(r.uniform(1, 4))
            deaths = deaths or r.sample(DEATHS, len(DEATHS))
            name, how = deaths.pop()
            pids = [self.daemon.pid] if name == "veritas" else self.processes().get(name, [])
            if not pids or self.over:
                continue
            try:
                os.kill(r.choice(pids), how)
            except ProcessLookupError:  # it was quicker
                continue
            self.count(kills=1)
            if name == "veritas":
                self.daemon.wait()
                with self.starts:
                    if not self.ended:
                        self.serve_models()
                self.count(starts=1)

    # ---- what is left ----

    def usage(self):
        """Memory in KiB and descriptors of supervisor and broker."""
        out = []
        for pid in [self.daemon.pid] + self.processes()["veritas-broker"]:
            with open(f"/proc/{pid}/statm") as f:
                out.append((int(f.read().split()[1]) * 4, len(os.listdir(f"/proc/{pid}/fd"))))
        return out

    @staticmethod
    def grew(before, after):
        return any(kib_after > kib * 1.2 + 4096 or fds_after > fds for (kib, fds), (kib_after, fds_after) in zip(before, after))

    def status(self):
        x = self.connect()
        models = x.wait(x.request(c.STATUS, {}))["models"]
        x.close()
        return {m["name"]: m for m in models}

    def settle(self):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            models = self.status()
            if all(m["state"] == "ready" and m["kv"]["used"] == 0 and not any(m["requests"].values()) for m in models.values()):
                return models
            time.sleep(0.1)
        self.fault(f"it does not come to rest: {[(m['name'], m['state'], m['kv'], m['requests']) for m in models.values()]}")
        return models

    def phase(self, seconds, killing):
        self.over = False
        threads = [threading.Thread(target=self.run_client, args=(i,)) for i in range(CLIENTS)]
        threads += [threading.Thread(target=self.run_killer)] if killing else []
        for t in threads:
            t.daemon = True             # who ends us need not wait for them
            t.start()
        time.sleep(seconds)
        self.over = True
        for t in threads:
            t.join()
        return self.settle()

    def run(self):
        self.alone()
        self.serve_models()
        self.phase(SECONDS / 6, False)
        before = self.usage()
        self.phase(SECONDS / 6, False)
        end = time.monotonic() + 5       # who has just left may still have a descriptor
        while self.grew(before, self.usage()) and time.monotonic() < end:
            time.sleep(0.1)
        if self.grew(before, self.usage()):
            self.fault(f"memory (KiB) or descriptors grew: {before} to {self.usage()}")
        models = self.phase(SECONDS * 2 / 3, True)
        if set(models) != set(MODELS):
            self.fault(f"loaded are {sorted(models)}")
        for name, (_, options) in MODELS.items():
            if name == "one" and not 160 << 10 < models[name]["settings"].get("kv_memory", 0) <= 192 << 10:      # whole pages
                self.fault(f"{name} came back with {models[name]['settings']}")
        self.daemon.send_signal(signal.SIGTERM)
        if self.daemon.wait(30) != 0:
            self.fault("the daemon ended with an error")
        print(json.dumps({"seconds": SECONDS, "seed": SEED, **self.counts, "faults": len(self.faults)}))
        for fault in self.faults[:20]:
            print(fault)
        needed = ("answers", "measured", "resumed", "cached", "recomputed", "cancelled", "left", "kills")
        few = [key for key in needed if not self.counts[key]]
        if few and SECONDS >= 30:
            print("nothing was seen of:", *few)
        if self.faults or (few and SECONDS >= 30):
            self.log.flush()
            with open(DIR.name + "/log", errors="replace") as f:
                print(f.read()[-3000:])
            return 1
        return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))       # what we started ends with us
    s = Soak()
    try:
        sys.exit(s.run())
    finally:
        s.end()
