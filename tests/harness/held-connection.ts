/** The held client, as tests know it. */
export * from "../../deploy/held-client/held-connection.ts";
