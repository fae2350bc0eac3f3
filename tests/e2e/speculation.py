#!/usr/bin/env python3
"""Speculation changes no byte: answers with and without guesses are the same, alone, beside others, whatever is asked for.

usage: speculation.py BIN (holds veritas, veritas-broker, veritas-worker and mkmodel).

The models are tiny and random and hardly repeat themselves. Held to a few tokens by a bias they do: then many guesses come true,
many do not."""
import os
import subprocess
import sys
import tempfile
import unittest

import client as c

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../fixtures"))
import malformed as gguf                # noqa: E402
from processes import no_races, private_daemon          # noqa: E402

BIN = os.path.abspath(sys.argv.pop(1))
DIR = tempfile.TemporaryDirectory(prefix="vsspec")
COMPARED = ("finish_reason", "logits_hash", "choices", "prompt_tokens")


def make(name, *options, change=None):
    """A tiny model; change(gguf.Model) edits it."""
    path = f"{DIR.name}/{name}.gguf"
    subprocess.run([BIN + "/mkmodel", "--arch", "llama", "--layers", "2", "--embd", "64", "--heads", "4", "--kv-heads", "2",
                    "--vocab", "600", "--seed", "7", *options, "-o", path], check=True, stdout=subprocess.DEVNULL)
    if change:
        with open(path, "rb") as f:
            data = gguf.edit(f.read(), change)
        with open(path, "wb") as f:
            f.write(data)
    return path


def text_of(i):
    """Prompts that repeat themselves, some more, some less."""
    words = "the sea was calm and the sky was grey over the old town by the sea and the wind".split()
    return " ".join(words[(k * (i + 1) + k * k * (i % 3)) % len(words)] for k in range(20 + 17 * i % 90))


def held_to(n):
    return [[300 + k, 30] for k in range(n)]


