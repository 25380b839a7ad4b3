import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { type ImageId, LAZY, PAGE_BYTES, type PageRange, PARENT, PRESENT } from "../memory-image/page-range.ts";
import { type Command, destinationOf, encodeCommand, type HeaderBytes } from "./protocol.ts";
import { type PageEvent, PageStreamDecoder } from "./stream-decoder.ts";

const HEADERS: readonly HeaderBytes[] = [24, 32];
const TASK: ImageId = { kind: "task", id: 7 };
const DESTINATION = destinationOf(TASK);

/** Every image has a parent, so that holes are allowed. */
function decode(chunks: Iterable<Buffer>, decoder = new PageStreamDecoder()): PageEvent[] {
  const events: PageEvent[] = [];
  for (const chunk of chunks) {
    for (const event of decoder.decode(chunk)) {
      if (event.kind === "data" && event.bytes.buffer !== chunk.buffer) throw new Error("content was copied");
      events.push(event);
      if (event.kind === "open") decoder.answered(event.answerWanted);
    }
  }
  decoder.finish();
  return events;
}

/** Events with the pieces of a range's content joined. */
function joined(events: readonly PageEvent[]): unknown[] {
  const result: unknown[] = [];
  let content: Buffer[] = [];
  for (const event of [...events, undefined]) {
    if (event?.kind === "data") {
      content.push(event.bytes);
      continue;
    }
    if (content.length > 0) result.push(Buffer.concat(content).toString("hex"));
    content = [];
    if (event !== undefined) result.push(event);
  }
  return result;
}

function cut(bytes: Buffer, places: number[]): Buffer[] {
  const sorted = places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b);
  return [...sorted, bytes.length].map((end, index) => bytes.subarray(index === 0 ? 0 : sorted[index - 1], end));
}

function outcomeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return error instanceof DrayError ? `${error.reason}: ${error.message}` : `not ours: ${error}`;
  }
  return "accepted";
}

interface SentImage {
  readonly image: ImageId;
  readonly inquire: boolean;
  readonly ranges: readonly PageRange[];
}

const imageArbitrary: fc.Arbitrary<SentImage> = fc.record({
  image: fc.record({ kind: fc.constantFrom("task", "shared"), id: fc.integer({ min: 0, max: 2 ** 40 }) }),
  inquire: fc.boolean(),
  ranges: fc
    .array(
      fc.tuple(
        fc.integer({ min: 0, max: 2 ** 20 }),
        fc.integer({ min: 1, max: 3 }),
        fc.constantFrom(PRESENT, PRESENT | LAZY, LAZY, PARENT),
      ),
      { maxLength: 5 },
    )
    .map((gaps) => {
      let at = 0;
      return gaps.map(([gap, pages, flags]) => {
        const vaddr = at + gap * PAGE_BYTES;
        at = vaddr + pages * PAGE_BYTES;
        return { vaddr, pages, flags };
      });
    }),
});

/** What a client sends, and the events that it stands for. */
function stream(images: readonly SentImage[], headerBytes: HeaderBytes): { bytes: Buffer; events: unknown[] } {
  const pieces: Buffer[] = [];
  const events: unknown[] = [];
  const send = (command: Command) => pieces.push(encodeCommand(command, headerBytes));
  for (const { image, inquire, ranges } of images) {
    const destination = destinationOf(image);
    if (inquire) {
      send({ operation: "parent", destination });
      events.push({ kind: "parentInquiry", image });
    }
    send({ operation: "openAnswered", destination });
    events.push({ kind: "open", image, answerWanted: true });
    for (const range of ranges) {
      send({ operation: "addFlagged", ...range, destination });
      events.push({ kind: "entry", ...range });
      if ((range.flags & PRESENT) === 0) continue;
      const content = Buffer.alloc(range.pages * PAGE_BYTES, (range.vaddr / PAGE_BYTES) % 251);
      pieces.push(content);
      events.push(content.toString("hex"));
    }
  }
  send({ operation: "close" });
  events.push({ kind: "close" });
  return { bytes: Buffer.concat(pieces), events };
}

