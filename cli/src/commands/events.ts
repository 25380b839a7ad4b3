/** `dray events [--follow]`. */
import { WatchEventsRequest, type Event } from "@drayage/shared/gen/drayage/coordinator/v1/cluster.ts";
import { serverStream } from "@drayage/shared/rpc/client.ts";
import type { Command } from "commander";
import { QUICK } from "../cluster-session.ts";
import { type CommandContext, isJson, isTemplate, type OutputOptions } from "../context.ts";
import { eventDocument } from "../documents/cluster-documents.ts";
import { EXAMPLES } from "../documents/examples.ts";
import { printable } from "../output/table.ts";
import { fillTemplate } from "../output/template.ts";
import { showTime } from "../output/units.ts";
import { withOutputOptions } from "./output-options.ts";

interface EventOptions extends OutputOptions {
  readonly follow?: boolean;
}

export function addEventsCommand(program: Command, context: CommandContext): void {
  withOutputOptions(program.command("events").description("shows what happened"), EXAMPLES.event)
    .option("-f, --follow", "goes on with new events")
    .action((options: EventOptions) => events(context, options));
}

async function events(context: CommandContext, options: EventOptions): Promise<void> {
  const follow = options.follow ?? false;
  // After a change of coordinator the kept events come again.
  let seen = 0;
  await context.withSession(options, async (session) => {
    const stream = session.follow(
      follow ? Number.POSITIVE_INFINITY : QUICK.patienceMs,
      ({ cluster }, settings) =>
        serverStream(cluster, cluster.watchEvents, WatchEventsRequest.fromPartial({ follow }), settings),
      () => !follow,
    );
    for await (const { event } of stream) {
      if (!event || event.revision <= seen) continue;
      seen = event.revision;
      print(context, options, event);
    }
  });
}

function print(context: CommandContext, options: EventOptions, event: Event): void {
  const document = eventDocument(event);
  if (isJson(options)) context.terminal.data(JSON.stringify(document));
  else if (isTemplate(options)) context.terminal.data(fillTemplate(options.format, document));
  else {
    const about = [event.node, event.container, event.migrationId].filter((part) => part !== "").join(" ");
    const line = `${showTime(event.atMs)}  ${event.type}${about === "" ? "" : `  ${about}`}  ${event.message}`;
    context.terminal.data(printable(line));
  }
}
