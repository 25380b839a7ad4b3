/** etcd3's client, with what it does not do by itself for a cluster of several members. */
import { type ChannelCredentials, type ChannelOptions, type Client, connectivityState } from "@grpc/grpc-js";
import {
  BrokenCircuitError,
  type CircuitBreakerPolicy,
  circuitBreaker,
  ConsecutiveBreaker,
  handleWhen,
} from "cockatiel";
import { Etcd3, type IOptions, isRecoverableError, type LeaseClient } from "etcd3";
import { addressedChannel, type EtcdIdentity } from "./address-name.ts";
import { Overdue } from "./overdue.ts";

/**
 * How long a connection may take. grpc-js knows no limit, and the kernel asks ever more rarely, up to half a minute
 * apart: after a cut link, calls and watches would wait for that.
 */
const CONNECT_MS = 2_000;

export type KeepAliveStream = Awaited<ReturnType<LeaseClient["leaseKeepAlive"]>>;

/** What is needed of the members in etcd3's pool, which it does not show. */
interface PoolHost {
  /** Without scheme. */
  readonly host: string;
  channelCredentials: ChannelCredentials;
  channelOptions: ChannelOptions;
  getServiceClient(name: "KV"): Client;
  getServiceClient(name: "Lease"): Client & { leaseKeepAlive(options: { deadline: number }): KeepAliveStream };
  /** By the name of the service; they share one connection. */
  cachedServices: Record<string, Client>;
}

/** Knows to which members a connection stands, and those by their address that have no name. */
export class ConnectedEtcd extends Etcd3 {
  readonly #overdue = new Overdue<PoolHost>(CONNECT_MS);

  constructor(identity: EtcdIdentity, options: Omit<IOptions, "credentials">) {
    super({
      ...options,
      credentials: {
        rootCertificate: Buffer.from(identity.caPem),
        privateKey: Buffer.from(identity.keyPem),
        certChain: Buffer.from(identity.certPem),
      },
    });
    // etcd3 has one set of credentials for all; no channel is open yet.
    for (const host of this.#hosts) {
      const addressed = addressedChannel(host.host, identity);
      if (addressed === null) continue;
      host.channelCredentials = addressed.credentials;
      host.channelOptions = { ...host.channelOptions, ...addressed.options };
    }
  }

  get #hosts(): readonly PoolHost[] {
    return this.pool["hosts"];
  }

  /**
   * False for a member without a connection while another has one: a call to
   * a host that is off would wait for its connection until the deadline.
   */
  isWorthAsking(endpoint: string): boolean {
    const asked = this.#hosts.find((host) => `https://${host.host}` === endpoint);
    // All are looked at, so that the connection to each is made, and made anew.
    const connected = this.#hosts.filter((host) => this.#isConnected(host));
    return asked === undefined || connected.length === 0 || connected.includes(asked);
  }

  /** What `use` makes of a stream of keepalives to each member to which a connection stands. */
  withEachMember<T>(deadline: number, use: (stream: KeepAliveStream) => T): T[] {
    return this.#hosts
      .filter((host) => this.#isConnected(host))
      .map((host) => use(host.getServiceClient("Lease").leaseKeepAlive({ deadline })));
  }

  /** Looking also makes it connect. */
  #isConnected(host: PoolHost): boolean {
    const state = host.getServiceClient("KV").getChannel().getConnectivityState(true);
    if (this.#overdue.see(host, state === connectivityState.CONNECTING)) abandon(host);
    return state === connectivityState.READY;
  }
}

/** The next call makes a new connection; calls that wait for this one fail, and were never sent. */
function abandon(host: PoolHost): void {
  const services = Object.values(host.cachedServices);
  host.cachedServices = {};
  for (const service of services) service.close();
}

/** The breaker, and no call to an endpoint that is not worth asking: etcd3 asks the next one then. */
export function endpointPolicy(isWorthAsking: () => boolean): CircuitBreakerPolicy {
  const breaker = endpointBreaker();
  const execute = breaker.execute.bind(breaker);
  breaker.execute = (task, signal) =>
    isWorthAsking() ? execute(task, signal) : Promise.reject(new BrokenCircuitError());
  return breaker;
}

/** Skips an endpoint for a while after it has failed repeatedly. */
function endpointBreaker(): CircuitBreakerPolicy {
  return circuitBreaker(
    handleWhen((error) => isRecoverableError(error)),
    { halfOpenAfter: 500, breaker: new ConsecutiveBreaker(5) },
  );
}
