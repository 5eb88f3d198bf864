# SPDX-License-Identifier: MIT
"""sluice's UDP proxy against nginx's (stream), side by side in one run (make bench-udp).

Both run at the same time with the same number of workers on the same CPUs and the same server behind them; the load goes
to one and then to the other, in turn, and the order changes with every round.  Printed: median (min-max) of datagrams
from clients that were answered, for each second of server CPU time (utime + stime of all its processes), and the median
of the paired ratios.

    vs_nginx_udp.py --tools DIR [--rounds N] [--seconds N] [--workers N] [--append docs/benchmarks.md]
"""
import argparse
import json
import os
import socket
import subprocess
import sys

from common import append_table, cpu_seconds, machine, median, need_tool, on_cpus, output_of, skipping, split_cpus, spread
from datagrams import free_udp_port, udp_listen, upstream
from harness import Server, Skip
from steer_peers import Peer

MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
NGINX = """
load_module %(module)s;
daemon off;
user nobody nogroup;
worker_processes %(workers)d;
worker_cpu_affinity %(masks)s;
worker_rlimit_nofile 65536;
pid %(dir)s/pid;
error_log %(dir)s/error.log;
events { worker_connections 16384; }
stream {
	upstream app { server 127.0.0.1:%(server)d; }
	server { listen 127.0.0.1:%(flows)d udp reuseport; proxy_pass app; proxy_timeout 60s; }
	server { listen 127.0.0.1:%(fresh)d udp reuseport; proxy_pass app; proxy_timeout 60s; proxy_responses 1; }
}
"""
# Name, which port, flows, bytes, words for udpload.
CASES = [
    ("64 flows of 64 B", "flows", 64, 64, ()),
    ("64 flows of 1200 B", "flows", 64, 1200, ()),
    ("1000 flows of 64 B", "flows", 1000, 64, ()),
    ("a flow for each, 64 B", "fresh", 64, 64, ("fresh",)),
]


class Nginx(Peer):
    program = "nginx"

    def __init__(self, workers, cpus, server):
        if not os.path.exists(MODULE):
            raise Skip("needs nginx's stream module (libnginx-mod-stream)")
        super().__init__(workers)
        self.cpus, self.server = cpus, server
        self.ports = {"flows": free_udp_port(), "fresh": free_udp_port()}

    def text(self):
        masks = " ".join(format(1 << self.cpus[i % len(self.cpus)], "b") for i in range(self.workers))
        return NGINX % dict(
            self.ports, module=MODULE, workers=self.workers, masks=masks, dir=self.dir, server=self.server
        )

    def command(self):
        return [need_tool("nginx"), "-c", self.config, "-e", self.dir + "/error.log"]

    def answers(self):
        return all(answers(p) for p in self.ports.values())


def answers(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.2)
        s.connect(("127.0.0.1", port))
        try:
            s.send(b"x" * 8)
            return s.recv(100) == b"x" * 8
        except OSError:
            return False


def measure(udpload, port, session, case, options, cpus):
    _, _, flows, size, words = case
    before = cpu_seconds(session)
    done = subprocess.run(
        on_cpus(cpus) + [udpload, "flows", "127.0.0.1", str(port), str(options.seconds), str(flows), str(size), *words],
        stdout=subprocess.PIPE,
        universal_newlines=True,
        timeout=options.seconds + 60,
        check=True,
    )
    got = json.loads(done.stdout)
    spent = cpu_seconds(session) - before
    return {
        "rate": got["answered"] / got["seconds"],
        "per_cpu_s": got["answered"] / spent,
        "lost": got["repeated"] / max(1, got["answered"]),
        "wrong": got["wrong"],
    }


def run(options):
    server_cpus, load_cpus = split_cpus(options.workers)
    udpload = os.path.join(options.tools, "udpload")
    behind = free_udp_port()
    echo = subprocess.Popen(on_cpus(load_cpus) + [udpload, "echo", str(behind)])
    sluice = Server(
        workers=options.workers,
        wrap=on_cpus(server_cpus),
        extra=udp_listen("127.0.0.1:0", udp="proxy app", timeout="60s")
        + udp_listen("127.0.0.1:0", udp="proxy app", timeout="60s", replies=1)
        + upstream("app", "127.0.0.1:%d" % behind),
    )
    rows = []
    try:
        with sluice, Nginx(options.workers, server_cpus, behind) as nginx:
            listens = sluice.status()["udp"]["listen"]
            ports = [int(x["address"].rpartition(":")[2]) for x in listens]
            peers = {
                "sluice": (dict(zip(("flows", "fresh"), ports)), sluice.proc.pid),
                "nginx": (nginx.ports, nginx.proc.pid),
            }
            print(
                "%s; %d worker(s) on CPU %s, load and server on CPU %s; %s; %s; %d rounds of %d s"
                % (
                    machine(),
                    options.workers,
                    server_cpus,
                    load_cpus,
                    "steered" if listens[0]["steered"] else "NOT STEERED",
                    output_of("nginx", "-v"),
                    options.rounds,
                    options.seconds,
                ),
                flush=True,
            )
            for case in CASES:
                got = {name: [] for name in peers}
                for turn in range(options.rounds):
                    for name in list(peers)[:: 1 if turn % 2 == 0 else -1]:
                        by_case, session = peers[name]
                        got[name].append(measure(udpload, by_case[case[1]], session, case, options, load_cpus))
                rows.append(report(case[0], got))
    finally:
        echo.kill()
        echo.wait()
    return rows


def report(name, got):
    def column(peer, key):
        return [m[key] for m in got[peer]]

    ratios = [a / b for a, b in zip(column("sluice", "per_cpu_s"), column("nginx", "per_cpu_s"))]
    row = {"case": name, "wrong": sum(column("sluice", "wrong") + column("nginx", "wrong"))}
    for peer in got:
        row[peer + " per CPU s"] = spread(column(peer, "per_cpu_s"))
        row[peer + " per s"] = spread(column(peer, "rate"))
        row[peer + " repeated"] = "%.3f %%" % (100 * median(column(peer, "lost")))
    row["ratio per CPU s"] = spread(ratios, "%.2f")
    print("%-22s x %s" % (name, row["ratio per CPU s"]))
    for peer in got:
        print(
            "  %-20s %s per CPU second, %s per second, %s repeated"
            % (peer, row[peer + " per CPU s"], row[peer + " per s"], row[peer + " repeated"]),
            flush=True,
        )
    return row


def append(path, rows, options):
    keys = ["case", "sluice per CPU s", "nginx per CPU s", "ratio per CPU s", "sluice per s", "nginx per s"]
    note = (
        "%s; %s; %d worker(s) each; %d alternating rounds of %d s; datagrams of clients answered; median (min-max); "
        "ratio = sluice / nginx, paired."
        % (machine(), output_of("nginx", "-v"), options.workers, options.rounds, options.seconds)
    )
    append_table(path, "UDP, against nginx (stream)", note, keys, rows)


def main():
    cpus = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser()
    parser.add_argument("--tools", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=max(1, cpus // 2))
    parser.add_argument("--append", metavar="FILE")
    options = parser.parse_args()
    with skipping():
        need_tool("nginx")
        rows = run(options)
    if options.append:
        append(options.append, rows, options)
    sys.exit(1 if any(row["wrong"] for row in rows) else 0)


if __name__ == "__main__":
    main()
