/** A registered node, its Docker two lists, through what may happen to a real etcd. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openEtcd } from "@drayage/shared/etcd/etcd3-client.ts";
import type { EtcdPort } from "@drayage/shared/etcd/etcd-port.ts";
import { EtcdProcess } from "@drayage/shared/etcd/test-support/etcd-process.ts";
import { HostFacts } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { createLogger } from "@drayage/shared/observe/logger.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import type { InventoryRecord } from "@drayage/shared/state/node.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import type { DockerNotice } from "../docker/docker-port.ts";
import type { ContainerInspect, ContainerSummary } from "../docker/types.ts";
import { type Identities, openIdentities } from "../identities/identities.ts";
import { Listing } from "./listing.ts";
import { type Registration, type RegistrationHost, startRegistration } from "./registration.ts";

const NODE = "n1";
/** Lives through an etcd that hangs as long as a write waits for it. */
const LEASE_TTL_S = 15;
const HANG_MS = 4_000;

let etcd: EtcdProcess;
let port: EtcdPort;
let own: EtcdPort;
let identities: Identities;
let directory: string;
let registration: Registration;
const stopping = new AbortController();
const listing = new Listing();
const containers: ContainerSummary[] = [];
/** Docker ids whose inspection does not end: Docker is starting them. */
const locked = new Set<string>();
let notify: () => void = () => undefined;

beforeAll(async () => {
  etcd = await EtcdProcess.start();
  port = openEtcd({ endpoints: [etcd.endpoint], identity: etcd.identity });
  own = openEtcd({ endpoints: [etcd.endpoint], identity: etcd.identity });
  directory = await mkdtemp(join(tmpdir(), "drayage-registration-"));
  identities = await openIdentities(directory);
  registration = startRegistration(host(), own, ["192.0.2.1:7400"]);
  await registration.first;
}, 60_000);

afterAll(async () => {
  stopping.abort();
  await registration?.stop();
  own?.close();
  port?.close();
  await etcd?.stop();
  if (directory !== undefined) await rm(directory, { recursive: true });
});

function host(): RegistrationHost {
  const facts = HostFacts.fromPartial({ criuVersion: 40200, architecture: "x86_64" });
  return {
    node: NODE,
    pageAddresses: ["192.0.2.1:7401"],
    identities,
    hostFacts: {
      current: async () => ({ facts, memoryTotalBytes: 2 ** 33, memoryAvailableBytes: 2 ** 32, cpus: 2 }),
    },
    listing,
    logger: createLogger({ level: "silent", part: "agent", node: NODE }),
    stopping: stopping.signal,
    config: { leaseTtlSeconds: LEASE_TTL_S, labels: {} },
    docker: {
      listContainers: async () => [...containers],
      inspectContainer: async (id, options) => {
        if (locked.has(id)) {
          await new Promise((resolve) => setTimeout(resolve, options?.deadlineMs));
          throw new DrayError("TIMEOUT", "Docker did not answer in time");
        }
        return { HostConfig: { Runtime: "drayage" } } as unknown as ContainerInspect;
      },
      async *events(_filters, signal): AsyncIterable<DockerNotice> {
        while (!signal.aborted) {
          yield { kind: "resync" };
          await new Promise<void>((resolve) => {
            notify = resolve;
            signal.addEventListener("abort", () => resolve(), { once: true });
          });
        }
      },
    },
  };
}

function summary(letter: string, name: string): ContainerSummary {
  return {
    Id: letter.repeat(64),
    Names: [`/${name}`],
    Image: "redis",
    ImageID: "sha256:1",
    State: "running",
    Labels: {},
    Ports: [],
    NetworkSettings: { Networks: {} },
  };
}

async function listed(): Promise<string[]> {
  const { entries } = await port.getPrefix(keys.inventoryOf(NODE));
  return entries.map(({ value }) => (JSON.parse(value) as InventoryRecord).name).sort();
}

test("an etcd that does not answer for a while costs no registration, and what changed meanwhile is shown", async () => {
  const before = await port.get(keys.node(NODE));
  etcd.suspend();
  containers.push(summary("a", "redis"));
  notify();
  await new Promise((resolve) => setTimeout(resolve, HANG_MS));
  etcd.resume();
  await expect.poll(listed).toEqual(["redis"]);
  const after = await port.get(keys.node(NODE));
  expect(after?.leaseId).toBe(before?.leaseId);
  expect(after?.createRevision).toBe(before?.createRevision);
  expect(registration.registered).toBe(true);
});

test("what is asked to be listed is in etcd when the answer comes", async () => {
  containers.push(summary("b", "web"));
  await listing.upToDate();
  expect(await listed()).toEqual(["redis", "web"]);
  containers.splice(0, containers.length);
  await listing.upToDate();
  expect(await listed()).toEqual([]);
});

test("a container that Docker is starting keeps no other from being listed, nor itself", async () => {
  containers.push(summary("c", "held"), summary("d", "other"));
  locked.add("c".repeat(64));
  await listing.upToDate();
  expect(await listed()).toEqual(["held", "other"]);
  locked.clear();
  await listing.upToDate();
  const held = await port.get(keys.inventory(NODE, "c".repeat(64)));
  expect(JSON.parse(held?.value ?? "{}")).toMatchObject({ name: "held", runtime: "drayage" });
});

test("a lost lease is replaced by a new one, with everything on it", async () => {
  const before = await port.get(keys.node(NODE));
  // Longer than the holder trusts the lease.
  etcd.suspend();
  await new Promise((resolve) => setTimeout(resolve, (LEASE_TTL_S * 1_000 * 2) / 3 + 500));
  expect(registration.registered).toBe(false);
  etcd.resume();
  await expect.poll(() => registration.registered).toBe(true);
  const after = await port.get(keys.node(NODE));
  expect(after?.leaseId).not.toBe(before?.leaseId);
  expect(await listed()).toEqual(["held", "other"]);
});
