/* Shifts the time of day of the program that this library is preloaded into by the seconds that stand in the file that
   CLOCK_SHIFT names, as they are at that moment. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long shift(void) {
    char text[32] = {0};
    int file = open(getenv("CLOCK_SHIFT"), O_RDONLY);
    if (file < 0 || read(file, text, sizeof text - 1) < 0) abort();
    close(file);
    return atol(text);
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec real;
    (void)zone;
    if (syscall(SYS_clock_gettime, CLOCK_REALTIME, &real) != 0) return -1;
    now->tv_sec = real.tv_sec + shift();
    now->tv_usec = real.tv_nsec / 1000;
    return 0;
}
