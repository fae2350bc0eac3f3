"""The Python clients of OpenAI and Anthropic, as they are, against `veritas gateway` and a tiny model: what they send is understood
and what comes back is what they check for. Traces, as opentelemetry-proto decodes them. Argument: the folder of the
programs. The first folder of $VERITAS_CLIENTS has the packages (script/test --full makes it by pip install --target); where they
are not to be found this is skipped (77)."""
import http.server
import os
import queue
import subprocess
import sys
import tempfile
import threading

sys.path[1:1] = filter(None, os.environ.get("VERITAS_CLIENTS", "").split(":")[:1])
try:
    import anthropic
    import openai
except ImportError as why:
    print(f"skipped: {why} (VERITAS_CLIENTS names a folder with openai and anthropic)")
    sys.exit(77)

import http_api as h                    # noqa: E402: it takes its argument off sys.argv
import unittest                         # noqa: E402

PINNED = {"openai": "3.57", "anthropic": "2.14"}


class Clients(h.Gateway):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        at = f"http://127.0.0.1:{cls.port}"
        cls.openai = openai.OpenAI(base_url=at + "/v1", api_key="none", max_retries=0, timeout=60)
        cls.anthropic = anthropic.Anthropic(base_url=at, api_key="none", max_retries=0, timeout=60)

    def test_versions(self):
        for module in (openai, anthropic):
            self.assertTrue(module.__version__.startswith(PINNED[module.__name__]), (module.__name__, module.__version__))

    def chat_of(self, **more):
        return self.openai.chat.completions.create(**{"model": "one", "messages": [{"role": "user", "content": "Hi"}],
                                                      "max_tokens": 12,
                                                      "temperature": 1, **more})

    def test_chat(self):
        whole = self.chat_of(n=2, logprobs=True, top_logprobs=1)
        self.assertEqual(len(whole.choices), 2)
        self.assertEqual(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens)
        self.assertEqual(len(whole.choices[0].logprobs.content[0].top_logprobs), 1)
        text = "".join(c.choices[0].delta.content or "" for c in self.chat_of(stream=True) if c.choices)
        self.assertEqual(text, whole.choices[0].message.content)
        stop = next(c for c in text[3:] if c.isascii() and c.isalpha() and c not in text[:3])      # the helper wants a true end
        with self.openai.chat.completions.stream(model="one", messages=[{"role": "user", "content": "Hi"}], max_tokens=12,
                                                 temperature=1, stop=stop) as stream:
            for _ in stream:
                pass
            self.assertEqual(stream.get_final_completion().choices[0].message.content, text[:text.index(stop)])
        back = self.chat_of(messages=[{"role": "user", "content": "Hi"}, whole.choices[0].message, {"role": "user",
                                                                                                    "content": "And?"}])
        self.assertIsNotNone(back.choices[0].message.content)

    def test_errors(self):
        with self.assertRaises(openai.NotFoundError) as e:
            self.chat_of(model="none")
        self.assertEqual((e.exception.code, e.exception.param), ("model_not_found", "model"))
        with self.assertRaises(openai.BadRequestError) as e:
            self.chat_of(temperature=-1)
        self.assertEqual(e.exception.param, "temperature")
        with self.assertRaises(openai.BadRequestError) as e:
            self.chat_of(messages=[{"role": "user", "content": "x " * 5000}], stream=True)
        self.assertEqual(e.exception.code, "context_length_exceeded")
        with self.assertRaises(anthropic.NotFoundError):
            self.message_of(model="none")
        with self.assertRaises(openai.BadRequestError) as e:
            self.openai.embeddings.create(model="one", input="x")
        self.assertEqual(e.exception.code, "unsupported")
        vectors = [self.openai.embeddings.create(model="one", input=["x", "y"], encoding_format=form,
                                                 extra_body={"pooling": "mean"}) for form in ("float", "base64")]
        self.assertEqual([len(d.embedding) for d in vectors[0].data], [64, 64])
        self.assertEqual([d.index for d in vectors[1].data], [0, 1])

    def test_models(self):
        names = {"one", "two", *h.TEMPLATES}
        self.assertEqual({m.id for m in self.openai.models.list()}, names)
        self.assertEqual(self.openai.models.retrieve("two").id, "two")
        self.assertEqual({m.id for m in self.anthropic.models.list()}, names)

    def test_completions(self):
        got = self.openai.completions.create(model="one", prompt=["Once", "Twice"], max_tokens=5, logprobs=1)
        self.assertEqual([c.index for c in got.choices], [0, 1])
        self.assertEqual(len(got.choices[0].logprobs.tokens), len(got.choices[0].logprobs.text_offset))

    def test_responses(self):
        ask = {"model": "one", "input": "Hi", "max_output_tokens": 12, "temperature": 1}
        whole = self.openai.responses.create(**ask)
        self.assertEqual(whole.status, "incomplete")
        self.assertEqual(whole.incomplete_details.reason, "max_output_tokens")
        text = "".join(e.delta for e in self.openai.responses.create(**ask, stream=True) if e.type == "response.output_text.delta")
        self.assertEqual(text, whole.output_text)
        with self.openai.responses.stream(**ask) as stream:
            kinds = [e.type for e in stream]
        self.assertEqual((kinds[0], kinds[-1]), ("response.created", "response.incomplete"))
        more = self.openai.responses.create(**{**ask, "input": [{"role": "user", "content": "Hi"}, *whole.output,
                                                                {"role": "user", "content": "And?"}]})
        self.assertEqual(more.object, "response")
        self.assertEqual(self.openai.responses.input_tokens.count(model="one", input="Hi").input_tokens, whole.usage.input_tokens)

    def test_tools(self):
        """A call that the model is made to write, through each client's own helper for streams."""
        form = {"structured_outputs": {"regex": h.Api.CALLS}, "temperature": 1}
        parameters = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        tool = {"type": "function", "function": {"name": "look", "parameters": parameters, "strict": True}}
        ask = {"model": "one", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 200, "tools": [tool],
               "extra_body": form}
        whole = self.openai.chat.completions.create(**ask).choices[0]
        with self.openai.chat.completions.stream(**ask) as stream:
            for _ in stream:
                pass
            final = stream.get_final_completion().choices[0]
        self.assertEqual((whole.finish_reason, final.finish_reason), ("tool_calls", "tool_calls"))
        call = final.message.tool_calls[0].function
        self.assertEqual((call.name, call.arguments), ("look", whole.message.tool_calls[0].function.arguments))
        flat = {"type": "function", "name": "look", "parameters": parameters, "strict": True}
        with self.openai.responses.stream(model="one", input="Hi", tools=[flat], extra_body=form) as stream:
            for _ in stream:
                pass
            self.assertEqual(stream.get_final_response().output[0].arguments, call.arguments)
        with self.anthropic.messages.stream(model="one", messages=ask["messages"], max_tokens=200, extra_body=form,
                                            tools=[{"name": "look", "input_schema": parameters}]) as stream:
            block = stream.get_final_message().content[0]
        self.assertEqual((block.type, block.name, block.input), ("tool_use", "look", h.json.loads(call.arguments)))

    def message_of(self, **more):
        ask = {"model": "one", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 12, "extra_body": {"temperature": 1}}
        return self.anthropic.messages.create(**{**ask, **more})

    def test_messages(self):
        whole = self.message_of()
        self.assertEqual((whole.type, whole.role, whole.stop_reason), ("message", "assistant", "max_tokens"))
        with self.anthropic.messages.stream(model="one", messages=[{"role": "user", "content": "Hi"}], max_tokens=12,
                                            extra_body={"temperature": 1}) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        self.assertEqual((text, final.content[0].text), (whole.content[0].text,) * 2)
        self.assertEqual(final.usage.output_tokens, whole.usage.output_tokens)
        count = self.anthropic.messages.count_tokens(model="one", messages=[{"role": "user", "content": "Hi"}]).input_tokens
        self.assertEqual(count, final.usage.input_tokens + final.usage.cache_read_input_tokens)
        back = self.message_of(messages=[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": whole.content},
                                         {"role": "user", "content": "And?"}])
        self.assertEqual(back.role, "assistant")


