"""Ask language models of Veritas SDR from Python.

    import veritas_sdr as v
    print(v.chat("smollm2-135m-instruct", "Hi"))
    for piece in v.chat("smollm2-135m-instruct", "Tell me a story", stream=True):
        print(piece, end="", flush=True)

The models run in the daemon of the user when one runs, else in a private one, which ends with this process. What `chat`,
`generate` and the others take by name beside what is shown here goes to the daemon as it is (docs/PROTOCOL.md): max_tokens, stop,
n, logprobs, constraint, sampling={"temperature": 0.7, "seed": 1}, ... An unknown name is an InvalidError.

The functions of this module share one Client. A Client may be used by any number of threads and, through AsyncClient, by an event
loop; each request has its own events. In a child made by fork, make a new Client.
"""
import array
import asyncio
import atexit
import json
import os
import queue
import select
import sys
import threading

from . import _library as c

__all__ = ["Client", "AsyncClient", "Answer", "Stream", "chat", "generate", "tokenize", "detokenize", "embed", "rerank", "load",
           "unload", "models", "status", "version", "VeritasError"]


class VeritasError(Exception):
    """What the daemon or the library refused or failed with. code: -4; name: "BUSY"; retry_after: seconds, or None."""
    def __init__(self, message, code=0, name="", retry_after_ms=0):
        super().__init__(message)
        self.code, self.name, self.retry_after = code, name, retry_after_ms / 1000 if retry_after_ms else None


_CODES = ["NoMemory", "Malformed", "Limit", "Busy", "System", "Unsupported", "NotFound", "Cancelled", "Timeout", "Died", "Invalid",
          "Denied", "Fault", "Protocol", "Context", "Short", "Filtered", "ApiKey"]        # -1, -2, ... as in veritas.h
_CLASSES = {}
for _i, _name in enumerate(_CODES):
    _CLASSES[-1 - _i] = globals()[_name + "Error"] = type(_name + "Error", (VeritasError,), {"__module__": __name__})
    __all__.append(_name + "Error")


def _error(e):
    return _CLASSES.get(e.code, VeritasError)(e.message.decode(errors="replace"), e.code, e.name.decode(), e.retry_after_ms)


def _check(status, e):
    if status != 0:
        raise _error(e)


class Answer(str):
    """The text of an answer, and what else is known of it.

    tokens: ids; finish_reason; usage: a dict; logprobs: a list of dicts, when asked for; result: all that the daemon says;
    choices: with n above 1 a list of Answers, of which this is the first. With parts=True the text is the content alone;
    reasoning is a text, tool_calls a list of {"name", "arguments"}, where the arguments are JSON as text."""
    def __new__(cls, parts, tokens, logprobs, result):
        self = super().__new__(cls, parts.pop(c.CONTENT, ""))
        self.tokens, self.logprobs, self.result = tokens, logprobs or None, result
        self.reasoning = parts.pop(c.REASONING, "")
        self.tool_calls = [dict(zip(("name", "arguments"), text.partition("\n")[::2])) for _, text in sorted(parts.items())]
        self.finish_reason, self.usage, self.choices = result.get("finish_reason"), result.get("usage"), [self]
        return self


class _Request:
    """One request under way. The client's thread puts its events; `take` gets them."""
    def __init__(self, client, kind, model, params, put):
        self.client, self.put, self.ended = client, put, False
        self.choices, self.data, self.result = {}, bytearray(), None            # choice: ({part: [text]}, [token], [extra])
        self.handle = client._start(self, kind, model, params)

    def seen(self, event):
        """What an event means: text of the first choice, or None when it says nothing, or the error to be raised."""
        kind, choice, part, token, text, extra, error = event
        if kind == c.DATA:
            self.data += text
        elif kind == c.TOKEN:
            parts, tokens, extras = self.choices.setdefault(choice, ({}, [], []))
            parts.setdefault(part, []).append(text)
            if token != c.NO_TOKEN:
                tokens.append(token)
            if extra is not None:
                extras.append(extra)
            return text if choice == 0 and part == c.CONTENT else None
        if kind == c.DONE:
            self.ended, self.result = True, extra or {}
        elif kind == c.FAILED:
            self.ended = True
            raise error
        return None

    def answer(self):
        answers = []
        for i in range(max(len(self.result.get("choices") or []), 1)):
            parts, tokens, extras = self.choices.get(i, ({}, [], []))
            result = self.result["choices"][i] if self.result.get("choices") else self.result
            answers.append(Answer({part: "".join(texts) for part, texts in parts.items()}, tokens, extras,
                                  dict(self.result, **result)))
        answers[0].choices = answers
        return answers[0]

    def cancel(self):
        if not self.ended:
            self.client._cancel(self)


