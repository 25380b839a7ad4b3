/**
 * Reads a configuration: flags win over environment, over `<name>.conf.d/*.yaml`
 * (last in order of name wins), over the file, over defaults. A key given at one
 * place replaces the whole value from a weaker one; nothing is merged within a key.
 */
import { readdir, readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { parse, YAMLParseError } from "yaml";
import type { z } from "zod";
import { DrayError } from "../errors/dray-error.ts";
import { environmentLayer } from "./environment.ts";
import { describeIssues } from "./issues.ts";

/** Values by key, and the place they come from as messages name it. */
export interface Layer {
  readonly place: string;
  readonly values: Readonly<Record<string, unknown>>;
}

export interface ConfigSources {
  /** The file; null for none. */
  readonly path: string | null;
  /** Whether a missing file is an error. */
  readonly required: boolean;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** By key of the configuration; those that are undefined do not count. */
  readonly flags?: Readonly<Record<string, unknown>>;
}

/** BAD_CONFIG names every wrong key, where it stands and what to do. */
export async function loadConfig<S extends z.ZodObject>(schema: S, sources: ConfigSources): Promise<z.output<S>> {
  const layers = [
    ...(sources.path === null ? [] : await fileLayers(sources.path, sources.required)),
    environmentLayer(schema, sources.env ?? process.env),
    flagLayer(sources.flags ?? {}),
  ];
  return resolveLayers(schema, layers);
}

/** Layers, weakest first, to a configuration. Pure. */
export function resolveLayers<S extends z.ZodObject>(schema: S, layers: readonly Layer[]): z.output<S> {
  const values: Record<string, unknown> = {};
  const places = new Map<string, string>();
  for (const layer of layers) {
    for (const [key, value] of Object.entries(layer.values)) {
      values[key] = value;
      places.set(key, layer.place);
    }
  }
  const parsed = schema.strict().safeParse(values);
  if (parsed.success) return parsed.data as z.output<S>;
  const weakest = layers[0]?.place ?? "configuration";
  throw describeIssues(parsed.error.issues, Object.keys(schema.shape), (key) => places.get(key) ?? weakest);
}

async function fileLayers(path: string, required: boolean): Promise<Layer[]> {
  const text = await readIfPresent(path);
  if (text === null && required) {
    throw new DrayError("BAD_CONFIG", `${path} does not exist`, {
      remedy: "Write it, or name another file with --config.",
    });
  }
  const layers = text === null ? [] : [parseYaml(path, text)];
  const directory = join(dirname(path), `${basename(path).replace(/\.ya?ml$/, "")}.conf.d`);
  for (const name of await yamlFiles(directory)) {
    const file = join(directory, name);
    layers.push(parseYaml(file, (await readIfPresent(file)) ?? ""));
  }
  return layers;
}

/** One file's values. BAD_CONFIG if it is not a YAML mapping. */
export function parseYaml(place: string, text: string): Layer {
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    if (!(error instanceof YAMLParseError)) throw error;
    throw new DrayError("BAD_CONFIG", `${place}: ${error.message.trimEnd()}`, {
      remedy: "Correct the YAML at that line.",
      cause: error,
    });
  }
  if (value === null || value === undefined) return { place, values: {} };
  if (typeof value !== "object" || Array.isArray(value)) {
    throw new DrayError("BAD_CONFIG", `${place}: not a mapping of keys to values`, {
      remedy: "Write `key: value` lines.",
    });
  }
  return { place, values: { ...value } };
}

function flagLayer(flags: Readonly<Record<string, unknown>>): Layer {
  const given = Object.entries(flags).filter(([, value]) => value !== undefined);
  return { place: "command line", values: Object.fromEntries(given) };
}

async function readIfPresent(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isMissing(error)) return null;
    throw new DrayError(
      "BAD_CONFIG",
      `cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`,
      {
        remedy: "Correct the file's owner and mode.",
        cause: error,
      },
    );
  }
}

async function yamlFiles(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).filter((name) => /\.ya?ml$/.test(name)).sort();
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
