# SPDX-License-Identifier: MIT
"""The commands of docs/steering.md, as they stand there, against a running server: each does what the text says.

Also what an operator may do wrong: policies switched under load, and junk written into every map.
"""
import json
import os
import random
import subprocess
import threading

from harness import (
    SLUICE,
    Client,
    Server,
    main,
    need_bpffs,
    need_tool,
    request,
)

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PIN = "/sys/fs/bpf/sluice"
POLICIES = ["hash", "least", "rr", "p2c", "weighted", "cpu", "busy"]


def commands(heading):
    """The indented lines of a section."""
    with open(os.path.join(TOP, "docs", "steering.md")) as f:
        section = f.read().split("\n## %s\n" % heading)[1].split("\n## ")[0]
    return [line.strip() for line in section.splitlines() if line.startswith("    ")]


def run(server, line):
    """A line of the document in a shell, with this server's configuration and pins in the place of the defaults."""
    need_tool("bpftool")
    line = line.replace(PIN + "/", server.pin + "/")
    if line.startswith("sluice "):
        line = "%s %s -c %s" % (SLUICE, line[len("sluice ") :], server.conf_path)
    done = subprocess.run(
        line, shell=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True
    )
    assert done.returncode == 0, "%s\n%s" % (line, done.stderr)
    return done.stdout


def steering(workers=4):
    """No slot is skipped as stalled, so that on a busy machine too each connection goes where it is expected."""
    need_bpffs()
    return Server(workers=workers, steering={"required": True, "stall": "off"})


def report(server):
    return json.loads(run(server, "sluice steer --json"))


def weights(server):
    return [w["weight"] for w in server.workers()]


class Burst:
    """Connections opened one after another, kept, and where they went; closed at the end."""

    def __init__(self, server, count):
        before = [w["accepted"] for w in server.workers()]
        total = sum(before) + count
        self.clients = [Client(server.address()) for _ in range(count)]
        server.wait_live(count)
        after = [w["accepted"] for w in server.workers()]
        assert sum(after) == total
        self.counts = [b - a for a, b in zip(before, after)]

    def __enter__(self):
        return self.counts

    def __exit__(self, *args):
        for client in self.clients:
            client.close()


def landing(server, count=40):
    with Burst(server, count) as counts:
        pass
    server.wait_live(0)
    return counts


def test_five_minutes():
    lines = commands("In five minutes")
    assert len(lines) == 9, lines
    with steering() as server:
        seen = [run(server, line) for line in lines[:2]]
        assert seen[0].startswith("policy least:") and "next" in seen[1], seen
        run(server, lines[2])  # drain 0
        assert weights(server) == [0, 100, 100, 100]
        counts = landing(server)
        assert counts[0] == 0 and max(counts) - min(counts[1:]) <= 1, counts
        run(server, lines[3])  # status
        run(server, lines[4])  # undrain 0
        assert weights(server) == [100] * 4
        run(server, lines[5])  # weight 0 50
        assert weights(server) == [50, 100, 100, 100]
        counts = landing(server, 70)
        assert counts[0] in range(9, 12) and min(counts[1:]) >= 19, counts
        for line, policy in ((lines[6], "p2c"), (lines[8], "least")):
            run(server, line)
            assert server.status()["steering"]["policy"] == policy
        run(server, lines[7])
        assert weights(server) == [100] * 4


def test_reading():
    lines = commands("The maps")
    assert len(lines) == 6, lines
    with steering() as server:
        landing(server, 1)
        texts = [run(server, line) for line in lines]
        for field, text in zip(("live", "stamp_ns", "100", "pending_weight", "steered"), texts):
            assert field in text, (field, text)
        assert "sk_reuseport" in texts[5], texts[5]


def test_by_hand():
    lines = commands("By hand")
    assert len(lines) == 6, lines
    with steering() as server:
        with Burst(server, 20):
            for line, weight in zip(lines[:4], (0, 100, 300, 100)):
                run(server, line)
                assert weights(server)[0] == weight, line
                if weight == 0:
                    before = server.workers()[0]["accepted"]
                    extra = [Client(server.address()) for _ in range(12)]
                    server.wait_live(32)
                    assert server.workers()[0]["accepted"] == before
                    for client in extra:
                        client.close()
                    server.wait_live(20)
        server.wait_live(0)
        before = report(server)
        run(server, lines[4])  # rr
        after = report(server)
        assert after["policy"] == "rr"
        for key in ("choices", "band", "pending_weight", "stall_ms", "reservation_ms"):
            assert before[key] == after[key], key
        assert landing(server) == [10] * 4
        run(server, lines[5])  # least
        assert server.status()["steering"]["policy"] == "least"
        assert server.status()["steering"]["verdicts"]["bad_config"] == 0


