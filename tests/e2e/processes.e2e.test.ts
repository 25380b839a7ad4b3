/** More than one process: a shell, its children, pipes between them, signals to them, a terminal. */
import { expect, test } from "vitest";
import { eventually } from "../harness/eventually.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy, markedTasks } from "../harness/one-copy.ts";
import { typeAt } from "../harness/terminal.ts";
import { Stage } from "./stage.ts";

const stage = new Stage("processes", ["debian-tools"]);
const IMAGE = "debian-tools:latest";

/**
 * A producer counts into a pipe, a consumer demands every number in order and keeps the last one in a file; the shell
 * counts signals; a grandchild holds a lock and sleeps. A wrong number ends the container.
 */
const FAMILY = `
set -u
signals=0
trap 'signals=$((signals + 1)); echo "$signals" >/signals' USR1
( n=0; while :; do n=$((n + 1)); echo "$n"; sleep 0.02; done ) |
  ( last=0; while read -r n; do [ "$n" -eq $((last + 1)) ] || { kill -TERM 1; exit 1; }; last=$n; echo "$n" >/count; done ) &
( sh -c 'exec 9>/lock; flock 9; while :; do sleep 1; done' & wait ) &
echo 0 >/signals
while :; do wait; sleep 0.1; done
`;

test("a shell with children, pipes, locks and signals", async () => {
  const { lab } = stage;
  const container = await stage.start({
    node: stage.source,
    name: "family",
    address: stage.address(),
    image: IMAGE,
    command: ["bash", "-c", FAMILY],
  });
  const inside = async (node: string, script: string) =>
    await lab.docker(node, "exec", container.name, "sh", "-c", script);
  const countOn = async (node: string) => Number(await inside(node, "cat /count"));
  // The family forks a sleep, and a shell for it, all the time; what is there twice is there to stay.
  const processes = async (node: string) =>
    (await inside(node, "ps -e -o pid=,ppid=,comm=")).split("\n").map((line) => line.trim());
  await eventually(async () => ((await countOn(stage.source)) > 10 ? true : undefined), {
    what: "it counts",
    deadlineMs: 20_000,
  });
  const first = await processes(stage.source);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const second = await processes(stage.source);
  const lasting = first.filter((line) => second.includes(line));
  expect(lasting.length).toBeGreaterThanOrEqual(5);
  const tasksBefore = (await markedTasks(lab, stage.source, container.mark)).length;
  expect(tasksBefore).toBeGreaterThanOrEqual(5);
  let signals = 0;
  let count = await countOn(stage.source);
  let at = stage.source;
  for (const to of [stage.destination, stage.source]) {
    await migrate(lab, container.name, to);
    at = to;
    const present = await processes(at);
    expect(lasting.filter((line) => !present.includes(line))).toEqual([]);
    await lab.docker(at, "kill", "--signal=USR1", container.name);
    signals += 1;
    const wanted = String(signals);
    await eventually(async () => ((await inside(at, "cat /signals")) === wanted ? true : undefined), {
      what: `signal ${signals} was counted`,
      deadlineMs: 20_000,
    });
    await eventually(async () => ((await countOn(at)) > count + 20 ? true : undefined), {
      what: "it counts on",
      deadlineMs: 20_000,
    });
    count = await countOn(at);
    expect(
      (await lab.tryExec(at, ["docker", "exec", container.name, "flock", "--nonblock", "/lock", "true"])).exitCode,
    ).toBe(1);
    await assertOneCopy(lab, container, at);
  }
  await stage.nothingElseLeft();
});

test("a terminal: the shell at it goes on, its variables and its input with it", async () => {
  const { lab } = stage;
  const options = { node: stage.source, name: "terminal", address: stage.address(), image: IMAGE };
  const container = await stage.start({
    ...options,
    options: ["--interactive", "--tty"],
    command: ["bash", "--norc", "--noprofile"],
  });
  await typeAt(lab, stage.source, container.name, "kept=$((40 + 2)); stty rows 33");
  await migrate(lab, container.name, stage.destination);
  await typeAt(lab, stage.destination, container.name, 'echo "kept is $kept"; stty size');
  const logs = await eventually(
    async () => {
      const text = await lab.docker(stage.destination, "logs", container.name);
      return /^kept is 42/m.test(text) ? text : undefined;
    },
    { what: "the shell answers", deadlineMs: 20_000 },
  );
  expect(logs).toMatch(/^\d+ \d+\s*$/m);
  await assertOneCopy(lab, container, stage.destination);
});
