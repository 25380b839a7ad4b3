/** A daemon that does nothing. Its "configuration file" is the variable LOG_LEVEL; its first argument says how it fares. */
import { setTimeout as sleep } from "node:timers/promises";
import { DrayError } from "../../errors/dray-error.ts";
import type { LogLevel } from "../../observe/logger.ts";
import { runDaemon } from "../daemon.ts";

const [fate = "", ...args] = process.argv.slice(2);
let loads = 0;

await runDaemon(
  {
    part: "sample",
    configFile: "/etc/sample.yaml",
    async load({ path, env }) {
      if (path === "/missing") throw new DrayError("BAD_CONFIG", `${path} does not exist`, { remedy: "Write it." });
      if (loads++ > 0) return { logLevel: "debug" };
      return { logLevel: (env["LOG_LEVEL"] ?? "info") as LogLevel };
    },
    nodeOf: () => "n1",
    async start(_config, logger) {
      const held = sleep(60_000);
      // Once it can be stopped.
      setImmediate(() => logger.info("started"));
      return {
        ready: fate === "never-ready" ? held.then(() => ({})) : Promise.resolve({ port: 7 }),
        ...(fate === "fails" ? { failed: Promise.reject(new DrayError("ETCD_UNAVAILABLE", "no etcd")) } : {}),
        stop: async () => logger.info("stopped"),
      };
    },
  },
  args,
);
