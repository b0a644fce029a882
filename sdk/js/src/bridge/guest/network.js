export { call } from 'mpkg:bridge/network@1.0.0';
