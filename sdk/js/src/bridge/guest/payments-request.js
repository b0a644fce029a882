export { call } from 'mpkg:bridge/payments-request@1.0.0';
