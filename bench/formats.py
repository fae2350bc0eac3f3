#!/usr/bin/env python3
"""Every type and every kind of layer: speed beside Q4_K, beside a dense file, beside llama.cpp and its fork.

    bench/formats.py make -d DIR [PART ...] [--only NAME,NAME]       makes the models (random weights, real shapes) with mkmodel
    bench/formats.py run  -d DIR --csv F.csv PART [--only ...] [--llama-bin A/bin] [--ik-bin B/bin] [--rounds 3]
    bench/formats.py page --csv F.csv                                medians and ratios of all that is in the file, as Markdown

A part is what one window on a quiet machine holds; figures add up in the CSV, so that many short runs are as good as a long one.

types      a Llama 2048 wide (heads, experts' widths and so on of TinyLlama 1.1B), four layers, each type: pp512 and tg64. Decode is
           compared with Q4_K's, that of types of up to 2.6 bits and of three values with Q3_K's.
experts    Qwen3-30B's layer (2048 wide, experts of 768) with 8 of 64 experts, three layers, and a dense file of the width that a
           token touches: bytes/s of the one over the other.
recurrent  Mamba, Mamba 2, DeltaNet (Qwen 3.5), short convolutions (LFM2).
encoder    BERT base: a text of 512 tokens, 32 texts of 16, by the protocol and by llama-server, ids and not text.
adapter    tokens/s without and with an adapter of rank 16 on all matrices.
memory     PSS of all processes of `veritas run` over the file's bytes.

Within a round a model, what it is compared with and the rivals run one right after the other, in an order that turns; what counts
is the median over rounds of the ratio within a round.
Weights are random numbers made codes by the types' own encoders, so scales have the exponents of real files: random bytes do not
(denormal scales made one type look half as fast). Only the standard library.
"""
import argparse
import csv
import datetime
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare
import load
import start

COLUMNS = ("date", "machine", "commit", "part", "model", "threads", "engine", "version", "settings", "test", "round", "value")

DENSE = "--arch llama --layers 4 --embd 2048 --heads 32 --kv-heads 4 --head-dim 64 --ff 5632 --vocab 16000 --ctx 2048"
TYPES = {   # type: the type that its decode is compared with
    "Q4_K": "Q4_K", "Q3_K": "Q3_K", "Q2_K": None, "Q5_K": None, "Q6_K": None, "Q8_0": None, "Q4_0": None, "Q4_1": None,
    "Q5_0": None, "Q5_1": None, "Q6_0": None,
    "IQ4_NL": "Q4_K", "IQ4_XS": "Q4_K", "MXFP4": "Q4_K", "NVFP4": "Q4_K", "IQ3_S": "Q4_K", "IQ3_XXS": "Q4_K",
    "IQ2_S": "Q3_K", "IQ2_XS": "Q3_K", "IQ2_XXS": "Q3_K", "IQ1_M": "Q3_K", "IQ1_S": "Q3_K",
    "TQ1_0": "Q3_K", "TQ2_0": "Q3_K", "Q2_0": "Q3_K", "Q1_0": "Q3_K",
    "F16": None, "BF16": None,
}
EXPERTS = "--layers 3 --embd 2048 --heads 32 --kv-heads 4 --head-dim 128 --vocab 16000 --ctx 2048"
MIXERS = "--vocab 16000 --ctx 2048 --type Q4_K"
MODELS = {"types": {t: f"{DENSE} --type {t}" for t in TYPES}}
MODELS["experts"] = {f"{kind}-{t}": f"--arch {arch} {EXPERTS} {more} --type {t}" for t in ("Q4_K", "Q8_0") for kind, arch, more in
                     (("dense", "qwen3", "--ff 6144"),
                      ("experts", "qwen3moe", "--ff 6144 --experts 64 --experts-used 8 --expert-ff 768"))}
