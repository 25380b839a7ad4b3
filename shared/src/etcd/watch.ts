/** A watch that survives lost connections and says when history is gone. */
import { setTimeout as delay } from "node:timers/promises";
import type { IWatchResponse, WatchClient } from "etcd3";
import type { WatchOptions, WatchStep } from "./etcd-port.ts";
import { prefixEnd, toChange } from "./wire.ts";

/** Pause before a lost stream is opened again. */
const RECONNECT_MS = 200;

type WatchStream = Awaited<ReturnType<WatchClient["watch"]>> & AsyncIterable<IWatchResponse>;

export async function* watchPrefix(
  client: WatchClient,
  prefix: string,
  options: WatchOptions,
): AsyncGenerator<WatchStep, void, void> {
  const { signal } = options;
  let next = options.fromRevision;
  while (!signal?.aborted) {
    let stream: WatchStream | undefined;
    const cancel = () => {
      // Ended first: etcd3 takes the error of a writable stream for a failure
      // of the endpoint, and closes all its channels.
      stream?.end();
      stream?.cancel();
    };
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      // etcd3 declares only part of what grpc-js gives: a duplex object stream.
      stream = (await client.watch()) as WatchStream;
      if (signal?.aborted) return;
      stream.write({
        create_request: {
          key: Buffer.from(prefix),
          range_end: prefixEnd(prefix),
          progress_notify: true,
          ...(next === undefined ? {} : { start_revision: String(next) }),
        },
      });
      for await (const response of stream) {
        if (Number(response.compact_revision) > 0) {
          yield {
            kind: "compacted",
            revision: Number(response.compact_revision),
          };
          return;
        }
        if (response.canceled) break;
        const revision = Number(response.header.revision);
        if (response.created) {
          next ??= revision + 1;
          continue;
        }
        if (response.events.length === 0) {
          next = Math.max(next ?? 0, revision + 1);
          continue;
        }
        const changes = response.events.map(toChange);
        const last = changes.at(-1);
        const seen = last === undefined ? revision : last.type === "put" ? last.entry.modRevision : last.revision;
        next = seen + 1;
        yield { kind: "changes", revision: seen, changes };
      }
    } catch {
      // Whatever broke the stream, the watch goes on from where it was.
    } finally {
      signal?.removeEventListener("abort", cancel);
      cancel();
    }
    await delay(RECONNECT_MS, undefined, { signal }).catch(() => undefined);
  }
}
