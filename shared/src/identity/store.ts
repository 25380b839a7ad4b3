/** The files of a PKI directory: `ca.crt`, `ca.key`, `<role>.crt`, `<role>.key`. Keys are 0600, and whole or not there. */
import { randomBytes } from "node:crypto";
import { link, mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { DrayError } from "../errors/dray-error.ts";
import { type Authority, makeAuthority } from "./authority.ts";
import type { Identity } from "./identity.ts";
import type { Role } from "./peer.ts";

export interface PkiFiles {
  readonly caCert: string;
  readonly caKey: string;
  readonly cert: (role: Role) => string;
  readonly key: (role: Role) => string;
}

const DIRECTORY_MODE = 0o700;
const CERTIFICATE_MODE = 0o644;
const KEY_MODE = 0o600;

export function pkiFiles(directory: string): PkiFiles {
  return {
    caCert: join(directory, "ca.crt"),
    caKey: join(directory, "ca.key"),
    cert: (role) => join(directory, `${role}.crt`),
    key: (role) => join(directory, `${role}.key`),
  };
}

/** The text of a file, or null if it is not there. */
export async function readIfPresent(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return null;
    throw fileError(`cannot read ${path}`, error);
  }
}

/** The authority kept in a directory. BAD_CONFIG if it is not there or not whole. */
export async function loadAuthority(directory: string): Promise<Authority> {
  const files = pkiFiles(directory);
  const [caPem, caKeyPem] = await Promise.all([readIfPresent(files.caCert), readIfPresent(files.caKey)]);
  if (caPem === null || caKeyPem === null) {
    throw new DrayError("BAD_CONFIG", `${caPem === null ? files.caCert : files.caKey} does not exist`, {
      remedy: "Run this where the CA lives, or make one with `drayage pki init`.",
    });
  }
  return makeAuthority(caPem, caKeyPem);
}

export interface StoreOptions {
  /** Replace what is there; otherwise ALREADY_EXISTS. */
  readonly overwrite: boolean;
}

/** Key first: a certificate without its key would look whole. */
export async function storeAuthority(directory: string, authority: Authority, options: StoreOptions): Promise<void> {
  const files = pkiFiles(directory);
  await makePkiDirectory(directory);
  await writeWhole(files.caKey, authority.caKeyPem, KEY_MODE, options);
  await writeWhole(files.caCert, authority.caPem, CERTIFICATE_MODE, options);
}

/** Stores certificate and key, and the CA's certificate unless the same one is there. */
export async function storeIdentity(directory: string, identity: Identity, options: StoreOptions): Promise<void> {
  const files = pkiFiles(directory);
  await makePkiDirectory(directory);
  if ((await readIfPresent(files.caCert)) !== identity.caPem) {
    await writeWhole(files.caCert, identity.caPem, CERTIFICATE_MODE, options);
  }
  await writeWhole(files.key(identity.role), identity.keyPem, KEY_MODE, options);
  await writeWhole(files.cert(identity.role), identity.certPem, CERTIFICATE_MODE, options);
}

/** Makes the directory if need be, and proves that files can be made in it. */
export async function makePkiDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: DIRECTORY_MODE });
    const trial = temporaryName(join(directory, "trial"));
    await (await open(trial, "wx", KEY_MODE)).close();
    await rm(trial);
  } catch (error) {
    throw fileError(`cannot write into ${directory}`, error);
  }
}

/** Names of the certificates in a directory, in order. */
export async function listCertificates(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).filter((name) => name.endsWith(".crt")).sort();
  } catch (error) {
    throw fileError(`cannot read ${directory}`, error);
  }
}

/** Writes a file that is never seen half written, and survives a power cut. */
async function writeWhole(path: string, text: string, mode: number, options: StoreOptions): Promise<void> {
  const temporary = temporaryName(path);
  try {
    const file = await open(temporary, "wx", mode);
    try {
      // The mode given to open is cut by the umask.
      await file.chmod(mode);
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    if (options.overwrite) await rename(temporary, path);
    else await link(temporary, path);
    await syncDirectory(dirname(path));
  } catch (error) {
    if (hasCode(error, "EEXIST")) throw new DrayError("ALREADY_EXISTS", `${path} is there already`, { cause: error });
    throw fileError(`cannot write ${path}`, error);
  } finally {
    await rm(temporary, { force: true });
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function temporaryName(path: string): string {
  return join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}`);
}

function fileError(what: string, error: unknown): DrayError {
  const cause = error instanceof Error ? error.message : String(error);
  return new DrayError("BAD_CONFIG", `${what}: ${cause}`, {
    remedy: hasCode(error, "EACCES")
      ? "Run this as root."
      : "Check the path, its owner and mode, and the space on its disk.",
    cause: error,
  });
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
