/** client.yaml: what `dray` and other clients need to reach the coordinators. */
import { access } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { z } from "zod";
import { DrayError } from "../errors/dray-error.ts";
import { environmentName } from "./environment.ts";
import { address } from "./fields.ts";
import { loadConfig } from "./load.ts";

export const ClientConfigSchema = z.object({
  /** Tried in order. */
  coordinators: z.array(address()).min(1, { error: "must name at least one coordinator" }),
  /** Holds ca.crt, operator.crt, operator.key; relative to the file, and `pki` beside it if not given. */
  pkiDirectory: z.string().min(1).default("pki"),
});
export type ClientConfig = z.output<typeof ClientConfigSchema>;

const SYSTEM_DIRECTORY = "/etc/drayage";

/** What stands for the file's keys. */
const VARIABLES = `${environmentName("coordinators")}=HOST:PORT,HOST:PORT and ${environmentName("pkiDirectory")}=DIRECTORY with ca.crt, operator.crt and operator.key (${SYSTEM_DIRECTORY}/pki if not given)`;

export interface ClientConfigSources {
  /** From a flag; wins over DRAYAGE_CONFIG. */
  readonly path?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly flags?: Readonly<Record<string, unknown>>;
}

/** The file: as given, or DRAYAGE_CONFIG, or the first of the usual ones that exists. BAD_CONFIG names file, key and remedy. */
export async function loadClientConfig(sources: ClientConfigSources = {}): Promise<ClientConfig> {
  const env = sources.env ?? process.env;
  const named = sources.path ?? (env["DRAYAGE_CONFIG"] || undefined);
  const usual = [join(SYSTEM_DIRECTORY, "client.yaml"), join(env["HOME"] || homedir(), ".config/drayage/client.yaml")];
  const path = named ?? (await firstPresent(usual));
  try {
    const config = await loadConfig(ClientConfigSchema, { ...sources, path, required: true });
    return { ...config, pkiDirectory: resolve(path === null ? SYSTEM_DIRECTORY : dirname(path), config.pkiDirectory) };
  } catch (error) {
    if (path !== null || !(error instanceof DrayError)) throw error;
    throw new DrayError("BAD_CONFIG", `no client configuration in ${usual.join(" or ")}: ${error.message}`, {
      remedy: `Write one of these files, or name another with --config or DRAYAGE_CONFIG; or do without: ${VARIABLES}.`,
      cause: error,
    });
  }
}

async function firstPresent(paths: readonly string[]): Promise<string | null> {
  for (const path of paths) {
    try {
      await access(path);
      return path;
    } catch (error) {
      // A file that is there but closed to us is reported when it is read.
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) return path;
    }
  }
  return null;
}
