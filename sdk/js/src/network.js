import { call } from '#bridge/network';
import { decode, encode } from './base64.js';
import { request } from './bridge.js';

export function fetch(url, options) {
  return new Response(request(call, 'network.fetch', params(url, options)));
}

export function open(url, options) {
  return new Stream(request(call, 'network.open', params(url, options)));
}

function params(url, { method, headers, body, timeoutMs } = {}) {
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body;
  return { url: String(url), method, headers, body_base64: bytes && encode(bytes), timeout_ms: timeoutMs };
}

class Stream {
  #id;
  #done = false;

  constructor({ status, headers, stream }) {
    this.status = status;
    this.ok = status >= 200 && status <= 299;
    this.headers = headers;
    this.#id = stream;
  }

  read() {
    if (this.#done) return null;
    // The host closes a stream that fails.
    this.#done = true;
    const { body_base64, done } = request(call, 'network.read', { stream: this.#id });
    this.#done = done;
    const piece = decode(body_base64);
    return piece.length ? piece : null;
  }

  close() {
    if (!this.#done) request(call, 'network.close', { stream: this.#id });
    this.#done = true;
  }

  *[Symbol.iterator]() {
    try {
      for (let piece = this.read(); piece; piece = this.read()) yield piece;
    } finally {
      this.close();
    }
  }
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
