import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { expect, it } from "vitest";
import { type ConnectionNews, connectionLine } from "./connection-news.ts";

const error = new DrayError("NO_LEADER", "the connection was\u001B closed");
const trying = ["10.0.0.2:7410", "10.0.0.1:7410"];
const c1 = { name: "c1", address: "10.0.0.1:7410" };

it.each<[ConnectionNews, string]>([
  [
    { kind: "lost", from: c1, error, trying },
    "c1 (10.0.0.1:7410) does not answer (the connection was\uFFFD closed); trying 10.0.0.2:7410, 10.0.0.1:7410",
  ],
  [
    { kind: "lost", from: undefined, error, trying },
    "no coordinator answers (the connection was\uFFFD closed); trying 10.0.0.2:7410, 10.0.0.1:7410",
  ],
  [
    { kind: "waiting", forMs: 75_000, error, trying },
    "still no coordinator after 1 min 15 s (the connection was\uFFFD closed); trying 10.0.0.2:7410, 10.0.0.1:7410",
  ],
  [{ kind: "back", to: c1, afterMs: 1_500 }, "c1 (10.0.0.1:7410) answers, after 1.50 s"],
])("$kind", (news, line) => expect(connectionLine(news)).toBe(line));
