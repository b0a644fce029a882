import { call } from '#bridge/log';
import { request } from './bridge.js';

export function write(level, message) {
  request(call, 'log.write', { level, message: String(message) });
}

export function debug(message) {
  write('debug', message);
}

export function info(message) {
  write('info', message);
}

export function warn(message) {
  write('warn', message);
}

export function error(message) {
  write('error', message);
}