MODELS["recurrent"] = {
    "mamba": f"--arch mamba --layers 24 --embd 1024 --heads 16 --ssm-state 16 --ssm-rank 64 --taps 4 {MIXERS}",
    "mamba2": f"--arch mamba2 --layers 24 --embd 1024 --heads 16 --ssm-state 128 --ssm-heads 32 --ssm-groups 1 --taps 4 {MIXERS}",
    "deltanet": "--arch qwen35 --layers 8 --embd 1024 --heads 8 --kv-heads 2 --head-dim 256 --rot 64 --ff 3584 --ssm-state 128 "
                f"--ssm-heads 16 --ssm-groups 16 --attend 4 --taps 4 --key .rope.dimension_sections=i32[]:11,11,10,0 {MIXERS}",
    "shortconv": f"--arch lfm2 --layers 16 --embd 1024 --heads 16 --kv-heads 8 --ff 4608 --taps 3 --attend 3 {MIXERS}",
}
# llama.cpp wants the number of segments and, of WordPiece, no word twice; ids are what both are given
MODELS["encoder"] = {f"bert-{t}": "--arch bert --layers 12 --embd 768 --heads 12 --ff 3072 --vocab 30522 --ctx 512 "
                     f"--tokenizer gpt2 --pre gpt-2 --key tokenizer.ggml.token_type_count=u32:2 --type {t}"
                     for t in ("F16", "Q8_0", "Q4_K")}
MODELS["adapter"] = {"adapter-Q4_K": f"{DENSE} --type Q4_K --lora 16 --lora-type F16"}
MODELS["memory"] = MODELS["types"]


def selected(a, part):
    only = a.only.split(",") if a.only else None
    return {name: words for name, words in MODELS[part].items() if not only or name in only}


def path_of(a, name):
    return os.path.join(a.directory, name + ".gguf")


def make(a):
    for part in a.part or MODELS:
        for name, words in selected(a, part).items():
            if not os.path.exists(path_of(a, name)):
                print(name, flush=True)
                subprocess.run([a.mkmodel] + words.split() + ["--distinct", "64"] + ["-o", path_of(a, name) + ".new"], check=True)
                os.rename(path_of(a, name) + ".new", path_of(a, name))


# ---- engines: measure(model) gives (test, value) ----

def engines_of(a, part):
    """Ours first, then the rivals, each with the settings of which the better counts."""
    rivals = []
    for name, folder, settings in (("llama.cpp", a.llama_bin, a.llama), ("ik_llama.cpp", a.ik_bin, a.ik)):
        if folder:
            rivals += [compare.LlamaBench(name, os.path.join(folder, "llama-bench"), s) for s in settings]
    return [compare.Ours(a.veritas, s) for s in a.ours] + rivals


class Embedder:
    """BERT by the protocol: texts/s of one text of 512 tokens and of 32 texts of 16, each the best of some repetitions."""
    def __init__(self, server, version):
        self.server, self.name, self.settings, self.version = server, server.name, server.settings, version

    def measure(self, model, a):
        rng = random.Random(1)
        self.server.start(model, a.threads, self.places, 512)
        try:
            for test, n, length in (("512", 1, 510), ("32x16", 32, 16)):
                best = 0
                for i in range(8):
                    texts = [[rng.randrange(1000, 30000) for _ in range(length)] for _ in range(n)]
                    t = time.perf_counter()
                    self.embed(model, texts)
                    best = max(best, n / (time.perf_counter() - t)) if i else 0
                yield test, 0, best
        finally:
            self.server.stop()


class OurEmbedder(Embedder):
    places = 1

    def embed(self, model, texts):
        with_ends = [[101] + t + [102] for t in texts]
        if not getattr(self, "client", None) or self.of is not self.server.process:
            self.client, self.of = load.protocol.Client(self.server.path), self.server.process
        number = self.client.request(load.protocol.EMBED, {"model": self.server.model, "tokens": with_ends, "pooling": "mean"})
        self.client.wait(number)


