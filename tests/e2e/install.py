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

BUILD = sys.argv[1]

# After `script/run` alone, which builds the target `programs`, nothing that is installed is missing.
with open(BUILD + "/cmake_install.cmake") as f:
    wanted = [p for p in re.findall(r'"([^"]*)"', f.read()) if p.startswith((BUILD + "/bin/", BUILD + "/made/"))]
assert len(wanted) > 25, wanted
for path in wanted:
    if path.startswith(BUILD + "/made/") and os.path.exists(path):
        os.unlink(path)
subprocess.run(["ninja", "-C", BUILD, "programs"], check=True, stdout=subprocess.DEVNULL)
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
    for path in ("libexec/veritas/veritas-broker", "libexec/veritas/veritas-worker", "libexec/veritas/veritas-selftest"):
        assert os.access(f"{prefix}/{path}", os.X_OK), path
    for path in ("share/bash-completion/completions/veritas", "share/zsh/site-functions/_veritas",
                 "share/fish/vendor_completions.d/veritas.fish", "share/doc/veritas/LICENSE"):
        assert os.path.getsize(f"{prefix}/{path}") > 1000, path
    if shutil.which("man"):
        done = subprocess.run(["man", "--warnings", "-l", f"{prefix}/share/man/man1/veritas-run.1"], capture_output=True, text=True,
                              env=dict(os.environ, MANROFFOPT="-ww", LC_ALL="C.UTF-8"))
        assert done.returncode == 0 and not done.stderr, done.stderr
    # An installed supervisor finds broker and worker beside itself: the status of a private daemon would fail otherwise.
    env = dict(os.environ, HOME=folder, VERITAS_MODELS=folder, VERITAS_SOCKET=folder + "/s")
    with open(folder + "/bad.gguf", "w") as f:
        f.write("GGUF")
    done = subprocess.run([veritas, "inspect", folder + "/bad.gguf"], capture_output=True, text=True, env=env, timeout=60)
    assert done.returncode == 3, (done.returncode, done.stderr)
    done = subprocess.run([veritas, "selftest", "--isa", "c"], capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0 and "every hash golden" in done.stdout, (done.returncode, done.stdout, done.stderr)
print("install: all there, and it works after a move")
