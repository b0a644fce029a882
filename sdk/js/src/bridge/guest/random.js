export { call } from 'mpkg:bridge/random@1.0.0';
