/** `drayage docker-runtime add | remove | default`. */
import { Command } from "commander";
import { addRuntime, makeRuntimeDefault, type Report, removeRuntime, undoRuntimeDefault } from "./registration.ts";

export function dockerRuntimeCommand(): Command {
  const command = new Command("docker-runtime").description("registers drayage-runc with Docker on this host");
  command
    .command("add")
    .description("adds the runtime to Docker's daemon.json and reloads Docker")
    .action(reporting(addRuntime));
  command
    .command("remove")
    .description("takes the runtime out again; containers that name it get plain runc")
    .action(reporting(removeRuntime));
  command
    .command("default")
    .description("makes it the runtime of containers that name none")
    .option("--undo", "puts the former default back")
    .action((options: { undo?: boolean }) => reporting(options.undo ? undoRuntimeDefault : makeRuntimeDefault)());
  return command;
}

function reporting(work: () => Promise<Report>): () => Promise<void> {
  return async () => {
    process.stdout.write(`${await work()}\n`);
  };
}
