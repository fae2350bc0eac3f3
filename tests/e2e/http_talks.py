"""More clients as they are, each with a conversation of its own, against `veritas gateway` and a tiny model that is made to answer
in form: LangChain, Ollama's, instructor, llm; and structured answers of OpenAI's and Anthropic's own helpers.

usage: http_talks.py BIN           http_talks.py --talk NAME PORT: one conversation, in a process of its own
$VERITAS_CLIENTS names the folders of the packages, ':' between them (script/test --full makes them by pip install --target: some
clients want other versions of the same package). A client that is in none of them is left out; all left out: exit status 77."""
import asyncio
import os
import subprocess
import sys
import tempfile

FOLDERS = [f for f in os.environ.get("VERITAS_CLIENTS", "").split(":") if f]
MODEL = "one"


def ask(text):
    return [{"role": "user", "content": text}]


def models(bounds=True):
    """The class of an answer; Anthropic's client leaves bounds out of the schema and checks them itself."""
    from typing import Literal, Optional
    from pydantic import BaseModel, Field

    class Item(BaseModel):
        name: str = Field(max_length=8 if bounds else None)
        price: int = Field(ge=0 if bounds else None, le=99 if bounds else None)

    class Order(BaseModel):
        """What somebody wants"""
        items: list[Item] = Field(min_length=1, max_length=2 if bounds else None)
        state: Literal["open", "closed"]
        note: Optional[Literal["soon"]] = None
    return Order


# ---- the conversations: an error ends them ----

def talk_openai(at):
    import openai
    Order = models()
    c = openai.OpenAI(base_url=at + "/v1", api_key="none", max_retries=0, timeout=60)
    more = {"model": MODEL, "temperature": 1.2}
    whole = c.chat.completions.parse(messages=ask("Hi"), response_format=Order, max_tokens=120, **more)
    assert isinstance(whole.choices[0].message.parsed, Order), whole
    with c.chat.completions.stream(messages=ask("Hi"), response_format=Order, max_tokens=120, **more) as stream:
        kinds = {e.type for e in stream}
        assert stream.get_final_completion().choices[0].message.parsed == whole.choices[0].message.parsed
    assert {"chunk", "content.delta", "content.done"} <= kinds, kinds
    tool = openai.pydantic_function_tool(Order)
    call = c.chat.completions.parse(messages=ask("Hi"), tools=[tool], tool_choice="required", max_tokens=120, **more)
    assert isinstance(call.choices[0].message.tool_calls[0].function.parsed_arguments, Order), call
    back = [*ask("Hi"), call.choices[0].message, {"role": "tool", "tool_call_id": call.choices[0].message.tool_calls[0].id,
                                                  "content": "done"}]
    assert c.chat.completions.create(messages=back, tools=[tool], max_tokens=4, **more).choices
    assert isinstance(c.responses.parse(input="Hi", text_format=Order, max_output_tokens=120, **more).output_parsed, Order)
    form = c.chat.completions.parse(messages=ask("Hi"), tools=[tool], response_format=Order, max_tokens=120, **more).choices[0]
    assert form.message.parsed or form.message.tool_calls, form
    try:
        c.with_options(timeout=0.05).chat.completions.create(messages=ask("Hi"), max_tokens=2000, extra_body={"ignore_eos": True},
                                                             **more)
        raise AssertionError("no timeout")
    except openai.APITimeoutError:
        pass
    raw = c.chat.completions.with_raw_response.create(messages=ask("Hi"), max_tokens=2, **more)
    assert raw.request_id and raw.parse().id.endswith(raw.request_id), (raw.request_id, raw.parse().id)

    questions = [{"type": "predicate", "instructions": "Is it cold?", "name": "cold"},
                 {"type": "choice", "instructions": [{"type": "input_text", "text": "Which?"}],
                  "choices": [{"value": True}, {"value": "no"}]},
                 {"type": "score", "instructions": "How much?",
                  "levels": [{"label": "low"}, {"label": "high", "description": "a lot"}]}]
    items = [{"role": "user", "content": [{"type": "input_text", "text": "Snow."}, {"type": "input_json", "data": {"t": -3}}]}]
    for what in ("Snow.", items):
        told = c.decisions.create(model=MODEL, input=what, questions=questions)
        cold, which, much = told.answers
        assert (cold.type, cold.name, which.name) == ("predicate", "cold", None) and 0 <= cold.probability <= 1, told
        assert which.choice in (True, "no") and [p.value for p in which.probabilities] == [True, "no"], told
        assert [p.label for p in much.probabilities] == ["low", "high"] and 0 <= much.score <= 1, told
        assert told.usage.total_tokens == told.usage.input_tokens + told.usage.output_tokens, told

    async def several():
        async with openai.AsyncOpenAI(base_url=at + "/v1", api_key="none") as a:
            got = await asyncio.gather(*(a.chat.completions.create(messages=ask("Hi"), max_tokens=8, **more) for _ in range(4)))
            assert len({g.choices[0].message.content for g in got}) == 1
            stream = await a.chat.completions.create(messages=ask("Hi"), max_tokens=900, stream=True, **more)
            async for _ in stream:
                break                   # who leaves is cancelled
            await stream.close()
    asyncio.run(several())


