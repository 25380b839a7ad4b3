/** Which way a migration goes, and why. Pure. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { type Finding, Severity } from "@drayage/shared/gen/drayage/common/v1/finding.ts";
import { Mode } from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import type { MigrationMode } from "@drayage/shared/state/migration.ts";

export interface ModeChoice {
  readonly mode: MigrationMode;
  readonly reason: string;
}

/** BAD_REQUEST for a mode that this version does not offer. */
export function chooseMode(asked: Mode): ModeChoice {
  switch (asked) {
    case Mode.MODE_UNSPECIFIED:
    case Mode.MODE_AUTO:
      return { mode: "stop-copy", reason: "stop-copy: the one mode that this version offers" };
    case Mode.MODE_STOP_COPY:
      return { mode: "stop-copy", reason: "stop-copy: as asked for" };
    default:
      throw new DrayError("BAD_REQUEST", `this version of Drayage does not offer the mode ${shown(asked)}`, {
        remedy: "Use --mode stop-copy or --mode auto; this version offers no other.",
      });
  }
}

/** Wishes that this version takes note of but cannot meet, as findings. */
export function unmetWishes(wishes: { readonly maxDowntimeMs: number }): Finding[] {
  const note = (code: string, message: string): Finding => ({
    code,
    severity: Severity.SEVERITY_NOTE,
    node: "",
    message,
    remedy: "",
    allowFlag: "",
  });
  const findings: Finding[] = [];
  if (wishes.maxDowntimeMs > 0) {
    findings.push(
      note(
        "downtime-not-aimed-at",
        "A stop-copy migration takes as long as its memory takes to copy, whatever --max-downtime says.",
      ),
    );
  }
  return findings;
}

function shown(mode: Mode): string {
  return mode
    .replace(/^MODE_/, "")
    .toLowerCase()
    .replaceAll("_", "-");
}
