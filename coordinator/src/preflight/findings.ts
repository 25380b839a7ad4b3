/** Findings of preflight: what stands against a migration, and how that is said. Pure. */
import { type Finding, Severity } from "@drayage/shared/gen/drayage/common/v1/finding.ts";
import type { FindingRecord } from "@drayage/shared/state/migration.ts";

/** Those that refuse the migration, given the flags that the operator accepts. */
export function obstacles(findings: readonly Finding[], allowFlags: readonly string[]): Finding[] {
  return findings.filter((finding) => {
    if (finding.severity === Severity.SEVERITY_BLOCKING) return true;
    return finding.severity === Severity.SEVERITY_NEEDS_FLAG && !allowFlags.includes(finding.allowFlag);
  });
}

/** One line for each: code, node, what is so, what to do. */
export function showFindings(findings: readonly Finding[]): string {
  return findings.map(showFinding).join("\n");
}

function showFinding({ code, node, message, remedy, severity, allowFlag }: Finding): string {
  const where = node === "" ? "" : ` on ${node}`;
  const flag = severity === Severity.SEVERITY_NEEDS_FLAG && allowFlag !== "" ? ` (or accept it with ${allowFlag})` : "";
  return `${code}${where}: ${message}${remedy === "" ? "" : ` ${remedy}`}${flag}`;
}

export function toFindingRecord(finding: Finding): FindingRecord {
  const { code, node, message, remedy, allowFlag } = finding;
  return { code, severity: severityName(finding.severity), node, message, remedy, allowFlag };
}

function severityName(severity: Severity): FindingRecord["severity"] {
  if (severity === Severity.SEVERITY_NOTE) return "note";
  return severity === Severity.SEVERITY_NEEDS_FLAG ? "needs-flag" : "blocking";
}

const SEVERITIES: Record<FindingRecord["severity"], Severity> = {
  note: Severity.SEVERITY_NOTE,
  "needs-flag": Severity.SEVERITY_NEEDS_FLAG,
  blocking: Severity.SEVERITY_BLOCKING,
};

export function fromFindingRecord(record: FindingRecord): Finding {
  return { ...record, severity: SEVERITIES[record.severity] };
}
