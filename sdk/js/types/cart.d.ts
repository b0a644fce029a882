/** One line of the Super App's cart. Prices are in the currency's smallest unit. */
export interface Item {
  sku: string;
  name: string;
  quantity: number;
  unitPriceMinor: number;
}

export interface Cart {
  items: Item[];
  /** An ISO 4217 code. */
  currency: string;
  totalMinor: number;
}

export interface Order {
  orderId: string;
  totalMinor: number;
  currency: string;
}

/** What is in the cart. Permission `cart.read`. */
export function get(): Cart;
/** Adds a line, or to a line. Permission `cart.write`, as for everything below. */
export function add(item: Item): Cart;
/** Sets how many of `sku` there are. */
export function update(sku: string, quantity: number): Cart;
export function remove(sku: string): Cart;
/** Orders what is in the cart. */
export function checkout(): Order;
