export { call } from 'mpkg:bridge/log@1.0.0';
