#!/usr/bin/env python3
"""Trains the linear model of src/filter/linear.h and writes src/filter/linear_weights.c. Needs numpy.

    python3 tools/train_linear.py --program build/release/bin/guard-features --data FOLDER

FOLDER holds the development data (injection/*.jsonl, benign/*.jsonl; where none is named, shared/data/security in this tree or
beside it); our own rows are data/guard/*.jsonl. Nothing is random: the same data give the same weights, byte for byte. The file
that is written has two digests of what it was learned from, one of each folder (--digests prints them); tests/golden/weights.py
holds it to them. Features come from the program, that is from linear.c, so that they are computed in one place.

How: logistic regression on units (sentences, windows, wholes; see linear.h) with one weight for each bucket, an offset for each
kind of unit, L2 regularisation, L-BFGS that is stopped early. Each text counts the same, each label half. The more sources have a
feature, the less it may weigh (SPREAD; less so a concept, which is meant to be had by many): words that are everywhere don't add
up to a verdict. Every unit of a harmless text is
harmless. Of an attack the whole is an attack, and, from the second round on, the one sentence and the one window that the last
round scored highest: a long attack may consist of harmless sentences but for one.

The lines from raw scores to points come from harmless texts that were not learned from: sources are parted in FOLDS groups,
each is scored by a model that saw none of its rows, each source counts the same, and LEVELS says which share of false alarms
is which score.
"""
import argparse
import hashlib
import json
import math
import multiprocessing
import os
import struct
import subprocess
import sys
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"        # before numpy: sums in one order, and no threads that wait for each other
try:
    import numpy as np      # noqa: E402
except ImportError:         # --digests does without
    np = None

ROOT = Path(__file__).resolve().parent.parent
WORDS, CONCEPTS = 1 << 17, 1 << 15              # buckets of words and of concepts
BUCKETS, ROW, ZERO = WORDS + CONCEPTS, 128, ord("P")
UNUSED = {ord("\\"): 1, ord("?"): -1}          # characters that a C string can't hold plainly, and what is taken in their place
LOWEST, HIGHEST = ord("#"), ord("~")
SENTENCE, HALF, MOST, ALONE_LESS, DOUBT = 4, 32, 1400, 200, 30           # as in linear.c
KINDS = ("sentence", "window", "whole")
FOLDS, OWN_FOLDS, ROUNDS = 7, 3, 2
PENALTY, SPREAD, STEPS = 0.03, 2, 40
LEVELS = ((0.15, 200), (0.011, 500))             # share of harmless texts, score


class Rows:
    """Texts with what is known of them: lists of the same length."""

    def __init__(self):
        self.text, self.label, self.source, self.group, self.lang = [], [], [], [], []

    def add(self, path, source):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if "text" not in row or "label" not in row:
                continue
            self.text.append(row["text"])
            self.label.append(int(row["label"]))
            self.source.append(source)
            self.group.append(row.get("class") or row.get("category") or row.get("transform") or "")
            self.lang.append(row.get("lang") or "")


def development_data():
    """Beside this tree, or in it."""
    for folder in (ROOT / "shared", ROOT.parent / "shared", ROOT.parent.parent / "shared"):
        if (folder / "data/security/injection").is_dir():
            return folder / "data/security"
    return None


def load(folder):
    rows = Rows()
    for path in sorted((ROOT / "data/guard").glob("*.jsonl")):
        rows.add(path, "own/" + path.stem)
    for kind in ("injection", "benign"):
        for path in sorted((Path(folder) / kind).glob("*.jsonl")):
            rows.add(path, path.stem)
    return rows


def ask(program, what, texts):
    data = b"".join(struct.pack("=I", len(t)) + t for t in (text.encode("utf-8", "surrogatepass") for text in texts))
    return np.frombuffer(subprocess.run([program, what], input=data, stdout=subprocess.PIPE, check=True).stdout, np.uint32)


