// The basket in the app's storage: one small value, written as a whole, so it is never half changed.

import { storage } from '@mpkg/sdk';

import { product } from './catalog.js';

const KEY = 'basket';

/** `{ quantities: { sku: quantity }, coupon }`, in the order in which things were put in. */
export function load() {
  const { quantities = {}, coupon = null } = storage.get(KEY) ?? {};
  // An update of the app may have dropped a product that somebody had in the basket.
  const kept = Object.entries(quantities).filter(([sku]) => product(sku));
  return { quantities: Object.fromEntries(kept), coupon };
}

export function save(basket) {
  storage.set(KEY, basket);
}

export function clear() {
  storage.remove(KEY);
}
