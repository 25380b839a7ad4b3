/** The gRPC client: one connection to one peer, mutual TLS, handshake first, a deadline on every call. */
import { createSecureContext } from "node:tls";
import {
  type CallOptions,
  Channel,
  type ChannelCredentials,
  type Client,
  type ClientOptions,
  type ClientReadableStream,
  type ClientUnaryCall,
  credentials,
  type Interceptor,
  InterceptingCall,
  Metadata,
  type ServiceError,
  status,
  connectivityState,
} from "@grpc/grpc-js";
import { DrayError, toDrayError } from "../errors/dray-error.ts";
import type { Reason } from "../errors/reason.ts";
import { HandshakeServiceClient, NegotiateRequest } from "../gen/drayage/common/v1/handshake.ts";
import { type ExpectedPeer, type Identity, tlsClientOptions } from "../identity/identity.ts";
import { VERSION } from "../observe/version.ts";
import { connectionFailure, type Failure, tellFailures } from "./connection-failure.ts";
import { probe } from "./probe.ts";
import { chooseVersion, PROTOCOL_METADATA, PROTOCOL_VERSIONS } from "./protocol.ts";
import { errorOf } from "./status.ts";

export interface ConnectOptions {
  readonly identity: Identity;
  /** "host:port", tried in order. */
  readonly addresses: readonly string[];
  /** Who must be at the other end. */
  readonly expected: ExpectedPeer;
  readonly signal?: AbortSignal;
  /** For connection and handshake, per address; 5 s if not given. */
  readonly connectTimeoutMs?: number;
}

export type ClientConstructor<C> = new (
  address: string,
  credentials: ChannelCredentials,
  options?: Partial<ClientOptions>,
) => C;

export interface Connection {
  /** The address that answered. */
  readonly address: string;
  /** Node name and software version that the peer gave. */
  readonly node: string;
  readonly softwareVersion: string;
  /** A client of one service; all share the connection. */
  client<C>(ClientClass: ClientConstructor<C>): C;
  /**
   * Whether it stands, as far as is known. A call on one that does not would have another made, without a handshake,
   * and wait for that as long as its own deadline allows.
   */
  isUp(): boolean;
  /** Ends the connection; calls under way fail as CANCELLED. */
  close(): void;
}