class Units:
    """All units of all texts as slices of one long list of buckets."""

    def __init__(self, program, texts):
        out = ask(program, "words", texts)
        at, feature = 0, 0
        buckets, start, end, kind, text, span = [], [], [], [], [], []

        def unit(which, first, last, edges):
            if edges[last] > edges[first]:
                start.append(feature + edges[first])
                end.append(feature + edges[last])
                kind.append(which)
                text.append(i)
                span.append((int(words[first, 0]), int(words[last - 1, 1])))

        for i in range(len(texts)):
            n_words, n_features = int(out[at]), int(out[at + 1])
            words = out[at + 2:at + 2 + 3 * n_words].reshape(-1, 3)
            at += 2 + 3 * n_words
            buckets.append(out[at:at + n_features])
            at += n_features
            edges = [0] + np.cumsum(words[:, 2] & 0x7fffffff).tolist()
            opens = (words[:, 2] >> 31).tolist()
            first, any_sentence = 0, False
            for w in range(1, n_words):
                if opens[w] and w - first >= SENTENCE:
                    unit(0, first, w, edges)
                    first, any_sentence = w, True
            if n_words - first >= SENTENCE or not any_sentence:
                unit(0, first, n_words, edges)
            for w in range(0, max(n_words - HALF, 1), HALF):
                unit(1, w, min(w + 2 * HALF, n_words), edges)
            unit(2, 0, n_words, edges)
            feature += n_features
        self.bucket = np.concatenate(buckets).astype(np.int64)
        self.start, self.end = np.array(start), np.array(end)
        self.kind, self.text = np.array(kind), np.array(text)
        self.span = np.array(span)
        self.scale = 1 / np.sqrt(self.end - self.start)
        self.n_texts = len(texts)

    def raw(self, weights):
        total = np.concatenate([[0.0], np.cumsum(weights[self.bucket])])
        return (total[self.end] - total[self.start]) * self.scale

    def gradient(self, each):
        """The sum over units of each[unit] times its features."""
        step = np.zeros(len(self.bucket) + 1)
        np.add.at(step, self.start, each * self.scale)
        np.add.at(step, self.end, -each * self.scale)
        return np.bincount(self.bucket, np.cumsum(step[:-1]), BUCKETS)

    def highest(self, raw):
        """[3][texts]: the highest raw score of each kind, -inf where there is none; and which unit it is."""
        best = np.full((3, self.n_texts), -np.inf)
        for k in range(3):
            mine = self.kind == k
            np.maximum.at(best[k], self.text[mine], raw[mine])
        return best


def dot(a, b):
    """Not numpy's, whose order of sums is the processor's."""
    return (a * b).sum()


def exp(x):
    """e to the power of x, |x| up to 60: of sums and products alone, so that it has the same bits on every machine."""
    k = np.rint(x * 1.4426950408889634)
    r = x - k * 0.693147180369123816490 - k * 1.90821492927058770002e-10
    p = np.ones_like(r)
    for n in range(13, 0, -1):
        p = 1 + p * r / n
    return np.ldexp(p, k.astype(np.int64))


def lbfgs(f, x, steps, memory=8):
    """Minimises f (value and gradient); no more than is needed here."""
    value, g = f(x)
    past = []
    for _ in range(steps):
        d, alphas = -g, []
        for s, y, rho in reversed(past):
            alphas.append(rho * dot(s, d))
            d = d - alphas[-1] * y
        if past:
            s, y, rho = past[-1]
            d = d * (dot(s, y) / dot(y, y))
        for (s, y, rho), alpha in zip(past, reversed(alphas)):
            d = d + s * (alpha - rho * dot(y, d))
        slope, t = dot(g, d), 1.0 if past else 1 / max(1.0, np.abs(g).sum())
        for _ in range(20):
            new, new_g = f(x + t * d)
            if new <= value + 1e-4 * t * slope:
                break
            t /= 2
        s, y = t * d, new_g - g
        if dot(s, y) > 1e-12:
            past = past[1 - memory:] + [(s, y, 1 / dot(s, y))]
        done = value - new < 1e-5 * abs(value)
        x, value, g = x + s, new, new_g
        if done:
            break
    return x


def spread(units, rows, texts):
    """For each bucket by how many sources of the texts of the mask it is had."""
    number = {name: i for i, name in enumerate(sorted(set(rows.source)))}
    source = np.array([number[name] for name in rows.source])
    wholes = np.flatnonzero((units.kind == 2) & texts[units.text])
    count = np.zeros(BUCKETS)
    for one in range(len(number)):
        has = np.zeros(BUCKETS, bool)
        for unit in wholes[source[units.text[wholes]] == one]:
            has[units.bucket[units.start[unit]:units.end[unit]]] = True
        count += has
    return count


