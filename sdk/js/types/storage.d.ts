import type { Json } from './json.js';

/** The value of `key`, or undefined. Permission `storage`, as for everything here. */
export function get<Value extends Json = any>(key: string): Value | undefined;
/**
 * Stores `value`; it is on disk when this returns. A key has 1 to 256 bytes, a value at most 256 KiB of JSON.
 * @throws {QuotaExceeded} when the manifest's quota is used up; nothing is written then.
 */
export function set(key: string, value: Json): void;
/** Forgets `key`. Tells whether it was there. */
export function remove(key: string): boolean;
/** One page of keys, in ascending byte order. `limit` is at most 1000, and 100 if not given. */
export function list(options?: { prefix?: string; after?: string; limit?: number }): { keys: string[]; more: boolean };
/** All keys with this prefix, page by page. */
export function keys(prefix?: string): Generator<string, void>;
export function usage(): { usedBytes: number; quotaBytes: number; keys: number };
