/** The cluster's certificate authority: makes, signs and reads certificates. ECDSA P-256 throughout. */
import "reflect-metadata";
import { createHash, createPrivateKey, X509Certificate, webcrypto } from "node:crypto";
import { isIP } from "node:net";
import * as x509 from "@peculiar/x509";
import { DrayError } from "../errors/dray-error.ts";
import { makeIdentity, type Identity } from "./identity.ts";
import { checkCluster, formatPeerUri, parseAlternativeNames, type Peer } from "./peer.ts";

export interface Authority {
  readonly cluster: string;
  readonly caPem: string;
  readonly caKeyPem: string;
}

export interface IssueOptions {
  /** DNS names and IP addresses besides the drayage:// name. */
  readonly alternativeNames?: readonly string[];
  /** 825 days if not given. */
  readonly validMs?: number;
  /** Start and end are counted from here; now if not given. */
  readonly nowMs?: number;
}

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;
const AUTHORITY_VALID_MS = 3_650 * DAY_MS;
const CERTIFICATE_VALID_MS = 825 * DAY_MS;
/** Certificates begin in the past, for hosts whose clocks are behind. */
const CLOCK_SKEW_MS = 10 * 60_000;
const DNS_NAME =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$/;

x509.cryptoProvider.set(webcrypto);

/** A new CA for a cluster. BAD_REQUEST for a bad name. */
export async function createAuthority(cluster: string, nowMs = Date.now()): Promise<Authority> {
  checkCluster(cluster);
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: `CN=Drayage CA of ${cluster}`,
    notBefore: new Date(nowMs - CLOCK_SKEW_MS),
    notAfter: new Date(nowMs + AUTHORITY_VALID_MS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      new x509.SubjectAlternativeNameExtension([{ type: "url", value: authorityUri(cluster) }]),
    ],
  });
  return { cluster, caPem: pem(certificate), caKeyPem: await privateKeyPem(keys.privateKey) };
}

/** Puts an authority together from its files' contents. BAD_CONFIG if they do not fit. */
export function makeAuthority(caPem: string, caKeyPem: string): Authority {
  let fits = false;
  try {
    fits = new X509Certificate(caPem).checkPrivateKey(createPrivateKey(caKeyPem));
  } catch (error) {
    throw new DrayError("BAD_CONFIG", "ca.crt or ca.key cannot be read as PEM", {
      remedy: "Restore both files from a backup.",
      cause: error,
    });
  }
  if (!fits)
    throw new DrayError("BAD_CONFIG", "ca.key does not belong to ca.crt", {
      remedy: "Restore both files from a backup.",
    });
  return { cluster: clusterOfAuthority(caPem), caPem, caKeyPem };
}

/** The cluster that a CA certificate was made for. BAD_CONFIG if it is no Drayage CA. */
export function clusterOfAuthority(caPem: string): string {
  const names = parseAlternativeNames(new X509Certificate(caPem).subjectAltName ?? "") ?? [];
  const uri = names.find((name) => name.type === "URI")?.value ?? "";
  const cluster = /^drayage:\/\/([^/]+)$/.exec(uri)?.[1];
  if (cluster === undefined) {
    throw new DrayError("BAD_CONFIG", "ca.crt is not the CA of a Drayage cluster", {
      remedy: "Make one with `drayage pki init`.",
    });
  }
  return cluster;
}

/** A new key and certificate for a member. BAD_REQUEST for bad names. */
export async function issueIdentity(
  authority: Authority,
  peer: Omit<Peer, "cluster">,
  options: IssueOptions = {},
): Promise<Identity> {
  const keys = await generateKeys();
  const certPem = await issue(authority, { ...peer, cluster: authority.cluster }, keys.publicKey, options);
  const keyPem = await privateKeyPem(keys.privateKey);
  return { ...peer, cluster: authority.cluster, caPem: authority.caPem, certPem, keyPem };
}

export interface SigningRequest {
  /** PKCS#10, PEM. */
  readonly csrPem: string;
  readonly keyPem: string;
}

/** A key made here, and the request that goes to the authority. The authority alone decides on names. */
export async function createRequest(): Promise<SigningRequest> {
  const keys = await generateKeys();
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: "CN=drayage",
    keys,
    signingAlgorithm: ALGORITHM,
  });
  return { csrPem: `${request.toString("pem")}\n`, keyPem: await privateKeyPem(keys.privateKey) };
}

