/** Both ends of `criu cpuinfo`. */
import type { HostFacts } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { checkCpuinfo, type CpuVerdict, dumpCpuinfo } from "../criu/cpuinfo.ts";
import { inWorkDirectory } from "./work-directory.ts";

/** On the source: the image for the destination, empty where CRIU makes none. */
export async function cpuImage(runDirectory: string, host: HostFacts, signal?: AbortSignal): Promise<Buffer> {
  if (host.criuVersion === 0) return Buffer.alloc(0);
  return inWorkDirectory(runDirectory, (directory) => dumpCpuinfo(directory, signal));
}

/** On the destination: what CRIU has against the source's image. */
export async function cpuVerdict(
  runDirectory: string,
  host: HostFacts,
  image: Uint8Array,
  signal?: AbortSignal,
): Promise<CpuVerdict> {
  if (host.criuVersion === 0) return { compared: false, objection: "" };
  return inWorkDirectory(runDirectory, (directory) => checkCpuinfo(directory, image, signal));
}
