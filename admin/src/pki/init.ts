/** `drayage pki init`: the cluster's CA. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { createAuthority } from "@drayage/shared/identity/authority.ts";
import { loadAuthority, pkiFiles, readIfPresent, storeAuthority } from "@drayage/shared/identity/store.ts";
import { summarize } from "@drayage/shared/identity/summary.ts";

export interface InitOptions {
  readonly cluster: string;
  readonly dir: string;
  readonly force: boolean;
}

/** Returns what to tell the operator. ALREADY_EXISTS if the CA of another cluster is there, or half a CA. */
export async function initAuthority(options: InitOptions): Promise<string> {
  const files = pkiFiles(options.dir);
  if (!options.force && ((await readIfPresent(files.caCert)) ?? (await readIfPresent(files.caKey))) !== null) {
    const present = await loadAuthority(options.dir);
    if (present.cluster === options.cluster) return `the CA of ${options.cluster} is there already: ${files.caCert}`;
    throw new DrayError("ALREADY_EXISTS", `${files.caCert} is the CA of cluster ${present.cluster}`, {
      remedy:
        "Name another directory with --dir; --force replaces the CA, and all its certificates are worthless then.",
    });
  }
  const authority = await createAuthority(options.cluster);
  await storeAuthority(options.dir, authority, { overwrite: options.force });
  return `made the CA of ${options.cluster}: ${files.caCert}, SHA-256 ${summarize(authority.caPem).fingerprint}`;
}
