#!/usr/bin/env python3
"""How well personal data is found: for each type precision, recall and F1 of spans, exact and by overlap (IoU of a half), what
a reader would still see of it, and false spans in look-alikes.

usage: pii.py PIISPANS FILE.jsonl...    PIISPANS: the helper's program (tests/helpers/piispans.c)
A row: {"text", "spans": [{"type","start","end"}]} with offsets in characters, or {"marked"} as in tests/data/pii: see its README.
-v lists what was missed and what is false; --all asks for the optional types too.
"""
import argparse
import collections
import json
import re
import subprocess
import sys

TYPES = """CREDIT_CARD SSN EMAIL PHONE IP_ADDRESS MAC_ADDRESS BANK_ACCOUNT PASSPORT DRIVER_LICENSE DATE_OF_BIRTH ADDRESS
MEDICAL_RECORD NATIONAL_ID CRYPTO_ADDRESS""".split()
SHORT = {"CARD": "CREDIT_CARD", "IP": "IP_ADDRESS", "MAC": "MAC_ADDRESS", "BANK": "BANK_ACCOUNT",
         "LICENCE": "DRIVER_LICENSE",
         "DOB": "DATE_OF_BIRTH", "MEDICAL": "MEDICAL_RECORD", "NATIONAL": "NATIONAL_ID", "WALLET": "CRYPTO_ADDRESS"}


def unmark(marked):
    """'call {{PHONE|555}}' -> text and spans."""
    text, spans, at = "", [], 0
    for found in re.finditer(r"\{\{(\w+)\|(.*?)\}\}", marked, re.S):
        text += marked[at:found.start()]
        spans.append({"type": SHORT.get(found[1], found[1]), "start": len(text), "end": len(text) + len(found[2])})
        text += found[2]
        at = found.end()
    return text + marked[at:], spans


def read(paths):
    rows = []
    for path in paths:
        for line in open(path, encoding="utf-8"):
            row = json.loads(line)
            if "marked" in row:
                row["text"], row["spans"] = unmark(row["marked"])
            if "text" in row and "spans" in row:
                row["file"] = path
                rows.append(row)
    return rows


def ask(program, rows, everything):
    lines = "".join(json.dumps({"text": row["text"]}) + "\n" for row in rows)
    out = subprocess.run([program] + (["all"] if everything else []), input=lines.encode(), capture_output=True, check=True)
    for row, line in zip(rows, out.stdout.decode().splitlines(), strict=True):
        raw = row["text"].encode()
        row["got"] = json.loads(line)["spans"]
        for span in row["got"]:
            for key in "start", "end":
                span[key] = len(raw[:span[key]].decode())


def iou(a, b):
    both = min(a["end"], b["end"]) - max(a["start"], b["start"])
    return max(0, both) / (max(a["end"], b["end"]) - min(a["start"], b["start"]))


def match(gold, got, least):
    """Pairs of one type, the best overlap first."""
    pairs = [(iou(a, b), i, k) for i, a in enumerate(gold) for k, b in enumerate(got) if a["type"] == b["type"]]
    pairs.sort(reverse=True)
    of_gold, of_got = {}, set()
    for value, i, k in pairs:
        if value >= least and i not in of_gold and k not in of_got:
            of_gold[i] = k
            of_got.add(k)
    return of_gold


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("files", nargs="+")
    parser.add_argument("-v", action="store_true")
    parser.add_argument("--all", action="store_true")
    given = parser.parse_args()
    rows = read(given.files)
    ask(given.program, rows, given.all)
    known = [t for t in TYPES if given.all or t not in ("NATIONAL_ID", "CRYPTO_ADDRESS")]
    n_gold, n_got, exact, overlap = (collections.Counter() for _ in range(4))
    hard_chars = hard_false = leaked = secret = over = plain = 0
    for row in rows:
        gold = [s for s in row["spans"] if s["type"] in known]
        got = [s for s in row["got"] if s["type"] in known]
        for s in gold:
            n_gold[s["type"]] += 1
        for s in got:
            n_got[s["type"]] += 1
        for least, counter in (1.0, exact), (0.5, overlap):
            found = match(gold, got, least)
            for i in found:
                counter[gold[i]["type"]] += 1
        if given.v:
            of_exact = match(gold, got, 1.0)
            for i, s in enumerate(gold):
                if i not in of_exact:
                    print(f"missed {s['type']} {row['text'][s['start']:s['end']]!r} in {row['text'][:160]!r}: "
                          f"{[(g['type'], row['text'][g['start']:g['end']]) for g in got]}")
            for k, s in enumerate(got):
                if k not in of_exact.values() and not any(iou(s, g) for g in gold):
                    print(f"false  {s['type']} ({s['rule']}) {row['text'][s['start']:s['end']]!r} in {row['text'][:160]!r}")
        marks = [0] * len(row["text"])
        for s in row["spans"]:
            marks[s["start"]:s["end"]] = [1] * (s["end"] - s["start"])
        seen = list(marks)
        for s in got:
            for i in range(s["start"], s["end"]):
                over += not marks[i]
                seen[i] = 0
        leaked += sum(seen)
        secret += sum(marks)
        plain += len(marks) - sum(marks)
        if not row["spans"]:
            hard_chars += len(row["text"])
            hard_false += len(got)
    print(f"{'type':16}{'n':>6}{'P':>7}{'R':>7}{'F1':>7}{'exact':>7}")
    scores = []
    for t in known:
        if n_gold[t] or n_got[t]:
            p, r = overlap[t] / max(1, n_got[t]), overlap[t] / max(1, n_gold[t])
            f1, ex = 2 * overlap[t] / max(1, n_got[t] + n_gold[t]), 2 * exact[t] / max(1, n_got[t] + n_gold[t])
            if n_gold[t]:
                scores.append((f1, ex))
            print(f"{t:16}{n_gold[t]:6}{p:7.3f}{r:7.3f}{f1:7.3f}{ex:7.3f}")
    total = sum(n_gold.values()), sum(n_got.values())
    micro = [2 * sum(c.values()) / max(1, sum(total)) for c in (overlap, exact)]
    macro = [sum(s[k] for s in scores) / max(1, len(scores)) for k in (0, 1)]
    print(f"macro F1 {macro[0]:.3f}, exact {macro[1]:.3f}; "
          f"micro F1 {micro[0]:.3f}, exact {micro[1]:.3f}")
    rate, seen_share, taken = 1000 * hard_false / max(1, hard_chars), 100 * leaked / max(1, secret), 100 * over / max(1, plain)
    print(f"{hard_false} false spans in {hard_chars} characters without any: {rate:.2f} in 1,000; "
          f"{seen_share:.1f} % of what is personal still seen, {taken:.2f} % of the rest taken")


if __name__ == "__main__":
    sys.exit(main())
