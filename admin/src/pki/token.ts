/** `drayage pki token`: a one-time token with which a node may join. */
import { loadClientConfig } from "@drayage/shared/config/client.ts";
import { CreateJoinTokenRequest, JoinServiceClient } from "@drayage/shared/gen/drayage/coordinator/v1/join.ts";
import { loadIdentity } from "@drayage/shared/identity/identity.ts";
import { connect, unary } from "@drayage/shared/rpc/client.ts";

export interface TokenOptions {
  readonly node: string;
  readonly ttlSeconds: number;
  readonly config?: string;
}

const DEADLINE_MS = 15_000;

/** The token, made by the coordinators for an operator. */
export async function requestToken(options: TokenOptions): Promise<string> {
  const config = await loadClientConfig({ path: options.config });
  const identity = await loadIdentity(config.pkiDirectory, "operator");
  const connection = await connect({ identity, addresses: config.coordinators, expected: { role: "coordinator" } });
  try {
    const client = connection.client(JoinServiceClient);
    const request = CreateJoinTokenRequest.fromPartial({ node: options.node, ttlSeconds: options.ttlSeconds });
    return (await unary(client, client.createJoinToken, request, { deadlineMs: DEADLINE_MS })).token;
  } finally {
    connection.close();
  }
}
