/**
 * Named points at which tests let a program die, hang or fail.
 *
 * Compiled out unless the bundler defines __FAULTS__ as true; in runs from
 * source they are off unless globalThis.__FAULTS__ is set. The file of faults
 * has one `point action` a line; action is kill, hang or error. A fault fires
 * each time its point is passed for as long as the line is there; what hangs
 * goes on when the line is gone. Each firing is told on stderr.
 */
import { readFileSync, writeSync } from "node:fs";
import { DrayError } from "../errors/dray-error.ts";

declare const __FAULTS__: boolean;

/** Readable by every user: the coordinator has one of its own. */
export const FAULTS_FILE = "/run/drayage-faults";
/** How soon what hangs sees that its line is gone. */
const RECHECK_MS = 10;

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
  const action = faultAt(point, readFaults());
  if (action === null) return;
  // Not by the logger: the process may not live long enough to flush it. On a line of its own, also where the logger has
  // got rid of only a part of its last one.
  writeSync(2, `\nfault ${action} at ${point}\n`);
  switch (action) {
    case "kill":
      process.kill(process.pid, "SIGKILL");
      return new Promise(() => undefined);
    case "hang":
      while (faultAt(point, readFaults()) === "hang") await new Promise((resolve) => setTimeout(resolve, RECHECK_MS));
      return;
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
