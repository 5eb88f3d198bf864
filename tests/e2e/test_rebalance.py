# SPDX-License-Identifier: MIT
"""Established connections move from hot workers to cool ones, and no client notices."""
import os
import statistics
import struct
import subprocess
import sys
import time

from harness import (
    Client,
    Server,
    main,
    need_bpffs,
    need_tool,
    raise_descriptor_limit,
    wait_for,
)

CONNECTIONS = 400


def set_weight(server, slot, weight):
    key = struct.pack("=I", slot)
    path = os.path.join(server.pin, "steer_weights")
    command = ["bpftool", "map", "update", "pinned", path, "key"]
    command += ["%d" % b for b in key] + ["value"]
    size = weight_size(path)
    command += ["%d" % b for b in struct.pack("=I", weight).ljust(size, b"\0")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def weight_size(path):
    shown = subprocess.run(
        ["bpftool", "map", "show", "pinned", path], check=True, capture_output=True, text=True
    ).stdout
    return int(shown.split("value ")[1].split("B")[0])


def live(server):
    return [w["live"] for w in server.workers()]


def has_arrived(workers):
    """All that was handed over; more may have been since anybody counted."""
    return sum(w["moved_in"] for w in workers) == sum(w["moved_out"] for w in workers)


def spread(counts):
    """Standard deviation in parts of the mean."""
    return statistics.pstdev(counts) / statistics.mean(counts)


def ask_all(clients):
    """One request on each connection; what is wrong is an exception."""
    for c in clients:
        c.send(b"GET /hello HTTP/1.1\r\nHost: t\r\n\r\n")
    closing = 0
    for c in clients:
        reply = c.read_response()
        assert reply.status == 200, reply
        closing += reply.says_close()
    return closing


def skewed(server):
    """Three times as many connections on slot 0 as on each other, then equal weights again."""
    set_weight(server, 0, 300)
    clients = [Client(server.address()) for _ in range(CONNECTIONS)]
    ask_all(clients)
    server.wait_live(CONNECTIONS)
    counts = live(server)
    assert counts[0] >= 2.5 * max(counts[1:]), counts
    set_weight(server, 0, 100)
    return clients


def prepare():
    need_bpffs()
    need_tool("bpftool")
    raise_descriptor_limit(CONNECTIONS + 200)


def test_auto_evens_out_a_skew_without_a_failed_request():
    prepare()
    with Server(workers=4, steering={"rebalance": "auto", "stall": "off"}) as server:
        set_weight(server, 0, 300)
        clients = [Client(server.address()) for _ in range(CONNECTIONS)]
        server.wait_live(CONNECTIONS)
        before = live(server)
        set_weight(server, 0, 100)
        began = time.monotonic()
        rounds = closing = 0
        while spread(live(server)) > 0.1 and time.monotonic() - began < 10:
            closing += ask_all(clients)
            rounds += 1
        took = time.monotonic() - began
        after = live(server)
        closing += ask_all(clients)
        moved = server.total("moved_out")
        print(
            "     skew %s -> %s in %.2f s, %d moved, %d of %d replies asked to come back"
            % (before, after, took, moved, closing, (rounds + 1) * CONNECTIONS)
        )
        assert spread(after) <= 0.1, after
        assert moved > 0
        wait_for(lambda: has_arrived(server.workers()), "parcels to arrive")
        server.wait_live(CONNECTIONS - closing)
        for c in clients:
            c.close()
        server.wait_live(0)


def test_on_demand_even_when_nobody_asks_anything():
    prepare()
    with Server(workers=4, steering={"stall": "off"}) as server:
        clients = skewed(server)
        for _ in range(10):
            assert server.total("moved_out") == 0
            time.sleep(0.05)
        assert server.ask({"command": "rebalance"})["ok"]
        wait_for(lambda: max(live(server)) - min(live(server)) <= 2, "even counts")
        assert ask_all(clients) == 0
        server.wait_live(CONNECTIONS)
        for c in clients:
            c.close()
        server.wait_live(0)


def test_requests_on_their_way_move_with_their_connection():
    """Requests are sent while the connections are moving: each gets its answer, from whoever has it then."""
    prepare()
    with Server(workers=4, steering={"stall": "off"}) as server:
        clients = skewed(server)
        for c in clients:
            c.send(b"GET /hello HT")  # half a request: these connections stay
        assert server.ask({"command": "rebalance"})["ok"]
        for c in clients:
            c.send(b"TP/1.1\r\nHost: t\r\n\r\n")
        replies = [c.read_response() for c in clients]
        assert all(r.status == 200 for r in replies)
        stay = [c for c, r in zip(clients, replies) if not r.says_close()]
        # At most one reply in twenty asks its client to come back.
        assert len(stay) >= CONNECTIONS * 0.95 - 1, len(stay)
        wait_for(lambda: max(live(server)) - min(live(server)) <= 2, "even counts")
        ask_all(stay)


def test_a_parcel_survives_the_death_of_its_worker():
    prepare()
    with Server(workers=2) as server:
        set_weight(server, 1, 0)
        clients = [Client(server.address()) for _ in range(40)]
        ask_all(clients)
        set_weight(server, 1, 100)
        pid = server.workers()[1]["pid"]
        os.kill(pid, 19)  # it still looks asleep, so it is given its share
        assert server.ask({"command": "rebalance"})["ok"]
        wait_for(lambda: server.total("moved_out") >= 19, "parcels to leave")
        os.kill(pid, 9)
        assert ask_all(clients) == 0
        server.wait_live(40)
        assert min(live(server)) >= 19, live(server)


if __name__ == "__main__":
    main(__name__)
