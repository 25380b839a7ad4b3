/** The raw connection, as tests know it. */
export * from "../../deploy/held-client/line-connection.ts";
