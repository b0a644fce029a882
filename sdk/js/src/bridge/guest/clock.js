export { call } from 'mpkg:bridge/clock@1.0.0';