export interface CallSettings {
  /** From now; Infinity only for a stream that is meant to stay open. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
}

const CONNECT_TIMEOUT_MS = 5_000;

/** Dead peers are noticed within the sum of the two keepalive times. */
const CHANNEL_OPTIONS = {
  "grpc.keepalive_time_ms": 4_000,
  "grpc.keepalive_timeout_ms": 3_000,
  "grpc.keepalive_permit_without_calls": 1,
  "grpc.initial_reconnect_backoff_ms": 200,
  "grpc.max_reconnect_backoff_ms": 2_000,
  // Each connection is to one verified peer; none is shared behind its owner's back.
  "grpc.use_local_subchannel_pool": 1,
  // Repeating a call is the caller's decision.
  "grpc.enable_retries": 0,
  "grpc.enable_http_proxy": 0,
};

/**
 * Connects to the first address that answers as the expected peer and agrees on a protocol.
 * AGENT_UNAVAILABLE or NO_LEADER if nobody answers; UNAUTHENTICATED, PERMISSION_DENIED for the wrong peer;
 * PROTOCOL_MISMATCH; CANCELLED by the signal. With several addresses, the error of the last tells of all.
 */
export async function connect(options: ConnectOptions): Promise<Connection> {
  const failures: Failure[] = [];
  for (const address of options.addresses) {
    try {
      return await connectTo(address, options);
    } catch (thrown) {
      const error = toDrayError(thrown);
      if (isAborted(options.signal)) throw error;
      failures.push({ address, error });
    }
  }
  const last = failures.at(-1)?.error;
  if (last === undefined) {
    throw new DrayError(
      "BAD_REQUEST",
      `no address is known for ${options.expected.role} ${options.expected.name ?? ""}`.trimEnd(),
    );
  }
  throw new DrayError(last.reason, tellFailures(failures), { remedy: last.remedy, node: last.node, cause: last });
}

async function connectTo(address: string, options: ConnectOptions): Promise<Connection> {
  const { identity, expected, signal } = options;
  const tls = tlsClientOptions(identity, expected);
  const { checkServerIdentity, ...contextOptions } = tls;
  const channelCredentials = credentials.createFromSecureContext(
    createSecureContext(contextOptions),
    checkServerIdentity === undefined ? {} : { checkServerIdentity },
  );
  // Names in certificates are not host names, and an IP address may not be sent as a TLS server name.
  const serverName = `${expected.role}.${identity.cluster}`;
  const channel = new Channel(address, channelCredentials, {
    ...CHANNEL_OPTIONS,
    "grpc.ssl_target_name_override": serverName,
  });
  const clientOf = <C>(ClientClass: ClientConstructor<C>, interceptors: Interceptor[]): C =>
    register(new ClientClass(address, channelCredentials, { channelOverride: channel, interceptors }), expected);
  try {
    const handshake = clientOf(HandshakeServiceClient, []);
    const answer = await unary(
      handshake,
      handshake.negotiate,
      NegotiateRequest.fromPartial({ supportedVersions: [...PROTOCOL_VERSIONS], softwareVersion: VERSION }),
      { deadlineMs: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS, ...(signal === undefined ? {} : { signal }) },
    );
    const version = chooseVersion(PROTOCOL_VERSIONS, [answer.chosenVersion]);
    const interceptors = [protocolInterceptor(version)];
    return {
      address,
      node: answer.node,
      softwareVersion: answer.softwareVersion,
      client: (ClientClass) => clientOf(ClientClass, interceptors),
      isUp: () => channel.getConnectivityState(false) === connectivityState.READY,
      close: () => channel.close(),
    };
  } catch (thrown) {
    channel.close();
    const error = toDrayError(thrown);
    // grpc-js tells of a failed connection only that it failed; a bare TLS connection tells why.
    const silent = error.reason === unavailableReason(expected) || error.reason === "TIMEOUT";
    throw silent ? ((await probe(address, tls, expected, signal)) ?? unavailable(error, expected)) : error;
  }
}

function unavailable(error: DrayError, expected: ExpectedPeer): DrayError {
  return new DrayError(unavailableReason(expected), connectionFailure(error), {
    cause: error,
    node: expected.name ?? "",
  });
}

/** The reason for a peer of that role that does not answer. */
export function unavailableReason(expected: ExpectedPeer): Reason {
  return expected.role === "coordinator"
    ? "NO_LEADER"
    : expected.role === "etcd"
      ? "ETCD_UNAVAILABLE"
      : "AGENT_UNAVAILABLE";
}

function protocolInterceptor(version: number): Interceptor {
  return (options, next) =>
    new InterceptingCall(next(options), {
      start: (metadata, listener, proceed) => {
        metadata.set(PROTOCOL_METADATA, String(version));
        proceed(metadata, listener);
      },
    });
}

/** Which role a client talks to, for naming the part that does not answer. */
const expectedOf = new WeakMap<object, ExpectedPeer>();

function register<C>(client: C, expected: ExpectedPeer): C {
  if (typeof client === "object" && client !== null) expectedOf.set(client, expected);
  return client;
}

function failureOf(client: object, error: ServiceError): DrayError {
  const expected = expectedOf.get(client) ?? { role: "agent" };
  return errorOf(
    { code: error.code, details: error.details, metadata: error.metadata ?? new Metadata(), cause: error },
    unavailableReason(expected),
  );
}

type UnaryMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

/** One call, one answer: `unary(client, client.inspect, request, { deadlineMs })`. Throws DrayErrors only. */
export function unary<Request, Response>(
  client: Client,
  method: UnaryMethod<Request, Response>,
  request: Request,
  settings: CallSettings,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    if (isAborted(settings.signal)) {
      reject(cancelled(settings.signal));
      return;
    }
    const abort = () => call.cancel();
    const call = method.call(
      client,
      request,
      new Metadata(),
      { deadline: deadline(settings.deadlineMs) },
      (error, response) => {
        settings.signal?.removeEventListener("abort", abort);
        if (error === null) resolve(response);
        else if (error.code === status.CANCELLED && isAborted(settings.signal)) reject(cancelled(settings.signal));
        else reject(failureOf(client, error));
      },
    );
    settings.signal?.addEventListener("abort", abort, { once: true });
  });
}

type StreamMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options?: Partial<CallOptions>,
) => ClientReadableStream<Response>;

/** One call, many answers, until the server ends it. Leaving the loop cancels the call. Throws DrayErrors only. */
export async function* serverStream<Request, Response>(
  client: Client,
  method: StreamMethod<Request, Response>,
  request: Request,
  settings: CallSettings,
): AsyncGenerator<Response, void, undefined> {
  if (isAborted(settings.signal)) throw cancelled(settings.signal);
  const call = method.call(client, request, new Metadata(), { deadline: deadline(settings.deadlineMs) });
  const abort = () => call.cancel();
  settings.signal?.addEventListener("abort", abort, { once: true });
  try {
    for await (const response of call) yield response as Response;
  } catch (thrown) {
    if (isAborted(settings.signal)) throw cancelled(settings.signal);
    if (!isServiceError(thrown)) throw toDrayError(thrown);
    throw failureOf(client, thrown);
  } finally {
    settings.signal?.removeEventListener("abort", abort);
    call.cancel();
  }
}

function isServiceError(thrown: unknown): thrown is ServiceError {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "number" && "details" in thrown;
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

function cancelled(signal: AbortSignal | undefined): DrayError {
  if (signal === undefined) return new DrayError("CANCELLED", "cancelled");
  return signal.reason instanceof DrayError ? signal.reason : toDrayError(signal.reason, "CANCELLED");
}

function deadline(deadlineMs: number): number {
  return deadlineMs === Number.POSITIVE_INFINITY ? deadlineMs : Date.now() + deadlineMs;
}
