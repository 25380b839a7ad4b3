/**
 * Drayage's part of Docker's daemon.json: what is added, and how exactly that
 * much is taken away again. Pure: texts in, texts out.
 *
 *   absent ── register ──► drayage-runc ── unregister ──► absent, as it was before
 *                              ▲    │
 *                     register │    │ retire (containers still name the runtime)
 *                              └────▼
 *                           plain runc
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { isDeepStrictEqual } from "node:util";
import { removeMember, setMember } from "./json-edit.ts";

export const RUNTIME_NAME = "drayage";
export const RUNTIME_PATH = "/usr/bin/drayage-runc";

/** What Drayage has put into daemon.json, kept beside it so that it can be undone. */
export interface RuntimeState {
  /** Whether there was no file before. */
  readonly madeFile: boolean;
  /** The text before; absent if others have changed the file since, so that it cannot simply be put back. */
  readonly before?: string;
  /** The text that Drayage wrote last. */
  readonly after: string;
  /** Whether there was no `runtimes` member before. */
  readonly madeRuntimes: boolean;
  /** An entry of the same name that was there before. */
  readonly previousRuntime?: JsonObject;
  /** Set while Drayage is the default runtime: the default before, null if none was named. */
  readonly previousDefault?: string | null;
}

export interface Registered {
  readonly text: string;
  readonly state: RuntimeState;
}

export type JsonObject = { readonly [key: string]: unknown };

/** Adds the runtime. `text` is null when there is no file. Throws BAD_CONFIG for a text that is not a JSON object. */
export function register(text: string | null, state: RuntimeState | null): Registered {
  const base = startingText(text);
  const existing = runtimeEntry(base);
  const entry = { ...(isOurs(existing) ? existing : {}), path: RUNTIME_PATH };
  const after = isDeepStrictEqual(existing, entry) ? base : setMember(base, ["runtimes", RUNTIME_NAME], entry);
  const foreign = existing && !isOurs(existing) ? { previousRuntime: existing } : {};
  if (state && text !== null) return { text: after, state: { ...succeed(state, text, after), ...foreign } };
  if (isOurs(existing)) {
    // Left from an earlier installation: there is no text without us to go back to.
    const madeRuntimes = Object.keys(parseDaemonJson(base).runtimes ?? {}).length === 1;
    return { text: after, state: { madeFile: false, after, madeRuntimes } };
  }
  const madeRuntimes = parseDaemonJson(base).runtimes === undefined;
  return { text: after, state: { madeFile: text === null, before: text ?? "", after, madeRuntimes, ...foreign } };
}

/** Makes the runtime Docker's default. It must be registered. */
export function makeDefault(text: string, state: RuntimeState): Registered {
  const current = parseDaemonJson(text)["default-runtime"];
  if (current === RUNTIME_NAME) return { text, state };
  const after = setMember(text, ["default-runtime"], RUNTIME_NAME);
  const previousDefault = typeof current === "string" ? current : null;
  return { text: after, state: { ...succeed(state, text, after), previousDefault } };
}

/** Undoes makeDefault, unless somebody has since chosen another default. */
export function undoDefault(text: string, state: RuntimeState): Registered {
  const after = withoutDefault(text, state);
  const { previousDefault: _, ...rest } = succeed(state, text, after);
  return { text: after, state: rest };
}

/**
 * Takes Drayage's part away and keeps what others have changed meanwhile.
 * Null: there was no file before and nothing is left to say, so remove it.
 */
export function unregister(text: string, state: RuntimeState): string | null {
  if (text === state.after && state.before !== undefined) return state.madeFile ? null : state.before;
  let result = withoutDefault(text, state);
  if (isOurs(runtimeEntry(result))) {
    result = state.previousRuntime
      ? setMember(result, ["runtimes", RUNTIME_NAME], state.previousRuntime)
      : removeMember(result, ["runtimes", RUNTIME_NAME]);
  }
  const { runtimes, ...others } = parseDaemonJson(result);
  if (state.madeRuntimes && isDeepStrictEqual(runtimes, {})) {
    result = removeMember(result, ["runtimes"]);
    if (state.madeFile && Object.keys(others).length === 0) return null;
  }
  return result;
}

