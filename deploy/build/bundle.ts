/** One ES module per program and per thread of one, everything in it but the few .proto files that libraries read at run time. */
import { cp, mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { build, type Plugin } from "esbuild";
import { BuildError } from "./command.ts";
import type { BuildInputs } from "./inputs.ts";

/** Bundle name by the folder that holds its src/main.ts. */
export const PROGRAMS: Readonly<Record<string, string>> = {
  agent: "agent",
  coordinator: "coordinator",
  cli: "dray",
  admin: "admin",
};

/** Bundle name by the entry of a thread; it stands beside the programs, where the one that starts it looks. */
const THREADS: Readonly<Record<string, string>> = {
  "shared/src/page-stream/lanes/lane-thread.ts": "lane-thread",
};

/**
 * Libraries that look for .proto files beside themselves. In the package they
 * stand beside the bundle instead; a library that changes its ways fails the build.
 */
const PROTO_READERS = [
  {
    module: "etcd3/lib/connection-pool.js",
    reads: "`${__dirname}/../proto/rpc.proto`",
    instead: "`${__dirname}/proto/etcd/rpc.proto`",
  },
  {
    module: "grpc-health-check/build/src/health.js",
    reads: "includeDirs: [`${__dirname}/../../proto`]",
    instead: "includeDirs: [`${__dirname}/proto`]",
  },
];

/** Files that the readers above need: from a library, to a path beside the bundles. */
const PROTO_FILES = [
  { library: "etcd3/package.json", directory: "proto", to: "proto/etcd" },
  { library: "grpc-health-check/package.json", directory: "proto/health/v1", to: "proto/health/v1" },
];

/** Gives bundled CommonJS libraries what they expect to find around them. */
export const COMMONJS_GLOBALS = [
  'import { createRequire as __createRequire } from "node:module";',
  "const require = __createRequire(import.meta.url);",
  "const __filename = import.meta.filename;",
  "const __dirname = import.meta.dirname;",
].join("\n");

/** Writes `<name>.mjs` for every program and thread, and the .proto files, into `directory`. */
export async function bundlePrograms(inputs: BuildInputs, directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  const programs = Object.entries(PROGRAMS).map(([folder, name]) => [`${folder}/src/main.ts`, name] as const);
  await Promise.all(
    [...programs, ...Object.entries(THREADS)].map(([entry, name]) =>
      build({
        absWorkingDir: inputs.root,
        entryPoints: [join(inputs.root, entry)],
        outfile: join(directory, `${name}.mjs`),
        bundle: true,
        platform: "node",
        format: "esm",
        target: "node24",
        banner: { js: COMMONJS_GLOBALS },
        define: {
          DRAYAGE_REVISION: JSON.stringify(inputs.revision),
          __FAULTS__: JSON.stringify(inputs.faults),
        },
        minifySyntax: true,
        keepNames: true,
        legalComments: "none",
        logLevel: "silent",
        // Optional native speed-ups of ssh2, which Docker's client loads and Drayage never uses.
        external: ["cpu-features", "*.node"],
        plugins: [protoReaders()],
      }),
    ),
  ).catch((cause: unknown) => {
    throw new BuildError(
      `a program cannot be bundled: ${String(cause)}`,
      "Correct the sources; `npx tsc -p .` says more.",
    );
  });
  const require = createRequire(join(inputs.root, "shared/package.json"));
  for (const { library, directory: from, to } of PROTO_FILES) {
    await cp(join(dirname(require.resolve(library)), from), join(directory, to), { recursive: true });
  }
}

function protoReaders(): Plugin {
  return {
    name: "proto-readers",
    setup(context) {
      for (const reader of PROTO_READERS) {
        const pattern = new RegExp(`${reader.module.replaceAll(/[./]/g, "\\$&")}$`);
        context.onLoad({ filter: pattern }, async ({ path }) => {
          const contents = await readFile(path, "utf8");
          if (!contents.includes(reader.reads)) {
            throw new BuildError(
              `${reader.module} no longer reads ${reader.reads}`,
              "See which .proto files it wants now, and correct PROTO_READERS and PROTO_FILES.",
            );
          }
          return { contents: contents.replace(reader.reads, () => reader.instead), loader: "js" };
        });
      }
    },
  };
}
