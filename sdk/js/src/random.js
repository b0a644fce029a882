import { call } from '#bridge/random';
import { decode } from './base64.js';
import { request } from './bridge.js';

export function bytes(length) {
  return decode(request(call, 'random.bytes', { length }).base64);
}

export function float() {
  // 53 bits, as many as a number holds.
  const view = new DataView(bytes(8).buffer);
  return Number(view.getBigUint64(0) >> 11n) / 2 ** 53;
}

export function uuid() {
  const raw = bytes(16);
  raw[6] = (raw[6] & 0x0f) | 0x40;
  raw[8] = (raw[8] & 0x3f) | 0x80;
  const hex = Array.from(raw, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