def talk_anthropic(at):
    import anthropic
    Order = models(bounds=False)
    c = anthropic.Anthropic(base_url=at, api_key="none", max_retries=0, timeout=60)
    more = {"model": MODEL, "max_tokens": 120, "messages": ask("Hi"), "extra_body": {"temperature": 1.2}}
    whole = c.messages.parse(output_format=Order, **more)
    assert isinstance(whole.parsed_output, Order), whole
    with c.messages.stream(output_format=Order, **more) as stream:
        assert stream.get_final_message().content[0].text == whole.content[0].text
    tool = {"name": "order", "description": "orders", "input_schema": Order.model_json_schema()}
    call = c.messages.create(tools=[tool], tool_choice={"type": "any"}, **more)
    Order.model_validate(call.content[0].input)
    results = [{"type": "tool_result", "tool_use_id": b.id, "content": "done"} for b in call.content if b.type == "tool_use"]
    back = [*ask("Hi"), {"role": "assistant", "content": call.content}, {"role": "user", "content": results}]
    assert c.messages.create(tools=[tool], **{**more, "messages": back, "max_tokens": 3})._request_id

    @anthropic.beta_tool
    def add(a: int, b: int) -> str:
        """Adds two numbers."""
        return str(a + b)
    runner = c.beta.messages.tool_runner(tools=[add], max_iterations=3, tool_choice={"type": "any"}, **more)
    prompts = [m.usage.input_tokens + m.usage.cache_read_input_tokens for m in runner]
    assert len(prompts) == 3 and prompts == sorted(set(prompts)), prompts       # the conversation grows: nothing of it is lost
    try:
        c.messages.create(**{**more, "messages": [{"role": "user", "content": [{"type": "image", "source": {
            "type": "base64", "media_type": "image/png", "data": "x"}}]}]})
        raise AssertionError("an image was read")
    except anthropic.BadRequestError as e:
        assert "images" in str(e) and e.request_id, (e, e.request_id)


def talk_langchain_openai(at):
    from langchain_core.messages import HumanMessage, SystemMessage
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI, OpenAI
    Order = models()
    llm = ChatOpenAI(base_url=at + "/v1", api_key="none", model=MODEL, max_tokens=120, temperature=1.2)
    for method in ("json_schema", "function_calling"):
        assert isinstance(llm.with_structured_output(Order, method=method).invoke("Hi"), Order), method
    whole = llm.invoke([SystemMessage("Be brief"), HumanMessage("Hi")])
    assert whole.usage_metadata["output_tokens"] > 0
    assert "".join(c.content for c in llm.stream([SystemMessage("Be brief"), HumanMessage("Hi")])) == whole.content

    @tool
    def multiply(a: int, b: int) -> int:
        """Multiplies."""
        return a * b
    forced, talk = llm.bind_tools([multiply], tool_choice="multiply"), [HumanMessage("3 times 4?")]
    answer = forced.invoke(talk)
    talk += [answer, *(multiply.invoke(call) for call in answer.tool_calls)]
    assert llm.bind_tools([multiply]).invoke(talk).response_metadata["finish_reason"]
    parts = None
    for chunk in forced.stream("3 times 4?"):
        parts = chunk if parts is None else parts + chunk
    assert parts.tool_calls[0]["args"] == answer.tool_calls[0]["args"], (parts, answer)
    assert llm.bind(logprobs=True, top_logprobs=2, max_tokens=2).invoke("Hi").response_metadata["logprobs"]["content"]
    other = ChatOpenAI(base_url=at + "/v1", api_key="none", model=MODEL, use_responses_api=True, max_tokens=120, temperature=1.2)
    assert isinstance(other.with_structured_output(Order, method="json_schema").invoke("Hi"), Order)
    assert OpenAI(base_url=at + "/v1", api_key="none", model=MODEL, max_tokens=5).invoke("Once")

    async def several():
        assert len(await llm.abatch(["a", "b", "c"])) == 3
    asyncio.run(several())


