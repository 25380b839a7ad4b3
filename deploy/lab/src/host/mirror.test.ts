import { describe, expect, it } from "vitest";
import { chooseMirror, parseOneLineSources, parseStanzaSources } from "./mirror.ts";

const STANZAS = `Types: deb
# a comment
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main

Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
`;

describe("mirror", () => {
  it("is found among stanzas, past security", () => {
    expect(chooseMirror(parseStanzaSources(STANZAS))).toBe("http://mirror.example/debian");
  });

  it("is found among one-line sources, past comments, sources and other archives", () => {
    const text = [
      "# deb http://old.example/debian bookworm main",
      "deb-src http://source.example/debian bookworm main",
      "deb [arch=amd64 signed-by=/k.gpg] https://packages.example/tool stable extra",
      "deb [arch=amd64] http://mirror.example/debian trixie main non-free # ours",
    ].join("\n");
    expect(chooseMirror(parseOneLineSources(text))).toBe("http://mirror.example/debian");
  });

  it("is not one that is switched off", () => {
    expect(chooseMirror(parseStanzaSources(`Enabled: no\n${STANZAS.split("\n\n")[1]}`))).toBeUndefined();
  });

  it("is not there when no source is Debian's", () => {
    expect(chooseMirror(parseOneLineSources("deb http://ports.example/other jammy main\n"))).toBeUndefined();
  });
});
