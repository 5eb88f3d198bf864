# SPDX-License-Identifier: MIT
"""A sluice with upstreams, as the tests of the proxy start it, and the answers and log lines they read."""
import json
import os

from harness import Client, Server, get, section, value, wait_for


def upstream(name, servers, check=None, **keys):
    """The text of a section.  servers: addresses, or (address, {key: value}) pairs."""
    out = ["upstream %s {\n" % value(name)]
    out += ["\t%s = %s\n" % (k, value(v)) for k, v in keys.items()]
    for entry in servers:
        address, more = (entry, {}) if isinstance(entry, str) else entry
        out += ["\t" + line + "\n" for line in section("server", more, address).splitlines()]
    if check is not None:
        out += ["\t" + line + "\n" for line in section("check", check).splitlines()]
    return "".join(out) + "}\n"


def proxy(backends, route=None, routes=None, upstream_keys=None, check=None, top="", **more):
    """A server whose "/" goes to the upstream "b" of these back ends (or addresses); further routes beside it.

    top     keys in front of every section: trusted_proxies, resolvers
    """
    servers = [b if isinstance(b, (str, tuple)) else b.server for b in backends]
    table = {"/": dict({"proxy": "b"}, **(route or {}))}
    for prefix, keys in (routes or {}).items():
        table[prefix] = keys if set(keys) & {"files", "respond", "redirect"} else dict({"proxy": "b"}, **keys)
    more.setdefault("log", {"access": "@DIR@/access.log", "format": "json", "flush": "5ms"})
    extra = more.pop("extra", "")
    return Server(
        routes=table, extra=top + upstream("b", servers, check, **(upstream_keys or {})) + extra, **more
    )


def log(server):
    """The lines of the access log so far, parsed."""
    try:
        with open(os.path.join(server.dir, "access.log"), "rb") as f:
            return [json.loads(line) for line in f.read().split(b"\n")[:-1]]
    except FileNotFoundError:
        return []


def logged(server, target):
    """The only line about a target; waits for it."""
    wait_for(lambda: [e for e in log(server) if e["target"] == target], "a log line of %s" % target)
    lines = [e for e in log(server) if e["target"] == target]
    assert len(lines) == 1, lines
    return lines[0]


def assert_reason(server, target, reason, status=None):
    line = logged(server, target)
    wanted = reason if isinstance(reason, tuple) else (reason,)
    assert line["reason"] in wanted, "reason %r instead of %s: %s" % (line["reason"], wanted, line)
    assert status is None or line["status"] == status, line
    return line


def described(response):
    """What the back end says it got (backend.py, script_describe)."""
    assert response is not None, "no answer"
    assert response.status == 200, "%r %r" % (response, response.body[:200])
    d = json.loads(response.body)
    d["all"] = lambda name: [v for n, v in d["fields"] if n.lower() == name.lower()]
    return d


def ask(address, target="/", method="GET", fields=(), body=b"", host="test"):
    """One request on a connection of its own; what the back end got."""
    with Client(address) as c:
        return described(c.request(target, method, fields, body, host))


def upstreams(server):
    """`sluice upstream --json`, {name: upstream}; the servers below "servers" by their text."""
    run = server.cli("upstream", "show", "--json")
    assert run.returncode == 0, run.stdout + run.stderr
    answer = json.loads(run.stdout)
    entries = answer["upstreams"] if isinstance(answer, dict) else answer
    for u in entries:
        u["by_name"] = {}
        for s in u["servers"]:
            u["by_name"].setdefault(s["server"], []).append(s)
    return {u["name"]: u for u in entries}


def states(server, name="b"):
    """{server: state}, of names with several addresses a list."""
    found = {k: [s["state"] for s in v] for k, v in upstreams(server)[name]["by_name"].items()}
    return {k: v[0] if len(v) == 1 else v for k, v in found.items()}


def wait_state(server, backend, state, name="b", timeout=None):
    text = backend if isinstance(backend, str) else backend.server
    seen = {}

    def is_reached():
        seen.update(states(server, name))
        return seen.get(text) == state

    wait_for(is_reached, lambda: "%s is %s: %s" % (text, state, seen), timeout)


def status_of(address, target="/", **more):
    r = get(address, target, **more)
    return r.status if r is not None else None
