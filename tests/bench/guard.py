# SPDX-License-Identifier: MIT
"""Instructions of a worker for a request, held against those that are committed (make bench-guard).

    make bench-guard              compare
    make bench-guard WRITE=1      put the present figures into guard.json
    make bench-guard ARGS=-f      with the functions of each module

User space only, counted by callgrind: what a busy machine does to times it does not do to this.  A server is asked a few
times in each case; another one is asked as often, and then many times more in one case: their difference is what these
took, without start-up, caches to be filled and the end.  The client sends when the worker waits, so nothing depends on
who is faster.  No steering program: callgrind knows no BPF.  More than TOLERANCE above the committed figure fails; as
much below it asks to be committed.

Another compiler makes other instructions, and another libc or processor has other copy loops.  Where these are not what
the figures were made with, they are printed and nothing is compared: exit status 77.
"""
import argparse
import concurrent.futures
import json
import os
import platform
import re
import sys
import tempfile

from callgrind import ask, by_module, difference, profile_of, total, under_callgrind
from common import need_tool, output_of, skipping
from harness import SLUICE, Server, Skip, request
from proxy_peers import Backend, set_tools

FIGURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guard.json")
TOLERANCE = 0.02
FEW, MANY = 48, 480  # 16 divides both
GOAL = 6000  # of the browser's case

