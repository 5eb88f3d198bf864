# SPDX-License-Identifier: MIT
"""sluice beside nginx, HAProxy, h2o and lighttpd, in one run (make bench).

    make bench                              all cases, about 20 minutes
    make bench QUICK=1 N=1                  a look: short turns, one of each
    make bench CASES=constant,log           some of them
    make bench WRITE=docs/benchmarks.md     tables, charts and configurations into the documents

All run at the same time on the same CPUs, with as many workers or threads each; `sluice load` goes to one after the other,
and the order changes with every round.  Exit status 1 where a case could not be measured; a goal that was missed is a
result, not an error.  Figures are kept below the build folder (peers.json) from run to run.
"""
import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback

import guard
from callgrind import total
from common import machine, median, own_network, skipping, split_cpus
from harness import Skip, need_tool, raise_descriptor_limit
from peer_cases import CASES, IDLE, LATENCIES, SATURATED
from peer_report import write_documents
from peer_results import FLOOR, GOALS, Results, losses
from proxy_peers import set_tools
from steer_peers import tool
from web_peers import SERVERS, make_www, versions


class Bench:
    """What cases need to know of the run."""

    def __init__(self, options, www):
        self.www, self.workers, self.is_quick = www, options.workers, options.quick
        self.names = options.servers.split(",")
        self.cpus, self.load_cpus = split_cpus(options.workers)
        self.rounds = options.rounds or (3 if options.quick else 5)
        self.seconds = options.seconds or (0.5 if options.quick else 1.5)
        self.slowest = {}

    def half_of_slowest(self, name):
        """Requests a second, by a closed loop; measured here where the case was not."""
        if name not in self.slowest:
            self.note_slowest(name, CASES[name].run(self))
        return int(self.slowest[name] / 2)

    def note_slowest(self, name, got):
        self.slowest[name] = min(median([t["rps"] for t in turns]) for n, turns in got.items() if n != FLOOR)


def measure(bench, name):
    got = CASES[name].run(bench)
    if name in SATURATED:
        bench.note_slowest(name, got)
    return got


def guard_case():
    """sluice's browser case with everything on, as guard.py has it."""
    return {"sluice": [{"instructions": total(guard.measure(["browser"])["browser"])}]}


def print_case(results, name, took):
    case, best = CASES[name], results.best_peer(name, CASES[name].quantity)
    print("%s (%.0f s)" % (case.what, took))
    for server in results.names(name):
        values = results.values(name, case.quantity, server)
        text = "%9.3f %s (%.3f to %.3f)" % (median(values), case.unit, min(values), max(values))
        if results.values(name, "user_us", server) and case.quantity == "cpu_us":
            text += ", user %.2f system %.2f" % tuple(results.median(name, k, server) for k in ("user_us", "system_us"))
        if results.values(name, "rps", server):
            text += ", %.0f req/s" % results.median(name, "rps", server)
        if results.values(name, "waited_ms", server):
            text += ", waited for a CPU %.1f ms a second" % results.median(name, "waited_ms", server)
        if server == best and results.has(name):
            ratio = median(results.ratios(name, case.quantity, best))
            text += "; sluice is at %.3f of it, p = %.2g" % (ratio, results.p(name, case.quantity, best))
        print("    %-9s %s" % (server, text))
        for turn in results.cases[name]["turns"][server][:1]:
            if "h2load" in turn:
                print("    %-9s by h2load: %s; by sluice load: %s" % ("", said(turn["h2load"]), said(turn)))
    sys.stdout.flush()


def said(turn):
    return ", ".join("%s %.3f" % (name, turn[name]) for name in LATENCIES)


def run_cases(bench, names, results, how):
    is_fine = True
    for name in names:
        began = time.monotonic()
        try:
            results.add(name, measure(bench, name), how, versions(bench.names))
            print_case(results, name, time.monotonic() - began)
        except Skip as why:
            print("%s: skipped: %s" % (CASES[name].what, why), flush=True)
        except Exception as e:
            traceback.print_exc(file=sys.stdout)
            print("%s: ERROR: %s" % (CASES[name].what, str(e).split("\n")[0][:200]), flush=True)
            is_fine = False
    if "browser-instructions" in names:
        results.add("guard", guard_case(), how, versions(["sluice"]))
    return is_fine


def print_goals(results):
    print("\n%-72s %-10s %-24s %s" % ("goal", "target", "measured", "result"))
    for goal in GOALS:
        target, text, n, result, remark = goal.judge(results)
        print("%-72s %-10s %-24s %s%s" % (goal.what, target, text, result, remark and " (%s)" % remark))
    for what, ratio, best, p in losses(results, CASES):
        print("loses: %s: x %.2f of %s, p = %.2g" % (what, ratio, best, p))


def parse_options():
    cpus = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", default="", help="some of: " + ",".join(CASES))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--workers", type=int, default=max(1, cpus // 2))
    parser.add_argument("--servers", default=",".join(SERVERS), help="the others that there are")
    parser.add_argument("--tools", default="build/release/tests/bench")
    parser.add_argument("--out", default="build/release/bench")
    parser.add_argument("--write", metavar="FILE")
    return parser.parse_args()


def main():
    options = parse_options()
    set_tools(options.tools)
    with skipping():
        for name in options.servers.split(","):
            name == "sluice" or need_tool(name)
        names = options.cases.replace(",", " ").split() or list(CASES)
        for program in ("limit", "backend", "relay", "bulkload") if "proxy" in names else ("limit",):
            tool(program)
        need_tool("wrk"), need_tool("h2load"), need_tool("valgrind")
        if raise_descriptor_limit(IDLE + 2000) < IDLE + 2000:
            raise Skip("needs %d descriptors" % (IDLE + 2000))
    own_network()
    www = tempfile.mkdtemp(prefix="sluice-bench-www-")
    try:
        make_www(www)
        bench = Bench(options, www)
        print(
            "%s; %s; %d worker(s) on CPU %s, load on CPU %s; %d rounds; load average %s"
            % (machine(), ", ".join(versions(bench.names)), bench.workers, bench.cpus, bench.load_cpus, bench.rounds,
               os.getloadavg()),
            flush=True,
        )
        results = Results(options.out)
        how = "make bench%s, %d rounds of %g s, %d worker(s) each" % (
            " QUICK=1" if bench.is_quick else "", bench.rounds, bench.seconds, bench.workers
        )
        is_fine = run_cases(bench, names, results, how)
    finally:
        shutil.rmtree(www, ignore_errors=True)
    results.save()
    print_goals(results)
    if options.write:
        write_documents(results, options.write, options.workers)
    sys.exit(0 if is_fine else 1)


if __name__ == "__main__":
    main()
