# SPDX-License-Identifier: MIT
"""docs/websocket.md is true: its configuration is one, its commands do what the text says, its words are those there are."""
import os
import re
import signal
import subprocess
import tempfile

from harness import PATIENCE, SLUICE, main, need_tool, text_of, wait_for
from peers import free_port

DOC = text_of("docs", "websocket.md")


def commands(heading):
    """Those that are pasted into a terminal."""
    section = DOC.split("\n## %s\n" % heading)[1].split("\n## ")[0]
    return re.findall(r"^    ((?:sluice|curl) .*)$", section, re.M)


def test_five_minutes():
    need_tool("curl")
    run, subscribe, publish = commands("In five minutes")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="sluice-docs-") as folder:
        control = os.path.join(folder, "control.sock")

        def at_home(text):
            return text.replace("8080", str(port)).replace("sluice ", SLUICE + " ", 1)

        def says(command):
            return subprocess.run(at_home(command), shell=True, stderr=subprocess.DEVNULL, timeout=PATIENCE).returncode

        conf = re.search(r"^```sluice\n(.*?)^```", DOC, re.M | re.S).group(1)
        with open(os.path.join(folder, "ws.conf"), "w") as f:
            f.write(conf.replace("8080", str(port)) + 'pin = "off"\ncontrol = "%s"\n' % control)
        out = os.path.join(folder, "out")
        with open(out, "wb") as heard:
            server = subprocess.Popen("exec " + at_home(run), shell=True, cwd=folder, stderr=subprocess.DEVNULL)
            try:
                wait_for(lambda: says(publish) == 0, "the server is up")
                ear = subprocess.Popen("exec " + at_home(subscribe), shell=True, stdout=heard, stderr=subprocess.DEVNULL)
                try:
                    # Said again until it has subscribed.
                    def is_heard():
                        assert says(publish) == 0
                        with open(out) as f:
                            return "data: hello\n" in f.read()

                    wait_for(is_heard, "the subscriber shows it")
                finally:
                    ear.send_signal(signal.SIGTERM)
                    ear.wait()
            finally:
                server.send_signal(signal.SIGTERM)
                assert server.wait(PATIENCE) == 0


def test_configurations():
    texts = re.findall(r"^```sluice\n(.*?)^```", DOC, re.M | re.S)
    assert len(texts) > 1
    with tempfile.TemporaryDirectory(prefix="sluice-docs-") as folder:
        path = os.path.join(folder, "x.conf")
        for text in texts:
            with open(path, "w") as f:
                f.write(text)
            r = subprocess.run([SLUICE, "check", "-c", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            assert r.returncode == 0, r.stdout


def test_words():
    """Reasons and counters: each that there is, and no other."""
    source = text_of("include", "stats_shm.h")
    reasons = set(re.findall(r'"((?:websocket|subscriber|event_stream)\w*)"\)', source))
    table = DOC.split("| reason | code | when |")[1].split("\n\n")[0]
    rows = set(re.findall(r"^\| `(\w+)` \|", table, re.M))
    assert reasons and reasons == rows - {"write_timeout", "drain"}, reasons ^ rows
    counters = set(re.findall(r"X\((\w+)\)", source.split("#define STATS_WEBSOCKET(X)")[1].split("struct ")[0]))
    listed = DOC.split("Each worker has an object `websocket`")[1].split("\n\n")[0]
    assert counters == set(re.findall(r"`(\w+)`", listed)), counters ^ set(re.findall(r"`(\w+)`", listed))


if __name__ == "__main__":
    main(__name__)
