/** A failure of CRIU as the operator gets it: with the place of the whole log, which outlives the images. */
import { join } from "node:path";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { readCriuLog } from "../criu/criu-log.ts";
import { keepLog } from "../criu/kept-logs.ts";
import type { AgentHost } from "./agent-host.ts";

/** The error with a remedy that names the kept copy of the log at `logPath`; as it is if there is no log, or no room. */
export async function withKeptLog(
  { config, logger, node }: Pick<AgentHost, "config" | "logger" | "node">,
  error: DrayError,
  { logPath, name }: { readonly logPath: string; readonly name: string },
): Promise<DrayError> {
  try {
    const log = await readCriuLog(logPath);
    if (log === "") return error;
    const kept = await keepLog(join(config.stateDirectory, "criu-logs"), name, log);
    const remedy = `${error.remedy} CRIU's whole log: ${kept} on ${node}.`;
    return new DrayError(error.reason, error.message, { remedy, node: error.node || node, cause: error });
  } catch (thrown) {
    logger.warn({ err: toDrayError(thrown) }, "CRIU's log could not be kept");
    return error;
  }
}
