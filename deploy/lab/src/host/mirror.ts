/** Where Debian comes from: the mirror of the host's own apt sources. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { hasCode, LabError } from "../errors.ts";

interface Source {
  readonly uri: string;
  readonly suites: readonly string[];
  readonly components: readonly string[];
}

const DEBIAN_SUITE = /^(bullseye|bookworm|trixie|forky|sid|stable|testing|unstable|oldstable)$/;

/** Sources in the one-line format (`deb [options] uri suite component…`). */
export function parseOneLineSources(text: string): Source[] {
  return text.split("\n").flatMap((line) => {
    const match = /^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+([^#]*)/.exec(line);
    if (match === null) return [];
    const [, uri = "", suite = "", components = ""] = match;
    return [{ uri, suites: [suite], components: components.trim().split(/\s+/) }];
  });
}

/** Sources in the deb822 format (stanzas of `Field: value`). */
export function parseStanzaSources(text: string): Source[] {
  return text.split(/\n\s*\n/).flatMap((stanza) => {
    const fields = new Map<string, string>();
    for (const line of stanza.split("\n")) {
      const match = /^([A-Za-z-]+):\s*(.*)$/.exec(line);
      if (match?.[1] !== undefined) fields.set(match[1].toLowerCase(), match[2] ?? "");
    }
    const words = (field: string) => (fields.get(field) ?? "").split(/\s+/).filter((word) => word !== "");
    if (!words("types").includes("deb") || fields.get("enabled")?.trim() === "no") return [];
    return words("uris").map((uri) => ({ uri, suites: words("suites"), components: words("components") }));
  });
}

/** The first source that is Debian itself: a suite of Debian's, with main, not security. */
export function chooseMirror(sources: readonly Source[]): string | undefined {
  return sources.find(
    ({ uri, suites, components }) =>
      suites.some((suite) => DEBIAN_SUITE.test(suite)) && components.includes("main") && !/security/.test(uri),
  )?.uri;
}

export async function findMirror(): Promise<string> {
  const chosen = process.env["DRAYAGE_LAB_MIRROR"] ?? chooseMirror(await readSources("/etc/apt"));
  if (chosen !== undefined) return chosen;
  throw new LabError("precondition", "no Debian mirror in /etc/apt/sources.list or /etc/apt/sources.list.d", {
    remedy: "set DRAYAGE_LAB_MIRROR to the address of one",
  });
}

async function readSources(directory: string): Promise<Source[]> {
  const parts = await list(join(directory, "sources.list.d"));
  const files = [join(directory, "sources.list"), ...parts.map((name) => join(directory, "sources.list.d", name))];
  const sources: Source[] = [];
  for (const file of files) {
    const text = await readFile(file, "utf8").catch((error: unknown) => {
      if (hasCode(error, "ENOENT", "EISDIR")) return "";
      throw error;
    });
    if (file.endsWith(".list")) sources.push(...parseOneLineSources(text));
    if (file.endsWith(".sources")) sources.push(...parseStanzaSources(text));
  }
  return sources;
}

async function list(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort();
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
}
