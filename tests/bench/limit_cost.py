# SPDX-License-Identifier: MIT
"""Instructions of user space for a request on a kept connection, without limits and with them, under callgrind
(make bench-limits), or of a constant answer and of the same by a module (--modules FOLDER, make bench-module).  System calls
are not in it.  Counts, not times: the same on a busy machine.
"""
import argparse
import os
import re
import subprocess
import tempfile

from common import machine, need_tool, skipping

MODES = {
    "none": "no limits",
    "rate": "rate = ...: requests of the client are counted",
    "shared": "redis = ...: other hosts are to hear of them",
    "bytes": "header_rate, body_rate, write_rate",
}


def instructions(tool, mode, count):
    """Of all turns of the loop."""
    with tempfile.NamedTemporaryFile() as out:
        words = ["valgrind", "--tool=callgrind", "--callgrind-out-file=" + out.name, "--toggle-collect=loop_turn"]
        done = subprocess.run(words + [tool, mode, str(count)], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise AssertionError(done.stderr)
    return int(re.search(r"Collected : (\d+)", done.stderr).group(1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tools", default="build/release/tests/bench")
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--modules", help="where hello.so is")
    options = parser.parse_args()
    tool = os.path.join(options.tools, "request_cost")
    with skipping():
        need_tool("valgrind")
    print("%s; %d requests" % (machine(), options.requests))
    before, modes = 0, MODES
    if options.modules:
        modes = {"respond": 'respond = "..."', os.path.join(options.modules, "hello.so"): "module = \".../hello.so\""}
    for mode, what in modes.items():
        # Without what is done once.
        few, many = (instructions(tool, mode, n) for n in (1000, 1000 + options.requests))
        each = (many - few) / options.requests
        before = before or each
        print("%-50s %8.0f instructions a request  %+6.0f" % (what, each, each - before), flush=True)


if __name__ == "__main__":
    main()
