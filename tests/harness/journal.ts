/** The journal of a node, line by line, as it is written. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { TestLab } from "./test-lab.ts";

export interface Followed {
  readonly units: readonly string[];
  /** Also what they have said since the node's boot; without it, only what they say from now on. */
  readonly sinceBoot?: boolean;
}

/** Ends with the process that is given, which ends with the node. */
export async function followJournal(
  lab: TestLab,
  node: string,
  { units, sinceBoot = false }: Followed,
  onLine: (line: string) => void,
): Promise<ChildProcess> {
  const past = sinceBoot ? ["--boot", "--no-tail"] : ["--lines=0"];
  const which = units.map((unit) => `--unit=${unit}`);
  const argv = ["journalctl", "--follow", "--output=cat", ...past, ...which];
  const [file = "", ...args] = await lab.command(node, argv);
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "ignore"] });
  createInterface(child.stdout).on("line", onLine);
  return child;
}

export interface AwaitedLine {
  readonly unit: string;
  /** The line has all of these in it. */
  readonly texts: readonly string[];
  readonly deadlineMs: number;
}

/** The first such line since the node's boot, which may have been written already. */
export async function journalLine(
  lab: TestLab,
  node: string,
  { unit, texts, deadlineMs }: AwaitedLine,
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const missing = (why: string) => {
    const told = texts.map((text) => `"${text}"`).join(" and ");
    reject(new Error(`${node}: the journal of ${unit} has no line with ${told}: ${why}`));
  };
  const follower = await followJournal(lab, node, { units: [unit], sinceBoot: true }, (line) => {
    if (texts.every((text) => line.includes(text))) resolve(line);
  });
  follower.once("error", reject);
  follower.once("close", (code) => missing(`journalctl has ended, with ${code}`));
  const timer = setTimeout(() => missing(`none came within ${deadlineMs} ms`), deadlineMs);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    follower.kill();
  }
}
