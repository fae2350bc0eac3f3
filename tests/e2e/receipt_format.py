"""Receipts, written from docs/RECEIPT.md alone: standard library, no code of the project. For tests that read some, make some, or
change and sign again what the daemon made."""
import base64
import copy
import hashlib
import json
import struct

# ---- Ed25519 (RFC 8032), for few signatures ----
P, Q = 2 ** 255 - 19, 2 ** 252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
G_Y = 4 * pow(5, -1, P) % P


def _x(y, sign):
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    return P - x if x & 1 != sign else x


def _add(a, b):
    p, q = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    r, s = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = q - p, s - r, s + r, q + p
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(n, point):
    sum_ = (0, 1, 1, 0)
    while n:
        sum_ = _add(sum_, point) if n & 1 else sum_
        point, n = _add(point, point), n >> 1
    return sum_


G = (_x(G_Y, 0), G_Y, 1, _x(G_Y, 0) * G_Y % P)


def _pack(point):
    z = pow(point[2], -1, P)
    x, y = point[0] * z % P, point[1] * z % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _secret(seed):
    h = hashlib.sha512(seed).digest()
    return int.from_bytes(h[:32], "little") & ((1 << 254) - 8) | 1 << 254, h[32:]


def public(seed):
    return _pack(_times(_secret(seed)[0], G))


def sign(seed, data):
    a, prefix = _secret(seed)
    r = int.from_bytes(hashlib.sha512(prefix + data).digest(), "little") % Q
    head = _pack(_times(r, G))
    k = int.from_bytes(hashlib.sha512(head + public(seed) + data).digest(), "little") % Q
    return head + ((r + k * a) % Q).to_bytes(32, "little")


def _unpack(b):
    y = int.from_bytes(b, "little") & (1 << 255) - 1
    x = _x(y, b[31] >> 7)
    assert (x * x - (y * y - 1) * pow(D * y * y + 1, -1, P)) % P == 0, "no point"
    return x, y, 1, x * y % P


# ---- ECDSA with P-256 and SHA-256 (FIPS 186-5), to check what was signed ----
FIELD, ORDER = 2 ** 256 - 2 ** 224 + 2 ** 192 + 2 ** 96 - 1, 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551
BASE = (0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296,
        0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5)


def _add_p256(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and (a[1] + b[1]) % FIELD == 0:
        return None
    slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, FIELD) if a == b else (b[1] - a[1]) * pow(b[0] - a[0], -1, FIELD)
    x = (slope * slope - a[0] - b[0]) % FIELD
    return x, (slope * (a[0] - x) - a[1]) % FIELD


def _times_p256(n, point):
    sum_ = None
    while n:
        sum_ = _add_p256(sum_, point) if n & 1 else sum_
        point, n = _add_p256(point, point), n >> 1
    return sum_


def _numbers(der):
    """r and s of SEQUENCE { INTEGER, INTEGER }."""
    n = der[3]
    assert der[0] == 0x30 and der[1] == len(der) - 2 and der[2] == 2 and der[4 + n] == 2 and der[5 + n] == len(der) - 6 - n
    return int.from_bytes(der[4:4 + n], "big"), int.from_bytes(der[6 + n:], "big")


def _integer(n):
    n = n.to_bytes(n.bit_length() // 8 + 1, "big")
    return bytes([2, len(n)]) + n


def in_other_forms(signature):
    """Signatures, of a kind that this one is of, that other verifiers may take for it, or that are near."""
    if len(signature) == 64:
        s = int.from_bytes(signature[32:], "little") + Q
        return [signature + b"\0", signature[:32] + s.to_bytes(32, "little"), signature * 2, bytes(64)]
    r, s = _numbers(signature)
    other = _integer(r) + _integer(ORDER - s)
    return [bytes([0x30, len(other)]) + other, signature + b"\0", r.to_bytes(32, "big") + s.to_bytes(32, "big"),
            *(bytes([0x30, len(signature) - 2 + more]) + signature[2:] for more in (-1, 1)), signature * 2]


def _is_signed_p256(key, data, signature):
    r, s = _numbers(signature)
    z, w = int.from_bytes(hashlib.sha256(data).digest(), "big"), pow(s, -1, ORDER)
    point = int.from_bytes(key[1:33], "big"), int.from_bytes(key[33:], "big")
    found = _add_p256(_times_p256(z * w % ORDER, BASE), _times_p256(r * w % ORDER, point))
    return key[0] == 4 and 0 < r < ORDER and 0 < s <= ORDER // 2 and found is not None and found[0] % ORDER == r


def is_signed(key, data, signature):
    if len(key) == 65:
        return _is_signed_p256(key, data, signature)
    s = int.from_bytes(signature[32:], "little")
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + data).digest(), "little") % Q
    return s < Q and _pack(_times(s, G)) == _pack(_add(_unpack(signature[:32]), _times(k, _unpack(key))))


