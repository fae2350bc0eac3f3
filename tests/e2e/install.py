#!/usr/bin/env python3
"""cmake --install into a new prefix, moved elsewhere afterwards: programs, man pages, completion and documents are there and work.

usage: install.py BUILD
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

BUILD = sys.argv[1]


def calls_of(words):
    """The system calls that a SystemCallFilter= allows, as systemd says."""
    found = set()
    for word in words:
        if not word.startswith("@"):
            found.add(word)
            continue
        done = subprocess.run(["systemd-analyze", "syscall-filter", word], check=True, capture_output=True, text=True)
        lines = [line.strip() for line in done.stdout.split("\n")]
        found |= calls_of([w for w in lines if w and w[0] != "#" and w != word])
    return found


def check_units(prefix, at):
    """They name programs of the prefix that they were installed to, options that there are, and allow every call that is made."""
    for kind in ("system", "user"):
        check_gateway_unit(prefix, at, kind)
        path = f"{prefix}/lib/systemd/{kind}/veritas.service"
        with open(path) as f:
            unit = f.read().replace(f"={at}/", f"={prefix}/")       # it was moved since
        start = re.search(r"^ExecStart=(.*)$", unit, re.M)[1].split()
        assert start[0] == f"{prefix}/bin/veritas" and start[1] == "serve", start
        config = prefix + "/veritas.conf"
        with open(config, "w") as f:
            f.write("# nothing\n")
        words = [config if w == "/etc/veritas/veritas.conf" else w for w in start] + ["--check"]
        done = subprocess.run(words, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "ok\n"), done
        if not shutil.which("systemd-analyze"):
            continue
        with open(path, "w") as f:
            f.write(unit)
        # A user's unit needs a user's manager to be looked at.
        env = dict(os.environ, MANPATH=f"{prefix}/share/man", XDG_RUNTIME_DIR=prefix)
        done = subprocess.run(["systemd-analyze", "verify", "--" + kind, path], capture_output=True, text=True, env=env)
        assert done.returncode == 0 and not done.stderr, done
        if shutil.which("strace"):
            check_calls(prefix, set(re.search(r"^SystemCallFilter=(.*)$", unit, re.M)[1].split()))


def check_gateway_unit(prefix, at, kind):
    path = f"{prefix}/lib/systemd/{kind}/veritas-gateway.service"
    with open(path) as f:
        unit = f.read().replace(f"={at}/", f"={prefix}/")
    start = re.search(r"^ExecStart=(.*)$", unit, re.M)[1].split()
    assert start[:3] == [f"{prefix}/bin/veritas", "gateway", "--socket"], start
    if shutil.which("systemd-analyze"):
        with open(path, "w") as f:
            f.write(unit)
        env = dict(os.environ, MANPATH=f"{prefix}/share/man", XDG_RUNTIME_DIR=prefix)
        done = subprocess.run(["systemd-analyze", "verify", "--" + kind, path], capture_output=True, text=True, env=env)
        assert done.returncode == 0 and not done.stderr, done


def check_calls(prefix, words):
    trace = prefix + "/trace"
    with open(prefix + "/bad.gguf", "w") as f:
        f.write("GGUF")
    env = dict(os.environ, VERITAS_SOCKET=prefix + "/run/s", VERITAS_MODELS=prefix, HOME=prefix)
    veritas, quiet = prefix + "/bin/veritas", subprocess.DEVNULL
    daemon = subprocess.Popen(["strace", "-f", "-o", trace, veritas, "serve"], env=env, stderr=quiet)
    for _ in range(200):
        if subprocess.run([veritas, "load", prefix + "/bad.gguf"], env=env, stderr=quiet).returncode == 3:
            break
        time.sleep(0.05)
    else:
        raise AssertionError("no worker looked at the model")
    assert subprocess.run([veritas, "stop"], env=env).returncode == 0 and daemon.wait(30) == 0
    with open(trace) as f:
        made = set(re.findall(r"^\d+ +(?:<\.\.\. )?([a-z_0-9]+)(?:\(| resumed)", f.read(), re.M))
    assert {"landlock_restrict_self", "seccomp", "unshare"} <= made, made
    assert made <= calls_of(words | {"@default"}), made - calls_of(words | {"@default"})



# After `script/run` alone, which builds the target `programs`, nothing that is installed is missing.
with open(BUILD + "/cmake_install.cmake") as f:
    wanted = [p for p in re.findall(r'"([^"]*)"', f.read()) if p.startswith((BUILD + "/bin/", BUILD + "/made/"))]
assert len(wanted) > 25, wanted
for path in wanted:
    if path.startswith(BUILD + "/made/") and os.path.exists(path):
        os.unlink(path)
subprocess.run(["cmake", "--build", BUILD, "--target", "programs"], check=True, stdout=subprocess.DEVNULL)
assert all(os.path.getsize(p) for p in wanted)
with tempfile.TemporaryDirectory() as folder:
    prefix = folder + "/first"
    before = os.umask(0o077)                    # root's umask may be narrow, and others must be able to run it all the same
    subprocess.run(["cmake", "--install", BUILD, "--prefix", prefix], check=True, stdout=subprocess.DEVNULL)
    os.umask(before)
    for at, folders, files in os.walk(prefix):
        for name in folders + files:
            mode = os.stat(os.path.join(at, name)).st_mode
            assert mode & 0o044 == 0o044 and not mode & 0o022, (at, name, oct(mode))
    os.rename(prefix, prefix := folder + "/second")
    veritas = prefix + "/bin/veritas"
    help_text = subprocess.run([veritas, "help"], check=True, capture_output=True, text=True).stdout
    commands = [line.split()[0] for line in help_text.splitlines() if line.startswith("  ") and not line.startswith("  veritas")]
    assert len(commands) > 15, commands
    for name in ["veritas"] + ["veritas-" + c for c in commands + ["models-pull"]]:
        with open(f"{prefix}/share/man/man1/{name}.1") as f:
            assert f.read().startswith(".TH")
    for path in ("libexec/veritas/veritas-broker", "libexec/veritas/veritas-worker", "libexec/veritas/veritas-guard",
                 "libexec/veritas/veritas-selftest"):
        assert os.access(f"{prefix}/{path}", os.X_OK), path
    for path in ("share/bash-completion/completions/veritas", "share/zsh/site-functions/_veritas",
                 "share/fish/vendor_completions.d/veritas.fish", "share/doc/veritas/LICENSE"):
        assert os.path.getsize(f"{prefix}/{path}") > 1000, path
    if shutil.which("man"):
        done = subprocess.run(["man", "--warnings", "-l", f"{prefix}/share/man/man1/veritas-run.1"], capture_output=True, text=True,
                              env=dict(os.environ, MANROFFOPT="-ww", LC_ALL="C.UTF-8"))
        assert done.returncode == 0 and not done.stderr, done.stderr
    check_units(prefix, folder + "/first")
    # An installed supervisor finds broker and worker beside itself: the status of a private daemon would fail otherwise.
    env = dict(os.environ, HOME=folder, VERITAS_MODELS=folder, VERITAS_SOCKET=folder + "/s")
    with open(folder + "/bad.gguf", "w") as f:
        f.write("GGUF")
    done = subprocess.run([veritas, "inspect", folder + "/bad.gguf"], capture_output=True, text=True, env=env, timeout=60)
    assert done.returncode == 3, (done.returncode, done.stderr)
    done = subprocess.run([veritas, "selftest", "--isa", "c", "--brief", "--every", "8"], capture_output=True, text=True, env=env,
                          timeout=120)
    assert done.returncode == 0 and "every hash golden" in done.stdout, (done.returncode, done.stdout, done.stderr)
print("install: all there, and it works after a move")
