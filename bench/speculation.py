#!/usr/bin/env python3
"""What speculation gains and costs: the same requests with and without it, in turns.

    bench/speculation.py BIN [--rounds 5] [--cases edit,prose,new,draft] [--threads 2]

Each round asks every request of a case twice, without speculation and with it, in alternating order; the tokens of the two must be
the same. A figure is the median over rounds of the ratio of the times from the first token to the last; beside it what 95 of 100
resamplings of the rounds stay in. Nothing else should run on the machine. Prints a table in Markdown.

edit    Qwen 0.5B changes a file of this tree and writes it whole again (greedy)
prose   Qwen 0.5B and SmolLM2 tell something at temperature 1, all filters off: little can be guessed
new     Qwen 0.5B writes new code (greedy)
draft   Qwen 1.5B writes new code with Qwen 0.5B as its draft model (greedy, and at temperature 0.8)

Only the standard library.
"""
import argparse
import os
import random
import socket
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(TOP, "tests", "e2e"))
import client as protocol

SMALL, LARGE, CHAT = "qwen2.5-coder-0.5b-instruct", "qwen2.5-coder-1.5b-instruct", "smollm2-135m-instruct"
GREEDY, WARM, HOT = {"temperature": 0}, {"temperature": 0.8}, {"temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0}


def lines(path, first, last):
    with open(os.path.join(TOP, path)) as f:
        return "\n".join(f.read().split("\n")[first:last])


def edits():
    return [
        ("rename a function", SMALL, GREEDY, "Rename the function `vs_buf_add` to `vs_buf_append` everywhere in this code. Answer "
         "with the whole changed code only.\n\n```c\n" + lines("src/base/buf.c", 0, 118) + "\n```"),
        ("comments above functions", SMALL, GREEDY, "Add a comment above every function of this C code that says what it does. "
         "Answer with the whole code.\n\n```c\n" + lines("src/base/utf8.c", 0, 96) + "\n```"),
        ("type hints", SMALL, GREEDY, "Add type hints to all functions of this Python code. Answer with the whole code.\n\n"
         "```python\n" + lines("bench/turns.py", 0, 60) + "\n```"),
    ]


STORIES = ("Write a long essay about the sea in winter.", "Tell me a long story about a lighthouse keeper and a whale.",
           "Describe the history of the printing press in about 600 words.")
PROGRAMS = ("Write a Python class for a binary search tree with insert, delete, find, in-order iteration and tests.",
            "Write a C program that reads a CSV file and prints the sum of each column, with error handling.",
            "Write a JavaScript function that parses a query string into an object, with comments and examples.")


def short(text):
    return text if len(text) < 60 else text[:57] + "..."


CASES = {
    "edit": (None, edits),
    "prose": (None, lambda: [(short(text), model, HOT, text) for model in (SMALL, CHAT) for text in STORIES]),
    "new": (None, lambda: [(short(text), SMALL, GREEDY, text) for text in PROGRAMS]),
    "draft": (SMALL, lambda: [(short(text), LARGE, how, text) for how in (GREEDY, WARM) for text in PROGRAMS]),
}


def start(folder):
    ours, theirs = socket.socketpair()
    process = subprocess.Popen([os.path.join(folder, "veritas"), "serve", "--private-fd", str(theirs.fileno())],
                               pass_fds=[theirs.fileno()])
    theirs.close()
    ours.settimeout(3600)
    return protocol.Client(sock=ours), process


def ask(client, request, speculation, o):
    _, model, sampling, text = request
    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": o.tokens, "sampling": sampling,
            "speculation": speculation}
    _, tokens, result = client.answer(client.request(protocol.CHAT, body))
    return tokens, result["timings"]["decode_ms"], result["usage"]


def interval(ratios, n=2000):
    medians = sorted(statistics.median(random.choices(ratios, k=len(ratios))) for _ in range(n))
    return medians[n * 25 // 1000], medians[-1 - n * 25 // 1000]


def run_case(name, o):
    draft, requests = CASES[name]
    requests = requests()
    client, process = start(o.bin)
    settings = {"threads": o.threads, **({"draft": draft} if draft else {})}
    for model in sorted({request[1] for request in requests}):
        client.wait(client.request(protocol.LOAD, {"model": model, "settings": settings}))
        client.answer(client.request(protocol.GENERATE, {"model": model, "prompt": "warm up", "max_tokens": 32}))
    ratios, usage, plain = {r: [] for r in range(len(requests))}, {}, {r: [] for r in range(len(requests))}
    for turn in range(o.rounds):
        for number, request in enumerate(requests):
            got = {}
            for speculation in ("off", "auto") if turn % 2 else ("auto", "off"):
                got[speculation] = ask(client, request, speculation, o)
            assert got["off"][0] == got["auto"][0], request[0]
            ratios[number].append(got["off"][1] / got["auto"][1])
            plain[number].append((len(got["off"][0]) - 1) * 1000 / got["off"][1])
            usage[number] = got["auto"][2]
    client.close()
    process.wait()
    for number, (what, model, sampling, _) in enumerate(requests):
        low, high = interval(ratios[number])
        u = usage[number]
        print(f"| {name} | {model} | {what} | {sampling['temperature']} | {u['completion_tokens']} | {u['drafted_tokens']} "
              f"| {u['accepted_tokens']} | {statistics.median(plain[number]):.1f} | {statistics.median(ratios[number]):.2f} "
              f"| {low:.2f} to {high:.2f} |", flush=True)
    everything = [statistics.geometric_mean(column) for column in zip(*ratios.values())]
    low, high = interval(everything)
    print(f"| {name} | | **all, geometric mean** | | | | | | **{statistics.median(everything):.2f}** | {low:.2f} to {high:.2f} |",
          flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bin")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--cases", default=",".join(CASES))
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--tokens", type=int, default=400)
    o = p.parse_args()
    print("| case | model | request | temperature | tokens | guessed | came true | tokens/s without | times as fast | 95 % |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in o.cases.split(","):
        run_case(name, o)


if __name__ == "__main__":
    main()
