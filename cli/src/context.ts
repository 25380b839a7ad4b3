/** What every command is given. Nothing else in the CLI touches the process. */
import { loadClientConfig } from "@drayage/shared/config/client.ts";
import { loadIdentity } from "@drayage/shared/identity/identity.ts";
import { ClusterSession } from "./cluster-session.ts";
import type { Interrupts } from "./interrupts.ts";
import { connectionLine } from "./output/connection-news.ts";
import { fillTemplate } from "./output/template.ts";
import type { Terminal } from "./terminal.ts";

/** Options that every command takes. */
export interface OutputOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly format?: string;
  readonly config?: string;
}

export class CommandContext {
  readonly terminal: Terminal;
  readonly interrupts: Interrupts;
  readonly #env: Readonly<Record<string, string | undefined>>;
  /** How a line comes to stderr. */
  #noteVia: (line: string) => void;
  /** Set by commands whose outcome is not an error. */
  exitCode = 0;

  constructor(terminal: Terminal, interrupts: Interrupts, env: Readonly<Record<string, string | undefined>>) {
    this.terminal = terminal;
    this.interrupts = interrupts;
    this.#env = env;
    this.#noteVia = (line) => terminal.note(line);
  }

  /** From now on, lines of the session go through a view that redraws a part of the screen. */
  noteVia(view: { note(line: string): void }): void {
    this.#noteVia = (line) => view.note(line);
  }

  /** Runs `use` with a session, and closes it. */
  async withSession<R>(options: OutputOptions, use: (session: ClusterSession) => Promise<R>): Promise<R> {
    const config = await loadClientConfig({ path: options.config, env: this.#env });
    const session = new ClusterSession({
      identity: await loadIdentity(config.pkiDirectory, "operator"),
      addresses: config.coordinators,
      signal: this.interrupts.signal,
      onNews: (news) => {
        if (!options.quiet) this.#noteVia(this.terminal.paint("yellow", connectionLine(news)));
      },
    });
    try {
      return await use(session);
    } finally {
      session.close();
    }
  }

  /** Prints a list: one JSON array, a line of the template for each, names alone, or the table. */
  printList<D extends object>(
    options: OutputOptions,
    documents: readonly D[],
    name: (document: D) => string,
    table: () => string[],
  ): void {
    if (isJson(options)) this.terminal.data(JSON.stringify(documents, undefined, 2));
    else if (isTemplate(options))
      for (const document of documents) this.terminal.data(fillTemplate(options.format, document));
    else if (options.quiet) for (const document of documents) this.terminal.data(name(document));
    else for (const line of table()) this.terminal.data(line);
  }

  /** Prints one thing. */
  printOne<D extends object>(
    options: OutputOptions,
    document: D,
    name: (document: D) => string,
    lines: () => string[],
  ): void {
    if (isJson(options)) this.terminal.data(JSON.stringify(document, undefined, 2));
    else if (isTemplate(options)) this.terminal.data(fillTemplate(options.format, document));
    else if (options.quiet) this.terminal.data(name(document));
    else for (const line of lines()) this.terminal.data(line);
  }
}

export function isJson(options: OutputOptions): boolean {
  return options.json === true || options.format === "json";
}

export function isTemplate(options: OutputOptions): options is OutputOptions & { format: string } {
  return options.format !== undefined && options.format !== "table" && options.format !== "json";
}
