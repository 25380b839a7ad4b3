/** The words in which cases are told. */
import type { Fault } from "./fault-points.ts";

export type Role = "source" | "destination" | "leader";
export type Outcome = "completed" | "rolled_back" | "failed";

/** A named point in the program that plays this role. */
export interface Place {
  readonly role: Role;
  readonly point: string;
}

/** How the memory goes: everything before the copy runs, or what remains while it does. */
export const MODES = ["stop-copy", "pre-copy", "post-copy", "hybrid"] as const;
export type CaseMode = (typeof MODES)[number];
/** The modes in which memory is sent while the container runs. */
export const ROUNDS: readonly CaseMode[] = ["pre-copy", "hybrid"];
/** Those in which the copy runs before it has all of it: a fault server on its side, a source that serves. */
export const FETCHING: readonly CaseMode[] = ["post-copy", "hybrid"];

export interface FaultOf {
  readonly role: Role;
  readonly fault: Fault;
}
