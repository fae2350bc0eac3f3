#!/usr/bin/env python3
"""What log and receipts cost together: a request of a daemon without them, of one with a log, and of that one with a receipt.

    bench/evidence.py [--bin DIR] [--old DIR] [--seconds 50] [--starts 1] [--level 1] [--threads N] request [--model NAME]
    bench/evidence.py [the same options] tokens [--model NAME] [--tokens 32]

request  one token, one request after the other; time by the clock as a client sees it, and of the processors, process by process.
         Without --model it is the smallest there can be, so that next to nothing of the request is computing.
tokens   answers of --tokens tokens: milliseconds a token by the worker's own count, and processor time of the worker a token

--old: programs of another build, as two more ways. The ways take turns within each round, in an order drawn by chance, so all
meet the same machine. What a receipt costs is taken between requests of one daemon on one connection: two daemons differ by what
memory they got, by more than 1 %. What the log costs needs two; --starts: all daemons are started so often, in an order drawn by
chance, each for its share of the seconds, so that this difference is met so often, too.
request prints the median over rounds of what a way adds, and its interval of 95 %. tokens prints the geometric mean of how many
times as much it takes, of a receipt over rounds, of the log over starts (with one start there is no interval), with that of 95 %.

Only the standard library.
"""
import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
import client as c              # noqa: E402
from processes import below     # noqa: E402

STUDENT = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}    # 95 %, by degrees of freedom
LOG = {"audit": {"dir": "log"}, "signing": {"key": "file:key.pem"}}


def cpu(pid):
    """Microseconds on a processor, of all threads that are there."""
    ns = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                ns += int(f.read().split()[0])
        except OSError:
            pass
    return ns / 1e3


class Daemon:
    def __init__(self, folder, name, programs, policy, model, *options):
        home = f"{folder}/{name}"
        os.mkdir(home)
        with open(home + "/policy.json", "w") as f:
            json.dump(policy, f)
        env = dict(os.environ, VERITAS_SOCKET=home + "/s", XDG_STATE_HOME=home)
        if model is None:
            env["VERITAS_MODELS"] = folder
        self.model = model or "one"
        self.process = subprocess.Popen([programs + "/veritas", "serve", "--policy", home + "/policy.json", *options], env=env,
                                        stderr=subprocess.DEVNULL)
        while True:
            try:
                self.client = c.Client(home + "/s")
                break
            except OSError:
                time.sleep(0.01)
        self.ask(1, 0)
        self.pids = {what.removeprefix("veritas-"): pid for pid, what in below(self.process.pid).items()}

    def ask(self, tokens, level):
        """Sends a request, and reads to its end: seconds, and the payload of the last frame."""
        x = self.client
        head = {"model": self.model, **({"receipt": level} if level else {})}
        body = {"prompt": "Tell me about the sea." if self.model != "one" else "a", "raw": True, "ignore_eos": True,
                "max_tokens": tokens, "speculation": "off", "sampling": {"temperature": 0}}
        x.last_id += 1
        data = c.payload(head, body)
        begin = time.perf_counter()
        x.send(c.GENERATE, x.last_id, data)
        kind = None
        while kind not in (c.COMPLETE, c.REJECTED, c.ERROR):
            kind, _, _, data = x.frame()
        seconds = time.perf_counter() - begin
        if kind != c.COMPLETE:
            sys.exit(f"no answer: {data}")
        return seconds, data


def of_request(daemon, level, args):
    before = {what: cpu(pid) for what, pid in daemon.pids.items()}
    seconds, _ = daemon.ask(1, level)
    time.sleep(0.0005)                  # its threads have stopped to spin
    used = {what: cpu(pid) - before[what] for what, pid in daemon.pids.items()}
    return {"us": seconds * 1e6, "processors": sum(used.values()), **used}


def of_tokens(daemon, level, args):
    before = cpu(daemon.pids["worker"])
    _, data = daemon.ask(args.tokens, level)
    used = cpu(daemon.pids["worker"]) - before
    result = json.loads(c.split(data)[1])
    return {"ms a token": 1e3 / result["timings"]["decode_per_second"], "worker, us of processors a token": used / args.tokens}


def interval(values):
    """Of the median, 95 %: which two of the sorted values have it between them, whatever their distribution is."""
    values, n = sorted(values), len(values)
    off = 0.98 * n ** 0.5
    return values[max(0, int(n / 2 - off))], values[min(n - 1, int(n / 2 + off))]


