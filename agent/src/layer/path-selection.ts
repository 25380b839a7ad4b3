/** Some of the paths of a tree, without a list of them: there may be a hundred thousand. */
import type { PathTree } from "./path-tree.ts";
import type { LayerPath } from "./types.ts";

export class PathSelection implements Iterable<LayerPath> {
  readonly #tree: PathTree;
  /** Not zero for each number that is in it. */
  readonly #chosen: Uint8Array;
  readonly length: number;

  constructor(tree: PathTree, chosen: Uint8Array) {
    this.#tree = tree;
    this.#chosen = chosen;
    this.length = chosen.reduce((sum, choice) => sum + (choice === 0 ? 0 : 1), 0);
  }

  [Symbol.iterator](): Iterator<LayerPath, void, void> {
    return this.#tree.paths((number) => this.#chosen[number] !== 0);
  }
}
