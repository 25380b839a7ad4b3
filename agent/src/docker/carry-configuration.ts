import type { Finding } from "@drayage/shared/gen/drayage/common/v1/finding.ts";
import type { ContainerInspect, CreateRequest, RestartPolicy } from "./types.ts";

export interface CarriedConfiguration {
  /** Creates the copy: runtime `drayage`, restart policy `no`. */
  readonly request: CreateRequest;
  /** The policy the copy gets when the migration is finished. */
  readonly restartPolicy: RestartPolicy;
  /** What cannot be carried, or is not known to be carried. */
  readonly findings: readonly Finding[];
}

export declare function carryConfiguration(
  inspect: ContainerInspect,
  options: { readonly image: string; readonly runtime?: string; readonly name?: string },
): CarriedConfiguration;
