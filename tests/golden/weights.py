#!/usr/bin/env python3
"""The shipped weights of the linear model are what tools/train_linear.py makes of data/guard and the development data.
usage: weights.py [GUARD_FEATURES]. Without the program: the digests that the weights name are those of script and data as they are
here. With it: learns anew (a minute and more) and compares bytes; needs numpy and the development data, else it is skipped (77)."""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import train_linear as train            # noqa: E402

WEIGHTS, GOLDEN = ROOT / "src/filter/linear_weights.c", ROOT / "tests/golden/linear/scores.jsonl"


def main():
    named = re.search(r"Digests: ours (\w+), development data (\w+)\.", WEIGHTS.read_text(encoding="ascii")).groups()
    data = train.development_data()
    found = train.digests(data) if data else (train.digests(ROOT / "nothing")[0], named[1])
    if named != found:
        raise SystemExit(f"weights: learned from {named}, here is {found}: run tools/train_linear.py")
    if len(sys.argv) < 2:
        return
    if not data or not train.np:
        print("no numpy, or no development data: skipped")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        out, golden = Path(folder) / "weights.c", Path(folder) / "golden.jsonl"
        subprocess.run([sys.executable, "-B", str(ROOT / "tools/train_linear.py"), "--program", sys.argv[1], "--out", str(out),
                        "--golden", str(golden)], check=True)
        for made, shipped in ((out, WEIGHTS), (golden, GOLDEN)):
            if made.read_bytes() != shipped.read_bytes():
                raise SystemExit(f"weights: {shipped.relative_to(ROOT)} is not what the script makes")


if __name__ == "__main__":
    main()
