/** Where a lab keeps what. */
import { join, resolve } from "node:path";
import { LabError } from "../errors.ts";

export const DEFAULT_NAME = "lab";
/** The root of the repository that this program belongs to. */
export const REPOSITORY = resolve(import.meta.dirname, "../../../..");

export interface LabLayout {
  readonly name: string;
  /** `.lab/<name>` of the repository. */
  readonly directory: string;
  readonly stateFile: string;
  readonly nodesDirectory: string;
  /** Keys with which commands get into virtual machines. */
  readonly keysDirectory: string;
  /** Programs for the host, such as `dray`. */
  readonly binDirectory: string;
  /** The operator's certificates and client configuration. */
  readonly clientDirectory: string;
}

export function labsDirectory(): string {
  return join(REPOSITORY, ".lab");
}

export function labLayout(name: string): LabLayout {
  if (!/^[a-z0-9][a-z0-9-]{0,30}$/.test(name)) {
    throw new LabError("usage", `not a name for a lab: ${name}`, {
      remedy: "use lower-case letters, digits and hyphens, at most 31",
    });
  }
  const directory = join(labsDirectory(), name);
  return {
    name,
    directory,
    stateFile: join(directory, "lab.json"),
    nodesDirectory: join(directory, "nodes"),
    keysDirectory: join(directory, "keys"),
    binDirectory: join(directory, "bin"),
    clientDirectory: join(directory, "client"),
  };
}
