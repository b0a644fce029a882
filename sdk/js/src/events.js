import { call } from '#bridge/events';
import { request } from './bridge.js';

export function publish(topic, data) {
  return request(call, 'events.publish', { topic, data: data ?? null }).id;
}

export function subscribe(topic) {
  request(call, 'events.subscribe', { topic });
}

export function unsubscribe(topic) {
  request(call, 'events.unsubscribe', { topic });
}
