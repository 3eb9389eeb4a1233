"""Hostile specs by name: what somebody might put into a pull request to hang, crash or fool a plan."""

from __future__ import annotations

MIB = 1 << 20


def _bomb(levels: int, width: int) -> str:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]" for i in range(1, levels)]
    return "\n".join(lines)


def _merge_bomb(levels: int) -> str:
    lines = ["m0: &m0 {" + ", ".join(f"k{i}: {i}" for i in range(100)) + "}"]
    lines += [f"m{i}: &m{i} {{<<: *m{i - 1}, a{i}: *m{i - 1}, b{i}: *m{i - 1}}}" for i in range(1, levels)]
    return "\n".join(lines)


def _vars_bomb(levels: int, form: str) -> str:
    lines = ["ftspec: 1", "vars:", "  v0: xxxxxxxxxx" if "{0}{0}" in form else "  v0: [1, 2, 3]"]
    lines += [f"  v{i}: " + form.replace("{0}", f"{{v{i - 1}}}") for i in range(1, levels)]
    return "\n".join([*lines, f'project: "{{v{levels - 1}}}"'])


def _grid(body: str) -> str:
    head = "ftspec: 1\ndatasets: {d: d.jsonl}\ndefaults: {engine: sandbox, base_model: sandbox-mini, train: d}\n"
    return head + "experiments:\n  x:\n" + body


