"""`veritas gateway` in front of a daemon whose model is an echo: HTTP strictly, who may ask, what comes in what order, who leaves,
what dies. Arguments: veritas, veritas-broker, worker-echo, veritas-gateway."""
import http.client, http.server, json, os, re, select, shutil, signal, socket, ssl, subprocess, sys, tempfile, threading, time
import unittest

import client as c
from processes import Installed, below, child, patience

PROGRAMS = [os.path.abspath(p) for p in sys.argv[1:5]]
PROGRAMS += [os.path.join(os.path.dirname(PROGRAMS[0]), name) for name in ("veritas-guard", "veritas.rules")]
JSON = {"Content-Type": "application/json"}


def chat(text, **more):
    return json.dumps({"model": "echo", "messages": [{"role": "user", "content": text}], **more})


class Gateway(Installed, unittest.TestCase):
    options = []

    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="vg")
        os.chmod(cls.dir, 0o755)
        for source, name in zip(PROGRAMS, ("veritas", "veritas-broker", "veritas-worker", "veritas-gateway",
                                           "veritas-guard", "veritas.rules")):
            shutil.copy(source, f"{cls.dir}/{name}")
        os.mkdir(f"{cls.dir}/models")
        with open(f"{cls.dir}/models/echo.gguf", "wb") as f:
            f.write(b"G" * 4096)
        cls.env = dict(os.environ, VERITAS_MODELS=f"{cls.dir}/models", VERITAS_SOCKET=f"{cls.dir}/run/s.sock",
                       XDG_CACHE_HOME=f"{cls.dir}/cache", HOME=cls.dir)
        cls.daemon = cls.gateway = None
        cls.start_daemon()
        cls.gateway, cls.port = cls.start_gateway(*cls.options)

    @classmethod
    def start_daemon(cls):
        cls.daemon = subprocess.Popen([f"{cls.dir}/veritas", "serve"], env=cls.env, stderr=subprocess.DEVNULL)
        for _ in range(500):
            if subprocess.run([f"{cls.dir}/veritas", "ps"], env=cls.env, capture_output=True).returncode == 0:
                return
            time.sleep(0.02)
        raise AssertionError("no daemon")

    @classmethod
    def start_gateway(cls, *options, listen="127.0.0.1:0"):
        p = subprocess.Popen([f"{cls.dir}/veritas", "gateway", "--listen", listen, *options], env=cls.env, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        line = p.stdout.readline()
        found = re.fullmatch(r"listening https?://[^ ]*:(\d+)\n", line)
        if not found and not line.startswith("listening unix:"):
            p.kill()
            raise AssertionError(line + p.communicate()[1])
        return p, int(found[1]) if found else 0

    @classmethod
    def stop(cls, p):
        if p and p.poll() is None:
            p.terminate()
        if p:
            said = p.communicate(timeout=20)[1]
            if p is cls.gateway and os.environ.get("VERBOSE"):
                sys.stderr.write(said)

    @classmethod
    def tearDownClass(cls):
        cls.stop(cls.gateway)
        cls.stop(cls.daemon)
        shutil.rmtree(cls.dir)

    # ---- asking ----

    def ask(self, method, path, body=None, headers=None, port=None):
        c = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=20)
        c.request(method, path, body, headers if headers is not None else JSON if body is not None else {})
        r = c.getresponse()
        data = r.read()
        c.close()
        return r.status, {k.lower(): v for k, v in r.getheaders()}, data

    def raw(self, data, wait=5, port=None):
        """Everything that comes back for these bytes, until the end of the connection or silence."""
        s = socket.create_connection(("127.0.0.1", port or self.port), timeout=wait)
        s.sendall(data)
        got = b""
        try:
            while piece := s.recv(65536):
                got += piece
        except (TimeoutError, ConnectionResetError):
            pass
        s.close()
        return got

    def status(self, data, **more):
        got = self.raw(data, **more)
        self.assertRegex(got, rb"^HTTP/1\.1 \d\d\d ", got[:200])
        return int(got[9:12])

    def check_memory(self):
        """At most 64 MB (a sanitizer needs more)."""
        pid = child(self.gateway.pid, "veritas-gateway")
        with open(f"/proc/{pid}/status") as f, open(f"/proc/{pid}/maps") as maps:
            kb = int(re.search(r"VmRSS:\s+(\d+)", f.read())[1])
            self.assertTrue(kb < 64 << 10 or "san.so" in maps.read(), f"{kb} kB")

    def running(self):
        return sum(c["requests"] for c in json.loads(self.call("ps", "--json").stdout)["clients"])


