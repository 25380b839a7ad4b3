import { expect, test } from "vitest";
import { WaitingCommand } from "./waiting-command.ts";

test("acts on its input, and only then", async () => {
  const command = new WaitingCommand(["sh", "-c", 'read -r order; test "$order" = go']);
  await command.run("go\n", 5000);
});

test("a failure is told in the program's words", async () => {
  const command = new WaitingCommand(["sh", "-c", "cat >&2; exit 3"]);
  await expect(command.run("no such rule", 5000)).rejects.toMatchObject({
    reason: "COMMAND_FAILED",
    message: "sh ended with 3: no such rule",
  });
});

test("one that has ended early, is missing, or hangs is an error", async () => {
  const early = new WaitingCommand(["sh", "-c", "exit 1"]);
  await expect(early.run("go", 5000)).rejects.toMatchObject({ reason: "COMMAND_FAILED" });
  const missing = new WaitingCommand(["/nonexistent/program"]);
  await expect(missing.run("go", 5000)).rejects.toMatchObject({ reason: "COMMAND_FAILED" });
  const hanging = new WaitingCommand(["sleep", "60"]);
  await expect(hanging.run("", 20)).rejects.toMatchObject({ reason: "TIMEOUT" });
});

test("has one input, and none after it was discarded", async () => {
  const command = new WaitingCommand(["cat"]);
  command.discard();
  await expect(command.run("go", 5000)).rejects.toMatchObject({ reason: "INTERNAL" });
});
