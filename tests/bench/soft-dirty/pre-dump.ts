/** How long a container stands still for a round of CRIU's own, `runc checkpoint --pre-dump`. */
import { numberOf, readFields } from "../../../agent/src/criu/protobuf-fields.ts";
import { DOCKER_RUNC_ROOT } from "../../../agent/src/host/runc-state.ts";
import type { TestLab } from "../../harness/test-lab.ts";

const DIRECTORY = "/var/tmp/bench-pre-dump";
const CONFIG = `${DIRECTORY}/criu.conf`;
const DEADLINE_MS = 600_000;
/** Of stats-dump: two magics and a size, before a stats_entry. */
const HEAD_BYTES = 12;
/** Fields of stats_entry and of dump_stats_entry, images/stats.proto of CRIU. */
const DUMP = 1;
const FREEZING_US = 1;
const FROZEN_US = 2;

/** Of the second one, which reads what was written to since the first. Leaves nothing behind but the kernel's marks. */
export async function preDumpStillMs(lab: TestLab, node: string, dockerId: string): Promise<number> {
  try {
    await preDump(lab, node, dockerId, { number: 1 });
    await preDump(lab, node, dockerId, { number: 2, parent: 1 });
    const stats = await lab.exec(node, ["base64", "--wrap=0", `${DIRECTORY}/work-2/stats-dump`]);
    const entry = readFields(Buffer.from(stats, "base64").subarray(HEAD_BYTES)).get(DUMP)?.[0];
    if (!(entry instanceof Uint8Array)) throw new Error("CRIU's statistics are not of a dump");
    const fields = readFields(entry);
    return (numberOf(fields, FREEZING_US) + numberOf(fields, FROZEN_US)) / 1000;
  } finally {
    await lab.exec(node, ["rm", "--recursive", "--force", DIRECTORY]);
  }
}

interface PreDump {
  readonly number: number;
  readonly parent?: number;
}

async function preDump(lab: TestLab, node: string, dockerId: string, { number, parent }: PreDump): Promise<void> {
  const [images, work] = [`${DIRECTORY}/${number}`, `${DIRECTORY}/work-${number}`];
  await lab.exec(node, ["mkdir", "--parents", images, work]);
  await lab.writeFile(node, CONFIG, "network-lock skip\nmanage-cgroups=ignore\n");
  const chain = parent === undefined ? [] : ["--parent-path", `../${parent}`];
  const runc = [
    "runc",
    "--root",
    DOCKER_RUNC_ROOT,
    "checkpoint",
    "--pre-dump",
    "--image-path",
    images,
    "--work-path",
    work,
  ];
  const argv = ["env", `CRIU_CONFIG_FILE=${CONFIG}`, ...runc, ...chain, dockerId];
  await lab.exec(node, argv, { deadlineMs: DEADLINE_MS });
}
