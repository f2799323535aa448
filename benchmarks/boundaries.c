/* Preloaded into a process: it dies at one of its changes to files, by SIGKILL, perhaps in the middle of a write.

   `kill_at(n)` counts from 0 again; -1 is never. Every call below is a boundary; a write that is one gets half done. */

#define _GNU_SOURCE
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long passed;
static atomic_long dies_at = -1;

void kill_at(long number) { passed = 0; dies_at = number; }
long boundaries(void) { return passed; }

static int is_last(void) { return atomic_fetch_add(&passed, 1) == dies_at; }
static void die(void) { kill(getpid(), SIGKILL); for (;;) pause(); }

#define CALL(name, number, parameters, ...) \
    int name parameters { if (is_last()) die(); return syscall(number, __VA_ARGS__); }

ssize_t write(int file, const void *bytes, size_t count)
{
    if (file > 2 && is_last()) { syscall(SYS_write, file, bytes, count / 2); die(); }
    return syscall(SYS_write, file, bytes, count);
}

ssize_t writev(int file, const struct iovec *parts, int count)
{
    if (file > 2 && is_last()) { syscall(SYS_writev, file, parts, count / 2); die(); }
    return syscall(SYS_writev, file, parts, count);
}

CALL(fsync, SYS_fsync, (int file), file)
CALL(fdatasync, SYS_fdatasync, (int file), file)
CALL(ftruncate, SYS_ftruncate, (int file, off_t size), file, size)
CALL(ftruncate64, SYS_ftruncate, (int file, off64_t size), file, size)
CALL(rename, SYS_rename, (const char *from, const char *to), from, to)
CALL(unlink, SYS_unlink, (const char *path), path)
CALL(unlinkat, SYS_unlinkat, (int folder, const char *path, int flags), folder, path, flags)
CALL(rmdir, SYS_rmdir, (const char *path), path)
CALL(mkdir, SYS_mkdir, (const char *path, mode_t mode), path, mode)
CALL(fchmod, SYS_fchmod, (int file, mode_t mode), file, mode)
CALL(chmod, SYS_chmod, (const char *path, mode_t mode), path, mode)
