/**
 * How far the guest trusts what it knows.
 *
 * @module
 */

/**
 * "auto": as long as the daemon says, as a Linux guest does. "none": never, and file data is neither cached nor kept back. "always": for a day,
 * whatever the daemon says; for shares that nobody else changes.
 */
export type GuestCacheMode = "none" | "auto" | "always";
