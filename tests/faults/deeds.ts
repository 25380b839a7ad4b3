/** What is done to a migration, held at a point, that leads it to points which others do not pass. */
import { eventually } from "../harness/eventually.ts";
import { markedTasks } from "../harness/one-copy.ts";
import type { Place } from "./case-terms.ts";
import type { Scene } from "./scenario.ts";
import { SETTLE_MS } from "./stage.ts";

export interface Deed {
  /** For the title of a case. */
  readonly title: string;
  readonly at: Place;
  /** The migration stays held until the point of the case has been passed. */
  readonly keepsHold?: boolean;
  /** Does it; what is returned is called when the point has been passed, and undoes it. */
  perform(scene: Scene): Promise<() => Promise<void>>;
}

const BEFORE_COMMIT: Place = { role: "leader", point: "saga.before-commit" };
const BEFORE_THAW: Place = { role: "destination", point: "destination.before-journal-activating" };

/** The prepared copy dies; nobody is told. */
export const KILL_COPY: Deed = {
  title: "the copy was killed",
  at: BEFORE_COMMIT,
  async perform({ stage, actors }) {
    const { lab, container } = stage;
    const tasks = async () => await markedTasks(lab, actors.destination, container.mark);
    const pids = (await tasks()).map(({ pid }) => String(pid));
    if (pids.length === 0) throw new Error(`${actors.destination} has no copy to kill`);
    await lab.exec(actors.destination, ["kill", "-KILL", ...pids]);
    await eventually(async () => ((await tasks()).length === 0 ? true : undefined), {
      what: "the copy is dead",
      deadlineMs: SETTLE_MS,
    });
    return async () => undefined;
  },
};

async function restartDocker({ stage, actors }: Scene): Promise<() => Promise<void>> {
  await stage.lab.exec(actors.destination, ["systemctl", "restart", "docker"]);
  return async () => undefined;
}

/** Docker lets go of the prepared copy, which stands on. */
export const RESTART_DOCKER: Deed = {
  title: "Docker was restarted",
  at: BEFORE_COMMIT,
  perform: restartDocker,
};

/** The same, when the agent has already looked whether Docker holds it. */
export const RESTART_DOCKER_BEFORE_THAW: Deed = {
  title: "Docker was restarted just before the thaw",
  at: BEFORE_THAW,
  perform: restartDocker,
};

/** Cancels. What has been granted must come to pass: the case says no more than that it is one or the other. */
export const CANCEL: Deed = {
  title: "it was cancelled",
  at: { role: "source", point: "source.after-dump" },
  keepsHold: true,
  async perform({ stage, id }) {
    const cancelling = stage.lab.dray(["migration", "cancel", id]);
    cancelling.catch(() => undefined);
    return async () => {
      const { exitCode } = await cancelling;
      const { outcome } = await stage.state.migrationWhen(id, ({ phase }) => phase === "done", "is done", SETTLE_MS);
      if (exitCode === 0 && outcome !== "rolled_back") throw new Error(`cancelled, and nevertheless ${outcome}`);
    };
  },
};

/** The source cannot say whether it runs. */
export const CUT_OFF_FROZEN_SOURCE: Deed = {
  title: "the frozen source was cut off",
  at: { role: "source", point: "source.after-freeze" },
  async perform({ stage, actors }) {
    await stage.partition(actors.source);
    return async () => await stage.heal(actors.source);
  },
};

/** The copy runs, and the source cannot clean up. */
export const CUT_OFF_SOURCE: Deed = {
  title: "the source was cut off after the commit",
  at: BEFORE_THAW,
  async perform({ stage, actors }) {
    await stage.partition(actors.source);
    return async () => await stage.heal(actors.source);
  },
};

/** The destination owns, and cannot say whether it runs. */
export const CUT_OFF_DESTINATION: Deed = {
  title: "the destination was cut off after the commit",
  at: BEFORE_THAW,
  async perform({ stage, actors }) {
    await stage.partition(actors.destination);
    return async () => await stage.heal(actors.destination);
  },
};

/** The same when the copy runs, and has fetched nothing that it has not waited for. */
export const CUT_OFF_FETCHING_DESTINATION: Deed = {
  title: "the destination was cut off while it fetched",
  at: { role: "destination", point: "destination.before-fetch" },
  perform: CUT_OFF_DESTINATION.perform,
};
