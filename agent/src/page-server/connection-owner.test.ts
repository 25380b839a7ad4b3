import { expect, test } from "vitest";
import { ownerIn } from "./connection-owner.ts";

const TABLE = `
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:A001 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1 0000000000000000 100 0 0 10 0
   1: 0100007F:C001 0100007F:A001 01 00000000:00000000 00:00000000 00000000  1000        0 101 1 0000000000000000 20 4 30 10 -1
   2: 0100007F:A001 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 102 1 0000000000000000 20 4 30 10 -1
   3: 0100007F:C002 0100007F:A001 01 00000000:00000000 00:00000000 00000000     0        0 103 1 0000000000000000 20 4 30 10 -1
   4: 0100007F:C003 0100007F:A001 04 00000000:00000000 00:00000000 00000000     0        0 0 1 0000000000000000 20 4 30 10 -1
   5: 0100007F:C004 0100007F:A001 06 00000000:00000000 03:00000F32 00000000     0        0 0 3 0000000000000000
   6: 0A00000A:C005 0100007F:A001 01 00000000:00000000 00:00000000 00000000     7        0 104 1 0000000000000000 20 4 30 10 -1
`;
const SERVER = { address: "127.0.0.1", port: 0xa001 };

test.each([
  ["a user's", "127.0.0.1", 0xc001, 1000],
  ["root's", "127.0.0.1", 0xc002, 0],
  ["one that was closed, and is listed as root's", "127.0.0.1", 0xc003, null],
  ["one in TIME_WAIT", "127.0.0.1", 0xc004, null],
  ["one from another address", "10.0.0.10", 0xc005, 7],
  ["none", "127.0.0.1", 0xc006, null],
  ["the listener", "0.0.0.0", 0, null],
])("%s", (_whose, address, port, owner) => {
  expect(ownerIn(TABLE, { address, port }, SERVER)).toBe(owner);
});
