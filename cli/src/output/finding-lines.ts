/** Findings of preflight for people: what is so, what to do. Pure. */
import type { FindingDocument } from "../documents/finding-document.ts";
import { printable } from "./table.ts";

const LABELS = { blocking: "refused", needs_flag: "refused", note: "note" } as const;

/** Two lines for each finding, the worst first. */
export function findingLines(findings: readonly FindingDocument[]): string[] {
  const order = ["blocking", "needs_flag", "note"];
  const sorted = findings.toSorted((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity));
  return sorted.flatMap((finding) => {
    const where = finding.node === "" ? "" : `${finding.node}: `;
    const accept = finding.severity === "needs_flag" ? ` Or accept it with ${finding.allow_flag}.` : "";
    const head = printable(`  ${LABELS[finding.severity]}  ${where}${finding.message} [${finding.code}]`);
    const remedy = `${finding.remedy}${accept}`.trim();
    return remedy === "" ? [head] : [head, printable(`      remedy: ${remedy}`)];
  });
}
