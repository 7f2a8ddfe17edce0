/**
 * What is negotiated before anything else: the virtio features and the features of the protocol itself.
 *
 * @module
 */

import { VHOST_USER_PROTOCOL_F } from "../wire/vhost_user.ts";
import { VHOST_USER_F_PROTOCOL_FEATURES } from "../wire/virtio_ring.ts";
import type { VhostUserDevice } from "./device.ts";

/** The features of the protocol that every device gets. */
const OFFERED_ALWAYS = [
  VHOST_USER_PROTOCOL_F.MQ,
  VHOST_USER_PROTOCOL_F.REPLY_ACK,
  VHOST_USER_PROTOCOL_F.BACKEND_REQ,
  VHOST_USER_PROTOCOL_F.BACKEND_SEND_FD,
  VHOST_USER_PROTOCOL_F.RESET_DEVICE,
  VHOST_USER_PROTOCOL_F.CONFIGURE_MEM_SLOTS,
] as const;

/** Whether bit number `bit` is set in a feature word. */
export function hasFeature(word: bigint, bit: number): boolean {
  return ((word >> BigInt(bit)) & 1n) === 1n;
}

/** The answer to vhost-user: GET_FEATURES. */
export function offeredFeatures(device: VhostUserDevice): bigint {
  return device.features | (1n << BigInt(VHOST_USER_F_PROTOCOL_FEATURES));
}

/**
 * The answer to vhost-user: GET_PROTOCOL_FEATURES. CONFIG is offered only by a device that knows its configuration
 * space: a front end that sees it takes the tag from us instead of from its own command line.
 * Shared-memory regions are offered by the bit that the device names.
 */
export function offeredProtocolFeatures(device: VhostUserDevice): bigint {
  let word = 0n;
  for (const bit of OFFERED_ALWAYS) word |= 1n << BigInt(bit);
  if (device.config !== null) word |= 1n << BigInt(VHOST_USER_PROTOCOL_F.CONFIG);
  if (device.shmemBit !== null) word |= 1n << BigInt(device.shmemBit);
  return word;
}

/** The name of a protocol feature: "REPLY_ACK". */
export function protocolFeatureName(bit: number): string {
  for (const [name, number] of Object.entries(VHOST_USER_PROTOCOL_F)) {
    if (number === bit) return name;
  }
  return `bit ${bit}`;
}

/** The names of all protocol features in a word: "MQ REPLY_ACK", or "none". */
export function protocolFeatureNames(word: bigint): string {
  const names: string[] = [];
  for (let bit = 0; bit < 64; bit++) {
    if (hasFeature(word, bit)) names.push(protocolFeatureName(bit));
  }
  return names.length === 0 ? "none" : names.join(" ");
}