class LlamaEmbedder(Embedder):
    places = 4

    def embed(self, model, texts):
        c = http.client.HTTPConnection("127.0.0.1", self.server.port)
        c.request("POST", "/v1/embeddings", json.dumps({"input": [[101] + t + [102] for t in texts]}),
                  {"Content-Type": "application/json"})
        answer = c.getresponse()
        body = json.loads(answer.read())
        c.close()
        if len(body.get("data", [])) != len(texts):
            raise SystemExit(f"llama-server: {str(body)[:500]}")


def embedders_of(a):
    found = [OurEmbedder(load.Ours(a.veritas, "", None), compare.commit())]
    if a.llama_bin:
        server = load.Llama("llama.cpp", os.path.join(a.llama_bin, "llama-server"), "--embeddings --pooling mean -b 2048 -ub 2048")
        found.append(LlamaEmbedder(server, "?"))
    return found


# ---- parts ----

def base_of(part, name):
    """The model that decode is compared with; None: nothing."""
    base = TYPES[name] if part == "types" else name.replace("experts-", "dense-") if part == "experts" else None
    return base if base != name else None


def run_bench(a, part):
    """A model, what it is compared with and the rivals one right after the other: what the machine does meanwhile hits them all."""
    engines = engines_of(a, part)
    for r in range(a.rounds):
        for name in selected(a, part):
            runs = [(name, e) for e in engines]
            if base_of(part, name):
                runs.append((base_of(part, name), engines[0]))
            for i in range(len(runs)):
                model, e = runs[(r + i) % len(runs)]
                print(f"round {r + 1}: {model}, {e.name} {e.settings}", file=sys.stderr, flush=True)
                try:
                    for test, _, value in e.measure(path_of(a, model), a):
                        record(a, part, name, e, test, r, value, "base" if model != name else None)
                except SystemExit as why:           # a rival that can't read the type
                    print(f"{e.name}, {name}: {str(why)[-300:]}", file=sys.stderr)


def run_encoder(a, part):
    engines = embedders_of(a)
    for r in range(a.rounds):
        for name in selected(a, part):
            for i in range(len(engines)):
                e = engines[(r + i) % len(engines)]
                for test, _, value in e.measure(path_of(a, name), a):
                    record(a, part, name, e, test, r, value)


def run_adapter(a, part):
    lora = path_of(a, "adapter-Q4_K")
    engines = [compare.Ours(a.veritas, s) for s in ("", f"--lora {lora}=0", f"--lora {lora}")]
    shown = ("none", "scale 0", "scale 1")
    for r in range(a.rounds):
        for i in range(len(engines)):
            e = engines[(r + i) % len(engines)]
            for test, _, value in e.measure(path_of(a, "Q4_K"), a):
                record(a, part, shown[(r + i) % len(engines)], e, test, r, value, settings="")


def run_memory(a, part):
    ours = compare.Ours(a.veritas, "")
    for name in selected(a, part):
        command = [a.veritas, "run", "-m", path_of(a, name), "--temp", "0", "--threads", str(a.threads), "--raw", "--ctx", "512",
                   "-n", "60", "--ignore-eos", "Hello"]
        record(a, part, name, ours, "memory", 0, start.pss(command)[1] / os.path.getsize(path_of(a, name)))


RUN = {"types": run_bench, "experts": run_bench, "recurrent": run_bench, "encoder": run_encoder, "adapter": run_adapter,
       "memory": run_memory}


def record(a, part, model, engine, test, r, value, settings=None):
    fresh = not os.path.exists(a.csv)
    with open(a.csv, "a", newline="") as f:
        w = csv.writer(f, lineterminator="\n")
        if fresh:
            w.writerow(COLUMNS)
        w.writerow((f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%MZ}", compare.machine(), compare.commit(), part,
                    model, a.threads, engine.name, engine.version, engine.settings if settings is None else settings, test, r,
                    f"{value:.4g}"))


# ---- the page ----

