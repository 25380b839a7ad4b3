import { expect, test } from "vitest";
import { DrayError } from "../errors/dray-error.ts";
import type { Reason } from "../errors/reason.ts";
import { connectionFailure, tellFailures } from "./connection-failure.ts";

const error = (message: string, reason: Reason = "NO_LEADER") => new DrayError(reason, message);

test.each([
  [
    error("14 UNAVAILABLE: No connection established. Last error: Error: connect ECONNREFUSED 10.0.0.1:7443"),
    "connection refused",
  ],
  [error("connect EHOSTUNREACH 10.0.0.1:7443"), "no route to it"],
  [
    error("14 UNAVAILABLE: Name resolution failed for target dns:nowhere: getaddrinfo ENOTFOUND nowhere"),
    "the name cannot be resolved",
  ],
  [error("Deadline exceeded after 5.001s", "TIMEOUT"), "no answer"],
  [error("14 UNAVAILABLE: Connection dropped"), "Connection dropped"],
])("%s", (thrown, expected) => expect(connectionFailure(thrown)).toBe(expected));

test("addresses with the same trouble are told of together", () =>
  expect(
    tellFailures([
      { address: "n1:7443", error: error("connection refused") },
      { address: "n2:7443", error: error("no answer") },
      { address: "n3:7443", error: error("connection refused") },
    ]),
  ).toBe("n1:7443, n3:7443: connection refused; n2:7443: no answer"));
