/** What CRIU and runc on this host can do. */

export const CRIU_FEATURES = [
  "mem_dirty_track",
  "uffd-noncoop",
  "lazy_pages",
  "pidfd_store",
  "network_lock_nftables",
  "time_namespace",
] as const;
export type CriuFeature = (typeof CRIU_FEATURES)[number];

/** CRIU's version as major * 10000 + minor * 100 + patch; 0 if it is missing. */
export declare function criuVersion(signal?: AbortSignal): Promise<number>;

/** The features of CRIU_FEATURES that `criu check --feature` confirms. */
export declare function criuFeatures(signal?: AbortSignal): Promise<readonly CriuFeature[]>;

/** runc's version, for example "1.3.6"; empty if it is missing. */
export declare function runcVersion(runcPath?: string, signal?: AbortSignal): Promise<string>;
