// What the shop sells. Prices are in cents and include VAT; its rate is in hundredths of a percent. A tier is what one
// costs from that quantity on.

export const CURRENCY = 'EUR';

const PRODUCTS = [
  {
    sku: 'assam-100',
    name: 'Assam, 100 g',
    unit_price_minor: 690,
    tiers: [
      { from: 3, unit_price_minor: 640 },
      { from: 10, unit_price_minor: 575 },
    ],
    tax_rate: 700,
    most: 50,
  },
  {
    sku: 'sencha-100',
    name: 'Sencha, 100 g',
    unit_price_minor: 950,
    tiers: [{ from: 5, unit_price_minor: 880 }],
    tax_rate: 700,
    most: 50,
  },
  { sku: 'pot-cast', name: 'Cast-iron pot', unit_price_minor: 4999, tiers: [], tax_rate: 1900, most: 4 },
  {
    sku: 'cup-glass',
    name: 'Glass cup',
    unit_price_minor: 399,
    tiers: [{ from: 6, unit_price_minor: 333 }],
    tax_rate: 1900,
    most: 24,
  },
];

const COUPONS = [
  { code: 'WELCOME10', percent: 10, least_minor: 2000 },
  { code: 'TEATIME5', off_minor: 500, least_minor: 3000 },
  { code: 'SUMMER2020', percent: 30, least_minor: 0, until: Date.UTC(2020, 8, 1) },
];

const bySku = new Map(PRODUCTS.map((product) => [product.sku, product]));
const byCode = new Map(COUPONS.map((coupon) => [coupon.code, coupon]));

export function products() {
  return PRODUCTS;
}

export function product(sku) {
  return bySku.get(sku);
}

export function coupon(code) {
  return byCode.get(code);
}

/** What one of `product` costs when `quantity` are bought together. */
export function unitPrice(product, quantity) {
  const tier = product.tiers.findLast(({ from }) => quantity >= from);
  return tier ? tier.unit_price_minor : product.unit_price_minor;
}
