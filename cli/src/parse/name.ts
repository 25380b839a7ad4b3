/** Names of containers and nodes, as they are given: an unset variable of a script is none. */
import { usageError } from "./usage-error.ts";

export function parseName(text: string): string {
  if (text.trim() === "") throw usageError("the name is empty", "Name a container or a node; is a variable unset?");
  return text;
}
