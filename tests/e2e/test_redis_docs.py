# SPDX-License-Identifier: MIT
"""docs/redis.md is true: its configuration is one, its commands print what the text says, its fields and words are those
there are.
"""
import os
import re
import shutil
import subprocess
import tempfile

from harness import SLUICE, TOP, Server, main, need_tool, text_of, wait_for
from redis_peer import Redis

DOC = text_of("docs", "redis.md")


def first_cells(heading):
    """What stands in the first column of a chapter's tables, word by word."""
    rows = re.findall(r"^\| (`.*?) \|", DOC.split("\n## %s\n" % heading)[1].split("\n## ")[0], re.M)
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row)}


def test_five_minutes():
    need_tool("curl")
    five = DOC.split("\n## In five minutes\n")[1].split("\n## ")[0]
    config = re.search(r"```sluice\n(.*?)```", five, re.S).group(1)
    commands = [line.strip() for line in five.splitlines() if line.startswith("    curl")]
    with Redis() as redis:
        config = config.replace("127.0.0.1:6379", "127.0.0.1:%d" % redis.port).replace(":8080", ":0")
        config = 'control = "@DIR@/control.sock"\npin = "off"\nworkers = 1\n' + config
        with Server(config=config, pin="") as s:
            wait_for(lambda: s.status()["totals"]["redis"]["connections"] >= 2, "connected")
            base = "127.0.0.1:%d" % s.address()[1]
            printed = []
            for line in commands[:-1]:
                line = line.replace("127.0.0.1:8080", base).replace("/etc/hostname", s.conf_path)
                r = subprocess.run(line, shell=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20)
                printed.append(r.stdout.decode())
            ok = '{"SET":[true,"OK"]}'
            assert printed[:5] == [ok, '{"GET":"world"}', "world", ok, ok], printed
            assert printed[5].startswith("HTTP/1.1 403 "), printed[5]
            assert redis.command("GET", "path") == "a/b"
            p = subprocess.Popen(commands[-1].replace("127.0.0.1:8080", base).split(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            try:
                wait_for(lambda: s.status()["totals"]["redis"]["subscribers"] == 1, "curl listens")
                r = subprocess.run(["curl", "-s", "http://%s/PUBLISH/news/hello" % base], stdout=subprocess.PIPE, timeout=20)
                assert r.stdout == b'{"PUBLISH":1}', r.stdout
                lines = [p.stdout.readline() for _ in range(4)]
                assert lines[3] == b'data: {"SUBSCRIBE":["message","news","hello"]}\n', lines
            finally:
                p.kill()
                p.wait()
                p.stdout.close()


def test_configurations():
    folder = tempfile.mkdtemp(prefix="sluice-docs-")
    try:
        for text in re.findall(r"^```sluice\n(.*?)^```", DOC, re.M | re.S):
            path = os.path.join(folder, "x.conf")
            with open(path, "w") as f:
                f.write(text)
            r = subprocess.run([SLUICE, "check", "-c", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            assert r.returncode == 0, r.stdout
    finally:
        shutil.rmtree(folder)


def test_fields_and_words():
    table = re.search(r"#define STATS_REDIS\(X\)(.*?)\n\n", text_of("include", "stats_shm.h"), re.S).group(1)
    fields = set(re.findall(r"^\tX\((\w+)\)", table, re.M))
    code = "".join(text_of("user", "app", name) for name in os.listdir(os.path.join(TOP, "user", "app")) if name.startswith("redis_"))
    told = first_cells("What can be seen")
    words = set(re.findall(r'"([a-z]+(?:_[a-z]+)+)"', code)) - {"no_memory", "method_not_allowed"}
    assert fields <= told, "not told: %s" % (fields - told)
    assert words <= told, "not told: %s" % (words - told)
    assert told - {"drain"} <= fields | words, "not there: %s" % (told - fields - words)


if __name__ == "__main__":
    main(__name__)
