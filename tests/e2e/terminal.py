# SPDX-License-Identifier: MIT
"""A program on a terminal that a test looks at: a pty, and a screen that obeys what ncurses sends.

Screen    what stands where, for the sequences of xterm and vt100 that ncurses uses; others raise ValueError, so that
          no test passes because something was overlooked.
Terminal  a process on a pty of some size and kind; keys go in, Screen shows what comes out.
"""
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios

from harness import wait_for

SEQUENCE = re.compile(
    "\x1b\\[([?>]?)([0-9;]*)([@A-Za-z`])"  # CSI
    "|\x1b([()])(.)"  # character set
    "|\x1b([78=>HMDE])"
)
DEC_GRAPHICS = dict(zip("lqkxmjtuvwn", "┌─┐│└┘├┤┴┬┼"))


class Screen:
    def __init__(self, columns, lines):
        self.columns, self.lines = columns, lines
        self.cells = [[" "] * columns for _ in range(lines)]
        self.x = self.y = 0
        self.region = (0, lines - 1)
        self.sets, self.shifted = {"(": "B", ")": "B"}, False
        self.last = " "
        self.colours = set()  # numbers of colours ever asked for
        self.is_cursor_visible = True
        self.is_alternate = False
        self.rest = ""

    def text(self):
        return "\n".join("".join(line).rstrip() for line in self.cells)

    def line(self, start):
        """The line that begins with these words."""
        for line in self.text().split("\n"):
            if line.split()[: len(start.split())] == start.split():
                return line
        return None

    def resize(self, columns, lines):
        self.cells = [(line + [" "] * columns)[:columns] for line in self.cells]
        self.cells = (self.cells + [[" "] * columns for _ in range(lines)])[:lines]
        self.columns, self.lines, self.region = columns, lines, (0, lines - 1)
        self.x, self.y = min(self.x, columns - 1), min(self.y, lines - 1)

    def feed(self, text):
        text, self.rest = self.rest + text, ""
        at = 0
        while at < len(text):
            if text[at] != "\x1b":
                self.character(text[at])
                at += 1
                continue
            found = SEQUENCE.match(text, at)
            if found:
                self.sequence(found)
                at = found.end()
            elif len(text) - at < 20:  # the rest of it is still to come
                self.rest = text[at:]
                return
            else:
                raise ValueError("unknown sequence %r" % text[at : at + 20])

    def character(self, c):
        if c == "\n":
            self.down()
        elif c == "\r":
            self.x = 0
        elif c == "\b":
            self.x = max(min(self.x, self.columns - 1) - 1, 0)
        elif c == "\t":
            self.x = min((self.x // 8 + 1) * 8, self.columns - 1)
        elif c in "\x0e\x0f":
            self.shifted = c == "\x0e"
        elif c >= " ":
            self.put(DEC_GRAPHICS.get(c, c) if self.sets[")" if self.shifted else "("] == "0" else c)
        elif c not in "\0\a":
            raise ValueError("control character %r" % c)

    def put(self, c):
        if self.x >= self.columns:  # the cursor waits behind the last column
            self.x = 0
            self.down()
        self.cells[self.y][self.x] = self.last = c
        self.x += 1

    def down(self):
        if self.y == self.region[1]:
            self.scroll(1)
        else:
            self.y = min(self.y + 1, self.lines - 1)

    def scroll(self, count, top=None):
        top, bottom = self.region[0] if top is None else top, self.region[1]
        for _ in range(abs(count)):
            self.cells.pop(top if count > 0 else bottom)
            self.cells.insert(bottom if count > 0 else top, [" "] * self.columns)

    def sequence(self, found):
        private, numbers, final, charset, name, simple = found.groups()
        if charset:
            self.sets[charset] = name
        elif simple:
            if simple == "M":
                if self.y == self.region[0]:
                    self.scroll(-1)
                else:
                    self.y -= 1
            elif simple not in "=>78":
                raise ValueError("ESC %s" % simple)
        else:
            self.control(private, [int(n) if n else 0 for n in numbers.split(";")], final)

    def control(self, private, numbers, final):
        first = numbers[0]
        count = max(first, 1)
        self.x = min(self.x, self.columns - 1) if final != "m" else self.x
        row = self.cells[self.y]
        if private or final in "hlt":
            self.mode(private, numbers, final)
        elif final in "Hf":
            self.y = min(count, self.lines) - 1
            self.x = min(max(numbers[1] if len(numbers) > 1 else 1, 1), self.columns) - 1
        elif final in "ABCD":
            dx, dy = {"A": (0, -1), "B": (0, 1), "C": (1, 0), "D": (-1, 0)}[final]
            self.x = min(max(self.x + dx * count, 0), self.columns - 1)
            self.y = min(max(self.y + dy * count, 0), self.lines - 1)
        elif final in "G`":
            self.x = min(count, self.columns) - 1
        elif final == "d":
            self.y = min(count, self.lines) - 1
        elif final == "K":
            start, end = [(self.x, self.columns), (0, self.x + 1), (0, self.columns)][first]
            row[start:end] = [" "] * (end - start)
        elif final == "J":
            self.erase(first)
        elif final == "X":
            end = min(self.x + count, self.columns)
            row[self.x : end] = [" "] * (end - self.x)
        elif final == "P":
            self.cells[self.y] = (row[: self.x] + row[self.x + count :] + [" "] * count)[: self.columns]
        elif final == "@":
            self.cells[self.y] = (row[: self.x] + [" "] * count + row[self.x :])[: self.columns]
        elif final == "b":
            for _ in range(count):
                self.put(self.last)
        elif final == "r":
            self.region = (count - 1, (numbers[1] if len(numbers) > 1 else self.lines) - 1)
            self.x = self.y = 0
        elif final in "LM":
            self.scroll(count if final == "M" else -count, self.y)
        elif final in "ST":
            self.scroll(count if final == "S" else -count)
        elif final == "m":
            self.colours.update(n for n in numbers if 30 <= n <= 47 and n != 39)
        else:
            raise ValueError("CSI %s%s%s" % (private, numbers, final))

    def erase(self, what):
        first = 0 if what else self.y + 1
        last = self.y if what == 1 else self.lines
        if what != 2:
            start, end = (self.x, self.columns) if what == 0 else (0, self.x + 1)
            self.cells[self.y][start:end] = [" "] * (end - start)
        for y in range(first, last):
            self.cells[y] = [" "] * self.columns

    def mode(self, private, numbers, final):
        if private == "?" and 25 in numbers:
            self.is_cursor_visible = final == "h"
        if private == "?" and 1049 in numbers:
            self.is_alternate = final == "h"


def take_terminal():
    """In the child: the terminal is its own, and Ctrl-C works although the tests may run in the background."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """Use as a context manager: leaving it ends the process, by force where it must."""

    def __init__(self, command, columns=80, lines=24, kind="xterm-256color", locale="C.UTF-8", env=None):
        self.screen = Screen(columns, lines)
        self.raw = b""
        self.pty, self.tty = os.openpty()
        self.set_size(columns, lines)
        self.settings = termios.tcgetattr(self.tty)
        environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "LINES", "COLUMNS")}
        environment.update(TERM=kind, LC_ALL=locale, **(env or {}))
        self.proc = subprocess.Popen(
            command,
            stdin=self.tty,
            stdout=self.tty,
            stderr=self.tty,
            env=environment,
            start_new_session=True,
            preexec_fn=take_terminal,
        )

    def __enter__(self):
        return self

    def __exit__(self, *args):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        for fd in (self.pty, self.tty):
            if fd is not None:
                os.close(fd)

    def set_size(self, columns, lines):
        fcntl.ioctl(self.pty, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns, lines):
        self.read()
        self.screen.resize(columns, lines)
        self.set_size(columns, lines)

    def read(self):
        """Takes what has come, without waiting."""
        while select.select([self.pty], [], [], 0)[0]:
            data = os.read(self.pty, 65536)
            self.raw += data
            # A character may be cut in two: what is incomplete waits for its rest.
            self.pending = getattr(self, "pending", b"") + data
            text = self.pending.decode("utf-8", "ignore")
            cut = len(self.pending) - len(text.encode())
            self.pending = self.pending[-cut:] if cut else b""
            self.screen.feed(text)

    def wait(self, condition, what):
        def look():
            self.read()
            return condition(self.screen.text())

        return wait_for(look, lambda: "%s on this screen:\n%s" % (what, self.screen.text()))

    def wait_text(self, *texts):
        for text in texts:
            self.wait(lambda screen, text=text: text in screen, repr(text))

    def press(self, keys):
        os.write(self.pty, keys.encode())

    def wait_exit(self):
        """The exit status; everything that was still written has been read."""

        def is_over():
            self.read()
            return self.proc.poll() is not None

        wait_for(is_over, lambda: "the end of the process with this screen:\n" + self.screen.text())
        self.read()
        return self.proc.returncode

    def assert_restored(self):
        assert termios.tcgetattr(self.tty) == self.settings, "the terminal's settings were left changed"
        assert self.screen.is_cursor_visible, "the cursor was left hidden"
        assert not self.screen.is_alternate, "the alternate screen was left on"

    def hang_up(self):
        os.close(self.tty)
        os.close(self.pty)
        self.tty = self.pty = None

    def signal(self, number=signal.SIGTERM):
        self.proc.send_signal(number)
