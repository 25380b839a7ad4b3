/** A finding of preflight as `--json` prints it. */
import { type Finding, Severity } from "@drayage/shared/gen/drayage/common/v1/finding.ts";

export interface FindingDocument {
  readonly code: string;
  readonly severity: "note" | "needs_flag" | "blocking";
  readonly node: string;
  readonly message: string;
  readonly remedy: string;
  /** Flag of `dray migrate` that accepts it; empty if none does. */
  readonly allow_flag: string;
}

export function findingDocument(finding: Finding): FindingDocument {
  return {
    code: finding.code,
    severity: severityName(finding.severity),
    node: finding.node,
    message: finding.message,
    remedy: finding.remedy,
    allow_flag: finding.allowFlag,
  };
}

/** A severity that this version does not know counts as the worst. */
function severityName(severity: Severity): FindingDocument["severity"] {
  if (severity === Severity.SEVERITY_NOTE) return "note";
  return severity === Severity.SEVERITY_NEEDS_FLAG ? "needs_flag" : "blocking";
}
