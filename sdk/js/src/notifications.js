import { call } from '#bridge/notifications';
import { request } from './bridge.js';

export function show(title, body) {
  return request(call, 'notifications.show', { title, body }).id;
}
