import { DrayError } from "./dray-error.ts";

/** That there is none of this name or id, and where those that exist are listed. */
export function notFound(kind: "node" | "container" | "migration", text: string): DrayError {
  return new DrayError("NOT_FOUND", `no ${kind} ${JSON.stringify(text)}`, {
    remedy: `List what there is with \`dray ${kind} ls\`.`,
  });
}
