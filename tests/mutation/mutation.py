#!/usr/bin/env python3
"""Breaks one rule of docs/NUMERICS.md at a time in a copy of the numeric rooms, and shows that the tests notice each.

usage: mutation.py BUILD [NAME...]

A mutation is a few substitutions of text (or of compiler flags); product code carries no switches for it. The copy is
compiled with the commands of BUILD/compile_commands.json, and then one after the other is run until one fails: veritas-selftest,
unit-kv, kernels-pages brief, kernels-ops brief, kernels-ops, kernels-contract brief, kernels-contract. A mutation that none notices
is a fault, and so is one whose text is not found any more. The unchanged copy must pass. As many copies as the machine has
processors work at once.
"""
import concurrent.futures
import json
import os
import queue
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(sys.argv[1]).resolve()
WORK = BUILD / "mutation"
ROOMS = "base tensor graph import backend cpu kv sampler engine selftest".split()
PROGRAMS = {"selftest": "src/prog/selftest/main.c", "ops": "tests/kernels/ops.c", "contract": "tests/kernels/contract.c",
            "kv": "tests/unit/kv.c", "pages": "tests/kernels/pages.c"}
SUITE = [("selftest", []), ("kv", []), ("pages", ["brief"]), ("ops", ["brief"]), ("ops", []),
         ("contract", ["brief"]), ("contract", [])]

