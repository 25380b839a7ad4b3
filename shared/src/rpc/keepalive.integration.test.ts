/** A peer that falls silent without closing its connection, as after a power cut. Takes the keepalive's seconds. */
import { once } from "node:events";
import { Registry } from "prom-client";
import { expect, test } from "vitest";
import {
  ClusterServiceClient,
  ClusterServiceService,
  WatchEventsRequest,
  WatchEventsResponse,
} from "../gen/drayage/coordinator/v1/cluster.ts";
import { createAuthority, issueIdentity } from "../identity/authority.ts";
import { createLogger } from "../observe/logger.ts";
import { connect, serverStream } from "./client.ts";
import { createRpcServer, service } from "./server.ts";
import { layCable } from "./test-support/cable.ts";

/** Twice what the keepalive takes: time for a busy machine. */
const NOTICED_WITHIN_MS = 14_000;

test("both ends notice within seconds", { timeout: 30_000 }, async () => {
  const lab = await createAuthority("lab");
  const [identity, operator] = await Promise.all([
    issueIdentity(lab, { role: "coordinator", name: "c1" }),
    issueIdentity(lab, { role: "operator", name: "ann" }),
  ]);
  const handlerEnded = Promise.withResolvers<void>();
  const { watchEvents } = ClusterServiceService;
  const server = createRpcServer({
    identity,
    node: "c1",
    logger: createLogger({ level: "silent", part: "test", node: "c1" }),
    registry: new Registry(),
    services: [
      service(
        { watchEvents },
        {
          allowedRoles: ["operator"],
          handlers: {
            watchEvents: async function* (_request, { signal }) {
              yield WatchEventsResponse.fromPartial({});
              if (!signal.aborted) await once(signal, "abort");
              handlerEnded.resolve();
            },
          },
        },
      ),
    ],
  });
  const port = await server.bind("127.0.0.1:0");
  const cable = await layCable(port);
  const connection = await connect({
    identity: operator,
    addresses: [`127.0.0.1:${cable.port}`],
    expected: { role: "coordinator" },
  });
  try {
    const client = connection.client(ClusterServiceClient);
    const events = serverStream(client, client.watchEvents, WatchEventsRequest.fromPartial({}), {
      deadlineMs: Number.POSITIVE_INFINITY,
    });
    await events.next();
    cable.cut();
    const cutAtMs = performance.now();
    await expect(events.next()).rejects.toMatchObject({ reason: "NO_LEADER" });
    await handlerEnded.promise;
    expect(performance.now() - cutAtMs).toBeLessThan(NOTICED_WITHIN_MS);
  } finally {
    connection.close();
    cable.remove();
    await server.shutdown(0);
  }
});
