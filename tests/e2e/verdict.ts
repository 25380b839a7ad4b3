/** What `dray check` says of a container and a node. */
import { expect } from "vitest";
import type { TestLab } from "../harness/test-lab.ts";

export interface Finding {
  readonly code: string;
  readonly severity: string;
  readonly message: string;
  readonly remedy: string;
}

export interface Verdict {
  readonly node: string;
  readonly ok: boolean;
  readonly findings: readonly Finding[];
}

export async function verdictOn(
  lab: TestLab,
  container: string,
  node: string,
  flags: readonly string[] = [],
): Promise<Verdict> {
  const { document, exitCode, stderr } = await lab.dray<Verdict[] | { verdicts?: Verdict[] } | undefined>([
    "check",
    container,
    "--to",
    node,
    ...flags,
  ]);
  const verdicts = Array.isArray(document) ? document : document?.verdicts;
  if (verdicts === undefined)
    throw new Error(`dray check ended with ${exitCode}: ${JSON.stringify(document)} ${stderr}`);
  const verdict = verdicts.find((each) => each.node === node);
  if (verdict === undefined) throw new Error(`no verdict on ${node}`);
  return verdict;
}

/** What stands in the way of a container that `dray check` and `dray migrate` both refuse, each with a reason and a remedy. */
export async function refusal(lab: TestLab, container: string, node: string): Promise<Finding[]> {
  const { ok, findings } = await verdictOn(lab, container, node);
  expect(ok).toBe(false);
  const blocking = findings.filter(({ severity }) => severity === "blocking");
  for (const { message, remedy } of blocking) expect([message, remedy]).not.toContain("");
  expect((await lab.dray(["migrate", container, "--to", node])).exitCode).toBe(4);
  return blocking;
}
