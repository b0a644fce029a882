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
/** Forgets every key; tells how many there were. */
export function clear(): number;

export type Op = { set: { key: string; value: Json } } | { delete: { key: string } };
export type Condition = { key: string; equals: Json } | { key: string; absent: true };
/**
 * Carries out all of `ops` in their order, or nothing: if a condition does not hold, or what would be stored afterwards is
 * more than the quota. At most 256 of each.
 * @throws {Conflict} naming the key that is not as supposed.
 */
export function transaction(ops: Op[], conditions?: Condition[]): void;

/** What `on['storage.changed']` gets. */
export interface Changed {
  /** Each once, however often it changed. */
  readonly keys: string[];
  /** Further keys changed, too many to name. */
  readonly more: boolean;
}
/** From now on, while this instance runs, `storage.changed` tells what other instances of this app and user change. */
export function watch(prefix?: string): void;
/** From now on it does not. Tells whether the prefix was watched. */
export function unwatch(prefix?: string): boolean;
