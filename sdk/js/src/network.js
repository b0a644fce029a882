import { call } from '#bridge/network';
import { decode, encode } from './base64.js';
import { request } from './bridge.js';

export function fetch(url, { method, headers, body, timeoutMs } = {}) {
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body;
  const answer = request(call, 'network.fetch', {
    url: String(url),
    method,
    headers,
    body_base64: bytes && encode(bytes),
    timeout_ms: timeoutMs,
  });
  return new Response(answer);
}

class Response {
  constructor({ status, headers, body_base64 }) {
    this.status = status;
    this.ok = status >= 200 && status <= 299;
    this.headers = headers;
    this.body = decode(body_base64);
  }

  text() {
    return new TextDecoder().decode(this.body);
  }

  json() {
    return JSON.parse(this.text());
  }
}
