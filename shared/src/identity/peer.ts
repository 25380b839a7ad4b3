/**
 * Who a certificate speaks for: one URI name `drayage://<cluster>/<role>/<name>`.
 * Pure; nothing here looks at signatures, which TLS has checked before.
 */
import { DrayError } from "../errors/dray-error.ts";

export const ROLES = ["agent", "coordinator", "operator", "etcd"] as const;
export type Role = (typeof ROLES)[number];

export interface Peer {
  readonly cluster: string;
  readonly role: Role;
  /** Node name of an agent, else the name given when the certificate was issued. */
  readonly name: string;
}

/** What one end demands of the other; any name if none is given. */
export interface ExpectedPeer {
  readonly role: Role;
  readonly name?: string;
}

/** A host-name-like word: Go's certificate parser takes the cluster for a domain and refuses others. */
const CLUSTER = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
const PEER_URI = /^drayage:\/\/([^/]+)\/([^/]+)\/([^/]+)$/;

export function isRole(value: string): value is Role {
  return (ROLES as readonly string[]).includes(value);
}

/** Checks the parts of a peer. BAD_REQUEST names the part that is wrong. */
export function checkPeer(peer: Peer): void {
  checkCluster(peer.cluster);
  if (!isRole(peer.role)) {
    throw new DrayError("BAD_REQUEST", `unknown role ${JSON.stringify(peer.role)}`, {
      remedy: `Use one of: ${ROLES.join(", ")}.`,
    });
  }
  if (!NAME.test(peer.name)) {
    throw new DrayError("BAD_REQUEST", `${JSON.stringify(peer.name)} is not a usable name`, {
      remedy: "Use 1 to 63 letters, digits, dots, hyphens and underscores, with a letter or digit at both ends.",
    });
  }
}

/** BAD_REQUEST if the word cannot name a cluster. */
export function checkCluster(cluster: string): void {
  if (CLUSTER.test(cluster)) return;
  throw new DrayError("BAD_REQUEST", `${JSON.stringify(cluster)} is not a usable cluster name`, {
    remedy: "Use 1 to 63 lower-case letters, digits and hyphens, with a letter or digit at both ends.",
  });
}

export function formatPeerUri(peer: Peer): string {
  checkPeer(peer);
  return `drayage://${peer.cluster}/${peer.role}/${peer.name}`;
}

/** The peer a URI names, or null if it names none. */
export function parsePeerUri(uri: string): Peer | null {
  const match = PEER_URI.exec(uri);
  if (match === null) return null;
  const [, cluster = "", role = "", name = ""] = match;
  if (!CLUSTER.test(cluster) || !isRole(role) || !NAME.test(name)) return null;
  return { cluster, role, name };
}

export interface AlternativeName {
  /** As Node spells it: "DNS", "URI", "IP Address", … */
  readonly type: string;
  readonly value: string;
}

/**
 * Takes apart Node's text form of subject alternative names:
 * `TYPE:value, TYPE:"value as JSON when it holds commas or quotes", …`.
 * A text that does not have that form yields null, never a guess.
 */
export function parseAlternativeNames(text: string): readonly AlternativeName[] | null {
  const entry = /([A-Za-z][A-Za-z0-9 ]*):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y;
  const names: AlternativeName[] = [];
  while (entry.lastIndex < text.length) {
    const match = entry.exec(text);
    if (match === null) return null;
    const [, type = "", raw = ""] = match;
    const value = raw.startsWith('"') ? unquote(raw) : raw;
    if (value === null) return null;
    names.push({ type, value });
  }
  return names;
}

function unquote(json: string): string | null {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "string" ? value : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/**
 * The peer named by a certificate's alternative names.
 * UNAUTHENTICATED if none or more than one drayage:// name is there.
 */
export function peerOfAlternativeNames(text: string | undefined): Peer {
  const names = parseAlternativeNames(text ?? "");
  const uris = (names ?? []).filter((name) => name.type === "URI" && name.value.startsWith("drayage:"));
  const peer = uris.length === 1 && uris[0] !== undefined ? parsePeerUri(uris[0].value) : null;
  if (peer === null) {
    throw new DrayError("UNAUTHENTICATED", "the certificate does not name one member of a Drayage cluster");
  }
  return peer;
}

/** UNAUTHENTICATED for another cluster; PERMISSION_DENIED for another role or name. */
export function demandPeer(peer: Peer, cluster: string, expected: ExpectedPeer): void {
  if (peer.cluster !== cluster) {
    throw new DrayError("UNAUTHENTICATED", `the peer belongs to cluster ${peer.cluster}, not ${cluster}`);
  }
  if (peer.role !== expected.role) {
    throw new DrayError(
      "PERMISSION_DENIED",
      `the peer is ${peer.role} ${peer.name}, not ${withArticle(expected.role)}`,
    );
  }
  if (expected.name !== undefined && peer.name !== expected.name) {
    throw new DrayError("PERMISSION_DENIED", `the peer is ${peer.role} ${peer.name}, not ${expected.name}`, {
      remedy: "Check the address: it leads to another node than the one expected.",
    });
  }
}

function withArticle(role: Role): string {
  return /^[aeiou]/.test(role) ? `an ${role}` : `a ${role}`;
}
