/* Freezing a container's cgroup, of version 2 or 1, from a program that must not fail at it. */
#ifndef FREEZE_CGROUP_H
#define FREEZE_CGROUP_H

/*
 * Gives the order and waits, two seconds at most, until the kernel says frozen.
 * With the order given nobody returns to user mode any more; the wait is for
 * those on a processor at this moment. Tasks held by ptrace count as frozen,
 * and stay so when they are let go. `cgroup` is the absolute directory.
 */
void freeze_cgroup(const char *cgroup);

#endif
