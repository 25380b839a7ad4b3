/** Which way a migration goes, and why. Pure. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { OnStall, type PreCopy } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
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
  const bytesPerSecond = bandwidthBytesPerSecond > 0 ? bandwidthBytesPerSecond : ORDINARY_BYTES_PER_SECOND;
  const copyMs = (memoryBytes / bytesPerSecond) * 1000;
  const unnoticedMs = maxDowntimeMs > 0 ? maxDowntimeMs / 2 : UNNOTICED_MS;
  const size = `${(memoryBytes / 1e6).toFixed(0)} MB of memory`;
  const time = `${Math.round(copyMs)} ms at ${(bytesPerSecond / 1e6).toFixed(0)} MB/s`;
  if (copyMs <= unnoticedMs)
    return { mode: "stop-copy", reason: `stop-copy: ${size} take ${time}, rounds would bring nothing` };
  if (noPostCopy !== "")
    return { mode: "pre-copy", reason: `pre-copy: ${size} would take ${time}; no post-copy, since ${noPostCopy}` };
  return {
    mode: "auto",
    reason: `pre-copy: ${size} would take ${time}; post-copy for the rest if rounds cannot meet the downtime`,
  };
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
