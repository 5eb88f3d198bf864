# SPDX-License-Identifier: MIT
"""The simulator against the real thing on this machine (make bench-sim).

Two scenarios on 8 workers, each on real sockets and by `sluice sim` with the same numbers: the burst of
256 SYNs of burst.py, and connections that come at 1000 a second and stay open for 4 s on average.  Printed side by
side, mean and 95 % interval; exit status 1 where the two intervals, widened by the tolerance, do not meet.
"""
import argparse
import heapq
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time

import burst
from common import skipping  # also finds the harness
from harness import Server, need_bpffs, raise_descriptor_limit, wait_for

WORKERS = 8
RATE = 1000  # connections a second
SECONDS = 4  # that they come for, and the mean time they stay
STUDENT_T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
# Beyond the intervals: the real host has another clock, accepts in batches and shares its CPUs.
TOLERANCE = {"max/mean": 0.05, "SD": 0.5}


def simulate(*words):
    """{policy: JSON object} of the first case"""
    done = subprocess.run(
        [os.environ["SLUICE"], "sim", "--json", *words], stdout=subprocess.PIPE, check=True
    )
    return {p["policy"]: p for p in json.loads(done.stdout)["cases"][0]["policies"]}


def estimate(values):
    mean = statistics.mean(values)
    n = len(values)
    t = STUDENT_T.get(n) or 1.96 + 2.372 / (n - 1) + 2.823 / (n - 1) ** 2
    return mean, t * statistics.stdev(values) / n ** 0.5


def steering_of(policy):
    name, _, suffix = policy.partition(":")
    return dict(policy=name, required=True, reservation="off" if suffix else "500ms")


def real_burst(policy, rounds):
    """max/mean of each round"""
    ratios = []
    with Server(workers=WORKERS, steering=steering_of(policy)) as server:
        for _ in range(rounds):
            kept = burst.make_uneven(server)
            wait_for(lambda: server.total("reserved") == 0, "no reservation is left")
            got, _ = burst.burst(server)
            ratios.append(max(got) * WORKERS / sum(got))
            for c in kept:
                c.close()
            server.wait_live(0)
    return ratios


def come_and_go(address, seed):
    """Opens for SECONDS, closes each when its time is over; those still open at the end."""
    rng = random.Random(seed)
    leaving, count, now = [], 0, 0.0
    began = time.monotonic()
    while True:
        now += rng.expovariate(RATE)
        if now > SECONDS:
            break
        while leaving and leaving[0][0] < now:
            heapq.heappop(leaving)[2].close()
        ahead = began + now - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)  # the pace that is asked for, not a wait
        s = socket.create_connection(address)
        heapq.heappush(leaving, (now + rng.expovariate(1 / SECONDS), count, s))
        count += 1
    while leaving and leaving[0][0] < SECONDS:
        heapq.heappop(leaving)[2].close()
    return [s for _, _, s in leaving], time.monotonic() - began


def real_long_lived(policy, rounds):
    """Standard deviation over the workers of each round"""
    deviations = []
    with Server(workers=WORKERS, steering=steering_of(policy)) as server:
        for seed in range(rounds):
            socks, took = come_and_go(server.address(), seed)
            server.wait_live(len(socks))
            live = [w["live"] for w in server.workers()]
            deviations.append(statistics.pstdev(live))
            print("  %-13s %d open after %.1f s: %s" % (policy, len(socks), took, live), flush=True)
            for s in socks:
                s.close()
            server.wait_live(0)
    return deviations


def compare(what, policy, real, simulated):
    mean, width = real
    sim_mean, sim_width = simulated["mean"], simulated["ci95"]
    meets = abs(mean - sim_mean) <= width + sim_width + TOLERANCE[what]
    print(
        "| %s | %s | %.2f +- %.2f | %.2f +- %.2f | %s |"
        % (what, policy, mean, width, sim_mean, sim_width, "yes" if meets else "NO"),
        flush=True,
    )
    return meets


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    rows = []
    with skipping():
        need_bpffs()
        raise_descriptor_limit(3 * RATE * SECONDS)
        policies = ["hash", "least", "least:accept", "rr", "p2c", "p2c:accept"]
        sim = simulate("--scenario", "burst", "policies=" + ",".join(policies))
        for p in policies:
            rows.append(("max/mean", p, estimate(real_burst(p, rounds)), sim[p]["max_of_mean"]))
        policies = ["hash", "least", "rr"]
        sim = simulate(
            "--scenario", "long-lived", "slots=%d" % WORKERS, "rate=%d" % RATE,
            "connections=%d" % (RATE * SECONDS), "life=exp:%ds" % SECONDS, "lag=0.2ms",
            "seeds=100", "policies=" + ",".join(policies),
        )  # fmt: skip
        for p in policies:
            rows.append(("SD", p, estimate(real_long_lived(p, rounds)), sim[p]["open_sd"]))
    print("| figure | policy | real, n = %d | simulated, n = 100 | agree |" % rounds)
    print("|---|---|---|---|---|")
    agree = [compare(*row) for row in rows]
    sys.exit(not all(agree))


if __name__ == "__main__":
    main()
