/**
 * Named points at which tests let a program die, hang or fail.
 *
 * Compiled out unless the bundler defines __FAULTS__ as true; in runs from
 * source they are off unless globalThis.__FAULTS__ is set. The file of faults
 * has one `point action` a line; action is kill, hang or error. A fault fires
 * each time its point is passed for as long as the line is there.
 */
import { readFileSync } from "node:fs";
import { DrayError } from "../errors/dray-error.ts";

declare const __FAULTS__: boolean;

export const FAULTS_FILE = "/run/drayage/faults";

export type FaultAction = "kill" | "hang" | "error";

const isAction = (word: string): word is FaultAction => word === "kill" || word === "hang" || word === "error";

/** The action for a point, by the text of a file of faults. */
export function faultAt(point: string, text: string): FaultAction | null {
  for (const line of text.split("\n")) {
    const [name, action] = line.trim().split(/\s+/);
    if (name === point && action !== undefined && isAction(action)) return action;
  }
  return null;
}

/** Passes a named point. Does nothing in a build without faults. INTERNAL if the fault is "error". */
export async function faultPoint(point: string): Promise<void> {
  // typeof, since the name exists only where it was defined.
  if (typeof __FAULTS__ === "undefined" || !__FAULTS__) return;
  switch (faultAt(point, readFaults())) {
    case null:
      return;
    case "kill":
      process.kill(process.pid, "SIGKILL");
      return new Promise(() => undefined);
    case "hang":
      return new Promise(() => undefined);
    case "error":
      throw new DrayError("INTERNAL", `fault at ${point}`);
  }
}

function readFaults(): string {
  try {
    return readFileSync(process.env["DRAYAGE_FAULTS_FILE"] ?? FAULTS_FILE, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return "";
    throw error;
  }
}
