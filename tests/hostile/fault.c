/* Preloaded into a program: makes its n-th call of one kind on files whose path holds a text fail, or kills it there.
 * FAULT_FN=write|fsync|rename|open  FAULT_PATH=TEXT  FAULT_N=n (from 1)  FAULT_ERRNO=number (EIO)  FAULT_KILL=1
 * FAULT_COUNT=FILE gets how many such calls there were, when the program ends. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_int calls;

static int hit(const char* function, const char* path) {
  const char *wanted = getenv("FAULT_FN"), *text = getenv("FAULT_PATH"), *number = getenv("FAULT_N");
  if (!wanted || strcmp(wanted, function) || (text && !strstr(path, text))) return 0;
  const int call = atomic_fetch_add(&calls, 1) + 1;
  const char* count = getenv("FAULT_COUNT");
  if (count) {
    static ssize_t (*real_write)(int, const void*, size_t);
    static int (*real_open)(const char*, int, ...);
    if (!real_write) real_write = dlsym(RTLD_NEXT, "write");
    if (!real_open) real_open = dlsym(RTLD_NEXT, "open");
    char line[32];
    const int length = snprintf(line, sizeof line, "%d\n", call);
    const int file = real_open(count, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file >= 0) {
      (void)!real_write(file, line, (size_t)length);
      close(file);
    }
  }
  if (!number || call != atoi(number)) return 0;
  if (getenv("FAULT_KILL")) kill(getpid(), SIGKILL);
  errno = getenv("FAULT_ERRNO") ? atoi(getenv("FAULT_ERRNO")) : EIO;
  return 1;
}

static const char* path_of(int file, char* buffer, size_t size) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t length = readlink(link, buffer, size - 1);
  buffer[length < 0 ? 0 : length] = 0;
  return buffer;
}

ssize_t write(int file, const void* data, size_t size) {
  static ssize_t (*real)(int, const void*, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "write");
  char path[4096];
  const int before = errno;
  if (file > 2 && hit("write", path_of(file, path, sizeof path))) return -1;
  errno = before;
  return real(file, data, size);
}
ssize_t writev(int file, const struct iovec* pieces, int count) {
  static ssize_t (*real)(int, const struct iovec*, int);
  if (!real) real = dlsym(RTLD_NEXT, "writev");
  char path[4096];
  const int before = errno;
  if (file > 2 && hit("write", path_of(file, path, sizeof path))) return -1;
  errno = before;
  return real(file, pieces, count);
}
int fsync(int file) {
  static int (*real)(int);
  if (!real) real = dlsym(RTLD_NEXT, "fsync");
  char path[4096];
  if (hit("fsync", path_of(file, path, sizeof path))) return -1;
  return real(file);
}
int rename(const char* from, const char* to) {
  static int (*real)(const char*, const char*);
  if (!real) real = dlsym(RTLD_NEXT, "rename");
  if (hit("rename", to)) return -1;
  return real(from, to);
}
#define OPEN(name)                                                               \
  int name(const char* path, int flags, ...) {                                   \
    static int (*real)(const char*, int, ...);                                   \
    if (!real) real = dlsym(RTLD_NEXT, #name);                                   \
    mode_t mode = 0;                                                             \
    if (flags & (O_CREAT | O_TMPFILE)) {                                         \
      va_list rest;                                                              \
      va_start(rest, flags);                                                     \
      mode = va_arg(rest, mode_t);                                               \
      va_end(rest);                                                              \
    }                                                                            \
    if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) && hit("open", path)) return -1; \
    return real(path, flags, mode);                                              \
  }
OPEN(open)
OPEN(open64)
