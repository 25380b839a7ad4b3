/** How findings are made. */
import { Finding, Severity } from "@drayage/shared/gen/drayage/common/v1/finding.ts";

export { Finding, Severity };

export interface Words {
  /** What is so, one sentence, naming the thing. */
  readonly message: string;
  /** What the operator can do about it, one sentence. */
  readonly remedy: string;
}

/** The migration is refused. */
export function blocking(code: string, words: Words): Finding {
  return Finding.fromPartial({ code, severity: Severity.SEVERITY_BLOCKING, ...words });
}

/** The migration is refused unless the operator gives the flag. */
export function needsFlag(code: string, allowFlag: string, words: Words): Finding {
  return Finding.fromPartial({ code, severity: Severity.SEVERITY_NEEDS_FLAG, allowFlag, ...words });
}

/** The operator should know. */
export function note(code: string, words: Words): Finding {
  return Finding.fromPartial({ code, severity: Severity.SEVERITY_NOTE, ...words });
}

/** Findings whose flag was given are notes from then on. */
export function acceptFlags(findings: readonly Finding[], allowFlags: readonly string[]): Finding[] {
  return findings.map((finding) =>
    finding.severity === Severity.SEVERITY_NEEDS_FLAG && allowFlags.includes(finding.allowFlag)
      ? { ...finding, severity: Severity.SEVERITY_NOTE }
      : finding,
  );
}

/** True if the findings refuse the migration. */
export function refuses(findings: readonly Finding[]): boolean {
  return findings.some((finding) => finding.severity !== Severity.SEVERITY_NOTE);
}
