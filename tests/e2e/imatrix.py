#!/usr/bin/env python3
"""`veritas imatrix` through the shipped programs, and `quantize --imatrix` with what it makes and with the older format.

    imatrix.py BIN              BIN holds veritas, its worker and mkmodel
"""
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time

os.environ["VERITAS_SOCKET"] = "/nowhere/s"         # never a daemon that somebody left running
BIN = sys.argv[1]
TEXT = ("The sky is blue because the air scatters the light of the sun. Once upon a time there was a small machine that could "
        "count: 1, 2, 3, 10, 42. What is the capital of France? int main(void) { return 0; }\n") * 6
SHAPE = "--layers 2 --embd 256 --heads 4 --kv-heads 2 --ff 256 --vocab 400".split()
failed = []


def check(what, ok, more=""):
    if not ok:
        failed.append(what)
        print(f"FAILED: {what}: {more}")


def veritas(*words, status=0):
    p = subprocess.run([os.path.join(BIN, "veritas"), *words], capture_output=True, text=True)
    check(" ".join(words), p.returncode == status, f"exit {p.returncode}, not {status}: {p.stderr.strip()}")
    return p


def mkmodel(path, *words):
    subprocess.run([os.path.join(BIN, "mkmodel"), *words, "-o", path], check=True)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def tensors_of(path):
    """{name: (columns, rows, values)} and the keys of a GGUF file whose tensors are F32."""
    data, at = read(path), 8

    def take(form):
        nonlocal at
        v = struct.unpack_from("<" + form, data, at)[0]
        at += struct.calcsize("<" + form)
        return v

    def text():
        nonlocal at
        n = take("Q")
        at += n
        return data[at - n : at].decode()

    n_tensors, n_keys = take("Q"), take("Q")
    keys, tensors = {}, {}
    for _ in range(n_keys):
        name, kind = text(), take("I")
        if kind == 9:
            assert take("I") == 8
            keys[name] = [text() for _ in range(take("Q"))]
        else:
            keys[name] = text() if kind == 8 else take("I")
    infos = []
    for _ in range(n_tensors):
        name, n = text(), take("I")
        shape = [take("Q") for _ in range(n)]
        assert take("I") == 0
        infos.append((name, shape, take("Q")))
    start = (at + 31) // 32 * 32
    for name, (columns, rows), offset in infos:
        tensors[name] = (columns, rows, struct.unpack_from(f"<{columns * rows}f", data, start + offset))
    return tensors, keys


