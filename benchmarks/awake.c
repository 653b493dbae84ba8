/* epoll_wait that polls instead of sleeping, to preload into a load generator. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/epoll.h>
#include <time.h>

typedef int (*Wait)(int, struct epoll_event *, int, int);

static long milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000L + now.tv_nsec / 1000000L;
}

int epoll_wait(int fd, struct epoll_event *events, int most, int timeout) {
    static Wait real;
    if (real == NULL) {
        real = (Wait)dlsym(RTLD_NEXT, "epoll_wait");
    }
    long begin = milliseconds();
    int found;
    do {
        found = real(fd, events, most, 0);
    } while (found == 0 && (timeout < 0 || milliseconds() - begin < timeout));
    return found;
}
