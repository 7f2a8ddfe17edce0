/**
 * A vhost-user front end for virtio-fs: what a virtual machine monitor says to a daemon so that a guest can
 * use it. It agrees on features, shares the guest's memory, reads the device's configuration and starts and stops
 * queues.
 *
 * @module
 */

import { assert } from "../../assert.ts";
import { errnoName } from "../../sys/errno.ts";
import { OwnedFd } from "../../sys/fd.ts";
import { libc, status } from "../../sys/libc.ts";
import { EFD_CLOEXEC, EFD_NONBLOCK } from "../../wire/linux.ts";
import {
  CONFIG,
  MEMORY_REGION,
  MEMORY_TABLE,
  SHMEM_CONFIG,
  SHMEM_REGION_COUNT_MAX,
  VHOST_USER,
  VHOST_USER_PROTOCOL_F,
  VRING_ADDR,
  VRING_STATE,
} from "../../wire/vhost_user.ts";
import { FIRST_REQUEST_QUEUE, VIRTIO_FS_CONFIG } from "../../wire/virtio_fs.ts";
import {
  VHOST_USER_F_PROTOCOL_FEATURES,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from "../../wire/virtio_ring.ts";
import { DaemonError } from "../daemon_error.ts";
import { BackendChannel } from "./backend_channel.ts";
import { Connection } from "./connection.ts";
import { SharedMemory } from "./shared_memory.ts";
import { ShmemRegion } from "./shmem_region.ts";

/** What a front end is made with. */
export interface FrontendOptions {
  /** Where the daemon listens. */
  readonly socketPath: string;
  /** Bytes of guest memory. */
  readonly memorySize: number;
  /** How long one answer of the daemon may take. */
  readonly timeoutMs: number;
}

/** What the daemon and we have agreed on. */
export interface Negotiated {
  /** virtio 1.3, 2.7.5.3: descriptors may be in tables of their own. */
  readonly indirect: boolean;
  /** virtio 1.3, 2.7.10: each side says at which index it wants to be told. */
  readonly eventIdx: boolean;
  /** vhost-user: the protocol features, by bit number. */
  readonly protocol: ReadonlySet<number>;
}

/** virtio 1.3, 5.11.4: the device's configuration space. */
export interface DeviceConfig {
  /** The mount tag, or null from a daemon that leaves the configuration to the monitor. */
  readonly tag: string | null;
  readonly requestQueueCount: number;
}

/** Where a queue's three areas lie, as offsets in the guest's memory. */
export interface RingLayout {
  /** Number of descriptors. */
  readonly size: number;
  readonly descriptors: number;
  readonly avail: number;
  readonly used: number;
}

/** A queue's two eventfds. */
export interface Doorbells {
  /** Written by the driver when requests are there. */
  readonly kick: number;
  /** Written by the device when answers are there. */
  readonly call: number;
}

/** Protocol features that are asked for where they are offered. */
const WANTED_PROTOCOL: readonly number[] = [
  VHOST_USER_PROTOCOL_F.MQ,
  VHOST_USER_PROTOCOL_F.REPLY_ACK,
  VHOST_USER_PROTOCOL_F.BACKEND_REQ,
  VHOST_USER_PROTOCOL_F.CONFIG,
  VHOST_USER_PROTOCOL_F.BACKEND_SEND_FD,
  VHOST_USER_PROTOCOL_F.SHMEM,
];

/** One connection to a daemon, and the memory of the guest behind it. */
export class Frontend {
  readonly memory: SharedMemory;
  readonly negotiated: Negotiated;
  readonly config: DeviceConfig;
  /** The device's shared-memory regions by id (0 is the DAX window); empty where the daemon has none. */
  readonly shmemRegions: ReadonlyMap<number, ShmemRegion>;
  /** Requests of the daemon to us, or null where it makes none. */
  readonly backendChannel: BackendChannel | null;
  readonly #connection: Connection;
  readonly #doorbells: OwnedFd[] = [];
  #closed = false;

  private constructor(
    connection: Connection,
    memory: SharedMemory,
    negotiated: Negotiated,
    config: DeviceConfig,
    shmemRegions: ReadonlyMap<number, ShmemRegion>,
    backendChannel: BackendChannel | null,
  ) {
    this.#connection = connection;
    this.memory = memory;
    this.negotiated = negotiated;
    this.config = config;
    this.shmemRegions = shmemRegions;
    this.backendChannel = backendChannel;
  }

  /** Connects, agrees on features and shares the memory. Throws a {@linkcode DaemonError} with the reason. */
  static async connect(options: FrontendOptions): Promise<Frontend> {
    const connection = Connection.open(options.socketPath, options.timeoutMs);
    using undo = new DisposableStack();
    undo.use(connection);
    const negotiated = await negotiate(connection);
    const config = await readConfig(connection, negotiated);
    const shmemRegions = await reserveShmem(connection, negotiated);
    for (const region of shmemRegions.values()) undo.use(region);
    const channel = openBackendChannel(connection, negotiated, shmemRegions);
    if (channel !== null) undo.use(channel);
    const memory = undo.use(new SharedMemory(options.memorySize));
    const frontend = new Frontend(
      connection,
      memory,
      negotiated,
      config,
      shmemRegions,
      channel,
    );
    await frontend.order(VHOST_USER.SET_MEM_TABLE, memoryTable(memory), memory.fd);
    undo.move();
    return frontend;
  }

  /** The socket: it becomes readable when the daemon hangs up, and at no other time between messages. */
  get socketFd(): number {
    return this.#connection.fd;
  }

  /** The daemon's process id, or 0. */
  get daemonPid(): number {
    return this.#connection.daemonPid;
  }

  /** Starts one queue. Nothing may be in its rings yet. */
  async startQueue(index: number, ring: RingLayout): Promise<Doorbells> {
    const doorbells = { kick: this.#eventfd(), call: this.#eventfd() };
    await this.order(VHOST_USER.SET_VRING_NUM, vringState(index, ring.size));
    await this.order(VHOST_USER.SET_VRING_BASE, vringState(index, 0));
    await this.order(VHOST_USER.SET_VRING_ADDR, vringAddress(index, ring, this.memory.address));
    await this.order(VHOST_USER.SET_VRING_CALL, u64(BigInt(index)), doorbells.call);
    await this.order(VHOST_USER.SET_VRING_KICK, u64(BigInt(index)), doorbells.kick);
    await this.order(VHOST_USER.SET_VRING_ENABLE, vringState(index, 1));
    return doorbells;
  }

  /** Stops a queue: the daemon has finished with it when this resolves. Returns the next avail index. */
  async stopQueue(index: number): Promise<number> {
    const reply = await this.#connection.ask(VHOST_USER.GET_VRING_BASE, vringState(index, 0));
    if (reply.byteLength !== VRING_STATE.SIZE) {
      throw new DaemonError(`The daemon answered GET_VRING_BASE with ${reply.byteLength} bytes`);
    }
    return reply.getUint32(VRING_STATE.NUM, true);
  }

  /** Hangs up and gives all memory back. Nobody may have a view of it any more. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#connection[Symbol.dispose]();
    this.backendChannel?.[Symbol.dispose]();
    for (const region of this.shmemRegions.values()) region[Symbol.dispose]();
    for (const doorbell of this.#doorbells) doorbell.close();
    this.memory[Symbol.dispose]();
  }

  /** Sends any message; it is acknowledged where the daemon can do that. */
  async order(request: number, payload: Uint8Array, fd: number | null = null): Promise<void> {
    if (this.negotiated.protocol.has(VHOST_USER_PROTOCOL_F.REPLY_ACK)) {
      await this.#connection.order(request, payload, fd);
    } else {
      this.#connection.tell(request, payload, fd);
    }
  }

  #eventfd(): number {
    const fd = status(libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (fd < 0) throw new Error(`Cannot make an eventfd: ${errnoName(fd)}`);
    this.#doorbells.push(new OwnedFd(fd));
    return fd;
  }
}

async function negotiate(connection: Connection): Promise<Negotiated> {
  const offered = u64Of(await connection.ask(VHOST_USER.GET_FEATURES), "GET_FEATURES");
  const has = (bit: number) => (offered >> BigInt(bit) & 1n) === 1n;
  if (!has(VIRTIO_F_VERSION_1)) {
    throw new DaemonError("The daemon offers no virtio 1.0 device (VIRTIO_F_VERSION_1)");
  }
  let features = 1n << BigInt(VIRTIO_F_VERSION_1);
  for (const bit of [VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, VHOST_USER_F_PROTOCOL_FEATURES]) {
    if (has(bit)) features |= 1n << BigInt(bit);
  }
  const protocol = new Set<number>();
  if (has(VHOST_USER_F_PROTOCOL_FEATURES)) {
    const bits = u64Of(
      await connection.ask(VHOST_USER.GET_PROTOCOL_FEATURES),
      "GET_PROTOCOL_FEATURES",
    );
    for (const bit of WANTED_PROTOCOL) if ((bits >> BigInt(bit) & 1n) === 1n) protocol.add(bit);
    // SHMEM works over the back-end channel only, with descriptors and acknowledgements.
    for (const needed of SHMEM_NEEDS) {
      if (!protocol.has(needed)) protocol.delete(VHOST_USER_PROTOCOL_F.SHMEM);
    }
    let accepted = 0n;
    for (const bit of protocol) accepted |= 1n << BigInt(bit);
    connection.tell(VHOST_USER.SET_PROTOCOL_FEATURES, u64(accepted));
  }
  connection.tell(VHOST_USER.SET_OWNER, new Uint8Array(0));
  connection.tell(VHOST_USER.SET_FEATURES, u64(features));
  return { indirect: has(VIRTIO_F_INDIRECT_DESC), eventIdx: has(VIRTIO_F_EVENT_IDX), protocol };
}

const SHMEM_NEEDS = [
  VHOST_USER_PROTOCOL_F.BACKEND_REQ,
  VHOST_USER_PROTOCOL_F.BACKEND_SEND_FD,
  VHOST_USER_PROTOCOL_F.REPLY_ACK,
];

async function readConfig(
  connection: Connection,
  { protocol }: Negotiated,
): Promise<DeviceConfig> {
  if (!protocol.has(VHOST_USER_PROTOCOL_F.CONFIG)) {
    // The C daemon leaves the tag and the number of queues to QEMU; it takes as many queues as it says here.
    if (!protocol.has(VHOST_USER_PROTOCOL_F.MQ)) return { tag: null, requestQueueCount: 1 };
    const queues = u64Of(await connection.ask(VHOST_USER.GET_QUEUE_NUM), "GET_QUEUE_NUM");
    return { tag: null, requestQueueCount: Math.max(1, Number(queues) - FIRST_REQUEST_QUEUE) };
  }
  const request = new DataView(new ArrayBuffer(CONFIG.BYTES + VIRTIO_FS_CONFIG.SIZE));
  request.setUint32(CONFIG.BYTE_COUNT, VIRTIO_FS_CONFIG.SIZE, true);
  const reply = await connection.ask(VHOST_USER.GET_CONFIG, new Uint8Array(request.buffer));
  if (reply.byteLength !== CONFIG.BYTES + VIRTIO_FS_CONFIG.SIZE) {
    throw new DaemonError("The daemon's configuration space is not that of a file-system device");
  }
  const tagBytes = new Uint8Array(reply.buffer, CONFIG.BYTES, VIRTIO_FS_CONFIG.TAG_SIZE);
  const end = tagBytes.indexOf(0);
  const tag = new TextDecoder().decode(end < 0 ? tagBytes : tagBytes.subarray(0, end));
  const count = reply.getUint32(CONFIG.BYTES + VIRTIO_FS_CONFIG.NUM_REQUEST_QUEUES, true);
  if (count < 1) throw new DaemonError("The daemon's device has no request queue");
  return { tag, requestQueueCount: count };
}

/** Asks for the device's shared-memory regions and keeps address space for each. */
async function reserveShmem(
  connection: Connection,
  { protocol }: Negotiated,
): Promise<Map<number, ShmemRegion>> {
  const regions = new Map<number, ShmemRegion>();
  if (!protocol.has(VHOST_USER_PROTOCOL_F.SHMEM)) return regions;
  const reply = await connection.ask(VHOST_USER.GET_SHMEM_CONFIG);
  if (reply.byteLength !== SHMEM_CONFIG.SIZE) {
    throw new DaemonError(`The daemon answered GET_SHMEM_CONFIG with ${reply.byteLength} bytes`);
  }
  for (let id = 0; id < SHMEM_REGION_COUNT_MAX; id++) {
    const size = Number(reply.getBigUint64(SHMEM_CONFIG.SIZES + 8 * id, true));
    if (size > 0) regions.set(id, new ShmemRegion(size));
  }
  return regions;
}

function openBackendChannel(
  connection: Connection,
  { protocol }: Negotiated,
  regions: ReadonlyMap<number, ShmemRegion>,
): BackendChannel | null {
  if (!protocol.has(VHOST_USER_PROTOCOL_F.BACKEND_REQ)) return null;
  const { channel, theirs } = BackendChannel.open(regions);
  connection.tell(VHOST_USER.SET_BACKEND_REQ_FD, new Uint8Array(0), theirs.number);
  theirs.close();
  return channel;
}

function memoryTable(memory: SharedMemory): Uint8Array {
  const table = new DataView(new ArrayBuffer(MEMORY_TABLE.REGIONS + MEMORY_REGION.SIZE));
  table.setUint32(MEMORY_TABLE.NREGIONS, 1, true);
  const at = MEMORY_TABLE.REGIONS;
  table.setBigUint64(at + MEMORY_REGION.MEMORY_SIZE, BigInt(memory.size), true);
  table.setBigUint64(at + MEMORY_REGION.USERSPACE_ADDR, BigInt(memory.address), true);
  return new Uint8Array(table.buffer);
}

function vringAddress(index: number, ring: RingLayout, base: number): Uint8Array {
  const address = new DataView(new ArrayBuffer(VRING_ADDR.SIZE));
  address.setUint32(VRING_ADDR.INDEX, index, true);
  address.setBigUint64(VRING_ADDR.DESC_USER_ADDR, BigInt(base + ring.descriptors), true);
  address.setBigUint64(VRING_ADDR.USED_USER_ADDR, BigInt(base + ring.used), true);
  address.setBigUint64(VRING_ADDR.AVAIL_USER_ADDR, BigInt(base + ring.avail), true);
  return new Uint8Array(address.buffer);
}

function vringState(index: number, value: number): Uint8Array {
  assert(index >= 0, "queues are counted from 0");
  return new Uint8Array(new Uint32Array([index, value]).buffer);
}

function u64(value: bigint): Uint8Array {
  return new Uint8Array(new BigUint64Array([value]).buffer);
}

function u64Of(reply: DataView, message: string): bigint {
  if (reply.byteLength !== 8) {
    throw new DaemonError(`The daemon answered ${message} with ${reply.byteLength} bytes, not 8`);
  }
  return reply.getBigUint64(0, true);
}