CORPUS: dict[str, bytes] = {
    "alias-bomb": _bomb(30, 9).encode(),
    "merge-bomb": _merge_bomb(40).encode(),
    "recursive-alias": b"a: &a {b: *a}\n",
    "recursive-alias-in-list": b"a: &a [1, *a]\n",
    "brackets": b"[" * 100_000,
    "braces": b"{a: " * 100_000,
    "dashes": b"- " * 100_000,
    "question-marks": b"? " * 100_000,
    "deep-blocks": "\n".join(" " * i + "a:" for i in range(1_000)).encode(),
    "many-keys": "\n".join(f"k{i}: 1" for i in range(90_000)).encode(),
    "many-keys-in-flow": ("{" + ",".join(f"k{i}: 1" for i in range(80_000)) + "}").encode(),
    "many-duplicates": b"k: 1\n" * 90_000,
    "many-unknown-settings": _grid("\n".join(f"    k{i}: {i}" for i in range(50_000))).encode(),
    "many-wrong-tags": _grid("    tags: {" + ", ".join(f"k{i}: []" for i in range(70_000)) + "}").encode(),
    "many-experiments": ("ftspec: 1\nexperiments:\n" + "\n".join(f"  e{i}: {{}}" for i in range(60_000))).encode(),
    "many-empty-items": b"a: [" + b"[]," * 300_000 + b"]",
    "many-anchors": "\n".join(f"k{i}: &a{i} x" for i in range(60_000)).encode(),
    "many-directives": b"%TAG !a! b\n" * 90_000 + b"---\na: 1\n",
    "many-documents": b"--- a\n" * 150_000,
    "huge-scalar": b"a: " + b"x" * (MIB - 10),
    "huge-quoted-scalar": b'a: "' + b"\\x41" * (MIB // 4 - 10) + b'"',
    "huge-block-scalar": b"a: |\n" + b"  x\n" * (MIB // 4 - 10),
    "huge-number": b"a: " + b"9" * (MIB - 10),
    "huge-hex-number": b"a: 0x" + b"f" * (MIB - 10),
    "huge-float": b"a: 1e" + b"9" * (MIB - 10),
    "huge-key": b"? " + b"x" * (MIB - 20) + b"\n: 1",
    "huge-comment": b"#" + b"x" * (MIB - 10),
    "huge-spaces": b" " * (MIB - 10) + b"a: 1",
    "huge-tag": b"!" + b"x" * (MIB - 10) + b" a",
    "too-large": b"a: " + b"x" * (2 * MIB),
    "nul": b"a: \x00\x00",
    "controls": bytes(range(1, 32)),
    "not-utf8": b"\xff" * 1_000,
    "utf-16": "a: 1".encode("utf-16"),
    "lone-surrogate": b'a: "\\ud800"',
    "utf8-surrogate": b"a: \xed\xa0\x80",
    "only-bom": b"\xef\xbb\xbf",
    "empty": b"",
    "null": b"~",
    "scalar": b"hello",
    "list": b"- a\n- b\n",
    "python-tag": b"a: !!python/object/apply:os.system [touch owned]\n",
    "escapes": b'"\\e]8;;http://x\\a": 1\nexperiments: {"\\e[2J\\u202e": {"\\x9b31m": 1}}\nvars: {"::set-output": "##[group]"}\n',
    "variables-double-text": _vars_bomb(30, '"{0}{0}"').encode(),
    "variables-double-lists": _vars_bomb(30, '["{0}", "{0}", "{0}"]').encode(),
    "variables-in-a-circle": b'ftspec: 1\nvars: {a: "{b}", b: "{a}"}\nproject: "{a}"\n',
    "variables-in-a-long-chain": _vars_bomb(2_000, '"{0}"').encode(),
    "settings-in-a-circle": _grid('    suffix: "{name}"\n    name: "{suffix}"\n').encode(),
    "settings-double-text": _grid(
        "    tags:\n" + "\n".join(f'      t{i}: "{{tags.t{i - 1}}}{{tags.t{i - 1}}}"' for i in range(1, 40)) + "\n      t0: xxxxxxxx\n"
    ).encode(),
    "settings-in-a-long-chain": _grid(
        "    tags:\n" + "\n".join(f'      t{i}: "{{tags.t{i - 1}}}"' for i in range(1, 2_000)) + "\n      t0: x\n"
    ).encode(),
    "billion-cells": _grid("    matrix:\n" + "\n".join(f"      a{i}: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]" for i in range(9)) + "\n").encode(),
    "long-addresses": _grid(
        "    suffix: '{a}'\n    matrix:\n      a: ["
        + ", ".join(f"{i}{'x' * 900}" for i in range(100))
        + f"]\n      seed: [{', '.join(map(str, range(900)))}]\n"
    ).encode(),
    "long-suffixes": _grid(
        "    suffix: '{a}{a}{a}{a}{a}{a}'\n    name: '{a}-{seed}'\n    matrix:\n      a: ["
        + ", ".join(f"{i}{'x' * 9000}" for i in range(100))
        + f"]\n      seed: [{', '.join(map(str, range(900)))}]\n"
    ).encode(),
    "chain-in-a-circle": (
        _grid("    base_model: {from: y}\n") + "  y:\n    base_model: {from: z}\n  z:\n    base_model: {from: x}\n"
    ).encode(),
    "chain-of-itself": _grid("    base_model: {from: x}\n").encode(),
    "long-chain": (
        _grid("    seed: 1\n") + "".join(f"  y{i}: {{base_model: {{from: {'x' if not i else f'y{i - 1}'}}}}}\n" for i in range(5_000))
    ).encode(),
    "multiplying-chain": (
        _grid("    matrix: {seed: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}\n")
        + "".join(
            f"  y{i}: {{base_model: {{from: {'x' if not i else f'y{i - 1}'}}}, matrix: {{epochs: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}}}}\n"
            for i in range(20)
        )
    ).encode(),
    "include-itself": b"ftspec: 1\ninclude: hostile.yaml\n",
    "include-outside": b"ftspec: 1\ninclude: [../../../../etc/passwd, /etc/passwd, /proc/self/environ, ~/x, '']\n",
    "include-a-fifo": b"ftspec: 1\ninclude: fifo\n",
    "include-a-folder": b"ftspec: 1\ninclude: folder\n",
    "dataset-outside": b"ftspec: 1\ndatasets: {a: ../../x, b: /etc/passwd, c: {path: 'x/../../y'}, d: '~/x'}\n",
    "long-where": _grid("    matrix:\n      seed: [1]\n      exclude: [{seed: [" + ", ".join(["1"] * 50_000) + "]}]\n").encode(),
    "many-excludes": _grid(
        f"    matrix:\n      seed: [{', '.join(map(str, range(2_000)))}]\n      exclude: ["
        + ", ".join(f"{{seed: {i}}}" for i in range(3_000, 13_000))
        + "]\n"
    ).encode(),
    "many-overrides": _grid(
        f"    matrix:\n      seed: [{', '.join(map(str, range(2_000)))}]\n      overrides: ["
        + ", ".join(f"{{where: {{seed: {i % 2_000}}}, set: {{epochs: 2}}}}" for i in range(8_000))
        + "]\n"
    ).encode(),
    "many-braces": _grid('    suffix: "' + "{" * 200_000 + '"\n').encode(),
    "many-references": _grid('    suffix: "' + "{seed}" * 100_000 + '"\n    seed: 1\n').encode(),
}
