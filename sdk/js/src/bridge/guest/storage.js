export { call } from 'mpkg:bridge/storage@1.0.0';
