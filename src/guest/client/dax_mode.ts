/**
 * Whether a guest maps files into its DAX window.
 *
 * @module
 */

/**
 * Named as Linux' mount options. "never": not at all. "inode" (what Linux does when nothing is said): the files that the daemon marks
 * (fuse.h: FUSE_ATTR_DAX), if it offers a window. "always": all regular files; a daemon without a window is an error.
 */
export type GuestDaxMode = "never" | "inode" | "always";
