/** JoinService: one-time tokens, and certificates for those who show one. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import type { EtcdPort } from "@drayage/shared/etcd/etcd-port.ts";
import { JoinServiceClient, JoinServiceService } from "@drayage/shared/gen/drayage/coordinator/v1/join.ts";
import { type Authority, fingerprintOf, signRequest } from "@drayage/shared/identity/authority.ts";
import type { Identity } from "@drayage/shared/identity/identity.ts";
import { formatPeerUri } from "@drayage/shared/identity/peer.ts";
import { makeSecret, makeToken } from "@drayage/shared/identity/token.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import { connect, unary } from "@drayage/shared/rpc/client.ts";
import { type RpcService, service } from "@drayage/shared/rpc/server.ts";
import type { Candidate } from "../election/candidate.ts";
import { peekToken, storeToken } from "../join/join-token.ts";

export interface JoinServiceOptions {
  readonly etcd: EtcdPort;
  readonly identity: Identity;
  /** Null unless this coordinator's PKI directory has ca.key. */
  readonly authority: Authority | null;
  /** Coordinators that can sign. */
  readonly signers: () => readonly Pick<Candidate, "name" | "addresses">[];
  readonly logger: Logger;
}

const DEFAULT_TTL_SECONDS = 3_600;
const LONGEST_TTL_SECONDS = 7 * 86_400;
const FORWARD_MS = 10_000;

export function joinService(options: JoinServiceOptions): RpcService {
  const { etcd, identity, logger } = options;
  return service(JoinServiceService, {
    allowedRoles: ["operator", "coordinator"],
    anyone: ["join"],
    handlers: {
      join: async (request, context) => {
        if (options.authority === null) return await forwardToSigner(options, request, context.signal);
        const token = await peekToken(etcd, request.secret);
        // Signed before the token is used up: a bad request must not cost the token.
        const peer = { cluster: options.authority.cluster, role: "agent" as const, name: token.record.node };
        const certificatePem = await signRequest(options.authority, request.csrPem, peer);
        await token.use();
        logger.info({ of_node: token.record.node }, "a node has joined");
        return { certificatePem, caPem: options.authority.caPem };
      },
      createJoinToken: async (request) => {
        const ttlSeconds = request.ttlSeconds === 0 ? DEFAULT_TTL_SECONDS : request.ttlSeconds;
        if (ttlSeconds > LONGEST_TTL_SECONDS) {
          throw new DrayError("BAD_REQUEST", `a token lives ${LONGEST_TTL_SECONDS} s at most`, {
            remedy: "Ask for a shorter time.",
          });
        }
        // Throws BAD_REQUEST for a name that no certificate may carry.
        formatPeerUri({ cluster: identity.cluster, role: "agent", name: request.node });
        const secret = makeSecret();
        await storeToken(etcd, secret, request.node, ttlSeconds);
        return { token: makeToken(fingerprintOf(identity.caPem), secret) };
      },
    },
  });
}

async function forwardToSigner(
  options: JoinServiceOptions,
  request: { readonly secret: string; readonly csrPem: string },
  signal: AbortSignal,
): Promise<{ certificatePem: string; caPem: string }> {
  const [signer] = options.signers();
  if (signer === undefined) {
    throw new DrayError("BAD_CONFIG", "no coordinator that is up has the key of the CA", {
      remedy:
        "Start the coordinator whose /etc/drayage/pki has ca.key, or issue the certificate there with `drayage pki issue`.",
    });
  }
  const connection = await connect({
    identity: options.identity,
    addresses: signer.addresses,
    expected: { role: "coordinator", name: signer.name },
    signal,
  });
  try {
    const client = connection.client(JoinServiceClient);
    return await unary(client, client.join, request, { deadlineMs: FORWARD_MS, signal });
  } finally {
    connection.close();
  }
}
