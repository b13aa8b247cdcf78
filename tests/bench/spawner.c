/* Starts a program COUNT times, one after another, and prints the median and quickest time in microseconds. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int ascending(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    int times = atoi(arguments[1]);
    double *taken = malloc(times * sizeof *taken);
    char *program[] = {arguments[2], NULL}, *nothing[] = {NULL};
    for (int i = 0; i < times; i++) {
        double started = microseconds();
        pid_t child = vfork();
        if (child == 0) {
            execve(program[0], program, nothing);
            _exit(127);
        }
        int status;
        waitpid(child, &status, 0);
        if (status != 0) {
            fprintf(stderr, "%s: status %d\n", program[0], status);
            return 1;
        }
        taken[i] = microseconds() - started;
    }
    qsort(taken, times, sizeof *taken, ascending);
    printf("%.2f %.2f\n", taken[times / 2], taken[0]);
    return 0;
}
