# SPDX-License-Identifier: MIT
"""Is a history of concurrent requests to a store linearizable?

Each key is a register of its own, so the histories of keys are checked apart.  The check is that of Wing and Gong with the
pruning that unique values allow: the events of a key are walked in the order of time with the set of all states the key
could be in, each with the set of requests under way that would then have taken effect already.  When a request returns,
states in which it cannot have taken effect with that result fall away; none left is a violation.

Op(kind, key, value, expected, result, begin, end): kinds and what may come of them

    put      value                     "ok"
    create   value, If-None-Match: *   "ok", "no" (412: there is one)
    swap     value, If-Match: expected "ok", "no" (412: it is another one, or none)
    delete                             "ok", "no" (404)
    read                               a value, or None (404)

A result of UNKNOWN (the connection or the server went away) may have taken effect until `end`, or never.
"""
import collections

UNKNOWN = "unknown"

Op = collections.namedtuple("Op", "kind key value expected result begin end")


def step(op, state):
    """The states that `state` can become by this request with its result: none, one, or (unknown) the effect alone."""
    result = op.result
    if op.kind == "read":
        return [state] if result == UNKNOWN or result == state else []
    if op.kind == "put":
        return [op.value]
    if op.kind == "delete":
        if result == UNKNOWN:
            return [None]
        return [None] if (result == "ok") == (state is not None) else []
    holds = state is None if op.kind == "create" else state == op.expected and state is not None
    if result == UNKNOWN:
        return [op.value] if holds else []
    if result == "ok":
        return [op.value] if holds else []
    return [state] if not holds else []


def expand(configs, under_way):
    """All that can be reached by letting requests under way take effect, in any order."""
    seen, todo = set(configs), list(configs)
    while todo:
        state, done = todo.pop()
        for i, op in under_way.items():
            if i in done:
                continue
            for after in step(op, state):
                config = (after, done | {i})
                if config not in seen:
                    seen.add(config)
                    todo.append(config)
    return seen


def check_key(ops, initial=None):
    """None, or the request at whose return no explanation was left."""
    events = []
    for i, op in enumerate(ops):
        # Of one moment the beginnings first: then they overlap, which forgives more and accuses nobody wrongly.
        events.append((op.begin, 0, i))
        events.append((op.end, 1, i))
    events.sort()
    configs, under_way = {(initial, frozenset())}, {}
    for _, is_end, i in events:
        if not is_end:
            under_way[i] = ops[i]
            continue
        reached = expand(configs, under_way)
        del under_way[i]
        if ops[i].result == UNKNOWN:
            configs = {(state, done - {i}) for state, done in reached}
        else:
            configs = {(state, done - {i}) for state, done in reached if i in done}
        if not configs:
            return ops[i]
    return None


def check(ops):
    """Violations: (key, the request) of each key that has one."""
    keys = collections.defaultdict(list)
    for op in ops:
        keys[op.key].append(op)
    found = []
    for key, history in keys.items():
        op = check_key(history)
        if op:
            found.append((key, op))
    return found
