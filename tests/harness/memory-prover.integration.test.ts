/** The prover itself: it accepts what is right, and above all it notices one wrong bit. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePorts } from "@drayage/shared/etcd/test-support/etcd-process.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { HeldConnection } from "./held-connection.ts";
import { buildProver, Prover } from "./memory-prover.ts";

let directory: string;
let child: ChildProcess;
let prover: Prover;
let port: number;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "prover-test-"));
  const program = await buildProver(directory);
  [port = 0] = await freePorts(1);
  const options = {
    "--mb": 32,
    "--port": port,
    "--threads": 5,
    "--seed": 7,
    "--dirty": 20_000,
    "--directory": directory,
  };
  child = spawn(program, Object.entries(options).flat().map(String), { stdio: "ignore" });
  prover = await Prover.open("127.0.0.1", port);
});

afterAll(async () => {
  prover.close();
  child.kill("SIGKILL");
  await rm(directory, { recursive: true });
});

test("all memory is right, over and over, while pages are rewritten", async () => {
  for (let turn = 0; turn < 5; turn++) expect(await prover.check()).toBeGreaterThan(31 * 2 ** 20);
});

test("one flipped bit is noticed, and only as long as it is flipped", async () => {
  await prover.corrupt();
  await expect(prover.check()).rejects.toThrow(/wrong memory address=0x[0-9a-f]+ expected=0x\w\w found=0x\w\w/);
  await prover.repair();
  await prover.check();
});

test("tables are right wherever they have been moved to", async () => {
  await prover.makeTables();
  for (let turn = 0; turn < 7; turn++) {
    await prover.rotateTables();
    expect(await prover.check()).toBeGreaterThan(31 * 2 ** 20);
  }
});

test("counts on one connection", async () => {
  const held = await HeldConnection.prover({ host: "127.0.0.1", port });
  await held.moreReplies(50);
  expect((await held.stop()).replies).toBeGreaterThanOrEqual(50);
});

test("files: open, deleted and mapped are right; a changed one is noticed", async () => {
  await prover.openFiles(3);
  await prover.check();
  await writeFile(join(directory, "open"), "x", { flag: "r+" });
  await expect(prover.check()).rejects.toThrow("wrong open file");
  await truncate(join(directory, "open"), 4096);
  await expect(prover.check()).rejects.toThrow("wrong open file size=4096");
});
