/** The tool's work against real files and a real coordinator's join service. */
import { chmod, chown, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { JoinServiceService } from "@drayage/shared/gen/drayage/coordinator/v1/join.ts";
import { fingerprintOf, issueIdentity, signRequest } from "@drayage/shared/identity/authority.ts";
import { loadIdentity } from "@drayage/shared/identity/identity.ts";
import { loadAuthority } from "@drayage/shared/identity/store.ts";
import { makeSecret, makeToken } from "@drayage/shared/identity/token.ts";
import { createLogger } from "@drayage/shared/observe/logger.ts";
import { createRpcServer, service } from "@drayage/shared/rpc/server.ts";
import { Registry } from "prom-client";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { initAuthority } from "./init.ts";
import { type IssueOptions, issueCertificate } from "./issue.ts";
import { joinCluster } from "./join.ts";
import { formatTable, readCertificates } from "./show.ts";
import { requestToken } from "./token.ts";

let root: string;
let ca: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "drayage-pki-"));
  ca = join(root, "ca");
  await initAuthority({ cluster: "lab", dir: ca, force: false });
});
const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
  await rm(root, { recursive: true });
});

const refused = (reason: string, message = /./) =>
  expect.objectContaining({ reason, message: expect.stringMatching(message) });
const issue = (options: Partial<IssueOptions> = {}) =>
  issueCertificate({ role: "agent", name: "n1", san: [], days: 825, dir: ca, force: false, ...options });

describe("init", () => {
  test("again does nothing; for another cluster it refuses, or replaces when forced", async () => {
    const before = await loadAuthority(ca);
    expect(await initAuthority({ cluster: "lab", dir: ca, force: false })).toMatch(/is there already/);
    await expect(initAuthority({ cluster: "other", dir: ca, force: false })).rejects.toThrow(
      refused("ALREADY_EXISTS", /cluster lab/),
    );
    expect(await loadAuthority(ca)).toEqual(before);
    await initAuthority({ cluster: "other", dir: ca, force: true });
    expect((await loadAuthority(ca)).cluster).toBe("other");
  });

  test("half a CA is not taken for one, nor overwritten", async () => {
    await rm(join(ca, "ca.crt"));
    await expect(initAuthority({ cluster: "lab", dir: ca, force: false })).rejects.toThrow(
      refused("BAD_CONFIG", /ca\.crt does not exist/),
    );
  });

  test("keys are for the owner only, and nothing else is left behind", async () => {
    expect((await stat(join(ca, "ca.key"))).mode & 0o777).toBe(0o600);
    expect((await stat(join(ca, "ca.crt"))).mode & 0o777).toBe(0o644);
    expect((await readdir(ca)).sort()).toEqual(["ca.crt", "ca.key"]);
  });
});

describe("issue", () => {
  test("makes an identity that loads; again does nothing", async () => {
    const out = join(root, "n1");
    expect(await issue({ out, san: ["10.0.0.1", "n1.lan"] })).toMatch(/^issued/);
    const first = await loadIdentity(out, "agent");
    expect(first).toMatchObject({ cluster: "lab", role: "agent", name: "n1" });
    expect((await stat(join(out, "agent.key"))).mode & 0o777).toBe(0o600);
    expect(await issue({ out, san: ["n1.lan", "10.0.0.1"] })).toMatch(/is there already/);
    expect(await loadIdentity(out, "agent")).toEqual(first);
  });

  test("other names are refused unless forced", async () => {
    await issue();
    await expect(issue({ name: "n2" })).rejects.toThrow(refused("ALREADY_EXISTS", /other names/));
    await expect(issue({ san: ["n1.lan"] })).rejects.toThrow(refused("ALREADY_EXISTS"));
    await issue({ name: "n2", force: true });
    expect((await loadIdentity(ca, "agent")).name).toBe("n2");
  });

  test("what is about to expire is renewed", async () => {
    await issue({ days: 100 });
    expect(await issue({ days: 1_000 })).toMatch(/^renewed/);
    expect(await issue({ days: 1_000 })).toMatch(/is there already/);
  });

  test("a lost key, another CA and no CA at all are said, not papered over", async () => {
    await issue();
    await rm(join(ca, "agent.key"));
    await expect(issue()).rejects.toThrow(refused("ALREADY_EXISTS", /one half/));
    const other = join(root, "other");
    await initAuthority({ cluster: "other", dir: other, force: false });
    await expect(issue({ role: "operator", out: other })).rejects.toThrow(refused("ALREADY_EXISTS", /another CA/));
    await expect(issue({ dir: join(root, "none") })).rejects.toThrow(refused("BAD_CONFIG", /does not exist/));
    await expect(issue({ role: "operator", name: "a/b" })).rejects.toThrow(refused("BAD_REQUEST"));
  });

  test("a key that everybody can read does not load", async () => {
    await issue();
    await chmod(join(ca, "agent.key"), 0o644);
    await expect(loadIdentity(ca, "agent")).rejects.toThrow(refused("BAD_CONFIG", /read by everybody/));
  });

  // To give a file to another group takes root.
  test.runIf(process.getuid?.() === 0)("nor does one that its group can read, unless that is root's", async () => {
    await issue();
    const key = join(ca, "agent.key");
    await chmod(key, 0o640);
    await chown(key, 0, 0);
    expect(await loadIdentity(ca, "agent")).toMatchObject({ role: "agent" });
    await chown(key, 0, 4321);
    await expect(loadIdentity(ca, "agent")).rejects.toThrow(refused("BAD_CONFIG", /read by its group \(4321\)/));
    await chmod(key, 0o600);
    expect(await loadIdentity(ca, "agent")).toMatchObject({ role: "agent" });
  });
});

