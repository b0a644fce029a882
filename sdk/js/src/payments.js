import { call } from '#bridge/payments-request';
import { request as send } from './bridge.js';

export function request({ amountMinor, currency, reference }) {
  const params = { amount_minor: amountMinor, currency, reference };
  const { payment_id, status } = send(call, 'payments.request', params);
  return { paymentId: payment_id, status };
}
