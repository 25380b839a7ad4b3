/** Settings of an agent for as long as a test needs them, by its environment. */
import type { TestLab } from "./test-lab.ts";

const DIRECTORY = "/run/systemd/system/drayage-agent.service.d";

/** Restarts the agents of these nodes with the settings; as `environmentName` names them. */
export async function giveSettings(
  lab: TestLab,
  nodes: readonly string[],
  settings: Readonly<Record<string, string | number>>,
): Promise<void> {
  const lines = Object.entries(settings).map(([name, value]) => `Environment=${name}=${value}`);
  for (const node of nodes) {
    await lab.exec(node, ["mkdir", "--parents", DIRECTORY]);
    await lab.writeFile(node, `${DIRECTORY}/test.conf`, `[Service]\n${lines.join("\n")}\n`);
    await lab.shell(node, "systemctl daemon-reload; systemctl restart drayage-agent");
  }
  await lab.ready();
}

/** Restarts them as they were before. */
export async function takeSettings(lab: TestLab, nodes: readonly string[]): Promise<void> {
  for (const node of nodes)
    await lab.shell(node, `rm -r ${DIRECTORY}; systemctl daemon-reload; systemctl restart drayage-agent`);
  await lab.ready();
}
