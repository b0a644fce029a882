import { decode, encode } from './base64.js';
import { fromWire } from './errors.js';
import { install } from './native.js';

const MAX_KEY_BYTES = 256;
const MAX_VALUE_BYTES = 256 * 1024;

/** A host in memory, for tests. The last one created is the one that the wrappers talk to. */
export class FakeHost {
  /** What the app wrote to its log: `{ level, message }`. */
  logs = [];
  /** What it published: `{ topic, data, id }`. */
  published = [];
  /** Topics it subscribed to. */
  subscriptions = new Set();
  /** Prefixes of storage keys that it watches. */
  watched = new Set();
  /** Timers that it has set: id to `{ after_ms, every_ms }`. A test makes one fire by notifying `timers.fired`. */
  timers = new Map();
  /** Notifications it showed: `{ title, body, id }`. */
  notifications = [];
  /** Payments it asked for: `{ amount_minor, currency, reference }`. */
  payments = [];
  /** Every call that arrived, allowed or not: `{ method, params }`. */
  calls = [];

  #before;
  #denied = new Map();
  #answers = new Map();
  #storage = new Map();
  #files = new Map();
  #cart = [];
  #quotaBytes;
  #unixMs;
  #nanos = 0;
  #seed;
  #ids = 0;
  #clipboard = '';

  constructor({ now = Date.UTC(2030, 0, 1), seed = 1, quotaBytes = 1024 * 1024, currency = 'EUR' } = {}) {
    this.#unixMs = now;
    this.#seed = seed;
    this.#quotaBytes = quotaBytes;
    this.currency = currency;
    this.user = { id: 'user-1', display_name: 'Ada', locale: 'en' };
    this.place = { latitude_e7: 525200000, longitude_e7: 134050000, accuracy_m: 20 };
    this.paymentStatus = 'approved';
    this.#before = install(this);
  }

  /** Puts the host back that was there before. */
  close() {
    install(this.#before);
  }

  [Symbol.dispose ?? Symbol.for('Symbol.dispose')]() {
    this.close();
  }

  /** From now on the permission is refused for `reason`; `allow` takes that back. */
  deny(permission, reason = 'denied') {
    this.#denied.set(permission, reason);
    return this;
  }

  allow(permission) {
    this.#denied.delete(permission);
    return this;
  }

  /** Answers `method` with `answer`: a value, or a function of the params that may throw an RpcError. */
  answer(method, answer) {
    this.#answers.set(method, typeof answer === 'function' ? answer : () => answer);
    return this;
  }

  /** Lets time pass. */
  advance(milliseconds) {
    this.#unixMs += milliseconds;
    this.#nanos += milliseconds * 1e6;
    return this;
  }

  /** What is stored under `key`. */
  stored(key) {
    const text = this.#storage.get(key);
    return text === undefined ? undefined : JSON.parse(text);
  }

  /** Stores a value as if the app had done so earlier. */
  store(key, value) {
    this.#storage.set(key, JSON.stringify(value));
    return this;
  }

  /** What the bridge interface `name` does with one call. Takes and gives JSON texts, as in a component. */
  call(name, method, params) {
    const given = JSON.parse(params);
    this.calls.push({ method, params: given });
    const permission = name === 'host' ? `host.${method.split('.')[0]}` : PERMISSIONS[name];
    const reason = this.#denied.get(permission);
    if (reason) fail(-32001, `the permission ${permission} is not granted`, { permission, reason });
    const custom = this.#answers.get(method);
    if (custom) return JSON.stringify(relay(() => custom(given)) ?? null);
    const builtIn = Object.hasOwn(this.#methods, method) ? this.#methods[method] : undefined;
    if (!builtIn) fail(-32601, `the host has no method ${method}`);
    return JSON.stringify(builtIn(given) ?? null);
  }

  #id(kind) {
    this.#ids += 1;
    return `${kind}-${this.#ids}`;
  }

  #used() {
    let used = 0;
    for (const [key, text] of this.#storage) used += byteLength(key) + byteLength(text);
    return used;
  }

  #wholeCart() {
    const total = this.#cart.reduce((sum, item) => sum + item.quantity * item.unit_price_minor, 0);
    return { items: this.#cart, currency: this.currency, total_minor: total };
  }

  #inCart(sku) {
    return this.#cart.find((item) => item.sku === sku) ?? fail(-32602, `there is no ${sku} in the cart`);
  }

