/* What CRIU changes in a task while it controls it, kept from before and given back after its violent end. */
#ifndef TASK_CONTROL_H
#define TASK_CONTROL_H

/*
 * Keeps what a control of the tasks would change: registers and signal mask of
 * each thread, and of each process the code in the place of which CRIU has its
 * own executed. `cgroup` is the absolute directory of a container that stands
 * still (cgroup version 2); on return no thread is traced, and the freezer has
 * settled. NULL if nothing could be kept: not frozen, version 1, a thread that
 * does not stop, out of memory.
 *
 * Threads that somebody else traces, and those that have ended, are left out.
 */
struct kept_tasks *keep_tasks(const char *cgroup);

/*
 * Gives it back to the threads that CRIU's death has left with something of
 * CRIU's, and to no other: a thread that has run since keeps what it has. They
 * must be frozen, and traced by nobody any more. Frees what was kept.
 */
void give_back_tasks(struct kept_tasks *kept);

#endif
