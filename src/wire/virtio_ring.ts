/**
 * The split virtqueue in memory (virtio 1.3, 2.7). All fields are little-endian.
 *
 * @module
 */

/** virtio 1.3, 2.7.5: one entry of the descriptor table, struct virtq_desc. */
export const DESC = { ADDR: 0, LEN: 8, FLAGS: 12, NEXT: 14, SIZE: 16 } as const;

/** The buffer continues in the descriptor named by NEXT. */
export const VIRTQ_DESC_F_NEXT = 1;
/** The device writes this buffer (otherwise it reads it). */
export const VIRTQ_DESC_F_WRITE = 2;
/** The buffer holds a table of descriptors (virtio 1.3, 2.7.5.3). */
export const VIRTQ_DESC_F_INDIRECT = 4;

/** virtio 1.3, 2.7.6: struct virtq_avail; `ring[size]` of u16, then u16 used_event. */
export const AVAIL = { FLAGS: 0, IDX: 2, RING: 4, ELEM_SIZE: 2 } as const;
/** The driver asks for no notification when a buffer is used (without EVENT_IDX). */
export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1;

/** virtio 1.3, 2.7.8: struct virtq_used; `ring[size]` of {id u32, len u32}, then u16 avail_event. */
export const USED = { FLAGS: 0, IDX: 2, RING: 4, ELEM_ID: 0, ELEM_LEN: 4, ELEM_SIZE: 8 } as const;
/** The device asks for no kick when a buffer is made available (without EVENT_IDX). */
export const VIRTQ_USED_F_NO_NOTIFY = 1;

/** Feature bits of the transport that we offer (virtio 1.3, 6). */
export const VIRTIO_F_INDIRECT_DESC = 28;
export const VIRTIO_F_EVENT_IDX = 29;
/** vhost-user: bit 30 of the features says that protocol features can be negotiated; guests never see it. */
export const VHOST_USER_F_PROTOCOL_FEATURES = 30;
export const VIRTIO_F_VERSION_1 = 32;

/** virtio 1.3, 2.7: queue sizes are powers of two up to 32768. */
export const VIRTQ_SIZE_MAX = 32768;

/** Bytes of each of the three areas of a queue of `size` entries, event fields included. */
export function descriptorAreaSize(size: number): number {
  return DESC.SIZE * size;
}
export function availAreaSize(size: number): number {
  return AVAIL.RING + AVAIL.ELEM_SIZE * size + 2;
}
export function usedAreaSize(size: number): number {
  return USED.RING + USED.ELEM_SIZE * size + 2;
}
