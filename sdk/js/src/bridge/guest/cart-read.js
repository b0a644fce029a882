export { call } from 'mpkg:bridge/cart-read@1.0.0';