# name, what is broken, [(file, text, instead)] or flags added to every file
MUTATIONS = [
    ("round-half-away", "activations are rounded half away from zero", [
        ("cpu/ops_c.c", "(int)vs_rnef(v[i] * id)", "(int)(v[i] * id + (v[i] < 0 ? -0.5f : 0.5f))")]),
    ("round-half-away-everywhere", "the same in the helper that other roundings use", [
        ("base/num.h", "return __builtin_copysignf((a + 0x1p23f) - 0x1p23f, x);",
         "return __builtin_copysignf((float)(int)(a + 0.5f), x);")]),
    ("scale-by-reciprocal", "q = x * (1 / d) instead of x * (127 / amax)", [
        ("cpu/ops_c.c", "float id = (float)greatest_q / amax;", "float id = 1.0f / (amax / (float)greatest_q);")]),
    ("tree-order", "the tree of 16 lanes begins with neighbours, in plain C only", [
        ("cpu/ops_c.c", "for (int half = 8; half; half /= 2)\n        for (int i = 0; i < half; i++)\n"
         "            lane[i] += lane[i + half];",
         "for (int half = 1; half < 16; half *= 2)\n        for (int i = 0; i < 16; i += 2 * half)\n"
         "            lane[i] += lane[i + half];")]),
    ("tree-order-avx2", "the same on AVX2 only", [
        ("cpu/math_avx2.h", "__m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));\n"
         "    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));",
         "__m128 s2 = _mm_add_ps(s4, _mm_movehdup_ps(s4));\n    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehl_ps(s2, s2)));")]),
    ("contraction", "the compiler may fuse multiply and add", ["-O2", "-mfma", "-ffp-contract=fast"]),
    ("reassociation", "the compiler may reorder sums", ["-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math"]),
    ("flush-to-zero", "denormals are flushed", [
        ("base/num.h", "#define VS_FP_CONTROL 0x1f80u", "#define VS_FP_CONTROL 0x9fc0u")]),
    ("round-up", "the control word rounds towards infinity", [
        ("base/num.h", "#define VS_FP_CONTROL 0x1f80u", "#define VS_FP_CONTROL 0x5f80u")]),
    ("fma-twice-rounded", "plain C multiplies and adds with two roundings", [
        ("base/num.h", "    return vs_fmaf_soft(a, b, c);\n", "    return a * b + c;\n")]),
    ("fma-not-odd", "the software fma forgets to round to odd", [
        ("base/num.h", "if (lost != 0 && !(u & 1))", "if (0 && lost != 0)")]),
    ("split-by-threads", "the chain over k is cut in two when there are several threads", [
        ("cpu/pool.c", "int vs_pool_create(unsigned n_threads, struct vs_pool **ret, struct vs_error *err)\n{",
         "unsigned vs_broken_threads;\nint vs_pool_create(unsigned n_threads, struct vs_pool **ret, struct vs_error *err)\n{\n"
         "    vs_broken_threads = n_threads;"),
        ("cpu/ops_c.c", "static void finish(const struct vs_matmul *m, size_t i, size_t row, float v)\n{",
         "extern unsigned vs_broken_threads;\nstatic void finish(const struct vs_matmul *m, size_t i, size_t row, float v)\n{\n"
         "    if (vs_broken_threads > 1)\n        v = (v + 1.0f) - 1.0f;")]),
    ("split-by-rows", "another algorithm from four rows on", [
        ("cpu/ops_c.c", "static void finish(const struct vs_matmul *m, size_t i, size_t row, float v)\n{",
         "static void finish(const struct vs_matmul *m, size_t i, size_t row, float v)\n{\n    if (m->n >= 4)\n"
         "        v = (v + 1.0f) - 1.0f;")]),
    ("blocks-descending", "blocks of k are added from the end", [
        ("cpu/ops_c.c", "for (size_t b = 0; b < n_blocks; b++) {\n        struct vs_codes c;",
         "for (size_t b = n_blocks; b-- > 0;) {\n        struct vs_codes c;")]),
    ("float-one-chain", "float weights in one chain instead of blocks of 32", [
        ("cpu/ops_c.c", "k0 += 32) {\n            size_t end = w->n_cols - k0 < 32 ? w->n_cols : k0 + 32;",
         "k0 += w->n_cols) {\n            size_t end = w->n_cols;")]),
    ("scales-late", "the sum is multiplied by both scales one after the other", [
        ("cpu/ops_c.c", "vs_fmaf(sum, c.scale[0] * a->d, acc[i])", "vs_fmaf(sum * c.scale[0], a->d, acc[i])")]),
    ("minimum-first", "the minimum is added before the product", [
        ("cpu/ops_c.c", "acc[i] = vs_fmaf(sum, c.scale[0] * a->d, acc[i]);\n                if (info->has_min)\n"
         "                    acc[i] = vs_fmaf(c.min[0], a->ds, acc[i]);",
         "if (info->has_min)\n                    acc[i] = vs_fmaf(c.min[0], a->ds, acc[i]);\n"
         "                acc[i] = vs_fmaf(sum, c.scale[0] * a->d, acc[i]);")]),
    ("bias-last", "the residual is added before the bias", [
        ("cpu/ops_c.c", "    if (m->bias)\n        v += m->bias[row];\n    if (m->residual)\n"
         "        v = m->residual[i * m->ldy + row] + v;\n",
         "    if (m->residual)\n        v = m->residual[i * m->ldy + row] + v;\n    if (m->bias)\n        v += m->bias[row];\n")]),
    ("norm-weight-first", "the norm multiplies x by its weight before the root", [
        ("cpu/ops_c.c", "y[i] = w ? x[i] * r * w[i] : x[i] * r;", "y[i] = w ? x[i] * w[i] * r : x[i] * r;")]),
    ("norm-own-lanes", "the sum of squares in one chain", [
        ("cpu/ops_c.c", "lane[i % 16] = vs_fmaf(x[i], x[i], lane[i % 16]);", "lane[0] = vs_fmaf(x[i], x[i], lane[0]);")]),
    ("rope-other-fma", "the other product of the rotation is the rounded one", [
        ("cpu/ops_c.c", "vs_fmaf(x1, cosine[i], x0 * sine[i])", "vs_fmaf(x0, sine[i], x1 * cosine[i])")]),
    ("exp-without-fma", "one step of the exponential is not fused", [
        ("base/num.h", "    p = vs_fmaf(p, r, VS_EXP_C3);\n    p = vs_fmaf(p, r, VS_EXP_C2);\n    p = vs_fmaf(p, r, 1.0f);\n"
         "    p = vs_fmaf(p, r, 1.0f);\n    return",
         "    p = vs_fmaf(p, r, VS_EXP_C3);\n    p = p * r + VS_EXP_C2;\n    p = vs_fmaf(p, r, 1.0f);\n"
         "    p = vs_fmaf(p, r, 1.0f);\n    return")]),
    ("exp-denormal", "results below the normal floats are not 0 on AVX2", [
        ("cpu/math_avx2.h", "_mm256_cmp_ps(x, _mm256_set1_ps(VS_EXP_MIN), _CMP_LT_OQ)",
         "_mm256_cmp_ps(x, _mm256_set1_ps(-103.0f), _CMP_LT_OQ)")]),
    ("silu-overflow", "sigmoid by e^-x on AVX2, not by e^-|x|", [
        ("cpu/math_avx2.h", "__m256 e = vs_exp8(_mm256_or_ps(x, _mm256_set1_ps(-0.0f)));\n"
         "    __m256 top = _mm256_blendv_ps(e, one, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GE_OQ));",
         "__m256 e = vs_exp8(_mm256_xor_ps(x, _mm256_set1_ps(-0.0f)));\n    __m256 top = one;")]),
    ("f16-truncated", "K and V are cut to f16 instead of rounded", [
        ("tensor/dtype.c", "    u += 0xfff + (u >> 13 & 1);\n    return (uint16_t)(sign | ((u >> 13)",
         "    return (uint16_t)(sign | ((u >> 13)")]),
    ("split-128", "attention splits of 128 positions", [
        ("cpu/ops_c.c", "lane[j % 16] += s[j];", "lane[(j + j / 128) % 16] += s[j];")]),
    ("masked-seen", "AVX2 looks for the maximum outside the mask", [
        ("cpu/ops_avx2.c", "max = _mm256_max_ps(_mm256_blendv_ps(low, v, in), max);", "max = _mm256_max_ps(v, max); (void)in;")]),
    ("merge-unfused", "splits are merged with two roundings on AVX2", [
        ("cpu/ops_avx2.c", "*l = vs_fmaf(l_split, b, *l * a);", "*l = l_split * b + *l * a;")]),
    ("scale-unmasked", "AVX2 multiplies by the scales of 8-bit values that nobody may read", [
        ("cpu/ops_avx2.c", "    for (; t < hi; t++)\n        x[t] = p[t] * dv[t];",
         "    for (; t < VS_PAGE_TOKENS; t++)\n        x[t] = p[t] * dv[t];")]),
    ("sixteen-bits", "AVX2 sums five-bit codes without an offset in 16 bits", [
        ("cpu/matmul_body_avx2.h", ": five || six ? SUMS_OF_HALVES", ": six ? SUMS_OF_HALVES")]),
    ("sixteen-bits-lists", "AVX2 sums the lists of IQ2, up to 43, in 16 bits", [
        ("cpu/matmul_body_avx2.h", "w->list[i] <= 64 + 16", "w->list[i] <= 64 + 43"),
        ("cpu/matmul_body_avx2.h", "w->list[i] >= 64 - 16", "w->list[i] >= 64 - 43")]),
    ("nan-lost", "a NaN among the activations becomes zero", [
        ("cpu/ops_c.c", "return vs_f32_of_bits(0x7fc00000);", "return 0;"),
        ("cpu/ops_avx2.c", "*ret_d = bits >= 0x7f800000 ? vs_f32_of_bits(0x7fc00000) : 0;", "*ret_d = 0;")]),
    ("random-by-nothing", "the random number does not depend on the position", [
        ("sampler/sampler.c", "{ (uint32_t)position, (uint32_t)(position >> 32), PURPOSE_TOKEN, 0 }",
         "{ (uint32_t)(position * 0), (uint32_t)(position >> 32), PURPOSE_TOKEN, 0 }")]),
    ("packed-row", "the packer puts one row in the wrong place", [
        ("cpu/matrix.c", "    to += 4 * r;\n    int done = 0;", "    to += 4 * (r == 13 ? 12 : r);\n    int done = 0;")]),
    ("page-written-while-shared", "who writes a page that others hold does not copy it first", [
        ("kv/kv.c", "return s->n_tokens % size && vs_kv_pool_refs(s->kv->pool, s->pages[s->n_tokens / size]) > 1;",
         "return s->n_tokens % size && vs_kv_pool_refs(s->kv->pool, s->pages[s->n_tokens / size]) > 9;"),
        ("kv/pool.c", "    assert(p->pages[page].refs == 1);\n    p->pages[page].mixed", "    p->pages[page].mixed")]),
    ("page-not-cleared", "a page of another owner is taken as it is", [
        ("kv/pool.c", "    if (n_unclean)\n        p->memory.clear(p->memory.context, p->unclean, n_unclean);", "")]),
    ("prefix-not-compared", "a page is taken for equal when its first token is", [
        ("kv/kv.c", "        if (same < some)\n            return done + same;",
         "        if (!same)\n            return done + same;")]),
    ("prefix-copied-short", "a page that is shared in part lacks the last position", [
        ("cpu/page.c", "l->type, vs_kv_place(c, to, i, head, false), vs_kv_place(c, from, i, head, false), n_tokens);",
         "l->type, vs_kv_place(c, to, i, head, false), vs_kv_place(c, from, i, head, false), n_tokens - 1);")]),
    ("page-copied-whole", "what lies behind the shared positions is copied too", [
        ("cpu/page.c", "memcpy(to + i * line, from + i * line, some);", "memcpy(to + i * line, from + i * line, line);")]),
    ("latest-evicted", "the kept sequence that was used last goes first", [
        ("kv/kv.c", "(!least || k->used < least->used)", "(!least || k->used > least->used)")]),
]


