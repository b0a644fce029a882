import { call } from '#bridge/clipboard';
import { request } from './bridge.js';

export function read() {
  return request(call, 'clipboard.read').text;
}

export function write(text) {
  request(call, 'clipboard.write', { text });
}
