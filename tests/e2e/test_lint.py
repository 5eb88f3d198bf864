# SPDX-License-Identifier: MIT
"""scripts/check-tiers: a small tree that keeps the rules passes; each single violation is found, at its line."""
import os
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SPDX = "/* SPDX-License-Identifier: MIT */\n"
BPF_SPDX = "/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */\n"

GOOD = {
    "user/main.c": SPDX + '#include "proc/run.h"\n',
    "user/base/err.h": SPDX + "#ifndef ERR_H\n#define ERR_H\n#endif\n",
    "user/base/compat.h": SPDX + "#ifndef COMPAT_H\n#define COMPAT_H\n#ifdef __clang__\n#endif\n#endif\n",
    "user/net/steer.c": SPDX + '#include "base/err.h"\n#include "steer_shared.h"\n#include "steer.skel.h"\n',
    "user/app/mime.h": SPDX,
    "user/app/upstream.h": SPDX,
    "user/app/static.h": SPDX,
    "user/app/static_send.c": SPDX + '#include "app/static.h"\n#include "app/mime.h"\n',
    "user/app/proxy.c": SPDX + '#include "app/upstream.h"\n#include "http/body.h"\n',
    "user/http/body.h": SPDX,
    "user/proc/run.h": SPDX + '#include "app/static.h"\n',
    "include/steer_shared.h": SPDX,
    "bpf/steer.bpf.c": BPF_SPDX + '#include "vmlinux.h"\n#include "steer_shared.h"\n',
    "scripts/tool": "#!/bin/sh\n# SPDX-License-Identifier: MIT\n",
}

# (what is wrong, file, its contents, what the report must start with: file, line and rule)
VIOLATIONS = [
    ("a tier to the right", "user/net/bad.c", SPDX + '#include "http/body.h"\n', "user/net/bad.c:2: tier:"),
    ("the top from the bottom", "user/base/bad.h", SPDX + "\n#include \"proc/run.h\"\n", "user/base/bad.h:3: tier:"),
    ("a header without its folder", "user/http/bad.c", SPDX + '#include "body.h"\n', "user/http/bad.c:2: tier:"),
    ("a folder that is no tier", "user/util/bad.c", SPDX + '#include "base/err.h"\n', "user/util/bad.c:2: tier:"),
    ("one handler in another", "user/app/proxy_bad.c", SPDX + '#include "app/static.h"\n',
     "user/app/proxy_bad.c:2: tier:"),
    ("a part of another handler", "user/app/respond.c", SPDX + '#include "app/file_cache.h"\n',
     "user/app/respond.c:2: tier:"),
    ("a handler in a shared file", "user/app/mime.c", SPDX + '#include "app/static.h"\n',
     "user/app/mime.c:2: tier:"),
    ("the skeleton outside of net", "user/proc/bad.c", SPDX + '#include "steer.skel.h"\n', "user/proc/bad.c:2: tier:"),
    ("user in a contract", "include/stats_shm.h", SPDX + '#include "base/err.h"\n', "include/stats_shm.h:2: tier:"),
    ("user in the kernel", "bpf/bad.bpf.c", BPF_SPDX + '#include "base/err.h"\n', "bpf/bad.bpf.c:2: tier:"),
    ("no contract in include/", "include/helpers.h", SPDX, "include/helpers.h:1: tier:"),
    ("strcpy", "user/base/bad.c", SPDX + "void f(char *a) { strcpy(a, a); }\n", "user/base/bad.c:2: word:"),
    ("sprintf with a space", "tests/unit/test_bad.c", SPDX + "\n\tsprintf (a, b);\n",
     "tests/unit/test_bad.c:3: word:"),
    ("a blank at the end", "user/base/bad.c", SPDX + "int a; \n", "user/base/bad.c:2: space:"),
    ("a tab at the end, in a script", "scripts/bad", "#!/bin/sh\n# SPDX-License-Identifier: MIT\n:\t\n",
     "scripts/bad:3: space:"),
    ("no newline at the end", "user/base/bad.c", SPDX + "int a;", "user/base/bad.c:2: space:"),
    ("#if in a source", "user/base/bad.c", SPDX + "#if 1\n#endif\n", "user/base/bad.c:2: if:"),
    ("#ifdef in a header", "user/base/bad.h", SPDX + "#ifndef A\n#define A\n#ifdef B\n#endif\n#endif\n",
     "user/base/bad.h:4: if:"),
    ("#ifndef of something else", "user/base/bad.c", SPDX + "#ifndef A\n#define AB 1\n#endif\n",
     "user/base/bad.c:2: if:"),
    ("no SPDX in C", "user/base/bad.c", "int a;\n", "user/base/bad.c:1: spdx:"),
    ("no SPDX in a script", "scripts/bad", "#!/bin/sh\n", "scripts/bad:1: spdx:"),
    ("MIT only in the kernel", "bpf/bad.bpf.c", SPDX, "bpf/bad.bpf.c:1: spdx:"),
    ("a long steering program", "bpf/steer.bpf.c", BPF_SPDX + "int a;\n" * 150, "bpf/steer.bpf.c:151: size:"),
]

# Looks like a violation and is none.
HARMLESS = {
    "user/base/a.c": SPDX + '/* strcpy(a, b) and #include "proc/run.h" */\nconst char *s = "strcat(";\n',
    "user/base/b.c": SPDX + "int n = snprintf(a, 1, b);\n",
    "user/base/c.c": SPDX + "/* lint: the library asks for it */\n#ifdef X\n#endif\n",
    "user/base/d.c": SPDX + "#ifndef SO_OLD\n#define SO_OLD 68\n#endif\n",
    "include/steer_policy.h": SPDX + "#ifndef P_H\n#define P_H\n#ifndef A\n#define B 1\n#define A 2\n#endif\n#endif\n",
    "tests/fuzz/seeds/1": "no newline \r\n, white space ",
    "user/net/e.c": SPDX + "#include <net/if.h>\n",
}


def write_tree(top, files):
    for path, text in files.items():
        os.makedirs(os.path.join(top, os.path.dirname(path)), exist_ok=True)
        with open(os.path.join(top, path), "w", encoding="utf-8") as file:
            file.write(text)


def run_lint(files):
    with tempfile.TemporaryDirectory(prefix="sluice-lint-") as top:
        write_tree(top, {**GOOD, **files})
        run = subprocess.run([sys.executable, os.path.join(TOP, "scripts/check-tiers"), top],
                             capture_output=True, text=True, check=False)
    return run.returncode, run.stdout + run.stderr


def check(name, files, expected_errors):
    """None, or why the report is not exactly the expected one."""
    status, output = run_lint(files)
    errors = [line for line in output.splitlines() if ": " in line]
    wanted = 1 if expected_errors else 0
    if status != wanted or len(errors) != len(expected_errors):
        return f"{name}: status {status}, not {wanted}\n{output}"
    if any(not line.startswith(start) for line, start in zip(errors, expected_errors)):
        return f"{name}: expected {expected_errors}\n{output}"
    return None


def main():
    results = [check("the good tree", {}, []), check("harmless look-alikes", HARMLESS, [])]
    results += [check(name, {path: text}, [start]) for name, path, text, start in VIOLATIONS]
    faults = [fault for fault in results if fault]
    print("\n".join(faults))
    print(f"{len(results) - len(faults)} passed, {len(faults)} failed, 0 skipped")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
