#!/usr/bin/env python3
"""`veritas quantize` and `veritas compare` through the shipped programs.

    quantize.py BIN             BIN holds veritas, its worker and mkmodel
"""
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../fixtures"))
import malformed as gguf                # noqa: E402

os.environ["VERITAS_SOCKET"] = "/nowhere/s"         # never a daemon that somebody left running
BIN = sys.argv[1]
WORDS = ("The sky is blue because the air scatters the light of the sun. What is the capital of France? "
         "int main(void) { return 0; }\n")
# the largest mean KL from the F32 model that each mix may have (random weights are the hardest to quantise): a third above what
# was measured when this was written
BOUNDS = {"F16": 1e-4, "Q8_0": 2.1e-3, "Q6_K": 1.3e-2, "Q5_K_M": 4.6e-2, "Q4_K_M": 0.17, "Q4_0": 0.23, "IQ4_XS": 0.2, "NVFP4": 0.25,
          "Q3_K_M": 0.5, "Q2_K": 1.3}
# of these only the types are looked at
OTHERS = {"BF16": "BF16", "Q5_K_S": "Q5_K", "Q5_0": "Q5_0", "Q5_1": "Q5_1", "Q4_K_S": "Q4_K", "Q4_1": "Q4_1", "IQ4_NL": "IQ4_NL",
          "MXFP4_MOE": "Q8_0", "MXFP4": "MXFP4",
          "IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S", "IQ2_XXS": "IQ2_XXS", "IQ1_S": "IQ1_S", "Q1_0": "Q1_0",
          "Q3_K_L": "Q3_K", "Q3_K_S": "Q3_K", "TQ2_0": "TQ2_0", "TQ1_0": "TQ1_0"}
# types of which the same model was also made by rounding to the nearest (mkmodel): the search for scales must be better
ROUNDED = "Q4_1 Q2_K Q4_K Q6_0 Q2_0 IQ3_S IQ2_XS IQ1_M".split()
failed = []


def check(what, ok, more=""):
    if not ok:
        failed.append(what)
        print(f"FAILED: {what}: {more}")


def veritas(*words, status=0):
    p = subprocess.run([os.path.join(BIN, "veritas"), *words], capture_output=True, text=True)
    check(" ".join(words[:1] + words[3:]), p.returncode == status, f"exit {p.returncode}, not {status}: {p.stderr.strip()}")
    return p


def mkmodel(path, *words):
    subprocess.run([os.path.join(BIN, "mkmodel"), *words, "-o", path], check=True)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def types_of(path):
    return {t["name"]: t["type"] for t in json.loads(veritas("inspect", "--json", path).stdout)["tensors"]}


def write_imatrix(path, tensors, kind="imatrix"):
    """tensors: {name: (n_columns, n_experts, floats)}"""
    def text(s):
        return struct.pack("<Q", len(s)) + s.encode()
    data, infos = b"", b""
    for name, (columns, rows, values) in tensors.items():
        infos += text(name) + struct.pack("<IQQIQ", 2, columns, rows, 0, len(data))
        data += struct.pack(f"<{len(values)}f", *values)
        data += bytes(-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 1) + text("general.type") + struct.pack("<I", 8) + text(kind) + infos
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % 32) + data)


def sums(name, columns, value=lambda i: 1.0):
    return {name + ".in_sum2": (columns, 1, [value(i) for i in range(columns)]), name + ".counts": (1, 1, [1.0])}