def compare(rounds, way, base):
    """What it adds, in its unit and of the base in percent, each with its interval."""
    low, high = interval([r[way] - r[base] for r in rounds])
    text = f"{statistics.median(r[way] - r[base] for r in rounds):+.1f} ({low:+.1f} to {high:+.1f})"
    share = [100 * (r[way] / r[base] - 1) for r in rounds if r[base] > 0]
    if len(share) == len(rounds):
        text += f", {statistics.median(share):+.2f} % ({interval(share)[0]:+.2f} to {interval(share)[1]:+.2f})"
    return text


def show(rounds, ways):
    print(f"{len(rounds)} rounds; load {os.getloadavg()[0]:.1f}")
    for name in rounds[0]["log"]:
        values = [{way: found.get(name, 0) for way, found in r.items()} for r in rounds]
        print(f"{name}: {statistics.median(v['without'] for v in values):.1f} without")
        for way in ways[1:]:
            print(f"    {way}: {compare(values, way, 'without')}")
            if way.endswith("receipt"):
                print(f"    {way}, over the same daemon's log: {compare(values, way, way.removesuffix(' and receipt'))}")


def times(ratios):
    """Of ratios: their geometric mean as percent more, and its interval."""
    logs = [math.log(r) for r in ratios]
    mean, n = statistics.fmean(logs), len(logs)
    text = f"{100 * math.expm1(mean):+.2f} %"
    if n > 1:
        half = STUDENT.get(n - 1, 1.96 + 2.5 / (n - 1)) * statistics.stdev(logs) / n ** 0.5
        text += f" ({100 * math.expm1(mean - half):+.2f} to {100 * math.expm1(mean + half):+.2f})"
    return text


def show_tokens(starts, ways):
    print(f"{sum(map(len, starts))} rounds in {len(starts)} starts; load {os.getloadavg()[0]:.1f}")
    for name in starts[0][0]["log"]:
        print(f"{name}: {statistics.median(r['without'][name] for rounds in starts for r in rounds):.2f} without")
        for way in ways[1:]:
            base = way.removesuffix(" and receipt")
            if base != way:
                ratios = [r[way][name] / r[base][name] for rounds in starts for r in rounds]
                print(f"    {way}, over the same daemon's log: {times(ratios)}")
            else:
                means = [statistics.geometric_mean([r[way][name] / r["without"][name] for r in rounds]) for rounds in starts]
                print(f"    {way}: {times(means)}")


def start(folder, number, args, model):
    """Each way by its name: a daemon, and the level of receipts that it is asked for."""
    builds = [("", args.bin)] + ([("old: ", args.old)] if args.old else [])
    wanted = [("without", args.bin, {})] + [(label + "log", programs, LOG) for label, programs in builds]
    options = ["--threads", args.threads] if args.threads else []
    daemons = {way: Daemon(folder, f"{number}{way.replace(': ', '')}", programs, policy, model, *options)
               for way, programs, policy in random.sample(wanted, len(wanted))}
    ways = {}
    for way, _, policy in wanted:
        ways[way] = daemons[way], 0
        if policy:
            ways[way + " and receipt"] = daemons[way], args.level
    return ways


def main():
    p = argparse.ArgumentParser()
    p.add_argument("what", choices=("request", "tokens"))
    p.add_argument("--bin", default=ROOT + "/build/release/bin")
    p.add_argument("--old")
    p.add_argument("--seconds", type=float, default=50)
    p.add_argument("--starts", type=int, default=1)
    p.add_argument("--model")
    p.add_argument("--tokens", type=int, default=32)
    p.add_argument("--threads", help="of the workers; with more than one they spin, and how long depends on who else is there")
    p.add_argument("--level", type=int, default=1, help="of the receipts")
    args = p.parse_args()
    model = args.model or (None if args.what == "request" else "smollm2-135m-instruct")
    measure = of_request if args.what == "request" else of_tokens
    starts, ways = [], {}
    with tempfile.TemporaryDirectory(prefix="vev") as folder:
        subprocess.run([args.bin + "/mkmodel", "--ctx", "8192", "-o", folder + "/one.gguf"], check=True, stdout=subprocess.DEVNULL)
        for number in range(args.starts):
            try:
                ways = start(folder, number, args, model)
                mine, end = [], time.monotonic() + args.seconds / args.starts
                while time.monotonic() < end or len(mine) < 3:
                    found = {}
                    for way in random.sample(list(ways), len(ways)):
                        found[way] = measure(*ways[way], args)
                    mine.append(found)
                starts.append(mine[len(mine) // 20 + 1:])       # the first ones warm up
            finally:
                daemons = {daemon for daemon, _ in ways.values()}
                for d in daemons:
                    d.process.terminate()
                for d in daemons:
                    d.process.wait()
    if args.what == "tokens":
        show_tokens(starts, list(ways))
    else:
        show([r for rounds in starts for r in rounds], list(ways))


if __name__ == "__main__":
    main()
