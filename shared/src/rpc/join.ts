/**
 * Joining a cluster with a token: the newcomer knows the CA by the fingerprint
 * in the token, so it says the secret to nobody but a coordinator of that CA.
 */
import { X509Certificate } from "node:crypto";
import { createSecureContext, connect as tlsConnect, type DetailedPeerCertificate } from "node:tls";
import { credentials } from "@grpc/grpc-js";
import { splitAddress } from "../config/address.ts";
import { DrayError } from "../errors/dray-error.ts";
import { JoinServiceClient, type JoinResponse } from "../gen/drayage/coordinator/v1/join.ts";
import { clusterOfAuthority } from "../identity/authority.ts";
import { identityCheck } from "../identity/identity.ts";
import type { JoinToken } from "../identity/token.ts";
import { unary } from "./client.ts";

export interface JoinOptions {
  /** "host:port" of a coordinator. */
  readonly address: string;
  readonly token: JoinToken;
  readonly csrPem: string;
  readonly signal?: AbortSignal;
}

const FETCH_TIMEOUT_MS = 5_000;
const JOIN_DEADLINE_MS = 15_000;

/** NO_LEADER if nobody answers; UNAUTHENTICATED for another CA; BAD_TOKEN. */
export async function requestJoin(options: JoinOptions): Promise<JoinResponse> {
  const caPem = await fetchAuthority(options);
  const check = identityCheck({ cluster: clusterOfAuthority(caPem) }, { role: "coordinator" });
  const channelCredentials = credentials.createFromSecureContext(
    createSecureContext({ ca: caPem, minVersion: "TLSv1.3" }),
    {
      checkServerIdentity: check,
    },
  );
  const client = new JoinServiceClient(options.address, channelCredentials, {
    "grpc.ssl_target_name_override": "coordinator.drayage",
    "grpc.enable_retries": 0,
    "grpc.enable_http_proxy": 0,
  });
  try {
    const request = { secret: options.token.secret, csrPem: options.csrPem };
    const response = await unary(client, client.join, request, {
      deadlineMs: JOIN_DEADLINE_MS,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    return { certificatePem: response.certificatePem, caPem };
  } finally {
    client.close();
  }
}

/** The CA certificate that the coordinator shows, if it is the token's. Nothing is told on this connection. */
function fetchAuthority(options: JoinOptions): Promise<string> {
  const { host, port } = splitAddress(options.address);
  const timeout = AbortSignal.timeout(FETCH_TIMEOUT_MS);
  const ends = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
  return new Promise((resolve, reject) => {
    // Nothing to verify by yet: the fingerprint below is the verification.
    const socket = tlsConnect({ host, port, rejectUnauthorized: false, minVersion: "TLSv1.3", ALPNProtocols: ["h2"] });
    const settle = (finish: () => void) => {
      ends.removeEventListener("abort", giveUp);
      socket.destroy();
      finish();
    };
    const giveUp = () => settle(() => reject(unreachable(options.address, "no answer in time")));
    ends.addEventListener("abort", giveUp, { once: true });
    socket.once("error", (error) => settle(() => reject(unreachable(options.address, error.message, error))));
    socket.once("secureConnect", () => {
      const authority = pinnedAuthority(socket.getPeerCertificate(true), options.token.fingerprint);
      settle(() => {
        if (authority !== null) return resolve(authority);
        reject(
          new DrayError("UNAUTHENTICATED", `${options.address} does not belong to the cluster that the token is for`, {
            remedy: "Check the address; the token was not sent. If it is right, somebody else answers there.",
          }),
        );
      });
    });
  });
}

/** The certificate in the chain that has the fingerprint, PEM. */
function pinnedAuthority(leaf: DetailedPeerCertificate, fingerprint: Buffer): string | null {
  const seen = new Set<DetailedPeerCertificate>();
  for (
    let link: DetailedPeerCertificate | undefined = leaf;
    link?.raw !== undefined && !seen.has(link);
    link = link.issuerCertificate
  ) {
    seen.add(link);
    const certificate = new X509Certificate(link.raw);
    if (Buffer.from(certificate.fingerprint256.replaceAll(":", ""), "hex").equals(fingerprint))
      return certificate.toString();
  }
  return null;
}

function unreachable(address: string, message: string, cause?: unknown): DrayError {
  return new DrayError("NO_LEADER", `cannot reach a coordinator at ${address}: ${message}`, { cause });
}
