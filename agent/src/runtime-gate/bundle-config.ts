/** What a restore changes in the bundle's config.json. Pure. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";

export interface BundlePatch {
  /** CRIU's configuration file. */
  readonly criuConfigPath: string;
  readonly networkHookPath: string;
  /** What `bindSourcesOf` names, with symbolic links followed; what is not in it stays as it is. */
  readonly bindSources: ReadonlyMap<string, string>;
}

const CRIU_CONFIG_ANNOTATION = "org.criu.config";
const HOOK_TIMEOUT_S = 30;

/** The host's paths that are bind-mounted in the container. */
export function bindSourcesOf(json: string): string[] {
  const config = object(JSON.parse(json), "config.json");
  return list(config["mounts"] ?? [], "mounts").flatMap((mount) => {
    const { type, source } = object(mount, "a mount");
    return type === "bind" && typeof source === "string" ? [source] : [];
  });
}

/**
 * Names CRIU's configuration, and puts the network hook before all other
 * prestart hooks: drop rules and placeholder must stand before Docker (up to
 * 27) wires the network. Follows the links of bind mounts: CRIU does not
 * (mount-v2.c, AT_SYMLINK_NOFOLLOW) and would mount the link itself, as that of
 * Debian's docker-init. Patching twice changes nothing more.
 */
export function patchBundleConfig(json: string, patch: BundlePatch): string {
  const config = object(JSON.parse(json), "config.json");
  const hooks = object(config["hooks"] ?? {}, "hooks");
  const prestart = list(hooks["prestart"] ?? [], "hooks.prestart");
  const others = prestart.filter((hook) => object(hook, "a hook")["path"] !== patch.networkHookPath);
  const ours = { path: patch.networkHookPath, args: [patch.networkHookPath], timeout: HOOK_TIMEOUT_S };
  const mounts = list(config["mounts"] ?? [], "mounts").map((mount) => {
    const { source, ...others } = object(mount, "a mount");
    const real = typeof source === "string" ? patch.bindSources.get(source) : undefined;
    return real === undefined ? mount : { ...others, source: real };
  });
  return JSON.stringify({
    ...config,
    mounts,
    annotations: {
      ...object(config["annotations"] ?? {}, "annotations"),
      [CRIU_CONFIG_ANNOTATION]: patch.criuConfigPath,
    },
    hooks: { ...hooks, prestart: [ours, ...others] },
  });
}

/**
 * CRIU's configuration file for a restore; `=` where CRIU 3 and 4 want it. Nothing about network locks: what the dump
 * did is in the images, and CRIU may die of that option where runc names the file (4.1.1 does: it looks for its own
 * arguments then, and has none).
 */
export function criuRestoreConfig(actionScriptPath: string, further: readonly string[]): string {
  const lines = [
    `action-script ${actionScriptPath}`,
    "manage-cgroups=ignore",
    "tcp-established",
    "file-locks",
    "ext-unix-sk",
    "link-remap",
    ...further,
  ];
  return `${lines.join("\n")}\n`;
}

function object(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw bad(what);
  return value as Record<string, unknown>;
}

function list(value: unknown, what: string): unknown[] {
  if (!Array.isArray(value)) throw bad(what);
  return value;
}

function bad(what: string): DrayError {
  return new DrayError("BAD_REQUEST", `${what} of the bundle is not what the OCI specification says`);
}
