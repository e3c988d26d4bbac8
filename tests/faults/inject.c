/* Preloaded into a process, this library makes one call of the C library fail, or return less than was asked for.
   Only calls on paths below FAULT_ROOT, and on files opened there, are counted: arm(call, number, error, length). */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPEN, READ, SCAN, STAT, RENAME, FSYNC, LINK, WRITE, N_CALLS };
static int counts[N_CALLS], armed = -1, number, error_number, fired;
static long length; /* of a short read or write; 0: the call fails */
static char ours[65536];
static DIR *folders[64];

void arm(int call, int nth, int error, long bytes) {
    armed = call; number = nth; error_number = error; length = bytes; fired = 0;
    memset(counts, 0, sizeof counts);
}
int disarm(void) { armed = -1; return fired; }
int count(int call) { return counts[call]; }

static int strikes(int call) {
    int mine = counts[call]++;
    if (call != armed || (mine != number && number >= 0)) return 0; /* number -1: every call */
    fired++;
    if (!length) errno = error_number;
    return 1;
}
static int below(const char *path) {
    const char *root = getenv("FAULT_ROOT");
    return root && path && !strncmp(path, root, strlen(root));
}
static int is_ours(int fd) { return fd >= 0 && fd < (int)sizeof ours && ours[fd]; }
static int opened(int fd, const char *path) {
    if (fd >= 0 && fd < (int)sizeof ours) ours[fd] = below(path);
    return fd;
}
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define MODE(flags, mode) \
    int mode = 0; if (flags & (O_CREAT | 020000000)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, int); va_end(rest); }

int open(const char *path, int flags, ...) {
    MODE(flags, mode) if (below(path) && strikes(OPEN)) return -1;
    return opened(NEXT(open)(path, flags, mode), path);
}
int open64(const char *path, int flags, ...) {
    MODE(flags, mode) if (below(path) && strikes(OPEN)) return -1;
    return opened(NEXT(open64)(path, flags, mode), path);
}
int close(int fd) {
    if (fd >= 0 && fd < (int)sizeof ours) ours[fd] = 0;
    return NEXT(close)(fd);
}
ssize_t read(int fd, void *data, size_t size) {
    if (is_ours(fd) && strikes(READ)) { if (!length) return -1; if ((size_t)length < size) size = length; }
    return NEXT(read)(fd, data, size);
}
ssize_t write(int fd, const void *data, size_t size) {
    if (is_ours(fd) && strikes(WRITE)) { if (!length) return -1; if ((size_t)length < size) size = length; }
    return NEXT(write)(fd, data, size);
}
int fsync(int fd) { return is_ours(fd) && strikes(FSYNC) ? -1 : NEXT(fsync)(fd); }
int rename(const char *a, const char *b) { return below(b) && strikes(RENAME) ? -1 : NEXT(rename)(a, b); }
int renameat(int da, const char *a, int db, const char *b) {
    return below(b) && strikes(RENAME) ? -1 : NEXT(renameat)(da, a, db, b);
}
int link(const char *a, const char *b) { return below(b) && strikes(LINK) ? -1 : NEXT(link)(a, b); }
int linkat(int da, const char *a, int db, const char *b, int flags) {
    return below(b) && strikes(LINK) ? -1 : NEXT(linkat)(da, a, db, b, flags);
}
#define STAT_OF(name, type) \
    int name(const char *path, struct type *info) { return below(path) && strikes(STAT) ? -1 : NEXT(name)(path, info); }
STAT_OF(stat, stat) STAT_OF(lstat, stat) STAT_OF(stat64, stat64) STAT_OF(lstat64, stat64)
int fstat(int fd, struct stat *info) { return is_ours(fd) && strikes(STAT) ? -1 : NEXT(fstat)(fd, info); }
int fstat64(int fd, struct stat64 *info) { return is_ours(fd) && strikes(STAT) ? -1 : NEXT(fstat64)(fd, info); }
int fstatat(int at, const char *path, struct stat *info, int flags) {
    return below(path) && strikes(STAT) ? -1 : NEXT(fstatat)(at, path, info, flags);
}
int fstatat64(int at, const char *path, struct stat64 *info, int flags) {
    return below(path) && strikes(STAT) ? -1 : NEXT(fstatat64)(at, path, info, flags);
}
DIR *opendir(const char *path) {
    if (below(path) && strikes(SCAN)) return NULL;
    DIR *folder = NEXT(opendir)(path);
    for (int i = 0; folder && below(path) && i < 64; i++) if (!folders[i]) { folders[i] = folder; break; }
    return folder;
}
struct dirent64 *readdir64(DIR *folder) {
    for (int i = 0; i < 64; i++) if (folders[i] == folder && strikes(SCAN)) return NULL;
    return NEXT(readdir64)(folder);
}
int closedir(DIR *folder) {
    for (int i = 0; i < 64; i++) if (folders[i] == folder) folders[i] = NULL;
    return NEXT(closedir)(folder);
}
