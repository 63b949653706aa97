// Loaded before everything else, it makes one step fail by which the addon has an event loop watch its sockets: the one
// that FAILING_STEP names. It says so on stdout. Nothing else in the process is touched.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static int is_failing(const char *step) {
  const char *failing = getenv("FAILING_STEP");
  return failing != NULL && strcmp(failing, step) == 0;
}

static void tell(const char *step) { dprintf(STDOUT_FILENO, "\"%s has failed\"\n", step); }

static int is_addon(void *caller) {
  Dl_info found;
  return dladdr(caller, &found) != 0 && strstr(found.dli_fname, ".node") != NULL;
}

static int uv_failure() {
  tell(getenv("FAILING_STEP"));
  return -EINVAL;
}

static int napi_failure() {
  const int napi_generic_failure = 9;
  tell(getenv("FAILING_STEP"));
  return napi_generic_failure;
}

void *dlsym(void *handle, const char *name) {
  static void *(*real)(void *, const char *);
  // Its version depends on that of the C library and on the processor.
  const char *versions[] = {"GLIBC_2.34", "GLIBC_2.17", "GLIBC_2.2.5"};
  for (int index = 0; real == NULL && index < 3; index++) real = dlvsym(RTLD_NEXT, "dlsym", versions[index]);
  if (is_failing("dlsym") && strcmp(name, "uv_poll_init") == 0) {
    tell("dlsym");
    return NULL;
  }
  if (is_failing(name) && strncmp(name, "uv_", 3) == 0) return (void *)uv_failure;
  if (is_failing(name) && strncmp(name, "napi_", 5) == 0) return (void *)napi_failure;
  return real(handle, name);
}

int epoll_create1(int flags) {
  static int (*real)(int);
  static int count = 0;
  if (real == NULL) real = dlsym(RTLD_NEXT, "epoll_create1");
  // The first one is that of the addon's own thread.
  if (is_failing("epoll_create1") && is_addon(__builtin_return_address(0)) && count++ > 0) {
    tell("epoll_create1");
    errno = EMFILE;
    return -1;
  }
  return real(flags);
}

int epoll_ctl(int epoll, int operation, int descriptor, struct epoll_event *event) {
  static int (*real)(int, int, int, struct epoll_event *);
  if (real == NULL) real = dlsym(RTLD_NEXT, "epoll_ctl");
  // The addon's own thread always asks for more than that.
  const int is_ours = operation == EPOLL_CTL_ADD && event->events == EPOLLIN;
  if (is_failing("epoll_ctl") && is_ours && is_addon(__builtin_return_address(0))) {
    tell("epoll_ctl");
    errno = ENOSPC;
    return -1;
  }
  return real(epoll, operation, descriptor, event);
}
