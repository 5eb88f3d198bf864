# SPDX-License-Identifier: MIT
"""Every violation that differential.py knows, once, at sluice, nginx and HAProxy: sluice takes nothing that both refuse,
reads nothing otherwise than who accepts it, and is stricter only where the list says so.

    test_differential.py            `make fuzz-diff COUNT=10000` for pairs of violations
"""
import sys

from differential import ACCEPTS, EXPLAINED, MUTATIONS, REFUSES, run, show, unexplained
from harness import main, need_tool

SEED = 1


def test_verdicts_are_those_of_others_or_explained():
    need_tool("nginx")
    need_tool("haproxy")
    found, odd = run(SEED, len(MUTATIONS))
    new = unexplained(found)
    show(new)
    print("  seed %d, %d streams: %s" % (SEED, len(MUTATIONS), {kind: len(labels) for kind, labels in found.items()}))
    assert not odd, odd[0]
    assert not any(new.values()), {kind: list(labels) for kind, labels in new.items()}
    # Some are sure to differ, or nothing was compared.
    assert len(found[REFUSES]) > len(EXPLAINED[REFUSES]) // 2 and found[ACCEPTS]


if __name__ == "__main__":
    main(sys.modules[__name__])
