/** Arithmetic on IPv4 networks. */

export interface Network {
  readonly address: number;
  readonly prefixLength: number;
}

export function parseNetwork(text: string): Network | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:\/(\d{1,2}))?$/.exec(text);
  if (match === null) return undefined;
  const bytes = match.slice(1, 5).map(Number);
  const prefixLength = match[5] === undefined ? 32 : Number(match[5]);
  if (bytes.some((byte) => byte > 255) || prefixLength > 32) return undefined;
  return { address: bytes.reduce((sum, byte) => sum * 256 + byte, 0), prefixLength };
}

export function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");
}

function first(network: Network): number {
  const size = 2 ** (32 - network.prefixLength);
  return Math.floor(network.address / size) * size;
}

function last(network: Network): number {
  return first(network) + 2 ** (32 - network.prefixLength) - 1;
}

/** Whether the two networks share an address. */
export function overlaps(a: Network, b: Network): boolean {
  return first(a) <= last(b) && first(b) <= last(a);
}
