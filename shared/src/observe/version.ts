/** Version of the software, and the revision that a bundle was built from. */
export const VERSION = "0.1.0";

/** Set by the bundler; "source" when the sources run as they are. */
declare const DRAYAGE_REVISION: string;

export const REVISION = typeof DRAYAGE_REVISION === "string" ? DRAYAGE_REVISION : "source";
