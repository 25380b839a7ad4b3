import { defineConfig } from "vitest/config";

/** Only ends what hangs: machines that run labs beside the tests are slow. */
const HANGS_AFTER_MS = 20_000;
const expect = { poll: { timeout: HANGS_AFTER_MS / 2 } };

const globalSetup = ["agent/native/global-setup.ts"];

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          globalSetup,
          include: ["**/src/**/*.test.ts", "deploy/**/*.test.ts"],
          exclude: ["**/node_modules/**", "**/dist/**", "**/*.integration.test.ts"],
          testTimeout: HANGS_AFTER_MS,
          hookTimeout: HANGS_AFTER_MS,
          expect,
        },
      },
      {
        test: {
          name: "integration",
          globalSetup,
          include: ["**/*.integration.test.ts"],
          exclude: ["**/node_modules/**", "**/dist/**"],
          // They share the machine's Docker, etcd ports and network names.
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          expect,
        },
      },
    ],
  },
});
