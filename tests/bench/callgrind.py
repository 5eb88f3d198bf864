# SPDX-License-Identifier: MIT
"""Instructions of user space, counted by callgrind: the same on a busy machine as on a quiet one.

Profile       what one process executed, by module
difference()  what so many more requests cost: start-up, first requests and the end cancel out
settled()     the process sleeps: it has done all that there was to do
System calls count as the instructions that make them; what the kernel does is not in it.
"""
import collections
import os
import re

from common import harness, need_tool
from harness import Client, proc_stat, wait_for

OUT = "callgrind.out"
harness.PATIENCE = max(harness.PATIENCE, 60)  # all is 50 times slower


def under_callgrind(folder):
    """Words before a command line; each process leaves a file in the folder when it ends, whatever user it is by then."""
    os.chmod(folder, 0o777)
    return [
        need_tool("valgrind"),
        "-q",
        "--tool=callgrind",
        "--trace-children=yes",
        "--compress-strings=no",
        "--compress-pos=no",
        "--callgrind-out-file=%s/%s.%%p" % (folder, OUT),
    ]


def profile_of(folder, pid):
    with open(os.path.join(folder, "%s.%d" % (OUT, pid))) as f:
        return profile(f)


def profile(lines):
    """{(module, function): instructions} out of callgrind's format, each function without those that it calls."""
    counts = collections.Counter()
    thing = path = name = ""
    cost, is_call = 0, False
    for line in lines:
        if line[0].isdigit():
            if not is_call:  # else what the call took, which the callee has too
                cost += int(line.split()[1])
            is_call = False
        elif line.startswith("calls="):
            is_call = True
        elif line.startswith("ob="):
            thing = line[3:].rstrip()
        elif line.startswith("fl="):
            path = line[3:].rstrip()
        elif line.startswith(("fi=", "fe=")) and path.endswith(".h"):
            path = line[3:].rstrip()  # a function that begins with an inlined one
        elif line.startswith("fn="):
            name = line[3:].rstrip()
        elif line == "\n" and cost:  # end of a function
            counts[module_of(thing, path, name), name] += cost
            cost = 0
    return counts


def module_of(thing, path, name):
    """`http/parse` of our own, else the library.  Inlined functions belong to where they stand."""
    own = re.search(r"(?:^|/)user/(\w+/\w+|main)\.[ch]$", path)
    if own:
        return own.group(1)
    if name.startswith(("llhttp", "llparse")):  # linked in
        return "llhttp"
    return re.sub(r"[.-][\d.]*so[\d.]*$|-[\d.]+\.so$", "", os.path.basename(thing))


def difference(many, few, count):
    """For each of `count` more requests: {(module, function): instructions}"""
    return {key: (many[key] - few[key]) / count for key in set(many) | set(few) if many[key] != few[key]}


def total(each):
    return sum(each.values())


def by_module(each):
    """[(module, instructions, [(function, instructions)])], most first"""
    modules = collections.defaultdict(list)
    for (module, name), cost in each.items():
        modules[module].append((name.split("'")[0], cost))
    out = [(m, sum(c for _, c in names), sorted(names, key=lambda n: -n[1])) for m, names in modules.items()]
    return sorted(out, key=lambda entry: -entry[1])


def settled(pid):
    """Where the process would find the next request before it waits, the count would depend on who is faster."""
    wait_for(lambda: (proc_stat(pid) or "X")[0] in "SX", "process %d waits" % pid)


def ask(address, pid, data, count, status=200, batch=1):
    """`count` requests on one connection, in batches of `batch`, one after the other."""
    with Client(address) as c:
        for _ in range(count // batch):
            settled(pid)
            c.send(data * batch)
            for _ in range(batch):
                r = c.read_response()
                if r.status != status:
                    raise AssertionError("%r for %r" % (r, data[:60]))
        settled(pid)
