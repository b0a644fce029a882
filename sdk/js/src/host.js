import { call as bridge } from '#bridge/host';
import { request } from './bridge.js';

export function call(method, params) {
  return request(bridge, method, params);
}
