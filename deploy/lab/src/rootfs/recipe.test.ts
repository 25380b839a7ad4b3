import { describe, expect, it } from "vitest";
import { aptPreferences, aptSources, mmdebstrapArgv, nodeRecipe, recipeDigest } from "./recipe.ts";

const PATHS = { target: "/cache/result", preferences: "/cache/drayage-lab" };

describe("recipes", () => {
  it("have one digest, whatever the order of their fields, and another when anything in them changes", () => {
    const recipe = nodeRecipe("forky", "host");
    const reordered = Object.fromEntries(Object.entries(recipe).reverse());
    expect(recipeDigest(reordered)).toBe(recipeDigest(recipe));
    expect(recipeDigest({ ...recipe, packages: [...recipe.packages, "hello"] })).not.toBe(recipeDigest(recipe));
    expect(recipeDigest({ ...recipe, files: { ...recipe.files, "/etc/x": "" } })).not.toBe(recipeDigest(recipe));
    expect(recipeDigest(nodeRecipe("trixie", "host"))).not.toBe(recipeDigest(recipe));
  });

  it("take CRIU from forky on trixie, unless it has its own kernel, and nothing from elsewhere on forky", () => {
    expect(aptPreferences(nodeRecipe("trixie", "own"))).toBe("");
    expect(aptPreferences(nodeRecipe("forky", "host"))).toBe("");
    expect(aptSources(nodeRecipe("forky", "host"), "http://m.example")).toHaveLength(1);
    expect(aptSources(nodeRecipe("trixie", "host"), "http://m.example").map((line) => line.split(" ")[3])).toEqual([
      "trixie",
      "forky",
    ]);
    expect(aptPreferences(nodeRecipe("trixie", "host"))).toMatch(
      /Package: criu [^\n]*\nPin: release n=forky\nPin-Priority: 990/,
    );
  });

  it("become a command line with suite, target and sources last", () => {
    const argv = mmdebstrapArgv(nodeRecipe("forky", "host"), "http://m.example", PATHS);
    expect(argv.slice(-3, -1)).toEqual(["forky", "/cache/result"]);
    expect(argv.at(-1)).toMatch(/^deb \[signed-by=[^\]]+\] http:\/\/m\.example forky main$/);
    expect(argv.find((word) => word.startsWith("--include="))).toMatch(/,docker\.io,.*,etcd-server,/);
    expect(argv).toContain('--aptopt=Acquire::Check-Valid-Until "false"');
  });
});
