/** `drayage pki issue`: key and certificate of one member, where the CA lives. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { type Authority, issueIdentity } from "@drayage/shared/identity/authority.ts";
import { makeIdentity } from "@drayage/shared/identity/identity.ts";
import type { Role } from "@drayage/shared/identity/peer.ts";
import { loadAuthority, pkiFiles, readIfPresent, storeIdentity } from "@drayage/shared/identity/store.ts";
import { summarize } from "@drayage/shared/identity/summary.ts";

export interface IssueOptions {
  readonly role: Role;
  readonly name: string;
  readonly san: readonly string[];
  readonly days: number;
  readonly dir: string;
  /** Where the files go; `dir` if not given. */
  readonly out?: string;
  readonly force: boolean;
}

const DAY_MS = 86_400_000;
/** A certificate with less than a third of its time left is renewed by issuing it again. */
const RENEWAL_SHARE = 1 / 3;

/** Returns what to tell the operator. ALREADY_EXISTS if a different certificate is there. */
export async function issueCertificate(options: IssueOptions): Promise<string> {
  const authority = await loadAuthority(options.dir);
  const out = options.out ?? options.dir;
  const file = pkiFiles(out).cert(options.role);
  const found = options.force ? "none" : await presentCertificate(out, authority, options);
  if (found === "same") return `${file} is there already, for ${options.role} ${options.name}`;
  const identity = await issueIdentity(
    authority,
    { role: options.role, name: options.name },
    {
      alternativeNames: options.san,
      validMs: options.days * DAY_MS,
    },
  );
  await storeIdentity(out, identity, { overwrite: options.force || found === "renewable" });
  const expires = new Date(summarize(identity.certPem).expiresAtMs).toISOString().slice(0, 10);
  return `${found === "renewable" ? "renewed" : "issued"} ${file} for ${options.role} ${options.name}, good until ${expires}`;
}

type Present = "none" | "same" | "renewable";

async function presentCertificate(out: string, authority: Authority, options: IssueOptions): Promise<Present> {
  const files = pkiFiles(out);
  const [caPem, certPem, keyPem] = await Promise.all(
    [files.caCert, files.cert(options.role), files.key(options.role)].map(readIfPresent),
  );
  if (typeof caPem === "string" && caPem !== authority.caPem) {
    throw new DrayError("ALREADY_EXISTS", `${files.caCert} is another CA than ${pkiFiles(options.dir).caCert}`);
  }
  if (typeof certPem !== "string" && typeof keyPem !== "string") return "none";
  if (typeof certPem !== "string" || typeof keyPem !== "string") {
    throw new DrayError("ALREADY_EXISTS", `${out} holds only one half of certificate and key of role ${options.role}`);
  }
  const summary = summarize(certPem);
  const sameNames = summary.alternativeNames.join() === [...new Set(options.san)].sort().join();
  if (summary.peer?.name !== options.name || summary.peer.cluster !== authority.cluster || !sameNames) {
    throw new DrayError("ALREADY_EXISTS", `${files.cert(options.role)} is for other names than those asked for`);
  }
  if (summary.expiresAtMs - Date.now() < options.days * DAY_MS * RENEWAL_SHARE) return "renewable";
  makeIdentity({ caPem: authority.caPem, certPem, keyPem }, out, options.role);
  return "same";
}
