#!/usr/bin/env python3
"""The log and receipts where OpenSSL is in FIPS mode for the whole machine: its openssl.cnf says so in a mount namespace of ours.
usage: fips.py BIN. Skipped (77) where OpenSSL has no fips module (VERITAS_FIPS_MODULE names one elsewhere), or no such namespace
can be had."""
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import client as c
from audit_log import BIN, VERITAS, LogTest

CNF = """openssl_conf = init
.include {cnf}
[init]
providers = providers
alg_section = algorithms
[providers]
fips = fips_sect
base = base
[base]
activate = 1
[algorithms]
default_properties = fips=yes
"""


def openssl(*args, **more):
    return subprocess.run(["openssl", *args], capture_output=True, text=True, **more)


def where(what):
    """OPENSSLDIR (-d) or MODULESDIR (-m)."""
    return re.search('"(.*)"', openssl("version", what).stdout).group(1)


def prepare(folder):
    """The openssl.cnf of a machine in FIPS mode, or None."""
    module = os.environ.get("VERITAS_FIPS_MODULE") or where("-m") + "/fips.so"
    cnf = folder + "/fipsmodule.cnf"
    if not os.path.exists(module) or openssl("fipsinstall", "-module", module, "-out", cnf).returncode:
        return None
    with open(cnf) as f:
        text = f.read()
    with open(cnf, "w") as f:
        f.write(text.replace("[fips_sect]", f"[fips_sect]\nmodule = {module}"))
    with open(folder + "/openssl.cnf", "w") as f:
        f.write(CNF.format(cnf=cnf))
    return folder + "/openssl.cnf"


def namespace():
    """The beginning of a command line whose processes have mounts of their own, or None."""
    for how in ["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]:
        if shutil.which("unshare") and subprocess.run([*how, "mount", "--bind", "/", "/"], capture_output=True).returncode == 0:
            return how
    return None


class Fips(LogTest):
    def run_it(self, *args, status=0):
        done = subprocess.run([VERITAS, *args], env=self.env, capture_output=True, text=True)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout

    def key(self):
        with open(self.dir + "/pub", "w") as f:
            f.write(self.run_it("audit", "key", self.log))
        return ["--pubkey", self.dir + "/pub"]

    def kinds(self):
        """Of the keys: bytes of each."""
        with open(self.log + "/keys") as f:
            return [len(line.split()[1]) // 2 for line in f]

    def answers(self, receipt):
        daemon = self.serve(rotate_bytes=65536)
        self.run_it("run", "-m", "one", "--raw", "-n", "3", "--receipt", receipt, "a")
        for _ in range(90):             # more than a file of the log
            self.assertEqual(self.ask().kind, c.COMPLETE)
        self.stop(daemon)
        self.assertTrue(self.verify(*self.key())["closed"])

    def judge(self, receipt):
        for model, verdict in ([], "WELL_FORMED"), (["-m", self.dir + "/models/one.gguf"], "MATCH"):
            told = json.loads(self.run_it("verify", receipt, *self.key(), *model, "--json"))
            self.assertEqual((told["verdict"], told["trusted"]), (verdict, True))
        with open(receipt) as f:
            told = json.load(f)
        payload = base64.b64decode(told["envelope"]["payload"]).replace(b'"n_out":3', b'"n_out":4')
        told["envelope"]["payload"] = base64.b64encode(payload).decode()
        with open(receipt + "-changed", "w") as f:
            json.dump(told, f)
        self.assertIn("INVALID", self.run_it("verify", receipt + "-changed", status=3))

    def test_fips(self):
        """A log that begins there does so with P-256, one of Ed25519 goes on if the module has that; both, and receipts, are
        verified there and here."""
        self.answers(self.dir + "/receipt-before")
        self.assertEqual(set(self.kinds()), {32})
        os.rename(self.log, self.dir + "/before")
        shutil.copytree(self.dir + "/before", self.dir + "/log-before")
        self.run_it("audit", "verify", self.dir + "/before")
        inner = subprocess.run([*NAMESPACE, "sh", "-c", 'mount --bind "$1" "$2" && exec "$3" "$4" "$5" Inner', "sh", CONF,
                                os.path.realpath(where("-d") + "/openssl.cnf"), sys.executable, os.path.abspath(__file__), BIN],
                               env=dict(os.environ, VERITAS_FIPS_FOLDER=self.dir), capture_output=True, text=True)
        self.assertEqual(inner.returncode, 0, inner.stdout + inner.stderr)
        self.assertEqual(set(self.kinds()), {65})
        self.assertGreater(len(self.kinds()), 1)
        self.assertTrue(self.verify(*self.key())["closed"])
        self.judge(self.dir + "/receipt")


class Inner(Fips):
    """In FIPS mode."""
    def setUp(self):
        super().setUp()
        self.own, self.dir = self.dir, os.environ["VERITAS_FIPS_FOLDER"]        # who started us removes that
        self.env.update(VERITAS_MODELS=self.dir + "/models", HOME=self.dir)
        self.log = self.dir + "/log"

    def tearDown(self):
        self.dir = self.own
        super().tearDown()

    def test_fips(self):
        self.assertNotEqual(openssl("md5", input="").returncode, 0)
        self.answers(self.dir + "/receipt")
        self.judge(self.dir + "/receipt")
        log, self.log = self.log, self.dir + "/log-before"
        if openssl("genpkey", "-algorithm", "ed25519").returncode:
            done = self.try_verify()
            self.assertEqual((done.returncode, "Ed25519, which OpenSSL does not do here" in done.stderr), (1, True), done.stderr)
        else:
            self.assertTrue(self.verify()["closed"])
            self.judge(self.dir + "/receipt-before")
        self.log = log


if __name__ == "__main__":
    if sys.argv[2:] == ["Inner"]:
        del Fips.test_fips
        unittest.main(argv=["fips.py", "Inner.test_fips"])
    NAMESPACE = namespace()
    with tempfile.TemporaryDirectory(prefix="vsf") as FOLDER:
        CONF = NAMESPACE and prepare(FOLDER)
        if not CONF:
            sys.exit(77)
        unittest.main(argv=["fips.py", "Fips.test_fips"])
