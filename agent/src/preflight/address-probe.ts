/** Asks a link who has an address, with the kernel's own neighbour discovery. */
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { runCommand } from "../host/run-command.ts";

export interface AddressAnswer {
  readonly address: string;
  /** Interface of this host on which was asked. */
  readonly device: string;
  /** Lower case; undefined if nobody answered. */
  readonly mac: string | undefined;
}

const Neighbours = z.array(z.object({ dst: z.string(), lladdr: z.string().optional(), state: z.array(z.string()) }));
/** The kernel asks three times, a second apart. */
const LIMIT_MS = 3_500;
const POLL_MS = 50;

/**
 * The interface needs no address of that subnet. Leaves nothing behind; an entry that the host had is asked anew.
 * Throws COMMAND_FAILED if the interface does not exist.
 */
export async function whoHas(address: string, device: string, signal?: AbortSignal): Promise<AddressAnswer> {
  const entry = [address, "dev", device];
  await runCommand(["ip", "neigh", "replace", ...entry, "nud", "none", "use"], { signal });
  try {
    const untilMs = performance.now() + LIMIT_MS;
    for (;;) {
      const { stdout } = await runCommand(["ip", "-json", "neigh", "show", ...entry], { signal });
      const found = Neighbours.parse(JSON.parse(stdout.trim() === "" ? "[]" : stdout))[0];
      if (found?.lladdr !== undefined && !found.state.includes("INCOMPLETE")) {
        return { address, device, mac: found.lladdr.toLowerCase() };
      }
      // The kernel tells nobody of its answer but a netlink socket: ask until it has one.
      if (found?.state.includes("FAILED") === true || performance.now() > untilMs) {
        return { address, device, mac: undefined };
      }
      await delay(POLL_MS, undefined, { signal });
    }
  } finally {
    await runCommand(["ip", "neigh", "del", ...entry], { okCodes: [0, 1, 2] });
  }
}
