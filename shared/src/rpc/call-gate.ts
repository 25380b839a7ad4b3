/**
 * What every call passes before its handler: a verified certificate of this
 * cluster, a role that the service admits, and a protocol version that this
 * server speaks. It also counts what comes out.
 *
 * INVARIANT: a path that is not listed by a service as open to anyone is never
 * handled without a certificate, also where TLS lets clients without one in.
 */
import { X509Certificate } from "node:crypto";
import {
  type Metadata,
  type ServerInterceptor,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  status,
} from "@grpc/grpc-js";
import { DrayError, toDrayError } from "../errors/dray-error.ts";
import { demandPeer, type Peer, peerOfAlternativeNames } from "../identity/peer.ts";
import type { Logger } from "../observe/logger.ts";
import { PROTOCOL_METADATA, PROTOCOL_VERSIONS } from "./protocol.ts";
import type { MethodPath, ServerMetrics } from "./server-metrics.ts";
import type { RpcService } from "./service.ts";
import { statusOf } from "./status.ts";

type AuthContext = ReturnType<ServerInterceptingCallInterface["getAuthContext"]>;

const HANDSHAKE = "drayage.common.v1.HandshakeService";
const HEALTH = "grpc.health.v1.Health";
const UNKNOWN_METHOD: MethodPath = { service: "unknown", method: "unknown" };

export interface CallGateOptions {
  readonly identity: { readonly cluster: string };
  readonly node: string;
  readonly services: readonly RpcService[];
  readonly logger: Logger;
  readonly metrics: ServerMetrics;
}

export class CallGate {
  readonly #options: CallGateOptions;
  readonly #services: ReadonlyMap<string, RpcService>;

  constructor(options: CallGateOptions) {
    this.#options = options;
    this.#services = new Map(options.services.map((service) => [service.name, service]));
  }

  /** The caller by its certificate. UNAUTHENTICATED without one of this cluster. */
  peerOf(context: AuthContext): Peer {
    const raw = context.sslPeerCertificate?.raw;
    // A resumed TLS session counts as authorized even without a certificate, so its presence is what decides.
    if (context.transportSecurityType !== "ssl" || raw === undefined) {
      throw new DrayError("UNAUTHENTICATED", "the caller has shown no certificate of this cluster");
    }
    const certificate = new X509Certificate(raw);
    // Connections outlive certificates.
    if (certificate.validToDate.getTime() <= Date.now()) {
      throw new DrayError("UNAUTHENTICATED", "the caller's certificate has expired");
    }
    const peer = peerOfAlternativeNames(certificate.subjectAltName);
    demandPeer(peer, this.#options.identity.cluster, { role: peer.role });
    return peer;
  }

  readonly interceptor: ServerInterceptor = (descriptor, call) => {
    const { metrics, node, logger } = this.#options;
    const startedAtMs = performance.now();
    const path = this.#methodPath(descriptor.path);
    let counted = false;
    const count = (code: status) => {
      if (!counted) metrics.handled(path, code, startedAtMs);
      counted = true;
    };
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, admit) => {
            try {
              this.#check(descriptor.path, metadata, call.getAuthContext());
            } catch (thrown) {
              const error = toDrayError(thrown);
              logger.warn(
                { reason: error.reason, path: descriptor.path, peer: call.getPeer() },
                `refused: ${error.message}`,
              );
              count(error.mapping.grpcStatus);
              call.sendStatus(statusOf(error, node));
              return;
            }
            admit(metadata);
          },
          onCancel: () => count(status.CANCELLED),
        }),
      sendStatus: (outcome, next) => {
        count(outcome.code ?? status.OK);
        next(outcome);
      },
    });
  };

  #check(path: string, metadata: Metadata, context: AuthContext): void {
    const name = path.split("/")[1] ?? "";
    const service = this.#services.get(name);
    if (service?.anyonePaths.has(path) === true) return;
    const peer = this.peerOf(context);
    if (name === HEALTH) return;
    if (service === undefined) return;
    if (!service.allowedRoles.includes(peer.role)) {
      throw new DrayError("PERMISSION_DENIED", `${peer.role} ${peer.name} may not call ${name}`, {
        remedy: `Use a certificate with role ${service.allowedRoles.join(" or ")}.`,
      });
    }
    if (name !== HANDSHAKE) demandProtocol(metadata);
  }

  /** Label values come from what is served, not from what clients make up. */
  #methodPath(path: string): MethodPath {
    const [, service = "", method = ""] = path.split("/");
    if (service === HEALTH) return { service, method };
    const known = Object.values(this.#services.get(service)?.definition ?? {}).some((entry) => entry.path === path);
    return known ? { service, method } : UNKNOWN_METHOD;
  }
}

function demandProtocol(metadata: Metadata): void {
  const [value] = metadata.get(PROTOCOL_METADATA);
  if (value === undefined) {
    throw new DrayError("PROTOCOL_MISMATCH", "the call came before a handshake: it names no protocol version");
  }
  if (!PROTOCOL_VERSIONS.includes(Number(value))) {
    throw new DrayError(
      "PROTOCOL_MISMATCH",
      `the call speaks protocol version ${String(value)}, this server ${PROTOCOL_VERSIONS.join(", ")}`,
    );
  }
}
