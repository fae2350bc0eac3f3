#!/usr/bin/env python3
"""libveritas as others use it: from an installed prefix that was moved, by pkg-config and by CMake, in C and in C++, shared and
static, against a real daemon with a tiny model. The examples, those of docs/C-API.md, and tests/support/capi_host.c, a program that
has threads, signal handlers and children of its own.

usage: capi.py BUILD
"""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

BUILD = os.path.abspath(sys.argv[1])
TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
with open(BUILD + "/CMakeCache.txt") as f:
    CACHE = dict(re.findall(r"^(\w+):\w+=(.*)$", f.read(), re.M))
CC, LIB = CACHE["CMAKE_C_COMPILER"], CACHE["CMAKE_INSTALL_LIBDIR"]
CXX = shutil.which("clang++" if "clang" in CC else "g++")
SANITIZE = [f"-fsanitize={CACHE['VERITAS_SANITIZE']}"] if CACHE.get("VERITAS_SANITIZE") else []
WARN = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wundef", "-Werror", *SANITIZE]
GREEDY = ["--temp", "0"]


def run(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, **more)
    assert done.returncode == 0, (command, done.returncode, done.stdout, done.stderr)
    return done.stdout


def install(folder):
    """The prefix, moved after it was made."""
    run("cmake", "--install", BUILD, "--prefix", folder + "/first")
    os.rename(folder + "/first", folder + "/prefix")
    return folder + "/prefix"


def pkg_config(prefix, *what):
    return run("pkg-config", *what, "veritas", env=dict(os.environ, PKG_CONFIG_PATH=f"{prefix}/{LIB}/pkgconfig")).split()


def build(prefix, out, source, compiler=(CC, "-std=c11", "-D_GNU_SOURCE"), libraries=None):
    libraries = libraries or pkg_config(prefix, "--libs") + [f"-Wl,-rpath,{prefix}/{LIB}"]
    run(*compiler, *WARN, *pkg_config(prefix, "--cflags"), source, "-o", out, *libraries, "-pthread")
    return out


class Daemon:
    def __init__(self, prefix, env):
        self.process = subprocess.Popen([prefix + "/bin/veritas", "serve"], env=env, stdin=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while subprocess.run([prefix + "/bin/veritas", "ps"], env=env, capture_output=True).returncode != 0:
            assert time.monotonic() < end, "the daemon does not start"
            time.sleep(0.05)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self):
        self.process.terminate()
        assert self.process.wait(30) == 0