def test_numbers_of_the_policies():
    """The table's numbers are those of the map."""
    with open(os.path.join(TOP, "docs", "steering.md")) as f:
        text = f.read().split("\n| policy | number |")[1].split("\n\n")[0]
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    table = {row[1].strip(" `"): row[2].strip() for row in rows}
    assert table == {name: str(i) for i, name in enumerate(POLICIES)}, table
    with steering() as server:
        line = commands("By hand")[4]
        for name, number in table.items():
            run(server, line.replace(" value 2 ", " value %s " % number))
            assert server.status()["steering"]["policy"] == name
        assert report(server)["policies"] == POLICIES


def test_what_the_command_refuses():
    with steering(workers=2) as server:
        for words, text in (
            (["policy", "leest"], "did you mean least"),
            (["policy"], "wants NAME"),
            (["weight", "2", "1"], "the slots are 0 to 1"),
            (["weight", "0", "1001"], "from 0 (drained) to 1000"),
            (["weight", "0", "x"], "from 0 (drained) to 1000"),
            (["drain", "-1"], ""),
            (["drain", "4294967296"], "the slots are 0 to 1"),
            (["drain", "0", "1"], "unexpected argument '1'"),
            (["drian", "0"], "did you mean 'drain'"),
        ):
            done = server.cli("steer", *words)
            assert done.returncode != 0 and text in done.stderr, (words, done.stderr)
        assert weights(server) == [100, 100]
        for _ in range(2):  # drained twice, the first weight comes back
            assert server.cli("steer", "drain", "1").returncode == 0
        assert "drained" in server.cli("steer").stdout
        server.cli("steer", "drain", "0")
        assert "no slot is open" in server.cli("steer").stdout
        server.cli("steer", "undrain", "0")
        server.cli("steer", "weight", "0", "250")
        server.cli("steer", "drain", "0")
        assert server.cli("steer", "undrain", "0").returncode == 0
        assert weights(server) == [250, 0]
        chances = [slot["chance"] for slot in report(server)["slots"]]
        assert chances == [1, 0], chances


class Load(threading.Thread):
    """One connection after another, each with a request."""

    def __init__(self, address, count):
        super().__init__()
        self.address, self.count, self.done, self.faults = address, count, 0, []

    def run(self):
        for _ in range(self.count):
            try:
                with Client(self.address) as client:
                    client.send(request("/hello"))
                    response = client.read_response()
                    assert response.status == 200, response
                    self.done += 1
            except Exception as e:
                self.faults.append(repr(e))


def under_load(server, count, disturb):
    """Runs disturb() again and again while 2 clients make `count` connections each; returns how often."""
    loads = [Load(server.address(), count) for _ in range(2)]
    rounds = 0
    for load in loads:
        load.start()
    while any(load.is_alive() for load in loads):
        disturb(rounds)
        rounds += 1
    for load in loads:
        load.join()
        assert not load.faults and load.done == count, load.faults[:3]
    return rounds


def test_policies_switch_under_load():
    with steering() as server:
        rounds = under_load(
            server,
            1000,
            lambda n: server.ask(
                {"command": "steer", "change": "policy", "policy": POLICIES[n % len(POLICIES)]}
            ),
        )
        v = server.status()["steering"]["verdicts"]
        print("  %d switches, 2000 connections, verdicts %r" % (rounds, v), flush=True)
        assert rounds > 20
        assert v["hashed"] > 0 and v["steered"] > 0
        assert v["hashed"] + v["steered"] == sum(v.values()) == 2000, v


def test_junk_in_every_map_drops_nothing():
    seed = 20261121
    dice = random.Random(seed)

    def junk(size):
        kind = dice.randrange(3)
        return [
            str([0, 255, dice.randrange(256)][kind if dice.randrange(2) else dice.randrange(3)])
            for _ in range(size)
        ]

    with steering() as server:
        before = report(server)

        def disturb(n):
            name, size, slots = dice.choice(
                [("steer_config", 40, 1), ("steer_weights", 4, 4), ("steer_slots", 64, 4)]
            )
            value = junk(size)
            if name == "steer_config" and dice.randrange(3):
                value[:8] = [str(dice.randrange(8)), "0", "0", "0", "4", "0", "0", "0"]
            key = [str(dice.randrange(slots)), "0", "0", "0"]
            path = os.path.join(server.pin, name)
            words = ["map", "update", "pinned", path, "key"] + key + ["value"] + value
            subprocess.run([need_tool("bpftool")] + words, check=True)

        rounds = under_load(server, 1000, disturb)
        v = server.status()["steering"]["verdicts"]
        print("  seed %d, %d writes, 2000 connections, verdicts %r" % (seed, rounds, v), flush=True)
        assert rounds > 20
        assert v["bad_config"] + v["all_stalled"] > 0
        assert sum(v.values()) >= 2000
        assert server.cli("steer", "explain").returncode == 0  # whatever stands there
        assert len(report(server)["slots"]) == len(before["slots"])


if __name__ == "__main__":
    main("__main__")