describe.each(HEADERS)("a client with headers of %i bytes", (headerBytes) => {
  const encode = (...commands: (Command | Buffer)[]) =>
    Buffer.concat(commands.map((part) => (Buffer.isBuffer(part) ? part : encodeCommand(part, headerBytes))));
  const open: Command = { operation: "openAnswered", destination: DESTINATION };
  const close: Command = { operation: "close" };
  const add = (vaddr: number, flags = PARENT, pages = 1): Command => ({
    operation: "addFlagged",
    ...{ vaddr, pages, flags, destination: DESTINATION },
  });
  const outcome = (...commands: (Command | Buffer)[]) => outcomeOf(() => decode([encode(...commands)]));

  test("is understood under any chunking", () => {
    fc.assert(
      fc.property(
        fc.array(imageArbitrary, { maxLength: 4 }),
        fc.array(fc.nat(), { maxLength: 40 }),
        fc.boolean(),
        (images, places, told) => {
          const { bytes, events } = stream(images, headerBytes);
          const decoder = new PageStreamDecoder(told ? headerBytes : undefined);
          expect(joined(decode(cut(bytes, places), decoder))).toEqual(events);
          if (images.length > 0) expect(decoder.headerBytes).toBe(headerBytes);
        },
      ),
    );
  });

  test("is understood byte by byte", () => {
    const content = Buffer.alloc(PAGE_BYTES, 3);
    const bytes = encode(open, add(4096, PRESENT), content, close);
    const events = decode(Array.from(bytes, (_byte, at) => bytes.subarray(at, at + 1)));
    expect(events.length).toBe(3 + PAGE_BYTES);
  });

  test("whatever the padding says", () => {
    const bytes = encode(open, close);
    if (headerBytes === 32) for (const at of [4, 36]) bytes.fill(0xff, at, at + 4);
    expect(decode([bytes]).map(({ kind }) => kind)).toEqual(["open", "close"]);
  });

  test("that has nothing to send only closes", () => {
    const bytes = encode(close);
    for (let at = 0; at <= bytes.length; at++) {
      expect(decode([bytes.subarray(0, at), bytes.subarray(at)])).toEqual([{ kind: "close" }]);
    }
    expect(outcome(close, Buffer.alloc(9))).toContain("goes on after it was closed");
  });

  test("of old has operations without flags", () => {
    const destination = DESTINATION;
    const bytes = encode(
      { operation: "open", destination },
      { operation: "add", vaddr: 8192, pages: 1, destination },
      Buffer.alloc(PAGE_BYTES, 1),
      { operation: "forceClose" },
    );
    expect(decode([bytes])).toMatchObject([
      { kind: "open", image: TASK, answerWanted: false },
      { kind: "entry", vaddr: 8192, pages: 1, flags: PRESENT },
      { kind: "data" },
      { kind: "close" },
    ]);
    const hole: Command = { operation: "hole", vaddr: 8192, pages: 1, destination };
    expect(decode([encode(open, hole, close)])).toContainEqual({ kind: "entry", vaddr: 8192, pages: 1, flags: PARENT });
    expect(outcome({ operation: "open", destination }, hole, close)).toContain("a hole where there is no parent");
  });

  test("asks for pages, if its header is known", () => {
    const request = encode({ operation: "get", vaddr: 2 ** 46, pages: 3, destination: 12n });
    const decoder = new PageStreamDecoder(headerBytes);
    expect([...decoder.decode(request)]).toEqual([{ kind: "get", pid: 12, vaddr: 2 ** 46, pages: 3 }]);
    expect(outcomeOf(() => [...new PageStreamDecoder().decode(request)])).toContain("begins with get");
  });

  test.each<[string, (Command | Buffer)[]]>([
    ["a hole where there is no parent", [{ ...open, operation: "open" }, add(4096), close]],
    ["a range of an image that is not open", [open, { ...add(4096), destination: DESTINATION + 256n }, close]],
    ["a range of an image that is not open", [{ ...open, operation: "parent" }, add(4096), close]],
    ["begins with addFlagged", [add(4096), close]],
    ["behind one that ends at 3000", [open, add(0x1000, PARENT, 2), add(0x2000), close]],
    ["behind one that ends at 9000", [open, add(0x8000), add(0x7000), close]],
    ["a range with flags 0", [open, add(4096, 0), close]],
    ["a range with flags 5", [open, add(4096, PARENT | PRESENT), close]],
    ["a range with flags 8", [open, add(4096, 8), close]],
    ["a range of 0 pages", [open, add(4096, PARENT, 0), close]],
    [`a range of ${2 ** 28 + 1} pages`, [open, add(4096, PARENT, 2 ** 28 + 1), close]],
    ["begins inside of a page", [open, add(4097), close]],
    ["outside of the address space", [open, add(2 ** 56 - 4096, PARENT, 2), close]],
    ["outside of the address space", [open, { ...add(0), vaddr: 2 ** 63 }, close]],
    ["an unknown kind of image", [{ ...open, destination: 0x703n }, close]],
    ["an unknown kind of image", [{ ...open, destination: 2n ** 64n - 0xffn }, close]],
    ["openAnswered with flags 1", [{ ...open, flags: 1 }, close]],
    ["parent with a range", [open, { ...open, operation: "parent", pages: 1 }, close]],
    ["a request for pages of no process", [open, { operation: "get", vaddr: 4096, pages: 1, destination: 0n }, close]],
    ["a request for a range of 0 pages", [open, { operation: "get", vaddr: 4096, pages: 0, destination: 1n }, close]],
    ["goes on after it was closed", [open, close, Buffer.alloc(1)]],
    ["goes on after it was closed", [open, close, open]],
    ["ends before it was closed", [open]],
    ["ends 4095 bytes before the end of a range", [open, add(4096, PRESENT), Buffer.alloc(1)]],
    ["ends within a command, 23 bytes in", [open, Buffer.from([6, 0, ...Array.from({ length: 21 }, () => 0)])]],
    ["ends before it was closed", []],
  ])("is refused: %s", (message, commands) => {
    expect(outcome(...commands)).toMatch(/^CORRUPT_STREAM: /);
    expect(outcome(...commands)).toContain(message);
  });

  test("is refused for operations that nobody knows", () => {
    const bytes = encode(open, close);
    bytes.writeUInt16LE(8, headerBytes);
    expect(outcomeOf(() => decode([bytes]))).toContain("unknown operation 8");
    expect(outcomeOf(() => decode([Buffer.from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")]))).toContain("unknown");
  });

  test("stays refused", () => {
    const decoder = new PageStreamDecoder();
    const first = outcomeOf(() => decode([Buffer.alloc(64, 0xff)], decoder));
    expect(first).toMatch(/^CORRUPT_STREAM: /);
    expect(outcomeOf(() => decode([encode(open, close)], decoder))).toBe(first);
    expect(outcomeOf(() => decoder.finish())).toBe(first);
  });

  test("whose bytes were changed is refused, or understood as somebody who said that", () => {
    fc.assert(
      fc.property(
        fc.array(imageArbitrary, { minLength: 1, maxLength: 3 }),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 }),
        fc.array(fc.nat(), { maxLength: 10 }),
        (images, changes, places) => {
          const { bytes } = stream(images, headerBytes);
          for (const [place, value] of changes) bytes[place % bytes.length] = value;
          expect(outcomeOf(() => decode(cut(bytes, places)))).toMatch(/^CORRUPT_STREAM: |^accepted$/);
        },
      ),
      { numRuns: 1000 },
    );
  });
});

test("noise never does more than be refused", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 400 }),
      fc.constantFrom(...Array.from({ length: 9 }, (_, code) => code), 0x1023, 0x1024),
      fc.array(fc.nat(), { maxLength: 10 }),
      (noise, code, places) => {
        const bytes = Buffer.from(noise);
        // Past the first look at the operation.
        if (bytes.length >= 4) bytes.writeUInt32LE(code);
        expect(outcomeOf(() => decode(cut(bytes, places)))).toMatch(/^CORRUPT_STREAM: |^accepted$/);
      },
    ),
    { numRuns: 2000 },
  );
});

test("a terabyte announced takes no memory", () => {
  const decoder = new PageStreamDecoder();
  const chunk = Buffer.concat([
    encodeCommand({ operation: "openAnswered", destination: DESTINATION }, 32),
    encodeCommand({ operation: "addFlagged", flags: PRESENT, pages: 2 ** 28, destination: DESTINATION }, 32),
    Buffer.alloc(1 << 20),
  ]);
  const before = process.memoryUsage();
  const kinds = [...decoder.decode(chunk)].map(({ kind }) => kind);
  const after = process.memoryUsage();
  expect(kinds).toEqual(["open", "entry", "data"]);
  expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(1 << 20);
  expect(outcomeOf(() => decoder.finish())).toContain(`ends ${2 ** 40 - 2 ** 20} bytes before`);
});
