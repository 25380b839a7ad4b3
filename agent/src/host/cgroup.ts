/** Container cgroups: freeze, verify, thaw, kill. cgroup v2; v1 for the freezer only. */

export interface CgroupWait {
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** Absolute directory of the cgroup in which a process is. Throws NOT_FOUND if it is gone. */
export declare function cgroupOfPid(pid: number): Promise<string>;

/** Freezes and returns when the kernel says frozen. Throws FREEZE_FAILED. */
export declare function freezeCgroup(directory: string, wait: CgroupWait): Promise<void>;

/** Thaws and returns when the kernel says so. Throws FREEZE_FAILED. */
export declare function thawCgroup(directory: string, wait: CgroupWait): Promise<void>;

/** What the kernel says now. */
export declare function isFrozen(directory: string): Promise<boolean>;

/** Pids of the processes in it and below. */
export declare function cgroupPids(directory: string): Promise<number[]>;

/** Kills everything in it, frozen or not, and returns when none is left. */
export declare function killCgroup(directory: string, wait: CgroupWait): Promise<void>;