class Answers(Gateway):
    def test_whole_and_stream_are_equal(self):
        status, headers, data = self.ask("POST", "/v1/chat/completions", chat("How are you?"))
        self.assertEqual((status, headers["content-type"]), (200, "application/json"))
        whole = json.loads(data)
        status, headers, data = self.ask("POST", "/chat/completions", chat("How are you?", stream=True))
        self.assertEqual((status, headers["content-type"]), (200, "text/event-stream"))
        events = [e[6:] for e in data.decode().split("\n\n") if e]
        self.assertEqual(events[-1], "[DONE]")
        chunks = [json.loads(e) for e in events[:-1]]
        text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
        self.assertEqual(text, whole["choices"][0]["message"]["content"])

    def test_own_routes(self):
        self.assertEqual(self.ask("GET", "/livez")[::2], (200, b"ok\n"))
        self.assertEqual(self.ask("GET", "/readyz")[::2], (200, b"ok\n"))
        self.assertIn(b"[+] daemon\n", self.ask("GET", "/readyz?verbose")[2])
        self.assertEqual(self.ask("GET", "/startupz")[0], 200)
        self.assertEqual(json.loads(self.ask("GET", "/health")[2]), {"status": "ok"})
        self.assertIn("version", json.loads(self.ask("GET", "/version")[2]))
        status, headers, data = self.ask("GET", "/v1/models")
        self.assertEqual([m["id"] for m in json.loads(data)["data"]], ["echo"])
        self.assertEqual(json.loads(self.ask("GET", "/v1/models/echo")[2])["id"], "echo")
        status, headers, data = self.ask("GET", "/v1/models/none")
        self.assertEqual((status, json.loads(data)["error"]["code"]), (404, "model_not_found"))
        self.ask("POST", "/v1/chat/completions", chat("x"))
        self.assertRegex(self.ask("GET", "/metrics")[2].decode(),
                         r'veritas_requests_total\{model="echo",route="/chat/completions",code="200"\} [1-9]')

    def test_methods_and_places(self):
        for method, path, want in (("GET", "/nothing", 404), ("POST", "/livez", 405), ("GET", "/v1/chat/completions", 405),
                                   ("DELETE", "/v1/models", 405), ("HEAD", "/livez", 200), ("OPTIONS", "/v1/models", 204)):
            status, headers, data = self.ask(method, path)
            self.assertEqual(status, want, (method, path))
            if status in (405, 204):
                self.assertTrue(headers["allow"])
            if status in (404, 405):
                self.assertIn("message", json.loads(data)["error"])
            if method == "HEAD":
                self.assertEqual((data, headers["content-length"]), (b"", "3"))
        self.assertEqual(self.ask("POST", "/v1/chat/completions", chat("x"), {})[0], 415)
        self.assertEqual(self.ask("POST", "/v1/chat/completions", chat("x"), {"Content-Type": "text/plain"})[0], 415)
        self.assertEqual(self.ask("POST", "/v1/chat/completions", chat("x"), {**JSON, "Content-Encoding": "gzip"})[0], 415)
        for body in ("", '{"messages":"\\ud800"}', "[]", "{",
                     '{"a":1,"a":2}', "nul", chat("x") + "}", '{"messages":' + "[" * 10000):
            status, headers, data = self.ask("POST", "/v1/chat/completions", body, JSON)
            self.assertEqual(status, 400, body[:40])
            self.assertEqual(headers["x-should-retry"], "false")
            self.assertTrue(json.loads(data)["error"]["message"])
        status, headers, data = self.ask("POST", "/v1/chat/completions", chat("x").replace("echo", "nobody"))
        self.assertEqual((status, json.loads(data)["error"]["code"]), (404, "model_not_found"))

    def test_hosts_and_origins(self):
        for host, want in (("localhost", 200), ("LOCALHOST:99", 200), ("127.0.0.1", 200), ("127.8.8.8:1", 200),
                           ("[::1]:8080", 200), ("example.org", 403), ("127.0.0.1.example.org", 403),
                           ("localhost.example.org", 403), ("8.8.8.8", 403)):
            self.assertEqual(self.status(b"GET /livez HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % host.encode()), want,
                             host)
        for origin, want in ((f"http://127.0.0.1:{self.port}", 200), ("http://example.org", 403), ("null", 403),
                             (f"https" f"://127.0.0.1:{self.port}", 403), ("http://127.0.0.1:1", 403)):
            status, headers, data = self.ask("GET", "/v1/models", headers={"Origin": origin})
            self.assertEqual(status, want, origin)
            self.assertNotIn("access-control-allow-origin", headers)


class Strict(Gateway):
    options = ["--max-body", "64K"]

    def test_smuggling(self):
        host = b"Host: localhost\r\n"
        post = b"POST /v1/chat/completions HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\n"
        body = chat("hi").encode()
        n = str(len(body)).encode()
        for data, want in (
                (post + b"Content-Length: " + n + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + body, 400),
                (post + b"Transfer-Encoding: chunked\r\nContent-Length: " + n + b"\r\n\r\n0\r\n\r\n", 400),
                (post + b"Content-Length: " + n + b"\r\nContent-Length: " + n + b"\r\n\r\n" + body, 400),
                (post + b"Content-Length: 5, 5\r\n\r\n12345", 400),
                (b"\r\n\r\nGET /livez HTTP/1.0\r\n\r\n", 200),
                (b"\r\n\r\n\r\nGET /livez HTTP/1.0\r\n\r\n", 400),
                (post + b"Content-Length: +5\r\n\r\n12345", 400),
                (post + b"Content-Length: -1\r\n\r\n", 400),
                (post + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
                (post + b"Content-Length : " + n + b"\r\n\r\n" + body, 400),
                (post + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
                (post + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
                (post + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
                (post + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400),
                (post + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n", 400),
                (post + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n", 400),
                (post + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", 400),
                (post + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400),
                (b"GET /livez HTTP/1.1\n" + host + b"\r\n", 400),
                (b"GET /livez HTTP/1.1\r\nHost: localhost\n\r\n", 400),
                (b"GET /livez HTTP/1.1\r\n" + host + b"X: a\r\n b\r\n\r\n", 400),
                (b"GET /livez HTTP/1.1\r\n" + host + b"X: a\r\n\tb: c\r\n\r\n", 400),
                (b"GET /livez HTTP/1.1\r\n" + host + b"X: a\rb\r\n\r\n", 400),
                (b"GET /livez HTTP/1.1\r\n" + host + b"X: a\0b\r\n\r\n", 400),
                (b"GET /livez HTTP/1.1\r\n" + host + b"X y: a\r\n\r\n", 400),
                (b"GET /livez HTTP/1.1\r\n" + host + b": a\r\n\r\n", 400),
                (b"GET /livez HTTP/1.1\r\n" + host + host + b"\r\n", 400),
                (b"GET /livez HTTP/1.1\r\n\r\n", 400),
                (b"GET  /livez HTTP/1.1\r\n" + host + b"\r\n", 400),
                (b"GET /livez\r\n" + host + b"\r\n", 400),
                (b"GET /livez HTTP/2.0\r\n" + host + b"\r\n", 505),
                (b"GET /livez HTTP/1.2\r\n" + host + b"\r\n", 505),
                (b"GET /livez HTTP/0.9\r\n" + host + b"\r\n", 505),
                (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
                (b"BREW /livez HTTP/1.1\r\n" + host + b"\r\n", 501),
                (b"CONNECT localhost:1 HTTP/1.1\r\n" + host + b"\r\n", 405),
                (b"GET http://example.org/livez HTTP/1.1\r\n" + host + b"\r\n", 400),
                (b"GET http://localhost/livez HTTP/1.1\r\n" + host + b"Connection: close\r\n\r\n", 200),
                (b"\r\n\r\nGET /livez HTTP/1.1\r\n" + host + b"Connection: close\r\n\r\n", 200),
                (b"GET /livez HTTP/1.0\r\n\r\n", 200),
                (b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\n" + host + b"\r\n", 414),
                (b"GET /livez HTTP/1.1\r\n" + host + b"X: " + b"y" * 70000 + b"\r\n\r\n", 431),
                (b"GET /livez HTTP/1.1\r\n" + host + b"X: y\r\n" * 2000 + b"\r\n", 431),
                (post + b"Content-Length: 1000000000\r\n\r\n", 413),
                (post + b"Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n", 413),
                (post + b"Transfer-Encoding: chunked\r\n\r\n" + b"8000\r\n" + b" " * 32768 + b"\r\n8001\r\n" +
                 b" " * 32769 + b"\r\n0\r\n\r\n", 413),
                (post + b"Transfer-Encoding: chunked\r\n\r\n40000000\r\n", 413),       # before any of it came
                (post + b"Transfer-Encoding: chunked\r\n\r\n" + b"1;" + b"e" * 100000 + b"\r\n", 400),
                (post + b"Content-Length: 5\r\nExpect: magic\r\n\r\n", 417),
                (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), 400),
        ):
            self.assertEqual(self.status(data), want, data[:120])

    def test_byte_by_byte(self):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        body = chat("slow").encode()
        for byte in (b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                     b"Transfer-Encoding: chunked\r\n\r\n%x;x=y\r\n%s\r\n0\r\nTrailer: z\r\n\r\n" % (len(body), body)):
            s.send(bytes([byte]))
        got = s.recv(65536)
        self.assertRegex(got, rb"^HTTP/1.1 200 ")
        s.close()

    def test_pipelining(self):
        one = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" \
              b"Content-Length: %d\r\n\r\n%s"
        bodies = [chat("message %d" % i).encode() for i in range(20)]
        data = b"".join(one % (len(b), b) for b in bodies) + b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        got = self.raw(data)
        self.assertEqual(re.findall(rb"message \d+", got), [b"message %d" % i for i in range(20)])
        self.assertEqual(got.count(b"HTTP/1.1 200 OK"), 21)
        self.assertTrue(got.endswith(b"ok\n"))
        got = self.raw(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500 + b"GET /none HTTP/1.0\r\n\r\n")
        self.assertEqual(got.count(b"HTTP/1.1 200 OK"), 500)

    def test_expect(self):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        body = chat("later").encode()
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                  b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        self.assertEqual(s.recv(1000), b"HTTP/1.1 100 Continue\r\n\r\n")
        s.sendall(body)
        self.assertRegex(s.recv(65536), rb"^HTTP/1.1 200 OK\r\n")
        s.close()

    def test_old_protocol(self):
        got = self.raw(b"POST /v1/chat/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                       % (len(chat("x", stream=True)), chat("x", stream=True).encode()))
        self.assertNotIn(b"chunked", got)
        self.assertTrue(got.endswith(b"data: [DONE]\n\n"))
        s = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        for _ in range(2):
            s.sendall(b"GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            self.assertIn(b"connection: keep-alive", s.recv(1000))
        s.close()


class Leaving(Gateway):
    def test_who_leaves_is_cancelled(self):
        for stream in (False, True):
            s = socket.create_connection(("127.0.0.1", self.port))
            body = chat("@slow 3000", stream=stream).encode()
            s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                      b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            self.wait_for(lambda: self.running() == 1)
            s.close()
            self.wait_for(lambda: self.running() == 0, 2)

    def test_who_does_not_read(self):
        """Long tokens to a reader that takes nothing: it alone is stopped, by credit, and others go on."""
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", self.port))
        body = chat("@spill 2000", stream=True).encode()
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                  b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.wait_for(lambda: self.running() == 1)
        time.sleep(1)
        self.check_memory()
        self.assertEqual(self.ask("GET", "/livez")[0], 200)
        self.wait_for(lambda: self.running() == 0, 15)          # LIMIT: it lacked credit for ten seconds
        s.close()

    def test_daemon_dies(self):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        self.wait_for(lambda: self.ask("GET", "/readyz")[0] == 200)             # a test before took the daemon away
        c.request("POST", "/v1/chat/completions", chat("@slow 3000", stream=True), JSON)
        r = c.getresponse()
        self.assertEqual(r.status, 200)
        r.read(10)
        whole = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        whole.request("POST", "/v1/chat/completions", chat("@slow 3000"), JSON)
        self.wait_for(lambda: self.running() == 2, said=lambda: self.call("ps", "--json").stdout)
        self.daemon.kill()
        rest = r.read().decode()
        self.assertIn('"error"', rest.split("\n\n")[-2])
        self.assertEqual(whole.getresponse().status, 502)
        self.daemon.wait()
        self.wait_for(lambda: self.ask("GET", "/readyz")[0] == 503)
        self.assertEqual(self.ask("GET", "/livez")[0], 200)
        self.assertEqual(self.ask("GET", "/startupz")[0], 200)          # a model has answered, though nobody looked
        status, headers, data = self.ask("POST", "/v1/chat/completions", chat("x"))
        self.assertEqual((status, headers["retry-after"], headers["x-should-retry"]), (503, "1", "true"))
        self.assertEqual(json.loads(data)["error"]["code"], "daemon_away")
        self.start_daemon()
        self.wait_for(lambda: self.ask("GET", "/readyz")[0] == 200)
        self.assertEqual(self.ask("POST", "/v1/chat/completions", chat("x"))[0], 200)

    def test_ready_by_another_name(self):
        """Where -m is another name of a model, it is that model whose state counts."""
        with open(f"{self.dir}/models/late.gguf", "wb") as f:
            f.write(b"S" * 4096)                                # it takes a while to be loaded
        self.assertEqual(self.call("load", "late", "--alias", "nick").returncode, 0)
        p, port = self.start_gateway("-m", "nick")
        try:
            self.assertEqual(self.ask("GET", "/readyz", port=port)[0], 200)
            late = next(m for m in json.loads(self.call("ps", "--json").stdout)["models"] if m["name"] == "late")
            os.kill(late["pid"], signal.SIGKILL)
            self.wait_for(lambda: self.ask("GET", "/readyz", port=port)[::2] == (503, b"no model is ready\n"))
            self.wait_for(lambda: self.ask("GET", "/readyz", port=port)[0] == 200)
        finally:
            self.stop(p)
            self.assertEqual(self.call("unload", "late").returncode, 0)
            os.unlink(f"{self.dir}/models/late.gguf")

    def test_a_file_of_a_shared_daemon(self):
        """Where -m is a path the daemon is asked to load it, at the start and when it came anew; probes answer meanwhile."""
        with open(f"{self.dir}/path.gguf", "wb") as f:
            f.write(b"S" * 4096)                                # it takes a while to be loaded
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        p = subprocess.Popen([f"{self.dir}/veritas", "gateway", "-m", f"{self.dir}/path.gguf", "--listen", f"127.0.0.1:{port}"],
                             env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

        def code(path):
            try:
                return self.ask("GET", path, port=port)[0]
            except ConnectionRefusedError:
                return 0
        body = json.dumps({"messages": json.loads(chat("Hi"))["messages"]})
        try:
            self.wait_for(lambda: code("/livez") == 200)
            self.assertEqual([code(path) for path in ("/readyz", "/startupz", "/metrics")], [503, 503, 200])
            self.assertEqual(p.stdout.readline(), f"listening http://127.0.0.1:{port}\n")
            self.assertEqual(code("/readyz"), 200)
            self.daemon.kill()
            self.daemon.wait()
            self.wait_for(lambda: code("/readyz") == 503)
            self.start_daemon()
            self.wait_for(lambda: b"[+] daemon" in self.ask("GET", "/readyz?verbose", port=port)[2])
            status, _, data = self.ask("POST", "/v1/chat/completions", body, JSON, port=port)
            self.assertEqual((status, json.loads(data)["error"]["code"], code("/readyz"), code("/startupz")),
                             (503, "loading", 503, 200))
            self.wait_for(lambda: code("/readyz") == 200)
            self.assertEqual(self.ask("POST", "/v1/chat/completions", body, JSON, port=port)[0], 200)
            os.rename(f"{self.dir}/path.gguf", f"{self.dir}/away.gguf")
            self.daemon.kill()
            self.daemon.wait()
            self.start_daemon()
            self.wait_for(lambda: b"[+] daemon" in self.ask("GET", "/readyz?verbose", port=port)[2])
            time.sleep(0.5)
            self.assertEqual(code("/readyz"), 503)              # it is asked for again
            os.rename(f"{self.dir}/away.gguf", f"{self.dir}/path.gguf")
            self.wait_for(lambda: code("/readyz") == 200)
        finally:
            self.stop(p)
            os.unlink(f"{self.dir}/path.gguf")
        self.assertEqual(p.returncode, 0)

    def test_a_death_is_told_once(self):
        p, port = self.start_gateway()
        for _ in range(3):              # so that it has connections to spare
            self.assertEqual(self.ask("POST", "/v1/chat/completions", chat("x"), port=port)[0], 200)
        self.daemon.kill()
        self.daemon.wait()
        self.wait_for(lambda: self.ask("GET", "/readyz", port=port)[0] == 503)
        self.start_daemon()
        self.wait_for(lambda: self.ask("GET", "/readyz", port=port)[0] == 200)
        p.terminate()
        said = p.communicate(timeout=20)[1]
        self.assertEqual(said.count("the daemon is gone"), 1, said)

    def test_worker_dies(self):
        status, headers, data = self.ask("POST", "/v1/chat/completions", chat("@crash"))
        self.assertEqual((status, json.loads(data)["error"]["code"]), (502, "worker_died"))
        self.assertEqual(self.ask("POST", "/v1/chat/completions", chat("x"))[0], 200)

    def test_gateway_dies(self):
        before = child(self.gateway.pid, "veritas-gateway")
        os.kill(before, signal.SIGSEGV)
        self.wait_for(lambda: set(below(self.gateway.pid, "veritas-gateway")) - {before})
        self.assertEqual(self.ask("POST", "/v1/chat/completions", chat("x"))[0], 200)


class Private(Gateway):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stop(cls.gateway)
        cls.stop(cls.daemon)

    def test_a_daemon_of_its_own(self):
        """Without a daemon one is started, with the model of -m; it is started again when it dies, and goes with the gateway."""
        p, port = self.start_gateway("-m", "echo")
        self.addCleanup(self.stop, p)
        ask = json.dumps({"messages": [{"role": "user", "content": "hello"}]})
        status, headers, data = self.ask("POST", "/v1/chat/completions", ask, port=port)
        self.assertEqual(status, 200, data)
        answer = json.loads(data)
        self.assertEqual((answer["model"], answer["choices"][0]["message"]["content"]), ("echo", "hello"))
        below_it = below(p.pid)
        self.assertEqual(sorted(below_it.values()), ["exe", "veritas-broker", "veritas-gateway", "veritas-guard", "veritas-worker"])
        os.kill(child(p.pid, "exe"), signal.SIGKILL)
        self.wait_for(lambda: self.ask("POST", "/v1/chat/completions", ask, port=port)[0] == 200)
        os.kill(child(p.pid, "veritas-gateway"), signal.SIGSEGV)
        self.wait_for(lambda: set(below(p.pid, "veritas-gateway")) - set(below_it))
        self.wait_for(lambda: self.ask("POST", "/v1/chat/completions", ask, port=port)[0] == 200)
        left = below(p.pid)
        p.terminate()
        self.assertEqual(p.wait(10), 0)
        self.wait_for(lambda: not [pid for pid in left if os.path.exists(f"/proc/{pid}")], 3)


class Ending(Gateway):
    def setUp(self):
        if not self.gateway or self.gateway.poll() is not None:
            type(self).gateway, type(self).port = self.start_gateway()

    def test_drain(self):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        c.request("POST", "/v1/chat/completions", chat("@slow 100", stream=True), JSON)
        r = c.getresponse()
        r.read(10)
        idle = socket.create_connection(("127.0.0.1", self.port))
        self.gateway.terminate()
        time.sleep(0.2)
        self.assertEqual(self.ask("GET", "/livez")[0], 200)
        self.assertEqual(self.ask("GET", "/readyz")[0], 503)
        self.assertIn(b"veritas_requests_running", self.ask("GET", "/metrics")[2])
        self.assertEqual(self.ask("POST", "/v1/chat/completions", chat("x"))[0], 503)
        self.assertTrue(r.read().endswith(b"data: [DONE]\n\n"))
        self.assertEqual(self.gateway.wait(5), 0)
        idle.close()

    def test_drain_time(self):
        """--drain: who is not done by then gets a last error."""
        gateway, port = self.start_gateway("--drain", "1")
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        c.request("POST", "/v1/chat/completions", chat("@slow 3000", stream=True), JSON)
        r = c.getresponse()
        r.read(10)
        start = time.monotonic()
        gateway.terminate()
        self.assertIn(b"shutting_down", r.read())
        self.assertEqual(gateway.wait(5), 0)
        self.assertTrue(0.8 < time.monotonic() - start < 4)

    def test_second_signal(self):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        c.request("POST", "/v1/chat/completions", chat("@slow 3000", stream=True), JSON)
        r = c.getresponse()
        r.read(10)
        self.gateway.terminate()
        time.sleep(0.2)
        self.gateway.terminate()
        start = time.monotonic()
        self.assertIn(b"shutting_down", r.read())
        self.assertEqual(self.gateway.wait(5), 0)
        self.assertLess(time.monotonic() - start, 2 * patience())

    def test_nothing_is_left(self):
        pid = child(self.gateway.pid, "veritas-gateway")
        self.gateway.kill()
        self.gateway.wait()
        self.wait_for(lambda: not os.path.exists(f"/proc/{pid}"))


class PrivateCrowd(Gateway):
    options = ["--private", "-m", "echo", "--max-connections", "400"]

    @classmethod
    def start_daemon(cls):
        pass                                                    # the gateway has its own

    def test_many_at_once(self):
        """More requests than one connection to the daemon takes: a private one gets more, as a shared one does."""
        first = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        first.request("POST", "/v1/chat/completions", chat("@slow 2000", stream=True), JSON)
        answer = first.getresponse()
        answer.read(1)                                          # it runs, and the others wait for it
        others = [http.client.HTTPConnection("127.0.0.1", self.port, timeout=60) for _ in range(200)]
        for x in others:
            x.request("POST", "/v1/chat/completions", chat("four"), JSON)
        answers = [x.getresponse() for x in others]
        self.assertEqual({x.status for x in answers}, {200})
        for x in [*others, first]:
            x.close()

    def begin(self, first_byte, model="late"):
        """A gateway whose model begins with this byte, as soon as it is alive; and its port."""
        with open(f"{self.dir}/models/late.gguf", "wb") as f:
            f.write(first_byte * 4096)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        p = subprocess.Popen([f"{self.dir}/veritas", "gateway", "--private", "-m", model, "--ctx", "64", "--listen",
                              f"127.0.0.1:{port}"], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return p, port

    def test_probes_while_it_loads(self):
        p, port = self.begin(b"S")

        def probe(path):
            try:
                return self.ask("GET", path, port=port)
            except ConnectionRefusedError:
                return 0, {}, b""
        try:
            self.wait_for(lambda: probe("/livez")[0] == 200)
            for path in ("/readyz", "/startupz", "/health"):
                self.assertEqual(probe(path)[0], 503, path)
            self.assertIn(b"[-] accepting\n[+] daemon\n", probe("/readyz?verbose")[2])
            status, headers, data = self.ask("POST", "/v1/chat/completions", chat("Hi"), port=port)
            self.assertEqual((status, headers["retry-after"], json.loads(data)["error"]["code"]), (503, "1", "loading"))
            self.assertEqual([self.ask("GET", path, port=port)[0] for path in ("/", "/metrics")], [200, 200])
            self.assertEqual(p.stdout.readline(), f"listening http://127.0.0.1:{port}\n")
            for path in ("/readyz", "/startupz", "/health"):
                self.assertEqual(probe(path)[0], 200, path)
            status, _, data = self.ask("POST", "/v1/chat/completions", json.dumps({"messages": json.loads(chat("Hi"))["messages"]}),
                                       JSON, port=port)
            self.assertEqual((status, json.loads(data)["model"]), (200, "late"))
        finally:
            self.stop(p)
        self.assertEqual(p.returncode, 0)

    def test_loads_again(self):
        """Another private daemon has to load the model, too."""
        p, port = self.begin(b"S")
        try:
            self.assertEqual(p.stdout.readline(), f"listening http://127.0.0.1:{port}\n")
            os.kill(child(p.pid, "exe"), signal.SIGKILL)
            self.wait_for(lambda: b"[-] accepting\n[+] daemon" in self.ask("GET", "/readyz?verbose", port=port)[2])
            self.assertEqual([self.ask("GET", path, port=port)[0] for path in ("/livez", "/metrics", "/startupz")], 3 * [200])
            self.wait_for(lambda: self.ask("GET", "/readyz", port=port)[0] == 200)
            body = json.dumps({"messages": json.loads(chat("Hi"))["messages"]})
            self.assertEqual(self.ask("POST", "/v1/chat/completions", body, JSON, port=port)[0], 200)
            os.rename(f"{self.dir}/models/late.gguf", f"{self.dir}/away.gguf")         # not there, and then another crash
            os.kill(child(p.pid, "exe"), signal.SIGKILL)
            time.sleep(1)
            os.rename(f"{self.dir}/away.gguf", f"{self.dir}/models/late.gguf")
            self.wait_for(lambda: b"[-] accepting\n[+] daemon" in self.ask("GET", "/readyz?verbose", port=port)[2])
            before = child(p.pid, "veritas-gateway")
            os.kill(before, signal.SIGKILL)                     # while it is loaded

            def is_ready():
                try:
                    return self.ask("GET", "/readyz", port=port)[0] == 200
                except (ConnectionError, http.client.HTTPException):
                    return False
            self.wait_for(is_ready, 20)
            self.assertEqual(self.ask("POST", "/v1/chat/completions", body, JSON, port=port)[0], 200)
        finally:
            self.stop(p)
        self.assertEqual(p.returncode, 0)

    def test_a_file_that_stays_away(self):
        """A path is asked for more often than there are connections, and on SIGHUP at once; a name before there is a daemon."""
        at, away = f"{self.dir}/models/late.gguf", f"{self.dir}/away.gguf"
        for model, times in ((at, 12), ("late", 1)):
            p, port = self.begin(b"S", model)
            try:
                self.assertEqual(p.stdout.readline(), f"listening http://127.0.0.1:{port}\n")
                os.rename(at, away)
                os.kill(child(p.pid, "exe"), signal.SIGKILL)
                said, end = b"", time.monotonic() + 10 * patience()
                while said.count(b"late") < times:              # so many tries have failed
                    self.assertTrue(p.poll() is None and time.monotonic() < end, said)
                    if select.select([p.stderr], [], [], 0.2)[0]:
                        said += os.read(p.stderr.fileno(), 65536)
                    p.send_signal(signal.SIGHUP)
                self.assertEqual(self.ask("GET", "/readyz", port=port)[0], 503)
                os.rename(away, at)
                self.wait_for(lambda: p.send_signal(signal.SIGHUP) or self.ask("GET", "/readyz", port=port)[0] == 200)
            finally:
                self.stop(p)
            self.assertEqual(p.returncode, 0)

    def test_ended_while_it_loads(self):
        p, port = self.begin(b"S")
        self.wait_for(lambda: below(p.pid, "veritas-worker"))
        begun = time.monotonic()
        p.terminate()
        self.assertEqual((p.wait(20), p.communicate()), (0, ("", "")))
        self.assertLess(time.monotonic() - begun, 1.5 * patience())
        p, port = self.begin(b"X")
        self.assertEqual(p.wait(20), 3)
        out, err = p.communicate()
        self.assertEqual((out, err.count("not an echo model")), ("", 1))

    def test_daemon_dies_while_it_loads(self):
        """No other one is started: the gateway ends, and says why."""
        p, port = self.begin(b"S")
        self.wait_for(lambda: below(p.pid, "veritas-worker"))
        first = child(p.pid, "exe")
        os.kill(first, signal.SIGKILL)
        seen = set()
        while p.poll() is None:
            seen |= set(below(p.pid, "exe"))
            time.sleep(0.01)
        self.assertLessEqual(seen, {first})
        self.assertEqual((p.returncode, p.communicate()[0]), (70, ""))

    def test_hangup_while_it_loads(self):
        """SIGHUP, to the process that loads too: certificates are read anew, and nothing else happens."""
        p, port = self.begin(b"S")
        try:
            self.wait_for(lambda: below(p.pid, "veritas-worker"))
            for pid in [p.pid, *below(p.pid, "veritas")]:
                os.kill(pid, signal.SIGHUP)
            self.assertEqual(p.stdout.readline(), f"listening http://127.0.0.1:{port}\n")
        finally:
            self.stop(p)
        self.assertEqual(p.returncode, 0)


class Guarded(Gateway):
    """Keys, TLS, sockets of files: what a stranger meets."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.first, cls.second = cls.add_key("first"), cls.add_key("second", "--role", "operator")
        cls.make_cert("one")
        subprocess.run([f"{cls.dir}/veritas", "load", "echo"], env=cls.env, check=True, capture_output=True)
        cls.gateway_of_keys, cls.port = cls.start_gateway("--require-key", "--metrics-listen", f"unix:{cls.dir}/metrics",
                                                          "--allow-host", "models.example.org",
                                                          "--allow-origin", "http" "://chat.example.org")

    @classmethod
    def tearDownClass(cls):
        cls.stop(cls.gateway_of_keys)
        super().tearDownClass()

    @classmethod
    def add_key(cls, *words):
        return subprocess.run([f"{cls.dir}/veritas", "keys", "add", *words], env=cls.env, check=True, capture_output=True,
                              text=True).stdout.strip()

    @classmethod
    def make_cert(cls, name):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-keyout", f"{cls.dir}/key.pem", "-out", f"{cls.dir}/cert.pem", "-subj", f"/CN={name}",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)

    def test_keys(self):
        first, second = self.first, self.second
        other = first[:20] + ("b" if first[20] == "a" else "a") + first[21:]
        for headers, want in (({}, 401), ({"Authorization": f"Bearer {first}"}, 200), ({"X-Api-Key": second}, 200),
                              ({"authorization": f"bearer  {second}"}, 200), ({"Authorization": f"Bearer {other}"}, 401),
                              ({"Authorization": "Bearer "}, 401), ({"Authorization": first}, 401),
                              ({"Authorization": "Basic Zmlyc3Qta2V5"}, 401), ({"X-Api-Key": ""}, 401)):
            status, answer, data = self.ask("GET", "/v1/models", headers=headers)
            self.assertEqual(status, want, headers)
            if want == 401:
                self.assertEqual(answer["www-authenticate"], "Bearer")
                self.assertEqual(json.loads(data)["error"]["code"], "invalid_api_key")
        for path, want in (("/livez", 200), ("/readyz", 200), ("/startupz", 200), ("/health", 200), ("/metrics", 401),
                           ("/version", 401)):
            self.assertEqual(self.ask("GET", path)[0], want, path)
        # in the form of the API that was asked, also where nothing was read of the request
        good, theirs = {"X-Api-Key": first}, {"anthropic-version": "2023-06-01"}
        for method, path, headers, want in (
                ("GET", "/v1/models", {}, "401 authentication_error"), ("POST", "/v1/messages", JSON, "401 authentication_error"),
                ("GET", "/v1/models", {**good, "Host": "example.org"}, "403 permission_error"),
                ("GET", "/v1/models/none", good, "404 not_found_error"), ("GET", "/v1/nothing", good, "404 not_found_error"),
                ("DELETE", "/v1/models", good, "405 invalid_request_error")):
            status, _, data = self.ask(method, path, "{}" if method == "POST" else None, {**headers, **theirs})
            told = json.loads(data)
            self.assertEqual((told.get("type"), f"{status} {told['error'].get('type')}"), ("error", want), (method, path, headers))
        # a body is not waited for when the key is wrong
        self.assertEqual(self.status(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                                     b"Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"), 401)

    def test_roles(self):
        """A key may over HTTP what it may on the socket; the daemon's log has its name, and where it came from."""
        self.assertEqual(self.ask("GET", "/metrics", headers={"X-Api-Key": self.first})[0], 403)
        self.assertEqual(self.ask("GET", "/metrics", headers={"X-Api-Key": self.second})[0], 200)
        status, _, data = self.ask("POST", "/v1/chat/completions", chat("hello"), {**JSON, "X-Api-Key": self.first})
        self.assertEqual(status, 200, data)
        status, _, data = self.ask("POST", "/v1/chat/completions", json.dumps({"model": "no", "messages": []}),
                                   {**JSON, "X-Api-Key": self.first})
        self.assertIn(status, (400, 403), data)

    def test_lock_out(self):
        """Five wrong keys from an address, and it is not asked again; who was known to be right goes on."""
        p, port = self.start_gateway("--require-key")
        self.addCleanup(self.stop, p)
        right = {"X-Api-Key": self.first}
        self.assertEqual(self.ask("GET", "/version", headers=right, port=port)[0], 200)
        for i in range(5):
            wrong = self.first[:20 + i] + ("b" if self.first[20 + i] == "a" else "a") + self.first[21 + i:]
            self.assertEqual(self.ask("GET", "/version", headers={"X-Api-Key": wrong if i % 2 else "x"}, port=port)[0], 401)
        for key in ("x", self.second):
            status, headers, data = self.ask("GET", "/version", headers={"X-Api-Key": key}, port=port)
            self.assertEqual((status, json.loads(data)["error"]["code"]), (429, "too_many_wrong_keys"))
            self.assertTrue(20 <= int(headers["retry-after"]) <= 31, headers)
        self.assertEqual(self.ask("GET", "/version", headers=right, port=port)[0], 200)
        self.assertEqual(self.ask("GET", "/livez", port=port)[0], 200)
        got = b""                                               # pipelined, and with its bodies
        body = chat("hi").encode()
        one = (b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Api-Key: "
               + self.second.encode() + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        got = self.raw(3 * one, wait=2)
        self.assertEqual(got.count(b"HTTP/1.1 200"), 3, got[:300])

    def test_words_that_are_no_key(self):
        """Without --require-key what programs send in place of a key does not matter; a key that is one is used."""
        for word in ("none", "sk-1234567890", ""):
            headers = {"Authorization": "Bearer " + word}
            self.assertEqual(self.ask("GET", "/v1/models", headers=headers, port=self.open_port())[0], 200)
        self.assertEqual(self.ask("GET", "/metrics", headers={"X-Api-Key": self.first}, port=self.open_port())[0], 403)
        other = self.first[:-1] + ("b" if self.first[-1] == "a" else "a")       # a slip: no key
        self.assertEqual(self.ask("GET", "/metrics", headers={"X-Api-Key": other}, port=self.open_port())[0], 200)

    def open_port(self):
        if not hasattr(type(self), "plain"):
            type(self).plain = self.start_gateway()
            type(self).addClassCleanup(self.stop, type(self).plain[0])
        return self.plain[1]

    def test_new_and_revoked(self):
        """A new key counts as soon as `keys add` is done, though who tells the broker of it is slow; a revoked one no more."""
        p, port = self.start_gateway("--require-key")           # tries count there, not for the other tests
        self.addCleanup(self.stop, p)
        told = {}
        self.daemon.send_signal(signal.SIGSTOP)
        try:
            keys = [{"X-Api-Key": self.add_key(f"new{i}")} for i in range(3)]

            def hold(i, key):
                told[i] = self.ask("GET", "/v1/models", headers=key, port=port)[0]
            threads = [threading.Thread(target=hold, args=pair) for pair in enumerate(keys)]
            for thread in threads:
                thread.start()
            with socket.create_connection(("127.0.0.1", port)) as leaves:       # one that does not wait
                leaves.sendall(f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {keys[0]['X-Api-Key']}\r\n\r\n".encode())
                time.sleep(0.3)
            self.assertEqual(told, {})
        finally:
            self.daemon.send_signal(signal.SIGCONT)
        for thread in threads:
            thread.join()
        self.assertEqual(told, {0: 200, 1: 200, 2: 200})
        key = {"X-Api-Key": self.add_key("third")}
        self.assertEqual(self.ask("GET", "/v1/models", headers=key, port=port)[0], 200)
        subprocess.run([f"{self.dir}/veritas", "keys", "revoke", "third"], env=self.env, check=True, capture_output=True)
        self.wait_for(lambda: self.ask("GET", "/v1/models", headers=key, port=port)[0] == 401)

    def test_allowed(self):
        key = {"X-Api-Key": self.first}
        self.assertEqual(self.ask("GET", "/v1/models", headers={**key, "Host": "models.example.org"})[0], 200)
        origin = "http" "://chat.example.org"
        status, headers, data = self.ask("GET", "/v1/models", headers={**key, "Origin": origin})
        self.assertEqual((status, headers["access-control-allow-origin"], headers["vary"]), (200, origin, "origin"))
        status, headers, data = self.ask("OPTIONS", "/v1/chat/completions", headers={
            "Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"})
        self.assertEqual((status, headers["access-control-allow-origin"]), (204, origin))
        self.assertIn("POST", headers["access-control-allow-methods"])
        self.assertIn("content-type", headers["access-control-allow-headers"])
        status, headers, data = self.ask("OPTIONS", "/v1/chat/completions", headers={
            "Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-stainless-os, x-a_b"})
        self.assertEqual(headers["access-control-allow-headers"], "x-stainless-os, x-a_b")
        self.assertEqual(self.ask("OPTIONS", "/v1/chat/completions", headers={"Origin": "http" "://evil.example.org"})[0], 403)

    def over_unix(self, path, target):
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        s.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % target)
        got = b""
        while piece := s.recv(65536):
            got += piece
        s.close()
        return int(got[9:12]), got.split(b"\r\n\r\n", 1)[1]

    def test_sockets_of_files(self):
        path = f"{self.dir}/metrics"
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        status, text = self.over_unix(path, b"/metrics")
        self.assertEqual(status, 200)
        self.assertIn(b"veritas_requests_total", text)
        self.assertEqual(self.over_unix(path, b"/readyz")[0], 200)
        self.assertEqual(self.over_unix(path, b"/v1/models")[0], 404)
        p, port = self.start_gateway(listen=f"unix:{self.dir}/door")
        self.assertEqual(self.over_unix(f"{self.dir}/door", b"/v1/models")[0], 200)
        done = self.call("gateway", "--listen", f"unix:{self.dir}/door")
        self.assertEqual(done.returncode, 5, done.stderr)
        self.stop(p)
        self.assertFalse(os.path.exists(f"{self.dir}/door"))

    def test_tls(self):
        p, port = self.start_gateway("--tls-cert", f"{self.dir}/cert.pem", "--tls-key", f"{self.dir}/key.pem")
        self.addCleanup(self.stop, p)
        trust = ssl.create_default_context(cafile=f"{self.dir}/cert.pem")
        def get(context, path, body=None):
            c = http.client.HTTPSConnection("localhost", port, timeout=20, context=context)
            c.request("POST" if body else "GET", path, body, JSON if body else {})
            r = c.getresponse()
            data = r.read()
            c.close()
            return r.status, data
        self.assertEqual(get(trust, "/livez"), (200, b"ok\n"))
        text = "x" * 1000000
        for stream in (False, True):
            status, data = get(trust, "/v1/chat/completions", chat("y" * 20000, stream=stream))
            self.assertEqual((status, data.count(b"y") >= 20000), (200, True))
        self.assertEqual(get(trust, "/v1/chat/completions", chat("@spill 3", stream=True, pad=text))[0], 200)
        self.assertEqual(self.raw(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", port=port), b"")       # no TLS
        self.assertIn(self.raw(bytes(range(256)) * 100, port=port)[:5], (b"", b"\x15\x03\x01\0\2", b"\x15\x03\x03\0\2"))  # an alert
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            old = ssl.create_default_context(cafile=f"{self.dir}/cert.pem")
            old.maximum_version = ssl.TLSVersion.TLSv1_1
            get(old, "/livez")
        self.make_cert("two")
        with self.assertRaises(ssl.SSLError):
            get(ssl.create_default_context(cafile=f"{self.dir}/cert.pem"), "/livez")
        p.send_signal(signal.SIGHUP)
        fresh = ssl.create_default_context(cafile=f"{self.dir}/cert.pem")
        def works():
            try:
                return get(fresh, "/livez")[0] == 200
            except ssl.SSLError:
                return False
        self.wait_for(works)
        with open(f"{self.dir}/key.pem", "w") as f:             # broken: the old pair stays
            f.write("no key\n")
        p.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        self.assertTrue(works())
        done = self.call("gateway", "--listen", "127.0.0.1:0", "--tls-cert", f"{self.dir}/cert.pem", "--tls-key",
                         f"{self.dir}/key.pem")
        self.assertEqual(done.returncode, 2)
        for word in ("private key", "/key.pem"):
            self.assertIn(word, done.stderr)
        self.make_cert("one")

    def test_metrics_are_plain(self):
        p, port = self.start_gateway("--tls-cert", f"{self.dir}/cert.pem", "--tls-key", f"{self.dir}/key.pem",
                                     "--metrics-listen", "127.0.0.1:0")
        self.addCleanup(self.stop, p)
        found = re.fullmatch(r"listening http://127.0.0.1:(\d+)\n", p.stdout.readline())
        status, _, data = self.ask("GET", "/metrics", port=int(found[1]))
        self.assertEqual((status, b"veritas_build_info" in data), (200, True))

    def test_what_is_refused(self):
        key, tls = ("--require-key",), ("--tls-cert", f"{self.dir}/cert.pem", "--tls-key", f"{self.dir}/key.pem")
        for options, want in ((("--listen", "0.0.0.0:0"), 2), (("--listen", "0.0.0.0:0", *key), 2),
                              (("--listen", "[::]:0", *tls), 2), (("--listen", "nonsense"), 2),
                              (("--listen", "127.0.0.1:70000"), 2), (("--listen", "127.0.0.1:"), 2),
                              (("--listen", f"127.0.0.1:{self.port}"), 5), (("--tls-cert", "x"), 2), (("--ctx", "100"), 2),
                              (("--max-body", "1"), 2), (("-m", "nosuch"), 4),
                              (("--private", "-m", "nosuch"), 4), (("--allow-origin", "chat.example.org"), 2),
                              (("--allow-origin", "http" "://chat.example.org/"), 2), (("--allow-origin", "*"), 2),
                              (("--allow-origin", "http" "://chat.example.org:x"), 2)):
            done = self.call("gateway", *options)
            self.assertEqual((done.returncode, done.stdout), (want, ""), (options, done.stderr))
        for options in ((*key, *tls), ("--insecure",)):
            p, port = self.start_gateway(*options, listen="0.0.0.0:0")
            self.stop(p)


class Metrics(Gateway):
    options = ["--metrics-alias", "vllm"]

    def test_names(self):
        """Types and labels are those of the golden file, values are what was asked; nobody can make names."""
        for i in range(3):
            self.assertEqual(self.ask("POST", "/v1/chat/completions", chat("four", stream=i == 0))[0], 200)
        for i in range(20):
            self.ask("POST", "/v1/chat/completions", chat("x").replace("echo", f"no-{i}"))
        status, headers, data = self.ask("GET", "/metrics")
        self.assertEqual((status, headers["content-type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        found, values, help_of = {}, {}, set()
        for line in data.decode().splitlines():
            kind = re.fullmatch(r"# (HELP|TYPE) ([\w:]+) (.+)", line)
            if kind and kind[1] == "TYPE":
                self.assertNotIn(kind[2], found)
                found[kind[2]] = [kind[3], set()]
            elif kind:
                help_of.add(kind[2])
            else:
                sample = re.fullmatch(r"([\w:]+)(?:\{(.*)\})? ([0-9.e+-]+)", line)
                self.assertTrue(sample, line)
                name = re.sub(r"_(bucket|sum|count)$", "", sample[1]) if sample[1] not in found else sample[1]
                self.assertTrue(line.startswith(name) and name in found, line)
                found[name][1] |= set(re.findall(r"(\w+)=", sample[2] or "")) - {"le"}
                values[line.rsplit(" ", 1)[0]] = float(sample[3])
        with open(os.path.join(os.path.dirname(__file__), "../golden/metrics.names")) as f:
            golden = dict(line.split() for line in f)
        golden["veritas_requests_total"] = "counter"
        ours = {n: kind for n, (kind, labels) in found.items() if n.startswith("veritas_")}
        self.assertEqual({n: golden.get(n) for n in ours}, ours)
        self.assertLessEqual(set(golden) - set(ours), {"veritas_worker_restarts_total", "veritas_draft_tokens_total"})
        self.assertEqual(help_of, set(found))
        self.assertEqual(found["veritas_requests_total"][1], {"model", "route", "code"})
        self.assertLessEqual(set().union(*(labels for kind, labels in found.values())),
                             {"model", "route", "code", "result", "version", "model_name"})
        self.assertEqual(values['veritas_requests_total{model="echo",route="/chat/completions",code="200"}'], 3)
        self.assertEqual(values['veritas_requests_total{model="",route="/chat/completions",code="404"}'], 20)
        self.assertEqual(values['veritas_generated_tokens_total{model="echo"}'], 12)
        self.assertEqual(values['vllm:generation_tokens_total{model_name="echo"}'], 12)
        self.assertEqual(values['veritas_time_to_first_token_seconds_count{model="echo"}'], 3)
        if shutil.which("promtool"):
            text = "\n".join(line for line in data.decode().splitlines() if "vllm:" not in line) + "\n"
            done = subprocess.run(["promtool", "check", "metrics"], input=text.encode(), capture_output=True)
            self.assertEqual(done.returncode, 0, done.stderr + done.stdout)


def protobuf(data):
    """[(field, value)] of a message: whole numbers, or bytes."""
    found, at = [], 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(data):
        key = varint()
        if key & 7 == 0:
            value = varint()
        else:
            n = {1: lambda: 8, 5: lambda: 4, 2: varint}[key & 7]()
            value = data[at:at + n]
            assert len(value) == n
            at += n
        found.append((key >> 3, value))
    return found


def only(message, field):
    found, = [value for number, value in protobuf(message) if number == field]
    return found


class Traces(Gateway):
    @classmethod
    def setUpClass(cls):
        cls.batches = []

        class Collector(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                cls.batches.append((self.path, self.headers["content-type"], body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args):
                pass
        cls.collector = http.server.HTTPServer(("127.0.0.1", 0), Collector)
        threading.Thread(target=cls.collector.serve_forever, daemon=True).start()
        cls.options = ["--otlp", "http:/" f"/127.0.0.1:{cls.collector.server_port}"]
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.collector.shutdown()
        cls.collector.server_close()

    def spans(self):
        """{name: [span]}, a span as {field: [values]}"""
        found = {}
        for path, kind, body in self.batches:
            self.assertEqual((path, kind), ("/v1/traces", "application/x-protobuf"))
            for field, value in protobuf(only(only(body, 1), 2)):
                if field == 2:
                    span = {}
                    for number, part in protobuf(value):
                        span.setdefault(number, []).append(part)
                    found.setdefault(span[5][0].decode(), []).append(span)
        return found

    def test_spans(self):
        trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
        self.assertEqual(self.ask("POST", "/v1/chat/completions", chat("one"))[0], 200)
        self.ask("POST", "/v1/chat/completions", chat("two", stream=True), {**JSON, "traceparent": f"00-{trace}-{parent}-01"})
        self.ask("POST", "/v1/chat/completions", chat("never"), {**JSON, "traceparent": f"00-{trace}-{parent}-00"})
        self.ask("POST", "/v1/chat/completions", chat("x"), {**JSON, "traceparent": "00-XYZ"})
        self.ask("POST", "/v1/chat/completions", chat("@crash"))
        self.wait_for(lambda: sum(map(len, self.spans().values())) >= 4 + 3 * 3)
        spans = self.spans()
        mine, = [s for s in spans["chat echo"] if s[1][0].hex() == trace]
        self.assertEqual((mine[4][0].hex(), mine[6]), (parent, [2]))
        self.assertLessEqual(int.from_bytes(mine[7][0], "little"), int.from_bytes(mine[8][0], "little"))
        self.assertLess(abs(int.from_bytes(mine[7][0], "little") / 1e9 - time.time()), 60)
        attributes = {only(a, 1).decode(): only(a, 2) for a in mine[9]}
        self.assertEqual(only(attributes["gen_ai.request.model"], 1), b"echo")
        self.assertEqual(only(attributes["gen_ai.operation.name"], 1), b"chat")
        self.assertEqual(only(attributes["http.response.status_code"], 3), 200)
        self.assertEqual(only(attributes["gen_ai.usage.output_tokens"], 3), 3)
        self.assertEqual(only(only(only(attributes["gen_ai.response.finish_reasons"], 5), 1), 1), b"stop")
        below_it = [n for n, list_ in spans.items() for s in list_ if s.get(4) == mine[2]]
        self.assertEqual(sorted(below_it), ["decode", "prefill", "queue"])
        self.assertEqual(len({s[2][0] for list_ in spans.values() for s in list_}), sum(map(len, spans.values())))
        failed, = [s for s in spans["chat echo"] if 15 in s]
        self.assertEqual(only(failed[15][0], 3), 2)


class Many(Gateway):
    def test_more_than_one_connection_to_the_daemon(self):
        """400 requests at once: more than a connection to the daemon may carry, and than a model's line takes."""
        body = chat("@slow 20", stream=True).encode()
        asks = []
        for _ in range(400):
            s = socket.create_connection(("127.0.0.1", self.port), timeout=60)
            s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                      b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            asks.append(s)
        codes = {}
        for s in asks[:300]:
            s.close()
        for s in asks[300:]:
            got = b""
            while piece := s.recv(65536):
                got += piece
            codes[got[9:12]] = codes.get(got[9:12], 0) + 1
            if got[9:12] == b"200":
                self.assertTrue(got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"), got[-200:])
            else:
                self.assertIn(b"retry-after", got)
            s.close()
        self.assertLessEqual(set(codes), {b"200", b"429"})
        self.assertGreater(codes.get(b"200", 0), 0)
        self.wait_for(lambda: self.running() == 0)

    def test_idle_connections(self):
        """1,000 that say nothing, in 64 MB; one more is served, and one over the limit takes the idlest's place."""
        idle = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(1000)]
        for s in idle[:100]:
            s.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertIn(b"200 OK", s.recv(1000))
        self.assertEqual(self.ask("GET", "/livez")[0], 200)
        self.check_memory()
        more = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(100)]
        self.assertEqual(self.ask("GET", "/livez")[0], 200)
        for s in idle + more:
            s.close()


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[5:])