def commands():
    """{source relative to ROOT: command as list} of what the suite needs."""
    wanted = tuple(f"src/{room}/" for room in ROOMS)
    result = {}
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        source = os.path.relpath(entry["file"], ROOT)
        if source.startswith(wanted) or source in PROGRAMS.values():
            result[source] = shlex.split(entry["command"])
    missing = set(PROGRAMS.values()) - set(result)
    if missing:
        sys.exit(f"not in compile_commands.json: {missing}")
    return result


class Copy:
    """A copy of the sources with its objects; compiles what a change of some files makes out of date."""

    def __init__(self, number):
        self.commands = commands()
        self.work = WORK / str(number)
        for room in ROOMS + ["prog/selftest"]:
            shutil.copytree(ROOT / "src" / room, self.work / "src" / room)
        shutil.copytree(ROOT / "tests/kernels", self.work / "tests/kernels")
        (self.work / "tests/unit").mkdir()
        shutil.copy(ROOT / "tests/unit/kv.c", self.work / "tests/unit")
        self.needs = {}                                  # source: files of the copy that it includes
        self.compile_all()

    def object(self, source):
        return self.work / "objects" / (source.replace("/", "+") + ".o")

    def compile(self, source, flags):
        command, out = self.commands[source], []
        skip = False
        for word in command:                             # another source, output and include folder; a little less optimised
            if skip:
                skip = False
            elif word in ("-o", "-c"):
                skip = True
            else:
                out.append(word.replace(str(ROOT / "src"), str(self.work / "src")))
        self.object(source).parent.mkdir(parents=True, exist_ok=True)
        deps = self.object(source).with_suffix(".d")
        subprocess.run([*out, "-O1", "-w", *flags, "-MMD", "-MF", str(deps), "-o", str(self.object(source)), "-c",
                        str(self.work / source)],
                       check=True, cwd=BUILD)
        text = deps.read_text().replace("\\\n", " ").split(":", 1)[1]
        self.needs[source] = {os.path.relpath(word, self.work) for word in text.split() if word.startswith(f"{self.work}/")}

    def compile_all(self, flags=()):
        for source in self.commands:
            self.compile(source, flags)

    def rebuild(self, changed):
        for source in [s for s, needs in self.needs.items() if needs & changed]:
            self.compile(source, ())

    def link(self):
        rooms = [str(self.object(s)) for s in self.commands if s not in PROGRAMS.values()]
        compiler = self.commands[PROGRAMS["ops"]][0]
        for name, source in PROGRAMS.items():
            subprocess.run([compiler, "-pie", "-o", str(self.work / name), str(self.object(source)), *rooms, "-pthread", "-lcrypto",
                            *(["-lcmocka"] if name == "kv" else [])], check=True)

    def first_failure(self):
        for name, words in SUITE:
            done = subprocess.run([str(self.work / name), *words], capture_output=True, text=True, timeout=900)
            if done.returncode:
                lines = [line for line in done.stdout.splitlines() if "DIFFERS" in line or "FAILED" in line]
                return f"{' '.join([name, *words])}: {(lines or [f'status {done.returncode}'])[0][:110]}"
        return None

    def try_mutation(self, name, what, how):
        """What notices the mutation, None if nothing does; the copy is whole again afterwards."""
        flags = how if isinstance(how[0], str) else None
        changed = {}
        try:
            if flags:
                self.compile_all(flags)
            else:
                for file, old, new in how:
                    path = self.work / "src" / file
                    text = path.read_text()
                    changed.setdefault(path, text)
                    path.write_text(text.replace(old, new))
                self.rebuild({os.path.relpath(p, self.work) for p in changed})
            self.link()
            said = self.first_failure()
        finally:                                         # whole again, also when a compiler or a program went wrong
            if flags:
                self.compile_all()
            for path, text in changed.items():
                path.write_text(text)
            self.rebuild({os.path.relpath(p, self.work) for p in changed})
        print(f"{name} ({what}): {'noticed by ' + said if said else 'NOT NOTICED'}", flush=True)
        return said


