/**
 * A service as the parts of Drayage write it: methods that return, throw and
 * yield, instead of callbacks and streams.
 */
import { once } from "node:events";
import type {
  handleServerStreamingCall,
  handleUnaryCall,
  Metadata,
  MethodDefinition,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import type { DrayError } from "../errors/dray-error.ts";
import type { Peer, Role } from "../identity/peer.ts";

export interface CallContext {
  /** Who calls. Throws UNAUTHENTICATED for a caller without a certificate, possible only in methods open to anyone. */
  readonly peer: Peer;
  /** Aborted when the client cancels, its deadline passes, its connection ends or the server shuts down. */
  readonly signal: AbortSignal;
}

type Definition = Readonly<Record<string, MethodDefinition<never, never> | MethodDefinition<unknown, unknown>>>;

type RequestOf<M> = M extends { requestDeserialize: (value: Buffer) => infer Request } ? Request : never;
type ResponseOf<M> = M extends { responseDeserialize: (value: Buffer) => infer Response } ? Response : never;

type HandlerOf<M> = M extends { requestStream: true }
  ? never
  : M extends { responseStream: true }
    ? (request: RequestOf<M>, context: CallContext) => AsyncIterable<ResponseOf<M>>
    : (request: RequestOf<M>, context: CallContext) => Promise<ResponseOf<M>>;

export type Handlers<D> = { readonly [Method in keyof D]: HandlerOf<D[Method]> };

export interface ServiceOptions<D> {
  /** Roles whose certificates may call. */
  readonly allowedRoles: readonly Role[];
  /** Methods that a client without certificate or handshake may call. */
  readonly anyone?: readonly (keyof D & string)[];
  readonly handlers: Handlers<D>;
}

/** What the server does around a handler: whose call it is, and how a failure is told. */
export interface CallEnvironment {
  peer(call: { getAuthContext(): ReturnType<ServerUnaryCall<unknown, unknown>["getAuthContext"]> }): Peer;
  failure(
    error: unknown,
    path: string,
  ): { readonly error: DrayError; readonly status: { code: number; details: string; metadata: Metadata } };
}

export interface RpcService {
  /** "drayage.agent.v1.AgentService" */
  readonly name: string;
  readonly definition: ServiceDefinition;
  readonly allowedRoles: readonly Role[];
  /** Paths of the methods open to anyone. */
  readonly anyonePaths: ReadonlySet<string>;
  implement(environment: CallEnvironment): UntypedServiceImplementation;
}

/** Joins a generated service definition with its handlers. */
export function service<D extends object>(definition: D, options: ServiceOptions<D>): RpcService {
  const methods = Object.entries(definition as Definition);
  const first = methods[0];
  if (first === undefined) throw new TypeError("a service without methods");
  const path = (method: string) => (definition as Definition)[method]?.path ?? "";
  return {
    name: first[1].path.split("/")[1] ?? "",
    definition: definition as ServiceDefinition,
    allowedRoles: options.allowedRoles,
    anyonePaths: new Set((options.anyone ?? []).map(path)),
    implement: (environment) =>
      Object.fromEntries(
        methods.map(([name, method]) => {
          const handler = options.handlers[name as keyof D];
          return method.responseStream
            ? [name, streaming(handler as StreamHandler, environment)]
            : [name, unary(handler as UnaryHandler, environment)];
        }),
      ),
  };
}

type UnaryHandler = (request: unknown, context: CallContext) => Promise<unknown>;
type StreamHandler = (request: unknown, context: CallContext) => AsyncIterable<unknown>;

function contextOf(
  call: ServerUnaryCall<unknown, unknown> | ServerWritableStream<unknown, unknown>,
  environment: CallEnvironment,
): CallContext {
  const cancelled = new AbortController();
  call.once("cancelled", () => cancelled.abort());
  if (call.cancelled) cancelled.abort();
  return {
    get peer() {
      return environment.peer(call);
    },
    signal: cancelled.signal,
  };
}

function unary(handler: UnaryHandler, environment: CallEnvironment): handleUnaryCall<unknown, unknown> {
  return (call, callback) => {
    const context = contextOf(call, environment);
    // An async function, so that a handler that throws at once is caught too.
    const run = async () => handler(call.request, context);
    run().then(
      (response) => callback(null, response),
      (error: unknown) => callback(environment.failure(error, call.getPath()).status),
    );
  };
}

function streaming(handler: StreamHandler, environment: CallEnvironment): handleServerStreamingCall<unknown, unknown> {
  return (call) => {
    const context = contextOf(call, environment);
    const run = async () => {
      for await (const response of handler(call.request, context)) {
        if (context.signal.aborted) return;
        if (!call.write(response)) await drained(call, context.signal);
      }
    };
    run().then(
      () => call.end(),
      (error: unknown) => call.emit("error", environment.failure(error, call.getPath()).status),
    );
  };
}

/** Waits until the client has taken what was written, or has gone. */
async function drained(call: ServerWritableStream<unknown, unknown>, signal: AbortSignal): Promise<void> {
  try {
    await once(call, "drain", { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
