#!/usr/bin/env python3
"""The web page of the gateway in a real browser: Debian's Chromium, headless, through its debugging pipe.

usage: page.py VERITAS          skipped (77) where there is no chromium or no model smollm2-135m-instruct
"""
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

MODEL = "smollm2-135m-instruct"


class Browser:
    """Commands and answers are JSON, each ended by a NUL, on descriptors 3 and 4 of the browser."""
    def __init__(self, program, folder):
        theirs_in, self.write_fd = os.pipe()
        self.read_fd, theirs_out = os.pipe()

        def place():                    # 3 and 4 in the child, whatever they were
            a, b = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(a, 3)
            os.dup2(b, 4)
        self.process = subprocess.Popen([program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
                                         "--no-first-run", "--user-data-dir=" + folder, "about:blank"], preexec_fn=place,
                                        close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self.buffer, self.number, self.events = b"", 0, []
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if getattr(self, "session", None):
            message["sessionId"] = self.session
        os.write(self.write_fd, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.buffer:
                data = os.read(self.read_fd, 65536)
                assert data, "the browser has ended"
                self.buffer += data
            one, self.buffer = self.buffer.split(b"\0", 1)
            answer = json.loads(one)
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, expression, seconds=60):
        end = time.monotonic() + seconds
        while not self.value(expression):
            assert time.monotonic() < end, (expression, self.value("document.body.innerText"))
            time.sleep(0.05)

    def go(self, url):
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)
        self.wait(f"location.href.startsWith({json.dumps(url.split('#')[0])}) && document.readyState === 'complete'")

    def type(self, text):
        """As a user does: a key, or a whole text as a paste brings it."""
        self.value("document.getElementById('prompt').focus()")
        self.call("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")

    def close(self):
        self.process.kill()
        self.process.wait()


LAST = "[...document.querySelectorAll('.turn.assistant .text')].pop().innerText"
IDLE = "document.getElementById('stop').disabled && document.querySelectorAll('.turn.assistant').length > 0"


def whole(port, messages, **more):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    c.request("POST", "/v1/chat/completions", json.dumps({"model": MODEL, "messages": messages, **more}),
              {"Content-Type": "application/json"})
    return json.loads(c.getresponse().read())["choices"][0]["message"]["content"]


def check(browser, port):
    at = f"http://127.0.0.1:{port}/"
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    c.request("GET", "/")
    reply = c.getresponse()
    policy, page = reply.getheader("content-security-policy"), reply.read().decode()
    assert reply.status == 200 and "default-src 'none'" in policy and "unsafe" not in policy, policy
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|@import", page), "the page fetches something"

    question = [{"role": "user", "content": "What is two plus two?"}]
    browser.go(at)                                              # the settings are kept, so the next visit has them
    browser.wait(f"[...document.getElementById('model').options].some(o => o.value === '{MODEL}')")
    browser.value(f"""for (const [name, value] of Object.entries({{model: '{MODEL}', max_tokens: 24, seed: 7, temperature: .8}})) {{
        document.getElementById(name).value = value; document.getElementById(name).onchange(); }}""")
    browser.go(at + "#q=What+is+two+plus+two%3F")               # asks at once
    browser.wait(IDLE)
    first = browser.value(LAST)
    assert first == whole(port, question, max_tokens=24, seed=7, temperature=0.8).strip("\n"), first
    assert browser.value("location.hash") == "", "a reload would ask again"

    browser.type("And three <b>more</b>?")                      # text stays text
    browser.wait("document.querySelectorAll('.turn.assistant').length === 2 && document.getElementById('stop').disabled")
    assert browser.value("document.querySelector('.turn b')") is None
    browser.go(at)                                              # chats outlive the page
    browser.wait("document.querySelectorAll('#chats li').length === 1")
    browser.value("document.querySelector('#chats button').click()")
    assert browser.value("document.querySelectorAll('.turn').length") == 4
    assert browser.value("document.querySelector('.turn b')") is None

    browser.value("document.getElementById('new').click(); document.getElementById('max_tokens').value = ''")
    browser.value("document.getElementById('system').value = 'Answer with a very long list.'")
    browser.type("List all numbers up to five hundred.")
    browser.wait("document.querySelectorAll('.turn.assistant').length === 1 && " + LAST + ".length > 5")
    browser.value("document.getElementById('stop').click()")
    browser.wait(IDLE, 5)
    assert browser.value("[...document.querySelectorAll('.about')].pop().innerText") == "stopped"
    said = [e for e in browser.events if e.get("method") == "Runtime.exceptionThrown" or
            (e.get("method") == "Log.entryAdded" and e["params"]["entry"]["level"] != "verbose")]
    assert not said, said
    hosts = {e["params"]["request"]["url"].split("/")[2] for e in browser.events if e.get("method") == "Network.requestWillBeSent"
             and e["params"]["request"]["url"].startswith("http")}
    assert hosts == {f"127.0.0.1:{port}"}, hosts

    # A question that failed is not part of the chat: its text is there to be sent again, and others are answered.
    ready = "document.getElementById('stop').disabled"
    for before in (0, 1):
        browser.value("document.getElementById('new').click(); document.getElementById('max_tokens').value = 4")
        n_chats = browser.value("document.querySelectorAll('#chats li').length")
        if before:
            browser.type("Hi")
            browser.wait(IDLE)
        browser.value("document.getElementById('top_p').value = 7")
        browser.type("What is two?")
        browser.wait(ready + " && document.querySelector('.about.bad') !== null")
        assert browser.value("document.getElementById('prompt').value") == "What is two?"
        assert browser.value("document.querySelectorAll('.turn.user').length") == before
        assert browser.value("document.querySelectorAll('#chats li').length") == n_chats + before
        browser.value("document.getElementById('top_p').value = ''")
        browser.type("")
        browser.wait(ready + f" && document.querySelectorAll('.turn.user').length === {before + 1}")
        kept = json.loads(browser.value("localStorage.getItem('veritas.chats')"))[0]["turns"]
        assert [t["role"] for t in kept] == ["user", "assistant"] * (before + 1), kept
        assert not any(t.get("bad") for t in kept) and kept[-2]["content"] == "What is two?", kept

    browser.value("location.hash = 'q=Say+one'")                # in a page that is open already: a chat of its own
    browser.wait(ready + " && [...document.querySelectorAll('.turn .text')].map(e => e.innerText)[0] === 'Say one'")
    browser.wait(ready + " && document.querySelectorAll('.turn').length === 2 && location.hash === ''")


def main():
    program, chromium = sys.argv[1], shutil.which("chromium")
    if not chromium or subprocess.run([program, "models", "path", MODEL], capture_output=True).returncode:
        print("skipped: no chromium, or no " + MODEL)
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="vspage") as folder:
        gateway = subprocess.Popen([program, "gateway", "--private", "-m", MODEL, "--listen", "127.0.0.1:0"],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        browser = None
        try:
            port = int(re.fullmatch(r"listening http://127.0.0.1:(\d+)\n", gateway.stdout.readline())[1])
            browser = Browser(chromium, folder)
            check(browser, port)
        finally:
            if browser:
                browser.close()
            gateway.terminate()
            gateway.wait(20)
    print("page: works in Chromium")


main()
