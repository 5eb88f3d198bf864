# SPDX-License-Identifier: MIT
"""The file system of a guest: an initramfs with busybox, Python and what is tested, and the modules of one kernel.

The programs are this machine's own, with the shared libraries that ldd names; only the kernel is another.  The archive
is not compressed: software emulation would take longer to unpack it than the host takes to read it.
"""
import glob
import lzma
import os
import re
import shutil
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = ("bpftool", "ip", "tc", "ss", "unshare")
MODULES = ("veth", "sch_netem")
SKIPPED_PYTHON = (
    "__pycache__ test idlelib lib2to3 ensurepip distutils pydoc_data tkinter turtledemo dist-packages "
    "site-packages sqlite3 xmlrpc wsgiref unittest asyncio"
).split()
PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
GROUP = "root:x:0:\nnogroup:x:65534:\n"


class Missing(Exception):
    """Something that a guest is made of is not on this machine."""


def find_program(name):
    path = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not path:
        raise Missing("the program %s is missing; run: sudo scripts/bootstrap vm" % name)
    return path


class Tree:
    """A folder that becomes the guest's root; paths below it keep the names they have on the host."""

    def __init__(self, path):
        self.path = path
        shutil.rmtree(path, ignore_errors=True)
        for name in "usr/bin usr/sbin usr/lib usr/lib64 usr/local/bin etc root proc sys dev tmp run var modules".split():
            os.makedirs(os.path.join(path, name))
        for name in ("bin", "sbin", "lib", "lib64"):
            os.symlink("usr/" + name, os.path.join(path, name))

    def at(self, path):
        full = os.path.join(self.path, path.lstrip("/"))
        os.makedirs(os.path.dirname(full), exist_ok=True)
        return full

    def write(self, path, text, mode=0o644):
        with open(self.at(path), "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.at(path), mode)

    def copy(self, source, path=None):
        shutil.copy2(os.path.realpath(source), self.at(path or source))

    def copy_program(self, source, path=None):
        """A program or a shared object, and what the dynamic linker loads for it."""
        self.copy(source, path)
        done = subprocess.run(["ldd", source], capture_output=True, text=True, check=False)
        for library in re.findall(r"(/\S+) \(0x", done.stdout):
            if not os.path.exists(self.at(library)):
                self.copy(library)

    def copy_python(self):
        interpreter = os.path.realpath("/usr/bin/python3")
        library = "/usr/lib/" + os.path.basename(interpreter)
        if not os.path.isdir(library):
            raise Missing("Debian's own python3 is missing; run: sudo scripts/bootstrap vm")
        self.copy_program(interpreter)
        os.symlink(os.path.basename(interpreter), self.at("/usr/bin/python3"))
        shutil.copytree(library, self.at(library), symlinks=False, ignore_dangling_symlinks=True,
                        ignore=shutil.ignore_patterns(*SKIPPED_PYTHON, "config-*"))
        for module in glob.glob(library + "/lib-dynload/*.so"):
            self.copy_program(module)

    def pack(self, archive):
        """Writes the tree as a cpio archive that belongs to root, whoever runs this."""
        names = subprocess.run(["find", ".", "-mindepth", "1", "-print0"], cwd=self.path, capture_output=True, check=True)
        with open(archive, "wb") as out:
            subprocess.run([find_program("cpio"), "--quiet", "-0", "-o", "-H", "newc", "-R", "0:0"], cwd=self.path,
                           input=names.stdout, stdout=out, check=True)


def make_base(path, build, suites, environment):
    """The part that is the same for all kernels.  `suites` are lines for scripts/run-tests: a suite, names of programs."""
    tree = Tree(path)
    tree.copy(find_program("busybox"), "/bin/busybox")
    os.symlink("busybox", tree.at("/bin/sh"))
    for program in PROGRAMS:
        tree.copy_program(find_program(program), "/usr/sbin/" + program)
    tree.copy_python()
    if not os.path.exists(build + "/sluice"):
        raise Missing("%s/sluice is not built; run: make" % os.path.relpath(build, TOP))
    tree.copy_program(os.path.join(build, "sluice"), "/sluice/build/guest/sluice")
    # Of the unit tests the one whose outcome is the kernel's business.
    for source in glob.glob(os.path.join(TOP, "tests/kernel/test_*.c")) + [os.path.join(TOP, "tests/unit/test_sandbox.c")]:
        name = os.path.relpath(source, TOP)[:-2]
        program = os.path.join(build, name)
        if not os.path.exists(program):
            raise Missing("%s is not built; run: make tests" % os.path.relpath(program, TOP))
        tree.copy_program(program, "/sluice/build/guest/" + name)
    for pattern in ("tests/unit/test_sandbox.c", "tests/kernel/*.c", "tests/e2e/*.py", "tests/vm/*.py", "tests/bench/*.py", "scripts/run-tests"):
        for source in glob.glob(os.path.join(TOP, pattern)):
            tree.copy(source, "/sluice/" + os.path.relpath(source, TOP))
    tree.copy(os.path.join(TOP, "tests/vm/init"), "/init")
    tree.write("/etc/passwd", PASSWD)
    tree.write("/etc/group", GROUP)
    tree.write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
    tree.write("/etc/mime.types", "text/html html\ntext/plain txt\n")
    tree.write("/suites", "".join(line + "\n" for line in suites))
    tree.write("/environment", "".join("export %s=%s\n" % item for item in environment.items()))
    return tree


def module_files(modules_dir, names):
    """The files of the named modules, each after those it depends on; what the kernel does not have is left out."""
    by_name = {re.sub(r"\.ko.*", "", f).replace("-", "_"): os.path.join(folder, f)
               for folder, _, files in os.walk(modules_dir) for f in files if ".ko" in f}
    found = []

    def add(name):
        path = by_name.get(name)
        if not path or path in found:
            return
        needs = subprocess.run([find_program("modinfo"), "-F", "depends", path], capture_output=True, text=True, check=True)
        for other in filter(None, needs.stdout.strip().split(",")):
            add(other.replace("-", "_"))
        found.append(path)

    for name in names:
        add(name)
    return found


def add_modules(tree, modules_dir):
    """Replaces the modules in the tree by those of one kernel, uncompressed: busybox loads no others."""
    shutil.rmtree(tree.at("/modules"), ignore_errors=True)
    loads = []
    for path in module_files(modules_dir, MODULES):
        name = re.sub(r"\.ko.*", ".ko", os.path.basename(path))
        opener = lzma.open if path.endswith(".xz") else open
        with opener(path, "rb") as source, open(tree.at("/modules/" + name), "wb") as out:
            shutil.copyfileobj(source, out)
        loads.append(name)
    tree.write("/modules.load", "".join(name + "\n" for name in loads))
