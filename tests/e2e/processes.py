"""The processes that tests start: a daemon of their own, and how to find what is below it (/proc, zombies left out)."""
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time


def process(pid):
    """Parent, name and state of a process, or None."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            text = f.read()
    except OSError:
        return None
    rest = text[text.rindex(")") + 2:].split()
    return int(rest[1]), text[text.index("(") + 1:text.rindex(")")], rest[0]


def alive():
    """{pid: (parent, name)}"""
    table = {int(p): process(p) for p in os.listdir("/proc") if p.isdigit()}
    return {p: row[:2] for p, row in table.items() if row and row[2] != "Z"}


def below(pid, name=None):
    """All descendants, or those with this name: {pid: name}."""
    table, found, todo = alive(), {}, [pid]
    while todo:
        parent = todo.pop()
        for p, (of, its) in table.items():
            if of == parent:
                found[p] = its
                todo.append(p)
    return {p: its for p, its in found.items() if name in (None, its)}


def child(pid, name):
    """The pid of the one child with this name."""
    found, = [p for p, row in alive().items() if row == (pid, name)]
    return found


SLOW = 3 if any("/asan/" in a or "/tsan/" in a for a in sys.argv[1:2]) else 1      # a sanitizer's build


def patience():
    """How many times longer something may take than on a quiet machine: a clock finds what waits for nothing, not who is busy."""
    return 2 * SLOW * max(1, os.getloadavg()[0] / os.cpu_count())


RACES = tempfile.TemporaryFile()         # what daemons of a build with TSan say


def private_daemon(veritas, timeout, **more):
    """A daemon that lives as long as its one connection: the process, and our end of the socket."""
    if "/tsan/" in veritas:
        more.update(stderr=RACES, env={**more.get("env", os.environ), "VERITAS_DEBUG": "1"})    # so that workers keep their stderr
    ours, theirs = socket.socketpair()
    serve = subprocess.Popen([veritas, "serve", "--private-fd", str(theirs.fileno())], pass_fds=[theirs.fileno()], **more)
    theirs.close()
    ours.settimeout(timeout)
    return serve, ours


def place(fds):
    """For preexec_fn: puts descriptors on the numbers of the contract."""
    def run():
        high = {want: os.dup2(fd, 100 + want) for want, fd in fds.items()}
        os.closerange(3, 100)
        for want, fd in high.items():
            os.dup2(fd, want)
            os.set_inheritable(want, True)
        os.closerange(100, 120)
    return run


def no_races():
    """For tearDownModule: no daemon of the module had any."""
    RACES.seek(0)
    said = RACES.read().decode(errors="replace")
    at = said.find("WARNING: ThreadSanitizer")
    if at >= 0:
        raise AssertionError(said[at:at + 20000])


class Waiting:
    """For a TestCase."""

    def wait_for(self, what, seconds=10, said=lambda: "it did not come to pass in time"):
        """What it gives, as soon as that is true."""
        end = time.monotonic() + seconds * patience()
        while not (found := what()):
            if time.monotonic() > end:
                self.fail(said())
            time.sleep(0.005)
        return found


class Daemons(Waiting):
    """For a TestCase that has daemons in self.running, a file for what they say, self.said, and a folder, self.dir. With KEEP in
    the environment the folder stays."""

    def tearDown(self):
        for daemon in self.running:
            daemon.kill()
            daemon.wait(30)
        self.said.close()
        if not os.environ.get("KEEP"):
            shutil.rmtree(self.dir)


class Installed(Waiting):
    """For a TestCase whose programs are copied to self.dir and run in self.env."""

    def call(self, *args):
        return subprocess.run([f"{self.dir}/veritas", *args], env=self.env, capture_output=True, text=True, timeout=30)
