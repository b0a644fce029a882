import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  InvalidParams,
  Conflict,
  PermissionDenied,
  QuotaExceeded,
  RpcError,
  cart,
  clipboard,
  clock,
  defineApp,
  events,
  files,
  host,
  location,
  log,
  network,
  notifications,
  payments,
  random,
  storage,
  timers,
  user,
} from '@mpkg/sdk';
import { FakeHost, Launched } from '@mpkg/sdk/testing';

test('a method answers with what its handler returns, and knows its user', async () => {
  const app = await Launched.launch(
    defineApp({ methods: { 'greet.user': async ({ word }, ctx) => `${word}, ${ctx.user} (${ctx.method})` } }),
    { user: 'grace' },
  );
  assert.equal(await app.call('greet.user', { word: 'Hello' }), 'Hello, grace (greet.user)');
});

test('a handler without a result answers null', async () => {
  const app = new Launched(defineApp({ methods: { 'a.b': () => {} } }));
  assert.equal(await app.call('a.b'), null);
});

test('unknown methods are errors, unknown notifications are not', async () => {
  const app = new Launched(defineApp({ methods: {} }));
  await assert.rejects(app.call('cart.add'), { name: 'MethodNotFound', code: -32601 });
  await assert.rejects(app.call('constructor'), { code: -32601 });
  await assert.rejects(app.call('toString'), { code: -32601 });
  await app.notify('lifecycle.shown');
  await app.notify('ui.pressed', { id: 'buy' });
  await app.notify('events.message', { topic: 't', data: 1, id: 'x' });
});

test('errors keep code and data; what is no RpcError becomes an internal error', async () => {
  const thrown = { own: new RpcError(7, 'sold out', { sku: 'tea' }), bug: new TypeError('x is undefined'), text: 'no' };
  const app = new Launched(
    defineApp({
      methods: {
        'throw.it': ({ which }) => {
          throw thrown[which];
        },
      },
    }),
  );
  await assert.rejects(app.call('throw.it', { which: 'own' }), { code: 7, message: 'sold out', data: { sku: 'tea' } });
  await assert.rejects(app.call('throw.it', { which: 'bug' }), {
    code: -32603,
    message: 'TypeError: x is undefined',
  });
  await assert.rejects(app.call('throw.it', { which: 'text' }), { code: -32603, message: 'no' });
});

test('a mistake in the definition shows when the app is defined', () => {
  assert.throws(() => defineApp({ methods: { 'a.b': 1 } }), /methods\['a\.b'\] is not a function/);
  assert.throws(() => defineApp({ on: { launched: () => {} } }), /on\['launched'\] never happens/);
});

test('params that are not JSON are invalid params', async () => {
  const app = defineApp({ methods: { 'a.b': () => {} } });
  await assert.rejects(app.handle('a.b', '{'), ({ payload }) => payload.code === -32602);
});

test('without a host a wrapper says what a test needs', () => {
  assert.throws(() => storage.get('x'), /new FakeHost\(\)/);
});

test('storage keeps, lists, counts and forgets', (t) => {
  const fake = withHost(t);
  storage.set('b', { deep: [1, 2] });
  storage.set('a/1', 'x');
  storage.set('a/2', null);
  assert.deepEqual(storage.get('b'), { deep: [1, 2] });
  assert.equal(storage.get('a/2'), null);
  assert.equal(storage.get('none'), undefined);
  assert.deepEqual([...storage.keys('a/')], ['a/1', 'a/2']);
  assert.deepEqual(storage.list({ limit: 1 }), { keys: ['a/1'], more: true });
  assert.equal(storage.usage().keys, 3);
  assert.equal(storage.remove('b'), true);
  assert.equal(storage.remove('b'), false);
  assert.equal(fake.stored('a/1'), 'x');
  assert.throws(() => storage.set('a', undefined), TypeError);
  assert.throws(() => storage.set('', 1), InvalidParams);
});