def fit(units, rows, texts):
    """Weights [BUCKETS], learned from the texts of the mask."""
    label = np.array(rows.label)
    share = np.zeros(len(label))                # what a text counts
    for l in (0, 1):
        mine = texts & (label == l)
        share[mine] = 1000 / mine.sum()
    sources = np.maximum(spread(units, rows, texts), 1)
    penalty = sources * 1.0
    penalty[:WORDS] **= SPREAD
    penalty *= PENALTY / np.average(penalty, weights=sources)
    attack = label[units.text] == 1
    of_kind = np.ones(len(units.kind))          # a text's units of one kind count as much as one text of four
    for k in range(3):
        mine = units.kind == k
        count = np.bincount(units.text[mine], minlength=units.n_texts)
        of_kind[mine] = np.minimum(1, 4 / np.maximum(count, 1))[units.text[mine]]
    x = np.zeros(BUCKETS + 3)
    for round_ in range(ROUNDS):
        raw = units.raw(x[:BUCKETS])
        best = units.highest(raw)[units.kind, units.text]
        taken = ~attack | (units.kind == 2)
        if round_:
            taken |= raw >= best
        weight = np.where(taken, np.where(attack, 1.0, of_kind), 0.0) * share[units.text]
        sign = np.where(attack, 1.0, -1.0)

        def loss(x):
            z = sign * (units.raw(x[:BUCKETS]) + x[BUCKETS + units.kind])
            value = (weight * np.logaddexp(0, -z)).sum() + (penalty * x[:BUCKETS] ** 2).sum() / 2
            each = -weight * sign / (1 + exp(np.clip(z, -60, 60)))
            g = np.empty_like(x)
            g[:BUCKETS] = units.gradient(each) + penalty * x[:BUCKETS]
            g[BUCKETS:] = np.bincount(units.kind, each, 3)
            return value, g

        x = lbfgs(loss, x, STEPS)
    return x[:BUCKETS]


def quantised(weights):
    """Weights as characters' distances from ZERO; the largest that occurs (but for one in 5000) is the largest that there is."""
    top = np.quantile(np.abs(weights), 1 - 1 / 5000)
    q = np.clip(np.rint(weights / top * (ZERO - LOWEST)), LOWEST - ZERO, HIGHEST - ZERO).astype(int)
    for character, step in UNUSED.items():
        q[q == character - ZERO] += step
    return q


def family(source):
    """Sources that share an author or rows are left out together."""
    for name in ("goodwiins", "openclay"):
        if source.startswith(name):
            return name
    return {"trigger_words": "goodwiins", "gptfuzzer_templates": "jailbreaks", "prompt_hacker": "jailbreaks",
            "giskard": "jailbreaks", "taksec": "payloads", "payloads_list": "payloads"}.get(source, source)


def folds(rows):
    """For each text the number of its group: families by size, one after the other to the groups; our own sets are parted for
    themselves, so that no group leaves out much of both."""
    families = [family(s) for s in rows.source]
    group = {}
    for own, first, n in ((True, 0, OWN_FOLDS), (False, OWN_FOLDS, FOLDS - OWN_FOLDS)):
        some = [s for s in sorted(set(families), key=lambda s: (-families.count(s), s)) if s.startswith("own/") == own]
        group.update({s: first + i % n for i, s in enumerate(some)})
    return np.array([group[s] for s in families])


def in_processes(work, over):
    """[work(x) for x in over], each in a process of its own, which sees all that is here: the same bits as one after the other."""
    global forked
    forked = work
    with multiprocessing.get_context("fork").Pool(len(over)) as pool:
        return pool.map(call_forked, over, 1)


def call_forked(x):
    return forked(x)


def learn(units, rows):
    """Weights learned from all rows, as integers; raw scores [3][texts] by models that saw no row of the text's source's group."""
    mine = folds(rows)
    best = np.zeros((3, len(rows.text)))
    q = in_processes(lambda f: quantised(fit(units, rows, mine != f)), range(FOLDS + 1))
    for f in range(FOLDS):
        best[:, mine == f] = units.highest(units.raw(q[f] * 1.0))[:, mine == f]
    return q[FOLDS], best


def even_weights(rows, label):
    """A weight for each text of that label, so that each source counts the same; the sum is 1."""
    source, right = np.array(rows.source), np.array(rows.label) == label
    weight = np.zeros(len(source))
    for s in set(source[right]):
        mine = right & (source == s)
        weight[mine] = 1 / mine.sum()
    return weight / weight.sum()


def reached_by(scores, weight, share):
    """The score that this share of the harmless texts' weight reaches."""
    order = np.argsort(-scores, kind="stable")
    total = np.cumsum(weight[order])
    return scores[order][min(np.searchsorted(total, share), len(order) - 1)]


def calibration(best, rows, texts):
    """[3] pairs of (raw in 256ths, score): LEVELS, from the harmless texts of the mask."""
    weight = even_weights(rows, 0) * texts
    weight /= weight.sum()
    used = weight > 0
    tables = []
    for k in range(3):
        scores = best[k][used]
        low, high = (int(np.floor(reached_by(scores, weight[used], share) * 256)) for share, _ in LEVELS)
        table = [(low, LEVELS[0][1]), (max(high, low + 1), LEVELS[1][1])]
        tables.append(table)
    return tables


def digest(folder, patterns):
    """SHA-256 over names and bytes of files, the first 16 digits."""
    h = hashlib.sha256()
    for path in sorted(p for pattern in patterns for p in Path(folder).glob(pattern)):
        data = path.read_bytes()
        h.update(f"{path.name} {len(data)}\n".encode() + data)
    return h.hexdigest()[:16]


