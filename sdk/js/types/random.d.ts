/** Secure random bytes, 1 to 65536. Needs no permission. `crypto.getRandomValues` is the same. */
export function bytes(length: number): Uint8Array;
/** A number from 0 up to, not including, 1. `Math.random()` is the same. */
export function float(): number;
/** A random UUID (version 4). `crypto.randomUUID()` is the same. */
export function uuid(): string;
