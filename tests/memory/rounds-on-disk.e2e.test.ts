/** Rounds of memory that might not fit beside the first one on tmpfs: they go to disk, and the copy gets all of it. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { giveSettings, takeSettings } from "../harness/agent-settings.ts";
import { HeldConnection } from "../harness/held-connection.ts";
import { importProver, PROVER_PORT } from "../harness/memory-prover.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "../e2e/stage.ts";

/** For one image of the memory below, with what is reckoned for the others, but not for two. */
const TMPFS_LIMIT_BYTES = 240 * 2 ** 20;
/** Ends when there are pages on disk, and prints where the first round's are. */
const UNTIL_ON_DISK = `
until ls /var/lib/drayage/images/*-pages/*-round-1/pages-*.img > /dev/null 2>&1; do sleep 0.01; done
readlink -f /run/drayage/images/*-round-0/pages-*.img | head -n 1
`;

const stage = new Stage("rounds-on-disk", []);

beforeAll(async () => {
  const { lab, source, destination } = stage;
  await importProver(lab, [source, destination]);
  await giveSettings(lab, [destination], { DRAYAGE_IMAGE_TMPFS_LIMIT_BYTES: TMPFS_LIMIT_BYTES });
});
afterAll(() => takeSettings(stage.lab, [stage.destination]));

test.each([
  ["pre-copy", 100, "CRIU reads it"],
  ["pre-copy", 150, "it is brought when the copy runs"],
  ["hybrid", 150, "what has come is taken from there"],
])("%s of %d MB, the first round on tmpfs, the others on disk: %s", async (mode, megabytes) => {
  const { lab, destination } = stage;
  const command = ["--mb", String(megabytes), "--threads", "4", "--seed", "23", "--dirty", "20000"];
  const { address, container, prover } = await stage.startProver("outgrown", ...command);
  const held = await HeldConnection.prover({ host: address, port: PROVER_PORT });
  const onDisk = lab.shell(destination, UNTIL_ON_DISK);
  await migrate(lab, container.name, destination, "--mode", mode);
  expect(await onDisk).toMatch(/^\/run\/drayage\/images\//);
  expect(await prover.check()).toBeGreaterThan(megabytes * 0.9 * 2 ** 20);
  await assertOneCopy(lab, container, destination);
  prover.close();
  await held.stop();
  await stage.nothingElseLeft();
});