def main():
    with tempfile.TemporaryDirectory() as d:
        full, out, text = (os.path.join(d, n) for n in ("full.gguf", "out.gguf", "text"))
        shape = "--arch llama --layers 2 --embd 256 --heads 4 --kv-heads 2 --ff 512 --vocab 400".split()
        mkmodel(full, *shape, "--type", "F32")
        with open(text, "w") as f:
            f.write(WORDS * 4)
        window = ["--ctx", "32", "-f", text, "--json"]

        same = json.loads(veritas("compare", full, full, *window).stdout)
        check("a model beside itself", (same["mean_kl"], same["same_argmax"]) == (0, 1)
              and same["perplexity_a"] == same["perplexity_b"], same)
        for name, bound in BOUNDS.items():
            veritas("quantize", full, out, "--type", name)
            result = json.loads(veritas("compare", full, out, *window).stdout)
            check(f"{name}: mean KL {result['mean_kl']:.2e}, bound {bound:.0e}", result["mean_kl"] <= bound)
            print(f"{name}: mean KL {result['mean_kl']:.2e}, {os.path.getsize(out)} bytes", flush=True)
        small = os.path.join(d, "small.gguf")
        mkmodel(small, *"--arch llama --layers 1 --embd 256 --heads 4 --kv-heads 1 --ff 256 --vocab 300 --type F32".split())
        for name, want in OTHERS.items():
            veritas("quantize", small, out, "--type", name)
            check(f"{name}: attn_q", types_of(out)["blk.0.attn_q.weight"] == want, types_of(out)["blk.0.attn_q.weight"])
        for name in ROUNDED:
            rounded = os.path.join(d, "rounded.gguf")
            mkmodel(rounded, *shape, "--type", name)
            veritas("quantize", full, out, "--type", "Q8_0", "--tensor", f"*={name}")
            check(f"{name}: the same types", types_of(out) == types_of(rounded))
            ours, theirs = (json.loads(veritas("compare", full, f, *window).stdout)["mean_kl"] for f in (out, rounded))
            check(f"{name}: better than rounding", ours < theirs, f"{ours} {theirs}")
            print(f"{name}: mean KL {ours:.2e}, rounded to the nearest {theirs:.2e}", flush=True)
        p = veritas("compare", full, out, "--ctx", "32", "-f", text)
        check("compare as text", "mean KL" in p.stdout)
        check("one progress over all windows", "comparing windows: 0 of " in p.stderr and "logits:" not in p.stderr, p.stderr)

        # which type goes where
        veritas("quantize", full, out, "--type", "Q4_K_M", "--tensor", "*ffn_up*=Q8_0", "--tensor", "output.weight=F16")
        types = types_of(out)
        for name, want in (("blk.0.ffn_up.weight", "Q8_0"), ("output.weight", "F16"), ("blk.0.attn_norm.weight", "F32"),
                           ("token_embd.weight", "Q4_K"), ("blk.1.attn_q.weight", "Q4_K"), ("blk.1.ffn_down.weight", "Q6_K")):
            check(f"type of {name}", types[name] == want, types[name])

        both = os.path.join(d, "both.gguf")
        mkmodel(both, *"--arch t5 --layers 8 --decoder-layers 4 --embd 256 --heads 4 --ff 256 --vocab 300 --type F32".split())
        veritas("quantize", both, out, "--type", "Q4_K_M")
        types = types_of(out)
        for name, want in (("enc.blk.6.attn_v.weight", "Q6_K"), ("enc.blk.2.ffn_down.weight", "Q4_K"),
                           ("dec.blk.3.ffn_down.weight", "Q6_K"),
                           ("dec.blk.3.cross_attn_v.weight", "Q6_K"), ("dec.blk.1.cross_attn_v.weight", "Q4_K")):
            check(f"type of {name}", types[name] == want, types[name])
        for mix, first in (("Q4_0", "Q4_1"), ("Q5_0", "Q5_1")):
            veritas("quantize", both, out, "--type", mix)
            types = types_of(out)
            for name, want in (("enc.blk.0.ffn_down.weight", first), ("enc.blk.1.ffn_down.weight", mix),
                               ("enc.blk.0.ffn_up.weight", mix)):
                check(f"{mix}, type of {name}", types[name] == want, types[name])

        # one file, whatever the number of threads; an older file is replaced, and is no input of its own
        veritas("quantize", full, out, "--type", "Q3_K_M", "--threads", "1")
        one = read(out)
        veritas("quantize", full, out, "--type", "Q3_K_M", "--threads", "3")
        check("threads", read(out) == one)
        veritas("quantize", full, full, "--type", "Q8_0", status=2)
        veritas("quantize", out, os.path.join(d, "again.gguf"), "--type", "Q4_0")

        # importance
        imatrix = os.path.join(d, "imatrix.gguf")
        weight = "blk.0.attn_q.weight"
        write_imatrix(imatrix, sums(weight, 256, lambda i: 100.0 if i % 7 == 0 else 0.01))
        veritas("quantize", full, out, "--type", "Q3_K_M", "--imatrix", imatrix)
        check("an imatrix changes the file", read(out) != one and len(read(out)) == len(one))
        p = veritas("quantize", full, imatrix, "--type", "Q3_K_M", "--imatrix", imatrix, status=2)
        check("the imatrix is not replaced", "one that is read" in p.stderr, p.stderr)
        before = read(out)
        for what, tensors, kind, status in (("of another shape", sums(weight, 128), "imatrix", 3),
                                            ("of another kind", sums(weight, 256), "x", 3),
                                            ("below zero", sums(weight, 256, lambda i: -1.0), "imatrix", 3),
                                            ("without counts", {weight + ".in_sum2": (256, 1, [1.0] * 256)}, "imatrix", 3)):
            write_imatrix(imatrix, tensors, kind)
            p = veritas("quantize", full, out, "--type", "Q3_K_M", "--imatrix", imatrix, status=status)
            check(f"imatrix {what}: one line", p.stderr.count("\n") == 1 and "imatrix" in p.stderr, p.stderr)
        check("a failure leaves the older file", read(out) == before)

        # refused
        for words, status, message in ((["--type", "Q9"], 3, "Q4_K_M"), ([], 2, "--type"),
                                       (["--type", "Q4_0", "--tensor", "x"], 2, "PATTERN=TYPE"),
                                       (["--type", "Q4_0", "--tensor", "*=Q8_1"], 3, "Q8_1"),
                                       (["--type", "Q4_0", "--tensor", "attn_q=Q8_0"], 2, "no matrix"),
                                       (["--type", "Q4_0", "--tensor", "*_norm*=Q8_0"], 2, "no matrix"),
                                       (["--type", "Q4_0", "--tensor", "*=Q77"], 2, "Q77")):
            p = veritas("quantize", full, os.path.join(d, "no.gguf"), *words, status=status)
            check(f"{words}: {message}", message in p.stderr, p.stderr)
        cut = os.path.join(d, "cut.gguf")
        with open(cut, "wb") as f:
            f.write(read(full)[:100000])
        veritas("quantize", cut, os.path.join(d, "no.gguf"), "--type", "Q4_0", status=3)
        data = bytearray(read(full))
        data[-4:] = struct.pack("<f", float("nan"))
        with open(cut, "wb") as f:
            f.write(data)
        check("NaN", "is not a number" in veritas("quantize", cut, os.path.join(d, "no.gguf"), "--type", "Q4_0", status=3).stderr)
        veritas("quantize", os.path.join(d, "nowhere"), os.path.join(d, "no.gguf"), "--type", "Q4_0", status=4)
        check("nothing is left", not os.path.exists(os.path.join(d, "no.gguf")))
        other = os.path.join(d, "other.gguf")
        mkmodel(other, "--vocab", "500")
        check("other vocabularies", "can't be compared" in veritas("compare", full, other, *window, status=2).stderr)
        mkmodel(other, *shape, "--tokenizer", "llama")
        check("other tokens", "the tokens of" in veritas("compare", full, other, *window, status=2).stderr)
        guess = gguf.Model(read(full))
        guess.drop("tokenizer.ggml.pre")
        with open(other, "wb") as f:
            f.write(guess.pack())
        for words in (["compare", other, full, *window], ["perplexity", "-m", other, "--ctx", "32", text],
                      ["logits", "-m", other, text, "-o", os.path.join(d, "logits.npy")]):
            check(f"{words[0]}: its ids are a guess", veritas(*words).stderr.count("tokenizer.ggml.pre") == 1)

        # Ctrl-C while the new file grows
        folder = os.path.join(d, "folder")
        os.mkdir(folder)
        big = os.path.join(d, "big.gguf")
        mkmodel(big, "--type", "F16", "--layers", "2", "--embd", "1024", "--heads", "8", "--ff", "4096", "--vocab", "400")
        p = subprocess.Popen([os.path.join(BIN, "veritas"), "quantize", big, os.path.join(folder, "out.gguf"), "--type", "Q2_K"],
                             stderr=subprocess.DEVNULL)
        while p.poll() is None:                      # until something of it is written
            try:
                sizes = [os.stat(f"/proc/{p.pid}/fd/{n}") for n in os.listdir(f"/proc/{p.pid}/fd")]
            except OSError:
                continue
            if any(s.st_nlink == 0 and s.st_size > 0 for s in sizes):
                break
            time.sleep(0.005)
        p.send_signal(signal.SIGINT)
        check("Ctrl-C ends it", p.wait() != 0)
        check("Ctrl-C leaves nothing", os.listdir(folder) == [], os.listdir(folder))
    sys.exit(bool(failed))


main()
