/** Modes as they are typed and shown. */
import { Mode } from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import { usageError } from "./usage-error.ts";

export const MODES: Readonly<Record<string, Mode>> = {
  auto: Mode.MODE_AUTO,
  "stop-copy": Mode.MODE_STOP_COPY,
  "pre-copy": Mode.MODE_PRE_COPY,
  "post-copy": Mode.MODE_POST_COPY,
  hybrid: Mode.MODE_HYBRID,
};

export function parseMode(text: string): Mode {
  const mode = Object.hasOwn(MODES, text) ? MODES[text] : undefined;
  if (mode === undefined) {
    throw usageError(`there is no mode "${text}"`, `Choose one of ${Object.keys(MODES).join(", ")}.`);
  }
  return mode;
}

/** "auto" for a mode that is not set, "unknown" for one from a newer server. */
export function modeName(mode: Mode): string {
  if (mode === Mode.MODE_UNSPECIFIED) return "auto";
  return Object.entries(MODES).find(([, value]) => value === mode)?.[0] ?? "unknown";
}