/**
 * Signs a request for a peer; of the request only the public key is used, after
 * its own signature has proven that the sender has the private one.
 * BAD_REQUEST for a request that is no such thing; BAD_REQUEST for a peer of another cluster.
 */
export async function signRequest(
  authority: Authority,
  csrPem: string,
  peer: Peer,
  options: IssueOptions = {},
): Promise<string> {
  if (peer.cluster !== authority.cluster) {
    throw new DrayError("BAD_REQUEST", `this CA signs for cluster ${authority.cluster}, not ${peer.cluster}`);
  }
  const publicKey = await provenKey(csrPem);
  return issue(authority, peer, publicKey, options);
}

async function provenKey(csrPem: string): Promise<x509.PublicKey> {
  const refusal = (cause?: unknown) =>
    new DrayError("BAD_REQUEST", "not a certificate request with an ECDSA P-256 key", { cause });
  let request: x509.Pkcs10CertificateRequest;
  let proven: boolean;
  try {
    request = new x509.Pkcs10CertificateRequest(csrPem);
    proven = isP256(request.publicKey.algorithm) && (await request.verify());
  } catch (error) {
    throw refusal(error);
  }
  if (!proven) throw refusal();
  return request.publicKey;
}

function isP256(algorithm: webcrypto.Algorithm): boolean {
  return algorithm.name === "ECDSA" && "namedCurve" in algorithm && algorithm.namedCurve === "P-256";
}

/** SHA-256 of the CA certificate (DER), as tokens carry it to pin the CA. */
export function fingerprintOf(caPem: string): Buffer {
  return createHash("sha256").update(new X509Certificate(caPem).raw).digest();
}

/** Reads an identity that has just been issued, with all checks. */
export function joinIdentity(caPem: string, certPem: string, keyPem: string, role: Peer["role"]): Identity {
  return makeIdentity({ caPem, certPem, keyPem }, "the answer", role);
}

async function issue(
  authority: Authority,
  peer: Peer,
  publicKey: webcrypto.CryptoKey | x509.PublicKey,
  options: IssueOptions,
): Promise<string> {
  const uri = formatPeerUri(peer);
  const nowMs = options.nowMs ?? Date.now();
  const ca = new x509.X509Certificate(authority.caPem);
  const notAfterMs = Math.min(nowMs + (options.validMs ?? CERTIFICATE_VALID_MS), ca.notAfter.getTime());
  const names: x509.JsonGeneralNames = [
    { type: "url", value: uri },
    ...(options.alternativeNames ?? []).map(alternativeName),
  ];
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: `CN=${peer.name}, OU=${peer.role}, O=${peer.cluster}`,
    issuer: ca.subject,
    notBefore: new Date(nowMs - CLOCK_SKEW_MS),
    notAfter: new Date(notAfterMs),
    signingAlgorithm: ALGORITHM,
    publicKey,
    signingKey: await importPrivateKey(authority.caKeyPem),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      new x509.SubjectAlternativeNameExtension(names),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(ca),
    ],
  });
  return pem(certificate);
}

function alternativeName(name: string): { type: "ip" | "dns"; value: string } {
  if (isIP(name) !== 0) return { type: "ip", value: name };
  if (DNS_NAME.test(name) && name.length <= 253) return { type: "dns", value: name };
  throw new DrayError("BAD_REQUEST", `${JSON.stringify(name)} is neither an IP address nor a host name`);
}

function authorityUri(cluster: string): string {
  return `drayage://${cluster}`;
}

/** 16 random bytes, positive and without leading zeros, as DER wants them. */
function serialNumber(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return Buffer.from(bytes).toString("hex");
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
}

async function privateKeyPem(key: webcrypto.CryptoKey): Promise<string> {
  const der = await webcrypto.subtle.exportKey("pkcs8", key);
  return `${x509.PemConverter.encode(der, "PRIVATE KEY")}\n`;
}

async function importPrivateKey(keyPem: string): Promise<webcrypto.CryptoKey> {
  const der = createPrivateKey(keyPem).export({ type: "pkcs8", format: "der" });
  return await webcrypto.subtle.importKey("pkcs8", der, ALGORITHM, false, ["sign"]);
}

function pem(certificate: x509.X509Certificate): string {
  return `${certificate.toString("pem")}\n`;
}
