/** A reporter of vitest's that writes what tally.ts counts, as JSON into the file that DRAYAGE_TEST_REPORT names. */
import { writeFileSync } from "node:fs";
import { relative } from "node:path";
import { stripVTControlCharacters } from "node:util";
import type { Reporter, SerializedError, TestModule } from "vitest/node";
import type { Report } from "./tally.ts";

export const REPORT_VARIABLE = "DRAYAGE_TEST_REPORT";

type Failures = Report["failures"];

export default class TallyReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const file = process.env[REPORT_VARIABLE];
    if (file === undefined) throw new Error(`${REPORT_VARIABLE} is not set`);
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const report: Report = {
      passed: tests.filter((test) => test.result().state === "passed").length,
      skipped: tests.filter((test) => test.result().state === "skipped").length,
      failures: [
        ...modules.flatMap(failuresOf),
        ...unhandled.map((error) => ({ file: "", name: "an error that no test caught", message: said([error]) })),
      ],
    };
    writeFileSync(file, JSON.stringify(report));
  }
}

/** Failed tests, failed hooks of suites, and a file that did not load or whose process died. */
function failuresOf(module: TestModule): Failures {
  const file = relative(process.cwd(), module.moduleId);
  const tests = [...module.children.allTests("failed")];
  const suites = [...module.children.allSuites()].filter((suite) => suite.errors().length > 0);
  const failures = [
    ...tests.map((test) => ({ file, name: test.fullName, message: said(test.result().errors ?? []) })),
    ...suites.map((suite) => ({ file, name: `hooks of ${suite.fullName}`, message: said(suite.errors()) })),
  ];
  if (module.errors().length > 0) failures.push({ file, name: "the file itself", message: said(module.errors()) });
  if (failures.length > 0 || ["passed", "skipped"].includes(module.state())) return failures;
  return [{ file, name: "the file itself", message: `vitest left it in state ${module.state()}` }];
}

interface Said {
  readonly message: string;
  readonly stack?: string | undefined;
  readonly cause?: unknown;
}

/** Messages, each with its causes and the first place in our own sources. */
function said(errors: readonly Said[]): string {
  const texts = errors.map((error) => {
    const place = error.stack?.split("\n").find((line) => /^\s+at /.test(line) && !/node:|node_modules/.test(line));
    return [...messages(error), ...(place === undefined ? [] : [`  ${place.trim()}`])].join("\n");
  });
  return stripVTControlCharacters(texts.join("\n"));
}

function messages({ message, cause }: Said): string[] {
  const isError = typeof cause === "object" && cause !== null && "message" in cause;
  return [message, ...(isError ? messages(cause as Said).map((line) => `because: ${line}`) : [])];
}
