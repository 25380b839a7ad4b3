/** The command line of the lab. */
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { EXIT, hasCode, isAbort, LabError } from "./errors.ts";
import { IMAGE_NAMES } from "./image/recipe.ts";
import { DEFAULT_NAME } from "./lab/layout.ts";
import { NODE_KINDS, type NodeKind } from "./node/driver.ts";
import { createProgress } from "./progress.ts";
import { SUITES, type Suite } from "./rootfs/recipe.ts";

const interruption = new AbortController();

function nameOption(): Option {
  return new Option("--name <name>", "which lab").default(DEFAULT_NAME).env("DRAYAGE_LAB");
}

function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError("not a positive whole number");
  return value;
}

/** A command on an existing lab. */
function command(parent: Command, usage: string, description: string): Command {
  return parent.command(usage).description(description).addOption(nameOption());
}

function print(text: string): void {
  process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
}

interface UpFlags {
  name: string;
  nodes?: number;
  kind?: NodeKind;
  suite?: Suite;
  cluster: boolean;
  package?: string;
  keepFailed?: boolean;
}

function defineLifecycle(program: Command): void {
  command(program, "up", "start a lab, or complete one that is up")
    .option("--nodes <n>", "how many nodes (3)", count)
    .addOption(new Option("--kind <kind>", "what a node is (container)").choices(NODE_KINDS))
    .addOption(new Option("--suite <suite>", "Debian suite of the nodes (forky)").choices(SUITES))
    .option("--no-cluster", "bare nodes, without Drayage and etcd")
    .option("--keep-failed", "leave a lab that failed to come up as it is, to look into it")
    .option("--package <file>", "install this package instead of the one built from the sources")
    .action(async ({ cluster, ...flags }: UpFlags) => {
      const { up } = await import("./lab/up.ts");
      const progress = createProgress();
      interruptible();
      const bare = cluster ? {} : { cluster: false };
      const lab = await up({ ...flags, ...bare }, progress, interruption.signal);
      progress.step(`lab "${lab.layout.name}" is up (${(progress.elapsedMs() / 1000).toFixed(1)} s in all)`);
    });

  command(program, "down", "take a lab away, with everything in it").action(async ({ name }) => {
    const { down } = await import("./lab/down.ts");
    uninterruptible();
    await down(name, createProgress());
  });

  command(program, "env", "print what puts dray into PATH and points it at the lab; for eval").action(
    async ({ name }) => {
      const [{ openLab }, { environmentExports }] = await Promise.all([
        import("./lab/lab.ts"),
        import("./cluster/client.ts"),
      ]);
      print(environmentExports(await openLab(name)));
    },
  );

  command(program, "status", "show a lab and its nodes")
    .option("--json", "as JSON")
    .action(async ({ name, json }) => {
      const [{ openLab }, { formatStatus, labStatus }] = await Promise.all([
        import("./lab/lab.ts"),
        import("./lab/status.ts"),
      ]);
      const status = await labStatus(await openLab(name));
      print(json === true ? JSON.stringify(status, null, 2) : formatStatus(status));
    });
}

function defineNodes(program: Command): void {
  command(program, "exec", "run a command in a node; stdin, stdout, stderr and the exit code are the command's")
    .argument("<node>")
    .argument("<command...>")
    .passThroughOptions()
    .action(async (node: string, argv: string[], { name }) => {
      const [{ openLab }, { execInNode }] = await Promise.all([import("./lab/lab.ts"), import("./lab/exec.ts")]);
      process.exitCode = await execInNode(await openLab(name), node, argv);
    });

  command(program, "cp", "copy a file or directory; one side is NODE:/path")
    .argument("<source>")
    .argument("<target>")
    .action(async (source: string, target: string, { name }) => {
      const [{ openLab }, { copy, parsePlace }] = await Promise.all([import("./lab/lab.ts"), import("./lab/exec.ts")]);
      interruptible();
      await copy(await openLab(name), parsePlace(source), parsePlace(target), interruption.signal);
    });

  command(program, "kill", "cut a node's power: its port first, then everything in it at once")
    .argument("<node>")
    .action(async (node: string, { name }) => {
      uninterruptible();
      await changing(name, async ({ control, lab }) => control.killNode(lab, node));
    });

  command(program, "start", "boot a node that is off")
    .argument("<node>")
    .action(async (node: string, { name }) => {
      interruptible();
      await changing(name, async ({ control, lab, found }) =>
        control.bootNode(lab, found(node), createProgress().of(node), interruption.signal),
      );
    });

  command(program, "partition", "drop every frame to and from a node; its link stays up")
    .argument("<node>")
    .action(async (node: string, { name }) => {
      await changing(name, async ({ control, lab }) => control.setPartitioned(lab, node, true));
    });

  command(program, "heal", "end a partition")
    .argument("<node>")
    .action(async (node: string, { name }) => {
      await changing(name, async ({ control, lab }) => control.setPartitioned(lab, node, false));
    });

  command(program, "link", "limit the rate of a node's link, in both directions")
    .argument("<node>")
    .requiredOption("--rate <rate>", "such as 1gbit or 100mbit; none takes the limit away")
    .action(async (node: string, { name, rate }) => {
      const { parseRate } = await import("./network/shaping.ts");
      const bitsPerSecond = parseRate(rate);
      await changing(name, async ({ control, lab }) => control.setLinkRate(lab, node, bitsPerSecond));
    });
}

