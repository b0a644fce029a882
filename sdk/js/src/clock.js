import { call } from '#bridge/clock';
import { request } from './bridge.js';

export function now() {
  return request(call, 'clock.now').unix_ms;
}

export function monotonic() {
  return request(call, 'clock.monotonic').nanos;
}
