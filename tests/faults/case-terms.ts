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
export type CaseMode = "stop-copy" | "pre-copy" | "post-copy" | "hybrid";

export interface FaultOf {
  readonly role: Role;
  readonly fault: Fault;
}
