# SPDX-License-Identifier: MIT
"""Instructions for a request stay what is committed (tests/bench/guard.py), and the guard can tell."""
import contextlib
import io
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench"))

import guard  # noqa: E402
from callgrind import by_module, difference, profile, total  # noqa: E402
from harness import IS_SANITIZED, SLUICE, TOP, Skip, main, need_tool  # noqa: E402

# What is inlined stands between fi= and fe=; what a call took follows its line and belongs to the callee.
PROFILE = """\
version: 1
positions: line
events: Ir
summary: 175

ob=/x/build/release/sluice
fl=/src/user/http/parse.c
fn=parser_head
10 20
fi=/src/user/base/span.h
11 5
fe=/src/user/http/parse.c
cob=/x/build/release/sluice
cfn=llhttp_execute
calls=2 0
12 100
13 1

fl=/src/user/base/list.h
fn=wheel_start
5 7
fe=/src/user/base/wheel.c
9 30

fl=???
fn=llhttp_execute
0 100

ob=/usr/lib/x86_64-linux-gnu/libc.so.6
fl=./string/./memcpy.c
fn=memcpy'2
1 12

totals: 175
"""


def test_profile_by_module():
    counts = profile(io.StringIO(PROFILE))
    assert counts == {
        ("http/parse", "parser_head"): 26,
        ("base/wheel", "wheel_start"): 37,
        ("llhttp", "llhttp_execute"): 100,
        ("libc", "memcpy'2"): 12,
    }, counts
    assert total(counts) == 175
    assert by_module(counts)[0] == ("llhttp", 100, [("llhttp_execute", 100)])


def test_difference_is_what_more_requests_cost():
    few = profile(io.StringIO(PROFILE))
    many = profile(io.StringIO(PROFILE.replace("\n9 30\n", "\n9 330\n").replace("\n1 12\n", "\n1 22\n")))
    assert difference(many, few, 10) == {("base/wheel", "wheel_start"): 30, ("libc", "memcpy'2"): 1}


def verdict(now, committed):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        is_fine = guard.compare("constant", {("http/parse", "f"): now}, committed)
    return is_fine, out.getvalue()


def test_verdicts():
    for now, is_fine, word in (
        (1000, True, "ok"),
        (1019, True, "ok"),
        (1021, False, "MORE"),
        (981, True, "ok"),
        (979, True, "commit it"),
    ):
        got = verdict(now, {"constant": 1000})
        assert got[0] == is_fine and word in got[1], (now, got)
    assert verdict(5000, {})[0], "nothing to compare with"


def test_instructions():
    if IS_SANITIZED:
        raise Skip("sanitizers are instructions too")
    need_tool("valgrind")
    done = subprocess.run(
        [sys.executable, os.path.join(TOP, "tests/bench/guard.py"), "--tools", os.path.dirname(SLUICE) + "/tests/bench"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode == 77:
        raise Skip(done.stdout.strip().splitlines()[-1])
    print(done.stdout)
    assert done.returncode == 0, done.stdout


if __name__ == "__main__":
    main(__name__)
