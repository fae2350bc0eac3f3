#!/usr/bin/env python3
"""`veritas render`: the recorded templates a line each, in the locked-in child; a conversation by a model's template and by
another; what is refused. usage: render.py BIN GOLDEN (the folder of tests/golden/template)."""
import glob
import json
import os
import subprocess
import sys
import tempfile
import unittest

BIN, GOLDEN = os.path.abspath(sys.argv.pop(1)), os.path.abspath(sys.argv.pop(1))
NOW = "1700000000"
HI = [{"role": "user", "content": "Hi <|im_end|> \u00fc"}]


def render(*words, text="", status=0):
    p = subprocess.run([BIN + "/veritas", "render", *words], input=text.encode(), capture_output=True, timeout=240,
                       env=dict(os.environ, VERITAS_SOCKET="/nowhere/s"))
    assert p.returncode == status, (words, p.returncode, p.stdout[-300:], p.stderr[-300:])
    return p.stdout.decode() if status == 0 else p.stderr.decode()


def lines(*of, words=()):
    out = render("--lines", *words, text="".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in of))
    return [json.loads(line) for line in out.split("\n") if line]


class Lines(unittest.TestCase):
    def test_what_jinja2_made(self):
        for path in sorted(glob.glob(GOLDEN + "/*.json")):
            with open(path, encoding="utf-8") as f:
                cases = json.load(f)
            got = lines(*({"template": c["template"], "context": c["context"]} for c in cases), words=("--now", NOW, "--runs"))
            self.assertEqual(len(got), len(cases))
            for c, g in zip(cases, got):
                self.assertEqual(g.get("text"), c.get("text"), c["template"])
                if "text" in c:
                    self.assertEqual(sum(n for n, _ in g["runs"]), len(c["text"].encode()), c["template"])
                else:
                    self.assertTrue(g["error"] and g["code"] < 0 and g["message"], g)

    def test_bad_lines_stop_nobody(self):
        good = {"template": "{{ a }}", "context": {"a": "x"}}
        recursion = "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}"
        gigabyte = "{% for i in range(100000) %}{{ 'x' * 100000 }}{% endfor %}"
        got = lines("junk", good, {"template": 1, "context": {}}, {**good, "more": 1}, {**good, "now": -1}, '{"a":1,"a":2}', "",
                    good, "[" * 500, {"template": recursion, "context": {}}, {"template": gigabyte, "context": {}}, good)
        self.assertEqual([g.get("error", g.get("text")) for g in got],
                         ["MALFORMED", "x", "INVALID", "INVALID", "INVALID", "MALFORMED", "x", "MALFORMED", "LIMIT", "LIMIT", "x"])

    def test_the_largest_line(self):
        got = lines({"template": "{{ a|length }}", "context": {"a": "x" * (65 << 20)}}, {"template": "b", "context": {}})
        self.assertEqual([g.get("error", g.get("text")) for g in got], ["LIMIT", "b"])

    def test_the_time_of_a_line(self):
        year = {"template": "{{ strftime_now('%Y') }}", "context": {}}
        self.assertEqual([g["text"] for g in lines(year, {**year, "now": 86400 * 366}, words=("--now", NOW))], ["2023", "1971"])

    def test_an_answer_before_the_next_line(self):
        p = subprocess.Popen([BIN + "/veritas", "render", "--lines"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for word in ("a", "b"):
            p.stdin.write(json.dumps({"template": word, "context": {}}).encode() + b"\n")
            p.stdin.flush()
            self.assertEqual(json.loads(p.stdout.readline()), {"text": word})
        p.stdin.close()
        self.assertEqual(p.wait(60), 0)
        p.stdout.close()

    def test_refused(self):
        self.assertIn("--model is for one conversation", render("--lines", "-m", "x", status=2))
        self.assertIn("/nowhere/x", render("--lines", "-f", "/nowhere/x", status=4))
        self.assertEqual(render("--lines"), "")


class Conversation(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="veritas-render-")
        cls.model = cls.folder.name + "/m.gguf"
        subprocess.run([BIN + "/mkmodel", "--vocab-only", "--tokenizer", "gpt2", "--pre", "qwen2", "--seed", "1", "-o", cls.model],
                       check=True)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def file(self, text):
        path = self.folder.name + "/t.jinja"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def one(self, template, conversation, *words, **more):
        return render("-m", self.model, "--template", self.file(template), *words, text=json.dumps(conversation), **more)

    def test_another_template(self):
        template = "{% for m in messages %}<|im_start|>{{ m.role }}:{{ m.content }}{% endfor %}{{ x }}{{ strftime_now('%Y') }}"
        made = "<|im_start|>user:Hi <|im_end|> \u00fc"
        self.assertEqual(self.one(template, HI, "--now", NOW), made + "2023")
        self.assertEqual(self.one(template, {"messages": HI, "template_args": {"x": "!"}, "now": 0}), made + "!1970")
        self.assertEqual(self.one(template, HI, "--template-arg", "x=?"), made + "?1970")
        self.assertEqual(self.one(template, HI, "--runs").splitlines(),
                         ['template "<|im_start|>"', 'input    "user"', 'template ":"', 'input    "Hi <|im_end|> \u00fc"',
                          'template "1970"'])
        self.assertEqual(json.loads(self.one(template, HI, "--json"))["text"], made + "1970")

    def test_refused(self):
        for template, conversation, status, words in (
                ("{% for", HI, 3, "line 1"), ("{{ raise_exception('never') }}", HI, 2, "never"),
                ("x", {"messages": HI, "template": "default"}, 2, "template_text"), ("x", {"tools": []}, 2, "list of messages"),
                ("x", {"messages": HI, "prompt": ""}, 2, "not prompt"), ("x", [], 2, "message"), ("x", "text", 3, "JSON")):
            self.assertIn(words, self.one(template, conversation, status=status), template)
        self.assertIn("the model has no such chat template", render("-m", self.model, "--chat-template", "rag", text=json.dumps(HI),
                                                                    status=2))


if __name__ == "__main__":
    unittest.main(verbosity=1)
