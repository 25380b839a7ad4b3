/**
 * The certificates of a lab's cluster. The CA is made on the first node with
 * the product's own tool; from there each member gets what is its own.
 */
import { mkdir } from "node:fs/promises";
import { run } from "../host/run.ts";
import type { NodePlan } from "../address/plan.ts";
import type { Lab } from "../lab/lab.ts";
import { runInNode } from "../lab/node-files.ts";
import { PKI_DIRECTORY } from "./drayage-config.ts";
import { ETCD_PKI_DIRECTORY } from "./etcd-config.ts";
import { firstNode, memberNodes } from "./members.ts";

/** Where the first node keeps what it has issued. */
const ISSUED_DIRECTORY = "/etc/lab/pki";
const OPERATOR_NAME = "lab";

/** One `drayage pki` after the other, in one shell; what is there already is kept. */
const ISSUE = `set -eu
umask 077
cluster=$1 out=$2; shift 2
[ -e /etc/drayage/pki/ca.key ] || drayage pki init --cluster "$cluster"
while [ $# -gt 0 ]; do
  [ -e "$out/$4/$1.key" ] || drayage pki issue --role "$1" --name "$2" --san "$3" --out "$out/$4"
  shift 4
done
`;

export interface Certificate {
  readonly role: "etcd" | "coordinator" | "operator";
  readonly name: string;
  readonly san: readonly string[];
  /** Below ISSUED_DIRECTORY. */
  readonly directory: string;
}

export function certificatesToIssue(lab: Pick<Lab, "plan">): Certificate[] {
  const members = memberNodes(lab.plan).flatMap(({ name, ipv4 }): Certificate[] => {
    const san = [ipv4, "127.0.0.1", name, "localhost"];
    return [
      { role: "etcd", name, san, directory: `${name}/etcd` },
      { role: "coordinator", name, san, directory: `${name}/coordinator` },
    ];
  });
  return [...members, { role: "operator", name: OPERATOR_NAME, san: [], directory: "operator" }];
}

/** Makes the CA and every certificate that is not got by joining. */
export async function issueCertificates(lab: Lab, cluster: string, signal?: AbortSignal): Promise<void> {
  const args = certificatesToIssue(lab).flatMap(({ role, name, san, directory }) => [
    role,
    name,
    san.join(","),
    directory,
  ]);
  const argv = ["/bin/sh", "-c", ISSUE, "sh", cluster, ISSUED_DIRECTORY, ...args];
  await runInNode(lab, firstNode(lab.plan).name, argv, { signal });
}

const UNPACK =
  'set -eu\nmkdir -p "$1"\numask 077\ntar --extract --no-same-owner --directory "$1"\n[ "$2" = root ] || chown -R "$2" "$1"\n';

/** Fetches one issued directory from the first node and hands it to `unpack` as a tar archive. */
async function fetchIssued(
  lab: Lab,
  directory: string,
  unpack: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  const pack = ["tar", "--create", "--directory", `${ISSUED_DIRECTORY}/${directory}`, "."];
  const source = await lab.driver.command(firstNode(lab.plan).name, pack);
  await pipe(source, unpack, signal);
}

async function pipe(
  source: readonly string[],
  target: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  // pipefail: a source that fails is no empty archive.
  const script = 'set -euo pipefail; count=$1; shift; "${@:1:count}" | "${@:count+1}"';
  await run(["/bin/bash", "-c", script, "bash", String(source.length), ...source, ...target], { signal });
}

/** Gives a member node its etcd and coordinator certificates, and the CA's key, with which coordinators admit nodes. */
export async function deliverMemberCertificates(lab: Lab, { name }: NodePlan, signal?: AbortSignal): Promise<void> {
  const into = (directory: string, owner: string) =>
    lab.driver.command(name, ["/bin/sh", "-c", UNPACK, "sh", directory, owner]);
  await fetchIssued(lab, `${name}/etcd`, await into(ETCD_PKI_DIRECTORY, "etcd:"), signal);
  await fetchIssued(lab, `${name}/coordinator`, await into(PKI_DIRECTORY, "root"), signal);
  const first = firstNode(lab.plan).name;
  if (name === first) return;
  const authority = ["tar", "--create", "--directory", PKI_DIRECTORY, "ca.key"];
  await pipe(await lab.driver.command(first, authority), await into(PKI_DIRECTORY, "root"), signal);
}

/** Puts the operator's certificate into a directory of the host. */
export async function deliverOperatorToHost(lab: Lab, directory: string, signal?: AbortSignal): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await fetchIssued(lab, "operator", ["tar", "--extract", "--no-same-owner", "--directory", directory], signal);
}

/** Puts the operator's certificate on the first node, where the lab asks for join tokens. */
export async function deliverOperatorToFirstNode(lab: Lab, signal?: AbortSignal): Promise<void> {
  const unpack = ["/bin/sh", "-c", UNPACK, "sh", PKI_DIRECTORY, "root"];
  await fetchIssued(lab, "operator", await lab.driver.command(firstNode(lab.plan).name, unpack), signal);
}