CURL = (("User-Agent", "curl/7.88.1"), ("Accept", "*/*"))
BROWSER = (  # 1 KiB with the request line and Host
    ("Connection", "keep-alive"),
    ("Cache-Control", "max-age=0"),
    ("sec-ch-ua", '"Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"'),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", '"Linux"'),
    ("Upgrade-Insecure-Requests", "1"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"),
    (
        "Accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,"
        "application/signed-exchange;v=b3;q=0.7",
    ),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-User", "?1"),
    ("Sec-Fetch-Dest", "document"),
    ("Referer", "https://www.example.org/articles/2026/11/a-page-before-this-one.html"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-GB,en;q=0.9,de-DE;q=0.8,de;q=0.7,fr;q=0.6"),
    (
        "Cookie",
        "session=8f14e45fceea167a5a36dedd4bea2543; theme=dark; consent=necessary%2Canalytics; visits=42; locale=en_GB; "
        "_ga=GA1.2.1093382173.1763942400; cart=3f2c77d1-5b1e-4f6a-9a0e-6c1d2b7e8f90; seen=a1b2c3d4e5f6",
    ),
)


class Case:
    """Requests are sent in batches of `batch`, each of which has to be answered with `status`."""

    def __init__(self, what, target, fields=CURL, status=200, batch=1, has_log=False):
        self.what, self.target, self.fields, self.status = what, target, fields, status
        self.batch, self.has_log = batch, has_log

    def load(self, server, pid, count):
        data = request(self.target, fields=self.fields, host="www.example.org")
        ask(server, pid, data, count, self.status, self.batch)


CASES = {
    "constant": Case("constant reply, keep-alive", "/hello"),
    "browser": Case("128 B file from the cache, a browser's fields, access log", "/128", BROWSER, has_log=True),
    "pipelined": Case("constant reply, 16 pipelined", "/hello", batch=16),
    "proxy": Case("small reply by the proxy", "/small"),
    "missing": Case("404", "/not-there", status=404),
}


def run_server(has_log, measured=None):
    """Profile of a worker that was asked FEW times in each case, and MANY times more in the one that is measured."""
    with tempfile.TemporaryDirectory() as folder, Backend() as back:
        server = Server(
            workers=1,
            wrap=under_callgrind(folder),
            routes={"/": {"files": "@WWW@"}, "/hello": {"respond": "hello"}, "/small": {"proxy": "back"}},
            steering={"enabled": False},
            timeouts={"keepalive": "600s"},
            log={"access": "@DIR@/access.log"} if has_log else None,
            # callgrind writes a file at the end, which no worker may.
            extra='sandbox = "off"\nupstream "back" { server "127.0.0.1:%d" { } }\n' % back.port,
        )
        server.write("128", b"x" * 128)
        with server:
            pid = server.workers()[0]["pid"]
            for case in CASES.values():
                case.load(server, pid, FEW)
            if measured:
                measured.load(server, pid, MANY)
        return profile_of(folder, pid)


def measure(names):
    """{name: {(module, function): instructions for each request}}"""
    cases = [CASES[name] for name in names]
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        base = {has_log: pool.submit(run_server, has_log) for has_log in {c.has_log for c in cases}}
        runs = [pool.submit(run_server, c.has_log, c) for c in cases]
        return {n: difference(r.result(), base[c.has_log].result(), MANY) for n, c, r in zip(names, cases, runs)}


def compilers(program):
    """Who made the program, as it says itself."""
    text = output_of(need_tool("readelf"), "-p", ".comment", program)
    return sorted(set(m.strip() for m in re.findall(r"^\s*\[\s*[0-9a-f]+\]\s+(.+)$", text, re.M)))


def conditions():
    """What the figures depend on beside the source."""
    flags = os.path.join(os.path.dirname(SLUICE), "flags")
    if not os.path.exists(flags):
        raise Skip("nobody knows how %s was compiled: there is no %s" % (SLUICE, flags))
    with open("/proc/cpuinfo") as f:
        words = set(f.read().split())
    with open(flags) as f:
        optimization = re.findall(r"-O\S*", f.read())
    return {
        "compilers": compilers(SLUICE),
        "optimization": optimization[0] if optimization else "none",
        "libc": " ".join(platform.libc_ver()),
        "machine": platform.machine(),
        "vectors": [w for w in ("avx2", "erms") if w in words],
        "valgrind": output_of(need_tool("valgrind"), "--version"),
    }


def compare(name, each, committed):
    """Prints the line of a case; whether it stays within its bounds."""
    now, before = total(each), committed.get(name)
    if not before:
        print("%-60s %8.0f" % (CASES[name].what, now), flush=True)
        return True
    change = now / before - 1
    verdict = "ok"
    if change > TOLERANCE:
        verdict = "MORE than the %.0f %% that are allowed" % (100 * TOLERANCE)
    elif change < -TOLERANCE:
        verdict = "better: commit it (make bench-guard WRITE=1)"
    print("%-60s %8.0f %9.0f %+6.1f %%  %s" % (CASES[name].what, now, before, 100 * change, verdict), flush=True)
    return change <= TOLERANCE


def print_breakdown(each, with_functions):
    print("\n%s: by module" % CASES["browser"].what)
    for module, cost, functions in by_module(each):
        if cost >= 10:
            print("  %-28s %6.0f  %4.1f %%" % (module, cost, 100 * cost / total(each)))
        for name, own in functions if with_functions else ():
            if own >= 5:
                print("      %-40s %6.0f" % (name, own))
    now = total(each)
    print(
        "goal: at most %d user instructions; now %.0f: %s"
        % (GOAL, now, "reached" if now <= GOAL else "%.0f too many" % (now - GOAL))
    )


def write(figures, made_with):
    with open(FIGURES, "w") as f:
        json.dump({"conditions": made_with, "instructions": figures}, f, indent=1)
        f.write("\n")
    print("written to %s" % FIGURES)


def run(options):
    with open(FIGURES) as f:
        known = json.load(f)
    made_with = conditions()
    others = ["%s: %s, not %s" % (k, made_with[k], v) for k, v in known["conditions"].items() if made_with[k] != v]
    committed = {} if others or options.write else known["instructions"]
    each = measure(options.cases.split(",") if options.cases else list(CASES))
    print("%-60s %8s %9s" % ("user instructions of a worker for a request", "now", "committed"))
    is_fine = all([compare(name, each[name], committed) for name in each])
    if "browser" in each:
        print_breakdown(each["browser"], options.functions)
    if options.write:
        write(dict(known["instructions"], **{n: round(total(e)) for n, e in each.items()}), made_with)
    elif others:
        print("SKIP: nothing to compare with, the committed figures were made with other means: " + "; ".join(others))
        return 77
    return 0 if is_fine else 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tools", default="build/release/tests/bench")
    parser.add_argument("--cases", default="", help="some of: " + ",".join(CASES))
    parser.add_argument("--write", action="store_true", help="the committed figures become the present ones")
    parser.add_argument("-f", "--functions", action="store_true")
    options = parser.parse_args()
    set_tools(options.tools)
    with skipping():
        need_tool("valgrind")
        status = run(options)
    sys.exit(status)


if __name__ == "__main__":
    main()
