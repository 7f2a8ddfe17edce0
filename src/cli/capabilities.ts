/**
 * `--print-capabilities`: what launchers ask a vhost-user program (QEMU, docs/interop/vhost-user.rst,
 * "Backend program conventions").
 *
 * @module
 */

/**
 * The answer, which `packaging/40-virtiofsd-ts.json` repeats. `separate-options` is what libvirt looks for
 * before it starts a daemon with long options instead of `-o`. The negotiation modes of ACLs and labels are
 * not listed, as "always" does not turn a guest away yet, nor is migration.
 */
export const CAPABILITIES: Readonly<{ type: "fs"; features: readonly string[] }> = {
  type: "fs",
  features: ["separate-options"],
};
