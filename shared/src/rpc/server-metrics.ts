/** How many calls were answered how, and how long that took. */
import { status } from "@grpc/grpc-js";
import { Counter, Histogram, type Registry } from "prom-client";

export interface ServerMetrics {
  handled(path: MethodPath, code: status, startedAtMs: number): void;
}

export interface MethodPath {
  readonly service: string;
  readonly method: string;
}

const LABELS = ["grpc_service", "grpc_method", "grpc_code"] as const;
const BUCKETS_SECONDS = [0.001, 0.005, 0.025, 0.1, 0.5, 2, 10, 60];

export function serverMetrics(registry: Registry): ServerMetrics {
  const total = new Counter({
    name: "grpc_server_handled_total",
    help: "Calls answered by the server, by status.",
    labelNames: LABELS,
    registers: [registry],
  });
  const duration = new Histogram({
    name: "grpc_server_handling_seconds",
    help: "Time from the start of a call to its status.",
    labelNames: LABELS,
    buckets: BUCKETS_SECONDS,
    registers: [registry],
  });
  return {
    handled: (path, code, startedAtMs) => {
      const labels = { grpc_service: path.service, grpc_method: path.method, grpc_code: status[code] ?? String(code) };
      total.inc(labels);
      duration.observe(labels, (performance.now() - startedAtMs) / 1000);
    },
  };
}
