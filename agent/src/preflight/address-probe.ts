/** Asks a link who has an address, with the kernel's own neighbour discovery, and hears everybody who answers. */
import { randomBytes } from "node:crypto";
import { isIPv6 } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { runCommand } from "../host/run-command.ts";
import { type AnswerTable, answerTable } from "./answer-table.ts";

export interface AddressAnswer {
  readonly address: string;
  /** Interface of this host on which was asked. */
  readonly device: string;
  /** Lower case; undefined if nobody answered. */
  readonly mac: string | undefined;
}

const Neighbours = z.array(z.object({ dst: z.string(), lladdr: z.string().optional(), state: z.array(z.string()) }));
const HeardSet = z.object({
  nftables: z.array(z.looseObject({ set: z.looseObject({ elem: z.array(z.string()).optional() }).optional() })),
});
const Tables = z.object({
  nftables: z.array(z.looseObject({ table: z.object({ family: z.string(), name: z.string() }).optional() })),
});
const PREFIX = "drayage_probe_";
/** The kernel asks three times, a second apart. */
const LIMIT_MS = 3_500;
const POLL_MS = 50;
/** From the question on: who is on the same link has answered by then. */
const OTHERS_MS = 150;

/**
 * One answer for each hardware address that answers, or one without. The interface needs no address of that subnet.
 * Leaves nothing behind; an entry that the host had is asked anew. Throws COMMAND_FAILED if the interface does not exist.
 */
export async function whoHas(address: string, device: string, signal?: AbortSignal): Promise<AddressAnswer[]> {
  // The kernel believes the first, and ignores who comes within a second of him.
  const table = answerTable(`${PREFIX}${randomBytes(6).toString("hex")}`, address, device);
  await runCommand(["nft", "-f", "-"], { signal, stdin: table.rules });
  try {
    const askedMs = performance.now();
    const first = await firstAnswer(address, device, signal);
    if (first === undefined) return [{ address, device, mac: undefined }];
    await delay(Math.max(0, OTHERS_MS - (performance.now() - askedMs)), undefined, { signal });
    const macs = new Set([first, ...(await heard(table, signal))]);
    return [...macs].map((mac) => ({ address, device, mac }));
  } finally {
    await runCommand(["nft", "delete", "table", table.family, table.name]);
  }
}

/** Removes what an agent that was killed in the middle has left. Throws DrayError COMMAND_FAILED, TIMEOUT, CANCELLED. */
export async function sweepProbes(signal?: AbortSignal): Promise<void> {
  const { stdout } = await runCommand(["nft", "-j", "list", "tables"], { signal });
  for (const { table } of Tables.parse(JSON.parse(stdout)).nftables) {
    if (table?.name.startsWith(PREFIX) === true) {
      await runCommand(["nft", "delete", "table", table.family, table.name], { signal });
    }
  }
}

async function heard({ family, name, set }: AnswerTable, signal: AbortSignal | undefined): Promise<string[]> {
  const { stdout } = await runCommand(["nft", "-j", "list", "set", family, name, set], { signal });
  return HeardSet.parse(JSON.parse(stdout)).nftables.flatMap((entry) => entry.set?.elem ?? []);
}

/** Whom the kernel believes; undefined if nobody answers. */
async function firstAnswer(
  address: string,
  device: string,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const entry = [address, "dev", device];
  const family = isIPv6(address) ? "-6" : "-4";
  await runCommand(["ip", family, "neigh", "replace", ...entry, "nud", "none", "use"], { signal });
  try {
    const untilMs = performance.now() + LIMIT_MS;
    for (;;) {
      const { stdout } = await runCommand(["ip", family, "-json", "neigh", "show", ...entry], { signal });
      const found = Neighbours.parse(JSON.parse(stdout.trim() === "" ? "[]" : stdout))[0];
      if (found?.lladdr !== undefined && !found.state.includes("INCOMPLETE")) return found.lladdr.toLowerCase();
      // The kernel tells nobody of its answer but a netlink socket: ask until it has one.
      if (found?.state.includes("FAILED") === true || performance.now() > untilMs) return undefined;
      await delay(POLL_MS, undefined, { signal });
    }
  } finally {
    await runCommand(["ip", family, "neigh", "del", ...entry], { okCodes: [0, 1, 2] });
  }
}
