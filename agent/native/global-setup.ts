/** For vitest: the addon is built before any test needs it. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";

export default function setup(): void {
  execFileSync(join(import.meta.dirname, "build"), { stdio: "inherit" });
}
