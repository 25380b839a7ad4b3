import { AgentConfigSchema } from "@drayage/shared/config/agent.ts";
import { ClientConfigSchema } from "@drayage/shared/config/client.ts";
import { CoordinatorConfigSchema } from "@drayage/shared/config/coordinator.ts";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { type NodePlan, planAddresses } from "../address/plan.ts";
import { agentConfig, clientConfig, coordinatorConfig } from "./drayage-config.ts";
import { etcdEnvironment } from "./etcd-config.ts";
import { memberNodes } from "./members.ts";
import { certificatesToIssue } from "./pki.ts";

const plan = planAddresses("abcdef", "10.70.1.0/24", 4);
const second = plan.nodes[1] as NodePlan;

describe("configuration of a lab's cluster", () => {
  it("is what the product accepts", () => {
    expect(AgentConfigSchema.parse(parse(agentConfig(plan, second, "lab")))).toMatchObject({
      node: "n2",
      cluster: "lab",
      advertiseAddresses: ["10.70.1.12"],
      labels: { zone: "b" },
    });
    expect(CoordinatorConfigSchema.parse(parse(coordinatorConfig(plan, second, "lab"))).etcdEndpoints).toHaveLength(3);
    expect(ClientConfigSchema.parse(parse(clientConfig(plan))).coordinators[0]).toBe("10.70.1.11:7410");
  });

  it("has three members, or one where there are fewer than three nodes", () => {
    expect(memberNodes(plan).map(({ name }) => name)).toEqual(["n1", "n2", "n3"]);
    expect(memberNodes(planAddresses("abcdef", "10.70.1.0/24", 2)).map(({ name }) => name)).toEqual(["n1"]);
  });

  it("is led by the controlling node alone where there is one, and gives slow nodes time", () => {
    const controlled = planAddresses("abcdef", "10.70.1.0/24", 4, true);
    expect(memberNodes(controlled).map(({ name }) => name)).toEqual(["c1"]);
    expect(certificatesToIssue({ plan: controlled }).map(({ name }) => name)).toEqual(["c1", "c1", "lab"]);
    const [first] = controlled.nodes;
    const agent = AgentConfigSchema.parse(parse(agentConfig(controlled, first as NodePlan, "lab", 10)));
    expect(agent).toMatchObject({ etcdEndpoints: ["https://10.70.1.10:2379"], leaseTtlSeconds: 50 });
  });

  it("lets etcd speak to nobody without a certificate", () => {
    const lines = etcdEnvironment(plan, second, "lab").split("\n");
    expect(lines).toEqual(
      expect.arrayContaining(["ETCD_NAME=n2", "ETCD_CLIENT_CERT_AUTH=true", "ETCD_PEER_CLIENT_CERT_AUTH=true"]),
    );
    expect(lines.filter((line) => line.includes("http://"))).toEqual([]);
    expect(lines.find((line) => line.startsWith("ETCD_INITIAL_CLUSTER="))).toBe(
      "ETCD_INITIAL_CLUSTER=n1=https://10.70.1.11:2380,n2=https://10.70.1.12:2380,n3=https://10.70.1.13:2380",
    );
  });

  it("issues each member its own certificates, with its own address", () => {
    const issued = certificatesToIssue({ plan });
    expect(issued.map(({ role, name }) => `${role} ${name}`)).toEqual([
      "etcd n1",
      "coordinator n1",
      "etcd n2",
      "coordinator n2",
      "etcd n3",
      "coordinator n3",
      "operator lab",
    ]);
    expect(issued[2]?.san).toContain("10.70.1.12");
  });
});
