/**
 * How far the guest trusts what it knows.
 *
 * @module
 */

/**
 * "auto": as long as the daemon says, as a Linux guest does. "none": never, and file data is neither cached nor kept back. "always": for a day,
 * whatever the daemon says; for shares that nobody else changes. "shared": until somebody changes it, which a table in memory shared by all
 * guests and daemons of the host tells (daemons with `--cache shared`); what has no version there is asked for each time.
 *
 * With "shared" a call never returns what was so before another guest's call had returned. Not part of that are: times of last access; blocks that the
 * host allocates later; what is changed on the host itself (`serve --watch-host` tells of it, a little later); and data that this guest keeps back
 * (write-back), whose size and times are its own until it is sent: at close, at fsync, or when this guest next looks at a file that somebody else
 * has changed meanwhile (what both have written to one page is then as the later of the two sent it). Files are mapped (DAX) for reading
 * only.
 */
export type GuestCacheMode = "none" | "auto" | "always" | "shared";