class Speculation(unittest.TestCase):
    def setUp(self):
        self.serve, ours = private_daemon(BIN + "/veritas", 200, stderr=subprocess.DEVNULL,
                                          env=dict(os.environ, VERITAS_MODELS=DIR.name))
        self.client = c.Client(sock=ours)

    def tearDown(self):
        self.client.close()
        self.assertEqual(self.serve.wait(20), 0)

    def ask(self, path, speculation, **body):
        return self.client.request(c.GENERATE, {"model": path, "speculation": speculation, "logits_hash": True, **body})

    def collect(self, requests):
        """What came of each: text, tokens, extras and the compared part of the result, by request; and the usages."""
        streams, results, usages = {r: [] for r in requests}, {}, {}
        while len(results) < len(requests):
            event = self.client.event()
            if event.kind == c.TOKEN:
                streams[event.request].append((event.index, event.token, event.text, event.extra))
            elif event.kind == c.COMPLETE:
                results[event.request] = {key: event.value.get(key) for key in COMPARED}
                usages[event.request] = event.value["usage"]
        for stream in streams.values():
            stream.sort(key=lambda token: token[0] or 0)      # of each choice in order
        return [(streams[r], results[r]) for r in requests], [usages[r] for r in requests]

    def both(self, path, bodies, together=False):
        """Each request without speculation and alone, then with it. Returns (drafted, accepted) of all."""
        plain = []
        for body in bodies:
            answers, usages = self.collect([self.ask(path, "off", **body)])
            self.assertEqual(usages[0].get("drafted_tokens", 0), 0)
            plain += answers
        drafted = accepted = 0
        batches = [bodies] if together else [[body] for body in bodies]
        answers = []
        for batch in batches:
            got, usages = self.collect([self.ask(path, "auto", **body) for body in batch])
            answers += got
            drafted += sum(u["drafted_tokens"] for u in usages)
            accepted += sum(u["accepted_tokens"] for u in usages)
        for body, one, other in zip(bodies, plain, answers):
            self.assertEqual(one, other, body)
        self.assertLessEqual(accepted, drafted)
        return drafted, accepted

    def test_alone(self):
        wrong = 0
        for name, options, settings in (("q8", ["--type", "Q8_0"], {}),
                                        ("mixed", ["--type", "mixed", "--arch", "qwen2"], {"kv_type": "q8_0"}),
                                        ("window", ["--type", "Q4_0", "--arch", "gemma3", "--window", "32"], {"kv_type": "f32"})):
            path = make(name, *options)
            self.client.load_path(path, settings=settings)
            bodies = [{"prompt": text_of(i), "max_tokens": 90, "sampling": {"temperature": t, "seed": i, "logit_bias": held_to(n)}}
                      for i, n in enumerate((0, 1, 2, 2, 3, 4, 8)) for t in (0, 0.3, 1)]
            drafted, accepted = self.both(path, bodies)
            self.assertGreater(accepted, 200, name)              # of 1,890 tokens
            wrong += drafted - accepted
        self.assertGreater(wrong, 20)

    def test_beside_others(self):
        path = make("many")
        self.client.load_path(path)
        bodies = [{"prompt": text_of(i), "max_tokens": 40 + i,
                   "sampling": {"temperature": (i % 4) / 4, "seed": i, "logit_bias": held_to(i % 5)}} for i in range(24)]
        drafted, accepted = self.both(path, bodies, together=True)
        self.assertGreater(accepted, 0)

    def test_whatever_is_asked(self):
        path = make("whatever")
        self.client.load_path(path, settings={"ctx": 256})
        greedy = {"temperature": 0}
        bodies = [
            {"prompt": text_of(1), "sampling": {"temperature": 0, "repeat_penalty": 1.3, "repeat_last_n": -1}, "max_tokens": 100},
            {"prompt": text_of(2), "sampling": {"temperature": 0.2, "presence_penalty": 0.5, "frequency_penalty": 0.1},
             "max_tokens": 99},
            {"prompt": text_of(3), "sampling": greedy, "logprobs": 3, "max_tokens": 50},
            {"prompt": text_of(4), "sampling": greedy},                                  # to the end of the context
            {"prompt": text_of(4), "sampling": {"temperature": 0.2, "seed": 3}, "n": 3, "max_tokens": 60},
            {"prompt": text_of(5), "sampling": {"temperature": 0, "logit_bias": [[5, 3.5], [7, "-inf"]]}, "max_tokens": 60},
            *({"prompt": text_of(6), "sampling": greedy, "max_tokens": n} for n in (0, 1, 2, 3, 9)),
        ]
        self.both(path, bodies)
        # A stop string that comes in the middle of what was guessed.
        held = {"temperature": 0.5, "logit_bias": held_to(3)}
        text, tokens, _ = self.client.answer(self.ask(path, "off", prompt=text_of(6), sampling=held, max_tokens=80))
        self.assertGreater(len(text), 60)
        for at in range(10, 60, 10):
            self.both(path, [{"prompt": text_of(6), "sampling": held, "stop": [text[at:at + 3]], "max_tokens": 80},
                             {"prompt": text_of(6), "sampling": held, "stop_tokens": [tokens[at]], "max_tokens": 80}])

    def test_second_turn(self):
        """What was guessed wrong leaves nothing behind: the next request finds the true text."""
        path = make("turns")
        self.client.load_path(path)
        prompt = text_of(8)
        for turn in range(4):
            body = {"prompt": prompt, "max_tokens": 40, "sampling": {"temperature": 0.4, "seed": turn}}
            text, _, first = self.client.answer(self.ask(path, "auto", **body))
            again, _, second = self.client.answer(self.ask(path, "off", **body))
            self.assertEqual((text, first["logits_hash"]), (again, second["logits_hash"]))
            prompt += text
        self.assertGreater(second["usage"]["cached_tokens"], 0)

    def test_few_pages(self):
        """Guesses never push anybody out."""
        path = make("few")
        self.client.load_path(path, settings={"ctx": 256, "kv_memory": 40 * 16384 * 2})
        bodies = [{"prompt": text_of(i), "max_tokens": 60, "sampling": {"temperature": 0}} for i in range(10)]
        self.both(path, bodies, together=True)

    def test_off_for_the_model(self):
        path = make("off")
        self.client.load_path(path, settings={"speculation": "off"})
        body = {"prompt": text_of(1), "max_tokens": 60, "sampling": {"temperature": 0}}
        _, usages = self.collect([self.ask(path, "auto", **body)])
        self.assertEqual(usages[0].get("drafted_tokens", 0), 0)

    def load_with(self, draft, name, *options, **settings):
        path = make(name, *options)
        self.client.load_path(path, settings={"draft": draft, **settings})
        return path

    def test_draft_model(self):
        """Biases give both models the same few likely tokens, in the same order: with the same draws they often agree, and as the
        draws are random little can be looked up."""
        make("draft", "--layers", "1")
        big = ("--layers", "8", "--embd", "256", "--ff", "1024")
        alike = [[300 + k, 60 - 3 * k] for k in range(12)]
        bodies = [{"prompt": text_of(i), "max_tokens": 150, "sampling": {"temperature": 6, "seed": i, "logit_bias": alike}}
                  for i in range(6)]
        path = self.load_with("draft", "with-draft", *big)
        drafted, accepted = self.both(path, bodies)
        self.assertGreaterEqual(drafted, len(bodies))    # each begins with a try
        self.assertGreater(accepted, 0)
        self.both(path, bodies, together=True)

    def test_draft_with_all(self):
        make("small", "--layers", "1")
        path = self.load_with("small", "all", ctx=256, kv_memory=40 * 16384 * 2)
        held = {"temperature": 0.5, "logit_bias": held_to(3), "repeat_penalty": 1.1}
        self.both(path, [{"prompt": text_of(i), "sampling": held, "n": 1 + i % 3, "max_tokens": 50} for i in range(8)], True)
        self.both(path, [{"prompt": text_of(1), "sampling": held}, {"tokens": [599] * 20, "max_tokens": 30}])

    def test_bad_drafts(self):
        make("few-tokens", change=lambda m: m.get("tokenizer.ggml.tokens")[1].pop())
        make("many-tokens", change=lambda m: m.get("tokenizer.ggml.tokens")[1].append(b"more"))
        make("spm", "--tokenizer", "llama")
        make("encoder", "--arch", "t5encoder")
        make("answers", "--arch", "t5")
        itself = make("itself")
        with open(f"{DIR.name}/broken.gguf", "wb") as f:
            f.write(b"GGUF nothing")
        with open(itself, "rb") as f:
            data = f.read()
        for name, end in (("copy", b""), ("nearly", bytes([data[-1] ^ 1]))):
            with open(f"{DIR.name}/{name}.gguf", "wb") as f:
                f.write(data[:len(data) - len(end)] + end)
        for draft, name, said in (("few-tokens", "INVALID", "token 599 is only in the model's"),
                                  ("many-tokens", "INVALID", "token 600 is only in the draft's"),
                                  ("spm", "INVALID", "token [0-9]+ is '.*' there and '.*' here"),
                                  ("encoder", "UNSUPPORTED", "t5encoder"), ("answers", "UNSUPPORTED", "a t5 model"),
                                  ("itself", "INVALID", "the draft 'itself' is the model itself"),
                                  ("copy", "INVALID", "the draft 'copy' is the model itself"), ("nowhere", "NOT_FOUND", "nowhere"),
                                  ("../itself", "INVALID", "not a name"), ("broken", "SHORT|MALFORMED|UNSUPPORTED", "draft")):
            with self.assertRaises(c.Failure) as failure:
                self.client.load_path(itself, settings={"draft": draft})
            self.assertRegex(failure.exception.name, name)
            self.assertRegex(str(failure.exception), said)
        self.client.load_path(itself, settings={"draft": "nearly"})     # another model; and nothing of all that stays

    def test_bad_words(self):
        path = make("bad")
        for settings, body in (({"speculation": "on"}, {}), ({}, {"speculation": "yes"}), ({}, {"speculation": 1})):
            with self.assertRaises(c.Failure) as failure:
                self.client.load_path(path, settings=settings)
                self.client.answer(self.client.request(c.GENERATE, {"model": path, "prompt": "a", **body}))
            self.assertEqual(failure.exception.name, "INVALID")


def tearDownModule():
    no_races()


if __name__ == "__main__":
    unittest.main()
