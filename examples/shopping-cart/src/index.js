import { InvalidParams, RpcError, defineApp, events, log } from '@mpkg/sdk';

import * as basket from './basket.js';
import { CURRENCY, coupon, product, products } from './catalog.js';
import { order } from './checkout.js';
import { price } from './pricing.js';

/** There is nothing to order. */
const EMPTY_BASKET = 1002;

export const app = defineApp({
  methods: {
    'catalog.list': () => ({ currency: CURRENCY, products: products() }),
    'cart.show': () => shown(basket.load()),

    'cart.add': ({ sku, quantity = 1 }) =>
      change('added', (now) => {
        const before = now.quantities[known(sku).sku] ?? 0;
        now.quantities[sku] = allowed(sku, before + count(quantity, 1));
      }),

    'cart.set': ({ sku, quantity }) =>
      change('set', (now) => {
        if (count(quantity, 0) === 0) delete now.quantities[known(sku).sku];
        else now.quantities[sku] = allowed(sku, quantity);
      }),

    'cart.remove': ({ sku }) =>
      change('removed', (now) => {
        delete now.quantities[known(sku).sku];
      }),

    'cart.coupon': ({ code }) =>
      change('coupon', (now) => {
        if (code !== null && !coupon(code)) throw new InvalidParams(`there is no coupon ${code}`, { field: 'code' });
        now.coupon = code;
      }),

    'cart.clear': () => {
      basket.clear();
      const empty = shown(basket.load());
      announce('cleared', empty);
      return empty;
    },

    'cart.checkout': () => {
      const priced = shown(basket.load());
      if (priced.count === 0) throw new RpcError(EMPTY_BASKET, 'The basket is empty.');
      const { orderId, totalMinor } = order(priced);
      basket.clear();
      tell('cart.ordered', { order_id: orderId, total_minor: totalMinor, currency: CURRENCY });
      announce('ordered', shown(basket.load()));
      return { order_id: orderId, total_minor: totalMinor, currency: CURRENCY };
    },
  },
  on: {
    'lifecycle.launched': ({ user }) => {
      const { count, total_minor } = shown(basket.load());
      log.info(`${user} comes back to ${count} things for ${total_minor} cents`);
    },
  },
});

/** Changes the basket, keeps it, tells the host, and answers with it. If `edit` throws, nothing has happened. */
function change(reason, edit) {
  const now = basket.load();
  edit(now);
  const result = shown(now);
  basket.save(now);
  announce(reason, result);
  return result;
}

function shown(now) {
  const priced = price(now.quantities, now.coupon, Date.now());
  return { currency: CURRENCY, count: priced.lines.reduce((sum, { quantity }) => sum + quantity, 0), ...priced };
}

function announce(reason, { count, total_minor, currency }) {
  tell('cart.changed', { reason, count, total_minor, currency });
}

/** The basket is right even if nobody hears of it, so an event that cannot be sent is only logged. */
function tell(topic, data) {
  try {
    events.publish(topic, data);
  } catch (error) {
    log.warn(`${topic} was not published: ${error.message}`);
  }
}

function known(sku) {
  const found = product(sku);
  if (!found) throw new InvalidParams(`the shop does not sell ${sku}`, { field: 'sku' });
  return found;
}

function count(quantity, least) {
  if (Number.isSafeInteger(quantity) && quantity >= least) return quantity;
  throw new InvalidParams(`a quantity is a whole number from ${least}, not ${quantity}`, { field: 'quantity' });
}

function allowed(sku, quantity) {
  const { most, name } = known(sku);
  if (quantity <= most) return quantity;
  throw new InvalidParams(`at most ${most} of ${name} per order`, { field: 'quantity', most });
}
