# SPDX-License-Identifier: MIT
"""Every row of the steering's figures in one run (make bench-steer, root).

    make bench-steer                            all rows
    make bench-steer ROWS=1,2,9 QUICK=1         some of them, smaller and with fewer repetitions
    make bench-steer WRITE=docs/benchmarks.md   and into the document, rows measured now in place of older ones

Each line: number, what, target, median, spread (min-max), n, and whether the target was met.  Lines below it without a
number are what others, or other settings, did in the same run in alternating turns, and the p of a two-sided
Mann-Whitney U test between them and the line above.  Exit status 1 where a row could not be measured at all for an
error; a target that was missed is a result, not an error.
"""
import argparse
import os
import sys
import time
import traceback

from common import machine, output_of, skipping  # also finds the harness

import steer_peers
from document import Document
from figures import Figure, print_figure, print_head
from harness import SLUICE, Skip, need_bpffs


class Options:
    def __init__(self, is_quick):
        self.is_quick = is_quick

    def pick(self, full, quick):
        return quick if self.is_quick else full

    repeat = pick


def all_rows():
    import steer_rows_cost
    import steer_rows_faults
    import steer_rows_spread

    rows = {}
    for part in (steer_rows_spread, steer_rows_faults, steer_rows_cost):
        rows.update(part.ROWS)
    return rows


def run_row(number, row, options):
    """(figures, False when something broke)"""
    figures = []
    try:
        for figure in row(options):
            print_figure(figure)
            figures.append(figure)
        return figures, True
    except Skip as why:
        note, is_fine = "skipped: %s" % why, True
    except Exception as e:
        traceback.print_exc(file=sys.stdout)
        note, is_fine = "ERROR: %s" % str(e).split("\n")[0][:200], False
    what = (row.__doc__ or "").split("\n")[0].rstrip(".")
    figures.append(Figure(number, what, None, [], note=note))
    print_figure(figures[-1])
    return figures, is_fine


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", default="")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--tools", default="build/release/tests/bench")
    parser.add_argument("--write", metavar="FILE")
    args = parser.parse_args()
    steer_peers.TOOLS = args.tools
    options = Options(args.quick)
    with skipping():
        need_bpffs()
    rows = all_rows()
    wanted = [int(n) for n in args.rows.replace(",", " ").split()] or sorted(rows)
    print("%s; %s; load average %s" % (machine(), ", ".join(steer_peers.versions()), os.getloadavg()))
    print_head()
    document = Document("bench-steer", args.tools)
    how = "make bench-steer%s" % (" QUICK=1" if args.quick else "")
    versions = [output_of(SLUICE, "version").split("\n")[0]] + steer_peers.versions()
    is_fine, began = True, time.monotonic()
    for number in wanted:
        figures, went_well = run_row(number, rows[number], options)
        document.add(number, figures, how, versions)
        is_fine = is_fine and went_well
    print("%d rows in %.0f s" % (len(wanted), time.monotonic() - began))
    document.save()
    if args.write:
        document.write(args.write)
    sys.exit(0 if is_fine else 1)


if __name__ == "__main__":
    main()
