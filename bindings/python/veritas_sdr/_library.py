"""libveritas through ctypes: its structs and functions as include/veritas/veritas.h declares them, and nothing else.

The library is looked for in $VERITAS_LIBRARY, beside this file (a wheel has it there), then where the system keeps its libraries.
"""
import ctypes
import os
from ctypes import POINTER, Structure, byref, c_char, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p  # noqa: F401

TEXT = c_size_t(-1).value                       # VERITAS_TEXT
TOKEN, DATA, PROGRESS, DONE, FAILED = 1, 2, 3, 4, 5
KINDS = {"generate": 0x10, "chat": 0x11, "tokenize": 0x12, "detokenize": 0x13, "inspect": 0x14, "logits": 0x15, "perplexity": 0x16,
         "bench": 0x17, "load": 0x18, "unload": 0x19, "list": 0x1a, "status": 0x1b, "shutdown": 0x1c, "constrain": 0x20,
         "embed": 0x21, "rerank": 0x22}
MODES = {"either": 0, "running": 1, "private": 2}
TIMEOUT = -9
NO_TOKEN = 0xffffffff                           # as a token: more text of the one before
CONTENT, REASONING, CALLS = 0, 1, 2             # parts of an answer; 2 + k: call k of a tool
HERE = os.path.dirname(os.path.abspath(__file__))


class Error(Structure):
    _fields_ = [("size", c_size_t), ("code", c_int), ("retry_after_ms", c_int64), ("name", c_char * 32), ("message", c_char * 512)]

    def __init__(self):
        super().__init__(ctypes.sizeof(Error))


class Options(Structure):
    _fields_ = [("size", c_size_t), ("mode", c_int), ("socket", c_char_p), ("program", c_char_p), ("name", c_char_p),
                ("log_fd", c_int), ("fd", c_int), ("key", c_char_p)]

    def __init__(self):
        super().__init__(ctypes.sizeof(Options), 0, None, None, None, -1, -1, None)


class Event(Structure):
    _fields_ = [("size", c_size_t), ("kind", c_int), ("token", c_uint32), ("choice", c_uint32), ("request", c_void_p),
                ("user", c_void_p), ("text", c_void_p), ("text_bytes", c_size_t), ("json", c_void_p), ("json_bytes", c_size_t),
                ("done", c_int64), ("total", c_int64), ("error", POINTER(Error)), ("part", c_uint32)]

    def __init__(self):
        super().__init__(ctypes.sizeof(Event))


FUNCTIONS = {                                   # name: (what it gives, what it takes)
    "veritas_version": (c_char_p, []),
    "veritas_open": (c_int, [POINTER(Options), POINTER(c_void_p), POINTER(Error)]),
    "veritas_close": (None, [c_void_p]),
    "veritas_is_private": (c_int, [c_void_p]),
    "veritas_request_new": (c_int, [c_void_p, c_int, c_char_p, POINTER(c_void_p), POINTER(Error)]),
    "veritas_request_free": (None, [c_void_p]),
    "veritas_request_set_user": (None, [c_void_p, c_void_p]),
    "veritas_set_json": (c_int, [c_void_p, c_char_p, c_char_p]),
    "veritas_start": (c_int, [c_void_p, POINTER(Error)]),
    "veritas_step": (c_int, [c_void_p, c_int, POINTER(Event), POINTER(Error)]),
    "veritas_cancel": (None, [c_void_p]),
    "veritas_fd": (c_int, [c_void_p]),
}


def _load():
    tried = [os.environ.get("VERITAS_LIBRARY"), os.path.join(HERE, "lib", "libveritas.so.0"), "libveritas.so.0"]
    for path in filter(None, tried):
        if os.path.isabs(path) and not os.path.exists(path):
            continue
        try:
            library = ctypes.CDLL(path)
        except OSError as e:
            why = e
            continue
        for name, (gives, takes) in FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = gives, takes
        return library
    raise ImportError(f"libveritas.so.0 can't be loaded ({why}): install Veritas SDR, or name it in $VERITAS_LIBRARY")


lib = _load()
