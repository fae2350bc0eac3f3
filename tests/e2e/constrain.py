#!/usr/bin/env python3
"""Answers that keep a form, through daemon and worker: schemas, regular expressions, choices, grammars; with few tokens, several
choices, speculation; what is refused; `veritas run --schema` and `veritas constrain`.

usage: constrain.py BIN [--full]. The model's numbers are random, so that answers are as wild as they can be. --full: 1,000 schemas.
"""
import datetime
import ipaddress
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import unittest
import uuid

import client as c
import processes

BIN = os.path.abspath(sys.argv.pop(1))
FULL = "--full" in sys.argv and not sys.argv.remove("--full")
DIR = tempfile.TemporaryDirectory(prefix="vsc")
MODEL = DIR.name + "/one.gguf"
subprocess.run([BIN + "/mkmodel", "--arch", "llama", "--layers", "2", "--embd", "64", "--heads", "4", "--kv-heads", "2", "--vocab",
                "600", "--ctx", "1024", "--seed", "11", "-o", MODEL], check=True, stdout=subprocess.DEVNULL)
TYPES = {"null": type(None), "boolean": bool, "string": str, "array": list, "object": dict}


def is_number(v):
    return isinstance(v, (int, float)) and not isinstance(v, bool)


def valid(v, s, root):
    """A judge of its own, for the keywords that `schema` makes."""
    if isinstance(s, bool):
        return s
    if "$ref" in s:
        return valid(v, root["$defs"][s["$ref"].split("/")[-1]], root)
    kind = s.get("type")
    if kind == "integer" and not (isinstance(v, int) and not isinstance(v, bool)):
        return False
    if kind == "number" and not is_number(v):
        return False
    if kind in TYPES and not isinstance(v, TYPES[kind]):
        return False
    if "enum" in s and not any(v == e and type(v) is type(e) for e in s["enum"]):
        return False
    if "const" in s and v != s["const"]:
        return False
    if "anyOf" in s and not any(valid(v, one, root) for one in s["anyOf"]):
        return False
    if "oneOf" in s and sum(valid(v, one, root) for one in s["oneOf"]) != 1:
        return False
    if is_number(v) and not (s.get("minimum", v) <= v <= s.get("maximum", v) and v % s.get("multipleOf", v or 1) == 0):
        return False
    if isinstance(v, str):
        if not s.get("minLength", 0) <= len(v) <= s.get("maxLength", len(v)) or not re.search(s.get("pattern", ""), v):
            return False
    if isinstance(v, list):
        first = s.get("prefixItems", [])
        if not s.get("minItems", 0) <= len(v) <= s.get("maxItems", len(v)):
            return False
        return all(valid(x, first[i] if i < len(first) else s.get("items", True), root) for i, x in enumerate(v))
    if isinstance(v, dict):
        properties = s.get("properties", {})
        if any(n not in v for n in s.get("required", [])):
            return False
        return all(valid(x, properties.get(n, s.get("additionalProperties", True)), root) for n, x in v.items())
    return True


def schema(r, depth=0):
    """A random schema that something satisfies."""
    kind = r.choice(["string", "integer", "number", "boolean", "null", "enum", "const"]
                    + ["object", "object", "array", "anyOf", "oneOf"] * (depth < 3))
    if kind == "string":
        low = r.randrange(4)
        return r.choice([{"type": "string"}, {"type": "string", "minLength": low, "maxLength": low + r.randrange(20)},
                         {"type": "string", "pattern": r.choice(["^[a-z]{2,5}$", "^\\d{3}-\\d{2}$", "x", "^(a|bc)*$", "[^ ]$"])},
                         {"type": "string", "pattern": "^[A-Z]", "minLength": 2, "maxLength": 9}])
    if kind in ("integer", "number"):
        low = r.randrange(-1000, 1000)
        s = {"type": kind}
        if r.random() < 0.7:
            s.update(minimum=low, maximum=low + r.randrange(1, 500))
        if kind == "integer" and r.random() < 0.3:
            s = {"type": kind, "multipleOf": r.choice([2, 5, 7, 60]), "minimum": low, "maximum": low + 200}
        return s
    if kind == "enum":
        return {"enum": r.sample(["red", "green", 1, 2.5, None, True, "a \"b\"", "\u00e9t\u00e9", -7], 3)}
    if kind == "const":
        return {"const": r.choice(["x", 3, None, "\n"])}
    if kind == "array":
        s = {"type": "array", "items": schema(r, depth + 1)}
        if r.random() < 0.6:
            s["minItems"] = r.randrange(3)
            s["maxItems"] = s["minItems"] + r.randrange(1, 4)
        if r.random() < 0.2:
            s["prefixItems"] = [schema(r, depth + 1), schema(r, depth + 1)]
        return s
    if kind == "anyOf":
        return {"anyOf": [schema(r, depth + 1), schema(r, depth + 1)]}
    if kind == "oneOf":
        return {"oneOf": [{"type": "object", "properties": {"k": {"const": k}, "v": schema(r, depth + 2)}, "required": ["k", "v"]}
                          for k in ("one", "two")]}
    if kind == "object":
        names = r.sample(["id", "name", "a", "ab", "abc", "long name", "q\"", "\u4f60\u597d"], r.randrange(1, 5))
        return {"type": "object", "properties": {n: schema(r, depth + 1) for n in names},
                "required": [n for n in names if r.random() < 0.6],
                "additionalProperties": r.choice([False, False, {"type": "integer"}])}
    return {"type": kind}


