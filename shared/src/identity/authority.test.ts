import { X509Certificate } from "node:crypto";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import {
  type Authority,
  createAuthority,
  createRequest,
  fingerprintOf,
  issueIdentity,
  makeAuthority,
  signRequest,
} from "./authority.ts";
import { makeIdentity } from "./identity.ts";
import { makeToken, parseToken, secretDigest } from "./token.ts";

const refused = (reason: string) => expect.objectContaining({ reason });

let authority: Authority;
beforeAll(async () => {
  authority = await createAuthority("lab");
});

describe("authority", () => {
  test("reads back what it wrote, and knows its cluster", () => {
    expect(makeAuthority(authority.caPem, authority.caKeyPem)).toEqual(authority);
  });

  test("a key of another CA is noticed", async () => {
    const other = await createAuthority("lab");
    expect(() => makeAuthority(authority.caPem, other.caKeyPem)).toThrow(refused("BAD_CONFIG"));
  });

  test("certificates are signed, for both ends of TLS, and carry the names asked for", async () => {
    const identity = await issueIdentity(
      authority,
      { role: "etcd", name: "e1" },
      { alternativeNames: ["10.0.0.1", "::1", "e1.lan"] },
    );
    const certificate = new X509Certificate(identity.certPem);
    expect(certificate.verify(new X509Certificate(authority.caPem).publicKey)).toBe(true);
    expect(certificate.ca).toBe(false);
    expect(certificate.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
    expect(certificate.subjectAltName).toBe(
      "URI:drayage://lab/etcd/e1, IP Address:10.0.0.1, IP Address:0:0:0:0:0:0:0:1, DNS:e1.lan",
    );
  });

  test("no certificate outlives the CA", async () => {
    const identity = await issueIdentity(authority, { role: "agent", name: "n1" }, { validMs: 1e12 });
    const [leaf, ca] = [identity.certPem, authority.caPem].map((pem) => new X509Certificate(pem).validToDate.getTime());
    expect(leaf).toBe(ca);
  });

  test.each(["a b", "x,URI:drayage://lab/operator/root", "", "-x", "10.0.0.1:80"])(
    "%j is no alternative name",
    async (name) => {
      await expect(
        issueIdentity(authority, { role: "agent", name: "n1" }, { alternativeNames: [name] }),
      ).rejects.toThrow(refused("BAD_REQUEST"));
    },
  );
});

describe("signing requests", () => {
  test("the signed certificate belongs to the requester's key and to the name the authority chose", async () => {
    const { csrPem, keyPem } = await createRequest();
    const certPem = await signRequest(authority, csrPem, { cluster: "lab", role: "agent", name: "n7" });
    expect(makeIdentity({ caPem: authority.caPem, certPem, keyPem }, "test", "agent")).toMatchObject({
      name: "n7",
      role: "agent",
      cluster: "lab",
    });
  });

  test("a request that was tampered with is refused", async () => {
    const { csrPem } = await createRequest();
    const lines = csrPem.trim().split("\n");
    const der = Buffer.from(lines.slice(1, -1).join(""), "base64");
    der[der.length - 1] = (der.at(-1) ?? 0) ^ 1;
    const tampered = [lines[0], der.toString("base64"), lines.at(-1)].join("\n");
    await expect(signRequest(authority, tampered, { cluster: "lab", role: "agent", name: "n1" })).rejects.toThrow(
      refused("BAD_REQUEST"),
    );
  });

  test.each(["", "nonsense", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"])(
    "%j is refused",
    async (csr) => {
      await expect(signRequest(authority, csr, { cluster: "lab", role: "agent", name: "n1" })).rejects.toThrow(
        refused("BAD_REQUEST"),
      );
    },
  );

  test("nothing is signed for another cluster", async () => {
    const { csrPem } = await createRequest();
    await expect(signRequest(authority, csrPem, { cluster: "other", role: "agent", name: "n1" })).rejects.toThrow(
      refused("BAD_REQUEST"),
    );
  });
});

describe("identity", () => {
  test("parts that do not fit are refused", async () => {
    const [one, two] = await Promise.all([
      issueIdentity(authority, { role: "agent", name: "n1" }),
      issueIdentity(await createAuthority("lab"), { role: "agent", name: "n1" }),
    ]);
    const past = await issueIdentity(
      authority,
      { role: "agent", name: "n1" },
      { nowMs: Date.now() - 9e8, validMs: 1e8 },
    );
    const make = (pems: typeof one) => () => makeIdentity(pems, "pki", "agent");
    expect(make({ ...one, keyPem: two.keyPem })).toThrow(/does not belong/);
    expect(make({ ...one, caPem: two.caPem })).toThrow(/not signed/);
    expect(make(past)).toThrow(/expired on/);
    expect(() => makeIdentity(one, "pki", "operator")).toThrow(/is a certificate for agent n1/);
  });
});

describe("tokens", () => {
  test("carry the fingerprint and the secret, whatever bytes they have", () => {
    const bytes = (length: number) =>
      fc.uint8Array({ minLength: length, maxLength: length }).map((array) => Buffer.from(array));
    fc.assert(
      fc.property(bytes(32), bytes(24), (fingerprint, random) => {
        const secret = random.toString("base64url");
        expect(parseToken(` ${makeToken(fingerprint, secret)}\n`)).toEqual({ fingerprint, secret });
      }),
    );
  });

  test.each(["", "DRAY1-", "DRAY2-x-y", `DRAY1-${"a".repeat(43)}-short`])("%j is refused", (text) => {
    expect(() => parseToken(text)).toThrow(refused("BAD_TOKEN"));
  });

  test("two tokens of one CA differ, and only digests need to be kept", () => {
    const [one, two] = [makeToken(fingerprintOf(authority.caPem)), makeToken(fingerprintOf(authority.caPem))];
    expect(one).not.toBe(two);
    expect(secretDigest(parseToken(one).secret)).toMatch(/^[0-9a-f]{64}$/);
  });
});
