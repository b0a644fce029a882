export { call } from 'mpkg:bridge/cart-write@1.0.0';
