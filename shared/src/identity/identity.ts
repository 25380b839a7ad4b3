/**
 * A member's own identity, and mutual TLS by role and name instead of host name:
 * agents move between addresses, their certificates do not.
 */
import { X509Certificate, createPrivateKey, type KeyObject } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ConnectionOptions, PeerCertificate, TLSSocket, TlsOptions } from "node:tls";
import { DrayError } from "../errors/dray-error.ts";
import { demandPeer, peerOfAlternativeNames, type ExpectedPeer, type Peer, type Role } from "./peer.ts";

export type { ExpectedPeer, Peer, Role } from "./peer.ts";

export interface Identity extends Peer {
  readonly caPem: string;
  readonly certPem: string;
  readonly keyPem: string;
}

const GROUP_READABLE = 0o040;
const WORLD_READABLE = 0o004;
const ROOT_GROUP = 0;

/**
 * Reads ca.crt, <role>.crt and <role>.key and checks that they belong together.
 * BAD_CONFIG for files that are missing, unreadable or do not fit.
 */
export async function loadIdentity(pkiDirectory: string, role: Role): Promise<Identity> {
  const path = (file: string) => join(pkiDirectory, file);
  const [caPem, certPem, keyPem] = await Promise.all([
    readPem(path("ca.crt")),
    readPem(path(`${role}.crt`)),
    readPem(path(`${role}.key`)),
  ]);
  await demandPrivate(path(`${role}.key`));
  return makeIdentity({ caPem, certPem, keyPem }, pkiDirectory, role);
}

/** Puts an identity together from its parts; `where` names their place in messages. BAD_CONFIG if they do not fit. */
export function makeIdentity(
  pems: { readonly caPem: string; readonly certPem: string; readonly keyPem: string },
  where: string,
  role: Role,
): Identity {
  const ca = parse(() => new X509Certificate(pems.caPem), `${where}: ca.crt is no certificate`);
  const cert = parse(() => new X509Certificate(pems.certPem), `${where}: ${role}.crt is no certificate`);
  const key: KeyObject = parse(() => createPrivateKey(pems.keyPem), `${where}: ${role}.key is no private key`);
  const peer = peerOfAlternativeNames(cert.subjectAltName);
  const misfit = (message: string) =>
    new DrayError("BAD_CONFIG", `${where}: ${message}`, {
      remedy: "Issue the certificate again: `drayage pki issue` or `drayage join`.",
    });
  if (peer.role !== role) throw misfit(`${role}.crt is a certificate for ${peer.role} ${peer.name}`);
  if (!cert.checkPrivateKey(key)) throw misfit(`${role}.key does not belong to ${role}.crt`);
  if (!cert.verify(ca.publicKey)) throw misfit(`${role}.crt is not signed by ca.crt`);
  if (cert.validToDate.getTime() <= Date.now())
    throw misfit(`${role}.crt expired on ${cert.validToDate.toISOString()}`);
  return { ...peer, ...pems };
}

/** When the identity's certificate expires, milliseconds since the epoch. */
export function expiresAtMs(identity: Identity): number {
  return new X509Certificate(identity.certPem).validToDate.getTime();
}

/** Options for tls.connect: mutual TLS, and the peer must be who is expected. The socket's error is a DrayError. */
export function tlsClientOptions(identity: Identity, expected: ExpectedPeer): ConnectionOptions {
  return {
    ca: identity.caPem,
    cert: identity.certPem,
    key: identity.keyPem,
    minVersion: "TLSv1.3",
    rejectUnauthorized: true,
    checkServerIdentity: identityCheck(identity, expected),
  };
}

/** Replaces Node's check of host names by the one of cluster, role and name. */
export function identityCheck(
  identity: { readonly cluster: string },
  expected: ExpectedPeer,
): (host: string, certificate: PeerCertificate) => Error | undefined {
  return (_host, certificate) => {
    try {
      demandPeer(peerOfAlternativeNames(certificate.subjectaltname), identity.cluster, expected);
      return undefined;
    } catch (error) {
      return error instanceof Error ? error : new DrayError("INTERNAL", String(error));
    }
  };
}

/** Options for tls.createServer: a client without a certificate of the cluster's CA does not get in. */
export function tlsServerOptions(identity: Identity): TlsOptions {
  return {
    ca: identity.caPem,
    cert: identity.certPem,
    key: identity.keyPem,
    minVersion: "TLSv1.3",
    requestCert: true,
    rejectUnauthorized: true,
  };
}

/** Who is at the other end of an established connection. UNAUTHENTICATED unless a member of the same cluster. */
export function peerOf(socket: TLSSocket): Peer {
  const certificate = socket.getPeerX509Certificate();
  if (!socket.authorized || certificate === undefined) {
    throw new DrayError("UNAUTHENTICATED", "the peer has shown no certificate of this cluster");
  }
  const own = socket.getX509Certificate();
  if (own === undefined) throw new DrayError("UNAUTHENTICATED", "this end has no certificate of its own");
  const peer = peerOfAlternativeNames(certificate.subjectAltName);
  demandPeer(peer, peerOfAlternativeNames(own.subjectAltName).cluster, { role: peer.role });
  return peer;
}

/** What its group may read is private if that is root's: nobody is in it who could not read the file anyway. */
async function demandPrivate(keyPath: string): Promise<void> {
  const { mode, gid } = await stat(keyPath);
  const readers =
    (mode & WORLD_READABLE) !== 0
      ? "everybody"
      : (mode & GROUP_READABLE) !== 0 && gid !== ROOT_GROUP
        ? `its group (${gid})`
        : undefined;
  if (readers === undefined) return;
  throw new DrayError("BAD_CONFIG", `${keyPath} can be read by ${readers}`, {
    remedy: `Take that right away: chmod 0600 ${keyPath}`,
  });
}

async function readPem(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new DrayError(
      "BAD_CONFIG",
      `cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`,
      {
        remedy: "Make the files of the PKI with `drayage pki issue` or `drayage join`, or correct pkiDirectory.",
        cause: error,
      },
    );
  }
}

function parse<T>(read: () => T, message: string): T {
  try {
    return read();
  } catch (error) {
    throw new DrayError("BAD_CONFIG", message, { remedy: "Restore the file, or issue it again.", cause: error });
  }
}
