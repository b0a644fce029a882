import { call as read } from '#bridge/cart-read';
import { call as write } from '#bridge/cart-write';
import { request } from './bridge.js';

export function get() {
  return fromWire(request(read, 'cart.get'));
}

export function add({ sku, name, quantity, unitPriceMinor }) {
  return fromWire(request(write, 'cart.add', { sku, name, quantity, unit_price_minor: unitPriceMinor }));
}

export function update(sku, quantity) {
  return fromWire(request(write, 'cart.update', { sku, quantity }));
}

export function remove(sku) {
  return fromWire(request(write, 'cart.remove', { sku }));
}

export function checkout() {
  const { order_id, total_minor, currency } = request(write, 'cart.checkout');
  return { orderId: order_id, totalMinor: total_minor, currency };
}

function fromWire({ items, currency, total_minor }) {
  return {
    items: items.map(({ sku, name, quantity, unit_price_minor }) => {
      return { sku, name, quantity, unitPriceMinor: unit_price_minor };
    }),
    currency,
    totalMinor: total_minor,
  };
}
