export { call } from 'mpkg:bridge/files@1.0.0';
