import { PermissionDenied, RpcError, cart, log } from '@mpkg/sdk';

/** The user did not let the app order. Data: `permission`, `reason`, `can_ask_again`, `total_minor`. */
export const CHECKOUT_NOT_ALLOWED = 1001;

/**
 * Orders a priced basket through the Super App's cart. Either everything is ordered, or the Super App's cart is as it
 * was before.
 */
export function order(priced) {
  const moved = [];
  try {
    for (const line of priced.lines) {
      cart.add(asItem(line));
      moved.push(line.sku);
    }
    return cart.checkout();
  } catch (error) {
    takeBack(moved);
    if (!(error instanceof PermissionDenied)) throw error;
    throw new RpcError(CHECKOUT_NOT_ALLOWED, 'The basket is kept, but this app may not order it.', {
      permission: error.permission,
      reason: error.reason,
      can_ask_again: error.reason === 'denied' || error.reason === 'not_granted',
      total_minor: priced.total_minor,
    });
  }
}

/** The Super App multiplies; a discounted line that does not divide evenly is therefore sold as one bundle. */
function asItem({ sku, name, quantity, total_minor }) {
  if (total_minor % quantity === 0) return { sku, name, quantity, unitPriceMinor: total_minor / quantity };
  return { sku, name: `${quantity} × ${name}`, quantity: 1, unitPriceMinor: total_minor };
}

function takeBack(skus) {
  for (const sku of skus) {
    try {
      cart.remove(sku);
    } catch (error) {
      log.warn(`${sku} stays in the Super App's cart: ${error.message}`);
    }
  }
}
