/** Measures the calls of a port from outside, so that its implementation knows nothing of metrics. */
import { toDrayError } from "../errors/dray-error.ts";

/** `code` is "OK" or the reason of the error. */
export type ObserveCall = (operation: string, seconds: number, code: string) => void;

/** The same port; each call of the named methods, which return promises, is reported when it settles. */
export function observeCalls<Port extends object>(
  port: Port,
  methods: readonly (keyof Port & string)[],
  observe: ObserveCall,
): Port {
  const observed = new Set<PropertyKey>(methods);
  return new Proxy(port, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== "function") return member;
      if (!observed.has(name)) return member.bind(target);
      return (...parameters: unknown[]) => {
        const startedAt = performance.now();
        const end = (code: string) => observe(String(name), (performance.now() - startedAt) / 1000, code);
        const settled = Reflect.apply(member, target, parameters) as Promise<unknown>;
        settled.then(
          () => end("OK"),
          (thrown: unknown) => end(toDrayError(thrown).reason),
        );
        return settled;
      };
    },
  });
}