# ---- the format ----
TYPE = "application/vnd.in-toto+json"


def sha256(data):
    return hashlib.sha256(data).digest()


def commit(name, salt, x):
    return sha256(b"veritas-receipt/1 " + name.encode() + b"\n" + salt + x)


def ids(numbers):
    return struct.pack(f"<{len(numbers)}I", *numbers)


def bits(value):
    return struct.pack(">f", value).hex()


def spelled(value):
    return json.dumps(value, separators=(",", ":")).encode()


def digest(level, logits):
    """D of one row of logits: a list of floats."""
    if level == 2:
        return sha256(struct.pack(f"<{len(logits)}f", *logits))
    best = sorted(range(len(logits)), key=lambda i: (-logits[i], i))[:64]
    return sha256(b"".join(struct.pack("<If", i, logits[i]) for i in best))


def begin(predicate, salt):
    groups = b"".join(sha256(spelled(predicate[key])) for key in ("contract", "model", "numeric", "request"))
    return commit("chain", salt, struct.pack("<I", predicate["trace"]["level"]) + groups)


def chain(predicate, salt, tokens, rows):
    h, position = begin(predicate, salt), predicate["request"]["n_prompt"]
    for i, token in enumerate(tokens):
        h = sha256(h + struct.pack("<II", position + i, token) + digest(predicate["trace"]["level"], rows[i]))
    return h


def keys_of(seed):
    """The file `keys` of a log that has seen one key, and that key's line for people."""
    key = public(seed)
    line = f"1 {key.hex()}"
    origin = "veritas-audit/" + sha256(key).hex()[:16]
    name = sha256(origin.encode() + b"\n\x01" + key)[:4].hex()
    return f"{line} {sign(seed, b'veritas-audit key' + bytes([10]) + line.encode()).hex()}\n", \
        f"{origin}+{name}+{base64.b64encode(bytes([1]) + key).decode()}\n"


def pae(payload):
    return b"DSSEv1 %d %s %d " % (len(TYPE), TYPE.encode(), len(payload)) + payload


def statement_of(receipt):
    return json.loads(base64.b64decode(receipt["envelope"]["payload"]))


def read(receipt):
    """Predicate and subjects of a receipt whose signature holds; and what the opening has is what it commits to."""
    envelope, opening = receipt["envelope"], receipt.get("opening", {})
    payload = base64.b64decode(envelope["payload"])
    key = bytes.fromhex(receipt["keys"].splitlines()[-1].split()[1])
    assert envelope["payloadType"] == TYPE and sha256(key).hex() == envelope["signatures"][0]["keyid"]
    assert is_signed(key, pae(payload), base64.b64decode(envelope["signatures"][0]["sig"])), "the signature does not hold"
    s, salt = json.loads(payload), bytes.fromhex(opening["salt"])
    assert spelled(s) == payload
    subjects = {x["name"]: x["digest"]["sha256"] for x in s["subject"]}
    request = s["predicate"].get("request", {})
    for key, name, to in (("tokens", "output.tokens", subjects), ("text", "output.text", subjects),
                          ("delivered", "output.delivered", subjects), ("prompt_tokens", "prompt", request),
                          ("stop", "stop", request), ("stop_tokens", "stop_tokens", request), ("bias", "bias", request),
                          ("constraint", "constraint", request)):
        if key not in opening:
            continue
        value = opening[key]
        data = (value.encode() if isinstance(value, str) else
                b"".join(ids([len(t.encode())]) + t.encode() for t in value) if key == "stop" else
                b"".join(ids([i, int(b, 16)]) for i, b in value) if key == "bias" else ids(value))
        assert commit(name, salt, data).hex() == to[name], key
    return s["predicate"], subjects


