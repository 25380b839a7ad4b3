/**
 * The demonstration: three hosts, a Redis with 200 MB, a client that counts on one TCP connection, a migration there and
 * one back. Ends with exit code 0 only if no reply was lost, repeated or out of order and the connection never broke.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { HeldConnection, type HeldVerdict } from "./held-client/held-connection.ts";
import { LineConnection } from "./held-client/line-connection.ts";
import { fillRedis, keyCount } from "./held-client/redis.ts";
import { type Lab, openLab } from "./lab/src/lab/lab.ts";
import { DEFAULT_NAME } from "./lab/src/lab/layout.ts";
import { run, runRaw } from "./lab/src/host/run.ts";

const CONTAINER = "demo-redis";
const REDIS_PORT = 6379;
const REPLIES_BEFORE = 300;
const LISTEN_DEADLINE_MS = 30_000;

interface Migration {
  readonly source: string;
  readonly destination: string;
  readonly outcome: string | null;
  readonly downtime_ms: number;
  readonly total_ms: number;
  readonly memory_bytes: number;
  readonly wire_bytes: number;
  readonly phases: readonly { readonly name: string; readonly node: string; readonly duration_ms: number }[];
  readonly error: { readonly reason: string; readonly message: string; readonly remedy: string } | null;
}

/** Something that the demonstration was to show is not so. */
class DemoFailure extends Error {}

const values = options(process.argv.slice(2));
const LAB = join(import.meta.dirname, "lab/lab");
const interruption = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => interruption.abort());

/** Ends with exit code 2 if they are none. */
function options(args: string[]): { readonly name: string; readonly megabytes: number } {
  try {
    const { values } = parseArgs({
      args,
      options: {
        name: { type: "string", default: DEFAULT_NAME },
        megabytes: { type: "string", default: "200" },
      },
    });
    const { name, megabytes } = values;
    if (!/^[1-9]\d{0,6}$/.test(megabytes)) throw new Error(`"${megabytes}" is not a number of megabytes`);
    return { name, megabytes: Number(megabytes) };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    process.stderr.write(`demo: ${message}\n  remedy: \`deploy/demo --help\` shows what is accepted.\n`);
    process.exit(2);
  }
}

async function demonstrate(): Promise<void> {
  const startedAt = performance.now();
  say("Bringing up three hosts with systemd, Docker and Drayage (slow the first time: it builds everything)");
  await labUp(values.name);
  const lab = await openLab(values.name);
  const [first, second] = lab.plan.nodes.map(({ name }) => name) as [string, string];
  const address = lab.plan.freeAddresses.first;
  await removeEarlier(lab);

  say(`Starting Redis on ${first} at ${address}, and filling it with ${values.megabytes} MB`);
  const run = ["docker", "run", "--detach", `--name=${CONTAINER}`, "--network=dray", `--ip=${address}`, "redis:latest"];
  await inNode(lab, first, run);
  const filler = await connected(address);
  await fillRedis(filler, values.megabytes);
  const keys = await keyCount(filler);
  filler.close();

  say("A client holds one TCP connection and counts on it: INCR, reply, INCR, reply …");
  const held = await HeldConnection.redis({ host: address, port: REDIS_PORT }, "demo");
  await held.moreReplies(REPLIES_BEFORE);
  const before = held.verdict();
  print(`  longest gap between two replies before any migration: ${ms(before.longestGap.durationMs)}`);

  for (const [source, destination] of [
    [first, second],
    [second, first],
  ] as const) {
    say(`dray migrate ${CONTAINER} --to ${destination}`);
    const migration = await migrate(lab, destination);
    await held.moreReplies(REPLIES_BEFORE);
    await runsOnlyOn(lab, destination);
    report(migration, source, held.verdict());
  }

  const { replies } = await held.stop();
  const checker = await connected(address);
  const keysAfter = await keyCount(checker);
  checker.close();
  // The counter itself is one key more.
  if (keysAfter !== keys + 1)
    throw new DemoFailure(`${keys + 1} keys were expected after both moves, ${keysAfter} are there`);

  say("It held");
  print(`  ${replies} replies on one TCP connection: none lost, none repeated, none out of order; it never broke`);
  print(
    `  all ${keys} values are there; the whole demonstration took ${((performance.now() - startedAt) / 1000).toFixed(0)} s`,
  );
  sayHowToGoOn();
}

