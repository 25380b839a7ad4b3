/**
 * TLS towards a member that is known by its IP address. A TLS server name may
 * not be an address (RFC 6066), so another is sent, and the certificate is
 * judged by the address all the same.
 */
import { isIP } from "node:net";
import { checkServerIdentity, createSecureContext } from "node:tls";
import { type ChannelCredentials, type ChannelOptions, credentials } from "@grpc/grpc-js";
import { splitAddress } from "../config/address.ts";
import type { Identity } from "../identity/identity.ts";

const SERVER_NAME = "etcd";

export type EtcdIdentity = Pick<Identity, "caPem" | "certPem" | "keyPem">;

export interface AddressedChannel {
  readonly credentials: ChannelCredentials;
  readonly options: ChannelOptions;
}

/** What a channel to `endpoint` ("host:port") needs instead of the usual; null where the host is a name. */
export function addressedChannel(endpoint: string, identity: EtcdIdentity): AddressedChannel | null {
  const { host } = splitAddress(endpoint);
  if (isIP(host) === 0) return null;
  const context = createSecureContext({ ca: identity.caPem, cert: identity.certPem, key: identity.keyPem });
  return {
    credentials: credentials.createFromSecureContext(context, {
      checkServerIdentity: (_sentName, certificate) => checkServerIdentity(host, certificate),
    }),
    options: { "grpc.ssl_target_name_override": SERVER_NAME },
  };
}
