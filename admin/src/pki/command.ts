/** `drayage pki init | issue | token | show` and `drayage join`. */
import { text } from "node:stream/consumers";
import { ROLES, type Role } from "@drayage/shared/identity/peer.ts";
import { Command, InvalidArgumentError, Option } from "commander";
import { initAuthority } from "./init.ts";
import { issueCertificate } from "./issue.ts";
import { joinCluster } from "./join.ts";
import { formatTable, readCertificates } from "./show.ts";
import { requestToken } from "./token.ts";

const PKI_DIRECTORY = "/etc/drayage/pki";
const DEFAULT_DAYS = 825;
const DEFAULT_TTL_SECONDS = 3_600;

export function pkiCommand(): Command {
  const command = new Command("pki").description("certificates of the cluster");
  command
    .command("init")
    .description("makes the CA of a new cluster")
    .requiredOption("--cluster <name>", "name of the cluster")
    .option("--dir <directory>", "where ca.crt and ca.key go", PKI_DIRECTORY)
    .option("--force", "replace a CA that is there", false)
    .action(async (options: { cluster: string; dir: string; force: boolean }) => print(await initAuthority(options)));
  command
    .command("issue")
    .description("makes key and certificate of a member, where the CA lives")
    .addOption(new Option("--role <role>", "what the member is").choices(ROLES).makeOptionMandatory())
    .requiredOption("--name <name>", "node name of an agent, else a name of your choice")
    .option("--san <names>", "host names and IP addresses to put in, separated by commas; may be repeated", collect, [])
    .option("--days <days>", "how long it is good", positiveInteger, DEFAULT_DAYS)
    .option("--dir <directory>", "where the CA is", PKI_DIRECTORY)
    .option("--out <directory>", "where the files go; the CA's directory if not given")
    .option("--force", "replace files that are there", false)
    .action(async (options: IssueFlags) => print(await issueCertificate(options)));
  command
    .command("token")
    .description("makes a one-time token with which a node may join")
    .requiredOption("--node <name>", "name of the node")
    .option("--ttl <seconds>", "how long it is good", positiveInteger, DEFAULT_TTL_SECONDS)
    .option("--config <file>", "client configuration instead of the usual one")
    .action(async ({ ttl, ...options }: { node: string; ttl: number; config?: string }) =>
      print(await requestToken({ ...options, ttlSeconds: ttl })),
    );
  command
    .command("show")
    .description("lists certificates, roles and expiry")
    .option("--dir <directory>", "where they are", PKI_DIRECTORY)
    .option("--json", "as JSON", false)
    .action(async (options: { dir: string; json: boolean }) => {
      const rows = await readCertificates(options.dir);
      print(options.json ? JSON.stringify(rows, null, 2) : formatTable(rows));
    });
  return command;
}

interface IssueFlags {
  readonly role: Role;
  readonly name: string;
  readonly san: string[];
  readonly days: number;
  readonly dir: string;
  readonly out?: string;
  readonly force: boolean;
}

export function joinCommand(): Command {
  return new Command("join")
    .description("joins this host to a cluster: gets its agent's certificate for a token")
    .requiredOption("--coordinator <host:port>", "a coordinator of the cluster")
    .requiredOption(
      "--token <token>",
      "from `drayage pki token`; - reads it from standard input, where `ps` does not show it",
    )
    .option("--node <name>", "the name that the token must be for")
    .option("--dir <directory>", "where the files go", PKI_DIRECTORY)
    .option("--force", "replace files that are there", false)
    .action(async (options: { coordinator: string; token: string; node?: string; dir: string; force: boolean }) =>
      print(
        await joinCluster({ ...options, token: options.token === "-" ? await text(process.stdin) : options.token }),
      ),
    );
}

function collect(value: string, previous: readonly string[]): string[] {
  return [...previous, ...value.split(",").filter((name) => name !== "")];
}

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value <= 0) throw new InvalidArgumentError("must be a positive whole number");
  return value;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
