#!/usr/bin/env python3
"""Answers that were made in company (steps of many, prompts that begin alike, guesses, several instruction sets and numbers of
threads) carry receipts, and each of them alone is computed again in plain C: all match.

usage: receipt_soak.py BIN [N [MODEL]] (BIN holds veritas, its programs and mkmodel). N answers, 12 when absent, of a tiny model or
of MODEL. Prints what was done."""
import json
import os
import random
import subprocess
import sys
import tempfile
import time

import client as c
from determinism import runnable
from processes import private_daemon

BIN = os.path.abspath(sys.argv[1])
N = int(sys.argv[2]) if len(sys.argv) > 2 else 12
DIR = tempfile.TemporaryDirectory(prefix="vss")
MODEL = os.path.abspath(sys.argv[3]) if len(sys.argv) > 3 else DIR.name + "/one.gguf"
AT_ONCE = 8
# The key that signs lies there; and answers come as the model made them.
os.environ.update(VERITAS_SOCKET="/nowhere/s", XDG_STATE_HOME=DIR.name, VERITAS_POLICY=DIR.name + "/policy.json")
with open(os.environ["VERITAS_POLICY"], "w") as f:
    f.write('{"output": {"control": "off"}}')
if len(sys.argv) <= 3:
    subprocess.run([BIN + "/mkmodel", "--arch", "llama", "--layers", "2", "--embd", "64", "--heads", "4", "--kv-heads", "2",
                    "--vocab", "600", "--ctx", "1024", "--seed", "11", "-o", MODEL], check=True, stdout=subprocess.DEVNULL)


class Daemon:
    def __init__(self, **settings):
        self.serve, ours = private_daemon(BIN + "/veritas", 600, stderr=subprocess.DEVNULL)
        self.client = c.Client(sock=ours)
        self.client.load_path(MODEL, settings=settings)

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.client.close()
        self.serve.wait(60)

    def ask_all(self, bodies):
        """Several at once; the receipt of each, put together as docs/PROTOCOL.md says."""
        waiting, begun, receipts, usage = list(bodies), {}, [], []
        while waiting or begun:
            while waiting and len(begun) < AT_ONCE:
                number = self.client.request(c.GENERATE, {"model": MODEL, "receipt": True, **waiting.pop()})
                begun[number] = ([], [])
            e = self.client.event()
            if e.kind == c.TOKEN:
                begun[e.request][1].append(e.text)
                if e.token != c.NO_TOKEN:
                    begun[e.request][0].append(e.token)
            if e.kind != c.COMPLETE:
                continue
            tokens, texts = begun.pop(e.request)
            assert not e.value.get("altered") and not e.value.get("withheld"), e.value
            usage.append(e.value["usage"])
            receipts.append({**self.client.receipts.pop(e.request), "opening": {
                "salt": e.value["salt"], **e.value["opening"], "prompt_tokens": e.value["prompt_tokens"], "tokens": tokens,
                "text": "".join(texts)}})
        return receipts, usage


def bodies(n, chance):
    """Prompts of a few beginnings, some of which repeat themselves, with all kinds of draws."""
    beginnings = ["the cat sat on the mat. " * 12, "a b c d e f g h " * 8, "once upon a time ", "x"]
    for i in range(n):
        sampling = {"seed": chance.randrange(2 ** 63), "temperature": chance.choice((0, 0.2, 0.8, 1.5)),
                    "top_k": chance.choice((0, 5, 40)), "top_p": chance.choice((0.5, 0.95, 1)), "ignore_file": True,
                    "repeat_penalty": chance.choice((1, 1.1)), "repeat_last_n": chance.choice((-1, 64))}
        more = chance.choice(({}, {}, {"stop": ["zq", " the"]}, {"ignore_eos": True}, {"stop_tokens": [7, 8, 9]},
                              {"constraint": {"regex": "[a-z ]{5,40}"}}, {"cache_key": "k"}))
        yield {"prompt": chance.choice(beginnings) + str(i % 5), "raw": True, "sampling": sampling,
               "max_tokens": chance.choice((40, 120) if "constraint" in more else (1, 20, 60, 120)), **more}


def main():
    chance, receipts, usage, begun = random.Random(N), [], [], time.monotonic()
    levels = [isa for isa in runnable() if isa in ("avx2", "avx512", "neon")] or ["c"]
    for i, isa in enumerate(levels):
        share = N // len(levels) + (i < N % len(levels))
        with Daemon(isa=isa, threads=2 if i else 1, prefill_chunk=32 if i else 512, parallel=AT_ONCE) as d:
            got = d.ask_all(bodies(share, chance))
            receipts += got[0]
            usage += got[1]
    made = time.monotonic() - begun
    with Daemon(isa="c", parallel=1) as plain:
        for i, receipt in enumerate(receipts):
            p = subprocess.run([BIN + "/veritas-receipt", "--request"], input=json.dumps(receipt), capture_output=True, text=True)
            lines = p.stdout.splitlines()
            assert json.loads(lines[0])["verdict"] == "WELL_FORMED" and len(lines) == 2, (i, p.stdout[:1000])
            result = plain.client.wait(plain.client.request(c.VERIFY, {"model": MODEL, **json.loads(lines[1])}))
            assert result["verdict"] == "MATCH", (i, result, receipt)
    n_tokens = sum(u["completion_tokens"] for u in usage)
    print(f"{len(receipts)} receipts of {n_tokens} tokens, made with {', '.join(levels)} in {made:.1f} s, all MATCH in plain C, "
          f"replayed in {time.monotonic() - begun - made:.1f} s; of the prompts {sum(u['cached_tokens'] for u in usage)} tokens "
          f"were cached, {sum(u['accepted_tokens'] for u in usage)} guesses came true")


if __name__ == "__main__":
    main()
