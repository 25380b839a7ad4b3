import { expect, test } from "vitest";
import { Handoff } from "./handoff.ts";

test("a chunk's memory may be used again when it was taken", async () => {
  const handoff = new Handoff();
  const chunk = Buffer.alloc(1);
  const pushing = (async () => {
    for (let letter = 0; letter < 50; letter++) {
      chunk[0] = letter;
      await handoff.put(chunk);
    }
    handoff.end();
  })();
  const taken: number[] = [];
  for await (const { 0: letter } of handoff) taken.push(letter as number);
  await pushing;
  expect(taken).toEqual(Array.from({ length: 50 }, (_, letter) => letter));
});

test("an end before anybody looks is an end", async () => {
  const handoff = new Handoff();
  handoff.end();
  const taken = [];
  for await (const chunk of handoff) taken.push(chunk);
  expect(taken).toEqual([]);
});

test("who pushes hears that the other has left", async () => {
  const handoff = new Handoff();
  const pushing = handoff.put(Buffer.from("x")).then(() => handoff.put(Buffer.from("y")));
  for await (const _chunk of handoff) break;
  await expect(pushing).rejects.toThrow("nobody");
  await expect(handoff.put(Buffer.from("z"))).rejects.toThrow("nobody");
});

test("a failure reaches both", async () => {
  const handoff = new Handoff();
  const pulling = (async () => {
    for await (const _chunk of handoff);
  })();
  handoff.fail(new Error("no more"));
  await expect(pulling).rejects.toThrow("no more");
  await expect(handoff.put(Buffer.from("x"))).rejects.toThrow("no more");
});
