# SPDX-License-Identifier: MIT
"""Minutes of real clients (make soak): no error, right bytes, no growth of memory.

    soak.py [--seconds 60] [--requests 10000000] [--skip-browser]

1. curl, Python's http.client and a headless Chromium fetch files of many sizes and compare the bytes.
2. wrk -c64 and -c1000 and h2load --h1 for --seconds each; wrk -c64 compares every body.
3. --requests more through wrk; the workers' private memory is read before, every tenth, and after.
"""
import argparse
import hashlib
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from common import memory_kb, need_tool, skipping, split_cpus, wrk
from harness import Server

FAILURES = []
GROWTH_KB = 512  # for each worker: noise of the allocator, far below a byte for each request

CHECK_LUA = """
wrong = 0
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init(args) wrong = 0 end
function response(status, headers, body)
	if status ~= 200 or body ~= string.rep("x", 128) then wrong = wrong + 1 end
end
function done(summary, latency, requests)
	local sum = 0
	for _, t in ipairs(threads) do sum = sum + t:get("wrong") end
	io.write("wrong bodies: ", sum, "\\n")
end
"""
PAGE = """<!doctype html><meta charset="utf-8"><title>soak</title><link rel="stylesheet" href="/style.css">
<p id="out">nothing</p><img id="pic" src="/pic.svg">
<script src="/script.js"></script>
<script>
let result = [typeof fromScript === "string" ? fromScript : "no script"];
for (const name of %s) {
	const x = new XMLHttpRequest();
	x.open("GET", "/" + name, false);
	x.overrideMimeType("text/plain; charset=x-user-defined");
	x.send();
	let sum = 0;
	for (let i = 0; i < x.responseText.length; i++) sum = (sum * 31 + (x.responseText.charCodeAt(i) & 255)) %% 1000000007;
	result.push(name + ":" + x.status + ":" + x.responseText.length + ":" + sum);
}
result.push(getComputedStyle(document.getElementById("out")).color);
window.addEventListener("load", () => {
	result.push("pic:" + document.getElementById("pic").naturalWidth);
	document.getElementById("out").textContent = result.join(" ");
});
</script>
"""


def fail(what):
    FAILURES.append(what)
    print("FAIL " + what, flush=True)


def checksum(data):
    total = 0
    for byte in data:
        total = (total * 31 + byte) % 1000000007
    return total


