import { call } from '#bridge/files';
import { decode, encode } from './base64.js';
import { request } from './bridge.js';

export function read(path) {
  return decode(request(call, 'files.read', { path }).base64);
}

export function readText(path) {
  return new TextDecoder().decode(read(path));
}

export function write(path, contents) {
  const bytes = typeof contents === 'string' ? new TextEncoder().encode(contents) : contents;
  request(call, 'files.write', { path, base64: encode(bytes) });
}

export function remove(path) {
  return request(call, 'files.delete', { path }).existed;
}

export function list(prefix) {
  return request(call, 'files.list', { prefix }).paths;
}
