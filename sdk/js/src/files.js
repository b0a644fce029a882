import { call } from '#bridge/files';
import { decode, encode } from './base64.js';
import { request } from './bridge.js';

export function read(path) {
  const parts = [];
  let length = 0;
  for (;;) {
    const { bytes, more } = readPart(path, length);
    parts.push(bytes);
    length += bytes.length;
    if (!more || bytes.length === 0) break;
  }
  if (parts.length === 1) return parts[0];
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function readPart(path, offset = 0, length) {
  const { base64, more = false } = request(call, 'files.read', { path, offset, length });
  return { bytes: decode(base64), more };
}

export function readText(path) {
  return new TextDecoder().decode(read(path));
}

export function write(path, contents) {
  request(call, 'files.write', { path, ...wire(contents) });
}

export function append(path, contents) {
  request(call, 'files.write', { path, ...wire(contents), append: true });
}

function wire(contents) {
  return typeof contents === 'string' ? { text: contents } : { base64: encode(contents) };
}

export function remove(path) {
  return request(call, 'files.delete', { path }).existed;
}

export function list(prefix) {
  return request(call, 'files.list', { prefix }).paths;
}

export function stat(path) {
  const { found, size, modified_ms } = request(call, 'files.stat', { path });
  return found ? { size, modifiedMs: modified_ms } : undefined;
}

export function usage() {
  const { used_bytes, quota_bytes, files, max_files } = request(call, 'files.usage');
  return { usedBytes: used_bytes, quotaBytes: quota_bytes, files, maxFiles: max_files };
}
