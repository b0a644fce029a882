export { call } from 'mpkg:bridge/host@1.0.0';