async function labUp(name: string): Promise<void> {
  const child = spawn(LAB, ["up", "--name", name, "--suite", "forky", "--nodes", "3"], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  // Ctrl-C reaches it through the terminal; a SIGTERM has to be passed on.
  interruption.signal.addEventListener("abort", () => child.kill("SIGTERM"), { once: true });
  const code = await new Promise<number | null>((resolve, reject) =>
    child.once("error", reject).once("close", resolve),
  );
  interruption.signal.throwIfAborted();
  if (code !== 0)
    throw new DemoFailure(`the lab did not come up (exit code ${code}); see above, and: deploy/lab/lab doctor`);
}

async function removeEarlier(lab: Lab): Promise<void> {
  for (const { name } of lab.plan.nodes) {
    await runRaw(await lab.driver.command(name, ["docker", "rm", "--force", CONTAINER]), {
      signal: interruption.signal,
    });
  }
}

async function inNode(lab: Lab, node: string, argv: readonly string[]): Promise<string> {
  return await run(await lab.driver.command(node, argv), {
    signal: interruption.signal,
    label: `${node}: ${argv.slice(0, 3).join(" ")}`,
  });
}

async function connected(address: string): Promise<LineConnection> {
  const endsAt = performance.now() + LISTEN_DEADLINE_MS;
  for (;;) {
    try {
      return await LineConnection.open({ host: address, port: REDIS_PORT });
    } catch (error) {
      if (performance.now() > endsAt) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

/** Its progress goes to the terminal; the report comes back. */
async function migrate(lab: Lab, destination: string): Promise<Migration> {
  const { binDirectory, clientDirectory } = lab.layout;
  const env = { ...process.env, DRAYAGE_CONFIG: join(clientDirectory, "client.yaml") };
  const argv = ["migrate", CONTAINER, "--to", destination, "--json"];
  const child = spawn(join(binDirectory, "dray"), argv, { env, stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    output += chunk;
  });
  const code = await new Promise<number | null>((resolve, reject) =>
    child.once("error", reject).once("close", resolve),
  );
  const migration = output.trim() === "" ? undefined : (JSON.parse(output) as Migration);
  if (code === 0 && migration?.outcome === "completed") return migration;
  const why = migration?.error ?? undefined;
  throw new DemoFailure(
    `the migration to ${destination} did not complete (exit code ${code})${why ? `: ${why.reason}: ${why.message}\n  ${why.remedy}` : ""}`,
  );
}

async function runsOnlyOn(lab: Lab, expected: string): Promise<void> {
  for (const { name } of lab.plan.nodes) {
    const list = ["docker", "ps", "--all", "--filter", `name=^${CONTAINER}$`, "--format", "{{.State}}"];
    const state = (await inNode(lab, name, list)).trim();
    const wanted = name === expected ? "running" : "";
    if (state !== wanted) throw new DemoFailure(`Docker on ${name} says "${state}" of ${CONTAINER}, not "${wanted}"`);
  }
}

function report(migration: Migration, source: string, { longestGap }: HeldVerdict): void {
  const mb = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;
  print("");
  print(
    `  ${source} → ${migration.destination}   memory ${mb(migration.memory_bytes)}, on the wire ${mb(migration.wire_bytes)}`,
  );
  for (const { name, node, duration_ms } of migration.phases) {
    print(`    ${name.padEnd(28)} ${node.padEnd(4)} ${ms(duration_ms).padStart(10)}`);
  }
  print(`  total                             ${ms(migration.total_ms).padStart(10)}`);
  print(`  downtime (freeze to thaw)         ${ms(migration.downtime_ms).padStart(10)}`);
  print(`  longest gap the client saw        ${ms(longestGap.durationMs).padStart(10)}`);
}

function sayHowToGoOn(): void {
  const option = values.name === DEFAULT_NAME ? "" : ` --name ${values.name}`;
  say("The lab stays up. Look around:");
  print(`  eval "$(deploy/lab/lab env${option})"      puts dray into PATH and points it at the lab`);
  print("  dray node ls");
  print("  dray container ls");
  print(`  dray migrate ${CONTAINER} --to n3`);
  print("  dray migration ls");
  print(`  deploy/lab/lab exec${option} n1 -- docker ps`);
  print("and take it down:");
  print(`  deploy/lab/lab down${option}`);
}

function say(text: string): void {
  print(`\n● ${text}`);
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function ms(value: number): string {
  return `${value.toFixed(value < 100 ? 1 : 0)} ms`;
}

try {
  await demonstrate();
} catch (error) {
  if (interruption.signal.aborted) {
    process.stderr.write(`\ndemo: interrupted; what is up goes down with: deploy/lab/lab down --name ${values.name}\n`);
    process.exitCode = 130;
  } else {
    process.stderr.write(`\ndemo: FAILED: ${error instanceof Error ? error.message : String(error)}\n`);
    process.stderr.write(`  The lab "${values.name}" is left as it is, to look into it.\n`);
    process.exitCode = 1;
  }
}
// A held connection of a failed run would keep the process alive.
process.exit();
