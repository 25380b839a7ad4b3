import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { DrayError } from "../errors/dray-error.ts";
import type { FrameCarrier, SentContent } from "./frame-carrier.ts";
import { OutgoingFile } from "./outgoing-file.ts";

test("a connection that breaks while the source is slow is told to who sends, and to nobody else", async () => {
  const write = Promise.withResolvers<SentContent>();
  const slow = Promise.withResolvers<number>();
  let reads = 0;
  const carrier: FrameCarrier = {
    spaces: 3,
    sendMessage: () => undefined,
    withdraw: () => undefined,
    sendContent: () => write.promise,
  };
  const file = new OutgoingFile(carrier, 1, 1024, { kind: "layer", name: "layer" }, {});
  const sent = file.run({
    fill: () => (reads++ === 0 ? Promise.resolve(10) : slow.promise),
    close: async () => undefined,
  });
  await nextTurn();
  const lost = new DrayError("PEER_UNAVAILABLE", "the peer has gone");
  write.reject(lost);
  file.fail(lost);
  // A rejection that nobody has looked at by now would end the process.
  await nextTurn();
  slow.resolve(0);
  await expect(sent).rejects.toMatchObject({ reason: "PEER_UNAVAILABLE" });
});
