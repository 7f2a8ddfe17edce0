/**
 * Values of options that are powers of two.
 *
 * @module
 */

import { message, text } from "@optique/core/message";
import type { ValueParser } from "@optique/core/valueparser";
import { DAX_WINDOW_SIZE_DEFAULT, DAX_WINDOW_UNIT } from "../config.ts";

/** Guests can address no more. */
const WINDOW_SIZE_MAX = 16 * 1024 ** 4;

/** A whole number that is a power of two. */
export function powerOfTwo(min: number, max: number): ValueParser<"sync", number> {
  return {
    mode: "sync",
    metavar: "N",
    placeholder: min,
    parse(input) {
      const value = /^\d+$/.test(input) ? Number(input) : NaN;
      if (value >= min && value <= max && Number.isInteger(Math.log2(value))) {
        return { success: true, value };
      }
      return {
        success: false,
        error: message`Expected a power of two from ${text(String(min))} to ${
          text(String(max))
        }, not ${text(input)}.`,
      };
    },
    format: (value) => String(value),
  };
}

/** "512M": a number of bytes, or of KiB, MiB, GiB, TiB by their letters. */
export function windowSize(): ValueParser<"sync", number> {
  return {
    mode: "sync",
    metavar: "SIZE",
    placeholder: DAX_WINDOW_SIZE_DEFAULT,
    parse(input) {
      const [, digits, unit] = /^(\d+)([KMGT]?)(?:iB|B)?$/i.exec(input) ?? [];
      const power = "KMGT".indexOf((unit ?? "").toUpperCase());
      const size = Number(digits) * (unit === "" ? 1 : 1024 ** (power + 1));
      // A PCI device's memory is as long as a power of two, and front ends take ours as it is (QEMU asserts).
      const isPower = Number.isInteger(Math.log2(size));
      if (size >= DAX_WINDOW_UNIT && isPower && size <= WINDOW_SIZE_MAX) {
        return { success: true, value: size };
      }
      return {
        success: false,
        error: message`A window's size is a power of two from 2M to 16T, as 512M or 8G, not ${
          text(input)
        }.`,
      };
    },
    format: (value) => String(value),
  };
}
