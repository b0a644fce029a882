export interface Payment {
  paymentId: string;
  status: 'approved' | 'declined';
}

/** Asks the user to pay. Permission `payments.request`. */
export function request(payment: { amountMinor: number; currency: string; reference: string }): Payment;