class Stream:
    """Pieces of text as they come (the content of the first choice); afterwards `answer` is the whole.
    Closing it early cancels the request."""
    def __init__(self, client, kind, model, params):
        self._events = queue.SimpleQueue()
        self._request = _Request(client, kind, model, params, self._events.put)
        self.answer = None

    def __iter__(self):
        return self

    def __next__(self):
        while not self._request.ended:
            try:
                text = self._request.seen(self._events.get())
            except KeyboardInterrupt:
                self.close()
                raise
            if text:
                return text
        if self.answer is None and self._request.result is not None:
            self.answer = self._request.answer()
        raise StopIteration

    def close(self):
        self._request.cancel()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if hasattr(self, "_request"):
            self.close()


class Client:
    """A connection to a daemon.

    mode: "either" (the user's daemon when one runs, else a private one), "running", "private"; socket: where the daemon listens;
    program: `veritas`, to start a private one; name: who you are, for `veritas ps`; log: let a private daemon write to stderr;
    key: an API key for a running daemon (that of the file that VERITAS_KEY_FILE names, when none is given)."""
    def __init__(self, mode="either", socket=None, program=None, name="python", log=False, key=None):
        self._lock, self._requests, self._handle, self._closed = threading.Lock(), {}, c.c_void_p(), False
        self._pid = os.getpid()
        options, e = c.Options(), c.Error()
        if mode not in c.MODES:
            raise ValueError(f"mode is one of {', '.join(c.MODES)}, not {mode!r}")
        options.mode, options.log_fd = c.MODES[mode], 2 if log else -1
        options.socket, options.program, options.name = (os.fsencode(x) if x else None for x in (socket, program, name))
        options.key = key.encode() if key else None
        _check(c.lib.veritas_open(c.byref(options), c.byref(self._handle), c.byref(e)), e)
        self._wake_r, self._wake_w = os.pipe()
        self._thread = threading.Thread(target=self._listen, name="veritas_sdr", daemon=True)
        self._thread.start()

    # -- what one thread at a time may do: always under the lock --

    def _start(self, request, kind, model, params):
        handle, e = c.c_void_p(), c.Error()
        if "\0" in (model or ""):                       # C would end the name there
            raise _CLASSES[-11]("a model's name has no NUL", -11, "INVALID")
        body = json.dumps({k: v for k, v in params.items() if v is not None})
        with self._lock:
            if self._closed:
                raise VeritasError("the client is closed")
            _check(c.lib.veritas_request_new(self._handle, c.KINDS[kind], model.encode() if model else None, c.byref(handle),
                                             c.byref(e)), e)
            c.lib.veritas_set_json(handle, None, body.encode())         # what fails there _start says
            status = c.lib.veritas_start(handle, c.byref(e))
            if status != 0:
                c.lib.veritas_request_free(handle)
                raise _error(e)
            self._requests[handle.value] = request
        return handle

    def _cancel(self, request):
        if self._pid != os.getpid():                    # in a child the library must not be called
            return
        with self._lock:
            if request.handle.value in self._requests:
                c.lib.veritas_cancel(request.handle)

    def _listen(self):
        """The client's thread: waits without the lock, takes events with it, and gives each to its request."""
        event, e, poll = c.Event(), c.Error(), select.poll()
        poll.register(c.lib.veritas_fd(self._handle), select.POLLIN)
        poll.register(self._wake_r, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            with self._lock:
                if self._closed or self._wake_r in ready:
                    return
                status = 0
                while status == 0:
                    status = c.lib.veritas_step(self._handle, 0, c.byref(event), c.byref(e))
                    if status == 0:
                        self._give(event)
                if status != c.TIMEOUT:                 # the connection is over; each request was told
                    self._closed = True
                    return

    def _give(self, event):
        request = self._requests.get(event.request)
        text = c.ctypes.string_at(event.text, event.text_bytes) if event.text else b""
        extra = json.loads(c.ctypes.string_at(event.json, event.json_bytes)) if event.json else None
        error = _error(event.error[0]) if event.kind == c.FAILED else None
        if event.kind in (c.DONE, c.FAILED):
            del self._requests[event.request]
            c.lib.veritas_request_free(event.request)
        if request and event.kind != c.PROGRESS:
            said = text if event.kind == c.DATA else text.decode(errors="replace")
            request.put((event.kind, event.choice, event.part, event.token, said, extra, error))

    def close(self):
        """Cancels what still runs, and ends a private daemon."""
        if self._pid != os.getpid():
            return
        with self._lock:
            if self._handle is None:
                return
            handle, self._handle, self._closed = self._handle, None, True
        os.write(self._wake_w, b".")
        if threading.current_thread() is not self._thread:
            self._thread.join()
        for address, request in self._requests.items():
            c.lib.veritas_request_free(address)
            request.put((c.FAILED, 0, 0, 0, "", None, _CLASSES[-8]("the client was closed", -8, "CANCELLED")))
        self._requests = {}
        c.lib.veritas_close(handle)
        os.close(self._wake_r)
        os.close(self._wake_w)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def is_private(self):
        return bool(c.lib.veritas_is_private(self._handle))

    # -- requests --

    def request(self, kind, model=None, **params):
        """Any request of docs/PROTOCOL.md ("perplexity", "inspect", ...); its result as a dict."""
        stream = Stream(self, kind, model, params)
        for _ in stream:
            pass
        return stream.answer.result

    def _ask(self, kind, model, params, stream):
        answer = Stream(self, kind, model, params)
        if stream:
            return answer
        for _ in answer:
            pass
        return answer.answer

    def chat(self, model, messages, *, stream=False, **params):
        """The answer to a text or a conversation [{"role": ..., "content": ...}]: an Answer, or a Stream."""
        return self._ask("chat", model, dict(params, messages=_messages(messages)), stream)

    def generate(self, model, prompt, *, stream=False, **params):
        """How a prompt goes on; raw=True without the model's chat template."""
        return self._ask("generate", model, dict(params, prompt=prompt), stream)

    def tokenize(self, model, text, **params):
        """Text into the model's token ids; no_bos, special."""
        stream = Stream(self, "tokenize", model, dict(params, text=text))
        for _ in stream:
            pass
        tokens = stream.answer.result.get("tokens")
        return list(memoryview(stream._request.data).cast("I")) if tokens is None else tokens      # a long list comes as data

    def detokenize(self, model, tokens, **params):
        return self.request("detokenize", model, tokens=list(tokens), **params)["text"]

    def embed(self, model, texts, **params):
        """Vectors of texts, a memoryview of floats each (numpy.array takes it as it is); of one text (a str) its vector alone.
        pooling, normalize, dimensions; with pooling="none" a vector for each token, in the order of the texts."""
        stream = Stream(self, "embed", model, dict(params, input=_list(texts)))
        for _ in stream:
            pass
        return _vectors(stream, texts)

    def rerank(self, model, query, documents, **params):
        """How well each document answers the query: a list of numbers from 0 to 1, in the order of the documents."""
        return self.request("rerank", model, query=query, documents=list(documents), **params)["scores"]

    def load(self, model, **settings):
        """Loads a model by name, or by path: load("model.gguf", ctx=4096)."""
        return self.request("load", _place(model), settings=settings or None)

    def unload(self, model, force=False):
        """Unloads it; with force although it answers."""
        return self.request("unload", _place(model), force=force or None)

    def models(self):
        """What `veritas list` shows: a list of dicts."""
        return self.request("list")["models"]

    def status(self):
        """What `veritas ps` shows: a dict."""
        return self.request("status")


def _messages(messages):
    return [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)


def _list(texts):
    return [texts] if isinstance(texts, str) else list(texts)


def _vectors(stream, texts):
    numbers, dim = array.array("f", bytes(stream._request.data)), stream.answer.result["dim"]
    if sys.byteorder != "little":
        numbers.byteswap()
    view = memoryview(numbers)
    rows = [view[at:at + dim] for at in range(0, len(view), dim)]
    return rows[0] if isinstance(texts, str) and len(rows) == 1 else rows


def _place(model):
    return os.path.abspath(model) if os.sep in model else model


class AsyncStream:
    """`async for piece in stream`; afterwards `answer` is the whole."""
    def __init__(self, client, kind, model, params):
        loop, self._events, self.answer = asyncio.get_running_loop(), asyncio.Queue(), None

        def put(event):
            try:
                loop.call_soon_threadsafe(self._events.put_nowait, event)
            except RuntimeError:                        # the loop was closed: nobody waits
                pass
        self._request = _Request(client, kind, model, params, put)

    def __aiter__(self):
        return self

    async def __anext__(self):
        while not self._request.ended:
            try:
                text = self._request.seen(await self._events.get())
            except asyncio.CancelledError:
                self._request.cancel()
                raise
            if text:
                return text
        if self.answer is None and self._request.result is not None:
            self.answer = self._request.answer()
        raise StopAsyncIteration

    async def aclose(self):
        self._request.cancel()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.aclose()


class AsyncClient:
    """The same for an event loop: `await client.chat(...)`, `async for piece in client.stream("chat", ...)`.
    Connecting waits for the daemon, at most ten seconds."""
    def __init__(self, *args, **options):
        self._client = Client(*args, **options)

    async def _ask(self, kind, model, params):
        stream = AsyncStream(self._client, kind, model, params)
        async for _ in stream:
            pass
        return stream.answer

    def stream(self, kind, model, text, **params):
        """kind: "chat" or "generate". The request is under way when this returns; an AsyncStream."""
        params["messages" if kind == "chat" else "prompt"] = _messages(text) if kind == "chat" else text
        return AsyncStream(self._client, kind, model, params)

    async def chat(self, model, messages, **params):
        return await self._ask("chat", model, dict(params, messages=_messages(messages)))

    async def generate(self, model, prompt, **params):
        return await self._ask("generate", model, dict(params, prompt=prompt))

    async def embed(self, model, texts, **params):
        stream = AsyncStream(self._client, "embed", model, dict(params, input=_list(texts)))
        async for _ in stream:
            pass
        return _vectors(stream, texts)

    async def rerank(self, model, query, documents, **params):
        return (await self.request("rerank", model, query=query, documents=list(documents), **params))["scores"]

    async def request(self, kind, model=None, **params):
        return (await self._ask(kind, model, params)).result

    async def aclose(self):
        await asyncio.get_running_loop().run_in_executor(None, self._client.close)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.aclose()


_shared, _shared_lock = None, threading.Lock()


def _client():
    """The one that the functions below share; a new one when it has died, or in a child."""
    global _shared
    with _shared_lock:
        if _shared is None or _shared._closed or _shared._pid != os.getpid():
            _shared = Client(name=os.path.basename(sys.argv[0] or "python") or "python")
            atexit.register(_shared.close)
        return _shared


def chat(model, messages, *, stream=False, **params):
    return _client().chat(model, messages, stream=stream, **params)


def generate(model, prompt, *, stream=False, **params):
    return _client().generate(model, prompt, stream=stream, **params)


def tokenize(model, text, **params):
    return _client().tokenize(model, text, **params)


def detokenize(model, tokens, **params):
    return _client().detokenize(model, tokens, **params)


def embed(model, texts, **params):
    return _client().embed(model, texts, **params)


def rerank(model, query, documents, **params):
    return _client().rerank(model, query, documents, **params)


def load(model, **settings):
    return _client().load(model, **settings)


def unload(model, force=False):
    return _client().unload(model, force)


def models():
    return _client().models()


def status():
    return _client().status()


def version():
    return c.lib.veritas_version().decode()


for _name in ("chat", "generate", "tokenize", "detokenize", "load", "unload", "models", "status"):
    globals()[_name].__doc__ = getattr(Client, _name).__doc__
del _i, _name


def _program():
    """The command `veritas` of a wheel."""
    program = os.path.join(c.HERE, "bin", "veritas")
    os.execv(program, ["veritas", *sys.argv[1:]])
