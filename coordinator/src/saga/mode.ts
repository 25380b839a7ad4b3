/** Which way a migration goes, and why. Pure. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { OnStall, type PreCopy } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { type Finding, Severity } from "@drayage/shared/gen/drayage/common/v1/finding.ts";
import { Mode } from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import type { MigrationMode, MigrationRecord } from "@drayage/shared/state/migration.ts";

export interface ModeChoice {
  /** `auto` until the rounds have shown which it is: pre-copy, or hybrid. */
  readonly mode: MigrationMode;
  readonly reason: string;
}

/** What the choice is made from. */
export interface ModeQuestion {
  readonly asked: Mode;
  /** Of the container, bytes. */
  readonly memoryBytes: number;
  /** Cap on what is sent, bytes a second; 0 for none. */
  readonly bandwidthBytesPerSecond: number;
  /** Downtime to aim for, milliseconds; 0 if nobody has said. */
  readonly maxDowntimeMs: number;
  /** What keeps the destination from fetching memory on demand; empty if nothing. */
  readonly noPostCopy: string;
}

/** What an ordinary network carries, one gigabit a second, where no cap says less. */
const ORDINARY_BYTES_PER_SECOND = 125_000_000;
/** What a slow one does, a tenth of that: a downtime that somebody wishes for is to be met there, too. */
const SLOW_BYTES_PER_SECOND = 12_500_000;
/** What copying all of the memory may add to the downtime before rounds are worth their while. */
const UNNOTICED_MS = 300;

/** BAD_REQUEST for a mode that there is not, PREFLIGHT for one that the destination cannot take part in. */
export function chooseMode(question: ModeQuestion): ModeChoice {
  const { asked, noPostCopy } = question;
  switch (asked) {
    case Mode.MODE_UNSPECIFIED:
    case Mode.MODE_AUTO:
      return chooseByItself(question);
    case Mode.MODE_STOP_COPY:
      return { mode: "stop-copy", reason: "stop-copy: as asked for" };
    case Mode.MODE_PRE_COPY:
      return { mode: "pre-copy", reason: "pre-copy: as asked for" };
    case Mode.MODE_POST_COPY:
    case Mode.MODE_HYBRID: {
      const mode = asked === Mode.MODE_HYBRID ? "hybrid" : "post-copy";
      if (noPostCopy !== "") {
        throw new DrayError("PREFLIGHT", `the mode ${mode} is not to be had: ${noPostCopy}`, {
          remedy: "Use --mode pre-copy, or another destination.",
        });
      }
      return { mode, reason: `${mode}: as asked for` };
    }
    default:
      throw new DrayError("BAD_REQUEST", `this version of Drayage does not know the mode ${String(asked)}`, {
        remedy: "Use --mode auto, stop-copy, pre-copy, post-copy or hybrid.",
      });
  }
}

function chooseByItself({ memoryBytes, bandwidthBytesPerSecond, maxDowntimeMs, noPostCopy }: ModeQuestion): ModeChoice {
  // What the network carries only rounds show; without one it is assumed. A cap says what is allowed, not what there is.
  const assumed = maxDowntimeMs > 0 ? SLOW_BYTES_PER_SECOND : ORDINARY_BYTES_PER_SECOND;
  const bytesPerSecond = bandwidthBytesPerSecond > 0 ? Math.min(bandwidthBytesPerSecond, assumed) : assumed;
  const copyMs = (memoryBytes / bytesPerSecond) * 1000;
  const unnoticedMs = maxDowntimeMs > 0 ? maxDowntimeMs / 2 : UNNOTICED_MS;
  const size = `${(memoryBytes / 1e6).toFixed(0)} MB of memory`;
  const time = `${Math.round(copyMs)} ms at an assumed ${(bytesPerSecond / 1e6).toFixed(0)} MB/s`;
  if (copyMs <= unnoticedMs)
    return { mode: "stop-copy", reason: `stop-copy: ${size} take ${time}, rounds would bring nothing` };
  if (noPostCopy !== "")
    return { mode: "pre-copy", reason: `pre-copy: ${size} would take ${time}; no post-copy, since ${noPostCopy}` };
  return {
    mode: "auto",
    reason: `auto: ${size} would take ${time}, so memory goes in rounds while it runs, then by post-copy if they cannot meet the downtime`,
  };
}

/** Wishes that the mode cannot meet, as findings; BAD_REQUEST for one that is none there. */
export function unmetWishes(
  mode: MigrationMode,
  wishes: { readonly maxDowntimeMs: number; readonly autoConverge: boolean; readonly isChosenByItself: boolean },
): Finding[] {
  const hasRounds = mode !== "stop-copy" && mode !== "post-copy";
  if (hasRounds) return [];
  if (wishes.autoConverge && !wishes.isChosenByItself) {
    throw new DrayError("BAD_REQUEST", `--auto-converge has no effect in the mode ${mode}, which has no rounds`, {
      remedy: "Leave it out, or use --mode pre-copy, hybrid or auto.",
    });
  }
  if (wishes.maxDowntimeMs === 0 || wishes.isChosenByItself) return [];
  const message =
    mode === "stop-copy"
      ? "A stop-copy migration takes as long as its memory takes to copy, whatever --max-downtime says."
      : "The downtime of a post-copy has no memory in it: --max-downtime changes nothing.";
  return [
    { code: "downtime-not-aimed-at", severity: Severity.SEVERITY_NOTE, node: "", message, remedy: "", allowFlag: "" },
  ];
}

/** How memory is to be copied while the container runs; undefined if it is not. */
export function preCopyOrder(
  record: Pick<MigrationRecord, "mode" | "maxDowntimeMs" | "autoConverge">,
): PreCopy | undefined {
  const { maxDowntimeMs, autoConverge } = record;
  const order = (onStall: OnStall): PreCopy => ({ maxDowntimeMs, autoConverge, onStall });
  switch (record.mode) {
    case "stop-copy":
    case "post-copy":
      return undefined;
    case "pre-copy":
      return order(maxDowntimeMs > 0 ? OnStall.ON_STALL_GIVE_UP : OnStall.ON_STALL_SWITCH);
    case "hybrid":
    case "auto":
      return order(OnStall.ON_STALL_POST_COPY);
  }
}
