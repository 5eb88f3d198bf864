# SPDX-License-Identifier: MIT
"""docs/modules.md is true: its module is built and serves as pasted, and its words are those there are."""
import os
import re
import shlex
import signal
import subprocess
import tempfile

from harness import PATIENCE, SLUICE, TOP, main, need_tool, text_of, wait_for
from peers import free_port

DOC = text_of("docs", "modules.md")


def block(kind):
    return re.search(r"^```%s\n(.*?)^```" % kind, DOC, re.M | re.S).group(1)


def test_five_minutes():
    need_tool("curl")
    build, check, run = re.findall(r"^    ((?:cc|build/|sudo build/).*)$", DOC.split("\n## ")[1], re.M)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="sluice-docs-") as folder:
        os.chmod(folder, 0o755)
        control = os.path.join(folder, "control.sock")

        def at_home(text):
            text = text.replace("/tmp/", folder + "/").replace(":8080", ":%d" % port)
            return text.replace("sudo ", "").replace("build/release/sluice", shlex.quote(SLUICE))

        with open(os.path.join(folder, "notes.c"), "w") as f:
            f.write(block("c"))
        with open(os.path.join(folder, "notes.conf"), "w") as f:
            f.write(at_home(block("sluice")) + 'pin = "off"\ncontrol = "%s"\n' % control)
        for command in (build + " -Wall -Wextra -Werror", check):
            subprocess.run(at_home(command), shell=True, cwd=TOP, check=True, stdout=subprocess.DEVNULL)
        server = subprocess.Popen("exec " + at_home(run), shell=True, cwd=TOP, stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: os.path.exists(control), "the server is up")
            wait_for(lambda: subprocess.run(["curl", "-s", "http://127.0.0.1:%d/" % port],
                                            stdout=subprocess.DEVNULL).returncode == 0, "it answers")
            script = block("sh")
            said = subprocess.run(["sh", "-c", at_home(script)], stdout=subprocess.PIPE, timeout=PATIENCE, text=True)
            assert said.stdout.split() == re.findall(r"# (\d+)$", script, re.M), said.stdout
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(PATIENCE) == 0


def test_words():
    """Counters, reasons and functions: each that there is, and no other."""
    counters = set(re.findall(r"X\((\w+)\)", text_of("include", "module_shm.h"))) - {"name"} | {"in_flight"}
    assert counters == set(re.findall(r"^\| `(\w+)` \| ", DOC.split("| counter |")[1].split("\n\n")[0], re.M))
    source = "".join(text_of("user", "app", name) for name in ("module.c", "module_api.c"))
    assert set(re.findall(r'"(module_\w+)"', source)) == set(re.findall(r"^\| `(module_\w+)` \| ", DOC, re.M))
    header = "".join(text_of("include", "sluice", name) for name in ("handler.h", "api.h", "call.h"))
    named = set(re.findall(r"`((?:sluice|SLUICE)_\w+)", DOC))
    missing = {word for word in named if not re.search(r"\b%s\b" % word, header)}
    assert len(named) > 12 and not missing, missing
    for name in re.findall(r"`(\w+)`", DOC.split("in `tests/modules`: ")[1].split(".\n")[0]):
        assert os.path.exists(os.path.join(TOP, "tests", "modules", name + ".c")), name


if __name__ == "__main__":
    main(__name__)
