#!/usr/bin/env python3
"""JSON-Schema-Test-Suite (draft 2020-12) through the daemon: no invalid instance is accepted, every valid one with its keys in the
schema's order is, and most schemas compile.

usage: schema_suite.py BIN. The suite lies in the source package of jsonschema 4.26.0, which is fetched through pip into the cache
(~/.cache/veritas-tests). Exit status 77: it could not be fetched. Left out: instances that are valid only because `format` is a
remark there; such schemas have no type and are refused.
"""
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from urllib.parse import unquote

import client as c
import processes

BIN = os.path.abspath(sys.argv[1])
VERSION, SHA256 = "4.26.0", "0c26707e2efad8aa1bfc5b7ce170f3fccc2e4918ff85989ba9ffa9facb2be326"
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "veritas-tests")
LEAST = 0.6


def fetch():
    path = f"{CACHE}/jsonschema-{VERSION}.tar.gz"
    os.makedirs(CACHE, exist_ok=True)
    if not os.path.exists(path):
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", CACHE,
                        f"jsonschema=={VERSION}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if not os.path.exists(path):
        print("the suite could not be fetched")
        sys.exit(77)
    with open(path, "rb") as f:
        if hashlib.sha256(f.read()).hexdigest() != SHA256:
            sys.exit(f"{path} is not the file that this test was written for")
    return tarfile.open(path)


def resolve(root, ref):
    at = root
    for step in ref.split("#", 1)[-1].split("/")[1:]:
        step = unquote(step).replace("~1", "/").replace("~0", "~")
        try:
            at = at[int(step)] if isinstance(at, list) else at[step]
        except (KeyError, IndexError, ValueError, TypeError):
            return {}
    return at


def same(a, b):
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def opened(schemas, root):
    """The schemas, and those that $ref and the like add to them."""
    found = []

    def visit(s):
        if not isinstance(s, dict) or any(s is o for o in found):
            return
        found.append(s)
        if isinstance(s.get("$ref"), str) and s["$ref"].startswith("#"):
            visit(resolve(root, s["$ref"]))
        for keyword in ("allOf", "anyOf", "oneOf"):
            for one in s.get(keyword, []):
                visit(one)
    for s in schemas:
        visit(s)
    return found


def ordered(v, schemas, root, depth=0):
    """The value with its keys in the schema's order."""
    schemas = opened(schemas, root)
    for s in schemas:
        for one in ([s["const"]] if "const" in s else []) + list(s.get("enum") or []):
            if same(one, v):
                return one
    if depth > 30:
        return v
    if isinstance(v, list):
        return [ordered(x, [(s.get("prefixItems") or [])[i] if i < len(s.get("prefixItems") or []) else s.get("items", {})
                            for s in schemas], root, depth + 1) for i, x in enumerate(v)]
    if not isinstance(v, dict):
        return v
    names = dict.fromkeys(n for s in schemas for n in (s.get("properties") or {}) if n in v)
    names.update(dict.fromkeys(v))
    made = {}
    for n in names:
        below = []
        for s in schemas:
            own = [(s.get("properties") or {})[n]] if n in (s.get("properties") or {}) else []
            own += [x for p, x in (s.get("patternProperties") or {}).items() if "\\p" not in p and re.search(p, n)]
            below += own or [s.get("additionalProperties", {})]
        made[n] = ordered(v[n], below, root, depth + 1)
    return made


def main():
    suite = fetch()
    model = tempfile.mkdtemp(prefix="vss") + "/one.gguf"
    subprocess.run([BIN + "/mkmodel", "--arch", "llama", "--layers", "1", "--embd", "64", "--heads", "4", "--kv-heads", "2",
                    "--vocab", "600", "--ctx", "64", "--seed", "1", "-o", model], check=True, stdout=subprocess.DEVNULL)
    serve, ours = processes.private_daemon(BIN + "/veritas", 120, stderr=subprocess.DEVNULL)
    client = c.Client(sock=ours)
    client.load_path(model, settings={"threads": 1})

    def accepts(schema, text):
        client.request(c.CONSTRAIN, {"model": model, "constraint": {"json_schema": schema}, "text": text})
        while True:
            e = client.event()
            if e.kind == c.COMPLETE:
                return e.value["accepted"]

    groups = compiled = 0
    faults = []
    for name in sorted(suite.getnames()):
        if not re.fullmatch(r"jsonschema-[^/]*/json/tests/draft2020-12/[^/]*\.json", name):
            continue
        for group in json.load(suite.extractfile(name)):
            groups += 1
            try:
                got = [accepts(group["schema"], json.dumps(ordered(t["data"], [group["schema"]], group["schema"]),
                                                           ensure_ascii=False)) for t in group["tests"]]
            except c.Failure as e:
                if e.name not in ("INVALID", "UNSUPPORTED", "LIMIT"):
                    faults.append(f"{name}: {group['description']}: {e.name} {e}")
                continue
            compiled += 1
            faults += [f"{name}: {group['description']}: {t['description']}: {'refused' if t['valid'] else 'accepted'}"
                       for t, ok in zip(group["tests"], got) if ok != t["valid"]]
    client.close()
    serve.wait(20)
    print("\n".join(faults))
    print(f"{compiled} of {groups} schemas compile; {len(faults)} faults")
    sys.exit(1 if faults or not groups or compiled < LEAST * groups else 0)


main()