def write_old(path, tensors, calls=3, scale=1.0):
    """The older format: sums over the rows as means, times the number of calls."""
    names = [n[: -len(".in_sum2")] for n in tensors if n.endswith(".in_sum2")]
    with open(path, "wb") as f:
        f.write(struct.pack("<i", len(names)))
        for name in names:
            columns, rows, sums = tensors[name + ".in_sum2"]
            count = tensors[name + ".counts"][2]
            values = [scale * v / count[i // columns] * calls if count[i // columns] else calls for i, v in enumerate(sums)]
            f.write(struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", calls, len(values)))
            f.write(struct.pack(f"<{len(values)}f", *values))


def check_sums(model, text, out):
    """What the first layer's norm gives is what q reads; ids from `tokenize`, the embedding from the file's own floats."""
    tensors, keys = tensors_of(out)
    check("keys", keys["general.type"] == "imatrix" and keys["imatrix.datasets"] == ["text"]
          and keys["imatrix.chunk_size"] == 64, keys)
    ids = json.loads(veritas("tokenize", "-m", model, "--json", text).stdout)
    ids = ids["tokens"] if isinstance(ids, dict) else ids
    ids = [t["id"] if isinstance(t, dict) else t for t in ids]
    n = len(ids) // 64 * 64
    check("chunks", keys["imatrix.chunk_count"] == n // 64, (keys, len(ids)))
    weights, _ = tensors_of_model(model)
    rows, norm = weights["token_embd.weight"], weights["blk.0.attn_norm.weight"][0]
    want = [0.0] * 256
    for t in ids[:n]:
        x = rows[t]
        scale = (sum(v * v for v in x) / 256 + 1e-5) ** -0.5
        for i in range(256):
            want[i] += (x[i] * scale * norm[i]) ** 2
    got = tensors["blk.0.attn_q.weight.in_sum2"][2]
    worst = max(abs(a - b) / b for a, b in zip(got, want))
    check("sums of squares of what q reads", worst < 1e-4, worst)
    check("q, k and v read the same", got == tensors["blk.0.attn_v.weight.in_sum2"][2])
    check("rows", tensors["blk.1.ffn_down.weight.counts"][2] == (float(n),), tensors["blk.1.ffn_down.weight.counts"])
    check("every matrix of the layers", len(tensors) == 2 * 2 * 7, sorted(tensors))


def tensors_of_model(path):
    """Rows of the F32 tensors that check_sums needs."""
    info = json.loads(veritas("inspect", "--json", path).stdout)
    data, found = read(path), {}
    for t in info["tensors"]:
        if t["name"] in ("token_embd.weight", "blk.0.attn_norm.weight"):
            columns, rows = (t["dims"] + [1])[:2]
            start = t["offset"]
            found[t["name"]] = [struct.unpack_from(f"<{columns}f", data, start + 4 * columns * r) for r in range(rows)]
    return found, info


def main():
    with tempfile.TemporaryDirectory() as d:
        model, text, out, again = (os.path.join(d, n) for n in ("model.gguf", "text", "out.gguf", "again.gguf"))
        mkmodel(model, "--arch", "llama", "--type", "F32", *SHAPE)
        with open(text, "w") as f:
            f.write(TEXT)
        make = ["imatrix", "-m", model, "-f", text, "--ctx", "64"]
        p = veritas(*make, "-o", out, "--threads", "1")
        check("it tells how large it is", "MB" in p.stderr, p.stderr)
        check_sums(model, text, out)
        veritas(*make, "-o", again, "--threads", "3")
        check("threads", read(out) == read(again))

        # of experts each by itself; a quantised model; a family with states
        experts = os.path.join(d, "experts.gguf")
        mkmodel(experts, "--arch", "qwen3moe", "--type", "Q8_0", "--experts", "8", "--experts-used", "3", "--expert-ff", "64",
                *SHAPE)
        veritas("imatrix", "-m", experts, "-f", text, "--ctx", "64", "-o", out)
        veritas("imatrix", "-m", experts, "-f", text, "--ctx", "64", "-o", again, "--threads", "3")
        check("experts: threads", read(out) == read(again))
        tensors, keys = tensors_of(out)
        counts = tensors["blk.1.ffn_up_exps.weight.counts"]
        check("experts: shapes", tensors["blk.1.ffn_down_exps.weight.in_sum2"][:2] == (64, 8) and counts[:2] == (1, 8))
        check("experts: each row is read by three", sum(counts[2]) == 3 * 64 * keys["imatrix.chunk_count"], counts)
        for arch in ("lfm2", "mamba2"):
            mkmodel(experts, "--arch", arch, "--type", "Q4_0", *SHAPE)
            veritas("imatrix", "-m", experts, "-f", text, "--ctx", "64", "-o", again)
            check(f"{arch}: its matrices", any(("shortconv" in n or "ssm_in" in n) for n in tensors_of(again)[0]))

        # what it is for: less is lost, also by the older format
        veritas(*make, "-o", out)
        loss, old = {}, os.path.join(d, "old.dat")
        write_old(old, tensors_of(out)[0])
        for name, words in (("without", []), ("with", ["--imatrix", out]), ("older", ["--imatrix", old])):
            small = os.path.join(d, name + ".gguf")
            veritas("quantize", model, small, "--type", "Q2_K", *words)
            compared = veritas("compare", model, small, "--ctx", "64", "-f", text, "--json")
            loss[name] = json.loads(compared.stdout)["mean_kl"]
        print("mean KL of Q2_K:", loss)
        check("less is lost with an imatrix", loss["with"] < loss["without"], loss)
        check("the older format says the same", abs(loss["older"] - loss["with"]) < 0.02 * loss["with"], loss)

        # refused
        with open(os.path.join(d, "short"), "w") as f:
            f.write("a few words")
        veritas("imatrix", "-m", model, "-f", text, status=2)
        veritas("imatrix", "-m", model, "-o", out, status=2)
        for mine in (model, text):
            before = read(mine)
            check("what is read is not replaced", "one that is read" in veritas(*make, "-o", mine, status=2).stderr)
            check(f"{mine} stays", read(mine) == before)
        before = read(out)
        short = ["imatrix", "-m", model, "-f", os.path.join(d, "short"), "-o", out]
        check("a short text", "fewer than a chunk" in veritas(*short, status=2).stderr)
        check("an older file stays", read(out) == before)
        veritas("imatrix", "-m", os.path.join(d, "nowhere.gguf"), "-f", text, "-o", out, status=4)
        veritas("imatrix", "-m", text, "-f", text, "-o", out, status=3)
        mkmodel(experts, "--arch", "bert", *SHAPE)
        check("an encoder", "writes no text" in veritas("imatrix", "-m", experts, "-f", text, "-o", out, status=3).stderr)
        good = read(old)
        for what, data in (("cut", good[:1000]), ("long name", struct.pack("<ii", 1, 1 << 30) + good[8:]), ("empty", b""),
                           ("many", struct.pack("<i", 1 << 30) + good[4:]), ("negative", struct.pack("<i", -1) + good[4:]),
                           ("text", TEXT.encode())):
            with open(old, "wb") as f:
                f.write(data)
            p = veritas("quantize", model, os.path.join(d, "no.gguf"), "--type", "Q2_K", "--imatrix", old, status=3)
            check(f"{what}: one line", p.stderr.count("\n") == 1 and "imatrix" in p.stderr, p.stderr)
        write_old(old, tensors_of(out)[0], scale=-1.0)
        p = veritas("quantize", model, os.path.join(d, "no.gguf"), "--type", "Q2_K", "--imatrix", old, status=3)
        check("below zero", "no mean square" in p.stderr, p.stderr)
        other = os.path.join(d, "other.gguf")
        mkmodel(other, "--type", "F32", "--embd", "128", "--layers", "1")
        p = veritas("quantize", other, os.path.join(d, "no.gguf"), "--type", "Q4_0", "--imatrix", out, status=3)
        check("of another model", "another model" in p.stderr, p.stderr)
        check("nothing is left", not os.path.exists(os.path.join(d, "no.gguf")))

        # Ctrl-C while the model reads
        folder = os.path.join(d, "folder")
        os.mkdir(folder)
        with open(text, "w") as f:
            f.write(TEXT * 400)
        p = subprocess.Popen([os.path.join(BIN, "veritas"), *make, "-o", os.path.join(folder, "out.gguf")], stderr=subprocess.PIPE)
        while p.poll() is None and not children(p.pid):
            time.sleep(0.005)
        p.send_signal(signal.SIGINT)
        check("Ctrl-C ends it", p.wait() != 0)
        p.stderr.close()
        check("Ctrl-C leaves nothing", os.listdir(folder) == [], os.listdir(folder))
    sys.exit(bool(failed))


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return f.read().split()
    except OSError:
        return []


main()
