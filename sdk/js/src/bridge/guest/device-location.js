export { call } from 'mpkg:bridge/device-location@1.0.0';