def signed(statement, seed, opening=None):
    payload = statement if isinstance(statement, bytes) else spelled(statement)
    receipt = {"envelope": {"payload": base64.b64encode(payload).decode(), "payloadType": TYPE, "signatures": [
        {"keyid": sha256(public(seed)).hex(), "sig": base64.b64encode(sign(seed, pae(payload))).decode()}]},
        "keys": keys_of(seed)[0]}
    return receipt if opening is None else {**receipt, "opening": copy.deepcopy(opening)}


def statement(salt, asked, prompt, tokens, text, rows, finish, level=1):
    """asked: what a receipt binds, as a dict of plain values: sha256, n_ctx, sampling and so on."""
    request = {"prompt": commit("prompt", salt, ids(prompt)).hex(), "n_prompt": len(prompt),
               "seed": f"{asked.get('seed', 0):016x}"}
    for key, preset in (("temperature", 0.8), ("top_k", 40), ("top_p", 0.95), ("min_p", 0.05), ("typical_p", 1.0),
                        ("repeat_penalty", 1.0), ("presence_penalty", 0.0), ("frequency_penalty", 0.0), ("repeat_last_n", 64),
                        ("max_tokens", -1), ("ignore_eos", 0), ("special", 0), ("parts", 0)):
        value = asked.get(key, preset)
        request[key] = bits(value) if isinstance(value, float) else int(value)
    if asked.get("bias"):
        request["bias"] = commit("bias", salt, b"".join(struct.pack("<If", i, v) for i, v in asked["bias"])).hex()
    if asked.get("stop"):
        request["stop"] = commit("stop", salt, b"".join(struct.pack("<I", len(s.encode())) + s.encode()
                                                        for s in asked["stop"])).hex()
    if asked.get("stop_tokens"):
        request["stop_tokens"] = commit("stop_tokens", salt, ids(asked["stop_tokens"])).hex()
    if asked.get("constraint"):
        request["constraint"] = commit("constraint", salt, spelled(asked["constraint"])).hex()
    request["shaped"] = 0
    predicate = {
        "contract": {"id": asked.get("contract", "VNC-1")}, "engine": {"name": "veritas", "version": "0.1.0"},
        "model": {"sha256": asked["sha256"]}, "numeric": {"kv_type": asked.get("kv_type", "f16"), "n_ctx": asked["n_ctx"]},
        "request": request, "trace": {"level": level, "n_out": len(tokens), "chain": ""},
        "observed": {"isa": "avx2", "threads": 2, "parallel": 1, "chunk": 512, "cached": 0, "drafted": 0, "recomputed": 0,
                     "resumed": 0},
        "result": {"finish": finish}, "time": {"start": 1790000000000, "end": 1790000000001, "source": "local"},
        "actor": {"uid": 0, "request": 1},
    }
    predicate["trace"]["chain"] = chain(predicate, salt, tokens, rows).hex()
    subject = [{"name": name, "digest": {"sha256": commit(name, salt, data).hex()}}
               for name, data in (("output.tokens", ids(tokens)), ("output.text", text.encode()))]
    return {"_type": "https://in-toto.io/Statement/v1", "subject": subject, "predicateType": "urn:veritas-sdr:receipt:1",
            "predicate": predicate}


def opening(salt, asked, prompt, tokens, text):
    o = {"salt": salt.hex(), "prompt_tokens": list(prompt), "tokens": list(tokens), "text": text}
    if asked.get("bias"):
        o["bias"] = [[i, bits(v)] for i, v in asked["bias"]]
    for key in ("stop", "stop_tokens"):
        if asked.get(key):
            o[key] = asked[key]
    if asked.get("constraint"):
        o["constraint"] = spelled(asked["constraint"]).decode()
    return o
