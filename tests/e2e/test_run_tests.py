# SPDX-License-Identifier: MIT
"""scripts/run-tests: what counts as passed, failed and skipped, told by programs that only pretend to be tests."""
import os
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PASS = "echo '[  PASSED  ] 3 test(s).'\n"

# (what the program does, its suite, its text, the sum expected, what the report must contain)
PROGRAMS = [
    ("passes", "unit", PASS, "3 passed, 0 failed, 0 skipped", "3 passed"),
    ("sums its groups", "unit", PASS + PASS, "6 passed, 0 failed, 0 skipped", "6 passed"),
    ("fails", "unit", PASS + "echo '[  FAILED  ] tests: 2 test(s), listed below:'; exit 2",
     "3 passed, 2 failed, 0 skipped", "| [  PASSED  ] 3"),
    ("fails and hides it", "unit", "echo '[  FAILED  ] tests: 1 test(s), listed below:'",
     "0 passed, 1 failed, 0 skipped", "exit status 0"),
    ("passes, then exits badly", "unit", PASS + "exit 1", "3 passed, 1 failed, 0 skipped", "exit status 1"),
    ("crashes", "unit", PASS + "kill -SEGV $$", "3 passed, 1 failed, 0 skipped", "SIGSEGV"),
    ("runs no test", "unit", "exit 0", "0 passed, 1 failed, 0 skipped", "ran no test"),
    ("is skipped", "kernel", "echo 'this kernel has no BPF'; exit 77", "0 passed, 0 failed, 1 skipped",
     "this kernel has no BPF"),
    ("hangs", "unit", "exec sleep 600", "0 passed, 1 failed, 0 skipped", "not finished"),
    ("leaves a process behind", "unit", PASS + "sleep 600 >/dev/null 2>&1 &", "3 passed, 1 failed, 0 skipped",
     "left processes behind"),
    ("is asked for", "unit", PASS, "3 passed, 0 failed, 0 skipped", "3 passed", "x"),
    ("is left out", "unit", PASS, "0 passed, 0 failed, 0 skipped", "no test program matches", "-test_x"),
    ("is missing", "unit", None, "0 passed, 1 failed, 0 skipped", "No such file"),
    ("is a script", "e2e", "print('4 passed, 0 failed, 1 skipped')", "4 passed, 0 failed, 1 skipped", "4 passed"),
    ("is a script that fails", "e2e", "print('4 passed, 1 failed, 0 skipped'); exit(1)",
     "4 passed, 1 failed, 0 skipped", "1 FAILED"),
    ("is a script that raises", "e2e", "raise OSError('no port')", "0 passed, 1 failed, 0 skipped", "no port"),
    ("is a script that knows the server", "e2e",
     "import os; print('%d passed, 0 failed, 0 skipped' % os.environ['SLUICE'].endswith('/build/x/sluice'))",
     "1 passed, 0 failed, 0 skipped", "1 passed"),
]


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o755)


def run_program(suite, text, names=(), limit_s=60):
    with tempfile.TemporaryDirectory(prefix="sluice-run-tests-") as top:
        os.mkdir(os.path.join(top, "scripts"))
        shutil.copy(os.path.join(TOP, "scripts/run-tests"), os.path.join(top, "scripts"))
        write(os.path.join(top, "tests", suite, "test_x.py" if suite == "e2e" else "test_x.c"), text or "")
        if text is not None and suite != "e2e":
            write(os.path.join(top, "build/x/tests", suite, "test_x"), "#!/bin/sh\n" + text)
        environment = {k: v for k, v in os.environ.items() if k != "V"}
        run = subprocess.run([sys.executable, "scripts/run-tests", suite, "build/x", *names], cwd=top, text=True, check=False,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**environment, "TEST_LIMIT_S": str(limit_s)})
    return run.returncode, run.stdout


def check(name, suite, text, sum_line, part, *names):
    status, output = run_program(suite, text, names, 1 if name == "hangs" else 60)
    is_good = ", 0 failed" in sum_line and not sum_line.startswith("0 passed, 0 failed, 0")
    if output.splitlines()[-1] != sum_line or part not in output or (status == 0) != is_good:
        return f"a program that {name}: expected '{sum_line}' and '{part}', got status {status}:\n{output}"
    return None


def main():
    faults = [fault for fault in (check(*program) for program in PROGRAMS) if fault]
    print("\n".join(faults))
    print(f"{len(PROGRAMS) - len(faults)} passed, {len(faults)} failed, 0 skipped")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
