/**
 * Figures for people.
 *
 * @module
 */

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** "12.3 MiB" */
export function bytesText(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number.isInteger(value) || value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${
    BYTE_UNITS[unit]
  }`;
}

/** "12.3 µs" */
export function nanosecondsText(nanoseconds: number): string {
  if (nanoseconds < 1000) return `${nanoseconds.toFixed(0)} ns`;
  if (nanoseconds < 1e6) return `${three(nanoseconds / 1e3)} µs`;
  if (nanoseconds < 1e9) return `${three(nanoseconds / 1e6)} ms`;
  return `${three(nanoseconds / 1e9)} s`;
}

/** "3 min 20 s": how long ago something was. */
export function ageText(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor(minutes / 60) % 24} h`;
}

/** "1,234" */
export function countText(count: number): string {
  return count.toLocaleString("en-US");
}

/** "2026-11-26 03:00:55Z" */
export function timeText(milliseconds: number): string {
  // Nothing that comes from a state memory may throw here.
  if (!(Math.abs(milliseconds) <= 8.64e15)) return "?";
  return new Date(milliseconds).toISOString().replace("T", " ").replace(/\.\d+/, "");
}

function three(value: number): string {
  return value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : value.toFixed(0);
}
