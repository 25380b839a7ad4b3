/** A program of the tests' own that runs inside of a node: in one file, for the Node that the package brings. */
import { build } from "esbuild";
import { COMMONJS_GLOBALS } from "../../deploy/build/bundle.ts";

/** In a node. */
export const NODE = "/usr/lib/drayage/node";

/** The text of the program that begins with this source file. */
export async function buildNodeProgram(entryPoint: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [entryPoint],
    bundle: true,
    write: false,
    platform: "node",
    format: "esm",
    target: "node24",
    banner: { js: COMMONJS_GLOBALS },
    logLevel: "silent",
  });
  return outputFiles[0]?.text ?? "";
}
