#!/usr/bin/env python3
"""What each program links is part of the security argument: what a process does not link, nobody can trick it into calling.

usage: programs.py BUILD. For each program: no symbol of a room that is not on its list, and no shared library that is not. For
libveritas too, and that it shows the names of its map, which are those of its header, and no other.
"""
import os
import re
import subprocess
import sys

BUILD = sys.argv[1]
SYSTEM = {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libgcc_s.so.1"}
SANITIZERS = ("libasan.", "libubsan.", "libtsan.", "libpthread.", "libdl.", "librt.", "libclang_rt.", "libresolv.")
PROGRAMS = {
    "veritas": ({"client", "identity", "policy", "evidence", "receipt", "ipc", "base", "sandbox"},
                {"libjansson", "libcrypto", "libedit", "libseccomp"}),
    "veritas-broker": ({"identity", "receipt", "ipc", "sandbox", "base"}, {"libjansson", "libseccomp"}),
    "veritas-audit": ({"evidence", "receipt", "ipc", "sandbox", "base"}, {"libjansson", "libseccomp", "libcrypto", "libsodium"}),
    "veritas-receipt": ({"evidence", "receipt", "ipc", "sandbox", "base"}, {"libjansson", "libseccomp", "libcrypto"}),
    "veritas-guard": ({"policy", "filter", "unicode", "receipt", "ipc", "sandbox", "base"},
                      {"libjansson", "libseccomp", "libhs_runtime"}),
    "veritas-worker": ({"base", "tensor", "graph", "import", "backend", "cpu", "unicode", "tokenizer", "template", "sampler",
                        "grammar", "kv", "draft", "sched", "engine", "receipt", "ipc", "parts",
                        "sandbox"},
                       {"libjansson", "libseccomp", "libcrypto"}),
    "veritas-gateway": ({"client", "identity", "ipc", "sandbox", "base"}, {"libjansson", "libseccomp", "libssl", "libcrypto"}),
    "veritas-fetch": ({"base"}, {"libcurl", "libseccomp"}),
    "veritas-selftest": ({"base", "tensor", "graph", "import", "backend", "cpu", "sampler", "kv", "selftest"}, set()),
}
# Functions of the C library that open a file or reach somebody behind the caller's back: a locked-in process is ended for it, and
# maybe only with that one model (gmtime_r reads the time zone's file, for templates that print the date).
UNAWARE = set("gmtime gmtime_r localtime localtime_r mktime timegm strftime ctime ctime_r tzset setlocale newlocale nl_langinfo "
              "getpwuid getpwnam getgrgid getaddrinfo gethostbyname getnameinfo dlopen iconv_open fopen fopen64 freopen tmpfile "
              "popen system posix_spawn execv execve execl execvp get_nprocs get_nprocs_conf get_phys_pages syslog openlog catopen "
              "gettext dcgettext".split())


def nm(path, *options):
    out = subprocess.run(["nm", *options, path], capture_output=True, text=True, check=True).stdout
    return {w[2] for w in (line.split() for line in out.splitlines()) if len(w) == 3 and w[1] in "TDBRVW"}


rooms = {}
for name in os.listdir(BUILD):
    found = re.fullmatch(r"libvs_(\w+)\.a", name)
    if found:
        rooms[found[1]] = {s for s in nm(os.path.join(BUILD, name)) if s.startswith("vs_")}
assert "base" in rooms, "no room libraries in " + BUILD

failed = 0
for program, (allowed, libraries) in PROGRAMS.items():
    path = os.path.join(BUILD, "bin", program)
    if not os.path.exists(path):
        if program in ("veritas-fetch", "veritas-gateway"):        # built without libcurl, node-llhttp
            continue
        print(program, "is not built")
        failed += 1
        continue
    out = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
    symbols = {line.split()[-1] for line in out.splitlines() if line}
    assert "main" in symbols, program + " has no symbols to look at"
    for room, names in rooms.items():
        if room not in allowed and names & symbols:
            print(f"{program} links the room {room}: {', '.join(sorted(names & symbols)[:5])}")
            failed += 1
    taken = {line.split()[-1].split("@")[0] for line in out.splitlines() if line.split()[-2:-1] == ["U"]}
    assert "malloc" in taken or "calloc" in taken, program + " imports nothing"
    if program != "veritas" and taken & UNAWARE:
        print(f"{program} calls {', '.join(sorted(taken & UNAWARE))}")
        failed += 1
    out = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
    for library in re.findall(r"\(NEEDED\).*\[(.*)\]", out):
        if library not in SYSTEM and not library.startswith(SANITIZERS) and library.split(".so")[0] not in libraries:
            print(f"{program} links {library}")
            failed += 1
# The library that others link: the same, and what they see of it is what its map names; the header has each.
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../src/api/libveritas.map")) as f:
    named = set(re.findall(r"^ +(veritas_\w+);", f.read(), re.M))
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../include/veritas/veritas.h")) as f:
    declared = set(re.findall(r"^VERITAS_API [^;]*?\b(veritas_\w+)\(", f.read(), re.M))
with open(os.path.join(BUILD, "CMakeCache.txt")) as f:
    folder = os.path.join(BUILD, re.search(r"^CMAKE_INSTALL_LIBDIR:\w+=(.*)$", f.read(), re.M)[1])
shared, static = folder + "/libveritas.so", folder + "/libveritas.a"
exported = {s for s in nm(shared, "-D", "--defined-only") if not s.startswith("VERITAS_")}
visible = nm(static, "-g", "--defined-only") if os.path.exists(static) else {name for name in named}
out = subprocess.run(["nm", shared], capture_output=True, text=True, check=True).stdout
inside = {line.split()[-1] for line in out.splitlines()}
for what, names in (("the header declares", declared), ("libveritas.so exports", {s.split("@")[0] for s in exported}),
                    ("libveritas.a shows", visible)):
    if names != named:
        print(f"libveritas.map and what {what} differ: {', '.join(sorted(names ^ named))}")
        failed += 1
if any(s.split("@@")[1:] != ["VERITAS_0.1"] for s in exported):
    print("a symbol of libveritas.so has no version, or another than its map says")
    failed += 1
for room, names in rooms.items():
    if room not in {"api", "client", "ipc", "base"} and names & inside:
        print(f"libveritas links the room {room}: {', '.join(sorted(names & inside)[:5])}")
        failed += 1
out = subprocess.run(["readelf", "-d", shared], capture_output=True, text=True, check=True).stdout
for library in re.findall(r"\(NEEDED\).*\[(.*)\]", out):
    if library not in SYSTEM and not library.startswith(SANITIZERS) and library.split(".so")[0] != "libjansson":
        print(f"libveritas links {library}")
        failed += 1
if "[libveritas.so.0]" not in out or "TEXTREL" in out:
    print("libveritas.so has another name than libveritas.so.0, or code that must be changed when it is loaded")
    failed += 1
print("1 failed" if failed else f"{len(PROGRAMS)} programs and libveritas link what they may")
sys.exit(1 if failed else 0)
