/** Both ends of `criu cpuinfo`, each in a directory that is gone afterwards. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import type { HostFacts } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { checkCpuinfo, type CpuVerdict, dumpCpuinfo } from "../criu/cpuinfo.ts";

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

/** Beside the images in transit: what a killed agent leaves there, the next one sweeps away. */
async function inWorkDirectory<T>(runDirectory: string, body: (directory: string) => Promise<T>): Promise<T> {
  const images = join(runDirectory, "images");
  await mkdir(images, { recursive: true, mode: 0o700 });
  const directory = await mkdtemp(join(images, "cpuinfo-"));
  try {
    return await body(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