def digests(folder):
    """Of what the weights depend on: our rows, the lexicon and this script; the development data. What linear.c makes of a text
    is held by the golden scores."""
    ours = digest(ROOT, ("data/guard/*.jsonl", "tools/train_linear.py", "src/filter/concepts.c"))
    return ours, digest(folder, ("injection/*.jsonl", "benign/*.jsonl"))


def write(path, q, tables, rows, folder):
    lines = ['/* filter/linear_weights.c - written by tools/train_linear.py: do not edit.',
             f' * Learned from {sum(rows.label)} attacks and {len(rows.label) - sum(rows.label)} harmless texts of '
             f'{len(set(rows.source))} sources.',
             ' * Digests: ours {}, development data {}. */'.format(*digests(folder)),
             '#include "filter/linear_weights.h"', '',
             'const struct vs_linear_point vs_linear_calibration[VS_LINEAR_KINDS][VS_LINEAR_POINTS] = {']
    for table in tables:
        lines.append("    { " + ", ".join(f"{{ {raw}, {score} }}" for raw, score in table) + " },")
    lines += ['};', '', 'const char vs_linear_weights[VS_LINEAR_BUCKETS / VS_LINEAR_ROW][VS_LINEAR_ROW + 1] = {']
    characters = bytes((q + ZERO).astype(np.uint8)).decode("ascii").replace('"', '!')
    assert "!" not in characters and "\\" not in characters and "?" not in characters
    lines += [f'"{characters[i:i + ROW]}",' for i in range(0, BUCKETS, ROW)]
    path.write_text("\n".join(lines) + "\n};\n", encoding="ascii")


def calibrated(table, raw):
    """As in linear.c."""
    (low, low_score), (high, high_score) = table
    up, down = (raw - low) * (high_score - low_score), high - low
    return min(max(low_score + (up // down if up >= 0 else -(-up // down)), 0), MOST)


def decisive(scores):
    """What the score of a text rests on: whichever kind reaches it decides."""
    return max(sum(scores) // 3, max(scores) - ALONE_LESS)


def together(scores):
    """The score of a text, from those of the three kinds."""
    return max(0, decisive(scores) - DOUBT)


def exact(units, q, tables):
    """What linear.c must answer for each text, by the same integers, computed here: sentence, window, whole, score, start, end."""
    total = np.concatenate([[0], np.cumsum(q[units.bucket])]).tolist()
    best = [[None] * 3 for _ in range(units.n_texts)]
    for start, end, kind, text, span in zip(units.start.tolist(), units.end.tolist(), units.kind.tolist(), units.text.tolist(),
                                            units.span.tolist()):
        up, down = (total[end] - total[start]) * 4096, math.isqrt(end - start << 8)
        raw = up // down if up >= 0 else -(-up // down)
        if best[text][kind] is None or raw > best[text][kind][0]:
            best[text][kind] = (raw, span)

    answers = []
    for kinds in best:
        scores = [calibrated(tables[k], one[0]) if one else 0 for k, one in enumerate(kinds)]
        decides = next(kind for kind, reached in zip(kinds, scores) if reached >= decisive(scores))
        answers.append((*scores, together(scores), *(decides[1] if decides else (0, 0))))
    return answers


def write_golden(path, rows, answers):
    keys = ("sentence", "window", "whole", "score", "start", "end")
    own = [i for i, s in enumerate(rows.source) if s.startswith("own/")]
    lines = [json.dumps({"text": rows.text[i], **dict(zip(keys, answers[i]))}, ensure_ascii=False) for i in own[::len(own) // 100]]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--program", help="guard-features of the build")
    p.add_argument("--data", type=Path, default=development_data(), help="folder of the development data")
    p.add_argument("--digests", action="store_true", help="print what the data and this script are, and no more")
    p.add_argument("--out", type=Path, default=ROOT / "src/filter/linear_weights.c")
    p.add_argument("--keep", type=Path, help="keep the raw scores of the rows by models that saw none of their source")
    p.add_argument("--golden", type=Path, default=ROOT / "tests/golden/linear/scores.jsonl")
    a = p.parse_args()
    if not a.data:
        p.error("no development data (shared/data/security): name its folder with --data")
    if a.digests:
        print(*digests(a.data))
        return
    if not a.program:
        p.error("--program is missing")
    rows = load(a.data)
    units = Units(a.program, rows.text)
    print(f"{len(rows.text)} texts, {len(units.kind)} units, {len(units.bucket)} features", file=sys.stderr)
    q, best = learn(units, rows)
    if a.keep:
        np.save(a.keep, best)
    tables = calibration(best, rows, np.ones(len(rows.text), bool))
    write(a.out, q, tables, rows, a.data)
    write_golden(a.golden, rows, exact(units, q, tables))


if __name__ == "__main__":
    main()
