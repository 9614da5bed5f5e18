"""A library that lets calls on one folder fail, loaded before a program: real errors, no mocks.

The environment says which: `FAULT_FAMILY`, the folder `FAULT_ROOT`, how many calls of the family go
well first (`FAULT_AFTER`), and the `FAULT_ERRNO` that all later ones answer. `FAULT_MARK` names a
file that is made when the first one fails.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

FAMILIES = ("open", "write", "mkdir", "rename", "unlink", "link", "lock", "fsync")

FAULTS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>
/* Lets the n-th and every later call of one family on the cache's folder fail. */
static long seen;
static int fails(const char *family, const char *path) {
    const char *wanted = getenv("FAULT_FAMILY"), *root = getenv("FAULT_ROOT");
    if (!wanted || !root || strcmp(wanted, family) || !path || strncmp(path, root, strlen(root)))
        return 0;
    if (seen++ < atol(getenv("FAULT_AFTER"))) return 0;
    const char *mark = getenv("FAULT_MARK");
    if (mark) close(syscall(SYS_openat, AT_FDCWD, mark, O_CREAT | O_WRONLY, 0600));
    errno = atoi(getenv("FAULT_ERRNO"));
    return 1;
}
static const char *path_of(int fd, char *buffer) {
    char link[64] = "/proc/self/fd/", digits[16]; int n = 0, at = 14;
    do digits[n++] = '0' + fd % 10; while (fd /= 10);
    while (n) link[at++] = digits[--n];
    ssize_t size = readlink(link, buffer, 4095);
    buffer[size < 0 ? 0 : size] = 0;
    return buffer;
}
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define OPEN(name) int name(const char *path, int flags, ...) { \\
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \\
    return fails("open", path) ? -1 : REAL(name)(path, flags, mode); }
OPEN(open) OPEN(open64)
int mkdir(const char *path, mode_t mode) {
    return fails("mkdir", path) ? -1 : REAL(mkdir)(path, mode); }
int mkdirat(int at, const char *path, mode_t mode) {
    return fails("mkdir", path) ? -1 : REAL(mkdirat)(at, path, mode); }
int link(const char *a, const char *b) { return fails("link", b) ? -1 : REAL(link)(a, b); }
int symlink(const char *a, const char *b) { return fails("link", b) ? -1 : REAL(symlink)(a, b); }
int rename(const char *a, const char *b) { return fails("rename", a) ? -1 : REAL(rename)(a, b); }
int unlink(const char *path) { return fails("unlink", path) ? -1 : REAL(unlink)(path); }
#define ON_FILE(name, family, type, args, names) type name args { char buffer[4096]; \\
    return fails(family, path_of(fd, buffer)) ? -1 : REAL(name) names; }
ON_FILE(write, "write", ssize_t, (int fd, const void *data, size_t size), (fd, data, size))
ON_FILE(pwrite, "write", ssize_t, (int fd, const void *d, size_t n, off_t at), (fd, d, n, at))
ON_FILE(pwrite64, "write", ssize_t, (int fd, const void *d, size_t n, off64_t at), (fd, d, n, at))
ON_FILE(fsync, "fsync", int, (int fd), (fd))
ON_FILE(fdatasync, "fsync", int, (int fd), (fd))
ON_FILE(ftruncate, "write", int, (int fd, off_t size), (fd, size))
int flock(int fd, int how) { char b[4096];
    return fails("lock", path_of(fd, b)) ? -1 : REAL(flock)(fd, how); }
"""


def build(folder):
    """Return the library, built in a folder."""
    compiler = shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("the faults need gcc and Linux")
    (folder / "faults.c").write_text(FAULTS)
    library = folder / "faults.so"
    command = [compiler, "-shared", "-fPIC", "-w", "-o", library, folder / "faults.c", "-ldl"]
    subprocess.run(command, check=True)
    return library
