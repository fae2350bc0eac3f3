#!/usr/bin/env python3
"""What a constraint costs: answers that keep a JSON schema, and free ones of as many tokens, in turns.

    bench/constrained.py [-m MODEL] [--tokens 160] [--rounds 12]

Starts a daemon of its own. Printed are medians over rounds of the tokens a second while decoding, without speculation, and their
ratio; the first answer of each form, which makes the vocabulary's trie and first masks, is left out. The forms are long enough that
no answer ends before. Only the standard library.
"""
import argparse
import os
import statistics
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
import client as protocol
from processes import private_daemon

FORMS = {
    "a long text": {"type": "object", "properties": {"story": {"type": "string", "minLength": 800}}, "required": ["story"]},
    "a record": {"type": "array", "minItems": 12, "items": {
        "type": "object", "additionalProperties": False, "required": ["name", "age", "city", "kind"], "properties": {
            "name": {"type": "string", "maxLength": 30}, "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "city": {"type": "string", "pattern": "^[A-Z][a-z]+$"}, "kind": {"enum": ["person", "company", "place"]}}}},
}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("-m", "--model", default="smollm2-135m-instruct")
    p.add_argument("--tokens", type=int, default=160)
    p.add_argument("--rounds", type=int, default=12)
    args = p.parse_args()
    serve, ours = private_daemon(os.path.join(ROOT, "build", "release", "bin", "veritas"), 300)
    client = protocol.Client(sock=ours)

    def speed(constraint, seed):
        request = {"model": args.model, "prompt": f"Write number {seed}, at length.", "sampling": {"seed": seed},
                   "speculation": "off", **({"constraint": constraint} if constraint else {})}
        if constraint is None:
            request.update(ignore_eos=True, max_tokens=args.tokens)
        number = client.request(protocol.GENERATE, request)
        times = []
        try:
            for event in client.events(number):
                if event.kind == protocol.TOKEN:
                    times.append(time.perf_counter())
                    if len(times) == args.tokens:
                        client.cancel(number)
        except protocol.Failure as e:
            if e.name != "CANCELLED":
                raise
        return (min(len(times), args.tokens) - 1) / (times[min(len(times), args.tokens) - 1] - times[0])

    found = {name: [] for name in ("free", *FORMS)}
    for i in range(args.rounds + 1):
        for name in found if i % 2 else reversed(list(found)):
            schema = FORMS.get(name)
            constraint = None if name == "free" else {"json_schema": schema}
            rate = speed(constraint, i)
            if i:
                found[name].append(rate)
    free = statistics.median(found["free"])
    for name, rates in found.items():
        print(f"{name}: {statistics.median(rates):.1f} tokens/s, {statistics.median(rates) / free:.3f} of free")
    client.close()
    serve.wait(30)


if __name__ == "__main__":
    main()
