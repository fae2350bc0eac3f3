#!/usr/bin/env python3
"""How exact our logits are, beside llama.cpp's: KL divergence to float64 and perplexity, on the real models, as a Markdown page.

    bench/quality.py --text FILE --llama-logits PROGRAM --llama-perplexity PROGRAM --work DIR -m a.gguf -m b.gguf
                     -o bench/results/quality-DATE.md

For each model the first N tokens of the text (by our tokenizer) go through tools/reference.py, `veritas logits` and
tools/llama_logits.c; then the whole text through `veritas perplexity` and llama-perplexity. Reference and rival logits are kept in
DIR and reused, ours are made anew. Needs numpy and gguf (as tools/reference.py does).
"""
import argparse
import datetime
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "tools"), os.path.join(ROOT, "bench")]
import compare as speed
import kl
import numpy as np
import reference


def run(command, **more):
    p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    if p.returncode:
        raise SystemExit(f"{' '.join(command)}\nended with {p.returncode}: {p.stderr[-2000:].decode(errors='replace')}")
    return (p.stdout + b"\n" + p.stderr).decode(errors="replace")


def figures(r):
    return (f"{r['mean_kl']:.2e} | {r['worst_kl']:.1e} | {100 * r['same_argmax']:.1f} %")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-m", "--model", action="append", required=True)
    p.add_argument("--text", required=True)
    p.add_argument("--work", required=True, help="folder for logits (up to 0.6 GB each)")
    p.add_argument("--veritas", default=os.path.join(ROOT, "build/release/bin/veritas"))
    p.add_argument("--ours", default="", metavar="SETTINGS", help="options for ours, e.g. '--kv-type q8_0'")
    p.add_argument("--llama-logits", help="tools/llama_logits.c, built")
    p.add_argument("--llama-perplexity")
    p.add_argument("--ctx", type=int, default=512, help="context of the perplexity (default 512; 0: leave it out)")
    p.add_argument("-n", type=int, default=512, help="positions compared (default 512)")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("-o", "--output", help="Markdown file (default: standard output)")
    a = p.parse_args()
    os.makedirs(a.work, exist_ok=True)
    settings = a.ours.split()
    table, perplexities = [], []
    for model in a.model:
        name = os.path.basename(model)
        at = os.path.join(a.work, re.sub(r"\.gguf$", "", name))
        with open(a.text, "rb") as f:
            text = f.read()
        ids = json.loads(run([a.veritas, "tokenize", "-m", model, "--json"], input=text).strip().splitlines()[-1])[: a.n]
        with open(at + ".ids.json", "w") as f:
            json.dump(ids, f)
        files = {kind: f"{at}.{kind}.{len(ids)}.npy" for kind in ("reference", "int8", "llama", "ours", "high")}
        todo = lambda kind: not os.path.exists(files[kind])
        print(f"{name}: {len(ids)} tokens", file=sys.stderr, flush=True)
        if todo("reference"):
            np.save(files["reference"], reference.forward(reference.Model(model), ids))
        if todo("int8"):
            np.save(files["int8"], reference.forward(reference.Model(model, quantise_activations=True), ids, kv="f16"))
        if a.llama_logits and todo("llama"):
            run([a.llama_logits, model, at + ".ids.json", files["llama"], "f16", str(a.threads)])
        for kind, precision in (("ours", "fast"), ("high", "high")):
            run([a.veritas, "logits", "-m", model, "--tokens", ",".join(map(str, ids)), "-o", files[kind],
                 "--threads", str(a.threads), "--precision", precision] + settings)
        exact = np.load(files["reference"], mmap_mode="r")
        against = lambda kind: figures(kl.compare(exact, np.load(files[kind], mmap_mode="r"))) if not todo(kind) else "- | - | -"
        table.append(f"| {name} | {against('ours')} | {against('llama') if a.llama_logits else '- | - | -'} | {against('int8')} | "
                     f"{against('high')} |")
        if a.ctx:
            ours = run([a.veritas, "perplexity", "-m", model, "--ctx", str(a.ctx), "--threads", str(a.threads)]
                       + settings + [a.text])
            mine = re.findall(r"perplexity ([0-9.]+) over (\d+) tokens", ours)[-1]
            theirs, n = "-", "-"
            if a.llama_perplexity:
                said = run([a.llama_perplexity, "-m", model, "-c", str(a.ctx), "-f", a.text, "-t", str(a.threads)])
                theirs = re.search(r"PPL = ([0-9.]+ \+/- [0-9.]+)", said).group(1)
                chunks = re.search(r"perplexity over (\d+) chunks", said)
                n = str(int(chunks.group(1)) * (a.ctx - 1 - a.ctx // 2)) if chunks else "?"
            perplexities.append(f"| {name} | {mine[0]} | {mine[1]} | {theirs} | {n} |")
    page = [f"# Quality: distance to exact arithmetic, {datetime.date.today()}", "",
            f"{speed.machine()}; commit {speed.commit()}; {a.threads} threads; ours with `{a.ours or 'default settings'}`. Text: "
            f"`{os.path.basename(a.text)}`.",
            "Exact is tools/reference.py: float64, dequantised weights, nothing rounded. KL in nats, over teacher-forced "
            "positions; \"int8 per 32\" is the same float64 program with only activations rounded as NUMERICS says and K, V "
            "in f16.", "",
            "| file | ours: mean KL | worst | same best token | llama.cpp: mean KL | worst | same best token | "
            "int8 per 32: mean KL | worst | same best token | ours, --precision high: mean KL | worst | same best token |",
            "|---|---|---|---|---|---|---|---|---|---|---|---|---|"] + table
    if perplexities:
        page += ["", f"Perplexity at context {a.ctx}, counted as docs/PERPLEXITY.md says:", "",
                 "| file | ours | tokens scored | llama-perplexity | tokens scored |", "|---|---|---|---|---|"] + perplexities
    page = "\n".join(page) + "\n"
    if a.output:
        with open(a.output, "w") as f:
            f.write(page)
    print(page)


if __name__ == "__main__":
    main()
