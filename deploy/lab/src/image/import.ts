/** Imports images of the lab into the Docker of its nodes. */
import { createReadStream } from "node:fs";
import { LabError } from "../errors.ts";
import { run } from "../host/run.ts";
import { together } from "../host/together.ts";
import { findNode, type Lab } from "../lab/lab.ts";
import type { Progress } from "../progress.ts";
import { recipeDigest } from "../rootfs/recipe.ts";
import { ensureImage } from "./build.ts";
import { IMAGE_NAMES, type ImageName, type ImageRecipe, imageRecipe } from "./recipe.ts";

const IMPORT_DEADLINE_MS = 180_000;
/** The label by which a node's image is known to be of this recipe. */
const RECIPE_LABEL = "drayage.lab.recipe";

function parseImageName(text: string): ImageName {
  const name = IMAGE_NAMES.find((known) => known === text);
  if (name === undefined) {
    throw new LabError("notFound", `the lab has no image "${text}"`, { remedy: `it has ${IMAGE_NAMES.join(", ")}` });
  }
  return name;
}

/** Imports images into the named nodes, or into all. */
export async function importImages(
  lab: Lab,
  images: readonly string[],
  nodes: readonly string[] | undefined,
  progress: Progress,
  signal?: AbortSignal,
): Promise<void> {
  const names = images.map(parseImageName);
  const targets = (nodes ?? lab.plan.nodes.map((node) => node.name)).map((node) => findNode(lab, node).record.name);
  for (const name of names) {
    await ensureImage(name, progress, signal);
    await together(
      signal,
      targets.map((node) => (stop) => importImage(lab, node, name, progress, stop)),
    );
  }
}

/** Imports the image into the node's Docker as `<name>:latest`, unless it has it already. */
export async function importImage(
  lab: Lab,
  node: string,
  name: ImageName,
  progress: Progress,
  signal?: AbortSignal,
): Promise<void> {
  const recipe = imageRecipe(name);
  if (await hasImage(lab, node, recipe, signal)) return;
  const archive = await ensureImage(name, progress, signal);
  const changes = [...recipe.changes, `LABEL ${RECIPE_LABEL}=${digest(recipe)}`].flatMap((text) => ["--change", text]);
  await run(await lab.driver.command(node, ["docker", "import", ...changes, "-", `${name}:latest`]), {
    signal,
    stdin: createReadStream(archive),
    deadlineMs: IMPORT_DEADLINE_MS * lab.driver.patience,
  });
  progress.of(node).step(`image ${name} imported`);
}

async function hasImage(
  lab: Lab,
  node: string,
  recipe: ImageRecipe,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const filters = [`--filter=reference=${recipe.name}:latest`, `--filter=label=${RECIPE_LABEL}=${digest(recipe)}`];
  const list = await lab.driver.command(node, ["docker", "images", "--quiet", ...filters]);
  return (await run(list, { signal })).trim() !== "";
}

function digest(recipe: ImageRecipe): string {
  return recipeDigest(recipe).slice(0, 16);
}
