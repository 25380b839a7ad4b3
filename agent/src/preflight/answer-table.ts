/** A table of the packet filter that notes who answers for an address on a link, and drops nothing. Pure. */
import { isIPv4, isIPv6 } from "node:net";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";

export interface AnswerTable {
  readonly family: "arp" | "ip6";
  readonly name: string;
  /** The set of hardware addresses in it. */
  readonly set: string;
  /** For `nft -f`. */
  readonly rules: string;
}

const SET = "heard";
/** More than ever answer; further ones are not noted. */
const SIZE = 64;

/** Throws DrayError BAD_REQUEST on something that is no address or no interface. */
export function answerTable(name: string, address: string, device: string): AnswerTable {
  if (!/^[^\s"/]{1,15}$/.test(device)) throw new DrayError("BAD_REQUEST", `${JSON.stringify(device)} is no interface`);
  const family = isIPv4(address) ? "arp" : "ip6";
  const answer =
    family === "arp"
      ? `arp operation reply arp saddr ip ${address} add @${SET} { arp saddr ether }`
      : // The target of an advertisement, of which nft before 1.0.8 does not know the name.
        `icmpv6 type nd-neighbor-advert @th,64,128 0x${ipv6Digits(address)} add @${SET} { ether saddr }`;
  const rules = `table ${family} ${name} {
  set ${SET} {
    type ether_addr
    flags dynamic
    size ${SIZE}
  }
  chain input {
    type filter hook input priority -400; policy accept;
    iifname "${device}" ${answer}
  }
}
`;
  return { family, name, set: SET, rules };
}

/** All 32 hexadecimal digits. */
export function ipv6Digits(address: string): string {
  if (!isIPv6(address) || /[.%]/.test(address)) {
    throw new DrayError("BAD_REQUEST", `${JSON.stringify(address)} is no plain IPv6 address`);
  }
  const [head = "", tail] = address.split("::");
  const groups = (text: string): string[] => (text === "" ? [] : text.split(":"));
  const before = groups(head);
  const after = groups(tail ?? "");
  const between = new Array<string>(8 - before.length - after.length).fill("0");
  return [...before, ...between, ...after].map((group) => group.padStart(4, "0")).join("");
}
