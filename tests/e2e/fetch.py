#!/usr/bin/env python3
"""`veritas models pull URL` and `hf:...` against servers of our own that do what servers do: redirect, break off, lie, never end.

usage: fetch.py VERITAS [test names]. Needs no network; the TLS part needs the openssl program.
"""
import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from processes import patience

VERITAS = os.path.abspath(sys.argv.pop(1))
if not os.path.exists(os.path.join(os.path.dirname(VERITAS), "veritas-fetch")):
    print("built without libcurl: skipped")
    sys.exit(77)


HTTPS, HTTP = "https:" + "//", "http:" + "//"            # not as one word: tools/tidy looks for hosts


def gguf(n_bytes, fill=0, part=None):
    """part: (number from 0, count); each part has one tensor."""
    def text(b):
        return struct.pack("<Q", len(b)) + b
    keys = [text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama")] if not (part and part[0]) else []
    if part:
        keys += [text(b"split.no") + struct.pack("<IH", 2, part[0]), text(b"split.count") + struct.pack("<IH", 2, part[1]),
                 text(b"split.tensors.count") + struct.pack("<Ii", 5, part[1])]
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(keys)) + b"".join(keys)
    head += text(b"t%d" % part[0] if part else b"t") + struct.pack("<IQIQ", 1, n_bytes // 4, 0, 0)
    head += bytes(-len(head) % 32)
    return head + bytes([fill]) * n_bytes


def sha(data):
    return hashlib.sha256(data).hexdigest()


def joined(parts):
    """The digest of a model in parts."""
    return sha("".join(sha(p) + "\n" for p in parts).encode())


class Server:
    """files: {path: bytes}; behave(handler, path, range_start) may answer itself and return True."""

    def __init__(self, tls=None):
        server = self
        self.files, self.behave, self.seen, self.ranges = {}, None, [], True

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                first = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
                first = int(first[1]) if first and server.ranges else 0
                server.seen.append((self.path, first, self.headers.get("If-Range")))
                try:
                    if not (server.behave and server.behave(self, self.path, first)):
                        self.send(server.files.get(self.path.split("?")[0]), first)
                except OSError:
                    self.close_connection = True

            def send(self, data, first=0, cut=None, length=True, total=None, tag=True):
                if data is None:
                    return self.status(404)
                if first and first >= len(data):
                    return self.status(416)
                self.send_response(206 if first else 200)
                body = data[first:]
                if length:
                    self.send_header("Content-Length", str(len(body) if total is None else total - first))
                if first:
                    self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
                if tag:
                    self.send_header("ETag", f'"{sha(data)[:16]}"')
                if cut is not None or not length:
                    self.send_header("Connection", "close")
                    self.close_connection = True
                self.end_headers()
                self.wfile.write(body if cut is None else body[:cut])
                return True

            def status(self, number, **headers):
                self.send_response(number)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "4")
                self.end_headers()
                self.wfile.write(b"body")
                return True

            def log_message(self, *words):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.port = self.server.server_address[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.dir = self.folder.name
        self.addCleanup(self.folder.cleanup)
        self.models = self.dir + "/models"
        self.env = {"PATH": os.environ["PATH"], "HOME": self.dir, "VERITAS_MODELS": self.models, "VERITAS_SOCKET": self.dir + "/s"}
        self.env.update({k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")})
        self.server = Server()
        self.addCleanup(self.server.close)
        self.data = gguf(1 << 20, 7)
        self.server.files["/dir/Some-Model.GGUF"] = self.data
        self.url = self.server.url + "/dir/Some-Model.GGUF"

    def pull(self, *words, status=0, said="", env=None, before=()):
        done = subprocess.run([*before, VERITAS, "models", "pull", *words], env=env or self.env, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=100)
        self.assertEqual(done.returncode, status, done)
        self.assertIn(said, done.stderr)
        return done.stderr

    def visible(self):
        return sorted(n for n in os.listdir(self.models) if n[0] != ".") if os.path.exists(self.models) else []

    def has(self, name, data):
        with open(f"{self.models}/{name}.gguf", "rb") as f:
            self.assertTrue(f.read() == data, name)
        rows = json.loads(subprocess.run([VERITAS, "models", "list", "--json"], env=self.env, capture_output=True).stdout)["models"]
        self.assertEqual([r["sha256"] for r in rows if r["name"] == name], [sha(data)])
        self.assertFalse(os.path.exists(f"{self.models}/.{name}.pull"))


class Urls(Case):
    def test_whole(self):
        self.pull(self.url, status=2, said="--sha256")
        for bad in ("0" * 63, "0" * 65, "g" * 64, "0" * 64 + "," + "0" * 64):
            self.pull(self.url, "--sha256", bad, status=2)
        self.assertEqual(self.server.seen, [])
        self.pull(self.url, "--sha256", sha(self.data).upper(), said="checked")
        self.assertEqual(self.visible(), ["some-model.gguf"])
        self.has("some-model", self.data)
        self.pull(self.url, "--sha256", sha(self.data), said="is there")
        self.assertEqual(len(self.server.seen), 1)
        self.pull(self.url + "?download=true", "--sha256", sha(self.data), "other")
        self.has("other", self.data)

    def test_what_is_there_stays(self):
        self.pull(self.url, "--sha256", sha(self.data), "m")
        self.server.files["/x.gguf"] = other = gguf(4000, 9)
        self.pull(self.server.url + "/x.gguf", "--sha256", sha(other), "m", status=5, said="--force")
        self.pull(self.server.url + "/x.gguf", "--insecure-no-digest", "m", status=5, said="--force")
        self.has("m", self.data)
        self.pull(self.server.url + "/x.gguf", "--sha256", sha(self.data), "m", "--force", status=3, said="SHA-256")
        with open(self.models + "/m.gguf", "rb") as f:
            self.assertEqual(f.read(), self.data)
        self.pull(self.server.url + "/x.gguf", "--sha256", sha(other), "m", "--force")
        self.has("m", other)

    def test_no_digest(self):
        self.pull(self.url, "--insecure-no-digest", "m", said="nobody said")
        self.has("m", self.data)
        # bytes that nothing checks are never put together from two pulls, or from two files
        parts = [self.data[:1000], gguf(1 << 20, 8)]

        def change(h, path, first):
            data = parts[0] if len(self.server.seen) < 3 else parts[1]
            if data is parts[0]:
                return h.send(self.data, first, cut=1000)
            return h.send(parts[1], 0 if h.headers.get("If-Range") else first)
        self.server.seen.clear()
        self.server.behave = change
        self.pull(self.url, "--insecure-no-digest", "n")
        self.has("n", parts[1])
        self.server.behave = lambda h, path, first: (h.send(self.data, first, cut=1000, tag=False)
                                                            if len(self.server.seen) < 3 else None)
        self.server.seen.clear()
        self.pull(self.url, "--insecure-no-digest", "o")
        self.assertEqual([first for _, first, _ in self.server.seen], [0, 0, 0])
        self.has("o", self.data)

    def test_cut_transfers_go_on(self):
        self.server.behave = lambda h, path, first: h.send(self.data, first, cut=300000)
        self.pull(self.url, "--sha256", sha(self.data), "m")
        self.assertEqual([first for _, first, _ in self.server.seen], [0, 300000, 600000, 900000])
        self.assertEqual(self.server.seen[1][2], f'"{sha(self.data)[:16]}"')
        self.has("m", self.data)

    def test_no_ranges(self):
        self.server.ranges = False
        self.server.behave = lambda h, path, first: h.send(self.data, cut=300000) if len(self.server.seen) < 3 else None
        self.pull(self.url, "--sha256", sha(self.data), "m")
        self.assertEqual(len(self.server.seen), 3)
        self.has("m", self.data)

    def test_no_length(self):
        self.server.behave = lambda h, path, first: h.send(self.data, length=False)
        self.pull(self.url, "--sha256", sha(self.data), "m")
        self.has("m", self.data)

    def test_wrong_ranges(self):
        def lie(h, path, first):
            if not first:
                return h.send(self.data, cut=1000)
            h.send_response(206)
            h.send_header("Content-Range", f"bytes 5-{len(self.data) - 1}/{len(self.data)}")
            h.send_header("Content-Length", str(len(self.data) - 5))
            h.end_headers()
            h.wfile.write(self.data[5:])
            return True
        self.server.behave = lie
        self.pull(self.url, "--sha256", sha(self.data), "m", status=3, said="other bytes")
        self.assertEqual(self.visible(), [])

    def test_wrong_content(self):
        other = self.data[:-1] + b"x"
        self.server.files["/dir/Some-Model.GGUF"] = other
        self.pull(self.url, "--sha256", sha(self.data), "m", status=3, said=sha(other))
        self.assertEqual(self.visible(), [])
        self.server.files["/dir/Some-Model.GGUF"] = self.data
        self.pull(self.url, "--sha256", sha(self.data), "m")            # the wrong bytes are gone
        self.has("m", self.data)
        # the right digest makes no model of a page
        for page in (b"<html>no such model</html>", self.data[:-10], b""):
            self.server.files["/page.gguf"] = page
            self.pull(self.server.url + "/page.gguf", "--sha256", sha(page), "p", status=3)
        self.assertEqual(self.visible(), ["m.gguf"])

    def test_more_and_less_than_promised(self):
        self.server.behave = lambda h, path, first: h.send(self.data, first, total=len(self.data) + 5, cut=len(self.data))
        self.pull(self.url, "--sha256", sha(self.data), "m", status=1)
        self.assertEqual(self.visible(), [])

        def chunks(h, path, first):
            h.send_response(200)
            h.send_header("Content-Length", "10")
            h.send_header("Connection", "close")
            h.end_headers()
            h.wfile.write(self.data)
            h.close_connection = True
            return True
        self.server.behave = chunks
        self.pull(self.url, "--sha256", sha(self.data), "m", "--force", status=3)
        self.assertEqual(self.visible(), [])

    def test_endless(self):
        def endless(h, path, first):
            h.send_response(200)
            h.send_header("Connection", "close")
            h.end_headers()
            while True:
                h.wfile.write(bytes(1 << 16))
        self.server.behave = endless
        self.pull(self.url, "--sha256", sha(self.data), "m", status=5, said="without end",
                  before=("bash", "-c", 'ulimit -f 4000; exec "$@"', "-"))
        self.assertEqual(self.visible(), [])

        def endless_head(h, path, first):
            h.send_response(200)
            while True:
                h.wfile.write(b"X-More: " + b"x" * 1000 + b"\r\n")
        self.server.behave = endless_head
        self.pull(self.url, "--sha256", sha(self.data), "m", status=1)

        def endless_page(h, path, first):
            h.send_response(404)
            h.end_headers()
            while True:
                h.wfile.write(b"no" * 30000)
        # an error's body is not waited for to its end
        self.server.behave = endless_page
        self.pull(self.url, "--sha256", sha(self.data), "m", status=4, said="404")

    def test_statuses(self):
        for number, status in ((404, 4), (410, 4), (403, 1), (401, 1), (400, 1), (204, 1), (304, 1)):
            self.server.behave = lambda h, path, first: h.status(number)
            self.pull(self.url, "--sha256", sha(self.data), "m", status=status, said=str(number))
        self.server.behave = lambda h, path, first: h.status(503) if len(self.server.seen) < 3 else None
        self.server.seen.clear()
        self.pull(self.url, "--sha256", sha(self.data), "m")
        self.has("m", self.data)

        def no_http(h, path, first):
            h.wfile.write(b"SSH-2.0-x\r\n")
            h.close_connection = True
            return True
        self.server.behave = no_http
        self.pull(self.url, "--sha256", sha(self.data), "n", status=1)

    def test_nobody_answers(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{s.getsockname()[1]}/x.gguf"
        begin = time.monotonic()
        self.pull(url, "--sha256", "0" * 64, status=1, said="cannot fetch")
        self.assertLess(time.monotonic() - begin, 30 * patience())
        self.assertEqual(self.visible(), [])

    def test_redirects(self):
        def redirect(h, path, first):
            n = re.match(r"/hop/(\d+)$", path)
            if n:
                return h.status(302, Location="/dir/Some-Model.GGUF" if n[1] == "1" else f"/hop/{int(n[1]) - 1}")
        self.server.behave = redirect
        self.pull(self.server.url + "/hop/5", "--sha256", sha(self.data), "m")
        self.has("m", self.data)
        self.pull(self.server.url + "/hop/6", "--sha256", sha(self.data), "n", status=1, said="redirects")
        for target in (HTTP + "192.0.2.1/x.gguf", HTTP + "example.invalid/x.gguf", "file:///etc/passwd", "ftp://127.0.0.1/x",
                       "gopher://127.0.0.1/x", HTTP + "user:secret@127.0.0.1/x", HTTP + "127.0.0.1.example.invalid/x", "data:,x"):
            self.server.behave = lambda h, path, first: h.status(302, Location=target)
            self.pull(self.url, "--sha256", sha(self.data), "n", status=1)
        self.server.behave = lambda h, path, first: h.status(302, Location=path)
        self.pull(self.url, "--sha256", sha(self.data), "n", status=1, said="redirects")
        self.assertEqual(self.visible(), ["m.gguf"])

    def test_which_urls(self):
        for url, status in ((HTTP + "192.0.2.1/x.gguf", 1), (HTTP + "example.invalid/x.gguf", 1), ("ftp://127.0.0.1/x.gguf", 2),
                            ("file:///etc/passwd", 2),
                            (HTTPS + "user:secret@127.0.0.1/x.gguf", 1), (HTTPS + "/x.gguf", 2), ("HTTP://127.0.0.1/x.gguf", 2),
                            (HTTPS + "127.0.0.1/a b.gguf", 2), (HTTPS + "127.0.0.1/a\r\nX: y.gguf", 2),
                            (HTTP + "127.0.0.1.example.invalid/x", 1),
                            (HTTP + "127.0.0.1@192.0.2.1/x", 1), (HTTPS + "x" * 5000, 5)):
            with self.subTest(url=url):
                begin = time.monotonic()
                self.pull(url, "--sha256", "0" * 64, "m", status=status)
                self.assertLess(time.monotonic() - begin, 3 * patience())             # nobody was asked
        self.assertEqual(self.visible(), [])

    def test_names(self):
        for path in ("/..%2f..%2fevil.gguf", "/.hidden.gguf", "/%2e%2e/x.gguf", "/a/..", "/", "/" + "x" * 300 + ".gguf",
                     "/%00.gguf"):
            self.server.files[path] = self.data
            done = subprocess.run([VERITAS, "models", "pull", self.server.url + path, "--sha256", sha(self.data)], env=self.env,
                                  capture_output=True)
            self.assertIn(done.returncode, (0, 2, 4), (path, done))
        for name in ("../evil", "/evil", ".evil", "a/b", "", "UPPER", "a\nb", "x" * 101):
            self.pull(self.url, "--sha256", sha(self.data), name, status=2)
        for name in self.visible():
            self.assertRegex(name, r"^[a-z0-9_-][a-z0-9._-]*\.gguf$")
        self.assertEqual(sorted(n for n in os.listdir(self.dir) if n[0] != "."), ["models"])

    def test_interrupted_and_resumed(self):
        hold = threading.Event()

        def slow(h, path, first):
            if not hold.is_set():
                h.send(self.data, first, cut=500000)
                h.wfile.flush()
                hold.wait(30)
                return True
        self.server.behave = slow

        def slow_start(h, path, first):
            h.send_response(200)
            h.send_header("Content-Length", str(len(self.data)))
            h.send_header("ETag", '"x"')
            h.end_headers()
            h.wfile.write(self.data[:500000])
            h.wfile.flush()
            hold.wait(30)
            raise OSError
        self.server.behave = lambda *a: None if hold.is_set() else slow_start(*a)
        for number, status in ((signal.SIGINT, 6), (signal.SIGKILL, -9)):
            hold.clear()
            self.server.seen.clear()
            name = f"m{number}"
            p = subprocess.Popen([VERITAS, "models", "pull", self.url, "--sha256", sha(self.data), name], env=self.env,
                                 stderr=subprocess.PIPE)
            part = f"{self.models}/.{name}.pull/part-1"
            end = time.time() + 20
            while not (os.path.exists(part) and os.path.getsize(part) == 500000) and time.time() < end:
                time.sleep(0.02)
            self.assertNotIn(name + ".gguf", self.visible())
            p.send_signal(number)
            err = p.communicate(timeout=10)[1]
            self.assertEqual(p.returncode, status, err)
            hold.set()
            self.pull(self.url, "--sha256", sha(self.data), name)
            self.assertEqual([first for _, first, _ in self.server.seen], [0, 500000])
            self.has(name, self.data)
        # what was left of another file is not a beginning of this one
        os.makedirs(self.models + "/.n.pull", mode=0o700)
        with open(self.models + "/.n.pull/part-1", "wb") as f:
            f.write(b"x" * 1000)
        self.pull(self.url, "--sha256", sha(self.data), "n")
        self.has("n", self.data)

    def test_full_disk(self):
        self.pull(self.url, "--sha256", sha(self.data), "m", status=5, said="ulimit",
                  before=("bash", "-c", 'ulimit -f 100; exec "$@"', "-"))
        self.assertEqual(self.visible(), [])
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", self.models], capture_output=True).returncode:
            self.skipTest("no small disk can be mounted here")
        try:
            self.pull(self.url, "--sha256", sha(self.data), "m", status=5, said="space")
            self.server.behave = lambda h, path, first: h.send(self.data, first, length=False)
            self.pull(self.url, "--sha256", sha(self.data), "m", status=5)
            self.assertEqual(self.visible(), [])
        finally:
            subprocess.run(["umount", self.models], check=True)

    def test_built_without_it(self):
        os.mkdir(self.dir + "/bin")
        for name in ("veritas", "veritas-broker", "veritas-worker", "veritas-guard", "veritas.rules"):
            bring = os.link if os.stat(VERITAS).st_dev == os.stat(self.dir).st_dev else shutil.copy
            bring(os.path.join(os.path.dirname(VERITAS), name), f"{self.dir}/bin/{name}")
        for source in (self.url, "hf:o/r"):
            done = subprocess.run([self.dir + "/bin/veritas", "models", "pull", source, "--sha256", sha(self.data)], env=self.env,
                                  capture_output=True, text=True)
            self.assertEqual(done.returncode, 4, done)
            self.assertIn("libcurl", done.stderr)

    def test_the_one_that_fetches_is_locked_in(self):
        seen = []

        def look(h, path, first):
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    with open(f"/proc/{pid}/comm") as f:
                        if f.read() != "veritas-fetch\n":
                            continue
                    with open(f"/proc/{pid}/status") as f:
                        status = dict(line.rstrip("\n").split(":\t", 1) for line in f)
                    if os.geteuid() == 0:
                        with open(f"/proc/{pid}/environ") as f:
                            status["environment"] = {v.split("=")[0] for v in f.read().split("\0") if v}
                        status["cwd"] = os.readlink(f"/proc/{pid}/cwd")
                    seen.append(status)
                except OSError:
                    pass
        self.server.behave = look
        self.pull(self.url, "--sha256", sha(self.data), "m",
                  env=dict(self.env, LD_LIBRARY_PATH="/x", OPENSSL_CONF="/x", SSLKEYLOGFILE=self.dir + "/keys", HTTP_X="y"))
        self.assertEqual(len(seen), 1)
        status = seen[0]
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
        if os.geteuid() == 0:
            self.assertEqual(set(status["Uid"].split()) | set(status["Gid"].split()), {"65534"})
            self.assertEqual((status["CapEff"], status["cwd"]), ("0" * 16, "/"))
            self.assertLessEqual(status["environment"], {"PATH", "LANG"} | {k for k in self.env if "SAN" in k})


class Tls(Case):
    def setUp(self):
        super().setUp()
        if not shutil.which("openssl"):
            self.skipTest("no openssl program")

        def openssl(*words):
            subprocess.run(["openssl", *words], cwd=self.dir, check=True, capture_output=True)
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test",
                "-days", "2")
        for name, alternative in (("good", "IP:127.0.0.1"), ("other", "DNS:other.invalid")):
            openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", name + ".key", "-out", name + ".csr", "-subj", "/CN=" + name)
            with open(f"{self.dir}/{name}.ext", "w") as f:
                f.write("subjectAltName=" + alternative + "\n")
            openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out",
                    name + ".pem", "-days", "2",
                    "-extfile", name + ".ext")
        self.ca = self.dir + "/ca.pem"
        os.chmod(self.ca, 0o600)
        self.tls = {}
        for name in ("good", "other"):
            self.tls[name] = Server((f"{self.dir}/{name}.pem", f"{self.dir}/{name}.key"))
            self.addCleanup(self.tls[name].close)
            self.tls[name].files["/x.gguf"] = self.data

    def test_tls(self):
        good, other = (self.tls[n].url + "/x.gguf" for n in ("good", "other"))
        self.pull(good, "--sha256", sha(self.data), "m", status=1, said="cert")             # nobody vouches for it
        self.pull(other, "--sha256", sha(self.data), "m", "--ca", self.ca, status=1)        # another's certificate
        self.pull(good, "--sha256", sha(self.data), "m", "--ca", self.dir + "/none", status=4)
        self.pull(good, "--sha256", sha(self.data), "m", "--ca", self.dir + "/good.key", status=1)
        self.assertEqual(self.visible(), [])
        self.pull(good, "--sha256", sha(self.data), "m", "--ca", self.ca)
        self.has("m", self.data)
        self.pull(good, "--sha256", sha(self.data), "n", env=dict(self.env, SSL_CERT_FILE=self.ca))
        self.tls["good"].behave = lambda h, path, first: h.status(302, Location=self.url)
        self.pull(good, "--sha256", sha(self.data), "o", "--ca", self.ca, status=1, said="https to http")
        self.server.behave = lambda h, path, first: h.status(302, Location=self.tls["good"].url + "/y.gguf")
        self.tls["good"].behave = None
        self.tls["good"].files["/y.gguf"] = self.data
        self.pull(self.url, "--sha256", sha(self.data), "o", "--ca", self.ca)
        self.has("o", self.data)


class Hub(Case):
    def setUp(self):
        super().setUp()
        self.env["VERITAS_HUB"] = self.server.url
        self.parts = {f"big/M-{i:05}-of-00003.gguf": gguf(100000 * i, i, (i - 1, 3)) for i in (1, 2, 3)}
        self.repo("o/one", {"only.Q4_K_M.gguf": self.data, "README.md": b"x"})
        self.repo("o/many", {"a.gguf": self.data, "sub dir/b+c.gguf": gguf(4000), **self.parts})

    def repo(self, name, files, **changes):
        listing = []
        for path, data in files.items():
            self.server.files[f"/{name}/resolve/main/" + path.replace(" ", "%20").replace("+", "%2B")] = data
            entry = {"type": "file", "oid": "0" * 40, "size": len(data), "path": path}
            if path.endswith(".gguf"):
                entry["lfs"] = {"oid": sha(data), "size": len(data), "pointerSize": 134}
            entry.update(changes)
            listing.append(entry)
        self.server.files[f"/api/models/{name}/tree/main"] = json.dumps(
            listing + [{"type": "directory", "path": "big", "oid": "1"}]).encode()

    def test_a_gated_repository(self):
        """The list of files can be read and the file can't, or not even the list: what to do, and nothing is left behind."""
        for closed in ("/api/", "/o/one/"):
            for number in (401, 403):
                self.server.behave = lambda h, path, first: path.startswith(closed) and h.status(number)
                said = self.pull("hf:o/one", status=1, said="the repository is private, or gated")
                self.assertIn("veritas models add FILE", said)
                self.assertEqual(os.listdir(self.models) if os.path.exists(self.models) else [], [])

    def test_hub(self):
        self.pull("hf:o/one")
        self.has("only.q4_k_m", self.data)
        self.pull("hf:o/one", said="is there")
        self.pull("hf:o/one/only.Q4_K_M.gguf", "x", "--sha256", sha(self.data))
        self.has("x", self.data)
        self.pull("hf:o/one", "y", "--sha256", "0" * 64, status=3, said="records")
        self.assertIn("a.gguf, sub dir/b+c.gguf, big/M-00001-of-00003.gguf", self.pull("hf:o/many", status=4))
        self.pull("hf:o/many/sub dir/b+c.gguf")
        self.has("b-c", gguf(4000))
        self.pull("hf:o/many/none.gguf", status=4, said="none.gguf")
        self.pull("hf:o/none", status=4)

    def test_all_parts(self):
        self.server.behave = lambda h, path, first: (h.send(self.server.files[path], first, cut=70000)
                                                            if path.endswith(".gguf") else None)
        self.pull("hf:o/many/big/M-00002-of-00003.gguf", said="SHA-256 " + joined(self.parts.values()))
        for i, data in enumerate(self.parts.values(), 1):
            with open(f"{self.models}/m-{i:05}-of-00003.gguf", "rb") as f:
                self.assertTrue(f.read() == data)
        self.assertEqual(len(self.visible()), 3)
        self.pull("hf:o/many/big/M-00002-of-00003.gguf", said="is there")
        # one bad part: none is seen
        self.server.files["/o/many/resolve/main/big/M-00003-of-00003.gguf"] = gguf(300000, 9, (2, 3))
        self.pull("hf:o/many/big/M-00001-of-00003.gguf", "bad", status=3)
        self.assertEqual(len(self.visible()), 3)
        # a plain URL of one part, with the digests of all
        url = self.server.url + "/o/many/resolve/main/big/M-00001-of-00003.gguf?x=y"
        digests = ",".join(sha(d) for d in list(self.parts.values())[:2]) + "," + sha(gguf(300000, 9, (2, 3)))
        self.pull(url, "--sha256", digests[:64], "u", status=2, said="3 digests are needed")
        self.pull(url, "--sha256", digests, "u")
        self.assertEqual(len(self.visible()), 6)
        # parts of two models: each is what it should be, and together they are none
        self.server.files["/o/many/resolve/main/big/M-00003-of-00003.gguf"] = gguf(300000, 9, (1, 3))
        digests = digests[:130] + sha(gguf(300000, 9, (1, 3)))
        self.pull(url, "--sha256", digests, "v", status=3, said="split.no")
        self.assertEqual(len(self.visible()), 6)

    def test_what_the_hub_records_counts(self):
        self.repo("o/lie", {"a.gguf": self.data}, lfs={"oid": sha(b"other"), "size": len(self.data)})
        self.pull("hf:o/lie", status=3, said="SHA-256")
        self.repo("o/size", {"a.gguf": self.data}, lfs={"oid": sha(self.data), "size": len(self.data) - 1})
        self.pull("hf:o/size", status=3, said="bytes")
        self.repo("o/plain", {"a.gguf": self.data}, lfs=None)
        self.pull("hf:o/plain", status=2, said="records no SHA-256")
        self.pull("hf:o/plain", "--sha256", sha(self.data), "p")
        self.has("p", self.data)
        self.assertEqual(self.visible(), ["p.gguf"])

    def test_hostile_listings(self):
        path = "/api/models/o/bad/tree/main"
        for name in ("../../evil.gguf", "/etc/evil.gguf", "a/../../evil.gguf", "..\\evil.gguf", "", "a//b.gguf",
                     "x" * 1000 + ".gguf", "a\u0000.gguf", "a\n.gguf"):
            self.repo("o/bad", {name: self.data})
            self.pull("hf:o/bad", status=4 if name != "a\u0000.gguf" else 3)
        for text in (b"", b"{}", b"[", b"[" * 100000, b"null", b'[{"path": 7}, 5, "x", {"path": "a.gguf", "lfs": 7}]', b"<html>",
                     b"\xff", b"[]", b'[{"path":"a.gguf","size":-1}]', b'[{"path":"a.gguf","size":1e400}]'):
            self.server.files[path] = text
            done = subprocess.run([VERITAS, "models", "pull", "hf:o/bad"], env=self.env, capture_output=True)
            self.assertIn(done.returncode, (2, 3, 4), (text[:40], done))
        self.server.files[path] = b"[" + b" " * (17 << 20) + b"]"
        self.pull("hf:o/bad", status=5)

        def endless(h, path, first):
            h.send_response(200)
            h.end_headers()
            while True:
                h.wfile.write(b" " * 65536)
        self.server.behave = endless
        self.pull("hf:o/bad", status=5)
        for word in ("hf:", "hf:o", "hf:o/", "hf:/o/x", "hf:../x", "hf:o/..", "hf:o/r/../x.gguf", "hf:o/r//x.gguf", "hf:o/r/",
                     "hf:o r/x", "hf:o/r?x"):
            self.pull(word, status=2)
        self.assertEqual(self.visible(), [])

    def test_only_this_machine_plays_hub(self):
        for host in (HTTPS + "example.invalid", HTTP + "192.0.2.1:80", HTTP + "127.0.0.1.example.invalid:80",
                     HTTP + "127.0.0.1:80@192.0.2.1", HTTP + "127.0.0.1"):
            self.pull("hf:o/one", status=2, said="VERITAS_HUB", env=dict(self.env, VERITAS_HUB=host))


if __name__ == "__main__":
    unittest.main(verbosity=1)
