/** The one error class; everything thrown on purpose is one of these. */
import type { Finding } from "../gen/drayage/common/v1/finding.ts";
import { isReason, REASONS, type Reason, type ReasonMapping } from "./reason.ts";

export interface DrayErrorOptions {
  /** What to do; defaults to the remedy of the reason. */
  readonly remedy?: string;
  /** Node on which it happened. */
  readonly node?: string;
  /** Of preflight, where they are what stands against it. */
  readonly findings?: readonly Finding[];
  readonly cause?: unknown;
}

export class DrayError extends Error {
  readonly reason: Reason;
  readonly remedy: string;
  readonly node: string;
  readonly findings: readonly Finding[];

  constructor(reason: Reason, message: string, options: DrayErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "DrayError";
    this.reason = reason;
    this.remedy = options.remedy ?? REASONS[reason].remedy;
    this.node = options.node ?? "";
    this.findings = options.findings ?? [];
  }

  get mapping(): ReasonMapping {
    return REASONS[this.reason];
  }
}

/** Wraps anything thrown into a DrayError; keeps one that is one already. */
export function toDrayError(thrown: unknown, fallback: Reason = "INTERNAL"): DrayError {
  if (thrown instanceof DrayError) return thrown;
  if (thrown instanceof Error && (thrown.name === "AbortError" || thrown.name === "TimeoutError")) {
    return new DrayError(thrown.name === "AbortError" ? "CANCELLED" : "TIMEOUT", thrown.message, { cause: thrown });
  }
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const isFull = thrown instanceof Error && "code" in thrown && (thrown.code === "ENOSPC" || thrown.code === "EDQUOT");
  return new DrayError(isFull ? "NO_SPACE" : fallback, message, { cause: thrown });
}

/** Rebuilds an error from its parts as they travel in metadata or records. */
export function drayErrorFromParts(
  reason: string,
  message: string,
  options: Pick<DrayErrorOptions, "remedy" | "node" | "findings">,
): DrayError {
  return new DrayError(isReason(reason) ? reason : "INTERNAL", message, options);
}