class Traces(unittest.TestCase):
    def test_decoded(self):
        """What a collector gets, by the messages that OpenTelemetry publishes."""
        try:
            from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
            from opentelemetry.proto.trace.v1 import trace_pb2
        except ImportError as why:
            self.skipTest(str(why))
        bodies = queue.Queue()

        class Collector(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                bodies.put(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args):
                pass
        collector = http.server.HTTPServer(("127.0.0.1", 0), Collector)
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        with tempfile.TemporaryDirectory(prefix="vsh") as folder:
            subprocess.run([h.BIN + "/mkmodel", "--ctx", "2048", "-o", folder + "/one.gguf"], check=True,
                           stdout=subprocess.DEVNULL)
            gateway = subprocess.Popen([h.BIN + "/veritas", "gateway", "--private", "-m", "one", "--listen", "127.0.0.1:0",
                                        "--otlp", f"http:/" f"/127.0.0.1:{collector.server_port}"], stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, text=True,
                                       env=dict(os.environ, VERITAS_MODELS=folder, HOME=folder))
            try:
                at = gateway.stdout.readline().split()[1]
                asked = openai.OpenAI(base_url=at + "/v1", api_key="none", max_retries=0, timeout=60)
                usage = asked.chat.completions.create(model="one", messages=[{"role": "user", "content": "Hi"}], max_tokens=5).usage
                spans = []
                while len(spans) < 4:
                    body = bodies.get(timeout=60)
                    request = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
                    self.assertEqual(request.SerializeToString(), body)         # nothing that it does not know
                    spans += [s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans]
            finally:
                gateway.terminate()
                gateway.wait(20)
                gateway.stdout.close()
                collector.shutdown()
                collector.server_close()
        by_name = {s.name: s for s in spans}
        self.assertEqual(set(by_name), {"chat one", "queue", "prefill", "decode"})
        top = by_name.pop("chat one")
        self.assertEqual((len(top.trace_id), len(top.span_id), top.parent_span_id, top.kind), (16, 8, b"",
                                                                                               trace_pb2.Span.SPAN_KIND_SERVER))
        for s in by_name.values():
            self.assertEqual((s.trace_id, s.parent_span_id), (top.trace_id, top.span_id))
            self.assertTrue(top.start_time_unix_nano <= s.start_time_unix_nano <= s.end_time_unix_nano <= top.end_time_unix_nano, s)
        told = {a.key: a.value for a in top.attributes}
        self.assertEqual((told["gen_ai.request.model"].string_value, told["gen_ai.usage.input_tokens"].int_value,
                          told["gen_ai.usage.output_tokens"].int_value, told["http.response.status_code"].int_value),
                         ("one", usage.prompt_tokens, usage.completion_tokens, 200))


if __name__ == "__main__":
    unittest.main()
