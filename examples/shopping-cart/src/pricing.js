// Everything in whole cents. No sum of parts ever differs from its whole: a discount is dealt out to the lines without
// losing a cent, and VAT is taken out of what is really paid.

import { coupon as couponOf, product as productOf, unitPrice } from './catalog.js';

/** Prices a basket: `quantities` maps SKU to quantity, `now` decides whether a coupon still holds. */
export function price(quantities, code, now) {
  const lines = Object.entries(quantities).map(([sku, quantity]) => {
    const product = productOf(sku);
    const unit = unitPrice(product, quantity);
    return {
      sku,
      name: product.name,
      quantity,
      unit_price_minor: unit,
      saved_minor: (product.unit_price_minor - unit) * quantity,
      gross_minor: unit * quantity,
      tax_rate: product.tax_rate,
    };
  });
  const subtotal = sum(lines.map((line) => line.gross_minor));
  const { discount, problem } = discountOf(code, subtotal, now);
  const shares = dealOut(discount, lines.map((line) => line.gross_minor));
  const priced = lines.map((line, index) => ({
    ...line,
    discount_minor: shares[index],
    total_minor: line.gross_minor - shares[index],
  }));
  return {
    lines: priced,
    subtotal_minor: subtotal,
    discount_minor: discount,
    coupon: code && { code, applied: !problem, ...(problem && { problem }) },
    total_minor: subtotal - discount,
    taxes: taxes(priced),
  };
}

/** Why a coupon does not count, or what it takes off. A basket that shrinks keeps its coupon for when it grows. */
function discountOf(code, subtotal, now) {
  if (!code) return { discount: 0 };
  const coupon = couponOf(code);
  if (!coupon) return { discount: 0, problem: 'unknown' };
  if (coupon.until !== undefined && now >= coupon.until) return { discount: 0, problem: 'expired' };
  if (subtotal < coupon.least_minor) return { discount: 0, problem: 'below_least' };
  const off = coupon.percent ? roundedDivision(subtotal * coupon.percent, 100) : coupon.off_minor;
  return { discount: Math.min(off, subtotal) };
}

/** Divides `amount` in proportion to `weights`; the cents that remain go to the largest remainders. */
export function dealOut(amount, weights) {
  const whole = sum(weights);
  if (whole === 0) return weights.map(() => 0);
  const shares = weights.map((weight) => Math.floor((amount * weight) / whole));
  const byRemainder = weights
    .map((weight, index) => ({ index, remainder: (amount * weight) % whole }))
    .sort((a, b) => b.remainder - a.remainder || a.index - b.index);
  const left = amount - sum(shares);
  for (const { index } of byRemainder.slice(0, left)) shares[index] += 1;
  return shares;
}

/** The VAT inside the prices, one entry per rate: added up first and rounded once, as on a receipt. */
function taxes(lines) {
  const byRate = new Map();
  for (const { tax_rate, total_minor } of lines) byRate.set(tax_rate, (byRate.get(tax_rate) ?? 0) + total_minor);
  return [...byRate]
    .sort(([a], [b]) => a - b)
    .map(([rate, gross]) => ({ rate, gross_minor: gross, tax_minor: roundedDivision(gross * rate, 10000 + rate) }));
}

/** Half a cent and more is rounded up. */
function roundedDivision(dividend, divisor) {
  return Math.floor((2 * dividend + divisor) / (2 * divisor));
}

function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}
