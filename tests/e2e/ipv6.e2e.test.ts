/** A container with an IPv6 address, and a client that holds a connection to it. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { run } from "../../deploy/lab/src/host/run.ts";
import { eventually } from "../harness/eventually.ts";
import { HeldConnection } from "../harness/held-connection.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "./stage.ts";

const stage = new Stage("ipv6", ["redis"]);
const NETWORK = "six";
const ADDRESS = "fd66::50";
/** A segment of its own, tunnelled over the lab's: Docker takes an interface for one macvlan network only. */
const SEGMENT = "drsix0";
const tunnel = (over: string) => [
  ...["ip", "link", "add", SEGMENT, "type", "vxlan", "id", "66"],
  ...["group", "239.6.6.6", "dev", over, "dstport", "4789"],
];
const subnets = ["--ipv6", "--subnet=10.66.0.0/24", "--subnet=fd66::/64"];

beforeAll(async () => {
  const { lab } = stage;
  for (const node of [stage.source, stage.destination]) {
    await lab.exec(node, tunnel("host0"));
    await lab.exec(node, ["ip", "link", "set", SEGMENT, "up"]);
    await lab.docker(node, "network", "create", "-d", "macvlan", ...subnets, "-o", `parent=${SEGMENT}`, NETWORK);
  }
  const [route] = JSON.parse(await run(["ip", "-j", "route", "get", lab.nodeAddress(stage.source)])) as {
    dev: string;
  }[];
  await run(tunnel(route?.dev ?? ""));
  await run(["ip", "address", "add", "fd66::1/64", "dev", SEGMENT, "nodad"]);
  await run(["ip", "link", "set", SEGMENT, "up"]);
});

afterAll(async () => {
  const { lab } = stage;
  for (const node of [stage.source, stage.destination]) {
    await lab.tryExec(node, ["docker", "network", "rm", NETWORK]);
    await lab.tryExec(node, ["ip", "link", "delete", SEGMENT]);
  }
  await run(["ip", "link", "delete", SEGMENT]);
});

test("there and back on one connection over IPv6", async () => {
  const { lab } = stage;
  const container = await stage.start({
    node: stage.source,
    name: "six",
    image: "redis:latest",
    options: [`--network=${NETWORK}`, `--ip6=${ADDRESS}`],
  });
  const held = await eventually(() => HeldConnection.redis({ host: ADDRESS, port: 6379 }), {
    what: "Redis listens",
    deadlineMs: 20_000,
  });
  for (const to of [stage.destination, stage.source]) {
    await held.moreReplies(20);
    await migrate(lab, container.name, to);
    await held.moreReplies(20);
    await assertOneCopy(lab, container, to);
  }
  expect((await held.stop()).longestGap.durationMs).toBeLessThan(60_000);
  await stage.nothingElseLeft();
});