def main():
    only = set(sys.argv[2:])
    if only - {m[0] for m in MUTATIONS}:
        sys.exit(f"no such mutation: {only}")
    chosen = [m for m in MUTATIONS if not only or m[0] in only]
    for name, _, how in chosen:
        for file, old, _ in (how if not isinstance(how[0], str) else []):
            found = (ROOT / "src" / file).read_text().count(old)
            if found != 1:
                sys.exit(f"{name}: the text is {found} times in src/{file}: adapt the mutation\n{old}")
    shutil.rmtree(WORK, ignore_errors=True)
    n_copies = min(len(os.sched_getaffinity(0)), len(chosen))
    copies = queue.SimpleQueue()

    def attempt(mutation):
        copy = copies.get()
        try:
            return copy.try_mutation(*mutation)
        finally:
            copies.put(copy)

    with concurrent.futures.ThreadPoolExecutor(n_copies) as pool:
        for copy in pool.map(Copy, range(n_copies)):
            copies.put(copy)
        if not only:
            copy = copies.get()
            copy.link()
            said = copy.first_failure()
            if said:
                sys.exit(f"the unchanged copy fails: {said}")
            copies.put(copy)
        survivors = [mutation[0] for mutation, said in zip(chosen, pool.map(attempt, chosen)) if not said]
    shutil.rmtree(WORK, ignore_errors=True)
    print(f"mutation: {len(chosen)} broken rules, {len(chosen) - len(survivors)} noticed")
    sys.exit(1 if survivors else 0)


main()
