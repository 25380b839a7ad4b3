/** What `dray check` says of a container and a node. */
import type { TestLab } from "../harness/test-lab.ts";

export interface Verdict {
  readonly node: string;
  readonly ok: boolean;
  readonly findings: readonly {
    readonly code: string;
    readonly severity: string;
    readonly message: string;
    readonly remedy: string;
  }[];
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