function defineImages(program: Command): void {
  command(program, "images", "import container images of the lab into nodes; without names, list them")
    .argument("[image...]", IMAGE_NAMES.join(", "))
    .option("--node <node...>", "into these nodes (all)")
    .action(async (images: string[], { name, node }) => {
      if (images.length === 0) {
        print(IMAGE_NAMES.join("\n"));
        return;
      }
      const [{ importImages }, { openLab }] = await Promise.all([import("./image/import.ts"), import("./lab/lab.ts")]);
      interruptible();
      await importImages(await openLab(name), images, node, createProgress(), interruption.signal);
    });
}

function defineDoctor(program: Command): void {
  program
    .command("doctor")
    .description("say what this machine lacks for a lab, with the remedy; installs nothing outside this checkout")
    .option("--json", "as JSON")
    .action(async ({ json }) => {
      const { examineHost, formatFindings } = await import("./host/doctor.ts");
      interruptible();
      const findings = await examineHost(interruption.signal);
      print(json === true ? JSON.stringify(findings, null, 2) : formatFindings(findings));
      if (findings.some(({ verdict }) => verdict === "missing")) process.exitCode = EXIT.precondition;
    });
}

/** Opens a lab under its lock for a change. */
async function changing(
  name: string,
  change: (parts: {
    control: typeof import("./lab/node-control.ts");
    lab: import("./lab/lab.ts").Lab;
    found: (node: string) => import("./lab/lab.ts").LabNode;
  }) => Promise<void>,
): Promise<void> {
  const [control, { findNode, lockLab, openLab }, { labLayout }] = await Promise.all([
    import("./lab/node-control.ts"),
    import("./lab/lab.ts"),
    import("./lab/layout.ts"),
  ]);
  await using _lock = await lockLab(labLayout(name));
  const lab = await openLab(name);
  await change({ control, lab, found: (node) => findNode(lab, node) });
}

/** Ctrl-C and SIGTERM abort; what was begun is cleaned up before the end. */
function interruptible(): void {
  const abort = () => interruption.abort();
  process.on("SIGINT", abort).on("SIGTERM", abort).on("SIGHUP", abort);
}

/** Half a kill or half a removal helps nobody. */
function uninterruptible(): void {
  const stay = () => process.stderr.write("lab: finishing first\n");
  process.on("SIGINT", stay).on("SIGTERM", stay).on("SIGHUP", stay);
}

function report(thrown: unknown): number {
  if (thrown instanceof SuppressedError) {
    const exitCode = report(thrown.suppressed);
    process.stderr.write(`lab: ${thrown.message}\n`);
    report(thrown.error);
    return exitCode;
  }
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : EXIT.usage;
  if (isAbort(thrown) && interruption.signal.aborted) {
    process.stderr.write("lab: interrupted\n");
    return EXIT.interrupted;
  }
  if (thrown instanceof LabError) {
    process.stderr.write(`lab: ${thrown.message}\n`);
    if (thrown.remedy !== undefined) process.stderr.write(`  remedy: ${thrown.remedy}\n`);
    return thrown.exitCode;
  }
  if (hasCode(thrown, "ENOENT", "EACCES") && thrown instanceof Error) {
    process.stderr.write(`lab: ${thrown.message}\n`);
    return hasCode(thrown, "ENOENT") ? EXIT.notFound : EXIT.failed;
  }
  process.stderr.write(`lab: ${thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)}\n`);
  return EXIT.failed;
}

const program = new Command("lab")
  .description("several real Docker hosts on one machine")
  .enablePositionalOptions()
  .exitOverride();
defineLifecycle(program);
defineNodes(program);
defineImages(program);
defineDoctor(program);
try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}
