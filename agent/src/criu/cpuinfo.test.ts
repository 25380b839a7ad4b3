import { expect, test } from "vitest";
import { objectionIn } from "./cpuinfo.ts";

test("what CRIU has against a processor", () => {
  expect(
    objectionIn("Error (criu/arch/x86/cpu.c:223): cpu: CPU instruction capabilities do not match run time\n\n"),
  ).toBe("CPU instruction capabilities do not match run time");
  expect(
    objectionIn("(00.010) Error (criu/arch/x86/cpu.c:262): cpu: CPU xfeatures has unsupported bits (0x3f00)"),
  ).toBe("CPU xfeatures has unsupported bits (0x3f00)");
  expect(objectionIn("Warn  (criu/x.c:1): odd\nError (criu/protobuf.c:93): Read 48 bytes while 116 expected\n")).toBe(
    "Read 48 bytes while 116 expected",
  );
  expect(objectionIn("")).toBe("no reason given");
});