test('keys are read page by page', (t) => {
  withHost(t);
  const all = Array.from({ length: 250 }, (_, index) => `k${String(index).padStart(3, '0')}`);
  for (const key of all) storage.set(key, 0);
  assert.deepEqual([...storage.keys()], all);
});

test('a full storage is a typed error and changes nothing', (t) => {
  withHost(t, { quotaBytes: 20 });
  storage.set('k', 'old');
  assert.throws(
    () => storage.set('k', 'x'.repeat(30)),
    (error) => error instanceof QuotaExceeded && error.quotaBytes === 20 && error.usedBytes === 6,
  );
  assert.equal(storage.get('k'), 'old');
});

test('a transaction happens whole or not at all', (t) => {
  const fake = withHost(t, { quotaBytes: 40 });
  storage.transaction([{ set: { key: 'a', value: { x: 1, y: 2 } } }], [{ key: 'a', absent: true }]);
  storage.transaction([{ set: { key: 'b', value: 1 } }], [{ key: 'a', equals: { y: 2, x: 1 } }]);
  assert.throws(
    () => storage.transaction([{ delete: { key: 'a' } }], [{ key: 'b', equals: 2 }]),
    (error) => error instanceof Conflict && error.key === 'b',
  );
  const big = { set: { key: 'c', value: 'x'.repeat(40) } };
  assert.throws(() => storage.transaction([{ delete: { key: 'a' } }, big]), QuotaExceeded);
  assert.deepEqual(fake.stored('a'), { x: 1, y: 2 });
  storage.watch('a');
  assert.deepEqual([...fake.watched], ['a']);
  assert.equal(storage.unwatch('a'), true);
  assert.equal(storage.clear(), 2);
});

test('timers are set, listed and cleared', async (t) => {
  withHost(t);
  const fired = [];
  const app = new Launched(defineApp({ on: { 'timers.fired': ({ id }) => fired.push(id) } }));
  const once = timers.after(500);
  timers.every(1000, 'tick');
  assert.deepEqual(timers.list().at(-1), { id: 'tick', leftMs: 1000, everyMs: 1000 });
  await app.notify('timers.fired', { id: once });
  assert.deepEqual(fired, [once]);
  assert.equal(timers.clear('tick'), true);
  assert.equal(timers.clear('tick'), false);
});

test('a denied permission is a typed error that names it, and has no effect', (t) => {
  const fake = withHost(t).deny('notifications', 'blocked');
  assert.throws(
    () => notifications.show('Hi', 'there'),
    (error) =>
      error instanceof PermissionDenied && error.permission === 'notifications' && error.reason === 'blocked',
  );
  assert.equal(fake.notifications.length, 0);
  fake.allow('notifications');
  assert.equal(notifications.show('Hi', 'there'), 'notification-1');
});