class Constrain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.serve, ours = processes.private_daemon(BIN + "/veritas", 120, stderr=subprocess.DEVNULL)
        cls.client = c.Client(sock=ours)
        cls.client.load_path(MODEL, settings={"threads": 1})

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.serve.wait(20)

    def ask(self, constraint, **more):
        """(text, number of tokens, result) of an answer."""
        n = self.client.request(c.GENERATE, {"model": MODEL, "raw": True, "prompt": "the sky is", "constraint": constraint,
                                             "sampling": {"temperature": 1.5, "top_k": 0, "top_p": 1, "min_p": 0,
                                                          "seed": more.pop("seed", 0)}, **more})
        return self.collect(n)

    def collect(self, n):
        text, tokens = {}, {}
        while True:
            e = self.client.event()
            if e.kind == c.TOKEN:
                i = e.index or 0
                text[i] = text.get(i, "") + e.text
                tokens[i] = tokens.get(i, 0) + 1
            elif e.kind == c.COMPLETE:
                return (text, tokens, e.value) if len(text) > 1 else (text.get(0, ""), tokens.get(0, 0), e.value)

    def refused(self, constraint, **more):
        with self.assertRaises(c.Failure) as e:
            self.ask(constraint, **more)
        self.assertEqual(e.exception.kind, c.ERROR if e.exception.name == "LIMIT" else c.REJECTED)
        return e.exception.name, str(e.exception)

    def shortest(self, constraint):
        return self.collect(self.client.request(c.CONSTRAIN, {"model": MODEL, "constraint": constraint}))[2]["shortest"]

    def test_schemas(self):
        """Random schemas; a third of the answers has few tokens, a third the fewest there are."""
        r = random.Random(7)
        for i in range(1000 if FULL else 60):
            s = schema(r)
            least = self.shortest({"json_schema": s})
            most = [least, least + r.randrange(1, 12), 300 + least][i % 3]
            text, n, result = self.ask({"json_schema": s}, seed=i, max_tokens=most)
            try:
                value = json.loads(text)
            except ValueError:
                self.fail(f"no JSON: {text!r} for {s} with {most} tokens")
            self.assertTrue(valid(value, s, s), (text, s, most))
            self.assertEqual(result["finish_reason"], "stop")
            self.assertLessEqual(n, most)

    def test_recursion(self):
        s = {"$defs": {"n": {"type": "object", "properties": {"v": {"type": "integer", "minimum": 0, "maximum": 9}, "c": {
            "type": "array", "items": {"$ref": "#/$defs/n"}}}, "required": ["v", "c"], "additionalProperties": False}},
            "$ref": "#/$defs/n"}
        for seed in range(6):
            text, _, _ = self.ask({"json_schema": s}, seed=seed, max_tokens=60)
            self.assertTrue(valid(json.loads(text), s, s), text)

    def test_forms(self):
        for seed in range(6):
            text, _, _ = self.ask({"regex": "(ab|c){2,9}-[0-9]+"}, seed=seed, max_tokens=30)
            self.assertRegex(text, r"\A(ab|c){2,9}-[0-9]+\Z")
            text, _, _ = self.ask({"choice": ["yes", "no", "perhaps not"]}, seed=seed)
            self.assertIn(text, ("yes", "no", "perhaps not"))
            text, _, _ = self.ask({"grammar": 'root ::= "(" root* ")"'}, seed=seed, max_tokens=20)
            self.assertEqual(text.count("("), text.count(")"))
            self.assertIsInstance(json.loads(self.ask({"json_object": True}, seed=seed, max_tokens=40)[0]), dict)

    def test_the_same(self):
        """Choices are the answers to seed + i; speculation and company change nothing; logits are hashed as they are."""
        s = {"json_schema": {"type": "object", "required": ["a", "b"], "properties": {
            "a": {"type": "string"}, "b": {"type": "array", "items": {"type": "integer"}}}}}
        ones = [self.ask(s, seed=5 + i, max_tokens=60, logits_hash=True) for i in range(3)]
        texts, _, result = self.ask(s, seed=5, max_tokens=60, n=3, logits_hash=True)
        self.assertEqual([texts[i] for i in range(3)], [one[0] for one in ones])
        self.assertEqual([o["logits_hash"] for o in result["choices"]], [one[2]["logits_hash"] for one in ones])
        self.assertEqual({o["finish_reason"] for o in result["choices"]}, {"stop"})
        off = self.ask(s, seed=5, max_tokens=60, logits_hash=True, speculation="off")
        self.assertEqual((off[0], off[2]["logits_hash"]), (ones[0][0], ones[0][2]["logits_hash"]))
        free = self.collect(self.client.request(c.GENERATE, {"model": MODEL, "raw": True, "prompt": "the sky", "max_tokens": 5,
                                                             "logits_hash": True}))
        self.assertTrue(free[2]["logits_hash"])

    def test_refused(self):
        for constraint, more, name, words in (
                ({"json_schema": {"type": "array", "uniqueItems": True}}, {}, "UNSUPPORTED", "uniqueItems at #"),
                ({"json_schema": {"properties": {"a": {"minimum": "x"}}}}, {}, "INVALID", "minimum at #/properties/a"),
                ({"json_schema": {"$ref": "#"}}, {}, "INVALID", "$ref at #"),
                ({"json_schema": {"enum": [f"v{i}" for i in range(100000)]}}, {}, "LIMIT", "too large"),
                ({"json_schema": {"type": "string", "pattern": "(a|b)*a(a|b){30}"}}, {}, "LIMIT", "pattern at #"),
                ({"grammar": 'root ::= root "a" | "b"'}, {}, "UNSUPPORTED", "left-recursive"),
                ({"regex": "(.{0,50}a.{0,50}){20}"}, {}, "LIMIT", "too ambiguous"),
                ({"regex": "("}, {}, "INVALID", "( without"), ({}, {}, "INVALID", "exactly one of"),
                ({"regex": "a", "choice": ["b"]}, {}, "INVALID", "exactly one of"),
                ({"choice": ["abcdefgh"]}, {"max_tokens": 1}, "INVALID", "max_tokens"),
                ({"regex": "[ab]{2000}"}, {}, "CONTEXT", "leaves room"),
                ({"regex": "a"}, {"stop": ["a"]}, "INVALID", "stop can't stand beside"),
                ({"regex": "a"}, {"stop_tokens": [5]}, "INVALID", "stop_tokens can't"),
                ({"regex": "a"}, {"ignore_eos": True}, "INVALID", "ignore_eos can't")):
            got, text = self.refused(constraint, **more)
            self.assertEqual((got, words in text), (name, True), text)
        self.assertEqual(self.ask({"regex": "ab"})[0], "ab")

    def test_formats(self):
        """What is written of a format can be read by Python; more is accepted."""
        def duration(text):
            self.assertTrue(re.fullmatch("P[0-9YMWDTHS]+", text) and max(map(len, re.findall("[0-9]+", text))) < 7, text)

        def email(text):
            self.assertTrue(len(text.split("@")[0]) <= 64 and re.search(r"@.+\.[A-Za-z][A-Za-z0-9-]*[A-Za-z]$", text), text)
        readers = {"date": datetime.date.fromisoformat, "duration": duration, "email": email, "uuid": uuid.UUID,
                   "date-time": lambda t: datetime.datetime.fromisoformat(re.sub(r"\.\d+", "", t).replace("Z", "+00:00")),
                   "time": lambda t: datetime.time.fromisoformat(re.sub(r"\.\d+", "", t).replace("Z", "+00:00")),
                   "ipv4": ipaddress.IPv4Address, "ipv6": ipaddress.IPv6Address}
        for name, read in readers.items():
            for seed in range(16):
                text, _, result = self.ask({"json_schema": {"type": "string", "format": name}}, seed=seed, max_tokens=100 + seed)
                self.assertEqual(result["finish_reason"], "stop")
                read(json.loads(text))
        for name, text in (("date", "0000-01-01"), ("duration", "P1234567D"), ("email", 65 * "a" + "@b.c1"), ("time", "10:00:00z")):
            answer = self.client.wait(self.client.request(c.CONSTRAIN, {"model": MODEL, "text": json.dumps(text), "constraint": {
                "json_schema": {"type": "string", "format": name}}}))
            self.assertTrue(answer["accepted"], (name, answer))

    def test_command_line(self):
        def run(*args, text=""):
            out = subprocess.run([BIN + "/veritas", *args], input=text, capture_output=True, encoding="utf-8",
                                 errors="surrogateescape", timeout=60)
            return out.returncode, out.stdout, out.stderr
        path = DIR.name + "/schema.json"
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"type": "object", "properties": {"b": {"type": "integer"}, "a": {"type": "string"}}, "required": ["b", "a"],
                       "additionalProperties": False}, f)
        status, out, err = run("run", "-q", "--raw", "-m", MODEL, "--schema", path, "--temp", "1.5", "-n", "40", "x")
        self.assertEqual((status, list(json.loads(out))), (0, ["b", "a"]), err)
        self.assertEqual(run("run", "-q", "--raw", "-m", MODEL, "--choice", "one", "--choice", "one", "x")[1], "one\n")
        accepts = ("constrain", "-q", "-m", MODEL, "--schema", path, "--accepts", "-")
        self.assertEqual(run(*accepts, text='{"b": 1, "a": "x"}\n')[0], 0)
        self.assertEqual(run(*accepts, text='{"a": "x", "b": 1}')[0], 1)
        self.assertEqual(run(*accepts, text='{"b": 1, "a": "x"')[0], 1)
        self.assertEqual(run(*accepts, text='{"b": 1, "a": "\udcff"}')[0], 1)       # a byte that is no UTF-8
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"type": "object", "properties": {"ë": {"const": "a/ë"}, "p": {"type": "string", "pattern": "^\\p{L}+$"}},
                       "additionalProperties": False}, f)
        for text, status in (('{"ë": "a/ë", "p": "ëß"}', 0), ('{"\\u00eb": "\\u0061\\/\\u00EB", "p": "\\u00eb\\ud835\\udd38"}', 0),
                             ('{"p": "\\u0031"}', 1), ('{"p": "\\ud835"}', 1), ('{"\\u00ec": 1}', 1)):
            with self.subTest(text):
                self.assertEqual(run(*accepts, text=text)[0], status)
        self.assertIn("byte 14 ", run(*accepts, text='{"p": "\\u00eb1"}')[2])
        number, small = {"type": "number"}, {"type": "number", "minimum": 0, "maximum": 2}
        for schema, good, bad in (
                (small, "1e-05 0.15E1 20e-1 1.50 0e5", "-1e-05 21e-1 1e1 01e0 1.e0 1e"),
                (number, "1e+100 5e-324 -1.7976931348623157e+308 1.50 100e-2", "+1 1e 01e5 .5e1"),
                ({"enum": [0.00001, 1.5, 1e100, 7]}, "1e-05 0.00001 1.50 1e100 10E+99 7.0 70e-1", "1e-5.0 2e-05 1e99 1.51 7e1"),
                ({"const": 1e-7}, "1e-07 0.0000001 1e-7", "1e-06"),
                ({"type": "number", "minimum": 0, "enum": [0.00001, 2]}, "1e-05 2.0", "1e-06"),
                ({"type": "integer", "maximum": 120}, "1e2 12E+1 1.0 -0.0 1.5e1", "121e0 1e3 1e-1 1.5"),
                ({"type": "array", "items": {"const": 100}}, "[1e2,100.0]", "[1e2,1e3] [1e2")):
            with open(path, "w", encoding="utf-8") as f:
                json.dump(schema, f)
            for status, texts in ((0, good), (1, bad)):
                for text in texts.split():
                    with self.subTest((schema, text)):
                        self.assertEqual(run(*accepts, text=text)[0], status)
        self.assertIn("shortest answer", run("constrain", "-q", "-m", MODEL, "--schema", path)[1])
        with open(path, "w", encoding="utf-8") as f:
            f.write('{"type": "object", "not": {"propertyNames": {"pattern": "a"}}}')
        status, _, err = run(*accepts, text="{}")
        self.assertEqual((status, "not at #" in err), (3, True), err)
        self.assertEqual(run("constrain", "-q", "-m", MODEL, "--regex", "a", "--choice", "b")[0], 2)
        self.assertEqual(run("constrain", "-q", "-m", MODEL)[0], 2)


if __name__ == "__main__":
    unittest.main()
