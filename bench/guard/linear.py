#!/usr/bin/env python3
"""How well the linear model finds attacks of sources that it has not seen, and how often it is wrong. Needs numpy.

    python3 bench/guard/linear.py --program build/release/bin/guard-features --data FOLDER > bench/results/guard-DATE.md

Sources are parted in groups (tools/train_linear.py says how); each is scored by a model that saw none of its rows, calibrated
and cut off by the harmless texts of the other groups alone: the threshold is the lowest score that at most 1 % of them reach,
each source counting the same.
"""
import argparse
import resource
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools"))
import train_linear as train            # noqa: E402

WRONG = 0.01


def scores(best, tables):
    raw = np.where(np.isfinite(best), np.floor(best * 256), -1e9).astype(int)
    return np.array([train.together([train.calibrated(tables[k], int(raw[k, i])) for k in range(3)]) for i in range(raw.shape[1])])


def unseen(rows, best):
    """For each text: whether it would be flagged at the threshold, and at 500, by a model, tables and a threshold that do not know
    its group."""
    group = train.folds(rows)
    flagged, at_500, thresholds = np.zeros(len(group), bool), np.zeros(len(group), bool), []
    for g in sorted(set(group)):
        others = group != g
        score = scores(best, train.calibration(best, rows, others))
        weight = train.even_weights(rows, 0) * others
        used = weight > 0
        limit = train.reached_by(score[used] + 0.0, weight[used] / weight.sum(), WRONG) + 1
        thresholds.append(int(limit))
        flagged[~others] = score[~others] >= limit
        at_500[~others] = score[~others] >= 500
    return flagged, at_500, thresholds


def percent(mask, flags):
    return f"{100 * flags[mask].mean():.1f}" if mask.any() else ""


def by(name, keys, mask, flags, at_500):
    print(f"\n| {name} | rows | at 1 % | at 500 |\n|---|---:|---:|---:|")
    for key in sorted(set(np.array(keys)[mask])):
        mine = mask & (np.array(keys) == key)
        print(f"| {key or '-'} | {mine.sum()} | {percent(mine, flags)} | {percent(mine, at_500)} |")


def disguises(a, folder):
    rows = train.Rows()
    rows.add(Path(folder) / "obfuscation/dev_disguised.jsonl", "disguised")
    out = train.ask(a.program, "scores", rows.text).reshape(-1, 6)
    print("\n## Disguises\n\nThe shipped weights on the disguised text itself, without the views that undo a disguise:\n"
          "filter/scan.h looks at those with the same model.\n\n| disguise | rows | at 500 |\n|---|---:|---:|")
    for kind in sorted(set(rows.group)):
        mine = np.array(rows.group) == kind
        print(f"| {kind} | {mine.sum()} | {100 * (out[mine, 3] >= 500).mean():.0f} |")


def speed(a, rows):
    """CPU time of the program alone, with what it reads and writes."""
    text = "\n".join(t for t, s in zip(rows.text, rows.source) if s == "own/docs").encode()
    pieces = [text[i:i + 2048].decode("utf-8", "ignore") for i in range(0, len(text) - 2048, 2048)]
    took = []
    for n in (1, 400):
        start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        train.ask(a.program, "scores", pieces * n)
        took.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - start)
    each = (took[1] - took[0]) / (399 * len(pieces))
    print(f"\n## Cost\n\n{1e6 * each:.1f} us of CPU time for a prompt of 2 KiB, {train.BUCKETS // 1024} KiB of weights, no memory "
          "allocated.")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--program", required=True)
    p.add_argument("--data", required=True)
    p.add_argument("--kept", type=Path, help="raw scores of train_linear.py --keep from the same data; else made now")
    a = p.parse_args()
    rows = train.load(a.data)
    if a.kept:
        best = np.load(a.kept)
    else:
        best = train.learn(train.Units(a.program, rows.text), rows)[1]
    flags, at_500, thresholds = unseen(rows, best)
    label, source = np.array(rows.label), np.array(rows.source)
    own = np.char.startswith(source, "own/")

    print(f"# The linear model alone on sources that it has not seen\n\n`{__doc__.splitlines()[2].strip()}`\n")
    print(f"{len(label)} texts of {len(set(source))} sources, {label.sum()} of them attacks. Sources are left out in "
          f"{train.FOLDS} groups, those of one author together. Thresholds: {', '.join(map(str, thresholds))}.")
    print("\n| | at 1 % | at 500 |\n|---|---:|---:|")
    for name, which, l in (("mean recall, development data", ~own, 1), ("mean recall, our own sets", own, 1),
                           ("mean false alarms, development data", ~own, 0), ("mean false alarms, our own sets", own, 0)):
        sets = [which & (source == s) & (label == l) for s in sorted(set(source))]
        sets = [m for m in sets if m.any()]
        print(f"| {name} | " + " | ".join(f"{100 * np.mean([f[m].mean() for m in sets]):.1f}" for f in (flags, at_500)) + " |")
    print("\n## Recall by source")
    by("attacks of", source, label == 1, flags, at_500)
    print("\n## False alarms by source")
    by("harmless texts of", source, label == 0, flags, at_500)
    print("\n## Recall by class (our own sets)")
    by("class", rows.group, own & (label == 1), flags, at_500)
    print("\n## Recall by class (development data)")
    by("class", rows.group, ~own & (label == 1), flags, at_500)
    print("\n## Recall by language (our own sets)")
    by("language", rows.lang, own & (label == 1), flags, at_500)
    disguises(a, a.data)
    speed(a, rows)


if __name__ == "__main__":
    main()