test('every other wrapper speaks its part of the table', (t) => {
  const fake = withHost(t, { now: 1000 });
  log.warn('careful');
  assert.deepEqual(fake.logs, [{ level: 'warn', message: 'careful' }]);

  assert.equal(clock.now(), 1000);
  fake.advance(5);
  assert.equal(clock.now(), 1005);
  assert.equal(clock.monotonic(), 5e6);

  assert.equal(random.bytes(300).length, 300);
  assert.match(random.uuid(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  const float = random.float();
  assert.ok(float >= 0 && float < 1);

  assert.equal(events.publish('cart.changed', { count: 1 }), 'event-1');
  events.subscribe('orders');
  assert.deepEqual([...fake.subscriptions], ['orders']);
  events.unsubscribe('orders');
  assert.equal(fake.subscriptions.size, 0);

  cart.add({ sku: 'tea', name: 'Tea', quantity: 2, unitPriceMinor: 450 });
  assert.equal(cart.update('tea', 3).totalMinor, 1350);
  assert.deepEqual(cart.get().items, [{ sku: 'tea', name: 'Tea', quantity: 3, unitPriceMinor: 450 }]);
  assert.equal(cart.checkout().totalMinor, 1350);
  assert.throws(() => cart.remove('tea'), InvalidParams);

  const payment = payments.request({ amountMinor: 1350, currency: 'EUR', reference: 'order-2' });
  assert.equal(payment.status, 'approved');
  assert.deepEqual(fake.payments, [{ amount_minor: 1350, currency: 'EUR', reference: 'order-2' }]);

  assert.deepEqual(location.get(), { latitude: 52.52, longitude: 13.405, accuracyMetres: 20 });
  clipboard.write('copied');
  assert.equal(clipboard.read(), 'copied');
  assert.deepEqual(user.profile(), { id: 'user-1', displayName: 'Ada', locale: 'en' });

  files.write('notes/a.txt', 'Grüße');
  assert.equal(files.readText('notes/a.txt'), 'Grüße');
  files.append('notes/a.txt', ' aus Köln');
  assert.equal(files.readText('notes/a.txt'), 'Grüße aus Köln');
  assert.deepEqual(files.readPart('notes/a.txt', 0, 2), { bytes: new Uint8Array([0x47, 0x72]), more: true });
  assert.equal(files.stat('notes/a.txt').size, 17);
  assert.equal(files.stat('none'), undefined);
  assert.equal(files.usage().usedBytes, 17);
  assert.deepEqual(files.list('notes/'), ['notes/a.txt']);
  assert.equal(files.remove('notes/a.txt'), true);

  fake.answer('loyalty.points', ({ card }) => ({ card, points: 12 }));
  assert.deepEqual(host.call('loyalty.points', { card: 'x' }), { card: 'x', points: 12 });
  fake.deny('host.loyalty');
  assert.throws(() => host.call('loyalty.points'), PermissionDenied);
});

test('network bodies are bytes and texts; what a test throws crosses the bridge', (t) => {
  const fake = withHost(t);
  fake.answer('network.fetch', ({ body_base64 }) => ({ status: 201, headers: { a: 'b' }, body_base64 }));
  const response = network.fetch('https://api.example.com/x', { method: 'POST', body: '{"é":1}' });
  assert.equal(response.ok, true);
  assert.deepEqual(response.json(), { é: 1 });
  fake.answer('network.fetch', () => {
    throw new RpcError(-32008, 'not in the manifest');
  });
  assert.throws(() => network.fetch('https://evil.example'), { name: 'Refused', message: 'not in the manifest' });
});

test('a streamed body ends, is left early, or fails', (t) => {
  const fake = withHost(t);
  const pieces = [];
  const closed = [];
  fake.answer('network.open', () => ({ status: 200, headers: {}, stream: 3 }));
  fake.answer('network.read', ({ stream }) => {
    assert.equal(stream, 3);
    const piece = pieces.shift();
    if (piece === undefined) throw new RpcError(-32009, 'it broke off');
    return { body_base64: btoa(piece), done: pieces.length === 0 };
  });
  fake.answer('network.close', ({ stream }) => ({ existed: closed.push(stream) > 0 }));
  const read = (count) => {
    const got = [];
    for (const piece of network.open('https://api.example.com/x')) {
      got.push(new TextDecoder().decode(piece));
      if (got.length === count) break;
    }
    return got;
  };
  pieces.push('ab', 'c');
  assert.deepEqual(read(9), ['ab', 'c']);
  assert.deepEqual(closed, [], 'the host closes what is read to its end');
  pieces.push('ab', 'c');
  assert.deepEqual(read(1), ['ab']);
  assert.deepEqual(closed, [3]);
  pieces.length = 0;
  assert.throws(() => read(9), { name: 'Unreachable', message: 'it broke off' });
  assert.deepEqual(closed, [3], 'the host closes what fails');
});

function withHost(t, options) {
  const fake = new FakeHost(options);
  t.after(() => fake.close());
  return fake;
}
