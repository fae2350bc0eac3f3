"""The processes that tests start: a daemon of their own, and how to find what is below it (/proc, zombies left out)."""
import os
import socket
import subprocess
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


def private_daemon(veritas, timeout, **more):
    """A daemon that lives as long as its one connection: the process, and our end of the socket."""
    ours, theirs = socket.socketpair()
    serve = subprocess.Popen([veritas, "serve", "--private-fd", str(theirs.fileno())], pass_fds=[theirs.fileno()], **more)
    theirs.close()
    ours.settimeout(timeout)
    return serve, ours


class Installed:
    """For a TestCase whose programs are copied to self.dir and run in self.env."""

    def call(self, *args):
        return subprocess.run([f"{self.dir}/veritas", *args], env=self.env, capture_output=True, text=True, timeout=30)

    def wait_for(self, what, seconds=10):
        end = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), end, "it did not come to pass in time")
            time.sleep(0.02)
