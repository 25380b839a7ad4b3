/** What is sent while the container runs: its image, if the destination lacks it, its writable layer, and memory in rounds. */
import { Readable } from "node:stream";
import type { SyncRequest, SyncResult } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { TransferConnection } from "@drayage/shared/page-stream/transfer-types.ts";
import { DESCRIPTORS_IMAGE } from "../criu/image-names.ts";
import { exportImage } from "../image/image-transfer.ts";
import { mountsOf } from "../host/mountinfo.ts";
import { layerDirectory, SentTree, writtenPaths } from "../layer/layer.ts";
import { carriedTmpfs } from "../tmpfs/carried-tmpfs.ts";
import { SentTmpfs } from "../tmpfs/sent-tmpfs.ts";
import type { Report } from "./joinable-run.ts";
import { runPhase } from "./run-phase.ts";
import { preCopy } from "./source-pre-copy.ts";
import type { SourceContext } from "./source-context.ts";
import { TRANSFER_KINDS } from "./transfer-kinds.ts";

interface Sent {
  /** Of content. */
  readonly bytes: number;
  /** Compressed, as it went over the wire. */
  readonly wireBytes: number;
}

/** Postconditions: all has been delivered, the connection stays open for the switch, state `synced`. */
export async function syncSource(
  context: SourceContext,
  request: SyncRequest,
  report: Report,
  signal: AbortSignal,
): Promise<SyncResult> {
  const { phases, transfer, record } = context;
  const connection = await transfer.connect(request, signal);
  let image: Sent = { bytes: 0, wireBytes: 0 };
  if (request.sendImage)
    image = await runPhase(phases, "send-image", () => sendImage(context, connection, report, signal));
  const layer = await runPhase(phases, "send-layer", () => sendLayer(context, connection, report, signal));
  const tmpfs = await runPhase(phases, "send-tmpfs", () => sendTmpfs(context, connection, report, signal));
  await sendDescriptors(context, connection, signal);
  const memory =
    request.preCopy === undefined ? undefined : await preCopy(context, connection, request.preCopy, report, signal);
  if (memory !== undefined) context.host.metrics.preCopyRounds.observe(memory.rounds.length);
  const { transferBytesTotal, transferWireBytesTotal } = context.host.metrics;
  transferBytesTotal.inc({ direction: "sent", kind: "image" }, image.bytes);
  transferBytesTotal.inc({ direction: "sent", kind: "layer" }, layer.bytes);
  transferBytesTotal.inc({ direction: "sent", kind: "tmpfs" }, tmpfs.bytes);
  transferWireBytesTotal.inc({ direction: "sent" }, connection.wireBytes);
  await record.transition("synced");
  return {
    imageBytes: image.wireBytes,
    layerBytes: layer.wireBytes + tmpfs.wireBytes,
    rounds: memory?.rounds ?? [],
    decisions: memory?.decisions ?? [],
    postCopy: memory?.postCopy ?? false,
  };
}

async function sendImage(
  { host, record }: SourceContext,
  connection: TransferConnection,
  report: Report,
  signal: AbortSignal,
): Promise<Sent> {
  const inspect = await host.docker.inspectContainer(record.entry.dockerId, { signal });
  const stream = await exportImage(host.docker, inspect.Image, signal);
  const wireBytesBefore = connection.wireBytes;
  const { bytes } = await connection.send({ kind: TRANSFER_KINDS.image, name: "image" }, stream, {
    signal,
    striped: true,
    onProgress: (doneBytes) => report({ step: "send-image", doneBytes, totalBytes: 0, message: "" }),
  });
  return { bytes, wireBytes: connection.wireBytes - wireBytesBefore };
}

async function sendLayer(
  { host, record, transfer }: SourceContext,
  connection: TransferConnection,
  report: Report,
  signal: AbortSignal,
): Promise<Sent> {
  const { dockerId } = record.entry;
  const tree = new SentTree(await layerDirectory(host.docker, dockerId, signal));
  const { State } = await host.docker.inspectContainer(dockerId, { signal });
  const { content, sizeBytes } = await tree.first(() => writtenPaths(State.Pid, signal), signal);
  const wireBytesBefore = connection.wireBytes;
  const { bytes } = await connection.send({ kind: TRANSFER_KINDS.layer, name: "layer" }, content, {
    signal,
    striped: true,
    onProgress: (doneBytes) => report({ step: "send-layer", doneBytes, totalBytes: sizeBytes, message: "" }),
  });
  transfer.layer = tree;
  return { bytes, wireBytes: connection.wireBytes - wireBytesBefore };
}

/** One after the other: each is read by a tar of its own. */
async function sendTmpfs(
  { host, record, transfer }: SourceContext,
  connection: TransferConnection,
  report: Report,
  signal: AbortSignal,
): Promise<Sent> {
  const { State } = await host.docker.inspectContainer(record.entry.dockerId, { signal });
  const initPid = State.Pid;
  const mounts = transfer.tmpfsMounts();
  const wireBytesBefore = connection.wireBytes;
  let bytes = 0;
  for (const [number, mount] of carriedTmpfs(await mountsOf(initPid), await mountsOf("self")).entries()) {
    const tmpfs = await SentTmpfs.attach(mounts, { initPid, number, mount }, signal);
    transfer.tmpfs.push(tmpfs);
    const { content, sizeBytes } = await tmpfs.first(signal);
    const file = {
      kind: TRANSFER_KINDS.tmpfs,
      name: mount.mountPoint,
      metadata: { number, source: mount.source, options: mount.options },
    };
    const sent = await connection.send(file, content, {
      signal,
      striped: true,
      onProgress: (doneBytes) =>
        report({ step: "send-tmpfs", doneBytes, totalBytes: sizeBytes, message: mount.mountPoint }),
    });
    bytes += sent.bytes;
  }
  return { bytes, wireBytes: connection.wireBytes - wireBytesBefore };
}

/** They stay as they are while the process lives, and the destination's runc asks for them before anything else. */
async function sendDescriptors(
  { container, transfer }: SourceContext,
  connection: TransferConnection,
  signal: AbortSignal,
): Promise<void> {
  const descriptors = await container.descriptors();
  const content = Readable.from([Buffer.from(descriptors)], { objectMode: false });
  await connection.send({ kind: TRANSFER_KINDS.criuImage, name: DESCRIPTORS_IMAGE }, content, { signal });
  transfer.descriptors = descriptors;
}