class Figures:
    """{(part, model, test): {(engine, settings): {round: value}}}; a round is what ran one right after the other."""
    def __init__(self, rows):
        self.found = {}
        for r in rows:
            of = self.found.setdefault((r["part"], r["model"], r["test"]), {})
            of.setdefault((r["engine"], r["settings"]), {})[r["date"][:10] + r["run"] + "." + r["round"]] = float(r["value"])

    def models(self, part):
        return list(dict.fromkeys(k[1] for k in self.found if k[0] == part))

    def tests(self, part):
        return list(dict.fromkeys(k[2] for k in self.found if k[0] == part))

    def of(self, key, engine, settings=None):
        """The rounds of an engine, with the settings that are best in the median."""
        all_of = [v for (e, s), v in self.found.get(key, {}).items() if e == engine and (settings is None) == (s != "base")]
        return max(all_of, key=lambda v: statistics.median(v.values()), default={})


def median_of(values, form):
    return form.format(statistics.median(values)) if values else "-"


def ratio_of(a, b):
    """Median of the rounds that have both."""
    return median_of([a[r] / b[r] for r in a if r in b and b[r]], "{:.2f}")


def page(a):
    rows = []
    for path in a.csv:
        with open(path) as f:
            rows += [dict(r, run=path) for r in csv.DictReader(f)]
    if a.commit:
        rows = [r for r in rows if r["commit"].startswith(a.commit)]
    all_of = Figures(rows)
    for part in MODELS:
        tests, rivals = all_of.tests(part), [] if part in ("memory", "adapter") else ["llama.cpp", "ik_llama.cpp"]
        if not tests:
            continue
        compared = part in ("types", "experts", "adapter")
        heads = ["model"] + [h for t in tests for h in [t] + (["over base"] if compared else [])
                             + [w for r in rivals for w in (r, "ratio")]]
        print(f"## {part}\n\n| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
        for m in all_of.models(part):
            line = [m]
            for t in tests:
                ours = all_of.of((part, m, t), "veritas")
                base = all_of.of((part, "none" if part == "adapter" else m, t), "veritas", None if part == "adapter" else "base")
                line += [median_of(ours.values(), "{:.4g}")] + ([ratio_of(ours, base)] if compared else [])
                for rival in rivals:
                    theirs = all_of.of((part, m, t), rival)
                    line += [median_of(theirs.values(), "{:.4g}"), ratio_of(ours, theirs)]
            print("| " + " | ".join(line) + " |")
        print()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=("make", "run", "page"))
    p.add_argument("part", nargs="*", metavar="PART", help=", ".join(MODELS))
    p.add_argument("-d", "--directory", default=".", help="where the models are")
    p.add_argument("--only", help="models of a part, commas between")
    p.add_argument("--csv", action="append", help="page: may be repeated")
    p.add_argument("--commit", help="page: ours of this commit alone")
    p.add_argument("--veritas", default=os.path.join(compare.ROOT, "build/release/bin/veritas"))
    p.add_argument("--mkmodel", default=os.path.join(compare.ROOT, "build/release/bin/mkmodel"))
    p.add_argument("--llama-bin", help="llama.cpp's programs: llama-bench, llama-server")
    p.add_argument("--ik-bin", help="those of ik_llama.cpp: llama-bench")
    p.add_argument("--ours", action="append", metavar="SETTINGS", help="options for ours, e.g. '--isa avx2'; may be repeated")
    p.add_argument("--llama", action="append", metavar="SETTINGS", help="options for llama.cpp (default: '-fa 1')")
    p.add_argument("--ik", action="append", metavar="SETTINGS", help="options for ik_llama.cpp (default: '-rtr 1')")
    p.add_argument("--pp", default="512")
    p.add_argument("--tg", default="64")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--rounds", type=int, default=3)
    a = p.parse_intermixed_args()
    a.depth, a.ours, a.llama, a.ik = "0", a.ours or [""], a.llama or ["-fa 1"], a.ik or ["-rtr 1"]
    for part in a.part:
        if part not in MODELS:
            p.error(f"no such part: {part}")
    if a.what == "make":
        return make(a)
    if not a.csv:
        p.error("--csv is needed")
    if a.what == "page":
        return page(a)
    a.csv = a.csv[0]
    for part in a.part:
        RUN[part](a, part)


if __name__ == "__main__":
    main()
