/** The tests of this folder: its own pure parts, and the end-to-end suites, which need a lab (see run.ts). */
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "harness",
          root: import.meta.dirname,
          include: ["harness/**/*.test.ts", "bench/**/*.test.ts", "runner/**/*.test.ts", "faults/**/*.test.ts"],
          exclude: ["**/*.integration.test.ts", "**/*.e2e.test.ts"],
          // Only ends what hangs.
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: "e2e",
          root: import.meta.dirname,
          include: [
            "agent/**/*.e2e.test.ts",
            "e2e/**/*.e2e.test.ts",
            "memory/**/*.e2e.test.ts",
            "faults/**/*.e2e.test.ts",
          ],
          // One lab, and every suite moves containers in it.
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
      {
        test: {
          name: "vm",
          root: import.meta.dirname,
          include: ["vm/**/*.vm.test.ts"],
          fileParallelism: false,
          // Only ends what hangs: the processors of the machines are emulated.
          testTimeout: 1_800_000,
          hookTimeout: 1_800_000,
        },
      },
    ],
  },
});
