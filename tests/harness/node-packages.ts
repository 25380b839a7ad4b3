/** Debian packages for running nodes, fetched once: a node itself reaches no mirror. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { findMirror } from "../../deploy/lab/src/host/mirror.ts";
import { run } from "../../deploy/lab/src/host/run.ts";
import { createProgress } from "../../deploy/lab/src/progress.ts";
import { cached } from "../../deploy/lab/src/rootfs/cache.ts";
import type { TestLab } from "./test-lab.ts";

const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
const INSTALL_DEADLINE_MS = 300_000;
/**
 * What is installed where nothing lacks what it needs: apt does nothing for a system that does. Kept before the first
 * installation that leaves something out.
 */
const WHOLE_STATUS = "/var/lib/dpkg/whole-status";
const READ_STATUS = `if [ -e ${WHOLE_STATUS} ]; then cat ${WHOLE_STATUS}; else cat /var/lib/dpkg/status; fi`;
const KEEP_STATUS = `[ -e ${WHOLE_STATUS} ] || cp /var/lib/dpkg/status ${WHOLE_STATUS}`;
/** Arguments are further options of dpkg. */
const INSTALL = `
rm -rf /run/packages; mkdir /run/packages; tar -C /run/packages -x
DEBIAN_FRONTEND=noninteractive dpkg --force-unsafe-io "$@" --install /run/packages/*.deb
rm -r /run/packages
`;

/**
 * Installs packages and whatever they need that the nodes lack; but nothing whose name matches `without`: what they
 * declare to need, but not for what is wanted of them here.
 */
export async function installPackages(
  lab: TestLab,
  nodes: readonly string[],
  packages: readonly string[],
  without?: RegExp,
): Promise<void> {
  for (const node of nodes) {
    const present = await lab.tryExec(node, ["dpkg-query", "--show", "--showformat=${Status}\n", ...packages]);
    if (present.exitCode === 0 && !/not-installed|deinstall/.test(present.stdout)) continue;
    const status = await lab.shell(node, READ_STATUS);
    const archive = createReadStream(await fetchPackages(lab.suite, status, packages, without));
    const options = without === undefined ? [] : ["--force-depends"];
    if (without !== undefined) await lab.shell(node, KEEP_STATUS);
    const install = ["/bin/sh", "-euc", INSTALL, "sh", ...options];
    await lab.exec(node, install, { stdin: archive, deadlineMs: INSTALL_DEADLINE_MS });
  }
}

/** Archive of the .deb files that a system with this dpkg status lacks for `packages`. */
async function fetchPackages(
  suite: string,
  status: string,
  packages: readonly string[],
  without: RegExp | undefined,
): Promise<string> {
  const wanted = [packages.join(), ...(without === undefined ? [] : [without.source])].join();
  const digest = createHash("sha256").update(installedVersions(status)).update(wanted).digest("hex");
  return await cached({
    key: `packages-${suite}-${packages.join("-")}-${digest.slice(0, 16)}.tar`,
    progress: createProgress(),
    build: async (target, scratch) => {
      for (const name of ["lists/partial", "cache/archives/partial", "etc"])
        await mkdir(join(scratch, name), { recursive: true });
      await writeFile(join(scratch, "status"), `${status}\n`);
      await writeFile(
        join(scratch, "sources.list"),
        `deb [signed-by=${KEYRING}] ${await findMirror()} ${suite} main\n`,
      );
      const settings = {
        "Dir::State": scratch,
        "Dir::State::status": join(scratch, "status"),
        "Dir::State::lists": join(scratch, "lists"),
        "Dir::Cache": join(scratch, "cache"),
        "Dir::Etc::sourcelist": join(scratch, "sources.list"),
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Acquire::Check-Valid-Until": "false",
        "APT::Install-Recommends": "false",
      };
      const options = Object.entries(settings).map(([name, value]) => `--option=${name}=${value}`);
      await run(["apt-get", ...options, "update"]);
      await run(["apt-get", ...options, "--yes", "--download-only", "install", ...packages]);
      const archives = join(scratch, "cache/archives");
      const names = (await readdir(archives)).filter((name) => name.endsWith(".deb") && without?.test(name) !== true);
      await run(["tar", "-C", archives, "-c", "-f", target, ...names]);
    },
  });
}

/** What is installed, without the order and the texts of dpkg's file. */
function installedVersions(status: string): string {
  return status
    .split("\n\n")
    .map((stanza) => (stanza.match(/^(?:Package|Version|Status): .*$/gm) ?? []).join(" "))
    .sort()
    .join("\n");
}
