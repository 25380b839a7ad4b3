/**
 * Runs in a node: `docker exec` of one container after the other, in turns. Prints the milliseconds of each as JSON, by
 * container.
 *
 * usage: timer.ts RUNS CONTAINER…
 */
import { spawnSync } from "node:child_process";

const [runs = "", ...containers] = process.argv.slice(2);
const WARM_UP = 5;
const samples = new Map<string, number[]>(containers.map((name) => [name, []]));

for (let run = -WARM_UP; run < Number(runs); run++) {
  // Another one is first each time.
  const turn = Math.abs(run) % containers.length;
  for (const name of [...containers.slice(turn), ...containers.slice(0, turn)]) {
    const beganAt = performance.now();
    const { status, stderr } = spawnSync("docker", ["exec", name, "true"], { encoding: "utf8" });
    const durationMs = performance.now() - beganAt;
    if (status !== 0) throw new Error(`docker exec ${name} ended with ${status}: ${stderr}`);
    if (run >= 0) samples.get(name)?.push(durationMs);
  }
}
process.stdout.write(JSON.stringify(Object.fromEntries(samples)));
