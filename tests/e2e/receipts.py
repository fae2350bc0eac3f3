#!/usr/bin/env python3
"""Receipts through the shipped programs: `run --receipt`, the protocol, HTTP, the policy. What is signed is read and checked by a
reader written from docs/RECEIPT.md (receipt_format.py): the signature, what the content is committed to by, and the chain, from
logits that the program prints for the same tokens. So whatever the instruction set, the threads, the company, the cache or the
guesses: the chain must be that of these logits.
usage: receipts.py BIN (BIN holds veritas, its programs and mkmodel)."""
import base64
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import client as c
import receipt_format as r
from determinism import runnable
from logits import read_npy
from processes import Daemons, child, patience

BIN = os.path.abspath(sys.argv[1])
VERITAS = BIN + "/veritas"
PROMPT = "the cat sat on the mat. the cat sat on the mat. the cat sat on"


def chain(predicate, opening, rows):
    """h[n], from the logits of each place."""
    first = len(opening["prompt_tokens"]) - 1
    return r.chain(predicate, bytes.fromhex(opening["salt"]), opening["tokens"], rows[first:]).hex()


# ---- the tests ----

class Receipts(Daemons, unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="vsr")
        self.models = self.dir + "/models"
        os.mkdir(self.models)
        subprocess.run([BIN + "/mkmodel", "--arch", "llama", "--type", "Q4_K", "--layers", "2", "--embd", "256", "--heads", "4",
                        "--kv-heads", "2", "--head-dim", "64", "--ff", "512", "--ctx", "1024", "--tokenizer", "gpt2", "--pre",
                        "smollm", "-o", self.models + "/one.gguf"], check=True, stdout=subprocess.DEVNULL)
        self.env = dict(os.environ, VERITAS_MODELS=self.models, HOME=self.dir, XDG_STATE_HOME=self.dir + "/state", NO_COLOR="1",
                        VERITAS_SOCKET="/nowhere/s")
        for name in ("XDG_CONFIG_HOME", "VERITAS_POLICY"):
            self.env.pop(name, None)
        self.said = open(self.dir + "/said", "w+b")
        self.running = []

    def veritas(self, *args, status=0):
        done = subprocess.run([VERITAS, *args], env=self.env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def receipt(self, *args, status=0, prompt=PROMPT):
        file = self.dir + "/receipt.json"
        if os.path.exists(file):
            os.remove(file)
        done = self.veritas("run", "-m", "one", "--raw", "--seed", "7", "--ignore-eos", "-n", "12", "--receipt", file, *args,
                            prompt, status=status)
        with open(file) as f:
            return json.load(f), done

    def put(self, name, text):
        with open(f"{self.dir}/{name}", "w") as f:
            f.write(text)
        return f"{self.dir}/{name}"

    def verify(self, *args, receipt=None, verdict="MATCH", status=0):
        """What `veritas verify` makes of the last receipt, or of this one."""
        file = self.put("verified.json", json.dumps(receipt)) if receipt else self.dir + "/receipt.json"
        done = self.veritas("verify", "--json", "-m", self.models + "/one.gguf", *args, file, status=status)
        self.assertEqual(json.loads(done.stdout)["verdict"], verdict, done.stdout)

    def judged(self, text, *args):
        """Exit status, verdict and errors of the program that reads receipts, without a key."""
        done = subprocess.run([BIN + "/veritas-receipt", *args], input=text, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout and json.loads(done.stdout)["verdict"], done.stderr

    def rows(self, tokens, model="one"):
        """Logits of each place, by `veritas logits`."""
        self.veritas("logits", "-m", model, "--isa", "c", "--tokens", ",".join(map(str, tokens)), "-o", self.dir + "/logits.npy")
        return read_npy(self.dir + "/logits.npy")

    def check(self, receipt, rows=None):
        """All that can be checked of a whole one; the chain from `rows`, or from what the program prints now."""
        predicate, subjects = r.read(receipt)
        opening = receipt["opening"]
        rows = rows or self.rows(opening["prompt_tokens"] + opening["tokens"])
        self.assertEqual(predicate["trace"]["chain"], chain(predicate, opening, rows))
        self.assertEqual(predicate["trace"]["n_out"], len(opening["tokens"]))
        return predicate, rows

    def policy(self, **keys):
        with open(self.dir + "/policy.json", "w") as f:
            json.dump(keys, f)
        return self.dir + "/policy.json"

    def serve(self, *args, **keys):
        self.env["VERITAS_SOCKET"] = self.dir + "/s"
        daemon = subprocess.Popen([VERITAS, "serve", "--policy", self.policy(**keys), *args], env=self.env, stderr=self.said,
                                  stdin=subprocess.DEVNULL)
        self.running.append(daemon)
        self.wait_for(lambda: daemon.poll() is None and self.client(), 30)
        return daemon

    def client(self):
        try:
            x = c.Client(self.dir + "/s")
        except (OSError, c.Closed):
            return None
        x.sock.settimeout(60 * patience())
        self.addCleanup(x.close)
        return x

    def ask(self, x, **more):
        self.asked = {"model": "one", "prompt": PROMPT, "raw": True, "ignore_eos": True, "max_tokens": 12, "sampling": {"seed": 7},
                      "receipt": True, **more}
        return x.request(c.GENERATE, self.asked)

    def body(self, salt):
        """What a receipt says of the body of the last request."""
        body = {k: v for k, v in self.asked.items() if k not in c.ENVELOPE}
        return r.commit("request.body", bytes.fromhex(salt), json.dumps(body).encode()).hex()

    def joined(self, x, request):
        """The receipt of an answer by the protocol, put together as docs/PROTOCOL.md says; and the result."""
        text, tokens, result = x.answer(request)
        opening = {"salt": result["salt"], **result["opening"]}
        if c.NO_TOKEN not in result["prompt_tokens"]:
            opening["prompt_tokens"] = result["prompt_tokens"]
        opening["delivered" if result.get("altered") else "text"] = text
        if not result.get("withheld"):
            opening["tokens"] = [t for t in tokens if t != c.NO_TOKEN]
        return {**x.receipts.pop(request), "opening": opening}, result

    def test_same_chain(self):
        """Instruction set, threads, chunk, guesses: in `observed` alone."""
        first, done = self.receipt("--isa", "c", "--threads", "1")
        self.assertEqual(os.stat(self.dir + "/receipt.json").st_mode & 0o777, 0o600)
        predicate, rows = self.check(first)
        self.assertIn(first["opening"].get("delivered", first["opening"].get("text")), (done.stdout, done.stdout[:-1]))
        self.assertEqual(predicate["contract"]["id"], "VNC-1")
        self.assertEqual(predicate["result"], {"finish": "length"})
        self.assertNotIn("log", predicate)
        with open(self.models + "/one.gguf", "rb") as f:
            self.assertEqual(predicate["model"]["sha256"], r.sha256(f.read()).hex())
        bound = {k: v for k, v in predicate.items() if k in ("contract", "engine", "model", "numeric")}
        ways = [("--isa", i, "--threads", t, *more) for i, t, *more in
                [(i, "2") for i in runnable()] + [("auto", "1", "--prefill-chunk", "3"), ("auto", "2", "--speculation", "off")]]
        for way in ways:
            receipt, _ = self.receipt(*way)
            other, _ = self.check(receipt, rows)
            self.assertEqual(receipt["opening"]["tokens"], first["opening"]["tokens"], way)
            self.assertEqual({k: other[k] for k in bound}, bound)
            self.assertNotEqual(receipt["opening"]["salt"], first["opening"]["salt"])
            self.assertEqual(other["observed"]["threads"], int(way[3]))
        self.assertEqual(receipt["keys"], first["keys"])             # one key, in the state folder
        with open(self.dir + "/state/veritas/receipts/keys") as f:
            self.assertEqual(f.read(), first["keys"])
        vkey = self.veritas("audit", "key", self.dir + "/state/veritas/receipts").stdout.strip()
        self.assertEqual(base64.b64decode(vkey.split("+", 2)[2])[1:].hex(), first["keys"].split()[1])
        self.verify("--pubkey", self.put("key", vkey), "--isa", "c", "--threads", "1")
        level2, _ = self.receipt("--receipt-level", "2")
        self.verify()
        self.assertEqual(self.check(level2, rows)[0]["trace"]["level"], 2)

    def test_request_is_bound(self):
        """Each scalar of the request, lists and a form; and reasons to end."""
        receipt, _ = self.receipt("--temp", "0.7", "--top-k", "9", "--top-p", "0.9", "--min-p", "0.01", "--logit-bias", "5=-2",
                                  "--stop", "zzz", "--stop-token", "77", "--repeat-penalty", "1.1")
        predicate, _ = self.check(receipt)
        request = predicate["request"]
        self.assertEqual([request[k] for k in ("temperature", "top_k", "top_p", "min_p", "repeat_penalty")],
                         [struct.pack(">f", 0.7).hex(), 9, struct.pack(">f", 0.9).hex(), struct.pack(">f", 0.01).hex(),
                          struct.pack(">f", 1.1).hex()])
        self.assertEqual([request["seed"], request["max_tokens"], request["ignore_eos"]], ["0000000000000007", 12, 1])
        self.assertEqual(receipt["opening"]["stop"], ["zzz"])
        self.assertEqual(receipt["opening"]["bias"], [[5, "c0000000"]])
        self.assertEqual(receipt["opening"]["stop_tokens"], [77])
        self.verify()
        file = self.dir + "/receipt.json"
        self.veritas("run", "-m", "one", "--raw", "--regex", "(ab|cd)+x", "-n", "30", "--receipt", file, PROMPT)
        with open(file) as f:
            receipt = json.load(f)
        self.assertEqual(json.loads(receipt["opening"]["constraint"]), {"regex": "(ab|cd)+x"})
        self.assertEqual(self.check(receipt)[0]["result"]["finish"], "stop")
        self.verify()
        self.assertEqual(self.veritas("run", "-m", "one", "--receipt", self.dir + "/no/such", PROMPT, status=4).stdout, "")

    def test_company_and_cache(self):
        """In a batch, behind a cached prompt, as a guess came true; of every answer, where the policy says so; in the log."""
        self.serve(audit={"dir": "log"}, receipts={"mode": "always"}, output={"control": "off"})
        x = self.client()
        self.assertTrue(x.server["receipts"])
        alone, _ = self.joined(x, self.ask(x))
        predicate, rows = self.check(alone)
        guessed, _ = self.joined(x, self.ask(x, constraint={"regex": "(one two three four )+"}, ignore_eos=False, max_tokens=120))
        told, _ = self.check(guessed)
        self.assertGreater(told["observed"]["drafted"], 0)
        more = {"receipt": False, "speculation": "off"}
        others = [self.ask(x, prompt=f"something else {i}", sampling={"seed": i}, **more) for i in range(6)]
        mine = self.ask(x, speculation="off")
        receipts = {}
        for event in iter(lambda: x.event() if len(receipts) < 7 else None, None):
            if event.kind == c.COMPLETE:
                receipts[event.request] = event.value
        self.assertEqual(set(x.receipts), {*others, mine})           # always: whether it is asked for or not
        for request in (*others, mine):
            told, subjects = r.read({**x.receipts[request], "opening": {"salt": receipts[request]["salt"]}})
            if request == mine:
                opening = {**alone["opening"], "salt": receipts[request]["salt"]}
                self.assertEqual(told["trace"]["chain"], chain(told, opening, rows))
                self.assertGreater(told["observed"]["cached"], 0)
            self.assertEqual(told["log"]["source"], predicate["log"]["source"])
        # the log has the chain, and the receipt names the request's record
        x.wait(x.request(c.STATUS, {}))
        with open(self.dir + "/log/0000000000000001.jsonl") as f:
            log = [json.loads(line) for line in f]
        begun, = [r for r in log if r.get("from") == f"{predicate['log']['source']}:{predicate['log']['record']}"]
        ended, = [r for r in log if r["event"] == "answer" and r["unmapped"]["number"] == begun["unmapped"]["number"]]
        self.assertEqual([begun["event"], ended["unmapped"]["receipt"]], ["request", predicate["trace"]["chain"]])
        with open(self.dir + "/log/keys") as f:
            self.assertEqual(alone["keys"], f.read())
        # several answers: one for each, with one salt, each that of its own seed
        request = self.ask(x, n=3, sampling={"seed": 7})
        tokens, texts = [[], [], []], ["", "", ""]
        for event in x.events(request):
            if event.kind == c.TOKEN:
                tokens[event.index].append(event.token)
                texts[event.index] += event.text
        chains = []
        for i in range(3):
            one = x.receipts[request][i]
            self.assertEqual((one.pop("altered"), one.pop("withheld")), (False, False))
            opening = {"salt": event.value["salt"], "prompt_tokens": event.value["prompt_tokens"], "tokens": tokens[i],
                       "text": texts[i], **event.value["opening"]}
            predicate, _ = self.check({**one, "opening": opening})
            self.assertEqual((int(predicate["request"]["seed"], 16), predicate["result"]), (7 + i, {"finish": "length"}))
            self.verify(receipt={**one, "opening": opening})
            chains.append(predicate["trace"]["chain"])
        self.assertEqual(tokens[0], alone["opening"]["tokens"])
        with open(self.dir + "/log/0000000000000001.jsonl") as f:
            ended = [r for r in map(json.loads, f) if r["event"] == "answer"][-1]
        self.assertEqual(ended["unmapped"]["receipts"], chains)

    def test_no_answer(self):
        """Of an answer without a token and without text, its prompt is bound all the same."""
        self.serve(output={"control": "off"})
        x = self.client()
        receipt, result = self.joined(x, self.ask(x, max_tokens=0))
        predicate, _ = self.check(receipt)
        self.assertEqual([receipt["opening"]["tokens"], receipt["opening"]["text"], predicate["trace"]["n_out"]], [[], "", 0])
        self.assertEqual(predicate["result"], {"finish": "length"})
        self.verify(receipt=receipt)

    def test_lines(self):
        """Several answers, and a chat: a line for each."""
        file = self.dir + "/receipts"
        self.veritas("run", "-m", "one", "--raw", "--choices", "3", "--seed", "5", "-n", "9", "--receipt", file, PROMPT)
        self.assertEqual(os.stat(file).st_mode & 0o777, 0o600)
        with open(file) as f:
            lines = [json.loads(line) for line in f]
        self.assertEqual(len(lines), 3)
        for n, receipt in enumerate(lines, 1):
            self.check(receipt)
            told = json.loads(self.veritas("verify", "--json", "-m", "one", "--line", str(n), file).stdout)
            self.assertEqual((told["verdict"], told["tokens"]), ("MATCH", len(receipt["opening"]["tokens"])))
        self.assertIn("there are 3 lines", self.veritas("verify", "--line", "4", file, status=2).stderr)
        self.assertIn("several receipts", self.veritas("verify", file, status=2).stderr)
        self.veritas("verify", "--line", "0", file, status=2)
        # what is no receipt makes no second one; blank lines make none either
        one, two = (json.dumps(receipt) for receipt in lines[:2])
        for text, verdict in ((one + "\n#\n", "INVALID"), (one + "#\n", "INVALID"), (one + "\n1\n", "INVALID"),
                              ("\n\n" + one + "\n \n", "WELL_FORMED")):
            self.assertEqual(self.judged(text)[:2], ({"INVALID": 3, "WELL_FORMED": 0}[verdict], verdict), text[-9:])
        for text in (f"{one}\n{two}\n", f"\n{one}\n{two}\n", f"{one}\n \n\n{two}", f"\r\n{one}\r\n{two}\n#"):
            status, _, said = self.judged(text)
            self.assertEqual((status, "several receipts" in said), (2, True), said)
        # more lines than one receipt may have bytes
        long = "x" * (1 << 20) + "\n"
        self.assertEqual(self.judged(long * 70 + one, "--line", "71")[:2], (0, "WELL_FORMED"))
        self.assertIn("there are 70 lines", self.judged(long * 70, "--line", "71")[2])
        subprocess.run([BIN + "/mkmodel", "--ctx", "2048", "-o", self.models + "/talks.gguf"], check=True,
                       stdout=subprocess.DEVNULL)
        done = subprocess.run([VERITAS, "chat", "-m", "talks", "-n", "7", "--receipt", file], input="hello\nand then?\n",
                              env=self.env, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        for n in (1, 2):
            told = json.loads(self.veritas("verify", "--json", "-m", "talks", "--line", str(n), file).stdout)
            self.assertEqual(told["verdict"], "MATCH")
        self.veritas("chat", "-m", "talks", "--receipt", "/no/such/file", status=4)
        self.veritas("chat", "-m", "talks", "--receipt-level", "2", status=2)

    def test_adapters(self):
        """An answer with adapters names them, and how much each counted; with the same ones it is done again."""
        how = "--arch llama --type Q8_0 --layers 2 --embd 256 --heads 4 --kv-heads 2 --ff 256 --vocab 600".split()
        for name, more in (("m", []), ("a", ["--lora", "16"]), ("b", ["--lora", "5", "--seed", "3"])):
            subprocess.run([BIN + "/mkmodel", *how, *more, "-o", f"{self.models}/{name}.gguf"], check=True,
                           stdout=subprocess.DEVNULL)
        file, a, b = self.dir + "/receipt.json", self.models + "/a.gguf", self.models + "/b.gguf"
        self.veritas("run", "-m", "m", "--raw", "-n", "6", "--lora", a + "=0.3", "--lora", b, "--receipt", file, "the sky")
        with open(file) as f:
            receipt = json.load(f)
        predicate, _ = r.read(receipt)
        expected = []
        for path, scale in ((a, 0.3), (b, 1)):
            with open(path, "rb") as f:
                expected.append({"sha256": r.sha256(f.read()).hex(), "scale": r.bits(scale)})
        self.assertEqual(predicate["model"]["adapters"], expected)
        model = ("-m", self.models + "/m.gguf")

        def told(verdict, status, *more):
            done = json.loads(self.veritas("verify", "--json", *model, *more, file, status=status).stdout)
            self.assertEqual(done["verdict"], verdict, done)
            return done["reason"]
        told("MATCH", 0, "--lora", a, "--lora", b)       # as much as each counted, the receipt says
        told("MATCH", 0, "--lora", a, "--lora", b, "--isa", "c", "--mode", "decode")
        self.assertIn("--lora", told("UNVERIFIABLE", 4))
        self.assertIn("adapter 1", told("UNVERIFIABLE", 4, "--lora", b, "--lora", a))
        # another scale, signed by who has the key: another chain
        with open(self.dir + "/state/veritas/receipts/signing.key", "rb") as f:
            seed = f.read()[16:48]
        s = r.statement_of(receipt)
        s["predicate"]["model"]["adapters"][0]["scale"] = r.bits(0.31)
        with open(file, "w") as f:
            json.dump(r.signed(s, seed, receipt["opening"]), f)
        told("MISMATCH", 3, "--lora", a, "--lora", b)

    def ended(self, x, request, end, n=5):
        """What the receipt tells of an answer that `end` ends behind its n-th token, and that receipt; all that came is in it."""
        tokens, text = [], ""
        with self.assertRaises(c.Failure):
            while True:
                event = x.event()
                if event.kind == c.TOKEN:
                    tokens.append(event.token)
                    text += event.text
                if event.kind == c.TOKEN and len(tokens) == n:
                    end()
        receipt = {**x.receipts[request], "opening": {
            "salt": x.ended["salt"], "tokens": tokens, "delivered" if x.ended.get("altered") else "text": text}}
        if not x.ended_body:
            del receipt["opening"]["tokens"]
            return r.read(receipt)[0], receipt
        receipt["opening"].update(prompt_tokens=x.ended_body["prompt_tokens"], **x.ended_body["opening"])
        told, _ = r.read(receipt)
        self.assertEqual(told["trace"]["n_out"], len(tokens))
        return told, receipt

    def test_ended_by_the_daemon(self):
        """What came of an answer whose key is revoked, or which outlasts the time to drain, is redone by who has it."""
        model = self.models + "/long.gguf"
        subprocess.run([BIN + "/mkmodel", "--ctx", "65536", "-o", model], check=True, stdout=subprocess.DEVNULL)
        policy = {"identity": {"keys": self.dir + "/keys"}, "audit": {"dir": "log"}}
        where = ["--policy", self.policy(**policy)]
        key = self.veritas("keys", "add", "a", "--role", "operator", *where).stdout.strip()
        daemon = self.serve("--delegate", str(os.getuid()), "--drain", "1", **policy)
        for finish, why, end, more in (("failed", "KEY", lambda: self.veritas("keys", "revoke", "a", *where), {"key": key}),
                                       ("cancelled", "CANCELLED", daemon.terminate, {})):
            x = self.client()
            told, receipt = self.ended(x, self.ask(x, model="long", max_tokens=60000, **more), end)
            self.assertEqual(told["result"], {"finish": finish, "error": why})
            done = self.veritas("verify", "--json", "-m", model, self.put("ended.json", json.dumps(receipt)))
            self.assertEqual(json.loads(done.stdout)["verdict"], "MATCH")
        self.assertEqual(daemon.wait(30), 0)
        self.running.remove(daemon)
        daemon = self.serve("--drain", "1", **policy)       # of a worker that stands still nobody knows what it had computed
        x = self.client()

        def stop():
            os.kill(child(daemon.pid, "veritas-worker"), signal.SIGSTOP)
            daemon.terminate()
        told, receipt = self.ended(x, self.ask(x, model="long", max_tokens=60000), stop)
        self.assertEqual(told["result"], {"finish": "cancelled", "error": "CANCELLED"})
        done = self.veritas("verify", "-m", model, self.put("ended.json", json.dumps(receipt)), status=4)
        self.assertIn("ended before its worker said so", done.stdout)
        self.assertEqual(daemon.wait(30), 0)
        self.running.remove(daemon)

    def test_cancelled_early(self):
        """The first answer of a model is cancelled before it is known which file that is: what came of it is redone too."""
        model = self.models + "/big.gguf"
        subprocess.run([BIN + "/mkmodel", "--type", "Q8_0", "--layers", "2", "--embd", "1024", "--ff", "8192", "--heads", "8",
                        "--kv-heads", "2", "--ctx", "1024", "-o", model], check=True, stdout=subprocess.DEVNULL)
        self.serve()
        x = self.client()
        request = self.ask(x, model="big", max_tokens=900)
        told, receipt = self.ended(x, request, lambda: x.cancel(request), 1)
        self.assertEqual(told["result"], {"finish": "cancelled", "error": "CANCELLED"})
        self.veritas("verify", "-m", model, self.put("early.json", json.dumps(receipt)))

    def test_cancelled_stalled(self):
        """A client that gives no credit, and then cancels: the receipt is of what it has, not of what waited for it."""
        model = self.models + "/long.gguf"
        subprocess.run([BIN + "/mkmodel", "--ctx", "65536", "-o", model], check=True, stdout=subprocess.DEVNULL)
        self.serve()
        for n in (1, 2):
            x = self.client()
            x.auto_credit = False
            request = self.ask(x, model="long", max_tokens=60000, logprobs=90, n=n)     # some five thousand bytes a token
            tokens, texts = [[] for _ in range(n)], [""] * n
            with self.assertRaises(c.Failure):
                while True:
                    event = x.event()
                    if event.kind != c.TOKEN:
                        continue
                    tokens[event.index or 0].append(event.token)
                    texts[event.index or 0] += event.text
                    if sum(map(len, tokens)) == 40:     # there is credit for some ten more
                        time.sleep(1)
                        x.cancel(request)
            self.assertLess(sum(map(len, tokens)), 500)
            self.assertGreater(x.ended["usage"]["completion_tokens"], sum(map(len, tokens)))     # it was ahead
            for i in range(n):
                one = x.receipts[request] if n == 1 else x.receipts[request][i]
                altered = x.ended.get("altered") if n == 1 else one.pop("altered")
                one.pop("withheld", None)
                opening = {"salt": x.ended["salt"], "prompt_tokens": x.ended_body["prompt_tokens"], "tokens": tokens[i],
                           "delivered" if altered else "text": texts[i], **x.ended_body["opening"]}
                told, _ = r.read({**one, "opening": opening})
                self.assertEqual((told["trace"]["n_out"], told["result"]["finish"]), (len(tokens[i]), "cancelled"))
                self.veritas("verify", "-m", model, self.put("stalled.json", json.dumps({**one, "opening": opening})))

    def test_stalled_to_its_deadline(self):
        """No credit until the deadline comes: what the guard holds of it, for its text may still become something, has its credit
        kept, so the receipts are of what the client has."""
        model = self.models + "/long.gguf"
        subprocess.run([BIN + "/mkmodel", "--ctx", "65536", "-o", model], check=True, stdout=subprocess.DEVNULL)
        self.serve(output={"control": "strip"})
        for seed in 9, 10, 21, 22:      # whose answers have, when there is no more credit, a character of which a part came
            x = self.client()
            x.auto_credit = False
            request = self.ask(x, model="long", max_tokens=60000, logprobs=90, n=3, sampling={"seed": seed}, deadline_ms=2500,
                               prompt="the cat sat")
            tokens, texts = [[], [], []], ["", "", ""]
            with self.assertRaises(c.Failure) as failure:
                while True:
                    event = x.event()
                    if event.kind == c.TOKEN:
                        tokens[event.index].append(event.token)
                        texts[event.index] += event.text
            self.assertEqual(failure.exception.name, "TIMEOUT")
            self.assertLess(sum(map(len, tokens)), 100)
            for i in range(3):
                one = x.receipts[request][i]
                altered, withheld = one.pop("altered"), one.pop("withheld")
                opening = {"salt": x.ended["salt"], "prompt_tokens": x.ended_body["prompt_tokens"], "tokens": tokens[i],
                           "delivered" if altered else "text": texts[i], **x.ended_body["opening"]}
                told, _ = r.read({**one, "opening": opening})
                self.assertEqual((told["trace"]["n_out"], withheld), (len(tokens[i]), False))
                self.veritas("verify", "-m", model, self.put("stalled.json", json.dumps({**one, "opening": opening})))

    def test_refused_cancelled(self):
        """What came to nothing has a receipt too; where the policy makes none, who asks for one is told."""
        self.serve(receipts={"mode": "on-request"})
        x = self.client()
        request = self.ask(x, sampling={"top_k": -1})
        with self.assertRaises(c.Failure):
            x.wait(request)
        told, subjects = r.read({**x.receipts[request], "opening": {"salt": x.ended["salt"]}})
        self.assertEqual([told["result"], set(subjects)], [{"finish": "failed", "error": "INVALID"}, {"request.body"}])
        self.assertEqual(subjects["request.body"], self.body(x.ended["salt"]))
        request = self.ask(x, prompt="a word " * 100000)            # hashed a slice a turn
        with self.assertRaises(c.Failure):
            x.wait(request)
        told, subjects = r.read({**x.receipts[request], "opening": {"salt": x.ended["salt"]}})
        self.assertEqual([told["result"]["error"], subjects], ["CONTEXT", {"request.body": self.body(x.ended["salt"])}])
        request = self.ask(x, max_tokens=900)
        told, receipt = self.ended(x, request, lambda: x.cancel(request))
        self.assertEqual(x.ended["usage"]["prompt_tokens"], len(x.ended_body["prompt_tokens"]))
        self.assertGreaterEqual(x.ended["usage"]["completion_tokens"], 5)
        self.assertEqual(told["result"], {"finish": "cancelled", "error": "CANCELLED"})
        self.verify(receipt=receipt)
        x.wait(self.ask(x, receipt=False))
        self.assertNotIn(request + 1, x.receipts)
        self.policy(receipts={"mode": "off"})
        self.running[0].send_signal(signal.SIGHUP)

        def is_denied():
            try:
                x.wait(self.ask(x))
            except c.Failure as f:
                return f.name == "DENIED"
        self.wait_for(is_denied)

    def test_interrupted(self):
        """What the command got until Ctrl-C is redone, with what bent the draws."""
        file, words = self.dir + "/receipt.json", ["--private", "-m", "one", "--raw", "-n", "900", "--logit-bias", "5=-inf"]
        for _ in range(20):             # it may be done before it hears of that
            with subprocess.Popen([BIN + "/veritas", "run", *words, "--ignore-eos", "--receipt", file, PROMPT], env=self.env,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0) as run:
                run.stdout.read(1)
                run.send_signal(signal.SIGINT)
                run.stdout.read()
            with open(file) as f:
                receipt = json.load(f)
            os.remove(file)
            told = r.statement_of(receipt)["predicate"]
            if told["result"].get("error") == "CANCELLED":
                break
        self.assertEqual((told["result"], told["trace"]["n_out"]), ({"finish": "cancelled", "error": "CANCELLED"},
                                                                    len(receipt["opening"]["tokens"])))
        self.assertIn([5, "ff800000"], receipt["opening"]["bias"])
        self.verify("--isa", "c", receipt=receipt)
        receipt["opening"]["tokens"].pop()
        self.verify(receipt=receipt, verdict="INVALID", status=3)

    def test_refused_by_the_command(self):
        """What `run --receipt` writes of a request that came to nothing is as it was signed."""
        self.receipt("--private", status=5, prompt="a word " * 15000)
        told = json.loads(self.veritas("verify", "--json", self.dir + "/receipt.json").stdout)
        self.assertEqual((told["verdict"], told["tokens"]), ("WELL_FORMED", 0))

    def test_a_private_daemon_keeps_nothing(self):
        """It is its user's; what the operator keeps is of the daemon, unless private ones keep a log as well."""
        self.env["VERITAS_POLICY"] = self.dir + "/policy.json"
        for is_private in (False, True):
            self.policy(output={"control": "off"}, receipts={"keep": "kept"},
                        audit={"dir": self.dir + "/log", "private": is_private})
            self.receipt("--private")
            self.assertEqual(os.path.exists(self.dir + "/kept"), is_private)

    def test_guard(self):
        """An answer that the guard changes has two texts."""
        cut = '{"receipt":"00'           # a line that a kill or a full disk has cut: the next one is its own
        self.put("kept", cut)
        os.chmod(self.dir + "/kept", 0o600)
        self.serve(output={"control": "off"}, pii={"output": "redact", "types": ["EMAIL"]}, receipts={"keep": "kept"})
        x = self.client()
        form = {"constraint": {"regex": "(a@example\\.org )+"}, "ignore_eos": False, "max_tokens": 40}
        receipt, result = self.joined(x, self.ask(x, **form))
        told, subjects = r.read(receipt)
        self.assertIn("delivered", receipt["opening"])
        self.assertFalse({"tokens", "prompt_tokens", "text"} & set(receipt["opening"]), receipt["opening"])
        self.assertNotIn("a@example.org", receipt["opening"]["delivered"])
        self.assertEqual([told["guard"]["action"], "output.delivered" in subjects], ["redact", True])
        shown = json.loads(self.veritas("policy", "show", "--json", self.dir + "/policy.json").stdout)
        self.assertEqual(told["guard"]["policy"], shown["digest"])
        # The client can show it, and who kept what was withheld can have it done again.
        kept = self.dir + "/kept"
        self.assertEqual(os.stat(kept).st_mode & 0o777, 0o600)
        self.verify(receipt=receipt, verdict="UNVERIFIABLE", status=4)
        self.verify("--kept", kept, receipt=receipt)
        self.verify("--kept", kept, "--isa", "c", "--mode", "decode", receipt=receipt)
        self.verify("--kept", kept, receipt={key: receipt[key] for key in ("envelope", "keys")})
        others, _ = self.joined(x, self.ask(x, n=1, constraint={"regex": "(b@example\\.org )+"}, ignore_eos=False, max_tokens=40))
        several = self.ask(x, n=2, **form)
        salt = x.wait(several)["salt"]
        with open(kept) as f:
            self.assertEqual(f.readline(), cut + "\n")
            lines = [json.loads(line) for line in f]
        self.assertEqual(len(lines), 4)
        for one in x.receipts[several].values():         # of several answers each
            self.assertTrue(one.pop("withheld"))
            one.pop("altered")
            self.verify("--kept", kept, receipt=one)
        self.assertEqual({line["opening"]["salt"] for line in lines[2:]}, {salt})
        payload = base64.b64decode(receipt["envelope"]["payload"])
        self.assertEqual(lines[0]["receipt"], r.sha256(payload).hex())
        self.put("other", json.dumps(lines[1]) + "\n")
        self.verify("--kept", self.dir + "/other", receipt=receipt, verdict="UNVERIFIABLE", status=4)
        lines[0]["opening"]["tokens"][3] ^= 1
        self.put("changed", "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in (lines[1], lines[0])))
        self.verify("--kept", self.dir + "/changed", receipt=receipt, verdict="INVALID", status=3)
        self.verify("--kept", kept, receipt=others)
        # One that was cancelled: what came of it is what the model gives, as far as it came.
        request, n = self.ask(x, max_tokens=900), 0
        with self.assertRaises(c.Failure):
            for event in x.events(request):
                n += event.kind == c.TOKEN
                if n == 5:
                    x.cancel(request)
        self.verify(receipt=x.receipts[request], verdict="UNVERIFIABLE", status=4)
        self.verify("--kept", kept, receipt=x.receipts[request])

    def test_deaths(self):
        """A worker that dies and a signer that dies cost a receipt nothing."""
        daemon = self.serve(output={"control": "off"})
        x = self.client()
        whole, _ = self.joined(x, self.ask(x, max_tokens=300))
        rows = self.rows(whole["opening"]["prompt_tokens"] + whole["opening"]["tokens"])
        self.check(whole, rows)
        for _ in range(10):             # until the kill comes before the answer's end
            request, n = self.ask(x, max_tokens=300), 0
            for event in x.events(request):
                n += event.kind == c.TOKEN
                if n == 2 and event.kind == c.TOKEN:
                    os.kill(child(daemon.pid, "veritas-worker"), signal.SIGKILL)
                    os.kill(child(daemon.pid, "veritas-audit"), signal.SIGKILL)
            if event.value["usage"]["resumed"]:
                break
        told, _ = r.read({**x.receipts[request], "opening": {"salt": event.value["salt"]}})
        self.assertEqual([told["observed"]["resumed"], event.value["usage"]["resumed"]], [1, 1])
        opening = {**whole["opening"], "salt": event.value["salt"]}
        self.assertEqual(told["trace"]["chain"], chain(told, opening, rows))


if __name__ == "__main__":
    sys.argv = sys.argv[:1] + sys.argv[2:]
    unittest.main()
