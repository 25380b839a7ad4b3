/** Dependencies point one way: cli, admin, agent, coordinator → shared. Tests and deployment may look at all of them. */
const PARTS = ["agent", "coordinator", "cli", "admin"];

const isolated = PARTS.map((part) => ({
  name: `${part}-stands-alone`,
  severity: "error",
  comment: "Parts speak to each other over their contracts only.",
  from: { path: `^${part}/src` },
  to: { path: `^(${[...PARTS.filter((other) => other !== part), "deploy", "tests"].join("|")})/` },
}));

module.exports = {
  forbidden: [
    ...isolated,
    {
      name: "shared-knows-no-part",
      severity: "error",
      from: { path: "^shared/src" },
      to: { path: `^(${[...PARTS, "deploy", "tests"].join("|")})/` },
    },
    {
      name: "no-cycles",
      severity: "error",
      from: { pathNot: "^shared/src/gen" },
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    {
      name: "tests-stay-outside",
      severity: "error",
      comment: "What runs in production imports no test and nothing made for tests.",
      from: { path: "/src/", pathNot: ["\\.test\\.ts$", "/test-support/", "^(deploy|tests)/"] },
      to: { path: ["\\.test\\.ts$", "/test-support/", "vitest", "fast-check"] },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: "specify",
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "default"] },
  },
};
