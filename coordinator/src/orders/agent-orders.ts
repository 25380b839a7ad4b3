/** The orders of a leader to one agent, see proto/drayage/agent/v1/agent.proto. Errors are DrayErrors. */
import type {
  AbortRequest,
  AbortResponse,
  ActivateRequest,
  ActivateResponse,
  CheckDestinationRequest,
  CheckDestinationResponse,
  CheckPageRoutesRequest,
  CheckPageRoutesResponse,
  FetchRequest,
  FetchResponse,
  FinishRequest,
  FinishResponse,
  GetStatusRequest,
  GetStatusResponse,
  InspectSourceRequest,
  InspectSourceResponse,
  PrepareRequest,
  PrepareResponse,
  ReserveRequest,
  ReserveResponse,
  SwitchRequest,
  SwitchResponse,
  SyncRequest,
  SyncResponse,
} from "@drayage/shared/gen/drayage/agent/v1/agent.ts";

export interface OrderOptions {
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface AgentOrders {
  inspectSource(request: InspectSourceRequest, options: OrderOptions): Promise<InspectSourceResponse>;
  checkDestination(request: CheckDestinationRequest, options: OrderOptions): Promise<CheckDestinationResponse>;
  checkPageRoutes(request: CheckPageRoutesRequest, options: OrderOptions): Promise<CheckPageRoutesResponse>;
  reserve(request: ReserveRequest, options: OrderOptions): Promise<ReserveResponse>;
  sync(request: SyncRequest, options: OrderOptions): AsyncIterable<SyncResponse>;
  prepare(request: PrepareRequest, options: OrderOptions): AsyncIterable<PrepareResponse>;
  switch(request: SwitchRequest, options: OrderOptions): AsyncIterable<SwitchResponse>;
  activate(request: ActivateRequest, options: OrderOptions): Promise<ActivateResponse>;
  fetch(request: FetchRequest, options: OrderOptions): AsyncIterable<FetchResponse>;
  finish(request: FinishRequest, options: OrderOptions): Promise<FinishResponse>;
  abort(request: AbortRequest, options: OrderOptions): Promise<AbortResponse>;
  getStatus(request: GetStatusRequest, options: OrderOptions): Promise<GetStatusResponse>;
}

/** The agents by node name. AGENT_UNAVAILABLE if the node is down (not registered) or does not answer. */
export interface Agents {
  of(node: string): AgentOrders;
}
