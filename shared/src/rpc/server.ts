/** The gRPC server of agents and coordinators: mutual TLS, role check, handshake, health, metrics. */
import { experimental, Metadata, Server } from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import type { Registry } from "prom-client";
import { DrayError, toDrayError } from "../errors/dray-error.ts";
import { HandshakeServiceService } from "../gen/drayage/common/v1/handshake.ts";
import type { Identity } from "../identity/identity.ts";
import { ROLES } from "../identity/peer.ts";
import type { Logger } from "../observe/logger.ts";
import { VERSION } from "../observe/version.ts";
import { CallGate } from "./call-gate.ts";
import { IdentityProvider } from "./identity-provider.ts";
import { chooseVersion, PROTOCOL_VERSIONS } from "./protocol.ts";
import { serverMetrics } from "./server-metrics.ts";
import { type CallEnvironment, type RpcService, service } from "./service.ts";
import { statusOf } from "./status.ts";

export { type CallContext, type Handlers, type RpcService, type ServiceOptions, service } from "./service.ts";

export interface RpcServerOptions {
  readonly identity: Identity;
  /** Named in errors that leave this server. */
  readonly node: string;
  readonly logger: Logger;
  readonly registry: Registry;
  readonly services: readonly RpcService[];
}

export interface RpcServer {
  /** Listens on "host:port" and returns the port; port 0 lets the kernel choose. BAD_CONFIG if it cannot. */
  bind(address: string): Promise<number>;
  /** What health checks hear, for "" and every service. */
  setServing(serving: boolean): void;
  /** New connections see this certificate; open ones stay. */
  updateIdentity(identity: Identity): void;
  /** Refuses new calls, lets running ones end within the grace, then cancels them. */
  shutdown(graceMs: number): Promise<void>;
}

/** Dead peers are noticed within the sum of these two. */
const KEEPALIVE = { "grpc.keepalive_time_ms": 4_000, "grpc.keepalive_timeout_ms": 3_000 };

export function createRpcServer(options: RpcServerOptions): RpcServer {
  const { identity, node, logger, registry } = options;
  const services = [handshakeService(node), ...options.services];
  const gate = new CallGate({ identity, node, services, logger, metrics: serverMetrics(registry) });
  const server = new Server({ ...KEEPALIVE, interceptors: [gate.interceptor] });

  const environment: CallEnvironment = {
    peer: (call) => gate.peerOf(call.getAuthContext()),
    failure: (thrown, path) => {
      const error = outwards(thrown, node);
      if (error.reason === "INTERNAL") logger.error({ err: thrown, path }, "call failed for an unexpected cause");
      else logger.info({ reason: error.reason, path }, error.message);
      const { code, details, metadata } = statusOf(error, node);
      return { error, status: { code, details, metadata: metadata ?? new Metadata() } };
    },
  };
  for (const entry of services) server.addService(entry.definition, entry.implement(environment));
  const health = new HealthImplementation();
  const setServing = (serving: boolean) => {
    for (const name of ["", ...services.map((entry) => entry.name)]) {
      health.setStatus(name, serving ? "SERVING" : "NOT_SERVING");
    }
  };
  setServing(true);
  health.addToServer(server);

  const provider = new IdentityProvider(identity);
  const certificateRequired = services.every((entry) => entry.anyonePaths.size === 0);
  const credentials = experimental.createCertificateProviderServerCredentials(provider, provider, certificateRequired);

  return {
    setServing,
    bind: (address) =>
      new Promise((resolve, reject) => {
        server.bindAsync(address, credentials, (error, port) => {
          if (error === null) resolve(port);
          else
            reject(
              new DrayError("BAD_CONFIG", `cannot listen on ${address}: ${error.message}`, { node, cause: error }),
            );
        });
      }),
    updateIdentity: (renewed) => provider.update(renewed),
    shutdown: (graceMs) => {
      setServing(false);
      return new Promise((resolve) => {
        const force = setTimeout(() => {
          server.forceShutdown();
          // tryShutdown never answers when a session was being torn down as it was called.
          resolve();
        }, graceMs);
        server.tryShutdown(() => {
          clearTimeout(force);
          resolve();
        });
      });
    },
  };
}

/** What a caller may learn: errors thrown on purpose as they are, of others only that they happened. */
function outwards(thrown: unknown, node: string): DrayError {
  const error = toDrayError(thrown);
  if (error.reason !== "INTERNAL" || thrown instanceof DrayError) return error;
  return new DrayError("INTERNAL", "unexpected failure inside the server", { node });
}

function handshakeService(node: string): RpcService {
  return service(HandshakeServiceService, {
    allowedRoles: ROLES,
    handlers: {
      negotiate: async (request) => ({
        chosenVersion: chooseVersion(PROTOCOL_VERSIONS, request.supportedVersions),
        softwareVersion: VERSION,
        node,
      }),
    },
  });
}
