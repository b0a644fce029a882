import { call } from '#bridge/timers';
import { request } from './bridge.js';

export function after(milliseconds, id) {
  return request(call, 'timers.set', { id, after_ms: milliseconds }).id;
}

export function every(milliseconds, id) {
  return request(call, 'timers.set', { id, after_ms: milliseconds, every_ms: milliseconds }).id;
}

export function clear(id) {
  return request(call, 'timers.clear', { id }).existed;
}

export function list() {
  return request(call, 'timers.list').timers.map(({ id, left_ms, every_ms }) => {
    return { id, leftMs: left_ms, everyMs: every_ms };
  });
}