/** Lets the name stand for plain runc, so that containers that carry it still start without Drayage. */
export function retire(text: string, state: RuntimeState, runcPath: string): Registered {
  const settled = withoutDefault(text, state);
  const after = isOurs(runtimeEntry(settled))
    ? setMember(settled, ["runtimes", RUNTIME_NAME], { path: runcPath })
    : settled;
  const { previousDefault: _, ...rest } = succeed(state, text, after);
  return { text: after, state: rest };
}

/**
 * `text` for one reload: dockerd keeps what it has for a member that is not
 * in the file, so what shall go away must be said. `currentDefault` is the
 * default runtime that dockerd has now.
 */
export function explicitly(text: string | null, currentDefault: string): string {
  const base = startingText(text);
  const parsed = parseDaemonJson(base);
  const named = parsed.runtimes === undefined ? setMember(base, ["runtimes"], {}) : base;
  const isStale = currentDefault === RUNTIME_NAME && parsed["default-runtime"] === undefined;
  return isStale ? setMember(named, ["default-runtime"], "runc") : named;
}

/** Parses daemon.json; an empty file counts as an empty object, as for dockerd. Throws BAD_CONFIG. */
export function parseDaemonJson(text: string): JsonObject {
  const content = text.replace(/^\uFEFF/, "");
  let parsed: unknown;
  try {
    parsed = content.trim() === "" ? {} : JSON.parse(content);
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new DrayError("BAD_CONFIG", `Docker's daemon.json is not valid JSON: ${detail}`, {
      remedy: "Correct the file, then run `dpkg --configure drayage` or `drayage docker-runtime add`.",
      cause,
    });
  }
  if (!isJsonObject(parsed)) throw notAnObject("Docker's daemon.json");
  if (parsed.runtimes !== undefined && !isJsonObject(parsed.runtimes))
    throw notAnObject("`runtimes` in Docker's daemon.json");
  return parsed;
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function notAnObject(what: string): DrayError {
  return new DrayError("BAD_CONFIG", `${what} is not a JSON object`, {
    remedy: "Correct the file, then run `dpkg --configure drayage` or `drayage docker-runtime add`.",
  });
}

function startingText(text: string | null): string {
  if (text === null || text.replace(/^\uFEFF/, "").trim() === "") return "{\n}\n";
  parseDaemonJson(text);
  return text;
}

function runtimeEntry(text: string): JsonObject | undefined {
  const { runtimes } = parseDaemonJson(text);
  const entry = isJsonObject(runtimes) ? runtimes[RUNTIME_NAME] : undefined;
  return isJsonObject(entry) ? entry : undefined;
}

/** Ours: it points to drayage-runc, or it is the plain-runc entry that `retire` leaves behind. */
function isOurs(entry: JsonObject | undefined): entry is JsonObject {
  if (!entry) return false;
  const path = entry.path;
  if (path === RUNTIME_PATH) return true;
  return Object.keys(entry).length === 1 && typeof path === "string" && path.endsWith("/runc");
}

/** The state after a further change of ours; the old text is forgotten once others have changed it too. */
function succeed(state: RuntimeState, from: string | null, after: string): RuntimeState {
  if (from === state.after) return { ...state, after };
  const { before: _, ...rest } = state;
  return { ...rest, after };
}

function withoutDefault(text: string, state: RuntimeState): string {
  if (parseDaemonJson(text)["default-runtime"] !== RUNTIME_NAME) return text;
  return typeof state.previousDefault === "string"
    ? setMember(text, ["default-runtime"], state.previousDefault)
    : removeMember(text, ["default-runtime"]);
}
