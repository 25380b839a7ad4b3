/** What drayage-runc makes of a bar: built with directories of the test, and with `echo` as its runc. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openStartBars, type StartBars } from "./start-bars.ts";

const run = promisify(execFile);
const ID = "ab".repeat(32);
const OTHER = "cd".repeat(32);

let directory: string;
let bars: StartBars;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "bars-"));
  const defines = { BAR_DIRECTORY: "barred", RECORD_DIRECTORY: "restore", SOCKET_DIRECTORY: "run" };
  const lines = Object.entries(defines).map(([name, under]) => `#define ${name} "${join(directory, under)}"`);
  const header = join(directory, "paths.h");
  await writeFile(header, [...lines, '#define RUNC_PATH "/bin/echo"', ""].join("\n"));
  const build = join(import.meta.dirname, "../../runc/build");
  await run(build, [join(directory, "drayage-runc")], { env: { ...process.env, CFLAGS: `-include ${header}` } });
  await mkdir(join(directory, "restore"));
  bars = await openStartBars(join(directory, "barred"));
});
afterAll(() => rm(directory, { recursive: true }));
beforeEach(() => bars.set(ID, "0123456789ab"));

const runtime = (...args: string[]) => run(join(directory, "drayage-runc"), args);

describe("a container with a bar and no restore record", () => {
  test.each(["create", "start", "run", "restore"])("is not begun by %s", async (subcommand) => {
    await expect(runtime(subcommand, ID)).rejects.toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringContaining(`${subcommand} refused: migration 0123456789ab has not ended on this node`),
    });
  });

  test.each(["exec", "kill", "delete", "state"])("is given to runc by %s", async (subcommand) => {
    expect((await runtime(subcommand, ID)).stdout).toBe(`${subcommand} ${ID}\n`);
  });

  test("tells containerd why", async () => {
    const log = join(directory, "log.json");
    await expect(runtime("--log", log, "--log-format", "json", "create", ID)).rejects.toMatchObject({ code: 1 });
    await expect(run("cat", [log])).resolves.toMatchObject({
      stdout: expect.stringContaining("dray migration inspect"),
    });
  });

  test("is one like any other when the bar is lifted", async () => {
    await bars.lift(ID);
    await bars.lift(ID);
    expect((await runtime("create", ID)).stdout).toBe(`create ${ID}\n`);
    expect(await readdir(join(directory, "barred"))).toEqual([]);
  });
});

test("bars of migrations that have ended are lifted when the agent starts", async () => {
  await bars.set(OTHER, "ffffffffffff");
  await bars.keepOnly(["0123456789ab"]);
  expect(await readdir(join(directory, "barred"))).toEqual([ID]);
});

test("other containers are no concern of a bar", async () => {
  expect((await runtime("create", OTHER)).stdout).toBe(`create ${OTHER}\n`);
});

test("a bar that cannot be looked at bars", async () => {
  await bars.lift(ID);
  await rm(join(directory, "barred"), { recursive: true });
  // Neither there nor absent: a loop of links.
  await run("ln", ["-s", "barred", join(directory, "barred")]);
  await expect(runtime("create", ID)).rejects.toMatchObject({ code: 1 });
  await rm(join(directory, "barred"));
  bars = await openStartBars(join(directory, "barred"));
});

test("nothing but an id becomes part of a path", async () => {
  await expect(bars.set("../x", "0123456789ab")).rejects.toMatchObject({ reason: "BAD_REQUEST" });
});
