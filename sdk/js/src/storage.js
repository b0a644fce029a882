import { call } from '#bridge/storage';
import { request } from './bridge.js';

export function get(key) {
  const { value, found } = request(call, 'storage.get', { key });
  return found ? value : undefined;
}

export function set(key, value) {
  if (value === undefined) throw new TypeError(`storage.set('${key}'): undefined cannot be stored; use remove`);
  request(call, 'storage.set', { key, value });
}

export function remove(key) {
  return request(call, 'storage.delete', { key }).existed;
}

export function list({ prefix, after, limit } = {}) {
  return request(call, 'storage.list', { prefix, after, limit });
}

export function* keys(prefix) {
  let after;
  for (;;) {
    const page = list({ prefix, after });
    yield* page.keys;
    if (!page.more || page.keys.length === 0) return;
    after = page.keys.at(-1);
  }
}

export function usage() {
  const { used_bytes, quota_bytes, keys } = request(call, 'storage.usage');
  return { usedBytes: used_bytes, quotaBytes: quota_bytes, keys };
}

export function clear() {
  return request(call, 'storage.clear').keys;
}

export function transaction(ops, conditions = []) {
  request(call, 'storage.transaction', { ops, if: conditions });
}

export function watch(prefix = '') {
  request(call, 'storage.watch', { prefix });
}

export function unwatch(prefix = '') {
  return request(call, 'storage.unwatch', { prefix }).existed;
}
