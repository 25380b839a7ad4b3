/* Freezing a container's cgroup, of version 2 or 1, from a program that must not fail at it. */
#ifndef FREEZE_CGROUP_H
#define FREEZE_CGROUP_H

#include <stdbool.h>

/*
 * Gives the order and waits, two seconds at most, until the kernel says frozen.
 * With the order given nobody returns to user mode any more; the wait is for
 * those on a processor at this moment. Tasks held by ptrace count as frozen,
 * and stay so when they are let go. `cgroup` is the absolute directory.
 */
void freeze_cgroup(const char *cgroup);

/* True if all of it stands still, by a freezer of version 2. */
bool is_frozen_v2(const char *cgroup);

/* Waits as freeze_cgroup does, without the order. Version 2. */
void await_frozen_v2(const char *cgroup);

#endif
