/**
 * The file-system device (virtio 1.3, 5.11).
 *
 * @module
 */

/** virtio 1.3, 5.11: the device id. */
export const VIRTIO_ID_FS = 26;

/** virtio 1.3, 5.11.4: struct virtio_fs_config; notify_buf_size exists only with VIRTIO_FS_F_NOTIFICATION. */
export const VIRTIO_FS_CONFIG = {
  TAG: 0,
  TAG_SIZE: 36,
  NUM_REQUEST_QUEUES: 36,
  SIZE: 40,
} as const;

/** virtio 1.3, 5.11.2: queue 0 carries FORGET and INTERRUPT; request queues follow. */
export const HIPRIO_QUEUE = 0;
export const FIRST_REQUEST_QUEUE = 1;
