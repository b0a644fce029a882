/** Milliseconds since 1970. Needs no permission. `Date.now()` is the same. */
export function now(): number;
/** Nanoseconds that never run backwards, from an arbitrary start. */
export function monotonic(): number;
