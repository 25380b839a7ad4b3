/**
 * The states of a restore session: a closed union, durable in the record, and
 * the only ways from one to the next. Pure.
 */

/** What `create` had asked for and was answered. */
export interface Released {
  /** Bundle that `create` named. */
  readonly bundle: string;
  /** runc's state directory, from --root. */
  readonly runcRoot: string;
  readonly imageDirectory: string;
  readonly workDirectory: string;
  /** Absolute directory of the cgroup that the bundle asks for: known before runc has written any state. */
  readonly cgroup: string;
  /** Identifies the one drayage-runc process that may restore. */
  readonly claim: string;
  /** The command that it was told to become. */
  readonly argv: readonly string[];
}

export interface Copy {
  /** Pid of the container's init on the host. */
  readonly initPid: number;
  /** Absolute directory of the container's cgroup. */
  readonly cgroup: string;
  /** Number of processes in it. */
  readonly tasks: number;
  /** Boot-time clock, milliseconds. */
  readonly preparedAtMs: number;
  /** Identifies the drayage-runc process of `start`. */
  readonly startClaim: string;
}

export type SessionState =
  /** `create` may come, and waits. */
  | { readonly name: "armed" }
  /** One drayage-runc has been told to restore. */
  | { readonly name: "released"; readonly restore: Released }
  /** A verified frozen copy waits for the verdict. */
  | { readonly name: "prepared"; readonly restore: Released; readonly copy: Copy }
  /** The verdict is yes; unlock and thaw are under way. */
  | { readonly name: "committing"; readonly restore: Released; readonly copy: Copy }
  /** The copy runs. */
  | { readonly name: "committed"; readonly restore: Released; readonly copy: Copy; readonly thawedAtMs: number }
  /** The verdict is no; whatever was restored is killed. */
  | { readonly name: "failed"; readonly reason: string; readonly restore: Released | null; readonly copy: Copy | null };

export type SessionStateName = SessionState["name"];

export type SessionEvent =
  | { readonly type: "release"; readonly restore: Released }
  | { readonly type: "verified"; readonly copy: Copy }
  | { readonly type: "commit" }
  | { readonly type: "thawed"; readonly atMs: number }
  | { readonly type: "abort"; readonly reason: string };

/**
 * The state after an event; the same object if the event has had its effect
 * already; null if it is not allowed.
 */
export function advance(state: SessionState, event: SessionEvent): SessionState | null {
  switch (event.type) {
    case "release":
      if (state.name === "armed") return { name: "released", restore: event.restore };
      return state.name === "failed" ? null : state;
    case "verified":
      if (state.name === "released") return { name: "prepared", restore: state.restore, copy: event.copy };
      return hasVerdict(state) || state.name === "armed" ? null : state;
    case "commit":
      if (state.name === "prepared") return { ...state, name: "committing" };
      return state.name === "committing" || state.name === "committed" ? state : null;
    case "thawed":
      if (state.name === "committing") return { ...state, name: "committed", thawedAtMs: event.atMs };
      return state.name === "committed" ? state : null;
    case "abort":
      return abort(state, event.reason);
  }
}

function abort(state: SessionState, reason: string): SessionState | null {
  switch (state.name) {
    case "failed":
      return state;
    case "armed":
      return { name: "failed", reason, restore: null, copy: null };
    case "released":
      return { name: "failed", reason, restore: state.restore, copy: null };
    case "prepared":
      return { name: "failed", reason, restore: state.restore, copy: state.copy };
    case "committing":
    case "committed":
      return null;
  }
}

/** True once it is decided whether the copy may run. */
export function hasVerdict(state: SessionState): boolean {
  return state.name === "committing" || state.name === "committed" || state.name === "failed";
}
