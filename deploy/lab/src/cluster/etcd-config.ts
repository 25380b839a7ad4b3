/** Configuration of one etcd member: mutual TLS between members and with every client. */
import type { AddressPlan, NodePlan } from "../address/plan.ts";
import { ETCD_CLIENT_PORT, ETCD_PEER_PORT, memberNodes } from "./members.ts";

export const ETCD_PKI_DIRECTORY = "/etc/etcd/pki";
export const ETCD_ENVIRONMENT_FILE = "/etc/default/etcd";
export const ETCD_DROP_IN_FILE = "/etc/systemd/system/etcd.service.d/lab.conf";

/**
 * A member that waits for the others has booted all the same, and tries again
 * as long as it takes: nodes come and go in a lab.
 */
export const ETCD_DROP_IN = "[Unit]\nStartLimitIntervalSec=0\n\n[Service]\nType=exec\nRestart=always\nRestartSec=1\n";

/** Nodes share two or three processors with everything else: the defaults (100, 1000) would call elections. */
const HEARTBEAT_MS = 250;
const ELECTION_MS = 2500;

export function etcdEnvironment(plan: AddressPlan, node: NodePlan, cluster: string): string {
  const peerUrl = ({ ipv4 }: NodePlan) => `https://${ipv4}:${ETCD_PEER_PORT}`;
  const clientUrl = `https://${node.ipv4}:${ETCD_CLIENT_PORT}`;
  const values: Readonly<Record<string, string>> = {
    NAME: node.name,
    DATA_DIR: "/var/lib/etcd/drayage",
    LISTEN_PEER_URLS: peerUrl(node),
    LISTEN_CLIENT_URLS: `${clientUrl},https://127.0.0.1:${ETCD_CLIENT_PORT}`,
    INITIAL_ADVERTISE_PEER_URLS: peerUrl(node),
    ADVERTISE_CLIENT_URLS: clientUrl,
    INITIAL_CLUSTER: memberNodes(plan)
      .map((member) => `${member.name}=${peerUrl(member)}`)
      .join(","),
    INITIAL_CLUSTER_STATE: "new",
    INITIAL_CLUSTER_TOKEN: cluster,
    CERT_FILE: `${ETCD_PKI_DIRECTORY}/etcd.crt`,
    KEY_FILE: `${ETCD_PKI_DIRECTORY}/etcd.key`,
    TRUSTED_CA_FILE: `${ETCD_PKI_DIRECTORY}/ca.crt`,
    CLIENT_CERT_AUTH: "true",
    PEER_CERT_FILE: `${ETCD_PKI_DIRECTORY}/etcd.crt`,
    PEER_KEY_FILE: `${ETCD_PKI_DIRECTORY}/etcd.key`,
    PEER_TRUSTED_CA_FILE: `${ETCD_PKI_DIRECTORY}/ca.crt`,
    PEER_CLIENT_CERT_AUTH: "true",
    HEARTBEAT_INTERVAL: String(HEARTBEAT_MS),
    ELECTION_TIMEOUT: String(ELECTION_MS),
  };
  return Object.entries(values)
    .map(([name, value]) => `ETCD_${name}=${value}\n`)
    .join("");
}