  #methods = {
    'log.write': ({ level, message }) => {
      this.logs.push({ level, message });
    },
    'clock.now': () => ({ unix_ms: this.#unixMs }),
    'clock.monotonic': () => ({ nanos: this.#nanos }),
    'random.bytes': ({ length }) => ({ base64: encode(Uint8Array.from({ length }, () => this.#randomByte())) }),
    'storage.get': ({ key }) => {
      const text = this.#storage.get(checkKey(key));
      return text === undefined ? { value: null, found: false } : { value: JSON.parse(text), found: true };
    },
    'storage.set': ({ key, value }) => {
      const text = JSON.stringify(value);
      if (byteLength(text) > MAX_VALUE_BYTES) fail(-32004, `the value of ${checkKey(key)} is too large`);
      const old = this.#storage.has(key) ? byteLength(key) + byteLength(this.#storage.get(key)) : 0;
      const used = this.#used() - old + byteLength(checkKey(key)) + byteLength(text);
      const data = { used_bytes: this.#used(), quota_bytes: this.#quotaBytes };
      if (used > this.#quotaBytes) fail(-32003, 'the storage is full', data);
      this.#storage.set(key, text);
      return {};
    },
    'storage.delete': ({ key }) => ({ existed: this.#storage.delete(checkKey(key)) }),
    'storage.list': ({ prefix = '', after = '', limit = 100 }) => {
      const keys = [...this.#storage.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
      return { keys: keys.slice(0, limit), more: keys.length > limit };
    },
    'storage.clear': () => {
      const keys = this.#storage.size;
      this.#storage.clear();
      return { keys };
    },
    'storage.transaction': ({ ops, if: conditions = [] }) => {
      for (const { key, equals } of conditions) {
        const stored = this.#storage.get(checkKey(key));
        const same = equals === undefined ? stored === undefined : stored !== undefined && sameJson(JSON.parse(stored), equals);
        if (!same) fail(-32010, `${key} is not as the transaction supposes`, { key });
      }
      const before = new Map(this.#storage);
      try {
        for (const { set, delete: gone } of ops) {
          if (set) this.#methods['storage.set'](set);
          else this.#methods['storage.delete'](gone);
        }
      } catch (error) {
        this.#storage = before;
        throw error;
      }
      return {};
    },
    'storage.watch': ({ prefix }) => {
      this.watched.add(prefix);
      return {};
    },
    'storage.unwatch': ({ prefix }) => ({ existed: this.watched.delete(prefix) }),
    'timers.set': ({ id = this.#id('timer'), after_ms, every_ms }) => {
      this.timers.set(id, { after_ms, every_ms });
      return { id };
    },
    'timers.clear': ({ id }) => ({ existed: this.timers.delete(id) }),
    'timers.list': () => {
      return { timers: [...this.timers].map(([id, { after_ms, every_ms }]) => ({ id, left_ms: after_ms, every_ms })) };
    },
    'storage.usage': () => {
      return { used_bytes: this.#used(), quota_bytes: this.#quotaBytes, keys: this.#storage.size };
    },
    'network.fetch': ({ url }) => fail(-32008, `no answer for ${url}: give one with host.answer('network.fetch', …)`),
    'network.open': ({ url }) => fail(-32008, `no answer for ${url}: give one with host.answer('network.open', …)`),
    'events.publish': ({ topic, data }) => {
      const id = this.#id('event');
      this.published.push({ topic, data, id });
      return { id };
    },
    'events.subscribe': ({ topic }) => {
      this.subscriptions.add(topic);
      return {};
    },
    'events.unsubscribe': ({ topic }) => {
      this.subscriptions.delete(topic);
      return {};
    },
    'user.profile': () => this.user,
    'device.location': () => this.place,
    'cart.get': () => this.#wholeCart(),
    'cart.add': ({ sku, name, quantity, unit_price_minor }) => {
      const line = this.#cart.find((item) => item.sku === sku);
      if (line) line.quantity += quantity;
      else this.#cart.push({ sku, name, quantity, unit_price_minor });
      return this.#wholeCart();
    },
    'cart.update': ({ sku, quantity }) => {
      this.#inCart(sku).quantity = quantity;
      return this.#wholeCart();
    },
    'cart.remove': ({ sku }) => {
      this.#cart.splice(this.#cart.indexOf(this.#inCart(sku)), 1);
      return this.#wholeCart();
    },
    'cart.checkout': () => {
      const { total_minor, currency } = this.#wholeCart();
      this.#cart = [];
      return { order_id: this.#id('order'), total_minor, currency };
    },
    'payments.request': ({ amount_minor, currency, reference }) => {
      this.payments.push({ amount_minor, currency, reference });
      return { payment_id: this.#id('payment'), status: this.paymentStatus };
    },
    'notifications.show': ({ title, body }) => {
      const id = this.#id('notification');
      this.notifications.push({ title, body, id });
      return { id };
    },
    'clipboard.read': () => ({ text: this.#clipboard }),
    'clipboard.write': ({ text }) => {
      this.#clipboard = text;
      return {};
    },
    'files.read': ({ path, offset = 0, length }) => {
      const bytes = this.#files.get(path) ?? fail(-32008, `there is no file ${path}`);
      const part = bytes.subarray(offset, length === undefined ? undefined : offset + length);
      return { base64: encode(part), size: bytes.length, more: offset + part.length < bytes.length };
    },
    'files.write': ({ path, base64, text, append = false }) => {
      const bytes = text === undefined ? decode(base64) : new TextEncoder().encode(text);
      const before = append ? (this.#files.get(path) ?? []) : [];
      this.#files.set(path, Uint8Array.from([...before, ...bytes]));
      return {};
    },
    'files.stat': ({ path }) => {
      const bytes = this.#files.get(path);
      return bytes ? { found: true, size: bytes.length } : { found: false };
    },
    'files.usage': () => {
      const used = [...this.#files.values()].reduce((sum, bytes) => sum + bytes.length, 0);
      return { used_bytes: used, quota_bytes: this.#quotaBytes, files: this.#files.size, max_files: 1000 };
    },
    'files.delete': ({ path }) => ({ existed: this.#files.delete(path) }),
    'files.list': ({ prefix = '' }) => {
      return { paths: [...this.#files.keys()].filter((path) => path.startsWith(prefix)).sort() };
    },
  };

  /** Numbers that look random and are the same in every run (the mulberry32 generator). */
  #randomByte() {
    this.#seed = (this.#seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#seed ^ (this.#seed >>> 15), 1 | this.#seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) & 0xff;
  }
}

/** An app as its host sees it: values go in and come out as JSON does, errors come back as they cross the bridge. */
export class Launched {
  #app;

  /** Launches `app`: its `lifecycle.launched` handler has run when this resolves. */
  static async launch(app, { user = 'user-1', reason = 'test' } = {}) {
    const launched = new Launched(app);
    await launched.notify('lifecycle.launched', { user, reason });
    return launched;
  }

  constructor(app) {
    this.#app = app;
  }

  /** Calls a method. */
  async call(method, params = {}) {
    try {
      return JSON.parse(await this.#app.handle(method, JSON.stringify(params)));
    } catch (error) {
      throw error?.payload ? fromWire(error.payload) : error;
    }
  }

  /** Sends a notification. A real host ignores what comes back; here a handler that throws fails the test. */
  async notify(method, params = {}) {
    await this.call(method, params);
  }
}

const PERMISSIONS = {
  storage: 'storage',
  network: 'network',
  events: 'events',
  'user-profile': 'user.profile',
  'device-location': 'device.location',
  'cart-read': 'cart.read',
  'cart-write': 'cart.write',
  'payments-request': 'payments.request',
  notifications: 'notifications',
  clipboard: 'clipboard',
  files: 'files',
};

function fail(code, message, data) {
  const payload = { code, message, data: data && JSON.stringify(data) };
  throw Object.assign(new Error(message), { payload });
}

/** What a test's own answer throws crosses the bridge like any other error. */
function relay(answer) {
  try {
    return answer();
  } catch (error) {
    if (!Number.isInteger(error?.code)) throw error;
    return fail(error.code, error.message, error.data);
  }
}

/** As a host compares: the order of members tells nothing. */
function sameJson(one, other) {
  const sorted = (_, value) =>
    value && typeof value === 'object' && !Array.isArray(value) ? Object.fromEntries(Object.entries(value).sort()) : value;
  return JSON.stringify(one, sorted) === JSON.stringify(other, sorted);
}

function byteLength(text) {
  return new TextEncoder().encode(text).length;
}

function checkKey(key) {
  const length = typeof key === 'string' ? byteLength(key) : 0;
  if (length < 1 || length > MAX_KEY_BYTES) fail(-32602, `a key has 1 to ${MAX_KEY_BYTES} bytes, not ${length}`);
  return key;
}