def make_files(server):
    files = {}
    for size in (0, 1, 128, 10240, 65536, 65537, 1000000):
        files["f%d" % size] = (hashlib.sha256(b"%d" % size).digest() * (size // 32 + 1))[:size]
    for name, data in files.items():
        server.write(name, data)
    server.write("128", b"x" * 128)
    server.write("10k", b"y" * 10240)
    server.write("style.css", "#out { color: rgb(1, 2, 3) }")
    server.write("script.js", 'var fromScript = "script";')
    server.write("pic.svg", '<svg xmlns="http://www.w3.org/2000/svg" width="17" height="5"/>')
    server.write("page.html", PAGE % json.dumps(sorted(files)))
    return files


def with_curl(base, files):
    for name, data in files.items():
        for extra in ([], ["--http1.0"], ["-H", "Connection: close"]):
            done = subprocess.run(
                [need_tool("curl"), "-sS", "-f", "--noproxy", "*"] + extra + [base + "/" + name],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                timeout=60,
            )
            if done.returncode or done.stdout != data:
                fail("curl %s %s: %s" % (" ".join(extra), name, done.stderr))
    print("curl: %d fetches" % (3 * len(files)), flush=True)


def with_http_client(address, files):
    connection = http.client.HTTPConnection(*address, timeout=20)
    count = 0
    for _ in range(50):
        for name, data in files.items():
            connection.request("GET", "/" + name)
            answer = connection.getresponse()
            if answer.status != 200 or answer.read() != data:
                fail("http.client %s" % name)
            count += 1
    connection.close()
    print("http.client: %d requests on one connection" % count, flush=True)


def with_chromium(base, files):
    program = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if not program:
        print("SKIP browser: no chromium", flush=True)
        return
    folder = tempfile.mkdtemp(prefix="sluice-soak-")
    try:
        done = subprocess.run(
            [
                program,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--user-data-dir=" + folder,
                "--no-proxy-server",
                "--virtual-time-budget=20000",
                "--dump-dom",
                base + "/page.html",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=180,
            universal_newlines=True,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    m = re.search(r'<p id="out">([^<]*)</p>', done.stdout)
    said = m.group(1).split(" ") if m else []
    wanted = ["script"] + [
        "%s:200:%d:%d" % (n, len(files[n]), checksum(files[n])) for n in sorted(files)
    ]
    text = m.group(1) if m else done.stdout[-500:]
    if said[: len(wanted)] != wanted or "rgb(1, 2, 3)" not in text or "pic:17" not in text:
        fail("chromium got %s instead of %s" % (text, wanted))
    else:
        print("chromium: a page, its style, script, picture and %d files" % len(files), flush=True)


def with_wrk(base, seconds, cpus):
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(CHECK_LUA)
        script.flush()
        for connections, use in ((64, script.name), (1000, None)):
            r = wrk(base + "/128", seconds, connections, cpus, script=use)
            print(
                "wrk -c%d: %d requests, %.0f/s, %d errors, %d wrong bodies"
                % (connections, r.requests, r.per_second, r.errors, r.wrong),
                flush=True,
            )
            if r.errors or r.wrong or not r.requests:
                fail("wrk -c%d:\n%s" % (connections, r.text))


def with_h2load(base, seconds):
    done = subprocess.run(
        [need_tool("h2load"), "--h1", "-c64", "-t1", "-D%d" % seconds, base + "/10k"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=seconds + 60,
    )
    m = re.search(
        r"requests: .*?(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout",
        done.stdout,
    )
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", done.stdout)
    print("h2load --h1: %s; %s" % (m and m.group(0), codes and codes.group(0)), flush=True)
    if (
        not m
        or not codes
        or any(int(x) for x in m.groups()[2:])
        or any(int(x) for x in codes.groups()[1:])
        or int(m.group(2)) == 0
    ):
        fail("h2load:\n" + done.stdout)


def memory_stays(server, base, total, cpus):
    pids = [w["pid"] for w in server.workers()]

    def read():
        return [memory_kb(pid, "Private_Dirty") for pid in pids], [
            memory_kb(pid, "Rss") for pid in pids
        ]

    wrk(base + "/128", 3, 64, cpus)
    first = read()
    began = server.total("requests")
    mark = total // 10
    print("memory at the start: private %s kB, RSS %s kB" % first, flush=True)
    while True:
        wrk(base + "/128", 5, 64, cpus)
        count = server.total("requests") - began
        if count >= mark:
            print(
                "memory after %d requests: private %s kB, RSS %s kB" % ((count,) + read()),
                flush=True,
            )
            mark += total // 10
        if count >= total:
            break
    last = read()
    for before, after in list(zip(first[0], last[0])) + list(zip(first[1], last[1])):
        if after - before > GROWTH_KB:
            fail(
                "memory of a worker grew from %d to %d kB over %d requests" % (before, after, count)
            )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--requests", type=int, default=10000000)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--skip-browser", action="store_true")
    options = parser.parse_args()
    load_cpus = (
        split_cpus(options.workers)[1] if options.workers < len(os.sched_getaffinity(0)) else None
    )
    with skipping():
        for tool in ("wrk", "h2load", "curl"):
            need_tool(tool)
    with Server(workers=options.workers) as server:
        files = make_files(server)
        address = server.address()
        base = "http://127.0.0.1:%d" % address[1]
        with_curl(base, files)
        with_http_client(address, files)
        if not options.skip_browser:
            with_chromium(base, files)
        with_wrk(base, options.seconds, load_cpus)
        with_h2load(base, options.seconds)
        memory_stays(server, base, options.requests, load_cpus)
        server.wait_live(0)
        server.assert_no_worker_died()
        lost = sum(
            w["closed"]["io_error"] + w["closed"]["memory"] + w["closed"]["bad_request"]
            for w in server.workers()
        )
        if lost:
            fail("%d connections closed for want of memory, an error, or a bad request" % lost)
    print("soak: %d failures" % len(FAILURES))
    sys.exit(1 if FAILURES else 0)


if __name__ == "__main__":
    main()
