/** The states of a restore session: a closed union, durable in the record. */

export interface Released {
  /** Bundle that `create` named. */
  readonly bundle: string;
  /** File into which runc writes the pid of the container's init. */
  readonly pidFile: string;
  readonly imageDirectory: string;
  readonly workDirectory: string;
  /** Identifies the one drayage-runc process that may restore. */
  readonly claim: string;
  /** The command that it was told to run. */
  readonly argv: readonly string[];
}

export interface Prepared extends Released {
  readonly initPid: number;
  readonly cgroup: string;
  readonly tasks: number;
  readonly preparedAtMs: number;
}

export type SessionState =
  /** `create` may come, and waits. */
  | { readonly name: "armed" }
  /** One drayage-runc has been told to restore. */
  | ({ readonly name: "released" } & Released)
  /** A verified frozen copy waits for the verdict. */
  | ({ readonly name: "prepared" } & Prepared)
  /** The verdict is yes; unlock and thaw are under way. */
  | ({ readonly name: "committing" } & Prepared)
  /** The copy runs. */
  | ({ readonly name: "committed"; readonly thawedAtMs: number } & Prepared)
  /** The verdict is no; whatever was restored is killed. */
  | { readonly name: "failed"; readonly reason: string; readonly pidFile: string; readonly cgroup: string };

export type SessionStateName = SessionState["name"];
