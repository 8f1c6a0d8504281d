/* Another time of day for every program of a test run: Python, PostgreSQL, what they start.

   Preloaded (LD_PRELOAD). KEEPLINE_CLOCK_SHIFT_S seconds are added to the time of day; time flows,
   and what measures durations (the monotonic clock) is left alone. Whoever waits until a time of
   day means the shifted one, so that is taken off again.

   Debian's libfaketime 0.9.10 cannot do it: Python's sleep() fails with EINVAL under it, or hangs
   where a thread waits with a time-out, as it shifts deadlines of the monotonic clock too. */

#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <dlfcn.h>

static time_t shift;

__attribute__((constructor)) static void read_shift(void)
{
    const char *told = getenv("KEEPLINE_CLOCK_SHIFT_S");
    shift = told ? atoll(told) : 0;
}

static int is_time_of_day(clockid_t clock)
{
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
}

/* The next definition of a function: the C library's. */
#define PLAIN(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int clock_gettime(clockid_t clock, struct timespec *at)
{
    static __typeof__(&clock_gettime) plain;
    if (!plain)
        plain = PLAIN(clock_gettime);
    int failed = plain(clock, at);
    if (!failed && is_time_of_day(clock))
        at->tv_sec += shift;
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

static struct timespec unshifted(const struct timespec *until)
{
    struct timespec real = *until;
    real.tv_sec -= shift;
    return real;
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until)
{
    struct timespec real = unshifted(until);
    return PLAIN(sem_timedwait)(semaphore, &real);
}

int sem_clockwait(sem_t *restrict semaphore, clockid_t clock, const struct timespec *restrict until)
{
    struct timespec real = is_time_of_day(clock) ? unshifted(until) : *until;
    return PLAIN(sem_clockwait)(semaphore, clock, &real);
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *asked, struct timespec *left)
{
    int is_until = (flags & TIMER_ABSTIME) && is_time_of_day(clock);
    struct timespec real = is_until ? unshifted(asked) : *asked;
    return PLAIN(clock_nanosleep)(clock, flags, &real, left);
}