def talk_ollama(at):
    import ollama
    Order = models()
    c = ollama.Client(host=at)
    options = {"num_predict": 120, "temperature": 1.2, "seed": 3}
    whole = c.chat(model=MODEL, messages=ask("Hi"), options=options)
    assert "".join(p.message.content for p in c.chat(model=MODEL, messages=ask("Hi"), stream=True, options=options)) \
        == whole.message.content
    assert whole.done and whole.eval_count > 0
    Order.model_validate_json(c.chat(model=MODEL, messages=ask("Hi"), format=Order.model_json_schema(), options=options)
                              .message.content)
    assert c.generate(model=MODEL, prompt="Hi", options=options).response
    assert MODEL in [m.model for m in c.list().models] and MODEL in [m.model for m in c.ps().models] and c.show(MODEL).template
    for wrong in (lambda: c.chat(model="none", messages=ask("Hi")), lambda: c.pull("x")):
        try:
            wrong()
            raise AssertionError("it was answered")
        except ollama.ResponseError as e:
            assert e.status_code == 404 and e.error, e


def talk_instructor(at):
    import instructor
    import openai
    Order = models()
    for mode in ("TOOLS", "JSON_SCHEMA", "TOOLS_STRICT", "RESPONSES_TOOLS"):
        if not hasattr(instructor.Mode, mode):
            continue
        c = instructor.from_openai(openai.OpenAI(base_url=at + "/v1", api_key="none"), mode=getattr(instructor.Mode, mode))
        limit = "max_output_tokens" if mode == "RESPONSES_TOOLS" else "max_tokens"
        got = c.chat.completions.create(model=MODEL, response_model=Order, messages=ask("Hi"), max_retries=0, temperature=1.2,
                                        **{limit: 120})
        assert isinstance(got, Order), (mode, got)
    c = instructor.from_openai(openai.OpenAI(base_url=at + "/v1", api_key="none"), mode=instructor.Mode.JSON_SCHEMA)
    parts = list(c.chat.completions.create_partial(model=MODEL, response_model=Order, messages=ask("Hi"), max_tokens=120,
                                                   temperature=1.2))
    Order.model_validate(parts[-1].model_dump())


def talk_llm(at):
    import json
    with tempfile.TemporaryDirectory(prefix="vst") as folder:
        with open(folder + "/extra-openai-models.yaml", "w") as f:
            f.write(f"- model_id: m\n  model_name: {MODEL}\n  api_base: {at}/v1\n  supports_schema: true\n")
        env = dict(os.environ, LLM_USER_PATH=folder, OPENAI_API_KEY="none")

        def run(*words):
            done = subprocess.run([sys.executable, "-m", "llm", "-m", "m", "-o", "max_tokens", "60", "-o", "temperature", "1.2",
                                   *words], env=env, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, (words, done.stdout, done.stderr)
            return done.stdout
        assert run("--no-stream", "Hi").strip() == run("Hi").strip() != ""
        schema = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}}, "required": ["name"],
                  "additionalProperties": False}
        assert list(json.loads(run("--schema", json.dumps(schema), "Hi"))) == ["name"]
        assert run("-c", "And?")


TALKS = {name[5:]: value for name, value in list(globals().items()) if name.startswith("talk_")}


def folder_of(module):
    return next((f for f in FOLDERS if os.path.isdir(f"{f}/{module}")), None)


def main():
    found = {name: folder_of(name) for name in TALKS}
    if not any(found.values()):
        print("skipped: none of " + ", ".join(TALKS) + " is in $VERITAS_CLIENTS")
        sys.exit(77)
    import http_api                     # it takes its argument off sys.argv
    http_api.Gateway.setUpClass()
    failed = []
    try:
        for name, folder in found.items():
            if not folder:
                print(f"{name}: left out, it is not installed")
                continue
            done = subprocess.run([sys.executable, "-B", os.path.abspath(__file__), "--talk", name, str(http_api.Gateway.port)],
                                  env=dict(os.environ, PYTHONPATH=folder), capture_output=True, text=True, timeout=280)
            print(f"{name}: {'ok' if done.returncode == 0 else done.stdout + done.stderr}", flush=True)
            failed += [name] if done.returncode else []
    finally:
        http_api.Gateway.tearDownClass()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--talk"]:
        sys.path.remove(os.path.dirname(os.path.abspath(__file__)))         # requests.py beside this is not theirs
        TALKS[sys.argv[2]](f"http://127.0.0.1:{sys.argv[3]}")
    else:
        main()