describe("show", () => {
  test("says of each file what it is and whether it is good", async () => {
    await issue({ san: ["10.0.0.1"] });
    await issue({ role: "operator", name: "ann", days: 3 });
    await writeFile(join(ca, "odd.crt"), "nonsense");
    const rows = await readCertificates(ca);
    expect(rows.map((row) => [row.file, row.role, row.name, row.standing.split(":")[0]])).toEqual([
      ["agent.crt", "agent", "n1", "ok"],
      ["ca.crt", "ca", "", "ok"],
      ["odd.crt", "", "", "not a certificate"],
      ["operator.crt", "operator", "ann", "expires soon"],
    ]);
    expect(formatTable(rows)).toMatch(/^FILE +CLUSTER +ROLE[\s\S]*agent\.crt +lab +agent +n1 .* ok +10\.0\.0\.1$/m);
    const later = await readCertificates(ca, Date.now() + 900 * 86_400_000);
    expect(later[0]?.standing).toBe("expired");
  });
});

describe("joining", () => {
  /** A coordinator that gives out and takes tokens. */
  async function coordinator(): Promise<{ address: string; tokens: Map<string, string> }> {
    const authority = await loadAuthority(ca);
    const tokens = new Map<string, string>();
    const server = createRpcServer({
      identity: await issueIdentity(authority, { role: "coordinator", name: "c1" }),
      node: "c1",
      logger: createLogger({ level: "silent", part: "test", node: "c1" }),
      registry: new Registry(),
      services: [
        service(JoinServiceService, {
          allowedRoles: ["operator"],
          anyone: ["join"],
          handlers: {
            join: async ({ secret, csrPem }) => {
              const name = tokens.get(secret);
              if (name === undefined) throw new DrayError("BAD_TOKEN", "unknown or used token");
              tokens.delete(secret);
              const certificatePem = await signRequest(authority, csrPem, {
                cluster: authority.cluster,
                role: "agent",
                name,
              });
              return { certificatePem, caPem: authority.caPem };
            },
            createJoinToken: async ({ node }) => {
              const secret = makeSecret();
              tokens.set(secret, node);
              return { token: makeToken(fingerprintOf(authority.caPem), secret) };
            },
          },
        }),
      ],
    });
    const port = await server.bind("127.0.0.1:0");
    closers.push(() => server.shutdown(0));
    return { address: `127.0.0.1:${port}`, tokens };
  }

  async function tokenFor(node: string, address: string): Promise<string> {
    const config = join(root, "client.yaml");
    await issue({ role: "operator", name: "ann", out: join(root, "pki") });
    await writeFile(config, `coordinators: ["${address}"]\n`);
    return requestToken({ node, ttlSeconds: 60, config });
  }

  test("token, join, and join again", async () => {
    const { address, tokens } = await coordinator();
    const token = await tokenFor("n1", address);
    const dir = join(root, "n1");
    expect(await joinCluster({ coordinator: address, token, dir, force: false })).toMatch(/^joined lab as n1/);
    const identity = await loadIdentity(dir, "agent");
    expect(identity).toMatchObject({ cluster: "lab", role: "agent", name: "n1" });
    expect((await stat(join(dir, "agent.key"))).mode & 0o777).toBe(0o600);
    expect(tokens.size).toBe(0);
    expect(await joinCluster({ coordinator: address, token, dir, force: false })).toMatch(
      /has joined lab as n1 already/,
    );
    expect(await loadIdentity(dir, "agent")).toEqual(identity);
    await expect(joinCluster({ coordinator: address, token, dir: join(root, "n2"), force: false })).rejects.toThrow(
      refused("BAD_TOKEN"),
    );
    await expect(joinCluster({ coordinator: address, token, node: "n2", dir, force: false })).rejects.toThrow(
      refused("ALREADY_EXISTS"),
    );
  });

  test("a token is not sent to another cluster's coordinator, and stays good", async () => {
    const { address } = await coordinator();
    const token = await tokenFor("n1", address);
    const [real, dir] = [ca, join(root, "n1")];
    ca = join(root, "other");
    await initAuthority({ cluster: "lab", dir: ca, force: false });
    const impostor = await coordinator();
    await expect(joinCluster({ coordinator: impostor.address, token, dir, force: false })).rejects.toThrow(
      refused("UNAUTHENTICATED", /does not belong to the cluster/),
    );
    ca = real;
    expect(await joinCluster({ coordinator: address, token, dir, force: false })).toMatch(/^joined/);
  });

  test("what is wrong is found before the token is used up", async () => {
    const { address, tokens } = await coordinator();
    const token = await tokenFor("n1", address);
    await expect(
      joinCluster({ coordinator: address, token: "DRAY1-x", dir: join(root, "n1"), force: false }),
    ).rejects.toThrow(refused("BAD_TOKEN"));
    await writeFile(join(root, "file"), "");
    await expect(joinCluster({ coordinator: address, token, dir: join(root, "file"), force: false })).rejects.toThrow(
      refused("BAD_CONFIG"),
    );
    await expect(
      joinCluster({ coordinator: "127.0.0.1:1", token, dir: join(root, "n1"), force: false }),
    ).rejects.toThrow(refused("NO_LEADER"));
    expect(tokens.size).toBe(1);
  });
});
