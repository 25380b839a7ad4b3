/** `drayage pki show`: the certificates of a directory. */
import { join } from "node:path";
import { clusterOfAuthority } from "@drayage/shared/identity/authority.ts";
import { listCertificates, readIfPresent } from "@drayage/shared/identity/store.ts";
import { type CertificateSummary, isSignedBy, summarize } from "@drayage/shared/identity/summary.ts";

export interface CertificateRow {
  readonly file: string;
  readonly role: string;
  readonly name: string;
  readonly cluster: string;
  readonly expires: string;
  readonly daysLeft: number;
  readonly alternativeNames: readonly string[];
  /** ok, or what is wrong. */
  readonly standing: string;
  readonly fingerprint: string;
}

const DAY_MS = 86_400_000;
const SOON_DAYS = 14;

/** One row a certificate; a file that is none has its trouble in `standing`. */
export async function readCertificates(directory: string, nowMs = Date.now()): Promise<CertificateRow[]> {
  const caPem = await readIfPresent(join(directory, "ca.crt"));
  const rows: CertificateRow[] = [];
  for (const file of await listCertificates(directory)) {
    const pem = (await readIfPresent(join(directory, file))) ?? "";
    rows.push(rowOf(file, pem, caPem, nowMs));
  }
  return rows;
}

function rowOf(file: string, pem: string, caPem: string | null, nowMs: number): CertificateRow {
  let summary: CertificateSummary;
  try {
    summary = summarize(pem);
  } catch (error) {
    const standing = `not a certificate: ${error instanceof Error ? error.message : String(error)}`;
    return {
      file,
      role: "",
      name: "",
      cluster: "",
      expires: "",
      daysLeft: 0,
      alternativeNames: [],
      standing,
      fingerprint: "",
    };
  }
  const daysLeft = Math.floor((summary.expiresAtMs - nowMs) / DAY_MS);
  return {
    file,
    role: summary.isAuthority ? "ca" : (summary.peer?.role ?? ""),
    name: summary.peer?.name ?? "",
    cluster: summary.isAuthority ? authorityCluster(pem) : (summary.peer?.cluster ?? ""),
    expires: new Date(summary.expiresAtMs).toISOString().slice(0, 10),
    daysLeft,
    alternativeNames: summary.alternativeNames,
    standing: standingOf(summary, pem, caPem, daysLeft),
    fingerprint: summary.fingerprint,
  };
}

function standingOf(summary: CertificateSummary, pem: string, caPem: string | null, daysLeft: number): string {
  if (daysLeft < 0) return "expired";
  if (!summary.isAuthority && summary.peer === null) return "not of Drayage";
  if (caPem === null) return "no ca.crt beside it";
  if (!isSignedBy(pem, caPem)) return "not signed by ca.crt";
  return daysLeft < SOON_DAYS ? "expires soon" : "ok";
}

function authorityCluster(pem: string): string {
  try {
    return clusterOfAuthority(pem);
  } catch {
    return ""; // A CA of somebody else; its standing shows that.
  }
}

/** The rows as aligned columns. */
export function formatTable(rows: readonly CertificateRow[]): string {
  const cells = [
    ["FILE", "CLUSTER", "ROLE", "NAME", "EXPIRES", "DAYS LEFT", "STANDING", "OTHER NAMES"],
    ...rows.map((row) => [
      row.file,
      row.cluster,
      row.role,
      row.name,
      row.expires,
      String(row.daysLeft),
      row.standing,
      row.alternativeNames.join(","),
    ]),
  ];
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((line) => line[column]?.length ?? 0)));
  return cells
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
