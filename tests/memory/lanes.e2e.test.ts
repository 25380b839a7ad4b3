/** Memory over several connections, each with a thread of its own. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { giveSettings, takeSettings } from "../harness/agent-settings.ts";
import { HeldConnection } from "../harness/held-connection.ts";
import { importProver, PROVER_PORT } from "../harness/memory-prover.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "../e2e/stage.ts";

const MEGABYTES = 160;
const FIRST_PORT = 7421;
/** Ends when two lanes are in use, and prints how many connections each has. */
const UNTIL_IN_USE = `
count() { ss -Htn state established "( sport = :$1 )" | wc --lines; }
until test "$(count ${FIRST_PORT})" -gt 0 && test "$(count ${FIRST_PORT + 1})" -gt 0; do sleep 0.01; done
echo "$(count ${FIRST_PORT}) $(count ${FIRST_PORT + 1})"
`;
const stage = new Stage("lanes", []);

beforeAll(async () => {
  const { lab, source, destination } = stage;
  await importProver(lab, [source, destination]);
  await giveSettings(lab, [source, destination], { DRAYAGE_PAGE_CONNECTIONS: 2 });
});
afterAll(() => takeSettings(stage.lab, [stage.source, stage.destination]));

test.each(["stop-copy", "pre-copy", "hybrid"])("%s over two lanes: there and back, every byte right", async (mode) => {
  const { lab } = stage;
  const command = ["--mb", String(MEGABYTES), "--threads", "4", "--seed", "29", "--dirty", "500"];
  const { address, container, prover } = await stage.startProver(`lanes-${mode}`, ...command);
  const held = await HeldConnection.prover({ host: address, port: PROVER_PORT });
  for (const to of [stage.destination, stage.source]) {
    const inUse = lab.shell(to, UNTIL_IN_USE);
    const { wire_bytes: wireBytes } = await migrate(lab, container.name, to, "--mode", mode);
    expect(await inUse).toBe("1 1");
    // Half of it is noise: what the lanes have carried is counted.
    expect(wireBytes).toBeGreaterThan(MEGABYTES * 0.3 * 2 ** 20);
    expect(await prover.check()).toBeGreaterThan(MEGABYTES * 0.9 * 2 ** 20);
    await held.moreReplies(20);
    await assertOneCopy(lab, container, to);
  }
  prover.close();
  await held.stop();
  await stage.nothingElseLeft();
});
