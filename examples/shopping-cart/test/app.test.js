import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FakeHost, Launched } from '@mpkg/sdk/testing';

import { app } from '../src/index.js';

test('the basket is kept, and comes back at the next launch', async (t) => {
  const { host, shop } = await open(t);
  await shop.call('cart.add', { sku: 'assam-100', quantity: 2 });
  await shop.call('cart.add', { sku: 'assam-100' });
  const again = await Launched.launch(app, { user: 'ada' });
  const shown = await again.call('cart.show');
  assert.equal(shown.count, 3);
  assert.equal(shown.total_minor, 1920);
  assert.match(host.logs.at(-1).message, /ada comes back to 3 things for 1920 cents/);
});

test('every change is told to the host', async (t) => {
  const { host, shop } = await open(t);
  await shop.call('cart.add', { sku: 'cup-glass', quantity: 6 });
  await shop.call('cart.set', { sku: 'cup-glass', quantity: 2 });
  await shop.call('cart.remove', { sku: 'cup-glass' });
  assert.deepEqual(
    host.published.map(({ topic, data }) => [topic, data.reason, data.count, data.total_minor]),
    [
      ['cart.changed', 'added', 6, 1998],
      ['cart.changed', 'set', 2, 798],
      ['cart.changed', 'removed', 0, 0],
    ],
  );
});

test('bad input is refused with the field, and changes nothing', async (t) => {
  const { host, shop } = await open(t);
  const refused = (method, params, field) =>
    assert.rejects(shop.call(method, params), { name: 'InvalidParams', data: field });
  await refused('cart.add', { sku: 'coffee' }, { field: 'sku' });
  await refused('cart.add', { sku: '__proto__' }, { field: 'sku' });
  await refused('cart.add', { sku: 'pot-cast', quantity: 0 }, { field: 'quantity' });
  await refused('cart.add', { sku: 'pot-cast', quantity: 1.5 }, { field: 'quantity' });
  await refused('cart.add', { sku: 'pot-cast', quantity: 5 }, { field: 'quantity', most: 4 });
  await refused('cart.set', { sku: 'pot-cast', quantity: '2' }, { field: 'quantity' });
  await refused('cart.coupon', { code: 'FREE' }, { field: 'code' });
  assert.equal(host.stored('basket'), undefined);
  assert.equal(host.published.length, 0);
});

test('checkout orders what was shown, to the cent, and empties the basket', async (t) => {
  const { host, shop } = await open(t);
  await shop.call('cart.add', { sku: 'assam-100', quantity: 7 });
  await shop.call('cart.add', { sku: 'pot-cast' });
  const { total_minor } = await shop.call('cart.coupon', { code: 'TEATIME5' });
  const ordered = await shop.call('cart.checkout');
  assert.equal(ordered.total_minor, total_minor);
  assert.equal(host.stored('basket'), undefined);
  assert.deepEqual(host.published.slice(-2).map(({ topic }) => topic), ['cart.ordered', 'cart.changed']);
  await assert.rejects(shop.call('cart.checkout'), { code: 1002 });
});

test('without the permission nothing is ordered and the basket stays', async (t) => {
  const { host, shop } = await open(t);
  host.deny('cart.write', 'denied');
  await shop.call('cart.add', { sku: 'pot-cast' });
  await assert.rejects(shop.call('cart.checkout'), {
    code: 1001,
    data: { permission: 'cart.write', reason: 'denied', can_ask_again: true, total_minor: 4999 },
  });
  assert.equal((await shop.call('cart.show')).count, 1);
  host.allow('cart.write');
  assert.equal((await shop.call('cart.checkout')).total_minor, 4999);
});

test('an order that breaks halfway leaves the Super App as it was', async (t) => {
  const { host, shop } = await open(t);
  await shop.call('cart.add', { sku: 'pot-cast' });
  await shop.call('cart.add', { sku: 'sencha-100' });
  host.answer('cart.checkout', () => {
    throw Object.assign(new Error('the till is closed'), { code: -32008 });
  });
  await assert.rejects(shop.call('cart.checkout'), { name: 'Refused', message: 'the till is closed' });
  assert.deepEqual(
    host.calls.filter(({ method }) => method === 'cart.remove').map(({ params }) => params.sku),
    ['pot-cast', 'sencha-100'],
  );
  assert.equal((await shop.call('cart.show')).count, 2);
});

test('a revoked events permission does not stop the shop', async (t) => {
  const { host, shop } = await open(t);
  host.deny('events', 'revoked');
  assert.equal((await shop.call('cart.add', { sku: 'assam-100' })).count, 1);
  assert.match(host.logs.at(-1).message, /cart.changed was not published/);
});

test('a coupon ends when its time is over', async (t) => {
  const { shop } = await open(t);
  await shop.call('cart.add', { sku: 'pot-cast' });
  const { coupon } = await shop.call('cart.coupon', { code: 'SUMMER2020' });
  assert.deepEqual(coupon, { code: 'SUMMER2020', applied: false, problem: 'expired' });
});

test('a basket of an older release may hold what is no longer sold', async (t) => {
  const { host, shop } = await open(t);
  host.store('basket', { quantities: { 'assam-100': 1, 'lapsang-50': 2 }, coupon: null });
  assert.equal((await shop.call('cart.show')).count, 1);
});

async function open(t) {
  const host = new FakeHost();
  t.after(() => host.close());
  return { host, shop: await Launched.launch(app) };
}
