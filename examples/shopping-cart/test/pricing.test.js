import assert from 'node:assert/strict';
import { test } from 'node:test';

import { product, unitPrice } from '../src/catalog.js';
import { dealOut, price } from '../src/pricing.js';

const NOW = Date.UTC(2030, 0, 1);

test('the more of one thing, the less for each', () => {
  const assam = product('assam-100');
  assert.deepEqual([1, 2, 3, 9, 10, 50].map((quantity) => unitPrice(assam, quantity)), [690, 690, 640, 640, 575, 575]);
});

test('a basket with two VAT rates, as on the receipt', () => {
  const priced = price({ 'assam-100': 3, 'pot-cast': 1 }, null, NOW);
  assert.equal(priced.subtotal_minor, 3 * 640 + 4999);
  assert.equal(priced.total_minor, 6919);
  assert.equal(priced.lines[0].saved_minor, 150);
  assert.deepEqual(priced.taxes, [
    { rate: 700, gross_minor: 1920, tax_minor: 126 },
    { rate: 1900, gross_minor: 4999, tax_minor: 798 },
  ]);
});

test('a percentage is taken off every line, to the cent', () => {
  const priced = price({ 'assam-100': 1, 'sencha-100': 1, 'cup-glass': 1 }, 'WELCOME10', NOW);
  assert.equal(priced.subtotal_minor, 2039);
  assert.equal(priced.discount_minor, 204);
  assert.deepEqual(priced.lines.map((line) => line.discount_minor), [69, 95, 40]);
  assert.equal(priced.total_minor, 1835);
});

test('a coupon that does not count says why and stays', () => {
  const problem = (quantities, code) => price(quantities, code, NOW).coupon.problem;
  assert.equal(problem({ 'assam-100': 1 }, 'WELCOME10'), 'below_least');
  assert.equal(problem({ 'pot-cast': 1 }, 'SUMMER2020'), 'expired');
  assert.equal(price({ 'pot-cast': 1 }, 'SUMMER2020', Date.UTC(2020, 0, 1)).discount_minor, 1500);
  assert.equal(problem({ 'pot-cast': 1 }, 'TEATIME5'), undefined);
});

test('an empty basket costs nothing', () => {
  const priced = price({}, 'TEATIME5', NOW);
  assert.deepEqual([priced.total_minor, priced.lines, priced.taxes], [0, [], []]);
});

test('whatever is dealt out adds up, and no share is larger than what it is a share of', () => {
  let seed = 7;
  const next = (below) => (seed = (seed * 48271) % 2147483647) % below;
  for (let round = 0; round < 2000; round += 1) {
    const weights = Array.from({ length: 1 + next(8) }, () => 1 + next(100_000));
    const whole = weights.reduce((a, b) => a + b);
    const amount = next(whole + 1);
    const shares = dealOut(amount, weights);
    assert.equal(shares.reduce((a, b) => a + b), amount);
    assert.ok(shares.every((share, index) => share >= 0 && share <= weights[index]));
  }
});