def examples(prefix, folder, env):
    """Built in each way; the answer is that of the command line."""
    made = {name: build(prefix, f"{folder}/{name}", f"{TREE}/examples/{name}.c") for name in ("ask", "many")}
    if CXX:
        made["C++"] = build(prefix, folder + "/ask++", TREE + "/examples/ask.c", (CXX, "-x", "c++", "-std=c++11", "-D_GNU_SOURCE"))
    if not SANITIZE:
        made["static"] = build(prefix, folder + "/ask-static", TREE + "/examples/ask.c",
                               libraries=[f"{prefix}/{LIB}/libveritas.a", "-ljansson"])
    options = [f"-DCMAKE_C_FLAGS={' '.join(SANITIZE)}", f"-DCMAKE_C_COMPILER={CC}", f"-DCMAKE_PREFIX_PATH={prefix}"]
    run("cmake", "-S", prefix + "/share/doc/veritas/examples", "-B", folder + "/cmake", *options)
    run("cmake", "--build", folder + "/cmake")
    made["CMake"] = folder + "/cmake/ask"
    needed = run("readelf", "-d", made["CMake"])
    assert "[libveritas.so.0]" in needed, needed
    assert SANITIZE or "libveritas" not in run("readelf", "-d", made["static"])
    want = run(prefix + "/bin/veritas", "run", "-m", "tiny", "-n", "200", *GREEDY, "ab", env=env).rstrip("\n")
    assert want
    assert os.access(pkg_config(prefix, "--variable=program")[0], os.X_OK)
    for name in {"ask", "C++", "CMake"} & made.keys():      # no daemon runs: a private one, found beside the library
        assert run(made[name], "tiny", "ab", env=env) == want, name
    daemon = Daemon(prefix, env)
    for name in made:
        if name != "many":
            assert run(made[name], "tiny", "ab", env=env) == want, name
            assert run(made[name], folder + "/models/tiny.gguf", "ab", env=env) == want, name
    text = run(made["many"], "tiny", env=env, input="ab\nab\nab\nab")
    first = run(prefix + "/bin/veritas", "run", "-m", "tiny", "-n", "100", *GREEDY, "ab", env=env).rstrip("\n")
    assert sorted(re.findall(r"^(\d): ", text, re.M)) == list("1234") and text.count(first) == 4, text
    done = subprocess.run([made["ask"], "absent", "ab"], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr.startswith("NOT_FOUND: "), done.stderr
    daemon.end()


def documents(prefix, folder, env):
    """Each block of C in the page compiles alone, as C and C++; those with a main() are run. The man page has all names."""
    with open(f"{prefix}/share/doc/veritas/C-API.md") as f:
        blocks = re.findall(r"^```c\n(.*?)^```", f.read(), re.M | re.S)
    assert len(blocks) > 4
    n_run = 0
    for i, block in enumerate(blocks):
        source = f"{folder}/block{i}.c"
        with open(source, "w") as f:
            f.write(block)
        for compiler in ((CC, "-std=c11", "-D_GNU_SOURCE"), *([(CXX, "-x", "c++", "-std=c++11", "-D_GNU_SOURCE")] if CXX else [])):
            run(*compiler, *WARN, *pkg_config(prefix, "--cflags"), "-c", source, "-o", folder + "/block.o")
        if " main(" in block:
            program = build(prefix, f"{folder}/block{i}", source)
            assert run(program, "tiny", env=env).strip(), block
            n_run += 1
    assert n_run > 0
    with open(f"{prefix}/share/man/man3/veritas.3") as f:
        page = f.read()
    with open(TREE + "/src/api/libveritas.map") as f:
        for name in re.findall(r"^ +(veritas_\w+);", f.read(), re.M):
            assert re.search(rf"\b{name}\b", page), name + " is not in veritas(3)"


def executable(pid):
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def host(prefix, folder, env):
    program = build(prefix, folder + "/host", TREE + "/tests/support/capi_host.c")
    listener = socket.socket(socket.AF_UNIX)        # somebody who takes no connection; that takes ten seconds, so beside the others
    listener.bind(folder + "/run/full")
    listener.listen(0)
    first = socket.socket(socket.AF_UNIX)
    first.connect(folder + "/run/full")
    full = subprocess.Popen([program, "full", folder + "/run/full"], stderr=subprocess.PIPE, text=True)
    for command in ("guest", "guest-ignoring", "guest-handling", "reaper", "naked", "broken"):
        done = subprocess.run([program, command, folder + "/models/tiny.gguf"], env=env, capture_output=True, text=True,
                              timeout=240)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), (command, done)
    left = [exe for exe in map(executable, filter(str.isdigit, os.listdir("/proc"))) if exe.startswith(prefix)]
    assert not left, left
    daemon = Daemon(prefix, env)
    for command in ("many", "threads"):
        run(program, command, "tiny", env=env)
    orphan = subprocess.Popen([program, "orphan", "tiny"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert orphan.stdout.readline() == "kill\n", orphan.communicate()
    daemon.kill()
    for process in (orphan, full):
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, (process.args, process.returncode, errors)
    first.close()
    listener.close()


def main():
    with tempfile.TemporaryDirectory(prefix="vsc") as folder:
        prefix = install(folder)
        os.makedirs(folder + "/models")
        os.makedirs(folder + "/run", mode=0o700)
        run(BUILD + "/bin/mkmodel", "--layers", "1", "--embd", "64", "--heads", "4", "--vocab", "600", "--ctx", "4096",
            "-o", folder + "/models/tiny.gguf")
        env = dict(os.environ, VERITAS_MODELS=folder + "/models", VERITAS_SOCKET=folder + "/run/s", HOME=folder)
        env.pop("VERITAS_SANDBOX", None)
        examples(prefix, folder, env)
        documents(prefix, folder, env)
        host(prefix, folder, env)
    print("libveritas: builds in every way, and is a good guest")


main()
